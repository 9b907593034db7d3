"""Running statistics of batch norms that stay as they are."""

from typing import Any

import lightning.pytorch as pl
import torch


class StillStatistics(pl.Callback):
    """Running statistics of an encoder stay the donor's: beside adapters nothing of it learns.

    Args:
        encoder: of the model that is trained.
    """

    def __init__(self, encoder: torch.nn.Module):
        self._encoder = encoder

    def on_train_batch_start(
        self, trainer: pl.Trainer, pl_module: Any, batch: Any, batch_idx: int
    ) -> None:
        """Anew in each step: a validation leaves the whole model in training mode."""
        train_statistics(self._encoder, False)


def train_statistics(module: torch.nn.Module, learn: bool) -> None:
    """Whether the batch norms of a module move their running statistics."""
    for part in module.modules():
        if isinstance(part, torch.nn.modules.batchnorm._BatchNorm):
            part.train(learn)
