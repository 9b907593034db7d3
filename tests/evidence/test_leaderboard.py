"""WER by the leaderboard's rules: compounds, what each rule adds, a planted study.

Counts are worked out by hand from the rules that the leaderboard publishes."""

import json

import pandas as pd
import pytest
import yaml
from conftest import ROOT
from made.hypotheses import write_hypotheses, write_manifest
from made.tables import SETTINGS, make_tables

import score
from warmstart.data import text
from warmstart.evidence import analyses, leaderboard, leaderboard_rates
from warmstart.evidence.display import Display
from warmstart.evidence.leaderboard import Counts, merged
from warmstart.study import config, grid, slices

ITALIAN = {"alphabet": "abc", "numbers": "it", "keep": "'"}
ENGLISH = {"alphabet": "abc", "numbers": "en", "keep": "'"}


@pytest.mark.parametrize(
    ("reference", "hypothesis", "english", "other"),
    [
        # Either way round a compound costs nothing; the joined reference has fewer words.
        ("die bundes kanzlerin", "die bundeskanzlerin", (3, 0), (2, 0)),
        ("die bundeskanzlerin", "die bundes kanzlerin", (2, 0), (2, 0)),
        (
            "de arbeids ongeschiktheids verzekering",
            "de arbeidsongeschiktheidsverzekering",
            (4, 0),
            (2, 0),
        ),
        # Two words to two others of the same letters: joined, no merge of kaldialign's.
        ("a bc", "ab c", (2, 2), (1, 0)),
        # Other letters are errors: one substituted, one deleted.
        ("de huis deur", "de voordeur", (3, 2), (3, 2)),
        ("a b", "", (2, 2), (2, 2)),
        ("", "a b", (0, 2), (0, 2)),
        ("a b", "a b", (2, 0), (2, 0)),
        # An error beside the compound: nothing is joined, but merging finds it.
        ("wit papier hier", "witpapier daar", (3, 1), (3, 1)),
    ],
)
def test_compounds_are_merged_in_both_orders(reference, hypothesis, english, other):
    assert merged(reference, hypothesis, joins=False) == english
    assert merged(reference, hypothesis, joins=True) == other


def row(lang, settings, reference, hypothesis, errors):
    ours = tuple(text.normalize(each, settings) for each in (reference, hypothesis))
    found = leaderboard.Counter(lang, settings).row((reference, hypothesis), ours, errors)
    changes = {
        rule: Counts(found[f"leaderboard_{rule}_words"], found[f"leaderboard_{rule}_errors"])
        for rule in leaderboard.RULES
    }
    return found, {rule: change for rule, change in changes.items() if change != (0, 0)}


def test_an_apostrophe_makes_two_words():
    """l'uomo | dell'acqua: 2 words, 1 wrong; then l uomo dell acqua: 4 words, 1 wrong."""
    found, changes = row("it", ITALIAN, "L'uomo dell'acqua", "l'uomo dall'acqua", 1)
    assert (found["leaderboard_words"], found["leaderboard_errors"]) == (4, 1)
    assert changes == {"apostrophes": (2, 0)}


def test_brackets_are_told_from_numbers():
    """Ours: sono tre (tre) cani, 4 words; theirs 3. 1,5 is `uno virgola cinque`, then `uno cinque`
    for the reference: the hypothesis has said `virgola`, which is one word too many."""
    _, changes = row("it", ITALIAN, "sono 3 (tre) cani", "sono tre cani", 1)
    assert changes == {"other": (-1, -1)}
    _, changes = row("it", ITALIAN, "1,5 metri", "uno virgola cinque metri", 0)
    assert changes == {"numbers": (-1, 1)}


def test_english_errors_go_rule_by_rule():
    """i don't like the colour, against i do not like the color: 5 words, 3 errors; written out 6
    words, 1 error; in one spelling none."""
    found, changes = row("en", ENGLISH, "I don't like the colour.", "i do not like the color", 3)
    assert (found["leaderboard_words"], found["leaderboard_errors"]) == (6, 0)
    assert changes == {"apostrophes": (1, -2), "spellings": (0, -1)}


@pytest.mark.parametrize(
    ("alphabet", "why"),
    [("今日は", "none between words"), ("abक\u093f", "combining mark"), ("abéı", "")],
)
def test_languages_that_its_rules_break_are_refused_with_the_reason(alphabet, why):
    found = leaderboard.refusal({"alphabet": alphabet})
    assert why in found
    assert bool(found) == bool(why)


def scored(folder, lang, block, references, hypotheses):
    """A score file of one decode."""
    manifest = write_manifest(folder / f"{lang}.jsonl.gz", references)
    keys = {"lang": lang, "training_set": lang, "test_set": "fleurs", "tier": "160ms"}
    path = write_hypotheses(folder / lang / "h.jsonl", hypotheses, **keys)
    output = folder / f"scored-{lang}.parquet"
    given = ["--hypotheses", str(path), "--tests", f"fleurs={manifest}"]
    settings = json.dumps({"text": block})
    score.main(["--lang", lang, *given, "--settings", settings, "--output", str(output)])
    return output


