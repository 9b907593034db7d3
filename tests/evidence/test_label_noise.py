"""What clean texts are worth: planted costs, equal hours and equal shares come back, and what was
not measured is not said."""

import json
import math

import numpy as np
import pytest
from made.planted import Truth, score_table
from made.report import DISPLAY, rows_of
from made.tables import make_tables

from warmstart.evidence import crossings
from warmstart.evidence.analyses import base, load
from warmstart.evidence.display import Display

# Clean texts: 8 + 6·(h/100)^−0.4; what dirt adds is the same at all hours.
COST_PP = {"ml": 0.0, "swap25": 1.101, "swap50": 1.830, "en": 4.0}
TRUTH = Truth(
    arms=tuple(COST_PP.items()),
    amplitude_pp=1.0,
    exponent=0.0,
    hours=(100.0, 200.0, 400.0, 800.0),
    tiers=("160ms",),
    tier_gap_pp=(0.0,),
    speakers=400,
)
SWAPS = {
    f"{lang}_swap{share}": {"clean": lang, "corrupt": share / 100, "kind": "swap"}
    for lang in ("it", "fr")
    for share in (25, 50)
}
TARGETS = {name: [name[:2]] for name in ("it", "fr", *SWAPS)}


def clean_pct(hours):
    return 8 + 6 * (hours / 100) ** -0.4


def scores(lang, truth=TRUTH, seed=3):
    """The arms `swap25` and `swap50` of a planted study, as training sets of the arm `ml`."""
    table = score_table(truth, np.random.default_rng(seed), lang)
    dirty = table.arm.str.startswith("swap")
    sets = np.where(dirty, f"{lang}_" + table.arm, lang)
    return table.assign(training_set=sets, arm=table.arm.where(~dirty, "ml"))


@pytest.fixture(scope="module")
def tables(tmp_path_factory):
    folder = tmp_path_factory.mktemp("labels")
    report = folder / "labels.json"
    done = {"training_set": "it_swap25", "lang": "it", "budget_hours": 400, "label_wer": 0.23}
    report.write_text(json.dumps(done), encoding="utf-8")
    return make_tables(
        folder,
        {"it": scores("it"), "fr": scores("fr", seed=4)},
        ["--labels", str(report)],
        dirty=SWAPS,
        targets=TARGETS,
    )


@pytest.fixture(scope="module")
def table(tables):
    return tables["label_noise"]


def one(table, **wanted):
    for key, value in wanted.items():
        table = table[table[key] == value]
    assert len(table) == 1
    return table.iloc[0]


@pytest.mark.slow
def test_the_planted_cost_of_dirt_comes_back(table):
    for lang in ("it", "fr"):
        for share in (25, 50):
            row = one(table, asked="cost", training_set=f"{lang}_swap{share}", hours=400.0)
            truth = COST_PP[f"swap{share}"]
            assert row.cost_low_pp < truth < row.cost_high_pp
            assert row.cost_low_pp > 0
            assert row.p_value < 0.01
            assert row.wer_low_pct < clean_pct(400) + truth < row.wer_high_pct
            assert (row.corrupt_pct, row.kind, row.status) == (share, "swap", "ok")
    mean = one(
        table, asked="cost", lang="mean", languages_as="fixed", corrupt_pct=25.0, hours=400.0
    )
    assert mean.training_set == "own"
    assert mean.cost_low_pp < 1.101 < mean.cost_high_pp
    clean = one(table, asked="cost", training_set="it", hours=400.0, arm="ml")
    assert (clean.corrupt_pct, clean.label_wer_pct) == (0, 0)
    assert math.isnan(clean.cost_pp)


