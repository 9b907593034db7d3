"""The report: what it says, that it stands alone, and how it behaves in a browser."""

import html
import json
import re

import numpy as np
import pandas as pd
import pytest
from made.browser import CHROMIUM, browsing
from made.planted import Truth, score_table
from made.report import DISPLAY, SHOWN, WARM_START, build, pool_report, rows_of, run_record
from made.tables import make_tables

from warmstart.evidence import analyses
from warmstart.evidence.analyses.base import Material, RunKey
from warmstart.evidence.analyses.curves import draw_validation
from warmstart.evidence.analyses.gap import draw as draw_gap
from warmstart.evidence.cells import interval_text, p_cell
from warmstart.evidence.display import Display
from warmstart.evidence.plotting import style
from warmstart.report import quality
from warmstart.report.answer import Answer
from warmstart.report.headline import lines_of
from warmstart.report.quality import Quality


def answer(tables, display=SHOWN, contrast=WARM_START):
    """The sentences about a contrast."""
    said = Answer(tables, display, contrast)
    return [
        *(text for one in said.advice() for text in (one.text, one.small)),
        *(line for one in said.questions() for line in one.answer),
    ]


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
    assert row.gap_pp > 3
    saved, of = round(row.gap_pp), round(row.wer_baseline_pct)
    assert (
        f'<p class="lead">Start from the Multilingual model: with 100 h of training data it saves '
        f"{saved} of {of} errors in 100 words, on average over 3 languages.</p>" in page
    )
    assert f"<strong>{row.wer_baseline_pct:.1f} %</strong> English only" in page
    assert f"<strong>{row.wer_challenger_pct:.1f} %</strong> Multilingual" in page
    assert (
        f"Words wrong with 100 h, mean of 3 languages, fleurs, at 160 ms. Difference "
        f"{row.gap_pp:+.2f} points, 95 % interval of these trainings "
        f"[{row.gap_low_pp:+.2f}, {row.gap_high_pp:+.2f}]." in page
    )


def test_means_of_other_languages_are_not_passed_off_as_one_curve(study):
    _, tables, page = study
    assert "means of other languages" not in page
    # Italian has no more data than the smaller budgets.
    gap = tables["gap"]
    last = gap.hours.max()
    fewer = gap[(gap.lang != "it") | (gap.hours < last)]
    fewer = fewer.assign(
        languages=fewer.languages.where((fewer.lang != "mean") | (fewer.hours < last), 2)
    )
    shown = Answer(tables | {"gap": fewer}, SHOWN, WARM_START)
    text = " ".join(answer(tables | {"gap": fewer}))
    assert "on average over 3 languages" in text
    assert (
        "These are means of other languages (German, French and Italian at 100, 250, 500 and 1000 "
        "h; German and French at 2500 h), so a change between them may be one of languages and not "
        "of data." in text
    )
    assert [card.label for card in shown.cards()] == [
        "WER at 2500 h, mean of 2 languages",
        "Gap per doubling of data",
    ]
    for name in ("wer", "guideline", "gap_by_tier", "quantization"):
        analysis = analyses.load(name)
        sheet = analysis.sheet(tables, SHOWN, WARM_START if analysis.by_contrast else None)
        assert {row[0] for row in rows_of(sheet)} == {
            *DISPLAY["languages"].values(),
            "Mean of 3",
        }, name
    with style():
        figure = draw_gap(Material(tables | {"gap": fewer}), SHOWN, WARM_START)
    (axis,) = figure.axes
    counts = [text.get_text() for text in axis.texts]
    assert counts == [*["n=3"] * (gap.hours.nunique() - 1), "n=2"]


def test_a_law_that_the_data_do_not_bound_is_not_drawn_like_one(study):
    _, tables, _ = study
    open_fit = tables["fit"].assign(status="exponent not bounded by the data")
    for fit, said in ((tables["fit"], 0), (open_fit, 4)):
        with style():
            figure = draw_gap(Material(tables | {"fit": fit}), SHOWN, WARM_START)
        (legend,) = figure.legends
        labels = [text.get_text() for text in legend.get_texts()]
        assert [label.split(" (")[0] for label in labels] == [
            *("German", "French", "Italian", "Mean of languages")
        ]
        assert sum(label.endswith(" (law not bounded)") for label in labels) == said


