"""Layers of the encoder that do not learn at first, and a feature encoder that never does."""

from collections.abc import Sequence
from typing import Any

import lightning.pytorch as pl
import torch

from warmstart.adaptation.base import Adaptation
from warmstart.adaptation.still import AsInDecoding, as_in_decoding, train_statistics
from warmstart.models.base import Recogniser
from warmstart.run.errors import UserError


class Freezing(Adaptation):
    """The first layers do not learn before some step. The feature encoder, which is what is in
    front of the layers, waits with them, learns from the start, or is frozen for the whole run.

    Args:
        encoder_layers: how many layers, from the input on; 0 = the feature encoder only.
        steps: first step that trains what waits; it stays as it is for `steps` steps. None: nothing
            waits.
        feature_encoder: `steps` = it waits too, `always` = it is frozen, `never` = it is not.

    Source:
        `always` is `freeze_feature_encoder` of transformers, the default of its recipe for
        fine-tuning by CTC (examples/pytorch/speech-recognition).
    """

    def __init__(self, encoder_layers: int, steps: int | None, feature_encoder: str = "steps"):
        self._layers, self._steps, self._policy = encoder_layers, steps, feature_encoder

    def insert(self, recogniser: Recogniser, seed: int) -> None:
        """Nothing is put in; what never learns asks for no gradient.

        Raises:
            UserError: the encoder has fewer layers.
        """
        there = len(recogniser.blocks()) - 1
        if self._layers > there:
            raise UserError(
                f"adaptation freeze.encoder_layers is {self._layers}; the encoder has {there} "
                "layers"
            )
        if self._policy == "always":
            as_in_decoding([recogniser.blocks()[0].requires_grad_(False)])

    def callbacks(self, recogniser: Recogniser) -> Sequence[pl.Callback]:
        """Those that hold what is frozen and what waits."""
        front, *layers = recogniser.blocks()
        waiting = [*([front] if self._policy == "steps" else []), *layers[: self._layers]]
        return [
            *([AsInDecoding([front])] if self._policy == "always" else []),
            *([Freeze(waiting, self._steps)] if self._steps is not None else []),
        ]


class Freeze(pl.Callback):
    """Some modules do not learn before some step.

    Their gradients are dropped before they are clipped and applied: an optimizer leaves a weight
    without gradient alone, weight decay included. `requires_grad` stays as it is, because DDP would
    wait for gradients that never come.

    Args:
        modules: what is held.
        steps: first step that trains them.
    """

    def __init__(self, modules: Sequence[torch.nn.Module], steps: int):
        self._modules, self._steps = list(modules), steps

    def on_train_batch_start(
        self, trainer: pl.Trainer, pl_module: Any, batch: Any, batch_idx: int
    ) -> None:
        """Hold running statistics too: a batch norm would move without any gradient."""
        for module in self._modules:
            train_statistics(module, trainer.global_step >= self._steps)

    def on_before_optimizer_step(self, trainer: pl.Trainer, pl_module: Any, optimizer: Any) -> None:
        """Drop the gradients of what is frozen."""
        if trainer.global_step >= self._steps:
            return
        for module in self._modules:
            for parameter in module.parameters():
                parameter.grad = None
