"""Everything that the tables of a study are made from: counts of errors, resampled, and what was
written beside them."""

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from warmstart.evidence import intervals
from warmstart.evidence.keys import Cell, Place
from warmstart.evidence.settings import Contrast, Resampling, Settings
from warmstart.run.errors import UserError
from warmstart.run.files import read_json

_LOG = logging.getLogger(__name__)

COUNTS = [
    *("ref_words", "hits", "substitutions", "deletions", "insertions", "ref_chars"),
    *("char_substitutions", "char_deletions", "char_insertions"),
    *("number_words", "number_errors", "rare_words", "rare_errors"),
]
FLAGS = ["empty", "looping"]


@dataclass(frozen=True)
class Scored:
    """One test set: counts of every cell that was scored on it, and the replicates of its rates.

    All cells share blocks and replicates, whatever their models were trained on.

    Attributes:
        lang, test_set: the test set.
        totals: cell -> counts over all seeds, `utterances`, `seeds`, `blocks`.
        wer, cer: cell -> rate in percent.
    """

    lang: str
    test_set: str
    totals: dict[Cell, dict[str, int]]
    wer: dict[Cell, intervals.Draws]
    cer: dict[Cell, intervals.Draws]

    def gaps(self, contrast: Contrast) -> dict[Place, intervals.Draws]:
        """Place -> WER(baseline) - WER(challenger) in percentage points, where both were
        decoded."""
        found = {}
        for cell, rate in self.wer.items():
            other = cell._replace(arm=contrast.challenger)
            if cell.arm == contrast.baseline and other in self.wer:
                found[cell.place(self.lang)] = rate - self.wer[other]
        return found

    def only(self, wanted: Callable[[Cell], bool]) -> "Scored":
        """The same with fewer cells."""
        return Scored(
            self.lang,
            self.test_set,
            {cell: row for cell, row in self.totals.items() if wanted(cell)},
            {cell: draws for cell, draws in self.wer.items() if wanted(cell)},
            {cell: draws for cell, draws in self.cer.items() if wanted(cell)},
        )


@dataclass(frozen=True)
class Evidence:
    """What a study has measured.

    Attributes:
        counts: counts of errors, a row for each block and decode; see `read_scores`.
        scored: every test set, in the order of the score files.
        compared: the same with those cells only whose training set is for the language.
        headers: what stands beside each hypothesis file.
        encoders: cell -> report of its quantised encoder.
    """

    counts: pd.DataFrame
    scored: list[Scored]
    compared: list[Scored]
    headers: list[dict[str, Any]] = field(default_factory=list)
    encoders: dict[Cell, dict[str, Any]] = field(default_factory=dict)

    def by_test_set(self) -> dict[str, list[Scored]]:
        """Name of a test set -> what is compared on it, a language each, in the order in which
        they came."""
        result: dict[str, list[Scored]] = {}
        for one in self.compared:
            result.setdefault(one.test_set, []).append(one)
        return result


def collect(
    scores: Sequence[Path],
    settings: Settings,
    headers: Sequence[Path] = (),
    reports: Sequence[Path] = (),
) -> Evidence:
    """Read and resample everything.

    Args:
        scores: score files, one a language.
        settings: of the tables.
        headers: JSON beside each hypothesis file.
        reports: `quantize.json` of each quantised encoder.

    Raises:
        UserError: see `read_scores` and `resample`; or the headline test set was not scored.
    """
    counts = read_scores(scores)
    if settings.headline_test_set not in set(counts.test_set):
        have = ", ".join(sorted(set(counts.test_set)))
        raise UserError(
            f"statistics.headline_test_set is {settings.headline_test_set!r}; scored test sets: "
            f"{have}"
        )
    scored = []
    for (lang, test_set), part in counts.groupby(["lang", "test_set"], sort=False):
        scored.append(resample(part, settings))
        blocks, decodes = part.block.nunique(), len(scored[-1].wer)
        _LOG.info("%s %s: %d blocks, %d decodes", lang, test_set, blocks, decodes)
    return Evidence(
        counts,
        scored,
        compared(scored, settings),
        [read_json(path) for path in headers],
        dict(map(_encoder, reports)),
    )


def compared(scored: Sequence[Scored], settings: Settings) -> list[Scored]:
    """What enters gaps: a language that a model was not made for is scored to see what is
    forgotten, and the question of the study is not about it."""
    found = [
        one.only(lambda cell, lang=one.lang: settings.is_for(cell.training_set, lang))
        for one in scored
    ]
    return [one for one in found if one.wer]


