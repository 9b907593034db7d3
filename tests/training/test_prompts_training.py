"""A prompt of each of two languages, learnt through the programs in front of a tiny Whisper: killed
and resumed to the same bytes, in one file with the model, which stays as it was."""

import json
import signal
import time

import numpy as np
import pytest
import torch
from made.small_speech import SETTINGS, rows
from made.whisper import whole_whisper
from test_heads_training import finish, start, two  # noqa: F401 (a fixture)

from warmstart.models import open_family
from warmstart.models.tier import Tier
from warmstart.run import files

pytestmark = pytest.mark.slow

RUN = "it+fr/lapt/0.024h/seed1"
OF_RUN = ("--run", RUN, "--family", "whisper")
LAPT = {"kind": "lapt", "length": 4, "where": "both", "rank": 2, "similarity": "tokens"}
WIDTH = 16
MODEL = {"window_s": 2}


@pytest.fixture(scope="module")
def donor(tmp_path_factory):
    """A packed donor: 100 positions of text."""
    folder = tmp_path_factory.mktemp("whisper")
    whole_whisper(folder / "snapshot", max_target_positions=100)
    open_family("whisper").pack_donor(folder / "snapshot", folder / "tiny.safetensors")
    return folder / "tiny.safetensors"


def training(two, donor, run_dir, adaptation=LAPT):
    settings = SETTINGS | {
        "model": {**SETTINGS["model"], **MODEL},
        "steps": {"fixed": 12},
        "checkpoint_every_steps": 4,
        "log_every_steps": 2,
        "adaptation": adaptation,
    }
    settings["optimizer"] = settings["optimizer"] | {"lr": 0.01}
    return [
        *("--train-cuts", two["mixed"], "--init", donor, *OF_RUN),
        *("--dev-cuts", *(f"{lang}={two[lang]['dev']}" for lang in ("it", "fr"))),
        "--tokenizer",
        *("--settings", json.dumps(settings), "--run-dir", run_dir),
        *("--output", run_dir / "model.safetensors"),
    ]


@pytest.fixture(scope="module")
def finished(two, donor, tmp_path_factory):
    run_dir = tmp_path_factory.mktemp("finished")
    finish(start("train", *training(two, donor, run_dir)))
    return run_dir


def test_only_the_prompts_learn_and_the_record_has_their_size(finished, donor):
    family = open_family("whisper")
    before, after = (family.load(path) for path in (donor, finished / "model.safetensors"))
    mine, theirs = before.network.tensors(), after.network.tensors()
    assert set(mine) == set(theirs)
    assert all(torch.equal(mine[name], theirs[name]) for name in mine), "the model stays"
    prompts = after.network.prompts
    assert prompts.languages == ("fr", "it")
    for side in ("encoder", "decoder"):
        one, other = prompts.of(side)
        assert not torch.equal(one, other), "parts of languages have learnt"
    # On each side S, and U and V of two languages.
    learnt = 2 * (4 * WIDTH + 2 * (4 * 2 + 2 * WIDTH))
    record = files.read_json(finished / "run.json")
    assert record["trained_parameters"] == learnt
    assert record["trained_mb"] == pytest.approx(4e-6 * learnt, abs=1e-3)


def test_killed_it_goes_on_to_the_same_bytes(finished, two, donor, tmp_path):
    process = start("train", *training(two, donor, tmp_path))
    limit = time.monotonic() + 300
    while len(rows(tmp_path)) < 4 and process.poll() is None and time.monotonic() < limit:
        time.sleep(0.002)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert process.returncode == -signal.SIGKILL
    assert "continuing from" in finish(start("train", *training(two, donor, tmp_path)))
    one, other = (folder / "model.safetensors" for folder in (tmp_path, finished))
    assert files.digest(one) == files.digest(other)


def test_a_language_without_a_prompt_is_decoded_as_by_the_donor(finished, donor, tmp_path):
    """Of the same window: a donor as published hears 30 s."""
    family = open_family("whisper")
    settings = SETTINGS | {"model": {**SETTINGS["model"], **MODEL}}
    bare = family.build(family.read_donor(donor), settings, tokenizer=None, seed=1, steps=1)
    bare.save(tmp_path / "bare.safetensors")
    noise = np.random.default_rng(1)
    waveforms = [noise.normal(0, 0.1, samples).astype(np.float32) for samples in (16000, 9000)]
    found = {}
    for name, path in (
        ("before", tmp_path / "bare.safetensors"),
        ("after", finished / "model.safetensors"),
    ):
        decoder = family.load(path).decoder(Tier("offline", 70, 13, offline=True))
        for lang in ("en", "it", "fr"):
            found[name, lang] = decoder.of_language(lang).decode(waveforms)
    assert found["after", "en"] == found["before", "en"]
    for lang in ("it", "fr"):
        assert found["after", lang] != found["before", lang]
