"""Rounds: WER of each, gains over what was trained at once and the WER of labels, from planted
studies and by hand."""

import json

import numpy as np
import pandas as pd
import pytest
from made.tables import SETTINGS, make_tables

from warmstart.evidence import analyses, collected, pseudo_labels, round_rates
from warmstart.evidence.settings import Settings
from warmstart.study import stages

BLOCKS, WORDS = 80, 200
TRUTH = {
    # (training set, arm, hours, precision) -> WER in percent.
    ("it_rounds", "ml", 0.1, "round1"): 40.0,
    ("it_rounds", "ml", 0.1, "round2"): 32.0,
    ("it_rounds", "ml", 0.1, "full"): 30.0,
    ("it", "ml", 0.1, "full"): 38.0,
    ("it", "ml", 0.4, "full"): 25.0,
    ("it", "ml_wide", 0.1, "full"): 36.0,
    # Of no interest here, and nowhere in the table.
    ("it", "ml", 0.1, "int4"): 50.0,
    ("fr", "ml", 0.1, "full"): 60.0,
}
ROUNDS = {
    "it_rounds": {
        "data": ["labelled", "pseudo", "clean"],
        "total_hours": 0.4,
        "at_once": ["it_more", "it"],
        "rank": {"ml": "ml_wide"},
    }
}


def scores(systems, random, test_set="fleurs"):
    """Rows of a score file: blocks are hard or easy for all systems alike."""
    hard = np.exp(random.normal(0, 0.3, BLOCKS) - 0.045)
    place = random.random((BLOCKS, WORDS))  # a word is wrong where it is below the rate
    frames = []
    for (training_set, arm, hours, precision), wer in systems.items():
        wrong = (place < (wer / 100 * hard)[:, None]).sum(1)
        frames.append(
            pd.DataFrame(
                {
                    **{"training_set": training_set, "lang": "it", "arm": arm, "hours": hours},
                    **{"seed": 1, "precision": precision, "tier": "160ms", "test_set": test_set},
                    "id": [f"u{number}" for number in range(BLOCKS)],
                    "block": [f"b{number}" for number in range(BLOCKS)],
                    **{"duration_s": WORDS / 2.5, "ref_words": WORDS, "hits": WORDS - wrong},
                    **{"substitutions": wrong, "deletions": 0, "insertions": 0},
                    **{"ref_chars": WORDS * 5, "char_hits": WORDS * 5 - wrong},
                    **{"char_substitutions": wrong, "char_deletions": 0, "char_insertions": 0},
                    **dict.fromkeys(("number_words", "number_errors"), 0),
                    **dict.fromkeys(("rare_words", "rare_errors"), 0),
                    **{"empty": False, "looping": False, "emission_delay_ms": np.nan},
                    "normaliser_version": 1,
                }
            )
        )
    return pd.concat(frames, ignore_index=True)


def labels(reasons, errors, seed=1, **more):
    """A choice: cuts of 10 s and 20 words, `errors` of each."""
    rows = [
        {
            **{"training_set": "it_rounds", "arm": "ml", "hours": 0.1, "seed": seed, "round": 2},
            **{"data": "pseudo", "lang": "it", "id": f"c{place}", "block": f"s{place % 7}"},
            **{"duration_s": 10.0, "confidence": 0.5, "reason": reason},
            **{"words": 20, "errors": wrong},
            **more,
        }
        for place, (reason, wrong) in enumerate(zip(reasons, errors, strict=True))
    ]
    return rows


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    folder = tmp_path_factory.mktemp("rounds")
    random = np.random.default_rng(3)
    every = scores(TRUTH, random)
    early = every.precision.str.startswith("round")
    every[early].to_parquet(folder / "rounds.parquet")
    found = labels(["", "", "", "beyond_keep"] * 20, [1, 2, 3, 10] * 20)
    found += labels(["", "empty_text"] * 10, [2, 20] * 10, seed=2)
    pseudo_labels.write(folder / "labels.parquet", found)
    extra = ["--round-scores", str(folder / "rounds.parquet")]
    extra += ["--round-labels", str(folder / "labels.parquet")]
    targets = {"it_rounds": ["it"], "it": ["it"], "fr": ["fr"]}
    made = make_tables(
        folder, {"it": every[~early]}, extra, rounds=ROUNDS, targets=targets, replicates=400
    )
    # The tables of the study have no round in them.
    assert not made["wer"].precision.str.startswith("round").any()
    return made["rounds"].fillna({"against": ""})


