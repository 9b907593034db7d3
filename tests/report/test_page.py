"""The page of a study with several contrasts and training sets, and with names that mean harm."""

import copy
import re

import numpy as np
import pandas as pd
import pytest
from made.browser import CHROMIUM, browsing
from made.planted import CONTRASTS, SEVERAL, TARGETS, Truth, score_table, several
from made.report import DISPLAY, build, run_record
from made.tables import make_tables

from warmstart.evidence import analyses, cells
from warmstart.evidence.display import Display
from warmstart.evidence.tables import read_tables
from warmstart.report import fairness, page

pytestmark = pytest.mark.slow

SHOWN = DISPLAY | {
    "study": {"name": "several", "title": "Several contrasts"},
    "contrasts": CONTRASTS,
    "languages": {"de": "German", "it": "Italian", "fr": "French", "en": "English"},
    "targets": ["de", "it", "fr"],
    "training_sets": {
        "de": {"name": "German", "languages": {"de": 1}},
        "it": {"name": "Italian", "languages": {"it": 1}},
        "fr": {"name": "French", "languages": {"fr": 1}},
        "it+fr": {"name": "Italian + French", "languages": {"it": 1, "fr": 1}},
    },
    "arms": {
        "en": {"name": "English-only", "init": "en", "adaptation": {"kind": "full"}},
        "ml": {"name": "Multilingual", "init": "ml", "adaptation": {"kind": "full"}},
        "ml_adapter": {
            **{"name": "Adapters", "init": "ml"},
            "adaptation": {"kind": "adapter", "dim": 32},
        },
    },
}


def records():
    """run.json of every arm on German, and on Italian and French together."""
    found = []
    for training_set in ("de", "it+fr"):
        for name, arm in SHOWN["arms"].items():
            record = copy.deepcopy(run_record(name, training_set=training_set))
            record["input_digests"]["init"] = arm["init"]
            record["settings"]["adaptation"] = arm["adaptation"]
            found.append(record)
    # Something that no contrast is about.
    found[-1]["start_digests"]["joint"] = "other"
    return found


@pytest.fixture(scope="module")
def several_page(tmp_path_factory):
    """Folder, tables and page of the study."""
    folder = tmp_path_factory.mktemp("several")
    tables = make_tables(
        folder, several(np.random.default_rng(11)), contrasts=CONTRASTS, targets=TARGETS
    )
    extra = []
    for record in records():
        run = folder / "runs" / f"{record['training_set']}-{record['arm']}"
        run.mkdir(parents=True)
        (run / "run.json").write_text(pd.Series(record).to_json())
        rows = {"loss": [3.0, 2.0], "hours_seen": [0.1, 0.2], "dev_wer": [0.9, 0.5]}
        pd.DataFrame(rows).to_csv(run / "train.csv", index=False)
        extra.append(run / "train.csv")
    figures = folder / "figures"
    text = build(
        folder,
        folder / "tables",
        extra=["--train-logs", *map(str, extra)],
        report=["--runs", *(path.with_name("run.json") for path in extra)],
        display=SHOWN,
    )
    assert figures.is_dir()
    return folder, tables, text


def section(text, anchor):
    """A section of the page without its drawings."""
    found = re.search(rf'<section id="{anchor}">.*?</section>', text, flags=re.DOTALL)[0]
    return re.sub(r"<svg.*?</svg>", "", found, flags=re.DOTALL)


def test_every_contrast_has_its_answer_the_first_one_in_front(several_page):
    answer = section(several_page[2], "answer")
    places = [
        answer.index(said)
        for said in (
            "<h3>Warm start: English-only against Multilingual</h3>",
            'class="lead">Start from the Multilingual model: with 100 h of training data',
            "<p>If you train on Italian + French: start from the Multilingual model: with 100 h",
            "<h3>Adapter: Multilingual against Adapters</h3>",
            "<p>Take Multilingual: with 100 h of training data it saves",
        )
    ]
    assert places == sorted(places)
    assert answer.count('class="lead"') == 1
    assert "on average over 3 languages" in answer
    assert "on average over 2 languages" in answer
    # Those on Italian and French together were trained twice, which tells the noise of the others.
    assert "Each run was trained once" not in answer
    assert "<dt>More data, or less? (trained on each language alone)</dt>" in answer
    assert "<dt>More data, or less? (trained on Italian + French)</dt>" in answer


