"""Examples of errors: which utterances, what is said of them, whose recordings may be heard, and
what a browser makes of the choices."""

import base64
import copy
import io
import re

import numpy as np
import pandas as pd
import pytest
import soundfile
from made.browser import CHROMIUM, browsing
from made.report import DISPLAY, build, run_record
from made.speech import encode, recordings
from made.tables import make_tables

from warmstart.data import cut_lines
from warmstart.data.licences import allows_passing_on
from warmstart.evidence.display import Display
from warmstart.report import examples
from warmstart.report import recordings as heard
from warmstart.report.blocks import Piece

TEST_SETS = {
    "fleurs": {
        "title": "FLEURS",
        "description": "Several people read each sentence",
        "recordings": {
            "it": {
                **{"corpus": "fleurs", "split": "test", "licence": "CC BY 4.0"},
                **{"passed_on": True, "unit": "sentence"},
            }
        },
    },
    "own": {
        "title": "our calls",
        "recordings": {"it": {"corpus": "own", "split": "test", "unit": "utterance"}},
    },
}
SHOWN = DISPLAY | {
    "languages": {"it": "Italian"},
    "targets": ["it"],
    "training_sets": {"it": {"name": "Italian", "languages": ["it"]}},
    "test_sets": TEST_SETS,
}
UTTERANCES = recordings()[:8]


def scores():
    """Every arm, budget and tier on two test sets of real recordings: utterance k of `ml` at
    160 ms and 100 h lacks its first k words, and all others lack one more."""
    rows = []
    for test_set in TEST_SETS:
        for place, (path, text, duration) in enumerate(UTTERANCES):
            words = re.sub(r"[^\w\s]", " ", text.lower()).split()
            for arm in ("en", "ml"):
                for hours in (10.0, 100.0):
                    for tier in ("160ms", "560ms"):
                        best = (arm, hours, tier) == ("ml", 100.0, "160ms")
                        wrong = min(len(words), place if best else place + 1)
                        rows.append(
                            {
                                **{"training_set": "it", "lang": "it", "arm": arm, "seed": 1},
                                **{"hours": hours, "precision": "full", "tier": tier},
                                **{"test_set": test_set, "id": path.stem, "block": path.stem},
                                **{"duration_s": duration, "ref_words": len(words)},
                                **{"hits": len(words) - wrong, "substitutions": 0},
                                **{"deletions": wrong, "insertions": 0, "ref_chars": len(text)},
                                **{"char_hits": len(text) - wrong, "char_substitutions": 0},
                                **{"char_deletions": wrong, "char_insertions": 0},
                                **{"empty": wrong == len(words), "looping": False},
                                **{"number_words": 0, "number_errors": 0},
                                **{"rare_words": 0, "rare_errors": 0, "emission_delay_ms": 1.0},
                                "reference": " ".join(words),
                                "hypothesis": " ".join(words[wrong:]),
                                "normaliser_version": 1,
                            }
                        )
    return pd.DataFrame(rows)


def cut_of(path, duration, **changes):
    """A line of a manifest."""
    return {
        **{"id": path.stem, "start": 0.0, "duration": duration, "channel": 0, "type": "MonoCut"},
        "supervisions": [{"text": "", "language": "it"}],
        "recording": {"sources": [{"type": "file", "channels": [0], "source": str(path)}]},
        **changes,
    }


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    """Folder, tables and page of a study with recordings."""
    folder = tmp_path_factory.mktemp("examples")
    tables = make_tables(folder, {"it": scores()})
    manifest = folder / "test.jsonl.gz"
    with cut_lines.writing(manifest) as stream:
        for path, _, duration in UTTERANCES:
            stream.write(cut_lines.line(cut_of(path, duration)))
    arguments = ["--scores", folder / "it.parquet", "--tests"]
    arguments += [f"it/{test_set}={manifest}" for test_set in TEST_SETS]
    runs = [run_record("en", training_set="it"), run_record("ml", training_set="it")]
    return folder, tables, build(folder, folder / "tables", runs, report=arguments, display=SHOWN)


