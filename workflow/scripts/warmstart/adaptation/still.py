"""Running statistics of batch norms that stay as they are."""

from typing import Any

import lightning.pytorch as pl
import torch


class StillStatistics(pl.Callback):
    """Running statistics of the encoder stay the donor's: beside adapters nothing of it learns."""

    def on_train_batch_start(
        self, trainer: pl.Trainer, pl_module: Any, batch: Any, batch_idx: int
    ) -> None:
        """Anew in each step: a validation leaves the whole model in training mode."""
        _train_statistics(pl_module.encoder, False)


def _train_statistics(module: torch.nn.Module, learn: bool) -> None:
    for part in module.modules():
        if isinstance(part, torch.nn.modules.batchnorm._BatchNorm):
            part.train(learn)