def test_every_contrast_has_figure_law_and_guideline(several_page):
    gap = section(several_page[2], "gap")
    first, second = gap.split("<h3>Adapter: Multilingual against Adapters</h3>")
    for part, end, differ in (
        (first, "", "English-only and Multilingual differ in init (en against ml)."),
        (
            second,
            "adapter",
            "Multilingual and Adapters differ in adaptation (full against adapter: dim 32).",
        ),
    ):
        assert differ in part
        assert f'id="figure-gap_by_hours{"_" + end if end else ""}"' in part
        for name in ("fit", "guideline"):
            assert f'id="table-{name}{"-" + end if end else ""}"' in part
    assert "<h4>What to start from</h4>" in first
    assert "<h4>Which arm to take</h4>" in second
    assert "Take Multilingual for German" in first
    assert "Italian (trained on Italian + French)" in first
    latency = section(several_page[2], "latency")
    assert latency.count("<figure") == 2
    assert 'id="table-tiers-adapter"' in latency


def test_no_two_elements_of_the_page_have_one_id(several_page):
    ids = re.findall(r'\bid="([^"]+)"', several_page[2])
    assert len(ids) == len(set(ids))


def test_what_differs_beyond_the_contrast_is_flagged(several_page):
    answer, audit = (section(several_page[2], name) for name in ("answer", "audit"))
    assert "Pairs that differ in more than their contrast is about" in answer
    assert "<p>adapter, Italian + French 100 h seed 1: start of joint</p>" in answer
    assert "warm_start, " not in answer
    assert "must differ in the encoder&#39;s start and in nothing else" in audit
    assert "must differ in the adaptation and in nothing else" in audit
    assert 'id="table-pairs-adapter"' in audit


def test_a_contrast_of_several_things_gets_a_banner(several_page):
    _, tables, _ = several_page
    both = {"both": {"baseline": "en", "challenger": "ml_adapter"}}
    block = SHOWN | {"contrasts": CONTRASTS | both}
    titles = {
        banner.title: banner.lines
        for banner in page.banners(page.Material(tables, Display.of(block)))
    }
    assert titles == {
        "Contrasts of more than one thing": [
            "both: English-only and Adapters differ in init and adaptation; the gap is of all of "
            "that together."
        ]
    }


def test_of_a_language_without_spaces_characters_are_counted(several_page):
    lang = next(iter(Display.of(SHOWN).languages))
    shown = Display.of(SHOWN | {"unspaced": [lang]})
    banner = page.banners(page.Material(several_page[1], shown))[-1]
    assert banner.title == "WER of characters"
    assert shown.language(lang) in banner.lines[0]


def test_a_donor_of_which_nobody_knows_what_it_heard_is_not_called_fair(several_page):
    block = copy.deepcopy(SHOWN)
    block["arms"]["en"]["seen"] = "unknown"
    shown = Display.of(block)
    runs = [record for record in records() if record["training_set"] == "de"]
    (banner,) = page.banners(page.Material(several_page[1], shown, runs))
    assert (banner.title, banner.fine) == ("Test sets that a donor may have seen", False)
    assert banner.lines[0].startswith(
        f"What the donor of {shown.arm('en')} was trained on is unknown."
    )
    assert "unknown" in str(fairness.donors_sheet(runs, shown))


def test_fair_pairs_of_every_contrast_are_counted(several_page):
    runs = [record for record in records() if record["training_set"] == "de"]
    (banner,) = page.banners(page.Material(several_page[1], Display.of(SHOWN), runs))
    assert banner.fine
    assert list(banner.lines[:2]) == [
        "All 1 pairs of runs of warm_start differ in the encoder, and in nothing else that is "
        f"compared: {fairness.COMPARED}.",
        "All 1 pairs of runs of adapter differ in the adaptation, and in nothing else that is "
        f"compared: {fairness.COMPARED}.",
    ]


def test_what_was_forgotten_stands_below_the_rates(several_page):
    rates = section(several_page[2], "wer")
    assert "<h3>What was forgotten</h3>" in rates
    table = rates.split('id="table-forgetting"')[1]
    assert table.count("<tr>") == 1 + len(
        several_page[1]["wer"].query("lang == 'en' and precision == 'full'")
    )


def test_heads_say_what_their_columns_mean(several_page):
    heads = re.findall(r'title="([^"]+)">(?:<button type="button">)?([^<]+)<', several_page[2])
    by_label = {label: title for title, label in heads}
    assert by_label["WER %"] == "Word error rate (%)"
    assert by_label["Trained on"].startswith("What the model was trained on")


