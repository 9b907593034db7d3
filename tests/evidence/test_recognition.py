"""Models that learned nothing are said to have learned nothing, and nothing is concluded from
them."""

import json
import math

import numpy as np
import pandas as pd
import pytest
from made.planted import Truth, score_table
from made.report import DISPLAY
from made.tables import make_tables

from warmstart.evidence import analyses, recognition, training_logs
from warmstart.evidence.display import Display
from warmstart.evidence.recognition import UNDECIDED, reason
from warmstart.report.headline import lines_of

TRUTH = Truth(hours=(100.0, 250.0, 500.0, 1000.0), speakers=60)


def nothing(table: pd.DataFrame, rows: pd.Series, wer: float = 1.0) -> pd.DataFrame:
    """The same scores where the models of some rows write nothing, or little that is right."""
    wrong = (table.ref_words * wer).round().astype(int).where(rows, table.substitutions)
    return table.assign(substitutions=wrong, hits=table.ref_words - wrong)


@pytest.fixture(scope="module")
def planted():
    random = np.random.default_rng(7)
    return {lang: score_table(TRUTH, random, lang) for lang in ("de", "fr", "it")}


@pytest.fixture(scope="module")
def tables(planted, tmp_path_factory):
    """Italian models learned nothing at any budget; those of French did not at the smallest."""
    scores = dict(planted)
    scores["it"] = nothing(scores["it"], scores["it"].hours > 0)
    scores["fr"] = nothing(scores["fr"], scores["fr"].hours == 100)
    return make_tables(tmp_path_factory.mktemp("nothing"), scores)


@pytest.mark.parametrize(
    ("wer", "useless", "stalled", "said"),
    [
        (90.0, 50.0, False, ""),
        (90.5, 0.0, False, "WER 90 %"),
        (112.5, 0.0, False, "WER 112 %"),
        (70.0, 51.0, False, "51 % of outputs empty or looping"),
        (51.0, 0.0, True, "loss did not fall, WER 51 %"),
        # Most words are right: there was nothing left to learn.
        (8.0, 0.0, True, ""),
        (math.nan, 0.0, False, ""),
    ],
)
def test_when_a_model_is_said_to_recognise_nothing(wer, useless, stalled, said):
    assert reason(wer, useless, stalled) == said


def test_error_rates_say_which_models_recognise(tables):
    wer = tables["wer"].query("lang != 'mean'").set_index(["lang", "hours"]).recognition
    assert (wer["de"] == "ok").all()
    assert (wer["it"] == "not recognising: WER 100 %").all()
    assert set(wer["fr", 100]) == {"not recognising: WER 100 %"}
    assert (wer["fr", 250] == "ok").all()
    mean = tables["wer"].query("lang == 'mean' and hours == 250 and arm == 'ml'")
    assert set(mean.recognition) == {"not recognising: ml in it"}


def test_there_is_no_verdict_about_them(tables):
    rows = tables["guideline"].set_index(["lang", "hours"])
    assert (rows.decision["it"] == UNDECIDED).all()
    assert rows.decision["fr", 100] == UNDECIDED
    assert rows.decision["de", 100] == "ml", "a gap of 4.21 pp between models that recognise"
    # A mean with them in it is about them too.
    assert rows.decision["mean", 1000] == UNDECIDED
    assert rows.recognition["mean", 1000] == "not recognising: en in it, ml in it"
    tiers = tables["gap_by_tier"].set_index(["lang", "hours"])
    assert (tiers.verdict["it"] == UNDECIDED).all()
    assert tiers.verdict["fr", "all"] == UNDECIDED
    assert tiers.verdict["fr", "250.0"] != UNDECIDED
    cost = tables["quantization"].set_index(["lang", "arm"]).recognition
    assert cost["it", "gap"] == "not recognising: en, ml"
    assert cost["de", "gap"] == "ok"


def test_one_side_that_learned_nothing_is_enough(planted, tmp_path):
    table = planted["de"]
    tables = make_tables(tmp_path, {"de": nothing(table, table.arm == "en")})
    rows = tables["guideline"]
    assert (rows.gap_low_pp > 0).all(), "the interval would decide"
    assert (rows.decision == UNDECIDED).all()
    assert (rows.recognition == "not recognising: en").all()


def test_they_have_no_weight_in_a_law(tables, planted, tmp_path):
    laws = tables["fit"].query("family == 'power' and tier == '160ms'").set_index("lang")
    assert laws.loc["fr", ["points", "left_out"]].tolist() == [3, 1]
    assert laws.loc["it", ["points", "left_out"]].tolist() == [0, 4]
    assert laws.status["it"].startswith("not estimable: 0 budget(s) left")
    # The pooled law is that of a study without those gaps.
    fewer = {"de": planted["de"], "fr": planted["fr"].query("hours > 100")}
    other = make_tables(tmp_path, fewer)["fit"].query("family == 'power' and tier == '160ms'")
    other = other.set_index("lang")
    assert laws.exponent_b["fr"] == other.exponent_b["fr"]
    assert laws.exponent_b["pooled"] == other.exponent_b["pooled"]
    assert laws.languages["pooled"] == 2