def test_a_law_that_does_not_exist_shows_no_numbers(study):
    _, tables, _ = study
    status = "not estimable: gaps of both signs or flat, no exponent fits"
    none = tables["fit"].assign(
        **{"status": status, "exponent_b": -np.inf, "factor_per_doubling": np.inf},
        **{"threshold_hours": 0.0, "threshold_low_hours": 0.0, "threshold_high_hours": 0.0},
    )
    tables = tables | {"fit": none}
    assert [card.label for card in Answer(tables, SHOWN, WARM_START).cards()] == [
        "WER at 2500 h, mean of 3 languages"
    ]
    said = " ".join(answer(tables))
    assert "A law of the gap in the hours cannot be stated: gaps of both signs or flat" in said
    assert "Each doubling" not in said
    for row in rows_of(analyses.load("fit").sheet(tables, SHOWN, WARM_START)):
        assert row[1:8] == ["–"] * 7
        assert row[-1] == status
    with style():
        (axis,) = draw_gap(Material(tables), SHOWN, WARM_START).axes
    # The zero line and a line through the points of each: no curve of a law.
    assert max(len(line.get_xdata()) for line in axis.lines) == 5


def test_a_law_that_describes_the_gaps_worse_than_another_curve_is_not_told_without_it(study):
    _, tables, page = study
    assert "multiplies the gap by" in page
    assert "of the curves compared" not in page
    weights = {"power": 0.125, "exponential": 0.0, "log_linear": 0.75, "constant": 0.125}
    fit = tables["fit"].assign(weight=tables["fit"].family.map(weights))
    said = answer(tables | {"fit": fit})
    (law,) = [sentence for sentence in said if "multiplies the gap by" in sentence]
    # Six times the weight is what chance alone gives now and then.
    assert "better" not in law
    weights = {"power": 0.06, "exponential": 0.0, "log_linear": 0.75, "constant": 0.19}
    fit = tables["fit"].assign(weight=tables["fit"].family.map(weights))
    said = answer(tables | {"fit": fit})
    (law,) = [sentence for sentence in said if "multiplies the gap by" in sentence]
    assert "the log-linear one describes these gaps better" in law
    assert "(Akaike weights 0.75 and 0.06)" in law
    # Eight times as well is not enough to say so.
    less = fit.assign(weight=fit.weight.where(fit.family != "power", 0.1))
    assert "of the curves compared" not in " ".join(answer(tables | {"fit": less}))
    fit = fit.assign(weight=fit.weight.where(fit.family != "power"))
    assert "of the curves compared" not in " ".join(answer(tables | {"fit": fit}))


def test_a_small_p_is_no_zero():
    assert [p_cell(p).text for p in (0.00049, 0.0005, 0.0312, float("nan"))] == [
        "<0.001",
        "0.001",
        "0.031",
        "–",
    ]


def test_an_open_interval_is_not_turned_into_a_winner(study):
    _, tables, _ = study
    gap = tables["gap"].assign(gap_low_pp=-1.0, gap_high_pp=1.0)
    guideline = tables["guideline"].assign(decision="not decided by this study")
    (advice,) = Answer(tables | {"gap": gap, "guideline": guideline}, SHOWN, WARM_START).advice()
    assert advice.text.startswith(
        "This study does not decide which model to start from: with 100 h of training data "
        "English only makes "
    )
    assert advice.text.endswith(", and chance alone could explain the difference.")
    text = " ".join(answer(tables | {"gap": gap, "guideline": guideline}))
    assert "not decided at every amount of data, 100, 250, 500, 1000 and 2500 h" in text
    assert "saves" not in text


def decided(tables, decisions):
    """Advice from means over languages with these decisions by hours, and a gap of 4 in 21."""
    rows = tables["gap"]
    rows = rows.assign(wer_baseline_pct=21.0, wer_challenger_pct=17.0, gap_pp=4.0)
    guideline = tables["guideline"]
    own = guideline.hours.map(decisions)
    chosen = guideline.assign(decision=own)
    (advice,) = Answer(tables | {"gap": rows, "guideline": chosen}, SHOWN, WARM_START).advice()
    return advice.text