def picked(study, display=SHOWN, count=4):
    folder, tables, _ = study
    return examples.pick(folder / "it.parquet", tables["wer"], Display.of(display), count)


def test_half_of_the_examples_are_typical_and_half_are_the_worst(study):
    found = [one for one in picked(study) if one.test_set == "fleurs"]
    words = {path.stem: len(re.sub(r"[^\w\s]", " ", text).split()) for path, text, _ in UTTERANCES}
    wrong = {
        path.stem: min(place, words[path.stem]) for place, (path, _, _) in enumerate(UTTERANCES)
    }
    rates = {name: wrong[name] / words[name] for name in words}
    overall = sum(wrong.values()) / sum(words.values())
    assert [one.kind for one in found] == ["typical", "typical", "most errors", "most errors"]
    far = sorted(rates, key=lambda name: abs(rates[name] - overall))
    assert {one.id for one in found[:2]} == set(far[:2])
    # Of those with as many errors in a hundred words, the longer one says more.
    rest = sorted(set(rates) - set(far[:2]), key=lambda name: (-rates[name], -words[name], name))
    assert [one.id for one in found[2:]] == rest[:2]
    # At the largest budget, of every arm and tier.
    assert set(found[0].heard) == {(a, t) for a in ("en", "ml") for t in ("160ms", "560ms")}


def test_an_alignment_says_what_was_left_out_heard_instead_and_added():
    pieces, errors = examples.align("uno due tre quattro", "uno dieci tre quattro cinque")
    assert errors == 2
    assert pieces == [
        Piece("equal", "uno", "uno"),
        Piece("substitute", "due", "dieci"),
        Piece("equal", "tre quattro", "tre quattro"),
        Piece("insert", "", "cinque"),
    ]
    pieces, errors = examples.align("a b c d e f g", "a g")
    assert errors == 5
    assert pieces[1] == Piece("delete", "b … 3 words … f", "")
    assert examples.align("a b", "") == ([Piece("equal", "", "(nothing recognised)")], 2)


def test_models_that_are_not_for_a_language_give_no_examples(study):
    display = copy.deepcopy(SHOWN)
    display["training_sets"] = {"it": {"name": "Italian", "languages": ["fr"]}}
    display["languages"] = {"it": "Italian", "fr": "French"}
    assert picked(study, display) == []


@pytest.mark.parametrize(
    ("licence", "allowed"),
    [
        *((name, True) for name in ("CC0", "CC0-1.0", "cc-by-4.0", "CC BY-SA 3.0", "GPL-2.0-only")),
        *((name, True) for name in ("public domain", "it CC-BY-3.0, fr CC-BY-SA-3.0 (README.md)")),
        *((name, False) for name in (None, "", "CC-BY-NC-4.0", "CC BY-ND 4.0", "ours")),
        *((name, False) for name in ("not CC0", "CC0, proprietary", "CC BY 4.0 for research only")),
        *((name, False) for name in ("all rights reserved", "CC BY 4.0 (no redistribution)")),
    ],
)
def test_only_licences_that_are_known_to_allow_it_let_recordings_into_the_page(licence, allowed):
    assert allows_passing_on(licence) is allowed


def test_recordings_stand_in_the_page_where_the_licence_lets_them(study):
    page = study[2]
    articles = re.findall(r'<article class="example".*?</article>', page, flags=re.DOTALL)
    with_audio = [each for each in articles if "<audio" in each]
    assert len(articles) == 8
    assert len(with_audio) == 4
    assert all('data-test_set="fleurs"' in each for each in with_audio)
    assert "Recordings of FLEURS: CC BY 4.0." in page
    assert (
        "No recordings of our calls, because their licence does not clearly let them be passed on "
        "(licence not stated)." in page
    )


