"""The best tokens at an emission, for the searches of all families."""

import numpy
import torch
from torch import Tensor

from warmstart.models.base import Candidates


def best(scores: Tensor, taken: Tensor, blank: int, count: int) -> tuple[Tensor, Tensor]:
    """The tokens that a greedy search could have taken.

    Args:
        scores: (N, V) logits or log-probabilities at N emissions, blank included.
        taken: (N,) tokens with the highest scores, none of them the blank.
        blank: id of the blank, which has its share of the probability and is no candidate.
        count: K; at most V - 1.

    Returns:
        (N, K) ids, best first, and (N, K) float32 probabilities, on the CPU.
    """
    probabilities = scores.float().softmax(-1)
    order = scores.float().clone()
    order[:, blank] = -torch.inf
    # Of equal scores `topk` may put another one first than the search took.
    order.scatter_(1, taken[:, None], torch.inf)
    tokens = order.topk(count, dim=-1).indices
    return tokens.int().cpu(), probabilities.gather(1, tokens).cpu()


def stacked(taken: list[int], rows: list[tuple[Tensor, Tensor]], count: int) -> Candidates:
    """Rows of `best`, one an emission, as those of one utterance."""
    if not rows:
        nothing = numpy.zeros((0, count))
        return Candidates(
            numpy.zeros(0, numpy.int32), nothing.astype(numpy.int32), nothing.astype(numpy.float32)
        )
    tokens, probabilities = (torch.stack(part).numpy() for part in zip(*rows, strict=True))
    return Candidates(numpy.array(taken, numpy.int32), tokens, probabilities)