def test_advice_is_no_stronger_than_the_decisions_and_tells_who_is_ahead_where(study):
    _, tables, _ = study
    hours = (100.0, 250.0, 500.0, 1000.0, 2500.0)
    open_, either = "not decided by this study", "either"
    over = "on average over 3 languages"
    assert decided(tables, dict.fromkeys(hours, "ml")) == (
        "Start from the Multilingual model: with 100 h of training data it saves 4 of 21 errors in "
        f"100 words, {over}."
    )
    assert decided(tables, dict(zip(hours, [open_, "en", "en", open_, either], strict=True))) == (
        "Start from the English only model: with 250 h of training data it saves 4 of 21 errors in "
        f"100 words, {over}."
    )
    assert decided(tables, dict(zip(hours, ["ml", "ml", open_, open_, "en"], strict=True))) == (
        "What to start from depends on the data: Multilingual at 100 and 250 h; not decided at 500 "
        f"and 1000 h; English only at 2500 h, {over}."
    )
    assert decided(tables, dict.fromkeys(hours, either)) == (
        "Start from either model: they are within 0.5 errors in 100 words of each other, "
        f"{over}, at 100, 250, 500, 1000 and 2500 h of training data."
    )


def only(tables, kept):
    """Tables with some budgets of each language, and without means."""

    def wanted(table):
        at = [
            lang not in ("mean", "pooled") and (hours in ("all", "all.0") or lang in kept)
            for lang, hours in zip(table.lang, table.hours.astype(str), strict=True)
        ]
        own = table[at]
        hours = pd.to_numeric(own.hours, errors="coerce")
        return own[hours.isna() | (hours == own.lang.map(kept))]

    names = ("gap", "guideline", "gap_by_tier", "quantization", "wer")
    laws = tables["fit"]
    return tables | {
        **{name: wanted(tables[name]) for name in names},
        "fit": laws[laws.lang.isin(kept)].assign(
            status="not estimable: 1 budget(s)", weight=np.nan
        ),
    }


def test_two_languages_at_two_amounts_of_data_are_no_change_with_data(study):
    """German at 100 h and French at 500 h, with the other sign: nobody has seen a reversal."""
    tables = only(study[1], {"de": 100.0, "fr": 500.0})
    gap, guideline = (tables[name].copy() for name in ("gap", "guideline"))
    gap.loc[gap.lang == "fr", ["gap_pp", "gap_low_pp", "gap_high_pp"]] = [-4.4, -5.0, -3.9]
    guideline["decision"] = guideline.lang.map({"de": "ml", "fr": "en"})
    said = Answer(tables | {"gap": gap, "guideline": guideline}, SHOWN, WARM_START)
    first, second = (advice.text for advice in said.advice())
    assert first.startswith("Start from the Multilingual model: with 100 h of training data it ")
    assert first.endswith("errors in 100 words in German.")
    assert second.startswith("Start from the English only model: with 500 h of training data it ")
    assert second.endswith("errors in 100 words in French.")
    asked = {one.question: list(one.answer) for one in said.questions()}
    assert asked["More data, or less? (German)"][0] == (
        "German has one amount of data, 100 h, so it does not say."
    )
    assert asked["More data, or less? (French)"][0] == (
        "French has one amount of data, 500 h, so it does not say."
    )
    for question, lines in asked.items():
        for line in lines:
            if "100 h" in line or "500 h" in line:
                assert "German" in question + line or "French" in question + line, line
    assert "depends on the data" not in " ".join(answer(tables))


def test_means_of_other_languages_with_other_winners_do_not_depend_on_the_data(study):
    """German and French at 100 h, French and Italian at 250 h."""
    tables = study[1]
    gap, guideline = tables["gap"], tables["guideline"]
    at = {("mean", 100.0), ("mean", 250.0), ("de", 100.0), ("fr", 100.0), ("fr", 250.0)}
    at |= {("it", 250.0)}

    def kept(table):
        return table[[key in at for key in zip(table.lang, table.hours, strict=True)]]

    guideline = kept(guideline).assign(decision=kept(guideline).hours.map({100: "ml", 250: "en"}))
    changed = tables | {"gap": kept(gap), "guideline": guideline}
    (advice,) = Answer(changed, SHOWN, WARM_START).advice()
    assert advice.text == (
        "What to start from has to be read language by language, because the means that decide it "
        "are not of the same languages: Multilingual at 100 h; English only at 250 h."
    )


