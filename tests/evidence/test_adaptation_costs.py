"""What adaptations cost: values by hand, from records through the real program to the table."""

import json
import math

import numpy as np
import pytest
from made.planted import Truth, score_table
from made.report import DISPLAY
from made.tables import make_tables

from warmstart.evidence.analyses import base, load
from warmstart.evidence.analyses.adaptation import costs, device_of
from warmstart.evidence.display import Display

LORA = {"kind": "lora", "rank": 4, "alpha": 8, "dropout": 0.0, "layers": "*"}
RECORD = {
    "adaptation": LORA,
    "trained_parameters": 8192,
    "trained_share": 0.0125,
    "trained_mb": 0.032768,
    "steps": 10,
    "steps_s": 4.5,
    "timed_steps": 9,
    "train_s": 8.0,
    "hardware": {"gpu": None, "threads": 2},
}


def test_costs_of_two_seeds_by_hand():
    other = RECORD | {"steps_s": 6.3, "train_s": 12.0, "hardware": {"gpu": "H100", "threads": 2}}
    found = costs([RECORD, other], languages=2)
    assert found["adaptation"] == "lora"
    assert found["options"] == "rank=4 alpha=8 dropout=0.0 layers=*"
    assert (found["seeds"], found["trained_parameters"]) == (2, 8192)
    assert found["trained_share_pct"] == pytest.approx(1.25)
    assert found["mb_per_language"] == pytest.approx(0.016384)  # two languages share it
    assert found["step_s"] == pytest.approx((0.5 + 0.7) / 2)
    assert found["loop_step_s"] == pytest.approx((0.8 + 1.2) / 2)
    assert found["device"] == "CPU, threads: 2; H100"


def test_what_a_record_does_not_say_is_not_made_up():
    found = costs([{"steps": 4, "train_s": 2.0}, RECORD], 1)
    assert math.isnan(found["step_s"])
    assert math.isnan(found["mb_per_language"])
    assert found["loop_step_s"] == pytest.approx((0.5 + 0.8) / 2)
    assert costs([], 1) == {"seeds": 0}
    assert device_of({}) == ""


def table_of(folder, arms):
    """Tables of a planted study of one language with these adaptations."""
    extra = ["--train-logs"]
    for arm, adaptation in arms.items():
        run = folder / "runs" / arm
        run.mkdir(parents=True)
        key = {"training_set": "de", "arm": arm, "hours": "100", "seed": 1}
        (run / "run.json").write_text(json.dumps(RECORD | key | {"adaptation": adaptation}))
        (run / "train.csv").write_text("step,loss,hours_seen\n1,2.0,1\n2,1.0,2\n")
        extra.append(str(run / "train.csv"))
    truth = Truth(hours=(100.0,), speakers=40)
    studies = {"de": score_table(truth, np.random.default_rng(2), "de")}
    return make_tables(folder, studies, extra)


@pytest.mark.slow
def test_rows_stand_beside_the_rates_of_the_same_cells(tmp_path):
    tables = table_of(tmp_path, {"en": {"kind": "full"}, "ml": LORA})
    table, wer = tables["adaptation"], tables["wer"]
    assert set(table.adaptation) == {"full", "lora"}
    keys = ["training_set", "lang", "test_set", "arm", "hours", "tier"]
    both = table.merge(wer[wer.precision == "full"], on=keys, suffixes=("", "_of_wer"))
    assert len(both) == len(table) == 4  # two arms at two tiers
    assert (both.wer_pct == both.wer_pct_of_wer).all()
    assert (both.wer_low_pct == both.wer_low_pct_of_wer).all()
    assert (table.step_s == 0.5).all()

    analysis, display = load("adaptation"), Display.of(DISPLAY)
    assert analysis.absent(tables, display, None) == ""
    sheet = analysis.sheet(tables, display, None)
    assert [cell.text for cell in sheet.rows[0]][-1] in ("–", "rank=4 alpha=8 dropout=0.0 layers=*")
    figure = analysis.figures[0].draw(base.Material(tables), display, None)
    assert figure.axes[0].get_xscale() == "log"


@pytest.mark.slow
def test_a_study_in_which_everything_learns_says_so_in_a_sentence(tmp_path):
    tables = table_of(tmp_path, {"en": {"kind": "full"}, "ml": {"kind": "full"}})
    said = load("adaptation").absent(tables, Display.of(DISPLAY), None)
    assert said.startswith("All weights of every arm learn")
