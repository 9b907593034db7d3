"""The arithmetic of a training: float32, bfloat16 beside weights in float32, or weights in bfloat16
too."""

import contextlib
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from lightning.pytorch.plugins.precision import HalfPrecision

from warmstart.models.base import Recogniser
from warmstart.models.recipe import Recipe

WEIGHTS = "bf16-true"


def of_trainer(settings: Recipe, recogniser: Recogniser, on_gpu: bool) -> dict[str, Any]:
    """Arguments of Lightning's trainer: `precision`, or one more of `plugins`.

    On a CPU everything is float32, because a study there is compared bit for bit.
    """
    asked = str(settings["precision"])
    if not on_gpu or asked == "32":
        return {"precision": "32-true", "plugins": []}
    if asked == WEIGHTS:
        return {"plugins": [Bfloat16Weights(recogniser.kept_in_float32())]}
    return {"precision": asked, "plugins": []}


class Bfloat16Weights(HalfPrecision):
    """Weights, gradients and the moments of the optimizer in bfloat16: half of the memory that they
    have with `bf16-mixed`, which keeps all of them in float32.

    Lightning's own also makes bfloat16 of the audio and of the tables behind the features, and of
    every number that a library divides meanwhile, lengths among them: above 256 they would be
    wrong. Here all of that stays as it is.

    Args:
        kept: modules whose weights and tables stay float32.
    """

    def __init__(self, kept: Sequence[torch.nn.Module]):
        super().__init__(WEIGHTS)
        self._kept = kept

    def convert_module(self, module: torch.nn.Module) -> torch.nn.Module:
        """Make the weights bfloat16."""
        tables = [
            (part, name, table)
            for outer in self._kept
            for part in outer.modules()
            for name, table in part._buffers.items()
            if table is not None
        ]
        weights = [(weight, weight.data) for outer in self._kept for weight in outer.parameters()]
        made = super().convert_module(module)
        for part, name, table in tables:
            part._buffers[name] = table
        for weight, data in weights:
            weight.data = data
        return made

    @contextlib.contextmanager
    def forward_context(self) -> Iterator[None]:
        """Numbers that are made in a step have the type that whoever makes them expects."""
        yield

    def convert_input(self, data: Any) -> Any:
        """Audio stays float32."""
        return data


def restore(recogniser: Recogniser, settings: Recipe) -> None:
    """Make float32 of the weights, as they are written, averaged and decoded."""
    if settings["precision"] == WEIGHTS:
        recogniser.lightning.float()
