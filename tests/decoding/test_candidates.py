"""The best tokens of each emission: the first is the one that was taken, they do not depend on the
batch or on how a tier is computed, and their files are whole or absent."""

import json
import signal
import subprocess
import sys

import numpy
import pyarrow.parquet
import pytest
import soundfile
import torch
from made import ctc_model
from made.decoding import RUN, TIER, read, run, tier_text, write_manifest
from made.toy_model import SAMPLE_RATE, SPEECH, toy_model_path  # noqa: F401 (a fixture)

from warmstart.decoding.candidates import path_of
from warmstart.models import candidates, open_family
from warmstart.models.tier import Tier

COUNT = 5
STREAM = Tier(**TIER)
OPTIONS = {"batch_size": 2, "device": "cpu", "threads": 1}
LOGGED = OPTIONS | {"log_candidates": COUNT}


def test_best_tokens_by_hand():
    # Softmax of log(1, 2, 4, 1): 1/8, 2/8, 4/8, 1/8; the last is the blank.
    scores = torch.tensor([[1.0, 2.0, 4.0, 1.0]]).log()
    tokens, probabilities = candidates.best(scores, torch.tensor([2]), blank=3, count=2)
    assert tokens.tolist() == [[2, 1]]
    assert probabilities[0].tolist() == pytest.approx([0.5, 0.25])
    everything, _ = candidates.best(scores, torch.tensor([2]), blank=3, count=3)
    assert sorted(everything[0].tolist()) == [0, 1, 2], "the blank is no candidate"


def test_of_equal_scores_the_first_is_the_one_that_was_taken():
    scores = torch.zeros(2, 9)
    tokens, _ = candidates.best(scores, torch.tensor([7, 0]), blank=8, count=4)
    assert tokens[:, 0].tolist() == [7, 0]
    assert all(len(set(row)) == 4 for row in tokens.tolist())


def test_an_utterance_without_tokens_has_rows_of_the_same_width():
    nothing = candidates.stacked([], [], 4)
    assert (nothing.tokens.shape, nothing.probabilities.shape) == ((0, 4), (0, 4))


# ---- real models


@pytest.fixture(scope="module")
def speech():
    files = sorted(SPEECH.glob("*/*.flac"))[:8]
    return [soundfile.read(path, dtype="float32")[0] for path in files]


@pytest.fixture(scope="module", params=["fastconformer_rnnt", "fastconformer_ctc"])
def recogniser(request, tmp_path_factory, toy_model_path):
    if request.param == "fastconformer_rnnt":
        path = toy_model_path
    else:
        path = ctc_model.build(tmp_path_factory.mktemp("ctc"))
    return open_family(request.param).load(path)


@pytest.mark.slow
def test_the_best_candidate_is_the_token_and_nothing_else_changes(recogniser, speech):
    plain = recogniser.decoder(STREAM)
    before = plain.decode(speech)
    heard = plain.with_candidates(COUNT).decode(speech)
    assert plain.decode(speech) == before, "the decoder that was asked is as it was"
    pieces = plain.vocabulary.pieces
    for one, without in zip(heard, before, strict=True):
        assert (one.text, one.emitted) == (without.text, without.emitted)
        assert without.candidates is None
        found = one.candidates
        assert found.tokens.shape == found.probabilities.shape == (len(one.pieces), COUNT)
        assert (found.tokens[:, 0] == found.taken).all()
        spoken = [pieces[token] for token in found.taken]
        assert [piece for piece in spoken if piece] == [
            piece for piece, mine in zip(one.pieces, spoken, strict=True) if mine
        ]
        assert (numpy.diff(found.probabilities, axis=1) <= 0).all()
        assert found.probabilities.min() >= 0
        assert found.probabilities.sum(axis=1).max() <= 1 + 1e-5
        assert all(len(set(row)) == COUNT for row in found.tokens.tolist())
    assert sum(len(one.pieces) for one in heard) > 100


