"""A law that does not exist shows no numbers: in the table, on the page, in figures, in plans."""

import numpy as np
import pandas as pd
import pytest
from made.planted import Truth, score_table
from made.report import DISPLAY
from made.tables import make_tables

from warmstart.evidence import analyses, laws
from warmstart.evidence.analyses.base import Material
from warmstart.evidence.display import Display
from warmstart.evidence.prediction import Question, lines_of
from warmstart.run.errors import UserError

# What a law is made of; axes, counts and the threshold that was asked about are facts.
ESTIMATES = [
    *("exponent_b", "exponent_low_b", "exponent_high_b"),
    *("factor_per_doubling", "factor_low_per_doubling", "factor_high_per_doubling"),
    *("reference_hours", "gap_at_reference_pp", "gap_at_reference_low_pp"),
    *("gap_at_reference_high_pp", "threshold_hours", "threshold_low_hours", "floor_pp"),
    *("threshold_high_hours", "amplitude_sd_pp", "parameters", "chi2", "aic", "weight"),
]


def planted(gaps: dict[float, float], lang: str = "de") -> pd.DataFrame:
    """Scores with a gap of one's own at each budget."""
    parts = []
    for hours, gap in gaps.items():
        truth = Truth(
            hours=(hours,),
            amplitude_pp=gap,
            exponent=0.0,
            tiers=("160ms",),
            tier_gap_pp=(0.0,),
            speakers=60,
        )
        # The same words at every budget.
        parts.append(score_table(truth, np.random.default_rng(3), lang))
    return pd.concat(parts, ignore_index=True)


@pytest.fixture(scope="module")
def tables(tmp_path_factory):
    """Gaps that vanish after the first budget: the steeper a power law, the better it fits."""
    gaps = {100.0: 6.0, 300.0: -0.3, 900.0: -0.3}
    scores = {lang: planted(gaps, lang) for lang in ("de", "fr", "it")}
    return make_tables(tmp_path_factory.mktemp("none"), scores)


def power(tables) -> pd.DataFrame:
    return tables["fit"].query("family == 'power'")


def test_the_row_says_why_and_its_estimates_are_empty(tables):
    rows = power(tables)
    assert set(rows.lang) == {"de", "fr", "it", "pooled"}
    assert rows.status.str.startswith("not estimable: gaps of both signs").all()
    assert rows[ESTIMATES].isna().all().all()
    assert rows.points.tolist() == [3, 3, 3, 9]
    # The other families are compared among themselves.
    others = tables["fit"].query("family != 'power'")
    assert others.groupby("lang").weight.sum().to_numpy() == pytest.approx(1.0, abs=1e-5)
    assert not np.isinf(tables["fit"].select_dtypes("number")).any().any()


def test_so_is_that_of_a_budget_alone(tmp_path):
    rows = power(make_tables(tmp_path, {"de": planted({100.0: 3.0})}))
    assert rows.status.tolist() == ["not estimable: 1 budget(s), a law needs two"]
    assert rows[ESTIMATES].isna().all().all()


def test_the_page_has_dashes_and_no_infinities(tables):
    display = Display.of(DISPLAY)
    sheet = analyses.load("fit").sheet(tables, display, display.contrasts[0])
    labels = [head.label for head in sheet.heads]
    for row in sheet.rows:
        shown = dict(zip(labels, (cell.text for cell in row), strict=True))
        assert shown["Exponent b"] == shown["Per doubling"] == shown["Hours to 0.5 pp"] == "–"
        assert "∞" not in "".join(shown.values())
        assert "not estimable" in shown["Status"]


def test_the_figure_draws_no_line_for_it(tables):
    display = Display.of(DISPLAY)
    (drawing,) = analyses.load("gap").figures
    figure = drawing.draw(Material(tables), display, display.contrasts[0])
    for axis in figure.axes:
        _, labels = axis.get_legend_handles_labels()
        assert all("(h/" not in label for label in labels)


def test_the_planner_refuses_it_with_the_reason(tables):
    with pytest.raises(UserError, match="predicts nothing: not estimable: gaps of both signs"):
        lines_of(tables["fit"], tables["gap"], Question("fleurs", "160ms"), [500.0], 0.95)


def test_a_law_that_exists_keeps_its_numbers(tmp_path):
    rows = power(make_tables(tmp_path, {"de": planted({100.0: 8.0, 200.0: 4.0, 400.0: 2.0})}))
    assert rows.status.tolist() == ["ok"]
    assert rows.exponent_b.iloc[0] == pytest.approx(1.0, abs=0.1)
    assert rows.weight.notna().all()


def test_a_family_that_does_not_exist_is_not_compared():
    hours = np.array([100.0, 200.0, 400.0, 800.0])
    gaps, weights = np.array([[4.0, 2.0, 1.0, 0.5]]), np.ones((1, 4))
    every = laws.compare_shapes(hours, gaps, weights)
    fewer = laws.compare_shapes(hours, gaps, weights, ("power",))
    assert set(every) - set(fewer) == {"power"}
    assert sum(row["weight"] for row in fewer.values()) == pytest.approx(1.0)
