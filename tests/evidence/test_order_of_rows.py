"""Tiers stand by latency and budgets by hours, in every table, filter, figure and line."""

import copy

import numpy as np
import pandas as pd
import pytest
from made.planted import Truth, score_table
from made.report import DISPLAY
from made.studies import smoke_config
from made.tables import make_tables

from warmstart.evidence import analyses
from warmstart.evidence.analyses.base import Material
from warmstart.evidence.display import Display
from warmstart.evidence.tiers import by_latency, place_of
from warmstart.report.headline import lines_of
from warmstart.study import slices
from warmstart.study.config import validate
from warmstart.study.grid import Study

ORDER = ["80ms", "160ms", "1120ms", "offline"]
WORDS = ["80 ms", "160 ms", "1120 ms", "offline"]
TRUTH = Truth(
    hours=(9.0, 20.0, 100.0),
    tiers=("1120ms", "offline", "80ms", "160ms"),
    tier_gap_pp=(0.0, 0.0, 0.0, 0.0),
    speakers=30,
)


def test_tiers_are_ordered_by_what_they_wait_for():
    assert by_latency(["offline", "1120ms", "160ms", "80ms"]) == ORDER
    # By the study's own numbers where names say nothing.
    assert by_latency(
        ["whole", "slow", "fast"], {"slow": 1120.0, "fast": 160.0, "whole": None}
    ) == ["fast", "slow", "whole"]
    assert by_latency(["b", "560ms", "a"]) == ["560ms", "b", "a"]
    assert sorted(["x", "160ms", "fast"], key=lambda one: place_of(one, ["fast", "160ms"])) == [
        "fast",
        "160ms",
        "x",
    ]


@pytest.fixture(scope="module")
def tables(tmp_path_factory):
    folder = tmp_path_factory.mktemp("order")
    table = score_table(TRUTH, np.random.default_rng(2), "de")
    # The second arm alone has the middle budget: budgets first come out of order.
    table = table[(table.arm == "ml") | (table.hours != 20)]
    return make_tables(folder, {"de": table}, reference_tier="160ms", tiers=ORDER)


@pytest.mark.parametrize("name", ["wer", "gap", "gap_by_tier", "fit"])
def test_rows_of_tables_are_in_order(tables, name):
    table = tables[name]
    if "hours" in table:
        table = table[table.hours.astype(str) != "all"]
    keys = [key for key in ("lang", "arm", "hours", "precision") if key in table]
    for _, own in table.groupby(keys, sort=False):
        tiers = list(dict.fromkeys(own.tier))
        assert tiers == [tier for tier in ORDER if tier in tiers]
    if "hours" in table and "tier" in table:
        for _, own in table.groupby([key for key in keys if key != "hours"] + ["tier"]):
            hours = own.hours.astype(float).tolist()
            assert hours == sorted(hours)


def display() -> Display:
    block = copy.deepcopy(DISPLAY)
    # As a configuration may have them.
    block["tiers"] = {
        "offline": {"lookahead_ms": 1120, "offline": True},
        **{f"{ms}ms": {"lookahead_ms": ms} for ms in (1120, 80, 160)},
    }
    return Display.of(block)


def test_filters_and_sorting_of_the_page_are_in_order(tables):
    shown = display()
    assert list(shown.tiers) == ORDER
    sheet = analyses.load("wer").sheet(tables, shown, None)
    choices = {one.label: list(one.choices) for one in sheet.filters}
    assert choices["Tier"] == WORDS
    assert choices["Hours"] == ["9", "20", "100"]
    column = [head.label for head in sheet.heads].index("Tier")
    cells = {row[column].text: row[column].sort for row in sheet.rows}
    assert cells == dict(zip(WORDS, range(4), strict=True))


def test_the_figure_of_tiers_is_in_order(tables):
    figure = analyses.load("gap_by_tier").figures[0].draw(Material(tables), display(), None)
    labels = [label.get_text().replace("\n", " ") for label in figure.axes[0].get_xticklabels()]
    assert labels == WORDS


def test_the_terminal_is_in_order(tables):
    lines = lines_of(tables["wer"], tables["gap"], tables["guideline"])
    (heads,) = (line for line in lines if line.lstrip().startswith("arm"))
    assert heads.split() == ["arm", "hours", *ORDER]
    hours = [float(line.split()[1]) for line in lines if line.startswith("  ml ")]
    assert hours == sorted(hours)


def test_speed_is_in_order_whatever_order_headers_have():
    rows = pd.DataFrame(
        {
            "tier": ["offline", "1120ms", "80ms", "160ms"],
            "precision": "full",
            **dict.fromkeys(("lookahead_ms", "rtfx", "chunk_ms_median", "chunk_ms_p95"), 1.0),
            "emission_delay_ms": 0.0,
            **dict.fromkeys(("final_closed_ms", "final_open_ms", "final_endpoint_ms"), 1.0),
            "engine": "pytorch",
            **dict.fromkeys(("device", "device_name", "batch_size", "threads")),
            "test_set": "fleurs",
            "checked_test_set": "fleurs",
            "checked_utterances": 2,
            "checked_differing_utterances": 0,
        }
    )
    sheet = analyses.load("latency").sheet({"latency": rows}, display(), None)
    column = [head.label for head in sheet.heads].index("Tier")
    assert [row[column].text for row in sheet.rows] == WORDS


def test_the_study_hands_tiers_over_by_latency():
    config = smoke_config()
    config["tiers"] = {
        "offline": {"context": [70, 13], "offline": True},
        "560ms": {"context": [70, 6]},
        "160ms": {"context": [70, 1]},
    }
    validate(config)
    study = Study(config)
    assert slices.statistics(study)["tiers"] == ["160ms", "560ms", "offline"]
    assert list(slices.display(study)["tiers"]) == ["160ms", "560ms", "offline"]
