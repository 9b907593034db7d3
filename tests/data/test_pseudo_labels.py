"""Pseudo-labels: whose texts are hidden, what is kept of what a model wrote, and why not the
rest."""

import json

import pytest

from warmstart.data import cut_lines, pseudo_labels
from warmstart.data.pseudo_labels import Label
from warmstart.run.errors import UserError

TEXT = {"alphabet": "abcdefghijklmnopqrstuvwxyz", "case": "lower", "keep": "", "numbers": None}
TEXT |= {"hyphen": "space", "replace": {}, "words": {}}
SETTINGS = {
    "text": TEXT,
    "filters": {"min_duration_s": 0.5, "max_chars_per_s": 20, "guard": ["sentence", "speaker"]},
}
SECRET = "segreto"


def cut(name, seconds=2.0, speaker="anna", text=SECRET):
    """A line of a pool, its text in every place where one may stand."""
    return {
        "id": name,
        "type": "MonoCut",
        **{"start": 0.0, "duration": seconds, "channel": 0},
        "supervisions": [
            {
                **{"id": name, "recording_id": name, "start": 0.0, "duration": seconds},
                **{"channel": 0, "language": "it", "speaker": speaker, "text": text},
                "custom": {"raw_text": text.upper()},
                "alignment": {"word": [[text, 0.0, 1.0, None]]},
            }
        ],
        "recording": {"id": name, "sources": [], "sampling_rate": 16000, "num_samples": 32000},
        "custom": {"corpus": "spoken", "block": speaker, "sentence": text},
    }


def write(path, cuts):
    with cut_lines.writing(path) as stream:
        stream.writelines(map(cut_lines.line, cuts))
    return path


def label(name, text, confidence=0.5, **more):
    given = {key: more.pop(key) for key in ("seconds", "speaker") if key in more}
    hidden = pseudo_labels.without_text(cut(name, **given))
    return Label(hidden, text, confidence, **more)


def test_a_hidden_cut_has_no_text_in_any_field_and_a_joined_one_neither():
    joined = {
        "id": "joined",
        "type": "MixedCut",
        "tracks": [
            {"type": "MixTrack", "cut": cut("a"), "offset": 0.0},
            {"type": "MixTrack", "cut": {**cut("b"), "supervisions": []}, "offset": 2.5},
        ],
    }
    for one in (cut("a"), joined):
        hidden = pseudo_labels.without_text(one)
        assert SECRET in json.dumps(one).lower()
        assert SECRET not in json.dumps(hidden).lower()
        assert cut_lines.duration_s(hidden) == cut_lines.duration_s(one)
        assert cut_lines.supervision(hidden)["speaker"] == "anna"
        assert cut_lines.custom(hidden) == {"corpus": "spoken", "block": "anna"}


def test_what_lies_beyond_a_budget_is_the_rest_of_the_larger_one(tmp_path):
    small = write(tmp_path / "small.jsonl.gz", [cut("a", text="detto"), cut("b", text="detto")])
    large = write(tmp_path / "large.jsonl.gz", map(cut, "abcd"))
    hidden = list(pseudo_labels.beyond(small, large))
    assert [one["id"] for one in hidden] == ["c", "d"]
    assert SECRET not in json.dumps(hidden)
    other = write(tmp_path / "other.jsonl.gz", map(cut, "acbd"))
    with pytest.raises(UserError, match=r"cut b is not at its place in .*no budgets of one pool"):
        list(pseudo_labels.beyond(small, other))


def test_a_label_passes_the_checks_of_a_pool_once_more(tmp_path):
    tests = write(tmp_path / "test.jsonl.gz", [cut("t", text="prova del test", speaker="tina")])
    found = pseudo_labels.checked(
        [
            label("fine", "Buon giorno!"),
            label("test", "Prova del test."),
            label("speaker", "buon giorno", speaker="tina"),
            label("silent", "  "),
            label("greek", "καλημέρα"),
            label("short", "si", seconds=0.4),
            label("fast", "parole " * 9),
            label("loop", "la la la la la", looping=True),
        ],
        SETTINGS,
        [("human", tests)],
    )
    assert {one.cut["id"]: one.reason for one in found} == {
        "fine": "",
        "test": "sentence_in_test",
        "speaker": "speaker_in_test",
        "silent": "empty_text",
        "greek": "foreign_alphabet",
        "short": "too_short",
        "fast": "too_fast",
        "loop": "looping",
    }
    assert found[0].text == "buon giorno"


def test_of_one_text_over_and_over_as_many_stay_as_in_a_pool():
    settings = {**SETTINGS, "filters": {**SETTINGS["filters"], "max_same_text": 2}}
    found = pseudo_labels.checked([label(name, "grazie") for name in "abcd"], settings, [])
    assert sorted(one.reason for one in found) == ["", "", "same_text", "same_text"]


def test_the_most_confident_are_kept_by_hand():
    labels = [
        label("a", "uno", 0.9, seconds=4.0),
        label("b", "due", 0.2, seconds=1.0),
        label("c", "tre", 0.8, seconds=3.0),
        label("d", "", 0.95, seconds=2.0, reason="empty_text"),
        label("e", "sei", 0.8, seconds=2.0),
        label("f", "otto", 0.7, seconds=1.0),
    ]
    # 13 s in all, of which 70 % are 9.1 s: a and c are 7 s, e makes 9; f would make 10.
    found = pseudo_labels.kept(labels, 0.7, 0.5)
    assert {one.cut["id"]: one.reason for one in found} == {
        "a": "",
        "b": "low_confidence",
        "c": "",
        "d": "empty_text",
        "e": "",
        "f": "beyond_keep",
    }
    amounts = pseudo_labels.tally(found)
    assert amounts["heard"] == {"cuts": 6, "hours": 13 / 3600}
    assert amounts["kept"] == {"cuts": 3, "hours": 9 / 3600}
    gone = amounts["dropped"].values()
    for what in ("cuts", "hours"):
        parts = amounts["kept"][what] + sum(one[what] for one in gone)
        assert parts == pytest.approx(amounts["heard"][what])


def test_a_shorter_one_is_not_let_past_and_all_of_it_fits_exactly():
    labels = [
        label("a", "uno", 0.9, seconds=4.0),
        label("b", "due", 0.8, seconds=5.0),
        label("c", "tre", 0.7, seconds=1.0),
    ]
    assert [one.reason for one in pseudo_labels.kept(labels, 0.5)] == [
        "",
        "beyond_keep",
        "beyond_keep",
    ]
    assert not any(one.reason for one in pseudo_labels.kept(labels, 1.0))


def test_a_training_cut_teaches_what_the_model_wrote_and_nothing_else():
    made = pseudo_labels.training_cut(label("a", "buon giorno", 0.1234567))
    assert cut_lines.supervision(made)["text"] == "buon giorno"
    assert cut_lines.custom(made)["pseudo_label"] == 0.123457
    assert SECRET not in json.dumps(made).lower()
