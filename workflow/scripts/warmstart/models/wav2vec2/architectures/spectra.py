"""Power spectra as a convolution, because ONNX Runtime has no fast transform of 400 samples."""

import math

import torch
from torch import Tensor, nn


def kernel(prepare: Tensor, points: int) -> Tensor:
    """What gives the spectrum of a frame of samples.

    Args:
        prepare: (n, n) float64, what is done to a frame first: window, pre-emphasis.
        points: of the transform, n or more; behind the frame stand zeros.

    Returns:
        (2 (points / 2 + 1), 1, n) float32: real parts, then imaginary ones.
    """
    bins = torch.arange(points // 2 + 1, dtype=torch.float64)
    angles = 2 * math.pi * torch.outer(bins, torch.arange(len(prepare))) / points
    basis = torch.cat([angles.cos(), -angles.sin()])
    return (basis @ prepare).float()[:, None]


def power(samples: Tensor, spectrum: Tensor, hop: int) -> Tensor:
    """(1, T) samples to (1, bins, frames): frames of the width of the kernel `spectrum`, from the
    first sample on, each `hop` after the one before."""
    parts = nn.functional.conv1d(samples[:, None], spectrum, stride=hop).square()
    real, imaginary = parts.chunk(2, dim=1)
    return real + imaginary
