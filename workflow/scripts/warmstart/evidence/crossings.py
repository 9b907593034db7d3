"""Where a measured curve takes a value: isotonic curves through a few points, and lines between
them, in every replicate at once."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from warmstart.evidence import intervals
from warmstart.evidence.intervals import Draws
from warmstart.evidence.means import NAN, with_interval

OK = "ok"


def falling(values: np.ndarray) -> np.ndarray:
    """The nearest curve that never rises, by least squares with equal weights: isotonic regression
    in its min-max form (Robertson, Wright & Dykstra 1988, "Order Restricted Statistical
    Inference", 1.4). One training that went badly must not make a curve cross a value twice.

    Args:
        values: (N, ...) along the first axis.
    """
    count = len(values)
    sums = np.concatenate([np.zeros((1, *values.shape[1:])), np.cumsum(values, axis=0)])

    def from_here(start: int, place: int) -> np.ndarray:
        means = [(sums[end + 1] - sums[start]) / (end + 1 - start) for end in range(place, count)]
        return np.max(means, axis=0)

    return np.array(
        [
            np.min([from_here(start, place) for start in range(place + 1)], axis=0)
            for place in range(count)
        ]
    )


def reached(at: np.ndarray, values: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """Where a curve that never rises first comes down to a value, on straight lines between its
    points.

    Args:
        at: (N,) places, rising.
        values: (N, R) a curve for each of R replicates; `falling` is done to it first.
        wanted: (R,) values.

    Returns:
        (R,) places; minus infinity where the curve begins below, infinity where it ends above.
    """
    curve = falling(values)
    below = curve <= wanted
    first = np.where(below.any(axis=0), below.argmax(axis=0), len(at))
    after = np.clip(first, 1, len(at) - 1)
    every = np.arange(curve.shape[1])
    high, low = curve[after - 1, every], curve[after, every]
    with np.errstate(invalid="ignore", divide="ignore"):
        part = np.where(high > low, (high - wanted) / (high - low), 0.0)
    found = at[after - 1] + part * (at[after] - at[after - 1])
    at_first = np.where(curve[0] == wanted, at[0], -np.inf)
    return np.select([first == 0, first == len(at)], [at_first, np.inf], found)


@dataclass(frozen=True)
class Crossing:
    """Where a curve takes a value.

    Attributes:
        value: NaN outside of what was measured.
        low, high: bounds.
        beyond: `above`, `below` or empty.
        status: `ok`, or why there is no estimate.
    """

    value: float = NAN
    low: float = NAN
    high: float = NAN
    beyond: str = ""
    status: str = OK

    def columns(self, name: str, unit: str) -> dict[str, Any]:
        """Its columns in the table."""
        return {
            **with_interval(name, unit, self.value, (self.low, self.high)),
            "beyond": self.beyond or None,
            "status": self.status,
        }


def clean_hours(clean: Mapping[float, Draws], dirty: Draws | None, confidence: float) -> Crossing:
    """The clean hours that have the WER of a dirty set, on lines between logarithms of hours.

    Args:
        clean: hours -> WER, of models that recognise.
        dirty: the WER; None: its model does not recognise.
        confidence: of the interval.
    """
    if dirty is None:
        return Crossing(status="not estimable: the model does not recognise")
    if len(clean) < 2:
        return Crossing(
            status=f"not estimable: {len(clean)} clean budget(s) that recognise, two are needed"
        )
    hours = sorted(clean)
    return _crossing(
        np.log(hours),
        [clean[each] for each in hours],
        dirty,
        confidence,
        np.exp,
        ("fewer than the {:g} h of the smallest clean budget", hours[0]),
        ("more than the {:g} h of the largest clean budget", hours[-1]),
    )


def dirty_share(
    dirty: Mapping[float, Draws], clean: Draws, confidence: float, lost: float | None = None
) -> Crossing:
    """The share in percent at which dirty texts have the WER of fewer clean ones, on lines between
    shares.

    Args:
        dirty: share -> WER at the same hours, of models that recognise.
        clean: the WER of the clean texts.
        confidence: of the interval.
        lost: the smallest share at which a model does not recognise, which bounds the answer.
    """
    if len(dirty) < 2:
        return Crossing(
            status=f"not estimable: {len(dirty)} share(s) that recognise, two are needed"
        )
    shares = sorted(dirty)
    # A WER that rises with the share is one that falls with what is clean.
    found = _crossing(
        np.array(shares),
        [dirty[each].scaled(-1.0) for each in shares],
        clean.scaled(-1.0),
        confidence,
        lambda share: 100 * share,
        ("less than the smallest share, {:.0%}", shares[0]),
        ("more than the largest share, {:.0%}", shares[-1]),
    )
    if lost is None or lost < shares[-1]:
        return found
    status = found.status
    if found.beyond == "above":
        status += f" of those that recognise, and less than {lost:.0%}"
    return replace(found, high=min(found.high, 100 * lost), status=status)


def _crossing(
    at: np.ndarray,
    points: Sequence[Draws],
    wanted: Draws,
    confidence: float,
    unit: Callable[[Any], Any],
    below: tuple[str, float],
    above: tuple[str, float],
) -> Crossing:
    """Where a falling curve reaches a value, in its own unit; `below` and `above` say what lies
    outside of it."""
    if not all(each.varies for each in [*points, wanted]):
        return Crossing(status="not estimable: the same in every block")
    df = min(each.df for each in [*points, wanted])
    values = np.stack([np.append(each.value, each.all) for each in points])
    found = reached(at, values, np.append(wanted.value, wanted.all))
    low, high = intervals.interval(found[1:], confidence, df)
    if math.isnan(low):
        return Crossing(status="not estimable: fewer than two blocks")
    # All that is known beyond the ends of the curve is that a place is there.
    low, high = min(low, float(at[-1])), max(high, float(at[0]))
    low, high = (max(0.0, float(unit(bound))) for bound in (low, high))
    if math.isfinite(found[0]):
        return Crossing(float(unit(found[0])), low, high)
    side, (said, edge) = ("below", below) if found[0] < 0 else ("above", above)
    return Crossing(NAN, low, high, side, f"not estimable: {said.format(edge)}")
