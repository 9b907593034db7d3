"""Modules that do not change: running statistics, and all that differs between training and
decoding."""

from collections.abc import Iterable, Sequence
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


class AsInDecoding(pl.Callback):
    """Some modules compute in training what they compute in decoding: no dropout, no layer left
    out, running statistics as they are.

    Of an encoder these are its children and not the encoder itself, which has to know that it
    trains: a FastConformer draws the attention context of each step then, and a head that learned
    at one context alone would fail at the tiers of the others.

    Args:
        modules: what is held.
    """

    def __init__(self, modules: Sequence[torch.nn.Module]):
        self._modules = list(modules)

    def on_train_batch_start(
        self, trainer: pl.Trainer, pl_module: Any, batch: Any, batch_idx: int
    ) -> None:
        """Anew in each step: a validation leaves the whole model in training mode."""
        as_in_decoding(self._modules)


def as_in_decoding(modules: Iterable[torch.nn.Module]) -> None:
    """Once; the largest batches are tried before the first step."""
    for module in modules:
        module.eval()


def train_statistics(module: torch.nn.Module, learn: bool) -> None:
    """Whether the batch norms of a module move their running statistics."""
    for part in module.modules():
        if isinstance(part, torch.nn.modules.batchnorm._BatchNorm):
            part.train(learn)
