"""What rounds come to: error rates of the model of each round beside those of runs that were
trained at once, all of them paired, and of the labels that models gave."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from warmstart.evidence import intervals, pseudo_labels
from warmstart.evidence.collected import Scored, read_scores, resample_all
from warmstart.evidence.intervals import Draws
from warmstart.evidence.keys import FULL, Cell
from warmstart.evidence.pseudo_labels import Material
from warmstart.evidence.settings import Rounds, Settings

ROUND = "round"
"""Before the number of an earlier round, in place of a precision."""

PREVIOUS = "the round before"
BUDGET = "the budget at once"
ALL_TEXTS = "all texts at once"
RANK = "the budget at once, all ranks together"


def read(scores: Sequence[Path], labels: Sequence[Path]) -> Material | None:
    """Read it; None: the study has no rounds.

    Args:
        scores: counts of errors of earlier rounds, a file a language.
        labels: what became of each cut that a model chose from, a file a choice.

    Raises:
        UserError: see `collected.read_scores`.
    """
    if not scores:
        return None
    return Material(read_scores(scores), pseudo_labels.read(labels))


@dataclass(frozen=True)
class Trained:
    """The model of a round on a test set.

    Attributes:
        cell: of the run.
        number: of the round, from 1.
        own: the cell whose rates are the round's.
        against: what it is compared with -> that cell.
    """

    cell: Cell
    number: int
    own: Cell
    against: dict[str, Cell]


def resampled(counts: pd.DataFrame, material: Material, settings: Settings) -> list[Scored]:
    """Rates of rounds and of what they are compared with, all of one test set in the same
    replicates.

    Args:
        counts: of the study's decodes.
        material: of its rounds.
        settings: how.
    """
    at_once = (one.at_once for one in settings.rounds.values())
    names = set(settings.rounds).union(*at_once)
    # Only these, at full precision: the others would cost time and change nothing.
    wanted = counts.training_set.isin(names) & (counts.precision == FULL) & (counts.hours > 0)
    shared = [name for name in counts.columns if name in material.counts.columns]
    both = pd.concat([counts.loc[wanted, shared], material.counts[shared]], ignore_index=True)
    return resample_all(both, settings)


def rounds_of(scored: Scored, settings: Settings) -> Iterator[Trained]:
    """The rounds that a test set was decoded by, run by run."""
    firsts = sorted(
        (cell for cell in scored.wer if cell.precision == f"{ROUND}1"), key=settings.order_of
    )
    for first in firsts:
        one = settings.rounds.get(first.training_set)
        cell = first._replace(precision=FULL)
        if one is None or not settings.is_for(cell.training_set, scored.lang):
            continue
        before: Cell | None = None
        for number in range(1, len(one.data) + 1):
            last = number == len(one.data)
            own = cell if last else cell._replace(precision=f"{ROUND}{number}")
            if own not in scored.wer:
                break
            against = {PREVIOUS: before} if before else {}
            if last:
                against |= _at_once(cell, one, scored)
            yield Trained(cell, number, own, against)
            before = own


def _at_once(cell: Cell, one: Rounds, scored: Scored) -> dict[str, Cell]:
    """Name -> cell, of runs that were trained at once and decoded."""
    wanted = {BUDGET: cell}
    if one.total_hours is not None:
        wanted[ALL_TEXTS] = cell._replace(hours=one.total_hours)
    if cell.arm in one.rank:
        wanted[RANK] = cell._replace(arm=one.rank[cell.arm])
    found = {}
    for name, each in wanted.items():
        places = (each._replace(training_set=other) for other in one.at_once)
        if (there := next((place for place in places if place in scored.wer), None)) is not None:
            found[name] = there
    return found


@dataclass(frozen=True)
class Chosen:
    """What models chose from for a round of a cell, over its seeds.

    Attributes:
        heard_hours: mean over the seeds.
        kept_share_pct: of the audio.
        heard, kept: WER in percent of the labels of all of it and of what was kept, against the
            texts that people wrote. With several trainings these are of exactly those.
    """

    heard_hours: float
    kept_share_pct: float
    heard: Draws
    kept: Draws


def chosen(
    labels: pd.DataFrame | None, trained: Trained, lang: str, settings: Settings
) -> Chosen | None:
    """Of a round; None where no model chose."""
    if labels is None:
        return None
    cell = trained.cell
    own = labels[
        (labels.training_set == cell.training_set)
        & (labels.arm == cell.arm)
        & (labels.hours == cell.hours)
        & (labels["round"] == trained.number)
        & (labels.lang == lang)
    ]
    if own.empty:
        return None
    kept = own[own.reason == ""]
    total_s = float(own.duration_s.sum())
    return Chosen(
        total_s / 3600 / own.seed.nunique(),
        100.0 * float(kept.duration_s.sum()) / total_s,
        _rate(own, settings, "heard", lang),
        _rate(kept, settings, "kept", lang),
    )


def _rate(rows: pd.DataFrame, settings: Settings, what: str, lang: str) -> Draws:
    """Errors per 100 words; blocks are resampled."""
    sums = rows.groupby("block", sort=True)[["errors", "words"]].sum()
    errors, words = sums.errors.to_numpy(float)[None], sums.words.to_numpy(float)
    random = intervals.generator(settings.seed, "labels", what, lang)
    if not words.sum():
        nothing = np.zeros(settings.replicates)
        return Draws(float("nan"), nothing, nothing, 0, 0)
    replicates = intervals.resample_rates(errors, words, settings.replicates, random)
    return intervals.cell_draws(errors, words, [[0]], replicates)[0].scaled(100.0)
