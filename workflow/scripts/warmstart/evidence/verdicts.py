"""What may be said of differences: one rule for every table with verdicts.

Size comes before sign. A difference that is surely within a bound is called so whatever its sign,
because on a large test set a difference that nobody would notice is significant too. One that is
surely there, and not surely beyond the bound, is told without a size.

Verdicts are adjusted for the rows of their table by Holm's step-down procedure (Holm 1979,
doi:10.2307/4615733): the chance that any verdict of a kind is false stays at alpha, over all rows.
It holds under every dependence, and rows depend on each other: a mean holds its languages, all
tiers are compared with one. A false discovery rate would let a share of the advice be false, and a
reader takes one row of it.
"""

import dataclasses
import math
from collections.abc import Sequence

from warmstart.evidence import intervals

WITHIN = "within"
BEYOND = "beyond"
THERE = "there"
OPEN = "open"


@dataclasses.dataclass(frozen=True)
class Tests:
    """p-values of one difference; NaN where it cannot be judged.

    Attributes:
        there: two-sided, of "no difference".
        beyond: two-sided, of "within the bound": below 1 - confidence where the interval lies
            outside the bound.
        within: larger p of the two one-sided tests of "outside the bound" (Schuirmann 1987,
            doi:10.1007/BF01068419): below alpha where the (1 - 2 alpha) interval lies inside.
    """

    __test__ = False  # pytest takes the name for a collection of tests

    there: float = math.nan
    beyond: float = math.nan
    within: float = math.nan


@dataclasses.dataclass(frozen=True)
class Judged:
    """A difference among those of its table.

    Attributes:
        single, adjusted: p-values of it alone, and after Holm over the table.
        verdict: `WITHIN`, `BEYOND`, `THERE` (surely not zero, of a size that is not decided) or
            `OPEN`.
    """

    single: Tests
    adjusted: Tests
    verdict: str


def judge(
    differences: Sequence[intervals.Draws | None], bound: float, alpha: float
) -> list[Judged]:
    """Verdicts of a table's rows.

    Args:
        differences: of all rows that the adjustment is over, in any order; None where there is
            nothing to judge, which counts as no row.
        bound: in the unit of the differences, above 0.
        alpha: chance of a false verdict of a kind, over all rows.
    """
    single = [tests_of(draws, bound) for draws in differences]
    adjusted = [
        Tests(*ps)
        for ps in zip(
            *(
                intervals.holm([getattr(tests, field.name) for tests in single])
                for field in dataclasses.fields(Tests)
            ),
            strict=True,
        )
    ]
    return [
        Judged(alone, among, _verdict(among, alpha))
        for alone, among in zip(single, adjusted, strict=True)
    ]


def tests_of(draws: intervals.Draws | None, bound: float) -> Tests:
    """The tests of one difference, without an adjustment."""
    if draws is None or not draws.varies or math.isnan(draws.p_value()):
        return Tests()
    above, below = (_greater(draws, at) for at in (bound, -bound))
    return Tests(
        there=draws.p_value(),
        beyond=min(1.0, 2 * min(above, 1 - below)),
        within=max(1 - above, below),
    )


def _greater(draws: intervals.Draws, at: float) -> float:
    """One-sided p of "the true value is at most `at`", by the rule of `Draws.p_value`."""
    moved = dataclasses.replace(draws, value=draws.value - at)
    p = moved.p_value()
    return p / 2 if moved.value > 0 else 1 - p / 2


def _verdict(tests: Tests, alpha: float) -> str:
    """The verdict of adjusted tests. None contradicts the interval that stands beside it, which
    inverts the same tests without an adjustment (`intervals.Draws`)."""
    # Comparisons with NaN are false, so that what cannot be judged stays open.
    if tests.within < alpha:
        return WITHIN
    if tests.beyond < alpha:
        return BEYOND
    return THERE if tests.there < alpha else OPEN