DISPLAY = {
    "study": {"name": "t", "title": "T"},
    "statistics": SETTINGS
    | {"tier_margin_pp": 0.3, "threshold_pp": 0.5, "confidence": 0.95, "seed": 1},
    "languages": {"de": "German", "en": "English", "ja": "Japanese", "fr": "French"},
    "targets": ["de", "en", "ja", "fr"],
    "training_sets": {},
    "arms": {},
    "tiers": ["160ms"],
    "test_sets": {"fleurs": {"caution": "references are doubtful."}},
}


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    """Tables of four languages, one decode each.

    German, ours: 4 + 4 + 5 words, 2 + 1 + 1 errors; 4 of 13. Without brackets 12 words, 3 errors;
    with the compound 11 words, 1 error. English, ours: 5 + 4 + 0 words, 3 + 0 + 1 errors; 4 of 9.
    Contractions: 10 words, 2 errors less; the number: a word less; the spelling: an error less;
    what is left out: an error less.
    """
    folder = tmp_path_factory.mktemp("leaderboard")
    made = {
        "de": (
            {"alphabet": "abc", "numbers": "de"},
            ["Die Bundes Kanzlerin kommt.", "Das ist ein Haus", "Es sind 3 (drei) Hunde"],
            ["die bundeskanzlerin kommt", "das ist ein maus", "es sind drei hunde"],
        ),
        "en": (
            ENGLISH,
            ["I don't like the colour.", "It was twenty one", "[laughter]"],
            ["i do not like the color", "it was 21", "ha"],
        ),
        "ja": ({"alphabet": "今日は"}, ["今日は", "今日", "は"], ["今日は", "今日", "は"]),
        "fr": ({"alphabet": "abc"}, ["un deux", "trois", "un"], ["un deux", "deux", "un"]),
    }
    files = [scored(folder, lang, *rest) for lang, rest in made.items()]
    return make_tables(folder, {path.stem: pd.read_parquet(path) for path in files}, replicates=50)


def test_a_planted_study_has_both_rates_and_what_lies_between(study):
    table = study["leaderboard"].set_index("lang")
    german, english = table.loc["de"], table.loc["en"]
    assert german[["words", "leaderboard_words", "utterances", "left_out", "changed"]].tolist() == [
        13,
        11,
        3,
        0,
        2,
    ]
    assert german.wer_pct == pytest.approx(400 / 13, rel=1e-5)
    assert german.wer_leaderboard_pct == pytest.approx(100 / 11, rel=1e-5)
    assert german.other_pp == pytest.approx(300 / 12 - 400 / 13, rel=1e-4)
    assert german.compounds_pp == pytest.approx(100 / 11 - 300 / 12, rel=1e-4)
    assert german[["other_utterances", "compounds_utterances"]].tolist() == [1, 1]
    assert english[["left_out", "changed", "leaderboard_words"]].tolist() == [1, 2, 9]
    assert english.wer_leaderboard_pct == 0
    parts = [english[f"{rule}_pp"] for rule in leaderboard.RULES]
    assert sum(parts) == pytest.approx(english.difference_pp, abs=1e-3)
    # Errors and words behind each rule: 2 of 10, 2 of 9, 1 of 9, 0 of 9, 0 of 9.
    assert parts == pytest.approx(
        [20 - 400 / 9, 200 / 9 - 20, 100 / 9 - 200 / 9, -100 / 9, 0], abs=1e-3
    )


def test_the_table_of_rates_has_the_column_and_says_why_elsewhere(study):
    wer = study["wer"].set_index("lang")
    assert wer.wer_leaderboard_pct["de"] == pytest.approx(100 / 11, rel=1e-5)
    assert wer.leaderboard_less_wer_pp["de"] == pytest.approx(100 / 11 - 400 / 13, rel=1e-4)
    assert wer.wer_leaderboard_pct[["ja", "mean"]].isna().all(), "no mean without one of them"
    status = study["leaderboard"].set_index("lang").status
    assert status["ja"].startswith("not estimable: the leaderboard counts what stands between")
    assert set(status[["de", "en", "fr"]]) == {"ok"}


def test_the_page_says_how_far_both_differ_and_why(study):
    display = Display.of(DISPLAY)
    analysis = analyses.load("leaderboard")
    said = analysis.text(study, display, None)
    assert (
        "In German the leaderboard's rate differs from ours by -21.68 pp, the largest part because "
        "compounds cost nothing, written together or apart: that changes 33.3 % of the utterances."
    ) in said
    assert "In French both rates are the same." in said
    shown = analysis.sheet(study, display, None)
    rows = [[cell.text for cell in row] for row in shown.rows]
    german = dict(zip([head.label for head in shown.heads], rows[0], strict=True))
    assert (german["WER %"], german["Leaderboard %"]) == ("30.77", "9.09")
    assert (german["Difference pp"], german["Compounds pp"]) == ("-21.68", "-15.91")
    assert rows[2][-1].startswith("not estimable"), "Japanese"
    assert "Japanese: not estimable: the leaderboard counts" in said
    assert analyses.load("wer").text(study, display, None) == "fleurs: references are doubtful."


def test_scores_from_before_have_no_such_rate_and_say_so(study, tmp_path):
    table = study["leaderboard"]
    absent = analyses.load("leaderboard").absent
    assert "score the languages again" in absent({"leaderboard": table[:0]}, None, None)
    assert "between spaces" in absent({"leaderboard": table[table.lang == "ja"]}, None, None)
    assert absent({"leaderboard": table}, None, None) == ""
    assert leaderboard_rates.read([]) == {}


def test_known_errors_of_voxpopuli_stand_on_the_page_of_a_study_that_tests_on_it():
    block = yaml.safe_load((ROOT / "config.yaml").read_text(encoding="utf-8"))
    config.validate(block)
    display = Display.of(slices.page(grid.Study(block)))
    assert "600 places" in display.caution("voxpopuli")
    assert display.caution("fleurs") == ""
