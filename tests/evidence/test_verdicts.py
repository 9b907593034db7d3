"""What is said of differences: size before sign, adjusted for the table, and of what."""

import itertools
import math

import numpy as np
import pytest

from warmstart.evidence import trainings, verdicts
from warmstart.evidence.intervals import Draws
from warmstart.evidence.verdicts import BEYOND, OPEN, THERE, WITHIN, judge

_NORMAL = np.random.default_rng(0).standard_normal(60)
_NORMAL = (_NORMAL - _NORMAL.mean()) / _NORMAL.std()
BOUND, ALPHA = 0.5, 0.05


def draws(value, error, df=200.0):
    """An estimate with a standard error."""
    return Draws(value, error * _NORMAL, np.zeros(len(_NORMAL)), df, 0)


def said(*differences):
    return [one.verdict for one in judge(differences, BOUND, ALPHA)]


@pytest.mark.parametrize(
    ("value", "error", "verdict"),
    [
        # Significant by its sign (z = 6), and surely too small to matter.
        (0.3, 0.05, WITHIN),
        (-0.3, 0.05, WITHIN),
        # z = 4, but 0.5 is 1 standard error away on one side or the other.
        (0.4, 0.1, THERE),
        (-0.6, 0.15, THERE),
        # Beyond the bound by 2.5 standard errors.
        (0.75, 0.1, BEYOND),
        (-0.75, 0.1, BEYOND),
        (0.1, 0.4, OPEN),
        (0.0, 0.2, WITHIN),
    ],
)
def test_size_comes_before_sign(value, error, verdict):
    assert said(draws(value, error)) == [verdict]


def test_the_tests_are_those_that_the_intervals_show():
    """The 95 % interval against the bound, the 90 % interval inside it: by hand, with z of 1.96 and
    1.645."""
    error = 0.1
    for value in (0.5 + 1.9 * error, 0.5 + 2.1 * error):
        tests = verdicts.tests_of(draws(value, error, df=1e6), BOUND)
        assert (tests.beyond < 0.05) == (value - 1.96 * error > BOUND)
    for value in (0.5 - 1.6 * error, 0.5 - 1.7 * error):
        tests = verdicts.tests_of(draws(value, error, df=1e6), BOUND)
        assert (tests.within < 0.05) == (value + 1.645 * error < BOUND)


def test_verdicts_are_adjusted_for_all_rows_in_any_order_and_without_those_that_have_no_p():
    # p of 0.02 each: any alone is there, and none of three is (3 x 0.02 > 0.05).
    alone = draws(0.465, 0.2)
    assert said(alone) == [THERE]
    assert said(alone, alone, alone) == [OPEN] * 3
    # Two that cannot be judged are no rows.
    still = Draws(0.3, np.zeros(60), np.zeros(60), 50, 0)
    rows = [None, draws(3.0, 0.2), still, alone, draws(0.0, 0.1), draws(9.0, 0.1, df=0)]
    wanted = [OPEN, BEYOND, OPEN, THERE, WITHIN, OPEN]
    for order in itertools.islice(itertools.permutations(range(len(rows))), 0, None, 60):
        assert said(*(rows[place] for place in order)) == [wanted[place] for place in order]
    judged = judge(rows, BOUND, ALPHA)
    assert np.isnan(judged[2].single.there)
    assert np.isnan(judged[5].adjusted.there)
    assert judged[3].adjusted.there == pytest.approx(2 * judged[3].single.there)


def planted(truth, error, rows, studies, seed=0):
    """Share of studies with any verdict of a kind, of tables in which every gap is `truth`."""
    random = np.random.default_rng(seed)
    kinds = dict.fromkeys((WITHIN, BEYOND, THERE, OPEN), 0)
    for _ in range(studies):
        found = set(said(*(draws(random.normal(truth, error), error) for _ in range(rows))))
        for kind in found:
            kinds[kind] += 1
    return {kind: count / studies for kind, count in kinds.items()}


def test_a_gap_that_does_not_matter_is_rarely_taken():
    """Truths under the threshold, 6 rows a table: of 40 studies at most 7 (four standard errors
    above 5 %) may take an arm anywhere, or call a gap on the threshold small."""
    assert planted(0.4, 0.3, 6, 40)[BEYOND] <= 7 / 40
    on_it = planted(0.5, 0.1, 6, 40)
    assert on_it[WITHIN] <= 7 / 40
    assert on_it[BEYOND] <= 7 / 40
    # And what is large is found, what is small too.
    assert planted(4.0, 0.3, 6, 5)[BEYOND] == 1
    assert planted(0.0, 0.1, 6, 5)[WITHIN] == 1


@pytest.mark.parametrize(
    ("errors", "name"),
    [
        ([], "95 % interval of these trainings"),
        ([math.nan], "95 % interval of these trainings"),
        ([0.2, 0.0], "95 % interval"),
        ([0.2, math.nan], "95 % interval (of these trainings where each was done once)"),
    ],
)
def test_an_interval_says_what_it_is_of(errors, name):
    """Errors by trainings; of some nothing is known."""
    assert trainings.interval_name("95", errors) == name
