"""Synthesized corpora: deterministic, resumable, splits that do not leak."""

import csv
import itertools
import shutil
import subprocess
import sys
import time

import numpy as np
import pytest
import soundfile
from conftest import ROOT

from warmstart.data.corpora import espeak, open_corpus
from warmstart.run.errors import UserError

SETTINGS = {
    "hours": {"train": 0.004, "dev": 0.001},
    "utterances": {"same_voices": 6, "new_voices": 6},
    "voices": 4,
    "new_voices": 2,
    "max_number": 100,
    "seed": 3,
}


def make(directory, **changes):
    """The corpus through its reader, which fills in the defaults."""
    open_corpus("spoken", "it", {"kind": "synthetic", **SETTINGS, **changes}).fetch(directory)


def table(directory, split):
    with open(directory / f"metadata-{split}.tsv", encoding="utf-8", newline="") as stream:
        return list(csv.DictReader(stream, delimiter="\t"))


def contents(directory):
    return {
        path.relative_to(directory): path.read_bytes()
        for path in directory.rglob("*")
        if path.is_file()
    }


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    directory = tmp_path_factory.mktemp("it")
    make(directory)
    return directory


def test_audio_is_16_khz_mono_and_as_long_as_the_table_says(corpus):
    rows = table(corpus, "train")
    assert sum(float(row["seconds"]) for row in rows) >= 0.004 * 3600
    for row in rows:
        samples, rate = soundfile.read(corpus / row["path"])
        assert (rate, samples.ndim) == (16_000, 1)
        assert len(samples) / rate == pytest.approx(float(row["seconds"]), abs=1e-3)
        assert 0.1 < np.abs(samples).max() <= 1


def test_no_text_is_in_two_kinds_of_split(corpus):
    kinds = {"train": ["train"], "dev": ["dev"], "test": ["test_same", "test_new"]}
    found = {
        kind: {row["text"] for split in splits for row in table(corpus, split)}
        for kind, splits in kinds.items()
    }
    for one, other in itertools.combinations(found.values(), 2):
        assert one
        assert not one & other


def test_new_voices_are_not_heard_in_training_and_same_voices_are(corpus):
    heard = {row["speaker"] for row in table(corpus, "train")}
    assert {row["speaker"] for row in table(corpus, "test_same")} <= heard
    assert not {row["speaker"] for row in table(corpus, "test_new")} & heard
    assert len(table(corpus, "test_same")) == len(table(corpus, "test_new")) == 6


def test_an_interrupted_corpus_is_finished_with_the_same_bytes(corpus, tmp_path):
    make(tmp_path)
    for split in ("dev", "test_new"):
        (tmp_path / f"metadata-{split}.tsv").unlink()
    (tmp_path / "dev" / "00000.flac").unlink()
    make(tmp_path)
    assert contents(tmp_path) == contents(corpus)


@pytest.mark.slow
def test_every_voice_says_the_same_at_another_time():
    program = """
import hashlib, random
from warmstart.data.corpora.espeak import _VARIANTS, Voice, speak
for name in _VARIANTS:
    samples = speak("novantanove", Voice(name, f"it+{name}", 50, 50, 160), random.Random(1))
    print(name, hashlib.sha256(samples.tobytes()).hexdigest())
"""
    environment = {"PYTHONPATH": str(ROOT / "workflow/scripts"), "PATH": ""}
    said = []
    for _ in range(2):
        said.append(
            subprocess.run(
                [sys.executable, "-c", program],
                env=environment,
                capture_output=True,
                text=True,
                check=True,
            )
        )
        time.sleep(1.1)  # espeak-ng seeds its generator with the second
    assert said[0].stdout == said[1].stdout
    assert len({line.split()[1] for line in said[0].stdout.splitlines()}) == len(espeak._VARIANTS)


def test_edited_settings_make_those_splits_anew_that_they_concern(corpus, tmp_path):
    before = contents(shutil.copytree(corpus, tmp_path / "it"))
    make(tmp_path / "it", utterances={"same_voices": 6, "new_voices": 8})
    after = contents(tmp_path / "it")
    assert len(table(tmp_path / "it", "test_new")) == 8
    changed = {path for path in after if after[path] != before.get(path)}
    assert {path.parts[0] for path in changed} == {"test_new", "metadata-test_new.tsv", "made.json"}
    # A further utterance of the same texts and voices: what there was stays.
    assert {path.name for path in changed if path.parts[0] == "test_new"} == {
        "00006.flac",
        "00007.flac",
    }


def test_an_unknown_voice_is_named(tmp_path):
    with pytest.raises(UserError, match="xx-nowhere"):
        make(tmp_path, espeak_voice="xx-nowhere")
    with pytest.raises(UserError, match="num2words"):
        make(tmp_path, numbers="xx")
    assert not list(tmp_path.glob("*.tsv"))