def test_the_largest_budget_of_a_single_language_is_mentioned(study):
    """Means end where two languages do; the question goes on."""
    tables = study[1]
    gap = tables["gap"]
    fewer = gap[(gap.hours < 2500) | (gap.lang == "de")]
    own = gap.query("lang == 'de' and hours == 2500 and tier == '160ms' and precision == 'full'")
    said = " ".join(answer(tables | {"gap": fewer}))
    assert "Above 1000 h there is no mean over languages. German: " in said
    row = own.iloc[0]
    bounds = interval_text(row.gap_low_pp, row.gap_high_pp)
    assert f"(with 2500 h: difference {row.gap_pp:+.2f} points, 95 % interval of these" in said
    assert f"trainings {bounds})" in said


def laws_of(tables, **rows):
    """The laws with hours to the threshold, by language: estimate, low, high."""
    fit = tables["fit"].copy()
    for lang, hours in rows.items():
        at = (fit.lang == lang) & (fit.family == "power")
        fit.loc[at, ["threshold_hours", "threshold_low_hours", "threshold_high_hours"]] = hours
    return tables | {"fit": fit}


def test_hours_to_the_threshold_are_in_the_answer(study):
    rows = {
        "pooled": (850.4, 600.0, 1300.0),
        "de": (1e9, 900.0, np.inf),
        "fr": (4000.0, 2000.0, np.inf),
        "it": (30.0, 10.0, np.inf),
    }
    shown = Answer(laws_of(study[1], **rows), SHOWN, WARM_START)
    asked = {one.question: list(one.answer) for one in shown.questions()}
    assert asked["From how much data does the choice stop to matter?"] == [
        "By the law of each, the gap stays under 0.5 points as follows (in brackets: 95 % "
        "intervals of these trainings).",
        "All languages together: from 850 h on (600 h to 1,300 h).",
        "German: never (900 h to never).",
        "French: from 4,000 h on, beyond the 2500 h that were trained (2,000 h to never).",
        "Italian: these data do not bound it.",
    ]
    # A law that was read with its sign says 0 h of a baseline that is better by far.
    rows = dict.fromkeys(rows, (0.0, 0.0, 0.0))
    shown = Answer(laws_of(study[1], **rows), SHOWN, WARM_START)
    assert "From how much data" not in " ".join(one.question for one in shown.questions())


def test_a_lead_of_a_size_that_is_not_decided_is_told_as_that(study):
    tables = study[1]
    guideline = tables["guideline"].assign(decision="ahead, size not decided", ahead="ml")
    changed = tables | {"guideline": guideline}
    (advice,) = Answer(changed, SHOWN, WARM_START).advice()
    assert advice.text.startswith(
        "Start from the Multilingual model, if nothing else decides: with 100 h of training data "
        "it is ahead by "
    )
    assert advice.text.endswith("on average over 3 languages. It may be less than 0.5.")
    assert "Multilingual ahead at every amount of data" in " ".join(answer(changed))
    text = analyses.load("guideline").text(changed, SHOWN, WARM_START)
    assert text.startswith("Multilingual is ahead, perhaps by less than 0.5 pp, for German at 100,")
    assert "adjusted for all 20 gaps of the table (Holm)" in text
    assert "at most 5 % for each of these three, for these trainings." in text
    lines = lines_of(tables["wer"], tables["gap"], guideline)
    means = [line for line in lines if line.startswith("  mean ")]
    assert len(means) == 5
    assert all(line.endswith(" ml ahead, size not decided (mean of 3)") for line in means)


