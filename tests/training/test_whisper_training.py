"""A tiny Whisper trained on two languages of synthetic speech through the programs: killed,
resumed, adapted in every way, and decoded when it is told the language."""

import json
import signal
import time
from pathlib import Path

import pytest
from made.decoding import read
from made.small_speech import SETTINGS, rows
from made.whisper import whole_whisper
from test_heads_training import finish, start, two  # noqa: F401 (a fixture)

from warmstart.data.audio import load_audio
from warmstart.data.utterances import read_test_set
from warmstart.models import open_family
from warmstart.models.tier import Tier
from warmstart.run import files

OFFLINE = Tier("offline", 70, 13, True)
RUN = "it+fr/whisper/0.024h/seed1"
OF_RUN = ("--run", RUN, "--family", "whisper")
MORE = {
    "model": {**SETTINGS["model"], "window_s": 2},
    "steps": {"fixed": 12},
    "checkpoint_every_steps": 4,
    "log_every_steps": 2,
    "spec_augment": {"freq_masks": 1, "freq_width": 8, "time_masks": 1, "time_width": 0.05},
}


@pytest.fixture(scope="module")
def donor(tmp_path_factory):
    """A packed donor: 100 positions of text."""
    folder = tmp_path_factory.mktemp("whisper")
    whole_whisper(folder / "snapshot", max_target_positions=100)
    open_family("whisper").pack_donor(folder / "snapshot", folder / "tiny.safetensors")
    return folder / "tiny.safetensors"


def training(two, donor, run_dir, **more):
    return [
        *("--train-cuts", two["mixed"], "--init", donor, *OF_RUN),
        *("--dev-cuts", *(f"{lang}={two[lang]['dev']}" for lang in ("it", "fr"))),
        "--tokenizer",
        *("--settings", json.dumps(SETTINGS | MORE | more), "--run-dir", run_dir),
        *("--output", run_dir / "model.safetensors"),
    ]


@pytest.fixture(scope="module")
def finished(two, donor, tmp_path_factory) -> Path:
    run_dir = tmp_path_factory.mktemp("finished")
    finish(start("train", *training(two, donor, run_dir)))
    return run_dir


@pytest.mark.slow
def test_the_record_says_what_learnt(finished, donor):
    record = files.read_json(finished / "run.json")
    tensors = open_family("whisper").read_donor(donor).about()["tensors"]
    assert record["encoder_tensors_loaded"] == tensors
    assert set(record["parameters"]) == {"encoder", "decoder"} == set(record["start_digests"])
    assert record["learnable_cuts"] == record["cuts"]
    assert set(record["language_hours"]) == {"it", "fr"}
    curve = rows(finished)
    assert float(curve[-1]["loss"]) < float(curve[0]["loss"])
    assert float(curve[-1]["dev_loss"]) > 0
    # Tokens are the model's own, and so are both parts.
    assert record["tokenizer"] == "own"
    assert record["pretrained_parts"] == ["encoder", "decoder"]
    assert record["encoder_tensors"] == tensors
    assert record["input_digests"]["tokenizer"] is None


@pytest.mark.slow
def test_killed_it_goes_on_to_the_same_bytes(finished, two, donor, tmp_path):
    process = start("train", *training(two, donor, tmp_path))
    limit = time.monotonic() + 300
    while len(rows(tmp_path)) < 4 and process.poll() is None and time.monotonic() < limit:
        time.sleep(0.002)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert process.returncode == -signal.SIGKILL
    assert not (tmp_path / "model.safetensors").exists()
    assert "continuing from" in finish(start("train", *training(two, donor, tmp_path)))
    assert files.digest(tmp_path / "model.safetensors") == files.digest(
        finished / "model.safetensors"
    )


@pytest.mark.slow
@pytest.mark.parametrize(
    ("adaptation", "learns"),
    [
        ({"kind": "lora", "rank": 2, "layers": "*_proj"}, {"encoder", "decoder"}),
        ({"kind": "head_only"}, {"decoder"}),
        ({"kind": "freeze", "encoder_layers": 2, "feature_encoder": "always"}, {"decoder"}),
    ],
    ids=lambda value: value["kind"] if isinstance(value, dict) else "",
)
def test_what_an_adaptation_holds_is_held(two, donor, tmp_path, adaptation, learns):
    steps = {"steps": 11} if adaptation["kind"] == "freeze" else {}
    finish(start("train", *training(two, donor, tmp_path, adaptation={**adaptation, **steps})))
    family = open_family("whisper")
    before, after = (
        family.load(path).network.tensors() for path in (donor, tmp_path / "model.safetensors")
    )
    assert set(before) == set(after), "the modules that learnt are merged"
    changed = {name for name, value in before.items() if not value.equal(after[name])}
    assert {name.split(".")[1] for name in changed} >= learns
    if adaptation["kind"] == "lora":
        assert all("_proj.weight" in name for name in changed)
    if adaptation["kind"] == "head_only":
        assert {name.split(".")[1] for name in changed} == learns


@pytest.mark.slow
def test_a_decode_is_told_the_language_of_each_test_set(finished, donor, two, tmp_path):
    for model, more in (
        (finished / "model.safetensors", ()),
        (donor, ("--zero-shot",)),
    ):
        folder = tmp_path / model.stem
        arguments = ("--model", model, *OF_RUN, "--precision", "full", *more)
        cuts = ("--cuts", *(f"{lang}/dev={two[lang]['dev']}" for lang in ("it", "fr")))
        outputs = [f"{lang}/dev={folder / lang}.jsonl" for lang in ("it", "fr")]
        options = json.dumps({"batch_size": 4, "device": "cpu", "threads": 1})
        tier = ("--tier", "offline:70:13:offline")
        finish(
            start("decode", *arguments, *tier, *cuts, "--output", *outputs, "--settings", options)
        )
        for lang in ("it", "fr"):
            header = files.read_json(folder / f"{lang}.json")
            assert header["batch_check"]["differing_utterances"] == 0
            assert header["tokens"] > 0


@pytest.mark.slow
def test_a_model_of_a_language_is_told_its_own_in_the_test_sets_of_others(finished, two, tmp_path):
    """As a member of an ensemble, whose router chooses by confidence."""
    outputs = {head: f"{head}:fr/dev={tmp_path / head}.jsonl" for head in ("it", "fr")}
    for head, output in outputs.items():
        arguments = ("--model", finished / "model.safetensors", *OF_RUN, "--head", head)
        cuts = ("--tier", "offline:70:13:offline", "--cuts", f"fr/dev={two['fr']['dev']}")
        options = ("--settings", json.dumps({"batch_size": 4, "device": "cpu", "threads": 1}))
        finish(start("cross_decode", *arguments, *cuts, "--output", output, *options))
    model = open_family("whisper").load(finished / "model.safetensors")
    told = model.decoder(OFFLINE).with_confidence()
    utterances = read_test_set(two["fr"]["dev"])
    waveforms = [load_audio(one, 16000) for one in utterances]
    for head in outputs:
        header = files.read_json(tmp_path / f"{head}.json")
        assert header["confidence"] == "mean_token_probability"
        lines = read(tmp_path / f"{head}.jsonl")
        wanted = told.of_language(head).decode(waveforms)
        assert [line["hyp"] for line in lines] == [one.text for one in wanted]
        for line, one in zip(lines, wanted, strict=True):
            assert line["confidence"] == pytest.approx(one.confidence, abs=1e-4)
