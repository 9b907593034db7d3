"""Rates of every cell as the Open ASR Leaderboard would state them, and what of the difference to
ours each of its rules makes."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from warmstart.evidence import leaderboard
from warmstart.evidence.keys import Cell
from warmstart.evidence.leaderboard import LEFT_OUT, NOT_ESTIMABLE, OK, RULES, Counts
from warmstart.run.errors import UserError
from warmstart.run.files import reading


@dataclass(frozen=True)
class Summed:
    """A cell beside the leaderboard, all seeds together.

    Attributes:
        status: `ok`, or `not estimable: ...`.
        utterances: counted once for each seed.
        left_out: those of them that the leaderboard does not score.
        changed: those with another number of errors.
        ours, theirs: words and errors.
        utterances_of: rule -> utterances whose errors or reference words it changes.
        changes: rule -> words and errors that it adds, in the order of `RULES`.
    """

    status: str
    utterances: int
    left_out: int
    changed: int
    ours: Counts
    theirs: Counts
    utterances_of: Mapping[str, int]
    changes: Mapping[str, Counts]

    @property
    def wer_pct(self) -> float:
        """By the leaderboard's rules; NaN where not estimable."""
        return _pct(self.theirs) if self.status == OK else float("nan")

    @property
    def less_ours_pp(self) -> float:
        """Theirs minus ours."""
        return self.wer_pct - _pct(self.ours)

    def by_rule_pp(self) -> dict[str, float]:
        """Rule -> percentage points that it adds to the rate, with those before it in `RULES`
        applied. Their sum is `less_ours_pp`."""
        if self.status != OK:
            return dict.fromkeys(RULES, float("nan"))
        found, now = {}, self.ours
        for rule, change in self.changes.items():
            after = now.plus(change)
            found[rule] = _pct(after) - _pct(now)
            now = after
        return found


Place = tuple[str, str, Cell]
"""Language and name of a test set, and a cell of it."""


def _pct(counts: Counts) -> float:
    return 100.0 * counts.errors / counts.words if counts.words else float("nan")


_KEYS = ["lang", "test_set", *Cell._fields]
_OURS = ("ref_words", "substitutions", "deletions", "insertions")
_FIXED = ("leaderboard_status", "leaderboard_version")


def read(paths: Iterable[Path]) -> dict[Place, Summed]:
    """What score files say of every cell; nothing of files from before they said it.

    Raises:
        UserError: languages scored with different versions of the leaderboard's rules.
    """
    import pandas as pd
    import pyarrow.parquet

    parts, versions = [], {}
    for path in paths:
        with reading(path):
            file = pyarrow.parquet.ParquetFile(path, page_checksum_verification=True)
            if _FIXED[0] not in file.schema_arrow.names:
                continue
            for number in range(file.num_row_groups):
                table = file.read_row_group(
                    number, columns=[*_KEYS, *_OURS, *_FIXED, *leaderboard.COLUMNS]
                )
                parts.append(_summed(table).to_pandas())
                for version in parts[-1].leaderboard_version.unique():
                    versions.setdefault(int(version), str(path))
    if len(versions) > 1:
        raise UserError(
            f"scores of different versions of the leaderboard's rules: {versions}; score all "
            "languages again"
        )
    if not parts:
        return {}
    table = pd.concat(parts, ignore_index=True)
    sums = [name for name in table if name not in (*_KEYS, *_FIXED)]
    found = {}
    for key, part in table.groupby(_KEYS, sort=False):
        lang, test_set, *values = key
        totals = part[sums].fillna(0).sum()
        found[lang, test_set, Cell(*values)] = _of(totals, _worst(part.leaderboard_status))
    return found


def _summed(table: Any) -> Any:
    """Rows of a score file, summed by cell, status and version; `utterances` and those whose errors
    change are counted."""
    import pyarrow
    import pyarrow.compute as pc

    errors = pc.add(pc.add(table["substitutions"], table["deletions"]), table["insertions"])

    def counted(true: Any) -> Any:
        return pc.fill_null(true, False).cast(pyarrow.int64())

    def changed(rule: str) -> Any:
        counts = (table[f"leaderboard_{rule}_{what}"] for what in ("words", "errors"))
        return counted(pc.or_(*(pc.not_equal(count, 0) for count in counts)))

    made = {
        "errors": errors,
        "utterances": pyarrow.array([1] * len(table)),
        "left_out": counted(pc.equal(table["leaderboard_status"], LEFT_OUT)),
        "changed": counted(pc.not_equal(errors, table["leaderboard_errors"])),
        **{f"{rule}_utterances": changed(rule) for rule in RULES},
    }
    for name, column in made.items():
        table = table.append_column(name, column)
    sums = ["ref_words", *made, *leaderboard.COLUMNS]
    grouped = table.group_by([*_KEYS, *_FIXED]).aggregate([(name, "sum") for name in sums])
    return grouped.rename_columns([name.removesuffix("_sum") for name in grouped.column_names])


def _worst(statuses: Iterable[str]) -> str:
    return next((one for one in statuses if one.startswith(NOT_ESTIMABLE)), OK)


def _of(totals: Any, status: str) -> Summed:
    def counts(words: str, errors: str) -> Counts:
        return Counts(int(totals[words]), int(totals[errors]))

    theirs = counts("leaderboard_words", "leaderboard_errors")
    if status == OK and not theirs.words:
        status = f"{NOT_ESTIMABLE}no reference has a word by the leaderboard's rules"
    return Summed(
        status,
        int(totals.utterances),
        int(totals.left_out),
        int(totals.changed),
        counts("ref_words", "errors"),
        theirs,
        {rule: int(totals[f"{rule}_utterances"]) for rule in RULES},
        {rule: counts(f"leaderboard_{rule}_words", f"leaderboard_{rule}_errors") for rule in RULES},
    )
