"""The report: what it says, that it stands alone, and how it behaves in a browser."""

import json
import re

import numpy as np
import pandas as pd
import pytest
from made.browser import CHROMIUM, browsing
from made.planted import Truth, score_table
from test_aggregate import SETTINGS, make_tables

import build_report
import plot
from warmstart.evidence.figures import gap_by_hours, style, validation
from warmstart.report.cells import interval_text, p_cell
from warmstart.report.fairness import pair_facts
from warmstart.report.page import Page, Quality

DISPLAY = {
    "study": {"name": "test", "title": "A <test> study & its report"},
    "statistics": SETTINGS | {"confidence": 0.95, "tier_margin_pp": 0.5, "threshold_pp": 0.5},
    "languages": {"de": "German", "fr": "French", "it": "Italian"},
    "inits": {
        "en": {"name": "English only", "seen": []},
        "ml": {"name": "Multilingual", "seen": ["fleurs"]},
    },
    "tiers": {"160ms": {"lookahead_ms": 160}, "560ms": {"lookahead_ms": 560}},
    "test_sets": ["fleurs"],
}


def run_record(init, **changes):
    """A run.json with the fields that the page reads."""
    record = {
        **{
            "lang": "de",
            "init": init,
            "hours": "100",
            "seed": 1,
            "steps": 500,
            "hours_seen": 2.0,
            "settings": {"lr": 1},
        },
        **{
            "git_commit": "0123456789abcdef",
            "versions": {"torch": "2.11.0"},
            "hardware": {"cpus": 4, "gpu": None},
            "final": {"loss": 1.5},
        },
        **{"model_sha256": "f" * 64, "encoder_tensors": 86, "encoder_tensors_loaded": 86},
        "input_digests": {"train_cuts": "a", "dev_cuts": "b", "tokenizer": "c", "init": init},
        "start_digests": {"encoder": init, "decoder": "d", "joint": "e"},
    }
    return record | changes


def build(folder, tables, runs=(), extra=(), report=(), figures=None):
    """Draw the figures (unless there are some), build the page, return its text."""
    if figures is None:
        figures = folder / "figures"
        plot.main(
            [
                "--tables",
                str(tables),
                "--settings",
                json.dumps(DISPLAY),
                "--output-dir",
                str(figures),
                *extra,
            ]
        )
    paths = []
    for record in runs:
        path = folder / f"{record['init']}-{record['hours']}.json"
        path.write_text(json.dumps(record))
        paths.append(str(path))
    arguments = [
        "--tables",
        str(tables),
        "--figures",
        str(figures),
        "--settings",
        json.dumps(DISPLAY),
    ]
    arguments += [*(["--runs", *paths] if paths else []), *map(str, report)]
    build_report.main([*arguments, "--output", str(folder / "report.html")])
    return (folder / "report.html").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    """Tables and page of a planted study."""
    folder = tmp_path_factory.mktemp("report")
    random = np.random.default_rng(3)
    tables = make_tables(
        folder, {lang: score_table(Truth(), random, lang) for lang in DISPLAY["languages"]}
    )
    return folder, tables, build(folder, folder / "tables", [run_record("en"), run_record("ml")])


def test_the_page_stands_alone_and_escapes_what_it_is_given(study):
    page = study[2]
    assert not re.findall(r'(?:src|href)="(?!#|data:)[^"]*"', page), (
        "nothing is loaded from elsewhere"
    )
    assert "@import" not in page
    assert "url(http" not in page
    assert "A &lt;test&gt; study &amp; its report" in page


def test_the_headline_says_what_the_interval_carries(study):
    _, tables, page = study
    row = (
        tables["gap"]
        .query(
            "languages_as == 'fixed' and hours == 100 and tier == '160ms' and precision == 'full'"
        )
        .iloc[0]
    )
    assert row.gap_low_pp > 0
    assert f"the Multilingual start gives {row.gap_pp:.2f} pp less WER" in page