@pytest.mark.slow
def test_batched_is_alone_and_streaming_is_the_full_forward_under_its_mask(recogniser, speech):
    streaming = recogniser.decoder(STREAM).with_candidates(COUNT)
    offline = recogniser.decoder(Tier("full", STREAM.left, STREAM.right, offline=True))
    together = streaming.decode(speech)
    ways = {
        "alone": [streaming.decode([samples])[0] for samples in speech],
        "live": [streaming.chunk_by_chunk().decode([samples])[0] for samples in speech],
        "offline": offline.with_candidates(COUNT).decode(speech),
    }
    for name, found in ways.items():
        for one, other in zip(together, found, strict=True):
            assert (one.candidates.taken == other.candidates.taken).all(), name
            # Sums in another order: probabilities differ where logits do (docs/decoding.md).
            numpy.testing.assert_allclose(
                one.candidates.probabilities, other.candidates.probabilities, atol=1e-3
            )
            apart = one.candidates.tokens != other.candidates.tokens
            assert apart.mean() < 0.01, name


@pytest.mark.slow
def test_probabilities_are_those_of_the_networks(recogniser, speech):
    """The first emission of an utterance is conditioned on nothing, so `logits` has its scores."""
    decoder = recogniser.decoder(STREAM)
    kept = decoder.with_candidates(COUNT)
    for samples, logits in zip(speech, decoder.logits(speech), strict=True):
        frame = kept.search([samples])[0].frames[0]
        wanted = logits[frame].softmax(-1)[:-1].topk(COUNT)
        found = kept.decode([samples])[0].candidates
        assert found.tokens[0].tolist() == wanted.indices.tolist()
        numpy.testing.assert_allclose(found.probabilities[0], wanted.values.numpy(), atol=1e-4)


@pytest.mark.slow
def test_more_than_there_are_is_all_of_them(recogniser, speech):
    decoder = recogniser.decoder(STREAM)
    size = len(decoder.vocabulary.pieces)
    found = decoder.with_candidates(10 * size).decode(speech[:1])[0].candidates
    assert found.tokens.shape[1] == size
    assert (numpy.sort(found.tokens, axis=1) == numpy.arange(size)).all()


# ---- the program


def table(path):
    return pyarrow.parquet.read_table(path_of(path))


def about_of(path):
    """What the metadata of a file say."""
    return json.loads(pyarrow.parquet.read_metadata(path_of(path)).metadata[b"warmstart"])


@pytest.mark.slow
def test_off_the_files_are_those_of_before_and_on_the_hypotheses_are(
    toy_model_path,
    tmp_path,
    speech,
    caplog,
):
    clips = {"u0": speech[0], "silent": speech[0][:100], "u1": speech[1]}
    manifest = write_manifest(tmp_path / "a" / "test.jsonl.gz", clips)
    off = run(toy_model_path, tmp_path / "off", {"a": manifest}, settings=OPTIONS)["a"]
    zero = OPTIONS | {"log_candidates": 0}
    assert run(toy_model_path, tmp_path / "off", {"a": manifest}, settings=zero)["a"] == off
    assert {path.name for path in off.parent.iterdir()} == {".kept", "a.json", "a.jsonl"}
    on = run(toy_model_path, tmp_path / "on", {"a": manifest}, settings=LOGGED)["a"]
    assert on.read_bytes() == off.read_bytes()
    headers = [json.loads(path.with_suffix(".json").read_text()) for path in (off, on)]
    assert headers[0]["fingerprint"] == headers[1]["fingerprint"]
    assert "candidates" not in headers[0]

    found = table(on)
    lines = {line["id"]: line["tokens"] for line in read(on)}
    assert found.num_rows == sum(map(len, lines.values())) == headers[1]["tokens"]
    assert set(found["id"].to_pylist()) == {"u0", "u1"}, "an utterance without tokens has no row"
    about = about_of(on)
    for row in found.to_pylist():
        token = lines[row["id"]][row["emission"]]
        assert row["time_s"] == token["time_s"]
        assert about["pieces"][row["token"]] in (token["piece"], "")
        assert row["candidates"][0] == row["token"]
        assert len(row["candidates"]) == len(row["probabilities"]) == about["count"] == COUNT

    # Off again: what is there is left alone. Another K: decoded again.
    before = on.stat().st_mtime_ns
    run(toy_model_path, tmp_path / "on", {"a": manifest}, settings=OPTIONS)
    assert on.stat().st_mtime_ns == before
    more = LOGGED | {"log_candidates": 100000}
    run(toy_model_path, tmp_path / "on", {"a": manifest}, settings=more)
    count = about_of(on)["count"]
    assert count == len(about["pieces"]) < 100000
    assert f"the model has {count} tokens: all of them are kept" in caplog.text
    assert on.read_bytes() == off.read_bytes()


