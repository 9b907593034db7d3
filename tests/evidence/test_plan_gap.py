"""The planner: predictions for a new language hold a new language, and refuse where the law carries
none."""

import numpy as np
import pandas as pd
import pytest
from made.planted import Truth, score_table
from made.tables import make_tables

import plan_gap
from warmstart.evidence import prediction
from warmstart.evidence.prediction import Question
from warmstart.run.errors import UserError


def law(**changes):
    """A pooled row of fit.csv."""
    row = {
        "contrast": "warm_start",
        "training_set": "own",
        "lang": "pooled",
        "languages": 8,
        "test_set": "fleurs",
        "tier": "160ms",
        "family": "power",
        "exponent_b": 1.0,
    }
    row |= {
        "exponent_low_b": 0.9,
        "exponent_high_b": 1.1,
        "reference_hours": 100.0,
        "gap_at_reference_pp": 4.0,
    }
    return pd.DataFrame([row | {"asked": "law", "status": "ok"} | changes])


def foretold(**changes):
    """A pooled law with a gap of a new language that halves with each doubling, and bounds."""
    hours = np.array([100.0, 200.0, 400.0])
    rows = [
        law(
            family="floor_power",
            asked="gap_at_hours",
            asked_hours=h,
            forecast_pp=400 / h,
            forecast_low_pp=400 / h - 3,
            forecast_high_pp=400 / h + 3,
        )
        for h in hours
    ]
    return pd.concat([law(**changes), *rows])


GAP = pd.DataFrame({"contrast": "warm_start", "hours": [0.0, 100.0, 200.0]})


def test_the_gap_of_a_new_language_is_read_from_the_curve():
    said = prediction.lines_of(
        foretold(), GAP, Question("fleurs", "160ms"), [400, 1, 100, 5000], 0.95
    )
    assert said[1:] == [
        # A donor at zero hours is no budget.
        "        1 h  not foretold, outside the budgets: the law is drawn from 100 to 400 h",
        "      100 h   +4.00 pp  [+1.00, +7.00]",
        "      400 h   +1.00 pp  [-2.00, +4.00]  (sign open)  (outside the budgets studied)",
        "     5000 h  not foretold, outside the budgets: the law is drawn from 100 to 400 h",
    ]


def test_where_a_new_language_is_not_foretold_the_plan_says_why():
    why = "not estimable: the log-linear curve cannot be excluded"
    last = law(family="floor_power", asked="gap_at_hours", asked_hours=5000.0, status=why)
    said = prediction.lines_of(
        pd.concat([foretold(), last]), GAP, Question("fleurs", "160ms"), [400, 900], 0.95
    )
    assert said[1].startswith("      400 h   +1.00 pp")
    assert said[2] == f"      900 h  {why}"


def test_tables_without_a_forecast_foretell_nothing():
    for table in (law(), law().drop(columns="asked")):
        with pytest.raises(UserError, match="foretells no other language"):
            prediction.lines_of(table, GAP, Question("fleurs", "160ms"), [100], 0.95)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"languages": 2}, "needs at least 3"),
        ({"status": "exponent not bounded by the data"}, "predicts nothing: exponent not bounded"),
        ({"tier": "560ms"}, "no pooled law for fleurs at 160ms; it has: fleurs/560ms"),
        ({"training_set": "de+fr"}, "no pooled law for fleurs at 160ms; it has: none"),
    ],
)
def test_it_refuses_what_the_law_does_not_carry(changes, message):
    with pytest.raises(UserError, match=message):
        prediction.pooled_law(law(**changes), Question("fleurs", "160ms"))


def test_a_law_is_of_one_contrast(tmp_path):
    both = pd.concat([law(), law(contrast="adapter", gap_at_reference_pp=1.0)])
    asked = {
        contrast: prediction.pooled_law(both, Question("fleurs", "160ms", contrast))
        for contrast in (None, "warm_start", "adapter")
    }
    assert {name: row.gap_at_reference_pp for name, row in asked.items()} == {
        None: 4.0,
        "warm_start": 4.0,
        "adapter": 1.0,
    }
    with pytest.raises(UserError, match="no contrast 'lora'; it has: warm_start, adapter"):
        prediction.pooled_law(both, Question("fleurs", "160ms", "lora"))


