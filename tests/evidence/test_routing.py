"""Routing: planted identifiers and models whose accuracy, WER and cost are known by hand."""

import dataclasses
import json
import math

import numpy as np
import pandas as pd
import pytest
from made.tables import SETTINGS as STATISTICS

import route as program
from warmstart.data import cut_lines
from warmstart.evidence import analyses, identified, intervals, routed, routing
from warmstart.evidence.analyses.base import Material
from warmstart.evidence.collected import Evidence
from warmstart.evidence.display import Display
from warmstart.evidence.identified import HEARD, UNHEARD, UNKNOWN, Identified, Utterance
from warmstart.evidence.keys import Cell
from warmstart.evidence.route_rates import Counter, Way
from warmstart.evidence.settings import Settings
from warmstart.evidence.tables import read_table, write_table
from warmstart.run import files
from warmstart.run.errors import UserError
from warmstart.study.stages import filled

SETTINGS = Settings.of(
    filled("statistics", {**STATISTICS, "headline_test_set": "t", "replicates": 400})
)
CELL = Cell("it+fr", "en", 1.0, "full", "offline")
RUN = {**CELL._asdict(), "seed": 1}
GIVEN, WHOLE = Way("given", ""), Way("detected", "all")
ABOUT = {
    **RUN,
    "languages": ["it", "fr"],
    "models": {"it": "it+fr", "fr": "it+fr"},
    "seconds": {"all": "ok"},
    "crossed": True,
}


def rows(lang, said, way=WHOLE, right=None, errors=None, words=10, speaker=UNHEARD, seed=1):
    """Rows of a way: a speaker an utterance; the right model errs once, the wrong one ten times."""
    said = list(said)
    good = np.array([one == lang for one in said]) if right is None else np.array(right, float)
    table = pd.DataFrame(
        {
            "id": [f"{lang}{place}" for place in range(len(said))],
            "block": [f"s{place}" for place in range(len(said))],
            "said": said,
            "right": good.astype(float),
            "errors": np.where(good, 1.0, 10.0) if errors is None else errors,
        }
    )
    return table.assign(
        **{**RUN, "seed": seed},
        lang=lang,
        test_set="t",
        **way._asdict(),
        words=words,
        speaker=speaker,
        heard_s=2.0,
    )


def table(*parts, about=ABOUT, folder=None):
    """The analysis of planted rows, as its table is read back."""
    evidence = Evidence(
        pd.DataFrame(), [], [], routed=routed.Routed(pd.concat(parts, ignore_index=True), [about])
    )
    found = {}
    for name in ("routing", "confusion"):
        analysis = analyses.load(name)
        write_table(folder / f"{name}.csv", analysis.rows(evidence, SETTINGS), analysis.columns)
        found[name] = read_table(folder / f"{name}.csv")
    return found


def test_accuracy_wer_and_cost_by_hand():
    """Ten utterances of ten words, three of them sent to the wrong model: it errs ten times where
    the right one errs once."""
    said = ["fr"] * 3 + ["it"] * 7
    found = Counter(SETTINGS).all(
        pd.concat([rows("it", ["it"] * 10, GIVEN), rows("it", said)], ignore_index=True)
    )
    rates = found[CELL, "it", "t"]
    assert rates.wrong[WHOLE].value == pytest.approx(30.0)
    assert rates.wer[GIVEN].value == pytest.approx(10.0)
    assert rates.wer[WHOLE].value == pytest.approx((7 * 1 + 3 * 10) / 100 * 100)
    cost = rates.cost(WHOLE)
    assert cost is not None
    assert cost.value == pytest.approx(27.0)
    # It costs nine words of ten where the choice is wrong, so the errors of both are one.
    assert cost.error == pytest.approx(0.9 * rates.wrong[WHOLE].error)
    assert rates.went_to["fr"][WHOLE].value == pytest.approx(30.0)
    assert (rates.utterances, rates.blocks, rates.left_out, rates.unknown) == (10, 10, 0, 0)
    assert rates.cost(GIVEN) is None


