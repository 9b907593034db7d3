"""How sure a model is of what it wrote."""

import math
from collections.abc import Sequence

from torch import Tensor

MEASURE = "tsallis_0.33_exp"
"""The measure of `of_frames`, by name."""

MEAN_PROBABILITY = "mean_token_probability"
"""Of an attention decoder, by name: the mean probability of the tokens that it took, the end among
them. An entropy over tens of thousands of tokens tells its long tail and little else."""

_ALPHA = 0.33


def of_frames(log_probs: Tensor) -> Tensor:
    """Confidence of each frame: Tsallis entropy, exponentially normalised by its number of labels.

    0 where all labels are equally likely, 1 where one is certain, so that frames of heads with
    other numbers of labels can be compared.

    Args:
        log_probs: (..., V) log-probabilities of all labels.

    Returns:
        (...) between 0 and 1.

    Source:
        arXiv 2212.08703 (Tsallis entropy and its exponential normalisation); alpha and norm are the
        defaults of NeMo 2 (`ConfidenceMethodConfig`). A confidence ensemble, which takes the most
        confident of several models, is that of arXiv 2306.15824.
    """
    labels = log_probs.shape[-1]
    least = math.exp((1 - labels ** (1 - _ALPHA)) / (1 - _ALPHA))
    entropy = ((log_probs * _ALPHA).exp().sum(-1) - 1) / (1 - _ALPHA)
    return ((-entropy).exp() - least) / (1 - least)


def of_utterance(log_probs: Tensor, blank: int) -> float:
    """Mean over the frames whose best label is not the blank, as `exclude_blank` of NeMo; 0 where
    there is none, because who hears nothing has nothing to be sure of.

    Args:
        log_probs: (F, V) of one utterance.
        blank: its label.
    """
    spoken = log_probs[log_probs.argmax(-1) != blank] if len(log_probs) else log_probs
    return mean(of_frames(spoken.double()).tolist())


def mean(frames: Sequence[float]) -> float:
    """Of an utterance whose frames with a token are known one by one; 0 where there is none."""
    return min(1.0, max(0.0, sum(frames) / len(frames))) if frames else 0.0