def test_a_recording_in_the_page_is_the_one_of_its_utterance(study):
    path, _, duration = UTTERANCES[0]
    made = heard.samples_of(cut_of(path, duration))
    address = heard.as_uri(made)
    head, _, packed = address.partition(",")
    assert head == "data:audio/mpeg;base64"
    audio, rate = soundfile.read(io.BytesIO(base64.b64decode(packed)))
    assert rate == 16000
    assert len(audio) / rate == pytest.approx(duration, abs=0.15)
    # Loud where it is loud: MP3 moves samples by a few milliseconds.
    assert np.corrcoef(_loudness(audio), _loudness(made))[0, 1] > 0.9
    # Small: a minute is a quarter of a megabyte.
    assert len(packed) / duration < 7000


def _loudness(audio):
    return [np.abs(audio[start : start + 1600]).mean() for start in range(0, 40000, 1600)]


def test_a_part_of_a_recording_another_rate_and_joined_stretches_are_heard(tmp_path):
    tone = np.sin(np.arange(48000) * 2 * np.pi * 440 / 48000).astype(np.float32)
    both = np.concatenate([np.zeros(48000, np.float32), 0.5 * tone])
    path = encode(both, tmp_path / "a.wav", 48000)
    part = cut_of(path, 0.5, start=1.0)
    half = heard.samples_of(part)
    assert len(half) == 8000
    assert np.abs(half).max() == pytest.approx(0.5, abs=0.02)
    silence = cut_of(path, 0.25, start=0.0)
    tracks = [{"cut": part, "offset": 0.0}, {"cut": silence, "offset": 0.5}]
    joined = heard.samples_of({"id": "x", "tracks": tracks})
    assert len(joined) == 12000
    assert np.abs(joined[8100:]).max() < 0.01
    noisy = [*tracks, {"cut": silence, "offset": 0.0, "snr": 10}]
    assert heard.samples_of({"id": "x", "tracks": noisy}) is None


def test_what_cannot_be_heard_is_left_out_and_the_page_is_made(tmp_path, caplog):
    broken = tmp_path / "broken.flac"
    broken.write_bytes(b"no audio")
    for cut in (
        cut_of(tmp_path / "gone.flac", 1.0),
        cut_of(broken, 1.0),
        cut_of(UTTERANCES[0][0], 31.0),
    ):
        assert heard.samples_of(cut) is None
    assert "gone.flac" in caplog.text
    assert "broken.flac" in caplog.text


def test_recordings_keep_to_their_room_and_what_is_shown_first_comes_first(study):
    folder, _, _ = study
    display = Display.of(SHOWN)
    places = {("it", "fleurs"): folder / "test.jsonl.gz"}
    found = picked(study)
    every = examples.with_recordings(found, places, display, 10**7)
    assert [bool(one.recording) for one in every] == [one.test_set == "fleurs" for one in every]
    first = len(every[0].recording)
    bounded = examples.with_recordings(found, places, display, first)
    assert [one.id for one in bounded if one.recording] == [every[0].id]
    assert sum(len(one.recording) for one in bounded) <= first


def test_recordings_can_be_switched_off_and_examples_too(study, tmp_path):
    folder = study[0]
    arguments = ["--scores", folder / "it.parquet", "--tests"]
    arguments += [f"it/fleurs={folder / 'test.jsonl.gz'}"]
    for chosen, audios, articles in (
        ({"audio": False}, 0, 8),
        ({"examples": 0}, 0, 0),
        ({"examples": 1}, 1, 2),
        ({"audio_mb": 0}, 0, 8),
    ):
        page = build(
            tmp_path,
            folder / "tables",
            report=arguments,
            figures=folder / "figures",
            display=SHOWN | {"report": chosen},
        )
        assert page.count("<audio ") == audios
        assert page.count("<article ") == articles