def test_sentences_that_languages_share_are_drawn_together():
    """Wrong in the same sentences of both languages: their mean is known no better than one."""
    said = {"it": ["fr"] * 12 + ["it"] * 28, "fr": ["it"] * 12 + ["fr"] * 28}
    parts = [
        rows(lang, chosen, way)
        for lang, wrong in said.items()
        for way, chosen in ((GIVEN, [lang] * 40), (WHOLE, wrong))
    ]
    errors = {}
    for shared in ((), ("it", "fr")):
        settings = dataclasses.replace(SETTINGS, shared_sentences={"t": shared})
        found = Counter(settings).all(pd.concat(parts, ignore_index=True))
        each = [found[CELL, lang, "t"].wrong[WHOLE] for lang in ("it", "fr")]
        errors[shared] = intervals.mean_of(each).error / each[0].error
    assert errors["it", "fr"] == pytest.approx(1, rel=0.01)
    assert errors[()] == pytest.approx(1 / math.sqrt(2), rel=0.1)


def test_who_was_heard_is_left_out_of_every_way_and_counted():
    speaker = [HEARD] * 4 + [UNKNOWN] * 2 + [UNHEARD] * 4
    said = ["it"] * 4 + ["fr"] * 2 + ["it"] * 4
    parts = [rows("it", ["it"] * 10, GIVEN, speaker=speaker), rows("it", said, speaker=speaker)]
    rates = Counter(SETTINGS).all(pd.concat(parts, ignore_index=True))[CELL, "it", "t"]
    assert (rates.utterances, rates.left_out, rates.unknown) == (6, 4, 2)
    # Of the ten 20 % are wrong, of the six a third.
    assert rates.wrong[WHOLE].value == pytest.approx(100 / 3)
    assert rates.wer[GIVEN].value == pytest.approx(10.0)


def test_a_planted_identifier_is_found_with_its_cost_and_its_verdict(tmp_path):
    """The truth: 80 % right, a wrong choice costs 90 points of WER, so that the cost is 18 pp."""
    random = np.random.default_rng(4)
    parts = []
    for lang, other in (("it", "fr"), ("fr", "it")):
        said = random.permutation([lang] * 120 + [other] * 30)
        parts += [rows(lang, [lang] * 150, GIVEN), rows(lang, said)]
    found = table(*parts, folder=tmp_path)
    made = found["routing"]
    mean = made[(made.lang == "mean") & (made.way == "detected")].iloc[0]
    assert mean.accuracy_pct == pytest.approx(80)
    # Two samples of 150: 1.96 sqrt(0.8 0.2 / 300) is 4.5 points.
    assert mean.accuracy_high_pct - mean.accuracy_low_pct == pytest.approx(9.1, rel=0.12)
    assert mean.cost_pp == pytest.approx(18)
    assert mean.cost_high_pp - mean.cost_low_pp == pytest.approx(0.9 * 9.1, rel=0.12)
    assert mean.wer_pct - 10 == pytest.approx(mean.cost_pp)
    assert mean.cost_pp == pytest.approx(0.9 * (100 - mean.accuracy_pct))
    assert (mean.verdict, mean.status, mean.chance_pct) == ("worse", "ok", 50)
    assert mean.p_holm >= mean.p_value
    given = made[(made.lang == "it") & (made.way == "given")].iloc[0]
    assert math.isnan(given.accuracy_pct)
    assert given.status == "not estimable: the same in every block"
    matrix = found["confusion"]
    of_it = matrix[matrix.lang == "it"].set_index("went_to").share_pct
    assert of_it["it"] + of_it["fr"] == pytest.approx(100)
    own = made[(made.lang == "it") & (made.way == "detected")].iloc[0]
    assert of_it["it"] == pytest.approx(own.accuracy_pct)


@pytest.mark.slow
def test_a_choice_that_is_never_wrong_has_a_bound_and_no_verdict(tmp_path):
    """Nothing varies: that says little of other speakers. 1 - 0.05^(1/20) may still be wrong."""
    parts = [rows("it", ["it"] * 20, GIVEN), rows("it", ["it"] * 20)]
    made = table(*parts, folder=tmp_path)["routing"]
    row = made[made.way == "detected"].iloc[0]
    assert row.accuracy_pct == 100
    assert row.accuracy_low_pct == pytest.approx(100 * 0.05 ** (1 / 20))
    assert row.cost_pp == 0
    assert row.cost_status == "not estimable: the same in every block"
    assert row.verdict == "not decided"