@pytest.mark.slow
def test_a_planted_study_predicts_a_language_it_has_not_seen(tmp_path, capsys):
    random = np.random.default_rng(5)
    truths = [Truth(amplitude_pp=amplitude) for amplitude in random.normal(4.2, 0.8, 6)]
    make_tables(
        tmp_path,
        {f"l{n}": score_table(truth, random, f"l{n}") for n, truth in enumerate(truths[:5])},
    )
    plan_gap.main(
        [
            "--tables",
            str(tmp_path / "tables"),
            "--hours",
            "100",
            "5000",
            "--test-set",
            "fleurs",
            "--tier",
            "160ms",
        ]
    )
    first, second, heading, *wers = capsys.readouterr().out.splitlines()[1:]
    low, high = (float(part) for part in first.split("[")[1].split("]")[0].split(","))
    assert low < truths[5].gap_pp(100) < high
    assert "outside the budgets studied" in second
    assert heading.startswith("WER of a new language with en, fleurs at 160ms; 5 languages")
    # 8 + 6·50^−0.4 = 9.25 % is the truth of all languages; English-only has 0.1 pp more.
    low, high = (float(part) for part in wers[1].split("[")[1].split("]")[0].split(","))
    assert low < 9.35 < high


def test_hours_and_wers_of_a_new_language_are_read_from_one_curve():
    hours = np.array([100.0, 200.0, 400.0, 800.0])
    # Halved by each doubling: 16, 8, 4, 2 %; bounds half and twice of it.
    wer = 16 / (hours / 100)
    table = pd.DataFrame(
        {
            "training_set": "own",
            "lang": "pooled",
            "languages": 5,
            "test_set": "fleurs",
            "arm": "ml",
            "tier": "160ms",
            "largest_hours": 400.0,
            "asked": "wer_at_hours",
            "asked_hours": hours,
            "wer_pct": wer,
            "wer_low_pct": wer / 2,
            "wer_high_pct": wer * 2,
            "status": "ok",
        }
    )
    question = Question("fleurs", "160ms")
    lines = prediction.wer_lines(table, question, [100, 800, 3000], [8, 1])
    assert lines[1:] == [
        "      100 h    16.0 %  [8.0, 32.0]",
        "      800 h     2.0 %  [1.0, 4.0]  (outside the budgets studied)",
        "     3000 h  not foretold, outside the budgets: the law is drawn from 100 to 800 h",
        "        8 %  200 h  [under 100 h, 400 h]",
        "        1 %  over 800 h  [800 h, over 800 h]",
    ]
    assert "no pooled law" in prediction.wer_lines(table, Question("mls", "160ms"), [100], [8])[0]


def test_without_a_law_the_published_endpoints_are_given_when_asked_for(tmp_path, capsys):
    arguments = [
        "--tables",
        str(tmp_path),
        "--hours",
        "100",
        "5000",
        "--test-set",
        "fleurs",
        "--tier",
        "160ms",
    ]
    with pytest.raises(UserError, match=r"fit\.csv is not there"):
        plan_gap.main(arguments)
    plan_gap.main([*arguments, "--published"])
    lines = capsys.readouterr().out.splitlines()
    assert "fit.csv is not there" in lines[0]
    # 4.21 x 50^-0.947 = 0.104
    assert lines[-3:-1] == [
        "      100 h   +4.21 pp",
        "     5000 h   +0.10 pp  (outside the published budgets)",
    ]
    assert lines[-1].startswith("No WER of a new language:")
    law(languages=2).to_csv(tmp_path / "fit.csv")
    pd.DataFrame({"contrast": ["warm_start"], "hours": [100.0]}).to_csv(tmp_path / "gap.csv")
    plan_gap.main([*arguments, "--published"])
    assert "needs at least 3" in capsys.readouterr().out


def test_published_gaps_halve_as_published():
    assert prediction.published_gap(2500) == pytest.approx(0.20)
    assert prediction.published_gap(200) / prediction.published_gap(100) == pytest.approx(
        0.52, abs=0.002
    )