@pytest.mark.slow
def test_clean_hours_of_the_same_wer_come_back(table):
    """At 400 h the cost of 25 % is that between 400 and 200 clean hours. That of 50 % is 13.28 %,
    which lies 0.499 of the way from 14.00 at 100 h to 12.55 at 200 h: 141 h."""
    for share, truth in ((25, 200.0), (50, 141.0)):
        row = one(table, asked="clean_hours", training_set=f"it_swap{share}", hours=400.0)
        assert row.equal_low_hours < truth < row.equal_high_hours
        assert row.equal_hours == pytest.approx(truth, rel=0.12)
        assert (row.status, row.corrupt_pct) == ("ok", share)
    # At 100 h any dirt is worse than the smallest clean budget.
    row = one(table, asked="clean_hours", training_set="it_swap50", hours=100.0)
    assert math.isnan(row.equal_hours)
    assert row.beyond == "below"
    assert row.status == "not estimable: fewer than the 100 h of the smallest clean budget"
    assert (row.equal_low_hours, row.equal_high_hours) == (0, pytest.approx(100))


@pytest.mark.slow
def test_the_share_at_which_more_hours_do_what_fewer_clean_ones_do_comes_back(table):
    """800 h as 400: 0.834 points of the 1.101 that 25 % cost. 400 as 200: 25 %. 200 as 100: 1.453
    points, 0.483 of the way from 25 to 50 %."""
    for hours, fewer, truth in ((800, 400, 18.9), (400, 200, 25.0), (200, 100, 37.1)):
        row = one(
            table,
            asked="dirty_share",
            lang="it",
            arm="ml",
            hours=float(hours),
            compared_hours=float(fewer),
        )
        assert row.equal_share_low_pct < truth < row.equal_share_high_pct
        assert row.equal_share_pct == pytest.approx(truth, abs=5)
    # 100 clean hours are worse than 800 h of which half is dirty.
    row = one(table, asked="dirty_share", lang="it", hours=800.0, compared_hours=100.0)
    assert (row.beyond, math.isnan(row.equal_share_pct)) == ("above", True)
    assert row.status == "not estimable: more than the largest share, 50%"
    assert 40 < row.equal_share_low_pct <= 50
    assert math.isinf(row.equal_share_high_pct)


@pytest.mark.slow
def test_the_word_error_rate_of_labels_is_told_where_it_is_known(table):
    rows = table[(table.asked == "cost") & (table.lang == "it")]
    assert one(rows, training_set="it_swap25", hours=400.0).label_wer_pct == pytest.approx(23)
    assert math.isnan(one(rows, training_set="it_swap50", hours=400.0).label_wer_pct)


@pytest.mark.slow
def test_without_a_clean_set_or_a_second_budget_nothing_equals_anything(tmp_path):
    few = scores("it", Truth(**{**vars(TRUTH), "hours": (100.0,), "speakers": 30}))
    for clean, cost, hours in (
        (None, "not estimable: no clean set of the same hours", []),
        (
            "it",
            "ok",
            ["not estimable: 1 clean budget(s) that recognise, two are needed"] * 2,
        ),
    ):
        folder = tmp_path / str(clean)
        folder.mkdir()
        dirty = {name: {**SWAPS[name], "clean": clean} for name in ("it_swap25", "it_swap50")}
        table = make_tables(folder, {"it": few}, dirty=dirty, targets=TARGETS)["label_noise"]
        costs = table[(table.asked == "cost") & (table.corrupt_pct > 0)]
        assert set(costs[costs.lang == "it"].status) == {cost}
        assert list(table[table.asked == "clean_hours"].status) == hours


@pytest.mark.slow
def test_a_study_of_clean_texts_has_an_empty_table(tmp_path):
    table = make_tables(tmp_path, {"it": scores("it")}, targets=TARGETS)["label_noise"]
    assert len(table) == 0
    assert list(table) == [column.name for column in load("label_noise").columns]