@pytest.mark.slow
def test_where_every_speaker_was_heard_nothing_is_reported(tmp_path):
    parts = [
        rows("it", ["it"] * 5, GIVEN, speaker=HEARD),
        rows("it", ["it"] * 5, speaker=HEARD),
        rows("fr", ["fr"] * 5, GIVEN),
        rows("fr", ["fr", "fr", "it", "fr", "fr"]),
    ]
    made = table(*parts, folder=tmp_path)["routing"]
    row = made[(made.lang == "it") & (made.way == "detected")].iloc[0]
    assert "every speaker was heard" in row.status
    assert math.isnan(row.accuracy_pct)
    assert (row.utterances, row.left_out) == (0, 5)
    mean = made[(made.lang == "mean") & (made.way == "detected")].iloc[0]
    assert "it: every speaker was heard" in mean.status
    assert math.isnan(mean.accuracy_pct)
    fr = made[(made.lang == "fr") & (made.way == "detected")].iloc[0]
    assert fr.accuracy_pct == pytest.approx(80)


@pytest.mark.slow
def test_one_model_for_all_languages_has_accuracy_and_no_cost(tmp_path):
    parts = [
        rows("it", ["it"] * 6, GIVEN),
        rows("it", ["it", "fr"] * 3, errors=np.full(6, np.nan)),
    ]
    made = table(*parts, folder=tmp_path, about={**ABOUT, "crossed": False})["routing"]
    row = made[made.way == "detected"].iloc[0]
    assert row.accuracy_pct == pytest.approx(50)
    assert math.isnan(row.cost_pp)
    assert math.isnan(row.wer_pct)
    assert row.cost_status == "not estimable: one model hears all languages"


def test_one_speaker_a_language_is_no_identification_of_languages(tmp_path):
    """His voice is the language. What the chosen models wrote is true all the same."""
    parts = [rows("it", ["it"] * 6, GIVEN), rows("it", ["it", "fr"] * 3)]
    about = {**ABOUT, "speakers": {"it/t": 1}}
    found = table(*parts, folder=tmp_path, about=about)
    row = found["routing"][found["routing"].way == "detected"].iloc[0]
    assert math.isnan(row.accuracy_pct)
    assert row.status == "not estimable: one speaker, so that voice and language are one"
    assert (row.cost_pp, row.speakers) == (pytest.approx(45), 1)
    assert found["confusion"].empty


# ---- choosing


def heard(errors, confidences, blocks=None):
    count = len(next(iter(errors.values())))
    utterances = [
        routing.TestUtterance(
            f"u{place}", None, (blocks or [f"s{n}" for n in range(count)])[place], 1.0, "", b"{}"
        )
        for place in range(count)
    ]
    made = {lang: np.array(values, float) for lang, values in errors.items()}
    sure = {lang: np.array(values, float) for lang, values in confidences.items()}
    return routing.Heard(utterances, np.full(count, 4), made, sure)


def test_the_most_confident_model_is_taken_and_equal_ones_share():
    one = heard({"it": [0, 1, 2], "fr": [4, 4, 4]}, {"it": [0.9, 0.2, 0.5], "fr": [0.1, 0.6, 0.5]})
    shares = routing.most_confident(one, ["it", "fr"]).shares
    assert shares.tolist() == [[1, 0], [0, 1], [0.5, 0.5]]


@pytest.mark.slow
def test_calibration_knows_that_one_model_is_surer_of_itself():
    """French is always surer than Italian, by less in Italian: raw confidence never says Italian,
    and the calibrated choice is right in other blocks."""
    random = np.random.default_rng(1)
    both = {}
    for lang, own in (("it", 0.4), ("fr", 0.9)):
        fr = own + random.uniform(0, 0.05, 40)
        it = np.full(40, 0.3)
        both[lang, "t"] = heard({"it": [0] * 40, "fr": [1] * 40}, {"it": it, "fr": fr})
    raw = {key: routing.most_confident(one, ["it", "fr"]).shares for key, one in both.items()}
    assert raw["it", "t"][:, 0].sum() == 0
    found, why = routing.calibrate(both, ["it", "fr"])
    assert why == "ok"
    assert found["it", "t"][:, 0].mean() == 1
    assert found["fr", "t"][:, 1].mean() == 1


