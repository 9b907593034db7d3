"""One encoder with a head a language, trained on two languages of synthetic speech, killed, resumed
and decoded through the programs."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from made.decoding import read
from made.programs import SCRIPTS
from made.small_speech import SETTINGS, corpus, rows

from warmstart.data import cut_lines, mixing
from warmstart.run import files
from warmstart.run.errors import UserError

RUN = "it+fr/w2v/0.024h/seed1"
OF_RUN = ("--run", RUN, "--family", "wav2vec2_ctc")
TIER = "offline:70:13:offline"
OPTIONS = json.dumps({"batch_size": 4, "device": "cpu", "threads": 1})
MORE = {
    "steps": {"fixed": 24},
    "checkpoint_every_steps": 4,
    "log_every_steps": 2,
    "spec_augment": {"freq_masks": 0, "freq_width": 1, "time_masks": 1, "time_width": 0.05},
}


@pytest.fixture(scope="module")
def two(speech, tmp_path_factory):
    """Italian, French, and their cuts in turn."""
    folder = tmp_path_factory.mktemp("two")
    french = corpus(folder, "fr")
    parts = [mixing.Part("it", speech["train"], 1), mixing.Part("fr", french["train"], 1)]
    mixed = folder / "mixed.jsonl.gz"
    with cut_lines.writing(mixed) as output:
        for _, cut in mixing.interleaved(parts):
            output.write(cut_lines.line(cut))
    return {"it": speech, "fr": french, "mixed": mixed}


@pytest.fixture(scope="module")
def donor(tmp_path_factory):
    """A random wav2vec 2.0 of a few thousand weights, as a snapshot."""
    import torch
    import transformers

    folder = tmp_path_factory.mktemp("donor")
    config = transformers.Wav2Vec2Config(
        hidden_size=32,
        num_hidden_layers=1,
        num_attention_heads=4,
        intermediate_size=48,
        conv_dim=[16] * 7,
        num_conv_pos_embeddings=16,
        num_conv_pos_embedding_groups=4,
        feat_extract_norm="layer",
        do_stable_layer_norm=True,
    )
    torch.manual_seed(1)
    transformers.Wav2Vec2Model(config).save_pretrained(folder)
    return folder


def start(program, *arguments):
    return subprocess.Popen(
        [sys.executable, str(SCRIPTS / f"{program}.py"), *map(str, arguments)],
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def finish(process, status=0) -> str:
    said, _ = process.communicate(timeout=600)
    assert process.returncode == status, said
    return said


def training(two, donor, run_dir, cuts=None, heads=("it", "fr")):
    return [
        *("--train-cuts", cuts or two["mixed"], "--init", donor, *OF_RUN),
        *("--dev-cuts", *(f"{lang}={two[lang]['dev']}" for lang in ("it", "fr"))),
        *("--tokenizer", *(f"{lang}={two[lang]['tokenizer']}" for lang in heads)),
        *("--settings", json.dumps(SETTINGS | MORE), "--run-dir", run_dir),
        *("--output", run_dir / "model.safetensors"),
    ]


@pytest.fixture(scope="module")
def finished(two, donor, tmp_path_factory) -> Path:
    run_dir = tmp_path_factory.mktemp("finished")
    finish(start("train", *training(two, donor, run_dir)))
    return run_dir


@pytest.mark.slow
def test_the_record_says_of_each_head_what_it_is(finished, two):
    record = files.read_json(finished / "run.json")
    assert set(record["parameters"]) == {"encoder", "head_it", "head_fr"}
    assert record["input_digests"]["tokenizer"] == {
        lang: files.digest(two[lang]["tokenizer"] / "tokenizer.model") for lang in ("it", "fr")
    }
    assert set(record["start_digests"]) == set(record["parameters"])
    assert set(record["language_hours"]) == {"it", "fr"}
    curve = rows(finished)
    assert float(curve[-1]["loss"]) < float(curve[0]["loss"])
    assert float(curve[-1]["dev_wer"]) >= 0


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
    assert list((tmp_path / "checkpoints").glob("step-*.ckpt"))
    assert "continuing from" in finish(start("train", *training(two, donor, tmp_path)))
    assert files.digest(tmp_path / "model.safetensors") == files.digest(
        finished / "model.safetensors"
    )


@pytest.mark.slow
def test_a_usual_decode_has_the_head_of_the_test_sets_language_and_a_crossed_one_all(
    finished, two, tmp_path
):
    model = ("--model", finished / "model.safetensors", *OF_RUN, "--tier", TIER)
    cuts = ("--cuts", *(f"{lang}/dev={two[lang]['dev']}" for lang in ("it", "fr")))
    usual = [f"{lang}/dev={tmp_path / lang}.jsonl" for lang in ("it", "fr")]
    options = ("--settings", OPTIONS)
    finish(
        start("decode", *model, "--precision", "full", *cuts, "--output", *usual, *options),
    )
    crossed = {
        f"{head}:{lang}/dev": tmp_path / "heads" / head / f"{lang}_dev.jsonl"
        for head in ("it", "fr")
        for lang in ("it", "fr")
    }
    outputs = [f"{name}={path}" for name, path in crossed.items()]
    finish(start("cross_decode", *model, *cuts, "--output", *outputs, *options))
    for name, path in crossed.items():
        head, lang = name[:2], name[3:5]
        header, lines = files.read_json(path.with_suffix(".json")), read(path)
        assert (header["head"], header["lang"], header["test_set"]) == (head, lang, "dev")
        assert header["heads"] == ["it", "fr"]
        assert header["confidence"] == "tsallis_0.33_exp"
        assert header["head_bytes"] == 4 * 33 * (header_labels(two, head) + 1)
        assert header["switch_ms"] > 0
        assert all(0 <= line["confidence"] <= 1 for line in lines)
        assert all(line["confidence"] == 0 for line in lines if not line["hyp"])
        own = read(tmp_path / f"{lang}.jsonl")
        texts = [{**line, "confidence": 0} for line in own]
        if head == lang:
            assert [{**line, "confidence": 0} for line in lines] == texts
        else:
            assert [line["ref"] for line in lines] == [line["ref"] for line in own]
    times = {path: path.stat().st_mtime_ns for path in crossed.values()}
    finish(start("cross_decode", *model, *cuts, "--output", *outputs, *options))
    assert {path: path.stat().st_mtime_ns for path in crossed.values()} == times


def header_labels(two, lang):
    """Tokens of a language."""
    import sentencepiece

    model = two[lang]["tokenizer"] / "tokenizer.model"
    return sentencepiece.SentencePieceProcessor(model_file=str(model)).vocab_size()


@pytest.mark.slow
def test_a_head_that_nothing_teaches_and_speech_without_a_head_are_refused(two, donor, tmp_path):
    said = finish(start("train", *training(two, donor, tmp_path, two["it"]["train"])), 1)
    assert "no cut of fr, whose head would stay as it was drawn" in said
    only = ("it",)
    said = finish(start("train", *training(two, donor, tmp_path, heads=only)), 1)
    assert "cuts of fr, and there are heads of it; add --tokenizer fr=FOLDER" in said
    assert "Traceback" not in said


def test_a_cut_of_a_language_without_a_head_is_named():
    from types import SimpleNamespace

    from warmstart.models.batches import LanguageDataset

    dataset = LanguageDataset({"it": lambda text: [1]})
    spoken = SimpleNamespace(text="uno", language="fr")
    cut = SimpleNamespace(id="cut-7", custom=None, supervisions=[spoken])
    with pytest.raises(UserError, match="cut cut-7 is of language fr, and the model has heads for"):
        dataset._tokens(cut)
    spoken.language = "it"
    assert dataset._tokens(cut) == [1]
