"""Rounds of a training set: a run that is trained in turns, each from the model of the one before,
on what people wrote, on what that model wrote, or on a part of it. Standard library only.

Source:
    Focus, feedback and fix are the stages of iterative LoRA training (arXiv 2507.08477). Which data
    each hears, and that steps are shared, is ours, because the paper does not say the one and the
    other makes a comparison fair.
"""

import itertools
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

LABELLED, PSEUDO, CLEAN, HARDEST = "labelled", "pseudo", "clean", "hardest"

_NAME = re.compile(r"round[1-9][0-9]*")


@dataclass(frozen=True)
class Round:
    """One of them.

    Attributes:
        data: `labelled` = the training set's cuts; `pseudo` = these, and with them what the model
            wrote of speech beyond the budget; `clean` and `hardest` = those of its cuts whose texts
            the model agrees with most, or least.
        keep: share of the audio that is chosen from, above 0 and at most 1.
        min_confidence: with which a pseudo-label is kept at least.
        steps_weight: steps in relation to the other rounds.
        lr_scale: what the learning rate of the recipe is multiplied by.
    """

    data: str
    keep: float
    min_confidence: float
    steps_weight: float
    lr_scale: float

    @property
    def decodes(self) -> bool:
        """Whether the model before it is asked."""
        return self.data != LABELLED


@dataclass(frozen=True)
class Rounds:
    """All of a training set.

    Attributes:
        total_hours: of speech that is heard, the budget in it; None where no round hears more.
        tier: at which labels are decoded; None: the one of an arm that hears most.
        each: in their order.
    """

    total_hours: float | None
    tier: str | None
    each: tuple[Round, ...]

    @property
    def numbers(self) -> range:
        """Their numbers, from 1."""
        return range(1, len(self.each) + 1)

    def shares(self) -> list[tuple[float, float]]:
        """Of each round, where its steps begin and end in those of the run, as shares of them."""
        weights = [one.steps_weight for one in self.each]
        ends = [sum(weights[:number]) / sum(weights) for number in range(len(weights) + 1)]
        return list(itertools.pairwise(ends))


def of_block(block: Mapping[str, Any] | None) -> Rounds | None:
    """Of a training set's block `rounds`, its defaults filled in."""
    if block is None:
        return None
    each = tuple(Round(**one) for one in block["each"])
    return Rounds(block["total_hours"], block["tier"], each)


def steps_between(steps: int, share: tuple[float, float]) -> int:
    """Steps of a round of a run of `steps`: those of all rounds sum up to them.

    Args:
        share: see `Rounds.shares`.
    """
    begin, end = (round(steps * part) for part in share)
    return end - begin


def name_of(number: int) -> str:
    """Of a round: in paths, and in place of a precision where its model was decoded."""
    return f"round{number}"


def number_of(name: str) -> int | None:
    """The number of a round by its name; None of what is no round's name."""
    return int(name.removeprefix("round")) if _NAME.fullmatch(name) else None