HARM = "<script>alert(1)</script>\"' & $x_1$ --><b>"


def test_names_that_mean_harm_are_shown_as_they_are_written(tmp_path):
    """In names of the configuration and in what data and programs say."""
    truth = Truth(arms=SEVERAL.arms, hours=(1.0, 4.0), speakers=6)
    random = np.random.default_rng(0)
    scores = {lang: score_table(truth, random, lang) for lang in ("it", "fr")}
    make_tables(tmp_path, scores, contrasts=CONTRASTS)
    block = copy.deepcopy(SHOWN) | {
        "study": {"name": HARM, "title": HARM},
        "languages": dict.fromkeys(("it", "fr"), HARM),
        "targets": ["it", "fr"],
        "licences": {"it": {"mls": HARM}},
        "precisions": {"int4": HARM},
        "test_sets": {
            "fleurs": {
                "title": HARM,
                "description": HARM,
                "recordings": {
                    "it": {"corpus": HARM, "split": HARM, "licence": HARM, "passed_on": True}
                },
            }
        },
    }
    for each in (*block["arms"].values(), *block["training_sets"].values()):
        each["name"] = HARM
    block["arms"]["en"] |= {"licence": HARM, "init": HARM, "seen": ["fleurs"]}
    runs = [
        run_record(arm, training_set="it", git_commit=HARM, versions={HARM: HARM})
        for arm in ("en", "ml")
    ]
    for table in scores.values():
        table["reference"], table["hypothesis"] = HARM, HARM + " x"
        table["id"] = [f"{HARM}{place % 6}" for place in range(len(table))]
    scores["it"].to_parquet(tmp_path / "it.parquet")
    (tmp_path / "it.qc.json").write_text(
        pd.Series(
            {
                "corpora": {
                    HARM: {
                        "read": {"cuts": 1, "hours": 1.0},
                        "kept": {"cuts": 1, "hours": 1.0},
                        "dropped": {HARM: {"cuts": 1, "hours": 1.0}},
                    }
                },
                "guard": {"on": [HARM], "removed": {HARM: {HARM: {"cuts": 1, "hours": 1.0}}}},
            }
        ).to_json()
    )
    more = ["--qc", tmp_path / "it.qc.json", "--scores", tmp_path / "it.parquet"]
    text = build(tmp_path, tmp_path / "tables", runs, report=more, display=block)
    # The page's own script is the only one; comments of drawings cannot be closed from inside.
    assert text.count("<script>") == 1
    assert text.count("<b>") == len(re.findall(r'class="card"', text))
    for comment in re.findall(r"<!--(.*?)-->", text, flags=re.DOTALL):
        assert "<script" not in comment
    assert "&lt;script&gt;alert(1)&lt;/script&gt;&#34;&#39; &amp; $x_1$ --&gt;&lt;b&gt;" in text


def test_tables_keep_what_is_in_a_cell(tmp_path):
    """A comma, a quote or a new line in a name is no other cell."""
    truth = Truth(arms=(('a,"b\n', 1.0), ("ml", 0.0)), hours=(1.0,), speakers=4)
    contrasts = {"c": {"baseline": 'a,"b\n', "challenger": "ml"}}
    table = score_table(truth, np.random.default_rng(0), "it")
    make_tables(tmp_path, {"it": table}, contrasts=contrasts)
    read = read_tables(tmp_path / "tables", analyses.tables())
    assert set(read["wer"].arm) == {'a,"b\n', "ml"}
    assert set(read["gap"].baseline) == {'a,"b\n'}


@pytest.mark.skipif(CHROMIUM is None, reason="no chromium on this machine")
@pytest.mark.parametrize("width", [1280, 390])
def test_in_a_browser_a_page_of_several_contrasts_fits(several_page, tmp_path, width):
    with browsing(tmp_path / "profile") as browser:
        browser.open(several_page[0] / "report.html", width)
        assert browser.run("document.documentElement.scrollWidth") <= width
        assert browser.run("document.querySelectorAll('figure svg').length") == 11
        assert browser.complaints == []
        assert browser.asked == [(several_page[0] / "report.html").as_uri()]


@pytest.mark.parametrize(
    ("hours", "text"),
    [(0.004, "0.004"), (0.02, "0.02"), (2.5, "2.5"), (100.0, "100"), (2500.0, "2,500")],
)
def test_a_budget_is_shown_with_all_its_decimals(hours, text):
    assert cells.hours_cell(hours).text == text
