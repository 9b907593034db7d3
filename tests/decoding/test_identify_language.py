"""A language identifier: who was heard, what is said where nothing is, and voices that it never
heard."""

import json

import numpy as np
import pandas as pd
import pytest
from conftest import ROOT
from made.small_speech import manifest

import identify_language
from warmstart.data import cut_lines
from warmstart.data.corpora import open_corpus
from warmstart.data.utterances import read_test_set
from warmstart.decoding import language
from warmstart.evidence import identified
from warmstart.evidence.identified import HEARD, UNHEARD, UNKNOWN
from warmstart.models.tier import Tier
from warmstart.run.errors import UserError

LANGUAGES = ("it", "fr", "en")
DONOR = ROOT / "demo/inits/ml.nemo"
OFFLINE = Tier("offline", 70, 13, offline=True)


def write(path, *cuts):
    """A manifest of (id, language, speaker, corpus)."""
    with cut_lines.writing(path) as stream:
        for name, lang, speaker, corpus in cuts:
            supervision = {"text": "x", "language": lang, "speaker": speaker}
            custom = {"block": name, "corpus": corpus}
            cut = {"id": name, "duration": 1.0, "custom": custom, "supervisions": [supervision]}
            stream.write(cut_lines.line(cut))
    return path


def test_at_most_so_many_of_a_language_are_learnt_from_and_the_rest_is_counted(tmp_path):
    cuts = [(f"{lang}{n}", lang, "a", "c") for n in range(3) for lang in ("it", "fr", "de")]
    path = write(tmp_path / "cuts.jsonl.gz", *cuts)
    found = language.gather([path], ("it", "fr"), 2)
    assert [one.id for one in found.utterances] == ["it0", "fr0", "it1", "fr1"]
    assert found.left_out == {language.ANOTHER: 3, language.BEYOND: 2}
    assert len(found.utterances) + found.left_out.total() == len(cuts)


def test_a_speaker_is_known_by_corpus_and_id_whatever_the_language(tmp_path):
    heard = write(tmp_path / "a.jsonl.gz", ("1", "it", "ann", "c"), ("2", "it", "bob", "cv1"))
    asked = read_test_set(
        write(
            tmp_path / "b.jsonl.gz",
            ("3", "fr", "ann", "c"),
            ("4", "fr", "ann", "d"),
            ("5", "fr", "bob", "cv2"),
            ("6", "fr", None, "c"),
        )
    )
    # Two releases of one publisher.
    names = {lang: {"cv1": "cv", "cv2": "cv"} for lang in ("it", "fr")}
    known = language.Speakers(read_test_set(heard), names)
    states = [known.state_of(one, "fr") for one in asked]
    assert states == [HEARD, UNHEARD, HEARD, UNKNOWN]
    # Where one who was heard has no name, nobody is known to be another.
    heard = write(tmp_path / "c.jsonl.gz", ("1", "it", "ann", "c"), ("2", "it", None, "c"))
    known = language.Speakers(read_test_set(heard), {})
    assert [known.state_of(one, "fr") for one in asked] == [HEARD, UNKNOWN, UNKNOWN, UNKNOWN]


@pytest.mark.slow
def test_what_is_linear_in_the_states_is_told_and_no_frame_says_nothing():
    random = np.random.default_rng(3)
    names = ["it", "fr", "en"] * 40
    states = random.normal(0, 1, (120, 6)).astype(np.float32)
    for place, name in enumerate(names):
        states[place, LANGUAGES.index(name)] += 4
    states[5] = np.nan
    learnt, about = language.learn((states, names), (states[:30], names[:30]), LANGUAGES)
    assert (about["status"], about["learnt_from"]) == ("ok", 119)
    said = language.say(learnt, states, LANGUAGES)
    assert said[5] == ("", (1 / 3, 1 / 3, 1 / 3))
    right = [one == name for (one, _), name in zip(said, names, strict=True)]
    assert np.mean(right) > 0.9
    assert sum(said[0][1]) == pytest.approx(1)