def test_systems_that_do_not_vary_carry_no_certainty(planted, tmp_path):
    table = planted["de"]
    # Every block has the same share of errors, and both arms the same ones.
    equal = table.assign(ref_words=40, substitutions=4, hits=36)
    tables = make_tables(tmp_path, {"de": equal})
    assert (tables["guideline"].gap_pp == 0).all()
    assert (tables["guideline"].decision == "not decided by this study").all()
    assert (tables["gap_by_tier"].verdict == "not decided").all()
    assert tables["gap_by_tier"].equivalence_p_value.isna().all()
    assert tables["fit"].points.tolist() == [0, 0]


def test_of_references_without_words_an_empty_hypothesis_is_right(planted, tmp_path):
    table = planted["de"]
    quiet = table.groupby(["arm", "hours", "precision", "tier"]).cumcount() < 40
    silent = table.assign(empty=quiet)
    rows = make_tables(tmp_path, {"de": silent})["wer"]
    assert set(rows.recognition) == {"not recognising: 67 % of outputs empty or looping"}
    (tmp_path / "b").mkdir()
    for name in ("ref_words", "ref_chars", "hits", "substitutions", "char_substitutions"):
        silent[name] = silent[name].where(~quiet, 0)
    rows = make_tables(tmp_path / "b", {"de": silent})["wer"]
    assert (rows.recognition == "ok").all()


def test_languages_without_spaces_are_judged_by_their_characters(planted, tmp_path):
    table = planted["de"]
    wrong = nothing(table, table.hours > 0, 0.95)
    tables = make_tables(tmp_path, {"de": wrong}, unspaced=["de"])
    # Two characters of five in each wrong word.
    assert (tables["wer"].recognition == "ok").all()
    assert tables["wer"].wer_pct.min() > 90
    (tmp_path / "b").mkdir()
    silent = wrong.assign(char_substitutions=wrong.ref_chars)
    tables = make_tables(tmp_path / "b", {"de": silent}, unspaced=["de"])
    assert set(tables["wer"].recognition) == {"not recognising: CER 100 %"}


def test_one_failed_seed_is_named(tmp_path):
    table = score_table(Truth(hours=(100.0,), seeds=3, speakers=40), np.random.default_rng(1), "de")
    failed = (table.arm == "ml") & (table.seed == 2)
    tables = make_tables(tmp_path, {"de": nothing(table, failed, 0.95)})
    wer = tables["wer"].set_index("arm").recognition
    assert set(wer["ml"]) == {"not recognising: seed 2: WER 95 %"}
    assert (tables["guideline"].decision == UNDECIDED).all()


def curve(loss) -> pd.DataFrame:
    return pd.DataFrame({"hours_seen": np.arange(1.0, len(loss) + 1), "loss": loss})


@pytest.mark.parametrize(
    ("loss", "expected"),
    [
        ([33.7, 5.4, 1.6, 0.6, 0.4, 0.3], False),
        ([70.0, 71.0, 69.5, 70.2, 70.1, 69.0, 70.3, 69.9], True),
        ([5.0, 9.0, 80.0, 300.0], True),
        ([70.0], False),
        ([70.0, 66.0], False),
        ([70.0, 67.0], True),
        # A line that logged the validation alone.
        ([10.0, math.nan, 4.0, math.nan], False),
    ],
)
def test_a_loss_that_did_not_fall(loss, expected):
    assert training_logs.stalled(curve(loss)) is expected


def test_the_tables_know_it_from_the_logs(tmp_path):
    table = score_table(Truth(hours=(100.0,), speakers=40), np.random.default_rng(1), "de")
    table = nothing(table, table.arm == "ml", 0.6)
    extra = ["--train-logs"]
    for arm, loss in (("en", [30.0, 3.0]), ("ml", [30.0, 30.0])):
        folder = tmp_path / arm
        folder.mkdir()
        run = {"training_set": "de", "arm": arm, "hours": "100", "seed": 1}
        (folder / "run.json").write_text(json.dumps(run))
        curve(loss).to_csv(folder / "train.csv", index=False)
        extra.append(str(folder / "train.csv"))
    wer = make_tables(tmp_path, {"de": table}, extra)["wer"].set_index("arm").recognition
    assert set(wer["ml"]) == {"not recognising: loss did not fall, WER 60 %"}
    assert set(wer["en"]) == {"ok"}


def test_the_page_and_the_terminal_say_so(tables):
    display = Display.of(DISPLAY)
    said = recognition.lines(tables["wer"], display)
    assert [line.split(":")[0] for line in said[:-1]] == [
        "French, English only, 100 h",
        "French, Multilingual, 100 h",
        "Italian, English only, 100, 250, 500, 1000 h",
        "Italian, Multilingual, 100, 250, 500, 1000 h",
    ]
    assert "WER 100 % on fleurs" in said[0]
    assert "docs/training.md" in said[-1]
    text = analyses.load("guideline").text(tables, display, display.contrasts[0])
    assert "Not decided, because systems do not recognise" in text
    lines = lines_of(tables["wer"], tables["gap"], tables["guideline"])
    assert sum(UNDECIDED in line for line in lines) == 4 + 1 + 4


def test_a_study_whose_models_recognise_has_no_banner(planted, tmp_path):
    tables = make_tables(tmp_path, planted)
    assert recognition.lines(tables["wer"], Display.of(DISPLAY)) == []
    sheet = analyses.load("wer").sheet(tables, Display.of(DISPLAY), None)
    assert "Recognition" not in [head.label for head in sheet.heads]
