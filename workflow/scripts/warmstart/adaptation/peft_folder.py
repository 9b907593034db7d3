"""Low-rank updates by themselves, as peft keeps them: a folder of settings and tensors.

`peft.PeftModel.from_pretrained(model, folder)` reads one over the module whose layers its tensors
are named after (`Recogniser.pretrained`).
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from warmstart.run import files
from warmstart.run.errors import UserError

if TYPE_CHECKING:
    import torch
    from peft.tuners.lora import LoraModel

FOLDER = "adapter"
"""Below the folder of a run."""
CONFIG, TENSORS = "adapter_config.json", "adapter_model.safetensors"

_PREFIX = "base_model.model."  # of names of tensors, peft's
_FACTORS = ("lora_A", "lora_B")


@dataclass(frozen=True)
class Saved:
    """What a folder holds.

    Attributes:
        config: peft's settings, JSON values.
        tensors: `{layer}.lora_A.weight` (rank, in) and `{layer}.lora_B.weight` (out, rank), float32
            on the CPU.
    """

    config: dict[str, Any]
    tensors: "dict[str, torch.Tensor]"

    @property
    def rank(self) -> int:
        """Of every update."""
        return self.config["r"]

    @property
    def layers(self) -> list[str]:
        """Names of the layers that have one, sorted."""
        return sorted({name.rpartition(".lora_")[0] for name in self.tensors})


def write(module: "torch.nn.Module", config: Any, name: str, folder: Path) -> None:
    """Write the updates that peft has put into a module. The same updates give the same bytes.

    Args:
        module: with the updates in it.
        config: their `peft.LoraConfig`, whose `target_modules` is a pattern.
        name: under which peft keeps them.
        folder: gets the two files, each whole or not at all.
    """
    from safetensors.torch import save_file

    ending = f".{name}.weight"
    tensors = {
        _PREFIX + key.removesuffix(ending) + ".weight": value.detach().float().cpu().contiguous()
        for key, value in module.state_dict().items()
        if key.endswith(ending) and key.removesuffix(ending).rpartition(".")[2] in _FACTORS
    }
    said = {**config.to_dict(), "inference_mode": True, "base_model_name_or_path": None}
    with (
        files.explaining_full_disk(folder / TENSORS),
        files.atomic_path(folder / TENSORS) as temporary,
    ):
        save_file(tensors, temporary, metadata={"format": "pt"})
    text = json.dumps(said, indent=2, sort_keys=True, ensure_ascii=False, default=str)
    files.write_text(folder / CONFIG, text + "\n")


def read(folder: Path) -> Saved:
    """What a folder holds.

    Raises:
        UserError: a file is missing, cut short or altered, or holds no updates of one rank.
    """
    import safetensors
    from safetensors.torch import load_file

    again = "remove the model beside it and run the workflow again, which trains it anew"
    for name in (CONFIG, TENSORS):
        if not (folder / name).is_file():
            raise UserError(f"{folder}: no {name} in it, so it holds no LoRA; {again}")
    config = files.read_json(folder / CONFIG, again)
    rank = config.get("r") if isinstance(config, Mapping) else None
    if rank is None or config.get("peft_type") != "LORA" or type(rank) is not int or rank < 1:
        raise UserError(f"{folder / CONFIG}: no settings of a LoRA with a rank r; {again}")
    try:
        found = load_file(folder / TENSORS)
    except (safetensors.SafetensorError, OSError, ValueError) as error:
        raise UserError(f"{folder / TENSORS}: damaged ({error}); {again}") from None
    saved = Saved(dict(config), {key.removeprefix(_PREFIX): value for key, value in found.items()})
    for layer in saved.layers or ["(none)"]:
        a, b = (saved.tensors.get(f"{layer}.{part}.weight") for part in _FACTORS)
        if a is None or b is None or a.dim() != 2 or b.dim() != 2:
            raise UserError(f"{folder / TENSORS}: no lora_A and lora_B of layer {layer}; {again}")
        if (a.shape[0], b.shape[1]) != (rank, rank):
            raise UserError(
                f"{folder / TENSORS}: layer {layer} has rank {a.shape[0]} and {b.shape[1]}, and "
                f"{CONFIG} says r {rank}; {again}"
            )
    return saved


def put_into(
    module: "torch.nn.Module", saved: Saved, name: str, *, trainable: bool = False
) -> "LoraModel":
    """Put saved updates beside the layers of a module, which computes with them from here on.

    Args:
        module: whose layers are named as in `saved`.
        saved: see `read`.
        name: under which peft keeps them.
        trainable: whether the updates learn; of the module nothing else does.

    Returns:
        peft's hold on the module: further updates, `merge_and_unload`.

    Raises:
        UserError: a layer is not there, or has another width.
    """
    import torch
    from peft import LoraConfig
    from peft.tuners.lora import LoraModel

    there = dict(module.named_modules())
    for layer in saved.layers:
        a, b = (saved.tensors[f"{layer}.{part}.weight"] for part in _FACTORS)
        linear: Any = there.get(layer)
        if not isinstance(linear, torch.nn.Linear):
            raise UserError(
                f"a LoRA has updates of layer {layer}, which is no linear layer of this model: it "
                "was trained from another donor; name one of the same init and family"
            )
        if (linear.in_features, linear.out_features) != (a.shape[1], b.shape[0]):
            raise UserError(
                f"a LoRA has an update of {b.shape[0]} x {a.shape[1]} for layer {layer}, which is "
                f"{linear.out_features} x {linear.in_features} in this model: it was trained from "
                "another donor; name one of the same init and family"
            )
    config = LoraConfig.from_peft_type(**saved.config)
    config.inference_mode = not trainable
    tuner = LoraModel(module, config, name)
    with torch.no_grad():
        for layer in saved.layers:
            own: Any = module.get_submodule(layer)
            for part in _FACTORS:
                getattr(own, part)[name].weight.copy_(saved.tensors[f"{layer}.{part}.weight"])
    return tuner