def test_means_of_other_languages_are_not_passed_off_as_one_curve(study):
    _, tables, page = study
    assert "in the mean of 3 languages (fleurs, 160ms)" in page
    assert "not of the same languages" not in page
    # Italian has no more data than the smallest budgets.
    gap = tables["gap"]
    last = gap.hours.max()
    fewer = gap.assign(languages=gap.languages.where((gap.lang != "mean") | (gap.hours < last), 2))
    shown = Page(tables | {"gap": fewer}, [], Quality(), DISPLAY)
    text = " ".join(shown.answer())
    assert "in the mean of 3 languages (fleurs, 160ms). With 2500 h, " in text
    assert (
        "in the mean of the 2 languages that reach it. The two means are not of the same languages"
        in text
    )
    assert [card["label"] for card in shown.cards()[:2]] == [
        "Gap at 100 h, mean of 3 languages",
        "Gap at 2500 h, mean of 2 languages",
    ]
    sheets = Page(tables, [], Quality(), DISPLAY).sheets()
    for name in ("wer", "guideline", "tiers", "quantization"):
        assert {row[0]["text"] for row in sheets[name]["rows"]} == {
            *DISPLAY["languages"].values(),
            "Mean of 3",
        }, name
    with style():
        figure = gap_by_hours(fewer, tables["fit"], DISPLAY)
    counts = [[text.get_text() for text in axis.texts] for axis in figure.axes]
    assert counts == [[], [], [], [*["n=3"] * (gap.hours.nunique() - 1), "n=2"]]


def test_a_law_that_the_data_do_not_bound_is_not_drawn_like_one(study):
    _, tables, _ = study
    open_fit = tables["fit"].assign(status="exponent not bounded by the data")
    for fit, said in ((tables["fit"], 0), (open_fit, 4)):
        with style():
            figure = gap_by_hours(tables["gap"], fit, DISPLAY)
        labels = [text.get_text() for axis in figure.axes for text in axis.get_legend().get_texts()]
        assert len(labels) == 8
        assert sum(label.endswith(", not bounded") for label in labels) == said


def test_a_law_that_describes_the_gaps_worse_than_another_curve_is_not_told_without_it(study):
    _, tables, page = study
    assert "multiplies the gap by" in page
    assert "of the curves compared" not in page
    weights = {"power": 0.125, "exponential": 0.0, "log_linear": 0.75, "constant": 0.125}
    fit = tables["fit"].assign(weight=tables["fit"].family.map(weights))
    said = Page(tables | {"fit": fit}, [], Quality(), DISPLAY).answer()
    place = next(
        place for place, sentence in enumerate(said) if "multiplies the gap by" in sentence
    )
    assert "the log-linear one describes these gaps better" in said[place + 1]
    assert "(Akaike weights 0.75 and 0.12)" in said[place + 1]
    fit = fit.assign(weight=fit.weight.where(fit.family != "power"))
    assert "of the curves compared" not in " ".join(
        Page(tables | {"fit": fit}, [], Quality(), DISPLAY).answer()
    )


def test_a_small_p_is_no_zero():
    assert [p_cell(p)["text"] for p in (0.00049, 0.0005, 0.0312, float("nan"))] == [
        "<0.001",
        "0.001",
        "0.031",
        "–",
    ]


def test_an_open_interval_is_not_turned_into_a_winner(study):
    _, tables, _ = study
    gap = tables["gap"].assign(gap_low_pp=-1.0, gap_high_pp=1.0)
    text = " ".join(Page(tables | {"gap": gap}, [], Quality(), DISPLAY).answer())
    assert "does not decide between the starts" in text
    assert "less WER" not in text


def test_a_test_set_that_a_donor_has_seen_gets_a_banner(study):
    assert "fleurs: the corpus is in the training data of the donor of Multilingual" in study[2]


