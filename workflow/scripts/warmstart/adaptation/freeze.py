"""Layers of the encoder that do not learn at first."""

from collections.abc import Sequence
from typing import Any

import lightning.pytorch as pl
import torch

from warmstart.adaptation.base import Adaptation
from warmstart.adaptation.still import train_statistics
from warmstart.models.base import Recogniser
from warmstart.run.errors import UserError


class Freezing(Adaptation):
    """The feature encoder and the first layers do not learn before some step.

    Args:
        encoder_layers: how many layers, from the input on; 0 = the feature encoder only.
        steps: first step that trains them; they stay as they are for `steps` steps.
    """

    def __init__(self, encoder_layers: int, steps: int):
        self._layers, self._steps = encoder_layers, steps

    def insert(self, recogniser: Recogniser, seed: int) -> None:
        """Nothing is put in.

        Raises:
            UserError: the encoder has fewer layers.
        """
        there = len(recogniser.blocks()) - 1
        if self._layers > there:
            raise UserError(
                f"adaptation freeze.encoder_layers is {self._layers}; the encoder has {there} "
                "layers"
            )

    def callbacks(self, recogniser: Recogniser) -> Sequence[pl.Callback]:
        """The one that holds them."""
        return [Freeze(recogniser.blocks()[: self._layers + 1], self._steps)]


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
