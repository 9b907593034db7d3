"""Masks of the study's `spec_augment`, as arXiv 1904.08779 draws them."""

import torch
from torch import Tensor

from warmstart.models.recipe import SpecAugment


def under_time_masks(lengths: Tensor, places: int, masks: SpecAugment) -> Tensor:
    """Which places of a batch lie under a mask.

    A mask has a width up to `time_width` of the utterance, and a place where it fits: it is never
    longer than the utterance.

    Args:
        lengths: (B,) of each utterance.
        places: of the longest.
        masks: of the study.

    Returns:
        (B, `places`) bool, on the device of `lengths`.
    """
    count = masks["time_masks"]
    own = lengths.cpu()
    longest = (own * masks["time_width"]).floor()
    # Drawn on the CPU, so that a GPU sees the same.
    drawn = torch.rand(len(own), max(1, count), 2)[:, :count]
    width = (drawn[..., 0] * (longest[:, None] + 1)).floor()
    start = (drawn[..., 1] * (own[:, None] - width + 1)).floor()
    place = torch.arange(places)[None, None]
    covered = (place >= start[..., None]) & (place < (start + width)[..., None])
    return covered.any(1).to(lengths.device)


def under_mel_masks(rows: int, bins: int, masks: SpecAugment) -> Tensor:
    """Which bins of each utterance lie under a mask, of a width up to `freq_width` bins.

    Args:
        rows: utterances.
        bins: of the spectrogram.
        masks: of the study.

    Returns:
        (`rows`, `bins`) bool, on the CPU.
    """
    count = masks["freq_masks"]
    drawn = torch.rand(rows, max(1, count), 2)[:, :count]
    width = (drawn[..., 0] * (min(bins, masks["freq_width"]) + 1)).floor()
    start = (drawn[..., 1] * (bins - width + 1)).floor()
    place = torch.arange(bins)[None, None]
    covered = (place >= start[..., None]) & (place < (start + width)[..., None])
    return covered.any(1)
