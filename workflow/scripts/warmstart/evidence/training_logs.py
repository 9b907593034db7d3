"""Logs of trainings, as little of them as figures and tables need."""

import itertools
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd

from warmstart.run.files import read_json, reading, require_end

_COLUMNS = ("hours_seen", "loss", "dev_wer")
_MOST_POINTS = 300  # a panel is some 300 points wide; more of them are drawn on top of each other
_FALLS_TO = 0.95  # of the loss at first; less of a fall is within the noise of a few batches


class RunKey(NamedTuple):
    """A run, as curves are named."""

    training_set: str
    arm: str
    hours: str
    seed: int


def read(log: Path) -> tuple[RunKey, pd.DataFrame]:
    """A run, as the record beside its log names it, and its curves.

    Returns:
        The key, and `hours_seen`, `loss` and `dev_wer` as far as they were logged, thinned.
    """
    run = read_json(log.with_name("run.json"))
    key = RunKey(run["training_set"], run["arm"], str(run["hours"]), int(run["seed"]))
    require_end(log)
    with reading(log):
        curve = pd.read_csv(log, usecols=lambda name: name in _COLUMNS)
    kept = [thinned(curve, name).index for name in curve.columns if name != "hours_seen"]
    union = sorted(set().union(*kept)) if kept else curve.index
    return key, curve.loc[union]


def thinned(curve: pd.DataFrame, column: str, most: int = _MOST_POINTS) -> pd.DataFrame:
    """Rows of a curve that draw the same line: the lowest and the highest of each of equal
    stretches, the first and the last.

    Args:
        curve: rows in order; those without a number in `column` are left out.
        column: what is drawn.
        most: rows that are left, about; a curve of no more stays as it is.
    """
    if column not in curve:
        return curve[:0]
    values = pd.to_numeric(curve[column], errors="coerce")
    values = values[values.notna()]
    if len(values) <= most:
        return curve.loc[values.index]
    edges = np.linspace(0, len(values), most // 2 + 1).astype(int)
    keep = {0, len(values) - 1}
    numbers = values.to_numpy()
    for low, high in itertools.pairwise(edges):
        part = numbers[low:high]
        keep |= {low + int(part.argmin()), low + int(part.argmax())}
    return curve.loc[values.index[sorted(keep)]]


def stalled(curve: pd.DataFrame) -> bool:
    """Whether the loss of a training did not fall: the mean of the last quarter of what was logged
    is not below 95 % of that of the first quarter.

    Of fewer than two lines nothing can be said.
    """
    if "loss" not in curve:
        return False
    loss = pd.to_numeric(curve.loss, errors="coerce").dropna().to_numpy(float)
    if len(loss) < 2:
        return False
    quarter = max(1, len(loss) // 4)
    first, last = loss[:quarter].mean(), loss[-quarter:].mean()
    return not last < _FALLS_TO * first