@pytest.mark.slow
def test_each_round_is_there_with_its_rate_and_what_it_was_trained_on(table):
    one = table.drop_duplicates("round").set_index("round")
    assert list(one.data) == ["labelled", "pseudo", "clean"]
    for number, wer in ((1, 40.0), (2, 32.0), (3, 30.0)):
        row = one.loc[number]
        assert row.wer_low_pct <= wer <= row.wer_high_pct
        assert row.wer_high_pct - row.wer_low_pct < 8
    assert set(table.training_set) == {"it_rounds"}
    assert set(table.total_hours) == {0.4}
    assert set(table.recognition) == {"ok"}


@pytest.mark.slow
def test_gains_are_paired_with_what_was_planted(table):
    gains = {(row["round"], row.against): row for _, row in table[table.against != ""].iterrows()}
    assert set(gains) == {
        (2, round_rates.PREVIOUS),
        (3, round_rates.PREVIOUS),
        (3, round_rates.BUDGET),
        (3, round_rates.ALL_TEXTS),
        (3, round_rates.RANK),
    }
    assert list(table[table["round"] == 1].against) == [""]
    wanted = {
        (2, round_rates.PREVIOUS): 8.0,
        (3, round_rates.PREVIOUS): 2.0,
        (3, round_rates.BUDGET): 8.0,
        (3, round_rates.ALL_TEXTS): -5.0,
        (3, round_rates.RANK): 6.0,
    }
    for key, gain in wanted.items():
        row = gains[key]
        assert row.gain_low_pp <= gain <= row.gain_high_pp, key
        assert row.gain_pp == pytest.approx(row.against_wer_pct - row.wer_pct, abs=1e-3)
        assert row.status == "ok"
        # Words that are hard are hard for both: far narrower than the two rates by themselves.
        assert row.gain_high_pp - row.gain_low_pp < 0.5 * (row.wer_high_pct - row.wer_low_pct)
    assert gains[3, round_rates.RANK].against_arm == "ml_wide"


@pytest.mark.slow
def test_labels_are_counted_over_all_trainings_by_hand(table):
    row = table[table["round"] == 2].iloc[0]
    # Two trainings chose from 80 and 20 cuts of 10 s.
    assert row.asked_hours == pytest.approx((800 + 200) / 2 / 3600, rel=1e-3)
    assert row.kept_share_pct == pytest.approx(100 * (60 + 10) / 100)
    # 20 x (1 + 2 + 3) and 10 x 2 errors in 60 and 10 cuts of 20 words.
    assert row.label_wer_pct == pytest.approx(100 * (120 + 20) / (70 * 20), rel=1e-3)
    assert row.all_labels_wer_pct == pytest.approx(100 * (320 + 220) / (100 * 20), rel=1e-3)
    assert row.label_wer_low_pct < row.label_wer_pct < row.label_wer_high_pct
    assert table[table["round"] != 2].label_wer_pct.isna().all()


def test_a_study_without_rounds_has_an_empty_table():
    settings = Settings.of(stages.filled("statistics", SETTINGS))
    evidence = collected.Evidence(pd.DataFrame(), [], [])
    assert list(analyses.load("rounds").rows(evidence, settings)) == []


def test_errors_of_labels_are_those_of_words_and_in_scripts_without_spaces_of_characters():
    spaced = {"alphabet": "abc", "numbers": None}
    ((words, wrong, rate),) = pseudo_labels.errors(["aa bb cc aa"], ["aa cc cc"], spaced)
    # bb -> cc, and one of the last two is missing: 2 of 4 words; 2 + 3 of 11 characters.
    assert (words, wrong) == (4, 2)
    assert rate == pytest.approx(5 / 11)
    assert pseudo_labels.errors([], [], spaced) == []


def test_a_table_of_choices_is_read_as_it_was_written(tmp_path):
    rows = labels(["", "looping"], [0, 3])
    path = tmp_path / "labels.parquet"
    pseudo_labels.write(path, rows)
    found = pseudo_labels.read([path])
    assert json.loads(found.to_json(orient="records")) == rows
    assert pseudo_labels.read([]) is None