def test_the_pairing_audit_finds_what_differs(study):
    _, tables, page = study
    assert "Pairs that differ in more than the encoder" not in page
    runs = [
        run_record("en"),
        run_record("ml", input_digests={**run_record("ml")["input_digests"], "tokenizer": "other"}),
    ]
    (pair,) = Page(tables, runs, Quality(), DISPLAY).pairs()
    assert pair["different"] == ["tokenizer"]
    for changes, found in (
        ({"versions": {"torch": "2.12.0"}}, "software"),
        ({"hardware": {"gpu": "NVIDIA H100"}}, "device"),
    ):
        (pair,) = Page(
            tables, [run_record("en"), run_record("ml", **changes)], Quality(), DISPLAY
        ).pairs()
        assert pair["different"] == [found]
    (pair,) = Page(
        tables, [run_record("en"), run_record("ml", git_commit=None)], Quality(), DISPLAY
    ).pairs()
    assert pair["missing"] == ["code"]
    assert pair_facts(run_record("en")) == pair_facts(run_record("ml")), (
        "the encoder's start is no part of what must be equal"
    )


def test_different_contexts_of_the_donors_are_named_as_a_possible_confound(study):
    contexts = {
        "en": [[70, 13], [70, 6], [70, 1], [70, 0]],
        "ml": [[56, 13], [56, 6], [56, 3], [56, 0]],
    }
    runs = [run_record(init, init_contexts=found) for init, found in contexts.items()]
    page = Page(study[1], runs, Quality(), DISPLAY)
    said = (
        "in frames; English only: left 70, right 0, 1, 6, 13; Multilingual: left 56, right 0, 3, "
        "6, 13"
    )
    assert said in page.donor_text()
    rows = page.sheets()["donors"]["rows"]
    assert [row[3]["text"] for row in rows] == [
        "[[70, 13], [70, 6], [70, 1], [70, 0]]",
        "[[56, 13], [56, 6], [56, 3], [56, 0]]",
    ]
    same = [run_record(init, init_contexts=contexts["en"]) for init in contexts]
    assert "the same attention contexts" in Page(study[1], same, Quality(), DISPLAY).donor_text()
    assert "are not recorded" in study[2]


def test_what_was_forgotten_is_a_table_of_its_own(study):
    own = study[1]["wer"].query(
        "lang == 'de' and precision == 'full' and hours == 100 and tier == '160ms'"
    )
    tables = study[1] | {
        "wer": pd.concat([study[1]["wer"], own.assign(test_set="en_fleurs", wer_pct=[31.5, 42.25])])
    }
    page = Page(tables, [], Quality(), DISPLAY | {"replayed_test_sets": ["en_fleurs"]})
    rows = page.sheets()["forgotten"]["rows"]
    assert [[cell["text"] for cell in row[:6]] for row in rows] == [
        ["German", "English only", "100", "160ms", "en_fleurs", "31.50"],
        ["German", "Multilingual", "100", "160ms", "en_fleurs", "42.25"],
    ]
    assert page.answer() == Page(study[1], [], Quality(), DISPLAY).answer()
    assert "What was forgotten" not in study[2]


def untrained(table, lang="de"):
    """Score rows of donors as they are, at zero hours: worse than any fine-tuned model."""
    rows = table[(table.hours == table.hours.min()) & (table.precision == "full")].assign(hours=0.0)
    wrong = np.minimum(rows.hits, 2 + rows.substitutions)
    return pd.concat(
        [table, rows.assign(hits=rows.hits - wrong, substitutions=rows.substitutions + wrong)],
        ignore_index=True,
    )


def test_donors_without_fine_tuning_are_shown_and_enter_no_law(study, tmp_path):
    random = np.random.default_rng(3)
    scores = {lang: untrained(score_table(Truth(), random, lang)) for lang in DISPLAY["languages"]}
    tables = make_tables(tmp_path, scores)
    pd.testing.assert_frame_equal(tables["fit"], study[1]["fit"])
    both = [
        each["gap_by_tier"].query("hours == 'all'").reset_index(drop=True)
        for each in (tables, study[1])
    ]
    # Holm's adjustment counts the tests, and there are more now.
    pd.testing.assert_frame_equal(*(each.drop(columns="p_holm") for each in both))
    assert set(tables["guideline"].hours) == {0.0, *Truth().hours}
    page = build(tmp_path, tmp_path / "tables")
    assert (
        Page(tables, [], Quality(), DISPLAY).answer()
        == Page(study[1], [], Quality(), DISPLAY).answer()
    )
    assert "0 (as it is)" in page
    assert "Italian without fine-tuning" in page
    assert "Gap at 0 h" not in page


