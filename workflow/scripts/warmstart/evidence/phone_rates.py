"""Rates of models that write phones, resampled as those of words are: the phone error rate (PER),
and the same with substitutions that cost the share of features that differ (PFER).

Both are ratios of sums over the phones of the references. Their intervals follow the rule of the
word error rate, because they are made by the same code: a phone stands where a word stands there.
"""

from collections.abc import Collection, Sequence
from dataclasses import replace
from pathlib import Path

import pandas as pd

from warmstart.evidence import collected
from warmstart.evidence.collected import COUNTS, FLAGS, KINDS, PhoneRates, Scored
from warmstart.evidence.keys import Cell
from warmstart.evidence.settings import Settings
from warmstart.run.errors import UserError
from warmstart.run.files import reading

_READ = ("lang", "test_set", *Cell._fields, "seed", "block", "speaker", "phones", *KINDS, *FLAGS)


def read(
    paths: Sequence[Path],
    settings: Settings,
    logs: Sequence[Path] = (),
) -> PhoneRates:
    """All rates of files of `score_phones.py`.

    Args:
        paths: one a language; none where no model writes phones.
        settings: of the tables.
        logs: `train.csv` of each run, with its `run.json` beside it.

    Raises:
        UserError: a file without rows, or see `collected.resample_all`.
    """
    if not paths:
        return PhoneRates()
    rows = pd.concat([_read(path) for path in paths], ignore_index=True)
    stalled = collected.stalled_runs(logs)
    features = rows.assign(substitutions=rows.feature_errors, deletions=0, insertions=0)
    untrained = rows[rows.mapped_substitutions.notna()]
    mapped = untrained.assign(**{kind: untrained[f"mapped_{kind}"] for kind in KINDS})
    return PhoneRates(
        *(
            [_named(one) for one in _resampled(each, settings, stalled)]
            for each in (rows, features, mapped)
        )
    )


def _read(path: Path) -> pd.DataFrame:
    with reading(path):
        mapped = [f"mapped_{kind}" for kind in KINDS]
        table = pd.read_parquet(path, columns=[*_READ, "feature_errors", *mapped])
    if table.empty:
        raise UserError(f"{path}: no rows; score the language again")
    return table


def _resampled(
    rows: pd.DataFrame, settings: Settings, stalled: Collection[tuple[str, str, float, int]]
) -> list[Scored]:
    if rows.empty:
        return []
    table = rows.rename(columns={"phones": "ref_words"})
    # Whether a model recognises is judged by its letters, which are right by luck more easily than
    # words (`recognition.MOST_CER_PCT`): so are phones.
    table = table.assign(
        ref_chars=table.ref_words, **{f"char_{kind}": table[kind] for kind in KINDS}
    )
    table = table.assign(**{name: 0 for name in COUNTS if name not in table})
    table = table.assign(emission_delay_ms=float("nan"))
    counts = collected.summed(table, Path("phone scores"))
    langs = tuple(counts.lang.unique())
    return collected.resample_all(counts, replace(settings, unspaced=langs), stalled)


def _named(one: Scored) -> Scored:
    """The same, with faults that call a rate of phones by its name."""
    return replace(
        one, faults={cell: why.replace("CER", "PER") for cell, why in one.faults.items()}
    )
