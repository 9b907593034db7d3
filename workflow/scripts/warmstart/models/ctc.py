"""Which texts CTC can align: a frame a token, and one more between equal neighbours.

A text that needs more frames than its utterance has gets no probability, so its loss is infinite;
libraries turn that into zero, which counts as a perfect utterance. Families find such texts before
the loss, and take the mean over the others.
"""

from typing import Any

import torch
from torch import Tensor


def needed(tokens: Tensor, token_len: Tensor) -> Tensor:
    """Frames that texts need.

    Args:
        tokens: (B, U) ids.
        token_len: (B,) how many of them count.

    Returns:
        (B,), at least 1.

    Source:
        Graves et al. 2006, section 3.1: equal labels in a row need a blank between them.
    """
    inside = torch.arange(tokens.shape[1], device=tokens.device)[1:] < token_len[:, None]
    repeated = ((tokens[:, 1:] == tokens[:, :-1]) & inside).sum(1)
    return (token_len + repeated).clamp(min=1)


def alignable(frames: Tensor, tokens: Tensor, token_len: Tensor) -> Tensor:
    """(B,) whether utterances of (B,) frames can be aligned with their texts; see `needed`."""
    return frames.to(token_len.device) >= needed(tokens, token_len)


class MeanOfAlignable(torch.nn.Module):
    """Stands in for NeMo's `CTCLoss`: the same mean, over the utterances that CTC can align.

    NeMo counts the others as zero. Without any such utterance the values are NeMo's, bit for bit;
    of a batch of nothing else the loss is an empty sum, which teaches nothing.

    Args:
        loss: NeMo's.
    """

    def __init__(self, loss: Any):
        super().__init__()
        self._loss = loss

    def forward(
        self, log_probs: Tensor, targets: Tensor, input_lengths: Tensor, target_lengths: Tensor
    ) -> Tensor:
        """The mean of (B, T, V + 1) log-probabilities, (B, U) targets and their (B,) lengths."""
        parts = {
            # No kernel takes bfloat16, which a model with such weights gives.
            "log_probs": log_probs.float(),
            "targets": targets,
            "input_lengths": input_lengths,
            "target_lengths": target_lengths,
        }
        fits = alignable(input_lengths, targets, target_lengths)
        if not bool(fits.any()):
            return log_probs[:0].sum()
        if not bool(fits.all()):
            parts = {name: part[fits] for name, part in parts.items()}
        return self._loss(**parts)