@pytest.mark.slow
def test_a_penalty_is_chosen_on_other_speech():
    """Of 60 dimensions one says something, and 24 utterances are learnt from: a weak penalty learns
    them by heart."""
    random = np.random.default_rng(1)

    def drawn(count):
        names = ["it", "fr"] * (count // 2)
        states = random.normal(0, 1, (count, 60))
        states[:, 0] += [2 if name == "it" else -2 for name in names]
        return states, names

    train, other = drawn(24), drawn(400)
    _, about = language.learn(train, other, ("it", "fr"))
    assert about["penalty"] < 1


@pytest.mark.parametrize(
    ("frames", "says"),
    [((), "no frame to learn from"), (("it",), "one language to learn from (it)")],
)
def test_where_no_frame_exists_nothing_is_learnt_and_everything_is_as_likely(frames, says):
    names = ["it", "fr"]
    states = np.array([[1.0] if name in frames else [np.nan] for name in names])
    learnt, about = language.learn((states, names), (states, names), ("it", "fr"))
    assert says in about["status"]
    assert about["status"].startswith("not estimable")
    assert language.say(learnt, states, ("it", "fr")) == [("", (0.5, 0.5))] * 2


def test_a_language_without_a_cut_is_refused_before_anything_is_loaded(tmp_path):
    path = write(tmp_path / "cuts.jsonl.gz", ("1", "it", "a", "c"))
    command = ["--donor", str(tmp_path / "none.nemo"), "--tier", OFFLINE.as_text()]
    command += ["--train-cuts", str(path), "--tests", f"it/t={path}", "--settings", "{}"]
    output = tmp_path / "out.parquet"
    with pytest.raises(UserError, match=r"no utterance in 'fr' to learn from; its cuts are in it"):
        identify_language.main([*command, "--languages", "it", "fr", "--output", str(output)])
    assert not output.exists()
    with pytest.raises(SystemExit):
        identify_language.main([*command, "--languages", "it", "--output", str(output)])


# ---- real voices


@pytest.fixture(scope="module")
def voices(tmp_path_factory):
    """Spoken numbers in three languages: 16 voices for training and for `same`, 8 for `new`. The
    donor was pretrained without those 8, and neither in Italian nor in French."""
    folder = tmp_path_factory.mktemp("voices")
    block = {
        "kind": "synthetic",
        "hours": {"train": 0.04, "dev": 0.01},
        "utterances": {"same_voices": 12, "new_voices": 48},
        "voices": 16,
        "new_voices": 8,
    }
    made = {}
    for lang in LANGUAGES:
        open_corpus("spoken", lang, block).fetch(folder / lang)
        for split in ("train", "dev", "test_same", "test_new"):
            path = folder / f"{lang}-{split}.jsonl.gz"
            made[lang, split] = manifest(folder / lang, split, path, lang)
    return made


def identify(voices, output, *more):
    tests = [
        f"{lang}/{split}={voices[lang, split]}"
        for lang in LANGUAGES
        for split in ("test_same", "test_new")
    ]
    identify_language.main(
        [
            *("--languages", *LANGUAGES, "--donor", str(DONOR), "--tier", OFFLINE.as_text()),
            *("--train-cuts", *(str(voices[lang, "train"]) for lang in LANGUAGES)),
            *("--dev-cuts", *(str(voices[lang, "dev"]) for lang in LANGUAGES)),
            *("--tests", *tests, "--output", str(output), *more),
        ]
    )
    return pd.read_parquet(output), json.loads(output.with_suffix(".json").read_text())


@pytest.mark.slow
def test_languages_of_voices_that_were_never_heard_are_told_and_a_tenth_of_a_second_fails(
    voices, tmp_path
):
    settings = json.dumps({"seconds_heard": [0.001, 0.1, 1, "all"], "device": "cpu"})
    table, about = identify(voices, tmp_path / "a.parquet", "--settings", settings)
    assert set(table[table.test_set == "test_same"].speaker) == {HEARD}
    new = table[table.test_set == "test_new"]
    assert set(new.speaker) == {UNHEARD}
    right = new.assign(right=new.said == new.lang).groupby("seconds").right.mean()
    print(right.to_dict())
    # 144 utterances; guessing is right in a third, give or take eight in a hundred.
    assert right["all"] > 0.75
    assert right["all"] > right["0.1"] + 0.2
    # A thousandth of a second is no frame of the encoder: nothing is said, and that is counted.
    silent = table[table.seconds == "0.001"]
    assert (silent.said == "").all()
    assert np.allclose(np.stack(silent.posteriors), 1 / 3)
    assert about["seconds"]["0.001"]["status"] == "not estimable: no frame to learn from"
    assert about["seconds"]["0.001"]["without_frame"] == len(silent)
    assert about["learnt_from"]["speakers_unknown"] == 0
    assert (table[table.seconds == "1"].heard_s <= 1).all()
    again = tmp_path / "b.parquet"
    identify(voices, again, "--settings", settings)
    assert again.read_bytes() == (tmp_path / "a.parquet").read_bytes()
    found = identified.read(again)
    assert found.languages == LANGUAGES
    assert found.seconds == ("0.001", "0.1", "1", "all")


@pytest.mark.slow
def test_random_weights_tell_languages_apart_less(voices, tmp_path):
    """What the donor learnt of speech is what tells: the same architecture with random weights is
    worse."""
    settings = json.dumps({"seconds_heard": ["all"], "device": "cpu"})
    rates = {}
    for name, more in (("donor", ()), ("random", ("--random-seed", "1"))):
        table, _ = identify(voices, tmp_path / f"{name}.parquet", "--settings", settings, *more)
        new = table[table.test_set == "test_new"]
        rates[name] = (new.said == new.lang).mean()
    print(rates)
    assert rates["donor"] > rates["random"]
