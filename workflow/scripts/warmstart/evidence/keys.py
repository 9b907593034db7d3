"""Keys of decodes and of what is estimated from them, and the words that stand in their places.
Standard library only."""

from typing import NamedTuple

FULL = "full"
"""The precision that decodes with the PyTorch weights as trained."""
OWN = "own"
"""A training set that is the language it is scored on, in rows about several languages."""
MEAN = "mean"
"""A mean over languages, in the column of the language."""
POOLED = "pooled"
"""One law for all languages, in the column of the language."""
GAP = "gap"
"""What quantising does to a gap, in the column of the arm."""

KEYS = ("training_set", "lang", "arm", "hours", "seed", "precision", "tier", "test_set")
"""What tells one hypothesis file from all others; `lang` is the language of the test set."""


class Cell(NamedTuple):
    """A column of the experiment: all seeds of it are decodes of one kind."""

    training_set: str
    arm: str
    hours: float
    precision: str
    tier: str

    def place(self, lang: str) -> "Place":
        """Where this cell stands among those of other languages and arms."""
        return Place(part_of(self.training_set, lang), self.hours, self.precision, self.tier)


class Place(NamedTuple):
    """What the two cells of a gap share, named so that it can be met in several languages.

    Attributes:
        training_set: `own` where each language has a training set of its own name, else the name
            of the one training set that is scored in all of them.
    """

    training_set: str
    hours: float
    precision: str
    tier: str

    def cell(self, lang: str, arm: str) -> Cell:
        """The cell of an arm at this place, in a language."""
        return Cell(name_of(self.training_set, lang), arm, *self[1:])


def part_of(training_set: str, lang: str) -> str:
    """A training set as it is met in several languages: `own`, or its name."""
    return OWN if training_set in (lang, OWN) else training_set


def name_of(part: str, lang: str) -> str:
    """The training set that plays a part in a language: the inverse of `part_of`."""
    return lang if part == OWN else part