def test_drops_by_reason_and_unwritable_characters_are_shown(study, tmp_path):
    dropped = {"foreign_alphabet": {"cuts": 7, "hours": 0.125}}
    guard = {
        "on": ["sentence"],
        "removed": {"fleurs": {"sentence_in_test": {"cuts": 3, "hours": 0.01}}},
    }
    entry = {
        "read": {"cuts": 100, "hours": 2.0},
        "kept": {"cuts": 90, "hours": 1.8},
        "dropped": dropped,
    }
    (tmp_path / "de.qc.json").write_text(json.dumps({"corpora": {"mls": entry}, "guard": guard}))
    damaged = {
        "lang": "de",
        "corpus": "fleurs",
        "split": "dev",
        "dropped": {"truncated": {"cuts": 2, "hours": 0.004}},
    }
    (tmp_path / "dev.qc.json").write_text(json.dumps(damaged))
    (tmp_path / "de").mkdir()
    (tmp_path / "de" / "coverage.json").write_text(
        json.dumps({"tests": {"fleurs": {"unwritable": {"å": 4}}}})
    )
    more = [
        "--qc",
        tmp_path / "de.qc.json",
        "--manifests",
        tmp_path / "dev.qc.json",
        "--coverage",
        tmp_path / "de/coverage.json",
    ]
    page = build(
        tmp_path,
        study[0] / "tables",
        [run_record("en"), run_record("ml")],
        report=more,
        figures=study[0] / "figures",
    )
    rows = [re.findall(r"<td[^>]*>(.*?)</td>", row) for row in re.findall(r"<tr>(.*?)</tr>", page)]
    assert ["German", "mls", "training", "pool", "foreign alphabet", "7", "0.125"] in rows
    assert ["German", "fleurs", "dev", "manifest", "truncated", "2", "0.004"] in rows
    assert ["German", "fleurs", "å", "latin small letter a with ring above", "4"] in rows
    assert (
        "compares sentence with the test sets and removed fleurs: 3 cuts by sentence_in_test"
        in page
    )


def test_the_replayed_language_has_its_name_among_the_drops():
    settings = DISPLAY | {
        "replayed_languages": {"en": "English"},
        "licences": {"en": {"mls": "CC BY 4.0"}},
    }
    entry = {"read": {}, "kept": {}, "dropped": {"too_long": {"cuts": 5, "hours": 0.05}}}
    page = Page({}, [], Quality(pools={"en": {"corpora": {"mls": entry}}}), settings)
    (row,) = page._drops()["rows"]
    assert [found["text"] for found in row] == [
        "English",
        "mls",
        "training",
        "pool",
        "too long",
        "5",
        "0.050",
    ]
    (row,) = page._data()["rows"]
    assert (row[0]["text"], row[1]["text"], row[-1]["text"]) == ("English", "mls", "CC BY 4.0")


def test_an_unfair_pair_is_in_a_red_banner(study, tmp_path):
    folder = study[0]
    page = build(
        tmp_path,
        folder / "tables",
        [run_record("en", steps=400), run_record("ml")],
        figures=folder / "figures",
    )
    assert "Pairs that differ in more than the encoder" in page
    assert "German 100 h seed 1: steps" in page


def test_a_study_of_one_budget_or_one_init_still_has_a_page(tmp_path):
    table = score_table(
        Truth(hours=(0.02,), tiers=("160ms",), tier_gap_pp=(0.0,), speakers=1),
        np.random.default_rng(0),
        "it",
    )
    make_tables(tmp_path, {"it": table})
    assert "not estimable" in build(tmp_path, tmp_path / "tables")
    only = tmp_path / "only"
    only.mkdir()
    make_tables(only, {"it": table[table.init == "ml"]})
    assert "has no answer yet" in build(only, only / "tables")