def _encoder(path: Path) -> tuple[Cell, dict[str, Any]]:
    """A report of `quantize.py` and the cell that its encoder is decoded in."""
    report = read_json(path)
    run = report["training_set"], report["arm"], float(report["hours"])
    return Cell(*run, report["precision"], report["tier"]), report


def read_scores(paths: Sequence[Path]) -> pd.DataFrame:
    """Counts of all languages, summed inside blocks.

    Returns:
        A row for each decode (`Cell`, seed), test set (lang, test_set) and block: `COUNTS`,
        `FLAGS`, utterances, median `emission_delay_ms`.

    Raises:
        UserError: a file without rows, or languages scored with different versions of the
            normaliser.
    """
    keys = ["lang", "test_set", *Cell._fields, "seed", "block"]
    columns = [*keys, *COUNTS, *FLAGS, "emission_delay_ms", "normaliser_version"]
    parts, versions = [], {}
    for path in paths:
        table = pd.read_parquet(path, columns=columns)
        if table.empty:
            raise UserError(f"{path}: no rows; score the language again")
        versions[str(path)] = int(table.normaliser_version.max())
        table["utterances"] = 1
        grouped = table.groupby(keys, sort=True, observed=True)
        summed = grouped[[*COUNTS, *FLAGS, "utterances"]].sum()
        summed["emission_delay_ms"] = grouped.emission_delay_ms.median()
        parts.append(summed.reset_index())
    if len(set(versions.values())) > 1:
        raise UserError(
            f"scores of different normaliser versions: {versions}; score all languages again"
        )
    return pd.concat(parts, ignore_index=True)


def resample(table: pd.DataFrame, settings: Resampling) -> Scored:
    """Bootstrap one test set.

    Args:
        table: its rows of `read_scores`.
        settings: how.

    Raises:
        UserError: decodes of one test set do not hold the same reference words.
    """
    lang, test_set = table.lang.iloc[0], table.test_set.iloc[0]
    names = list(Cell._fields)
    systems = (
        table[[*names, "seed"]].drop_duplicates().sort_values([*names, "seed"], ignore_index=True)
    )
    table = table.merge(systems.reset_index(names="system"), on=[*names, "seed"])
    words = _grid(table, "ref_words")
    chars = _grid(table, "ref_chars")
    if not (words == words[0]).all():
        odd = systems[(words != words[0]).any(axis=1)].iloc[0].to_dict()
        raise UserError(
            f"{lang} {test_set}: {odd} has other reference words than the first decode; score the "
            "language again"
        )
    groups = systems.groupby(names, sort=True).indices
    cells = [Cell(*key) for key in groups]
    rows = [list(members) for members in groups.values()]

    def seed_random(cell: int) -> np.random.Generator:
        # The run, not the decode, carries training noise. Both arms and all tiers share the picks,
        # and so do all test sets of a run, so that seeds stay paired.
        run = cells[cell].training_set, cells[cell].hours
        return intervals.generator(settings.seed, "seeds", *run)

    def rates(errors: np.ndarray, total: np.ndarray) -> dict[Cell, intervals.Draws]:
        draws = intervals.cell_draws(
            errors,
            total,
            rows,
            settings.replicates,
            intervals.generator(settings.seed, "blocks", lang, test_set),
            seed_random,
        )
        return {cell: draw.scaled(100.0) for cell, draw in zip(cells, draws, strict=True)}

    kinds = ("substitutions", "deletions", "insertions")
    errors = np.sum([_grid(table, name) for name in kinds], axis=0)
    char_errors = np.sum([_grid(table, f"char_{name}") for name in kinds], axis=0)
    grouped = table.groupby(names, sort=True)
    totals = grouped[[*COUNTS, *FLAGS, "utterances"]].sum()
    totals["seeds"] = grouped.seed.nunique()
    totals["blocks"] = grouped.block.nunique()
    return Scored(
        lang,
        test_set,
        {Cell(*key): row for key, row in zip(totals.index, totals.to_dict("records"), strict=True)},
        rates(errors, words[0]),
        rates(char_errors, chars[0]),
    )


def _grid(table: pd.DataFrame, column: str) -> np.ndarray:
    """(systems, blocks) of one count."""
    return table.pivot_table(
        index="system", columns="block", values=column, aggfunc="sum", fill_value=0
    ).to_numpy(float)