def test_with_one_seed_nothing_is_said_at_95_percent_without_of_these_trainings(study):
    """On the page, with heads of tables and captions of figures, and in the terminal."""
    tables = study[1]
    page = html.unescape(re.sub(r"<[^>]+>", " ", study[2]))
    terminal = "\n".join(lines_of(tables["wer"], tables["gap"], tables["guideline"]))
    named = (
        "95 % (intervals? of these trainings"
        "|by Student's t, of rates on a logarithmic scale, of these trainings"
        # Power counts the noise of further trainings; and what simulations held.
        "|confidence"
        "|intervals of the standard deviation are too short"
        # The law of the WER has noise of training in it, and says so.
        "|intervals of one more training|interval, with training noise)"
    )
    for text, least in ((page, 20), (terminal, 1)):
        places = [match.start() for match in re.finditer("95 %", text)]
        assert len(places) >= least
        unsaid = [at for at in places if not re.match(named, text[at:])]
        assert [text[at - 60 : at + 60] for at in unsaid] == []
    assert (
        "any “either” is false is at most 5 % for each of these three, for these trainings" in page
    )


def test_a_language_in_which_the_other_side_is_ahead_is_named_in_the_advice(study):
    _, tables, _ = study
    guideline = tables["guideline"].assign(decision="ml")
    guideline.loc[guideline.lang == "it", "decision"] = "en"
    (advice,) = Answer(tables | {"guideline": guideline}, SHOWN, WARM_START).advice()
    assert advice.text.endswith("on average over 3 languages, but not in Italian.")


def test_questions_about_latency_and_quantising_are_answered_from_the_tables(study):
    _, tables, _ = study
    tiers = tables["gap_by_tier"].assign(verdict="different", difference_pp=-1.25)
    quantised = tables["quantization"]
    quantised = quantised.assign(delta_pp=0.52, delta_low_pp=0.2, delta_high_pp=0.8)
    quantised.loc[quantised.arm == "ml", ["delta_low_pp"]] = -0.1
    changed = tables | {"gap_by_tier": tiers, "quantization": quantised}
    asked = {one.question: one.answer for one in Answer(changed, SHOWN, WARM_START).questions()}
    assert asked["Does latency change it?"] == [
        "Yes: at 560 ms the gap is 1.2 points smaller than at 160 ms."
    ]
    assert asked["What does quantising cost?"] == [
        "With int4 weights (2500 h, 560 ms) English only makes 0.5 more errors in 100 words "
        "([+0.20, +0.80]); Multilingual has no cost that the study can see (+0.52 [-0.10, +0.80]).",
        "It changes the gap (+0.52 points, [+0.20, +0.80]).",
    ]


def test_models_that_do_not_recognise_get_no_advice_and_the_rest_is_told_of_those_that_do(study):
    _, tables, _ = study
    unable = "not decided: systems do not recognise"
    guideline = tables["guideline"].assign(decision=unable)
    (advice,) = Answer(tables | {"guideline": guideline}, SHOWN, WARM_START).advice()
    assert advice.text.startswith(
        "These models do not recognise speech, so this study does not say which model to start "
        "from: with 100 h of training data English only makes "
    )
    # The smallest budget alone learned nothing.
    at = guideline.hours > 100
    guideline.loc[at, "decision"] = "ml"
    tiers = tables["gap_by_tier"].assign(verdict="equivalent")
    learned = ~tiers.hours.astype(str).isin(["all", "100", "100.0"])
    tiers["verdict"] = tiers.verdict.where(learned, unable)
    shown = Answer(tables | {"guideline": guideline, "gap_by_tier": tiers}, SHOWN, WARM_START)
    assert shown.advice()[0].text.startswith("Start from the Multilingual model: with 250 h of ")
    asked = {one.question: one.answer for one in shown.questions()}
    assert asked["More data, or less?"][0].startswith(
        "Not decided at 100 h, because models do not recognise; Multilingual at 250, 500, 1000 and "
    )
    assert asked["Does latency change it?"] == [
        "No: at 560 ms the gap is as at 160 ms, within ±0.5 points, with 2500 h."
    ]
    assert [card.label for card in shown.cards()][:1] == ["WER at 2500 h, mean of 3 languages"]