def test_test_sets_are_described_with_what_intervals_resample(study, tmp_path):
    folder, tables, page = study
    (row,) = re.findall(r"<tr><td>our calls</td>.*?</tr>", page.split('id="table-tests"')[1])
    cells = re.findall(r"<td[^>]*>(.*?)</td>", row)
    words = int(tables["wer"].query("test_set == 'own'").words.iloc[0])
    assert cells == [
        *("our calls", "Italian", "–", "8", str(words), "not named", "8 utterances", "not stated")
    ]
    assert "<li>FLEURS: Several people read each sentence.</li>" in page
    report = tmp_path / "test.qc.json"
    report.write_text(
        '{"corpus": "fleurs", "lang": "it", "split": "test", "dropped": {}, '
        '"kept": {"cuts": 8, "hours": 0.5, "speakers": 3, "blocks": 8}}'
    )
    page = build(
        tmp_path,
        folder / "tables",
        report=["--manifests", report],
        figures=folder / "figures",
        display=SHOWN,
    )
    (row,) = re.findall(r"<tr><td>FLEURS</td>.*?</tr>", page.split('id="table-tests"')[1])
    cells = re.findall(r"<td[^>]*>(.*?)</td>", row)
    assert cells[2:3] + cells[5:] == ["0.50", "3", "8 sentences", "CC BY 4.0"]


# ---- in a browser


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    """A browser for all tests of this module."""
    with browsing(tmp_path_factory.mktemp("profile")) as page:
        yield page


def choose(browser, key, value):
    """Choose as a reader does."""
    browser.run(
        f"(() => {{ const select = document.querySelector('select[data-key={key}]');"
        f" select.value = '{value}';"
        " select.dispatchEvent(new Event('change', {bubbles: true})); })()"
    )


SEEN = (
    "[...document.querySelectorAll('.heard')].filter((one) => one.offsetParent)"
    ".map((one) => [one.dataset.arm, one.dataset.tier, one.parentElement.dataset.test_set])"
)


@pytest.mark.slow
@pytest.mark.skipif(CHROMIUM is None, reason="no chromium on this machine")
def test_in_a_browser_recordings_play_and_choices_change_what_is_seen(study, browser):
    browser.open(study[0] / "report.html", 1280)
    length = browser.run(
        "(() => { const one = document.querySelector('audio'); one.preload = 'auto';"
        " return new Promise((done) => { one.onloadedmetadata = () => done(one.duration);"
        " one.onerror = () => done(-1); one.load(); }); })()"
    )
    assert length == pytest.approx(
        next(d for path, _, d in UTTERANCES if path.stem == picked(study)[0].id), abs=0.15
    )
    assert browser.run("document.querySelector('audio').canPlayType('audio/mpeg')") != ""
    first = browser.run(SEEN)
    assert first == [["en", "160ms", "fleurs"], ["ml", "160ms", "fleurs"]] * 4
    choose(browser, "arm", "ml")
    assert browser.run(SEEN) == [["ml", "160ms", "fleurs"]] * 4
    choose(browser, "tier", "560ms")
    assert browser.run(SEEN) == [["ml", "560ms", "fleurs"]] * 4
    choose(browser, "test_set", "own")
    assert browser.run(SEEN) == [["ml", "560ms", "own"]] * 4
    choose(browser, "arm", "")
    assert browser.run(SEEN) == [["en", "560ms", "own"], ["ml", "560ms", "own"]] * 4
    assert browser.complaints == []


@pytest.mark.slow
@pytest.mark.skipif(CHROMIUM is None, reason="no chromium on this machine")
@pytest.mark.parametrize("width", [390, 768, 1280, 1920])
def test_the_advice_is_the_first_thing_that_is_seen(study, browser, width):
    browser.open(study[0] / "report.html", width)
    assert browser.run("document.documentElement.scrollWidth") <= width
    box = browser.run("document.querySelector('.advice').getBoundingClientRect().toJSON()")
    # The windows of tests are 900 pixels high; those of small phones show 640 of them.
    assert box["bottom"] < 640
    assert box["right"] <= width
    # What carries the answer stands inside the window without scrolling sideways.
    for table, column in (("guideline", 3), ("wer", 2), ("tiers", 3)):
        right = browser.run(
            f"document.querySelector('#table-{table} tbody td:nth-child({column})')"
            ".getBoundingClientRect().right"
        )
        assert right <= width, table