@pytest.mark.slow
def test_calibration_is_of_other_blocks_and_says_so_where_there_are_none():
    """Confidences that say nothing: what learns from its own blocks would be right too often."""
    random = np.random.default_rng(2)
    blocks = [f"s{place // 10}" for place in range(60)]
    both = {
        (lang, "t"): heard(
            {"it": [0] * 60}, {"it": random.random(60), "fr": random.random(60)}, blocks
        )
        for lang in ("it", "fr")
    }
    found, _ = routing.calibrate(both, ["it", "fr"])
    right = np.concatenate([found["it", "t"][:, 0], found["fr", "t"][:, 1]]).mean()
    assert 0.3 < right < 0.65
    alone = {(lang, "t"): heard({"it": [0]}, {"it": [0.1], "fr": [0.2]}) for lang in ("it", "fr")}
    assert routing.calibrate(alone, ["it", "fr"]) == ({}, "not estimable: fewer than two blocks")


# ---- the program


def manifest(path, lang, count):
    with cut_lines.writing(path) as stream:
        for place in range(count):
            supervision = {"text": "uno due tre quattro", "speaker": f"{lang}{place}"}
            custom = {"block": f"{lang}{place}", "corpus": "c"}
            cut = {"id": f"{lang}-{place}", "duration": 1.0, "custom": custom}
            cut["supervisions"] = [{**supervision, "language": lang}]
            stream.write(cut_lines.line(cut))


def hypotheses(path, head, lang, texts, confidence):
    lines = [
        {"id": f"{lang}-{place}", "ref": "uno due tre quattro", "hyp": said, "confidence": sure}
        for place, (said, sure) in enumerate(zip(texts, confidence, strict=True))
    ]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    header = {"training_set": "it+fr", "head": head, "confidence": "tsallis"}
    files.write_json(path.with_suffix(".json"), {**header, "hypotheses_sha256": files.digest(path)})


@pytest.fixture
def planted(tmp_path):
    """Four utterances a language; the wrong head writes one word of four. The identifier heard
    nothing of the first, is wrong in the second, and is right in the others."""
    arguments = ["--run", "it+fr/en/1h/seed1", "--tier", "offline"]
    tests, made, said = [], [], {}
    for lang, other in (("it", "fr"), ("fr", "it")):
        path = tmp_path / f"{lang}.jsonl.gz"
        manifest(path, lang, 4)
        tests.append(f"{lang}/t={path}")
        for head in ("it", "fr"):
            written = "uno due tre quattro" if head == lang else "uno"
            out = tmp_path / head / f"{lang}_t.jsonl"
            hypotheses(out, head, lang, [written] * 4, [0.9 if head == lang else 0.2] * 4)
            made.append(f"{lang}/t/{head}={out}")
        answers = [("", (0.5, 0.5)), (other, (0.1, 0.9)), (lang, (0.9, 0.1)), (lang, (0.8, 0.2))]
        said[lang] = [
            (lang, "t", f"{lang}-{place}", "0.1", Utterance(one, 0.1, posteriors, UNHEARD))
            for place, (one, posteriors) in enumerate(answers)
        ]
    about = {"languages": ["it", "fr"], "seconds": {"0.1": {"status": "ok"}}}
    identified.write(tmp_path / "said.parquet", [*said["it"], *said["fr"]], about)
    arguments += ["--identified", str(tmp_path / "said.parquet"), "--tests", *tests]
    text = {"alphabet": "abcdefghijklmnopqrstuvwxyz", "numbers": "it"}
    arguments += ["--settings", json.dumps({"it": text, "fr": {**text, "numbers": "fr"}})]
    output = tmp_path / "out" / "offline.parquet"
    return [*arguments, "--output", str(output)], made, output