@pytest.mark.slow
def test_what_was_not_asked_is_a_sentence_and_no_empty_figure(tmp_path):
    random = np.random.default_rng(0)
    truth = Truth(hours=(100.0, 250.0), tiers=("160ms",), tier_gap_pp=(0.0,))
    table = score_table(truth, random, "it")
    make_tables(tmp_path, {"it": table[table.precision == "full"]})
    page = build(tmp_path, tmp_path / "tables")
    one = "at one latency (160 ms), so it does not say."
    assert f"The study decoded both sides {one}" in page
    assert "The study decoded no quantised encoder, so it does not say." in page
    assert "There is no figure here, because no run logged its loss." in page
    for name in ("gap_by_tier", "quantization", "training", "validation"):
        assert f'id="figure-{name}"' not in page
    for name in ("tiers", "quantization"):
        assert f'id="table-{name}"' not in page


def test_a_test_set_that_a_donor_has_seen_gets_a_banner(study):
    assert "fleurs: the corpus is in the training data of the donor of Multilingual" in study[2]


def test_what_was_forgotten_is_a_table_of_its_own(study):
    own = study[1]["wer"].query(
        "lang == 'de' and precision == 'full' and hours == 100 and tier == '160ms'"
    )
    foreign = own.assign(lang="en", wer_pct=[31.5, 42.25])
    tables = study[1] | {"wer": pd.concat([study[1]["wer"], foreign])}
    names = {**DISPLAY["languages"], "en": "English"}
    display = Display.of(DISPLAY | {"languages": names})
    sheet = analyses.load("forgetting").sheet(tables, display, None)
    assert [row[:7] for row in rows_of(sheet)] == [
        ["German", "English only", "100", "160 ms", "English", "fleurs", "31.50"],
        ["German", "Multilingual", "100", "160 ms", "English", "fleurs", "42.25"],
    ]
    assert answer(tables, display) == answer(study[1])
    assert "What was forgotten" not in study[2]
    assert analyses.load("forgetting").sheet(study[1], SHOWN, None) is None


def untrained(table, lang="de"):
    """Score rows of donors as they are, at zero hours: worse than any fine-tuned model."""
    rows = table[(table.hours == table.hours.min()) & (table.precision == "full")].assign(hours=0.0)
    wrong = np.minimum(rows.hits, 2 + rows.substitutions)
    return pd.concat(
        [table, rows.assign(hits=rows.hits - wrong, substitutions=rows.substitutions + wrong)],
        ignore_index=True,
    )


@pytest.mark.slow
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
    adjusted = ["p_holm", "equivalence_p_holm"]
    pd.testing.assert_frame_equal(*(each.drop(columns=adjusted) for each in both))
    assert set(tables["guideline"].hours) == {0.0, *Truth().hours}
    page = build(tmp_path, tmp_path / "tables")
    assert answer(tables) == answer(study[1])
    assert "0 (as it is)" in page
    assert "Italian without fine-tuning" in page
    assert "Gap at 0 h" not in page


def test_drops_by_reason_and_unwritable_characters_are_shown(study, tmp_path):
    (tmp_path / "de.qc.json").write_text(json.dumps(pool_report()))
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
    text = build(
        tmp_path,
        study[0] / "tables",
        [run_record("en"), run_record("ml")],
        report=more,
        figures=study[0] / "figures",
    )
    rows = [re.findall(r"<td[^>]*>(.*?)</td>", row) for row in re.findall(r"<tr>(.*?)</tr>", text)]
    assert ["German", "mls", "training", "pool", "foreign alphabet", "7", "0.125"] in rows
    assert ["German", "fleurs", "dev", "manifest", "truncated", "2", "0.004"] in rows
    named = "latin small letter a with ring above"
    assert ["German", "all", "fleurs", "å", named, "4"] in rows
    assert (
        "compares sentence with the test sets and removed fleurs: 3 cuts by sentence_in_test, "
        "mls: nothing" in text
    )


def test_a_language_that_is_only_read_has_its_name_and_licence_among_the_data():
    names = {**DISPLAY["languages"], "en": "English"}
    display = Display.of(DISPLAY | {"languages": names, "licences": {"en": {"mls": "CC BY 4.0"}}})
    found = Quality(pools={"en": pool_report()})
    assert rows_of(quality.drops_sheet(found, display)) == [
        ["English", "mls", "training", "pool", "foreign alphabet", "7", "0.125"]
    ]
    (row,) = rows_of(quality.data_sheet(found, display))
    assert row == ["English", "mls", "100", "2.00", "90", "1.80", "7", "0.12", "CC BY 4.0"]


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