@pytest.mark.slow
def test_models_that_do_not_recognise_are_no_points_of_a_curve(tmp_path):
    """Half of the texts wrong: nothing is recognised, so the curve over shares ends at 25 %."""
    lost = scores("it", Truth(**{**vars(TRUTH), "speakers": 60}))
    silent = lost.training_set == "it_swap50"
    lost.loc[silent, ["substitutions", "hits"]] = np.column_stack(
        [lost.ref_words[silent], 0 * lost.ref_words[silent]]
    )
    table = make_tables(tmp_path, {"it": lost}, dirty=SWAPS, targets=TARGETS)["label_noise"]
    row = one(table, asked="clean_hours", training_set="it_swap50", hours=400.0)
    assert row.status == "not estimable: the model does not recognise"
    assert row.recognition.startswith("not recognising")
    row = one(table, asked="dirty_share", lang="it", hours=800.0, compared_hours=100.0)
    said = "not estimable: more than the largest share, 25% of those that recognise, and less than"
    assert row.status == f"{said} 50%"
    assert (row.equal_share_low_pct, row.equal_share_high_pct) == (25, 50)
    row = one(table, asked="dirty_share", lang="it", hours=800.0, compared_hours=400.0)
    assert row.status == "ok"
    assert row.equal_share_high_pct < 50


@pytest.mark.slow
def test_page_and_figure_say_what_the_table_says(tables):
    sets = {name: {"name": f"<{name}>", "languages": langs} for name, langs in TARGETS.items()}
    display = Display.of(
        DISPLAY
        | {"languages": {"it": "Italian", "fr": "French"}, "targets": ["it", "fr"]}
        | {"training_sets": sets}
    ).measured(tables)
    analysis = load("label_noise")
    shown = {tuple(row[:5]): row for row in rows_of(analysis.sheet(tables, display, None))}
    row = shown["Italian", "Multilingual", "400", "swap", "50"]
    hours = float(one(tables["label_noise"], **EQUAL).equal_hours)
    assert row[9].startswith(f"{hours:.0f} [")
    assert row[-1] == "ok"
    # Worse than the smallest clean budget: the bound on the side where it lies.
    below = shown["Italian", "Multilingual", "100", "swap", "50"]
    assert below[9] == "under 100"
    assert shown["Italian", "Multilingual", "400", "clean", "0"][9] == "–"
    said = analysis.text(tables, display, None)
    begins = (
        "Italian, Multilingual: 800 h with dirty texts (swap) do what 400 h of clean ones do up "
    )
    assert said.startswith(f"{begins}to a share of 1")
    assert "; 100 h of clean ones do at every share that was tried. French, " in said
    assert not analysis.absent(tables, display, None)
    figure = analysis.figures[0].draw(base.Material(tables), display, None)
    titles = [axis.get_title(loc="left") or axis.get_title() for axis in figure.axes]
    assert [title for title in titles if title] == [
        f"{lang}, Multilingual, swap" for lang in ("Italian", "French")
    ]
    lines = {text.get_text() for text in figure.legends[0].get_texts()}
    assert lines == {"clean", "25 % dirty", "50 % dirty"}


EQUAL = {"asked": "clean_hours", "training_set": "it_swap50", "hours": 400.0}


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([4, 3, 2], [4, 3, 2]),
        ([3, 4, 2], [3.5, 3.5, 2]),
        ([1, 2, 3], [2, 2, 2]),
        # Pooled: 2 and 3, then with 4.
        ([4, 2, 3, 1], [4, 2.5, 2.5, 1]),
        ([2, 4, 3, 5, 1], [3.5, 3.5, 3.5, 3.5, 1]),
    ],
)
def test_isotonic_regression_by_hand(values, expected):
    made = crossings.falling(np.array(values, float)[:, None])
    assert made[:, 0].tolist() == expected


def test_where_a_curve_takes_a_value_by_hand():
    curve = np.repeat(np.array([[8.0], [4.0], [4.0], [2.0]]), 6, axis=1)
    wanted = np.array([9.0, 8.0, 6.0, 4.0, 3.0, 1.0])
    found = crossings.reached(np.array([0.0, 1.0, 2.0, 3.0]), curve, wanted)
    # Above the first point, at it, between, at the first of two equal ones, between, below all.
    assert found.tolist() == [-math.inf, 0.0, 0.5, 1.0, 2.5, math.inf]
