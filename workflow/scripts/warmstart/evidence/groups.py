"""Speakers of a test set by gender or accent: who is in which group, and the error rates of
groups."""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from warmstart.data.traits import OTHER
from warmstart.evidence import intervals, resampled
from warmstart.evidence.intervals import Draws
from warmstart.evidence.keys import Cell
from warmstart.evidence.noise import TrainingNoise
from warmstart.evidence.settings import Resampling
from warmstart.evidence.speakers import Voices

UNKNOWN = "unknown"
FEWEST = 5
"""Speakers of a group that is shown, or blocks where nobody knows the speakers. What is said of
fewer is said of persons, and an interval over fewer blocks is too short to be of use."""


@dataclass(frozen=True)
class Group:
    """Utterances of a test set by speakers who have something in common.

    Attributes:
        name: `other` are the groups that are too small, taken together.
        speakers: of those who are known; None: nobody knows any of them.
        blocks, utterances, words: of the group.
        units: (U,) bool, which units of `Voices` are in it.
    """

    name: str
    speakers: int | None
    blocks: int
    utterances: int
    words: int
    units: np.ndarray

    @property
    def status(self) -> str:
        """`ok`, or why it is not shown."""
        if self.speakers is None and self.blocks < FEWEST:
            return f"not estimable: {self.blocks} block(s), a group needs {FEWEST}"
        if self.speakers is not None and self.speakers < FEWEST:
            return f"not estimable: {self.speakers} speaker(s), a group needs {FEWEST}"
        return "ok"


@dataclass(frozen=True)
class Grouping:
    """The groups of a test set by one trait.

    Attributes:
        groups: the largest first, then `other`, then `unknown`; none where `status` is not `ok`.
        against: the largest, with which the others are compared.
        status: `ok`, or why there is nothing to compare.
    """

    groups: tuple[Group, ...]
    against: str
    status: str


def grouping(voices: Voices, trait: str) -> Grouping:
    """Groups by a column of `Voices.units`: `gender` or `accent`."""
    labels = voices.units[trait].replace("", UNKNOWN)
    if (labels == UNKNOWN).all():
        return Grouping((), "", f"not estimable: no {trait} is known")
    small = [
        name
        for name in labels.unique()
        if name not in (UNKNOWN, OTHER) and _group(voices, labels, name).status != "ok"
    ]
    labels = labels.replace(dict.fromkeys(small, OTHER))
    names = [name for name in labels.unique() if name not in (UNKNOWN, OTHER)]
    named = sorted((_group(voices, labels, name) for name in names), key=lambda one: -one.words)
    rest = [_group(voices, labels, name) for name in (OTHER, UNKNOWN) if (labels == name).any()]
    shown = [one for one in (*named, *rest) if one.status == "ok" and one.name != UNKNOWN]
    if len(shown) < 2 or not named:
        which = f" ({named[0].name})" if named else ""
        why = f"not estimable: one group{which} with {FEWEST} speakers or more, two are compared"
        return Grouping((), "", why if shown else why.replace("one group", "no group"))
    return Grouping((*named, *rest), named[0].name, "ok")


def _group(voices: Voices, labels: pd.Series, name: str) -> Group:
    """The units with a label."""
    units = (labels == name).to_numpy()
    rows = voices.units[units]
    speakers = rows.speaker[rows.speaker != ""].nunique()
    return Group(
        name,
        speakers or None,
        rows.block.nunique(),
        int(voices.utterances[units].sum()),
        int(voices.words[units].sum()),
        units,
    )


def rates(
    voices: Voices,
    groups: Iterable[Group],
    cells: Iterable[Cell],
    settings: Resampling,
    faults: Collection[Cell] = (),
) -> dict[str, dict[Cell, Draws]]:
    """WER of groups in percent, with the noise of trainings as far as seeds show it. Groups of one
    test set are paired: the same blocks are drawn for all of them.

    Args:
        voices: of the test set.
        groups: to be rated.
        cells: of which decodes.
        settings: how.
        faults: cells that recognise nothing; the noise of other trainings is not theirs.

    Returns:
        Name of a group -> cell -> its rate.
    """
    # Only models that are for the language are asked of.
    noise = TrainingNoise(settings.seed, settings.replicates, lambda training_set, lang: True)
    cells = list(cells)
    found = {group.name: _rates(voices, group, cells, settings, faults, noise) for group in groups}
    return {
        name: {cell: draw.trained(noise) for cell, draw in of.items()} for name, of in found.items()
    }


def _rates(
    voices: Voices,
    group: Group,
    cells: Sequence[Cell],
    settings: Resampling,
    faults: Collection[Cell],
    noise: TrainingNoise,
) -> dict[Cell, Draws]:
    """Of one group; `noise` is told of them."""
    blocks, count = voices.blocks()
    inside = blocks[group.units]

    def by_block(values: np.ndarray) -> np.ndarray:
        return np.bincount(inside, values[group.units], count)

    return resampled.rates_pct(
        np.array([by_block(row) for row in voices.errors]),
        by_block(voices.words),
        {cell: voices.cells[cell] for cell in cells},
        lang=voices.lang,
        what=f"{voices.test_set}, {group.name}",
        random=intervals.generator(settings.seed, "blocks", voices.lang, voices.test_set),
        settings=settings,
        noise=noise,
        faults=faults,
    )