def test_training_curves_are_drawn_from_the_logs(study, tmp_path):
    log = tmp_path / "de" / "en" / "100h" / "seed1" / "train.csv"
    log.parent.mkdir(parents=True)
    rows = {
        "step": [1, 2, 3],
        "loss": [3.0, 2.0, 1.5],
        "hours_seen": [0.1, 0.2, 0.3],
        "dev_wer": ["", 0.75, 0.5],
    }
    pd.DataFrame(rows).to_csv(log, index=False)
    page = build(tmp_path, study[0] / "tables", extra=["--train-logs", str(log)])
    assert 'id="figure-training"' in page
    assert (tmp_path / "figures" / "training.png").stat().st_size > 5000
    with style():
        curve = validation({("de", "en", "100", "1"): pd.read_csv(log)}, DISPLAY).axes[0].lines[0]
    assert curve.get_xydata().tolist() == [
        [0.2, 75.0],
        [0.3, 50.0],
    ]  # percent, where it was validated


def test_the_same_tables_give_the_same_figures(study, tmp_path):
    folder = study[0]
    build(tmp_path, folder / "tables")
    for name in build_report.FIGURES:
        assert (tmp_path / "figures" / f"{name}.svg").read_bytes() == (
            folder / "figures" / f"{name}.svg"
        ).read_bytes()


def test_intervals_without_a_bound_are_written_so():
    assert interval_text(0.5, float("inf"), signed=False) == "[0.50, ∞]"
    assert interval_text(float("-inf"), 1.0) == "[−∞, +1.00]"


def numbers(page, column):
    """Values of a column of the WER table, as they stand below each other and are shown."""
    rows = "[...document.getElementById('table-wer').tBodies[0].rows].filter((row) => !row.hidden)"
    return page.run(f"{rows}.map((row) => Number(row.cells[{column}].dataset.v))")


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    """A browser for all tests of this module."""
    with browsing(tmp_path_factory.mktemp("profile")) as page:
        yield page


@pytest.mark.slow
@pytest.mark.skipif(CHROMIUM is None, reason="no chromium on this machine")
@pytest.mark.parametrize("width", [1280, 390])
def test_in_a_browser_nothing_complains_or_overflows_and_tables_sort_and_filter(
    study, browser, width
):
    browser.complaints.clear()
    browser.asked.clear()
    browser.open(study[0] / "report.html", width)
    assert browser.run("document.documentElement.clientWidth") == width
    assert browser.run("document.documentElement.scrollWidth") <= width
    assert browser.run("document.querySelectorAll('figure svg').length") >= 5
    head = "#table-wer thead th:nth-child(7) button"
    before = numbers(browser, 6)
    browser.click(head)
    assert numbers(browser, 6) == sorted(before)
    browser.click(head)
    assert numbers(browser, 6) == sorted(before, reverse=True)
    browser.run(
        "(() => { const select = document.querySelector('.filters select'); select.value = "
        "'German';"
        " select.dispatchEvent(new Event('change', {bubbles: true})); })()"
    )
    assert 0 < len(numbers(browser, 6)) < len(before)
    assert browser.run(
        "document.querySelector('.filters output').textContent"
    ) == f"{len(numbers(browser, 6))} of " + (
        f"{browser.run('document.getElementById(`table-wer`).tBodies[0].rows.length')} rows"
    )
    assert browser.complaints == []
    assert browser.asked == [(study[0] / "report.html").as_uri()]  # nothing but the page itself


@pytest.mark.slow
@pytest.mark.skipif(CHROMIUM is None, reason="no chromium on this machine")
def test_it_prints_on_paper_without_cutting_anything_off(study, browser):
    browser.open(study[0] / "report.html", 1280)
    printed = browser.pdf()
    assert printed.startswith(b"%PDF-")
    assert len(re.findall(rb"/Type\s*/Page\b", printed)) >= 4
    # A4 without margins of 1 cm is 718 pixels wide.
    browser.call("Emulation.setEmulatedMedia", media="print")
    browser.call(
        "Emulation.setDeviceMetricsOverride",
        width=718,
        height=1000,
        deviceScaleFactor=1,
        mobile=False,
    )
    cut = browser.run(
        "[...document.querySelectorAll('.scroll, figure div')].filter((box) => box.scrollWidth > "
        "box.clientWidth + 1)"
        ".map((box) => [box.id || box.firstElementChild.id, box.scrollWidth - box.clientWidth])"
    )
    browser.call("Emulation.setEmulatedMedia", media="")
    assert cut == []
