"""A model whose encoder is nothing but linear layers, and a LoRA in it."""

from types import SimpleNamespace

import torch

from warmstart.adaptation import open_adaptation


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
