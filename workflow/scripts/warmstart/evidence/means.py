"""Estimates per language, and their mean over languages."""

import dataclasses
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from warmstart.evidence import intervals
from warmstart.evidence.keys import MEAN, name_of

NAN = float("nan")


@dataclass(frozen=True)
class Estimate:
    """One row of a table of differences, before its own columns are added.

    Attributes:
        place: what was estimated; its first part is the training set.
        lang: a language, or `mean`.
        languages_as: `one`, `fixed` or `sampled`.
        langs: languages in it.
        test_set: name of the test set.
        draws: None for `sampled`, whose interval is not the bootstrap's.
        value, low, high: NaN where `status` says that it is not estimable.
        status: `ok`, or `not estimable: ...`.
    """

    place: Any
    lang: str
    languages_as: str
    langs: tuple[str, ...]
    test_set: str
    draws: intervals.Draws | None
    value: float
    low: float
    high: float
    status: str

    @property
    def training_set(self) -> str:
        """The training set of a language's row; `own` in a mean where each language has its own."""
        part = self.place.training_set
        return part if self.lang == MEAN else name_of(part, self.lang)

    def axes(self) -> dict[str, Any]:
        """The columns that all tables of differences have."""
        return {
            "training_set": self.training_set,
            "lang": self.lang,
            "languages_as": self.languages_as,
            "languages": len(self.langs),
            "test_set": self.test_set,
        }


def over_languages(
    test_set: str,
    members: Mapping[str, Mapping[Any, intervals.Draws]],
    confidence: float,
    order: Callable[[Any], Any] | None = None,
) -> list[Estimate]:
    """Estimates per language, then their mean: with the languages as fixed, and as a sample of
    languages.

    Args:
        test_set: name of the test set.
        members: language -> place -> estimate. A place is a named tuple whose field
            `training_set` is as in `keys.Place`.
        confidence: of the intervals.
        order: what places are sorted by (`Settings.order_of`); None: themselves.

    Returns:
        For each place, in the order of places: the languages, `fixed` where there are two or more,
        `sampled`.
    """
    rows = []
    found = {place for places in members.values() for place in places}
    for place in sorted(found, key=order):
        have = {lang: places[place] for lang, places in members.items() if place in places}
        for lang, draws in have.items():
            rows.append(_row(place, lang, "one", (lang,), test_set, draws, confidence))
        if len(have) > 1:
            mean = intervals.mean_of(list(have.values()))
            row = _row(place, MEAN, "fixed", tuple(have), test_set, mean, confidence)
            rows.append(dataclasses.replace(row, status=status_of(have)))
        value, low, high = intervals.mean_over_sampled(
            [draws.value for draws in have.values()], confidence
        )
        status = (
            "ok" if not math.isnan(low) else f"not estimable: {len(have)} of at least 3 languages"
        )
        rows.append(
            Estimate(
                place,
                MEAN,
                "sampled",
                tuple(have),
                test_set,
                None,
                value if status == "ok" else NAN,
                low,
                high,
                status,
            )
        )
    return rows


def _row(
    place: Any,
    lang: str,
    languages_as: str,
    langs: tuple[str, ...],
    test_set: str,
    draws: intervals.Draws,
    confidence: float,
) -> Estimate:
    low, high = draws.interval(confidence)
    status = status_of({"": draws})
    return Estimate(
        place, lang, languages_as, langs, test_set, draws, draws.value, low, high, status
    )


def status_of(members: Mapping[str, intervals.Draws]) -> str:
    """`ok`, or why an estimate has no interval.

    Args:
        members: language -> estimate; of a mean all of its languages, because one of which nothing
            is known would count as known exactly. One without a name is the estimate itself.
    """
    found = {lang: why for lang, draws in members.items() if (why := _unknown(draws))}
    listed = "; ".join(f"{lang}: {why}" if lang else why for lang, why in found.items())
    return f"not estimable: {listed}" if found else "ok"


def _unknown(draws: intervals.Draws) -> str:
    """Why an estimate has no interval; empty where it has one."""
    if math.isnan(draws.value):
        return "no words in the references"
    if draws.block_df < 1:
        return "fewer than two blocks"
    return "" if draws.varies else "the same in every block"


def training_error(draws: intervals.Draws) -> float:
    """Standard error by trainings alone; NaN where the interval does not hold their noise."""
    return math.sqrt(draws.seed_variance) if draws.seed_df else NAN


def with_interval(
    name: str, unit: str, value: float, bounds: tuple[float, float]
) -> dict[str, float]:
    """An estimate in the three columns that `columns.estimate` declares."""
    return {
        f"{name}_{unit}": value,
        f"{name}_low_{unit}": bounds[0],
        f"{name}_high_{unit}": bounds[1],
    }


def ratio_pct(part: float, whole: float) -> float:
    """A share in percent; NaN of nothing."""
    return 100.0 * part / whole if whole else NAN
