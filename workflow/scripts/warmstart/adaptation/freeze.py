"""Layers of the encoder that do not learn at first."""

from typing import Any

import lightning.pytorch as pl
import torch

from warmstart.adaptation.still import _train_statistics


class Freeze(pl.Callback):
    """The subsampling and the first layers of the encoder do not learn before some step.

    Their gradients are dropped before they are clipped and applied: an optimizer leaves a weight
    without gradient alone, weight decay included. `requires_grad` stays as it is, because DDP would
    wait for gradients that never come.

    Args:
        encoder_layers: how many layers, from the input on; 0 = the subsampling only.
        steps: first step that trains them; they stay as they are for `steps` steps.
    """

    def __init__(self, encoder_layers: int, steps: int):
        self._layers, self._steps = encoder_layers, steps

    def on_train_batch_start(
        self, trainer: pl.Trainer, pl_module: Any, batch: Any, batch_idx: int
    ) -> None:
        """Hold running statistics too: a batch norm would move without any gradient."""
        for module in self._modules(pl_module):
            _train_statistics(module, trainer.global_step >= self._steps)

    def on_before_optimizer_step(self, trainer: pl.Trainer, pl_module: Any, optimizer: Any) -> None:
        """Drop the gradients of what is frozen."""
        if trainer.global_step >= self._steps:
            return
        for module in self._modules(pl_module):
            for parameter in module.parameters():
                parameter.grad = None

    def _modules(self, model: Any) -> list[torch.nn.Module]:
        return [model.encoder.pre_encode, *model.encoder.layers[: self._layers]]