@pytest.mark.slow
def test_a_study_of_one_budget_or_one_arm_still_has_a_page(tmp_path):
    table = score_table(
        Truth(hours=(0.02,), tiers=("160ms",), tier_gap_pp=(0.0,), speakers=1),
        np.random.default_rng(0),
        "it",
    )
    make_tables(tmp_path, {"it": table})
    assert "not estimable" in build(tmp_path, tmp_path / "tables")
    only = tmp_path / "only"
    only.mkdir()
    make_tables(only, {"it": table[table.arm == "ml"]})
    assert "this study has no answer yet" in build(only, only / "tables")


@pytest.mark.slow
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
    log.with_name("run.json").write_text(json.dumps(run_record("en")))
    page = build(tmp_path, study[0] / "tables", extra=["--train-logs", str(log)])
    assert 'id="figure-training"' in page
    assert (tmp_path / "figures" / "training.png").stat().st_size > 5000
    curves = {RunKey("de", "en", "100", 1): pd.read_csv(log)}
    with style():
        curve = draw_validation(Material({}, curves), SHOWN, None).axes[0].lines[0]
    assert curve.get_xydata().tolist() == [
        [0.2, 75.0],
        [0.3, 50.0],
    ]  # percent, where it was validated


@pytest.mark.slow
def test_the_same_tables_give_the_same_figures(study, tmp_path):
    folder = study[0]
    build(tmp_path, folder / "tables")
    for name in analyses.figures(["warm_start"]):
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
    # No run logged anything, so nothing is drawn of training.
    assert browser.run("document.querySelectorAll('figure svg').length") == 6
    head = "#table-wer thead th:nth-child(2) button"
    before = numbers(browser, 1)
    browser.click(head)
    assert numbers(browser, 1) == sorted(before)
    browser.click(head)
    assert numbers(browser, 1) == sorted(before, reverse=True)
    browser.run(
        "(() => { const select = document.querySelector('.filters select'); select.value = "
        "'German';"
        " select.dispatchEvent(new Event('change', {bubbles: true})); })()"
    )
    assert 0 < len(numbers(browser, 1)) < len(before)
    assert browser.run(
        "document.querySelector('.filters output').textContent"
    ) == f"{len(numbers(browser, 1))} of " + (
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
        "[...document.querySelectorAll('.scroll, figure div, .example')].filter((box) => "
        "box.scrollWidth > "
        "box.clientWidth + 1)"
        ".map((box) => [box.id || box.firstElementChild.id, box.scrollWidth - box.clientWidth])"
    )
    browser.call("Emulation.setEmulatedMedia", media="")
    assert cut == []


def test_what_each_arm_cannot_write_is_listed_with_its_share_of_the_text():
    nasal = {"characters": 200, "unwritable": {"ɔ\u0303": 4}}
    found = {"train": {"characters": 9, "unwritable": {}}, "tests": {"fleurs": nasal}}
    raw = {"tests": {"de/fleurs": {"characters": 50, "unwritable": {"ß": 1}}}}
    writers = {
        "results/tokenizers/de.ipa/coverage.json": {"training_set": "de", "arms": ["en", "ml"]},
        "results/unwritable/ml.json": {"init": "ml", "arms": ["ml"]},
    }
    reports = dict(zip(writers, (found, raw), strict=True))
    coverage = [quality.coverage_of(path, made, writers) for path, made in reports.items()]
    display = Display.of(DISPLAY)
    names = [display.arm(name) for name in ("en", "ml")]
    assert rows_of(quality.unwritable_sheet(Quality(coverage=coverage), display)) == [
        [
            *("German", ", ".join(names), "fleurs", "ɔ\u0303"),
            *("latin small letter open o + combining tilde", "4", "2.000"),
        ],
        [
            *("nothing: as it is", names[1], "fleurs, German", "ß"),
            *("latin small letter sharp s", "1", "2.000"),
        ],
    ]