@pytest.mark.slow
def test_candidates_that_are_damaged_or_gone_are_made_again(toy_model_path, tmp_path, speech):
    manifest = write_manifest(tmp_path / "a" / "test.jsonl.gz", {"u0": speech[0]})
    out = run(toy_model_path, tmp_path, {"a": manifest}, settings=LOGGED)["a"]
    whole = path_of(out).read_bytes()
    for path in (out, out.with_suffix(".json"), path_of(out)):
        path.unlink()  # as Snakemake does before a job
    before = (out.parent / ".kept" / "a.jsonl").stat().st_mtime_ns
    run(toy_model_path, tmp_path, {"a": manifest}, settings=LOGGED)
    assert path_of(out).read_bytes() == whole
    assert out.stat().st_mtime_ns == before, "the second name was given back, nothing was decoded"
    path_of(out).write_bytes(whole[:-9])
    run(toy_model_path, tmp_path, {"a": manifest}, settings=LOGGED)
    assert path_of(out).read_bytes() == whole
    path_of(out).unlink()
    (out.parent / ".kept" / path_of(out).name).unlink()
    run(toy_model_path, tmp_path, {"a": manifest}, settings=LOGGED)
    assert path_of(out).read_bytes() == whole


KILLED = """
import os, signal, sys
sys.path[:0] = {paths!r}
import decode
from warmstart.decoding import test_set

load, heard = test_set.load_audio, []
def load_audio(utterance, rate):
    heard.append(utterance.id)
    if len(heard) > 4:
        os.kill(os.getpid(), signal.SIGKILL)
    return load(utterance, rate)
test_set.load_audio = load_audio
decode.main({command!r})
"""


@pytest.mark.slow
def test_a_killed_decode_comes_to_the_same_bytes(toy_model_path, tmp_path, speech):
    clips = {f"u{index}": speech[index][: 2 * SAMPLE_RATE + index] for index in range(7)}
    manifest = write_manifest(tmp_path / "a" / "test.jsonl.gz", clips)
    output = tmp_path / "out" / "a.jsonl"
    command = [
        *("--model", str(toy_model_path), "--run", RUN, "--precision", "full"),
        *("--tier", tier_text(TIER), "--settings", json.dumps(LOGGED)),
        *("--cuts", f"it/a={manifest}", "--output", f"it/a={output}"),
    ]
    program = KILLED.format(paths=[path for path in sys.path if path], command=command)
    killed = subprocess.run([sys.executable, "-c", program], capture_output=True, check=False)
    assert killed.returncode == -signal.SIGKILL, killed.stderr.decode()[-2000:]
    assert [path.name for path in output.parent.iterdir()] == [".a.journal"]
    out = run(toy_model_path, tmp_path, {"a": manifest}, settings=LOGGED)["a"]
    whole = run(toy_model_path, tmp_path / "whole", {"a": manifest}, settings=LOGGED)["a"]
    assert path_of(out).read_bytes() == path_of(whole).read_bytes()
    assert out.read_bytes() == whole.read_bytes()
    # A journal without candidates is of no use to a decode that keeps them.
    assert not list(output.parent.glob(".*.journal"))