@pytest.mark.slow
def test_the_program_counts_what_the_chosen_head_wrote(planted):
    arguments, made, output = planted
    program.main([*arguments, "--hypotheses", *made])
    found = pd.read_parquet(output)
    detected = found[(found.way == "detected") & (found.lang == "it")].sort_values("id")
    # Guessing between no error and three; the wrong head; the right one twice.
    assert detected.errors.tolist() == [1.5, 3.0, 0.0, 0.0]
    assert detected.right.tolist() == [0.5, 0.0, 1.0, 1.0]
    assert detected.said.tolist() == ["", "fr", "it", "it"]
    assert found[found.way == "given"].errors.sum() == 0
    assert found[found.way == "most_confident"].right.mean() == 1
    about = files.read_json(output.with_suffix(".json"))
    assert (about["crossed"], about["confidence"]) == (True, ["tsallis"])
    assert about["models"] == {"it": "it+fr", "fr": "it+fr"}
    again = output.read_bytes()
    program.main([*arguments, "--hypotheses", *made])
    assert output.read_bytes() == again


@pytest.mark.slow
def test_heads_that_were_not_asked_change_no_text(planted):
    arguments, made, output = planted
    own = [one for one in made if one.split("=")[0] in ("it/t/it", "fr/t/fr")]
    program.main([*arguments, "--hypotheses", *own])
    found = pd.read_parquet(output)
    assert set(found.way) == {"given", "detected"}
    assert found[found.way == "detected"].errors.isna().all()
    assert found[found.way == "given"].errors.sum() == 0


@pytest.mark.slow
def test_files_that_do_not_belong_together_are_refused(planted, tmp_path):
    arguments, made, output = planted
    said = identified.read(tmp_path / "said.parquet")
    less = [
        (lang, name, key, seconds, one)
        for (lang, name), of in said.said.items()
        for seconds, answers in of.items()
        for key, one in answers.items()
        if key != "it-2"
    ]
    about = {"languages": ["it", "fr"], "seconds": {"0.1": {"status": "ok"}}}
    identified.write(tmp_path / "said.parquet", less, about)
    with pytest.raises(UserError, match=r"it/t at 0\.1 s: 1 utterances were not identified"):
        program.main([*arguments, "--hypotheses", *made])
    assert not output.exists()
    with pytest.raises(SystemExit):
        program.main([*arguments, "--hypotheses", "it/t=x"])
    (tmp_path / "said.json").unlink()
    with pytest.raises(UserError, match=r"said\.json is not there"):
        program.main([*arguments, "--hypotheses", *made])


@pytest.mark.slow
def test_the_page_shows_routing_and_its_curve(tmp_path):
    parts = []
    for seconds, share in (("0.5", 0.7), ("all", 0.9)):
        for lang, other in (("it", "fr"), ("fr", "it")):
            said = [lang if place < 30 * share else other for place in range(30)]
            parts.append(
                rows(lang, said, Way("detected", seconds)).assign(
                    heard_s=0.5 if seconds == "0.5" else 3.0
                )
            )
            parts += [rows(lang, [lang] * 30, GIVEN)] if seconds == "all" else []
    about = {**ABOUT, "seconds": {"0.5": "ok", "all": "ok"}}
    made = table(*parts, about=about, folder=tmp_path)
    display = Display.of(
        {
            "study": {"name": "t", "title": "T"},
            "statistics": filled("statistics", {**STATISTICS, "headline_test_set": "t"}),
            "languages": {"it": "Italian", "fr": "French"},
            "targets": ["it", "fr"],
            "training_sets": {"it+fr": {"name": "both", "languages": ["it", "fr"]}},
            "arms": {name: {"name": name, "init": name} for name in ("en", "ml")},
            "tiers": ["offline"],
            "test_sets": ["t"],
        }
    )
    analysis = analyses.load("routing")
    assert analysis.absent(made, display, None) == ""
    shown = analysis.sheet(made, display, None)
    assert shown is not None
    assert len(shown.rows) == 9
    figure = analysis.figures[0].draw(Material(made), display, None)
    [axis] = figure.axes
    [line] = [
        each for each in axis.lines if len(each.get_xdata()) == 2 and each.get_label()[0] == "_"
    ][:1]
    assert list(axis.get_xticks()) == [0.5, 3.0]
    assert line is not None
    assert analyses.load("confusion").sheet(made, display, None) is not None
    nothing = {name: one[:0] for name, one in made.items()}
    assert "(`routing`)" in analysis.absent(nothing, display, None)
    assert analyses.load("confusion").sheet(nothing, display, None) is None


def test_nothing_is_read_where_nothing_was_routed():
    assert routed.read([]) is None
    assert isinstance(Identified((), (), {}, {}), Identified)
