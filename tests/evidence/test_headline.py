"""A language without the headline test set is read from its own first one, and nothing hides it."""

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
from warmstart.evidence.settings import headline_test_set
from warmstart.report.headline import lines_of
from warmstart.study import slices
from warmstart.study.config import validate
from warmstart.study.grid import Study
from warmstart.study.notes import notes

TEST_SETS = {"de": ["mls", "fleurs"], "fr": ["fleurs"], "it": ["own", "mls"]}
TRUTH = Truth(hours=(100.0, 400.0), tiers=("160ms",), tier_gap_pp=(0.0,), speakers=60)


@pytest.fixture(scope="module")
def tables(tmp_path_factory):
    """German and French are scored on fleurs, Italian on its own recordings and mls."""
    random = np.random.default_rng(4)
    scores = {
        lang: pd.concat([score_table(TRUTH, random, lang, name) for name in names])
        for lang, names in TEST_SETS.items()
    }
    return make_tables(tmp_path_factory.mktemp("headline"), scores, test_sets=TEST_SETS)


@pytest.fixture(scope="module")
def display():
    return Display.of(DISPLAY | {"test_sets": ["fleurs", "mls", "own"], "test_sets_of": TEST_SETS})


def test_the_headline_where_a_language_has_it_else_its_first():
    assert headline_test_set("fleurs", ["mls", "fleurs"]) == "fleurs"
    assert headline_test_set("fleurs", ["own", "mls"]) == "own"
    assert headline_test_set("fleurs", []) == "fleurs"


def test_the_guideline_has_every_language_and_says_its_test_set(tables):
    rows = tables["guideline"]
    found = rows[["lang", "test_set", "languages"]].drop_duplicates().values.tolist()
    assert found == [
        ["de", "fleurs", 1],
        ["fr", "fleurs", 1],
        ["mean", "fleurs", 2],
        ["it", "own", 1],
    ]
    # The same numbers as in gap.csv, where every test set has its rows.
    gap = tables["gap"].query("lang == 'it' and test_set == 'own' and precision == 'full'")
    assert rows[rows.lang == "it"].gap_pp.tolist() == gap[gap.languages_as == "one"].gap_pp.tolist()


def test_the_mean_is_of_the_languages_on_the_headline_alone(tables):
    gap = tables["gap"].query("precision == 'full' and languages_as != 'sampled' and hours == 100")
    at = gap[gap.test_set == "fleurs"].set_index("lang").gap_pp
    assert at["mean"] == pytest.approx((at["de"] + at["fr"]) / 2, abs=1e-4)


def test_the_terminal_shows_it_and_says_so(tables):
    lines = lines_of(tables["wer"], tables["gap"], tables["guideline"])
    assert "it is not scored on fleurs: its numbers are of own" in lines
    place = lines.index("it (own)")
    wer = tables["wer"].query("lang == 'it' and test_set == 'own' and precision == 'full'")
    wer = wer.set_index(["arm", "hours"]).wer_pct
    assert lines[place + 2].split() == ["en", "100", f"{wer['en', 100]:.1f}"]
    assert sum(line.startswith("  it ") for line in lines) == 2, "a gap for each budget"


def test_the_figures_have_a_panel_for_it_that_names_the_test_set(tables, display):
    panels = display.panels(display.headline(tables["wer"]), mean=False)
    assert [panel.title for panel in panels] == ["German", "French", "Italian (own)"]
    contrast = display.contrasts[0]
    for name in ("gap", "gap_by_tier", "wer"):
        for drawing in analyses.load(name).figures:
            figure = drawing.draw(Material(tables), display, contrast)
            named = [axis.get_title() for axis in figure.axes]
            named += [text.get_text() for one in figure.legends for text in one.get_texts()]
            assert any(text.startswith("Italian (own)") for text in named), name
    assert display.words(contrast)["test_set"] == "fleurs (own for Italian)"


def test_the_page_has_it_in_every_table_and_a_sentence(tables, display):
    contrast = display.contrasts[0]
    for name in ("guideline", "fit", "wer"):
        sheet = analyses.load(name).sheet(tables, display, contrast)
        assert any(cell.text == "Italian" for row in sheet.rows for cell in row), name
        # Nothing is chosen at first that would hide it.
        assert all(one.chosen is None for one in sheet.filters)
    text = analyses.load("guideline").text(tables, display, contrast)
    assert "Not scored on fleurs" in text
    assert "Italian from own" in text


def test_a_study_whose_languages_all_have_the_headline_says_nothing():
    display = Display.of(DISPLAY)
    assert display.elsewhere() == ""
    assert display.words(None)["test_set"] == "fleurs"


def test_the_dry_run_says_it_and_the_tables_are_told(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # results of another study would add notes
    config = smoke_config()
    config["languages"]["it"]["test_sets"] = ["human", "new_voices"]
    config["languages"]["fr"] = {**config["languages"]["it"], "test_sets": ["same_voices"]}
    config["languages"]["fr"]["corpora"] = {"spoken": "fr"}
    validate(config)
    study = Study(config)
    (note,) = notes(study)
    assert note.startswith("it: statistics.headline_test_set is 'same_voices'")
    assert "languages.it.test_sets" in note
    assert "'human'" in note
    assert slices.statistics(study)["test_sets"] == {
        "it": ["human", "new_voices"],
        "fr": ["same_voices"],
    }
    settings = Display.of(slices.display(study)).settings
    assert (settings.headline_in("it"), settings.headline_in("fr")) == ("human", "same_voices")
    assert settings.headline_in("mean") == "same_voices"


def test_a_language_in_no_training_set_is_named_by_the_dry_run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # results of another study would add notes
    config = smoke_config()
    config["languages"]["fr"] = {**config["languages"]["it"], "test_sets": ["same_voices"]}
    config["languages"]["fr"]["corpora"] = {"spoken": "fr"}
    config["training_sets"] = {"it": {"languages": {"it": 1}}}
    validate(config)
    (note,) = notes(Study(config))
    assert note.startswith("fr: in no training set")


def test_a_language_without_a_pair_is_named_by_the_guideline(tmp_path):
    random = np.random.default_rng(4)
    scores = {lang: score_table(TRUTH, random, lang) for lang in ("de", "fr", "it")}
    scores["fr"] = scores["fr"][scores["fr"].arm == "ml"]
    tables = make_tables(tmp_path, scores)
    shown = Display.of(DISPLAY)
    text = analyses.load("guideline").text(tables, shown, shown.contrasts[0])
    assert "Not decoded with both starts there: French." in text
