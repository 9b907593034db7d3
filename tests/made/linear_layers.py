"""A model whose encoder is nothing but linear layers, and a LoRA in it."""

from types import SimpleNamespace

import torch

from warmstart.adaptation import open_adaptation, peft_folder

LAYERS = ("layers.0.q_proj", "layers.1.q_proj")


def layers(*names, width=8):
    """A model whose encoder has linear layers of these names, `width` x `2 * width` each."""
    encoder = torch.nn.Module()
    for name in names:
        *above, last = name.split(".")
        place = encoder
        for part in above:
            if part not in dict(place.named_children()):
                place.add_module(part, torch.nn.Module())
            place = place.get_submodule(part)
        place.add_module(last, torch.nn.Linear(width, 2 * width))
    return SimpleNamespace(parts=lambda: {"encoder": encoder}, pretrained=lambda: encoder)


def insert(recogniser, seed=1, **options):
    """A LoRA of these options, put in."""
    made = open_adaptation({"kind": "lora", **options})
    made.insert(recogniser, seed)
    return made


def expert(folder, seed, *, rank=2, alpha=6, names=LAYERS, glob="*", width=8):
    """The folder of an update whose A and B are drawn from `seed`."""
    model = layers(*names, width=width)
    made = insert(model, seed, rank=rank, alpha=alpha, layers=glob)
    draw = torch.Generator().manual_seed(seed)
    for name, parameter in model.pretrained().named_parameters():
        if "lora_" in name:
            parameter.data = torch.randn(parameter.shape, generator=draw)
    made.write(model, folder)
    return folder / peft_folder.FOLDER