@pytest.mark.slow
@pytest.mark.skipif(CHROMIUM is None, reason="no chromium on this machine")
def test_at_1280_pixels_no_main_table_scrolls_sideways(study, browser):
    browser.open(study[0] / "report.html", 1280)
    wide = browser.run(
        "[...document.querySelectorAll('.scroll')].filter((box) => box.scrollWidth > "
        "box.clientWidth).map((box) => box.firstElementChild.id)"
    )
    assert wide == []


@pytest.mark.slow
@pytest.mark.skipif(CHROMIUM is None, reason="no chromium on this machine")
def test_in_the_dark_letters_and_figures_stand_out_from_the_ground(study, browser):
    features = [{"name": "prefers-color-scheme", "value": "dark"}]
    browser.call("Emulation.setEmulatedMedia", features=features)
    browser.open(study[0] / "report.html", 1280)
    ground = luminance(browser.run("getComputedStyle(document.body).backgroundColor"))
    assert ground < 0.05
    for selector, what, least in (
        ("body", "color", 7.0),
        (".note", "color", 4.5),
        (".advice a, .questions a", "color", 4.5),
        ("#figure-gap_by_hours svg path[style*='--c0']", "stroke", 3.0),
        ("#figure-gap_by_hours svg g[style*='--figure-ink']", "fill", 7.0),
    ):
        colour = browser.run(
            f"getComputedStyle(document.querySelector(\"{selector}\")).getPropertyValue('{what}')"
        )
        light, dark = sorted((luminance(colour), ground), reverse=True)
        assert (light + 0.05) / (dark + 0.05) >= least, (selector, colour)
    browser.call("Emulation.setEmulatedMedia", features=[])


def luminance(colour):
    """Relative luminance of `rgb(r, g, b)` (WCAG 2.2)."""
    parts = [int(part) / 255 for part in re.findall(r"\d+", colour)[:3]]
    linear = [p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


@pytest.mark.slow
@pytest.mark.skipif(CHROMIUM is None, reason="no chromium on this machine")
def test_on_paper_there_is_nothing_to_press_and_nothing_folded(study, browser):
    browser.open(study[0] / "report.html", 718)
    folded = "document.querySelectorAll('details:not([open])').length"
    assert browser.run(folded) > 0
    browser.call("Emulation.setEmulatedMedia", media="print")
    browser.run("window.dispatchEvent(new Event('beforeprint'))")
    assert browser.run(folded) == 0
    pressed = (
        "[...document.querySelectorAll('audio, select, nav')].filter((one) => one.offsetParent)"
    )
    assert browser.run(f"{pressed}.length") == 0
    # Numbers are not broken: a table of many columns is as wide as the paper.
    assert browser.run(
        "[...document.querySelectorAll('#table-wer td:nth-child(2)')].every((cell) =>"
        " cell.getBoundingClientRect().height < 40)"
    )
    browser.run("window.dispatchEvent(new Event('afterprint'))")
    assert browser.run(folded) > 0
    browser.call("Emulation.setEmulatedMedia", media="")


@pytest.mark.slow
@pytest.mark.skipif(CHROMIUM is None, reason="no chromium on this machine")
def test_without_scripts_the_headline_examples_are_seen(study, browser):
    browser.call("Emulation.setScriptExecutionDisabled", value=True)
    browser.open(study[0] / "report.html", 1280)
    browser.call("Emulation.setScriptExecutionDisabled", value=False)
    assert browser.run(SEEN) == [["en", "160ms", "fleurs"], ["ml", "160ms", "fleurs"]] * 4
