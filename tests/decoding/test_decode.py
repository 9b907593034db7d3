"""Streaming through the cache gives the tokens of the same-mask full forward; hypothesis files are
current, whole or absent."""

import hashlib
import json
import shutil
import signal
import subprocess
import sys

import numpy
import pytest
import soundfile
from hypothesis import HealthCheck, given, settings, strategies
from made import toy_model
from made.decoding import (
    HOP,
    KEYS,
    RUN,
    TIER,
    edge_lengths,
    read,
    run,
    tier_text,
    write_manifest,
)
from made.toy_model import CONTEXTS, SAMPLE_RATE, SPEECH, toy_model_path  # noqa: F401 (a fixture)

from warmstart.data.audio import load_audio
from warmstart.data.utterances import read_test_set
from warmstart.decoding import devices, test_set
from warmstart.decoding.journal import Journal
from warmstart.models.fastconformer import load
from warmstart.models.fastconformer.decoder import Decoder
from warmstart.models.fastconformer.found import Found
from warmstart.models.fastconformer.streaming_encoder import EncoderSteps
from warmstart.models.tier import Tier
from warmstart.run import numbers
from warmstart.run.errors import UserError

pytestmark = pytest.mark.slow

LOGIT_BOUND = 1e-3


@pytest.fixture(scope="module")
def model(toy_model_path):
    return load.load_model(toy_model_path)


@pytest.fixture(scope="module")
def speech():
    """Real recordings, 1 to 6 s, and all of them in one of 60 s."""
    clips = [
        soundfile.read(path, dtype="float32")[0] for path in sorted(SPEECH.glob("*/*.flac"))[:24]
    ]
    long = numpy.concatenate(clips)
    return [*clips, numpy.concatenate([long, long])[: 60 * SAMPLE_RATE]]


def decoded_by_nemo(model, samples, context):
    """Tokens and frames of one full forward under the tier's mask, with NeMo's own search and
    nothing of ours."""
    import torch

    model.encoder.set_default_att_context_size(context)
    with torch.inference_mode():
        encoded, lengths = model(
            input_signal=torch.from_numpy(samples)[None],
            input_signal_length=torch.tensor([len(samples)]),
        )
        found = model.decoding.rnnt_decoder_predictions_tensor(
            encoded, lengths, return_hypotheses=True
        )[0]
    return Found(list(map(int, found.y_sequence)), list(map(int, found.timestamp)), int(lengths))


@pytest.mark.parametrize("context", CONTEXTS)
def test_streaming_gives_the_tokens_of_the_full_forward(model, speech, context):
    long = speech[-1] if context == [70, 6] else speech[-1][: 15 * SAMPLE_RATE]
    audio = [
        *speech[:12],
        long,
        *(speech[-1][: frames * HOP] for frames in edge_lengths(context[1])),
    ]
    full, stream = (
        Decoder(model, Tier("full", *context, offline=True)),
        Decoder(model, Tier("stream", *context)),
    )
    live = stream.chunk_by_chunk()
    expected = [decoded_by_nemo(model, samples, context) for samples in audio]
    assert sum(len(found.tokens) for found in expected) > 20 * len(expected)
    assert len({tuple(found.tokens) for found in expected}) > 0.4 * len(expected)
    assert [live.search([samples])[0] for samples in audio] == expected, (
        "one by one, chunk by chunk"
    )
    assert [stream.search([samples])[0] for samples in audio] == expected, "one by one"
    batched = [
        found
        for start in range(0, len(audio), 32)
        for found in stream.search(audio[start : start + 32])
    ]
    assert batched == expected, "in batches of 32"
    short = [index for index, samples in enumerate(audio) if len(samples) < 10 * SAMPLE_RATE]
    assert full.search([audio[index] for index in short]) == [expected[index] for index in short], (
        "full forward, one batch"
    )
    # What a batch does change: float32 sums in another order. The bound that docs/decoding.md
    # states.
    for alone, together in ((full, full), (stream, stream), (live, stream)):
        apart = [alone.logits([samples])[0] for samples in audio[8:16]]
        largest = max(
            float((a - b).abs().max())
            for a, b in zip(apart, together.logits(audio[8:16]), strict=True)
        )
        assert largest < LOGIT_BOUND


# Feature frames: the first chunk of [70, 1] has 9, later ones 16; 700 are several chunks at every
# tier.
mixes = strategies.lists(
    strategies.tuples(strategies.integers(1, 700), strategies.integers(0, 5000)),
    min_size=1,
    max_size=32,
)


@settings(max_examples=15, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(
    context=strategies.sampled_from(CONTEXTS),
    mix=mixes,
    step_frames=strategies.sampled_from([0, 20, 64, 500]),
)
def test_no_mix_of_lengths_no_order_and_no_step_changes_a_token(
    model, speech, context, mix, step_frames
):
    audio = [speech[-1][start * HOP : (start + frames) * HOP] for frames, start in mix]
    expected = [decoded_by_nemo(model, samples, context) for samples in audio]
    assert (
        Decoder(model, Tier("stream", *context), step_frames=step_frames).search(audio) == expected
    )


def test_contexts_differ_so_equality_means_something(model, speech):
    tokens = [
        Decoder(model, Tier("t", *context)).search(speech[:1])[0].tokens for context in CONTEXTS
    ]
    assert len({tuple(row) for row in tokens}) == len(CONTEXTS)


def test_order_in_the_batch_does_not_matter(model, speech):
    decoder = Decoder(model, Tier("t", 70, 1))
    forwards = decoder.search(speech[:8])
    assert decoder.search(speech[7::-1]) == forwards[::-1]


def test_audio_shorter_than_a_feature_frame_gives_nothing(model, speech):
    for offline in (False, True):
        found = Decoder(model, Tier("t", 70, 6, offline)).search(
            [speech[0][:100], speech[0][:8000]]
        )
        assert found[0] == Found()
        assert found[1].encoder_frames > 0


class Counting(EncoderSteps):
    """Notes what every step is given: utterances, encoder frames of a whole one."""

    def __init__(self, encoder, most_frames):
        super().__init__(encoder, most_frames)
        self.seen = []

    def step(self, features, lengths, dropped, caches):
        encoded, *rest = super().step(features, lengths, dropped, caches)
        self.seen.append(encoded.shape[:2])
        return encoded, *rest


# 49 feature frames fill the first chunk of 7 encoder frames, 56 every later one: 1, 4 and 2 chunks.
# 28 frames are one chunk of three utterances (21), two of two, and no more than the longest has
# left.
@pytest.mark.parametrize(
    ("step_frames", "steps"),
    [(0, [(3, 7), (2, 7), (1, 7), (1, 7)]), (28, [(3, 7), (2, 14), (1, 7)]), (84, [(3, 28)])],
)
def test_steps_are_filled_with_chunks_and_finished_utterances_leave(
    model, speech, step_frames, steps
):
    audio = [speech[-1][: frames * HOP] for frames in (20, 217, 105)]
    counting, steps_ms = Counting(model.encoder, 84), []
    decoder = Decoder(model, Tier("t", 70, 6), counting)
    decoder._step_frames = step_frames
    found = decoder.search(audio, steps_ms=steps_ms)
    assert counting.seen == steps
    assert len(steps_ms) == len(steps)
    assert found == [decoded_by_nemo(model, samples, [70, 6]) for samples in audio]


def test_emission_waits_for_the_chunk_but_not_beyond_the_end(model):
    found = Found(tokens=[1, 2, 3, 4], frames=[0, 6, 7, 14], encoder_frames=16)
    assert Decoder(model, Tier("t", 70, 6)).emission_s(found) == [0.48, 0.48, 1.04, 1.2]
    assert Decoder(model, Tier("t", 70, 6, True)).emission_s(found) == [0.0, 0.48, 0.56, 1.12]


# ---- the program


def test_program_writes_hypotheses_in_manifest_order_and_decodes_only_what_is_new(
    toy_model_path, tmp_path, speech, model
):
    first = write_manifest(
        tmp_path / "a" / "test.jsonl.gz", {f"u{index}": speech[index] for index in (0, 3, 1, 5, 2)}
    )
    out = run(toy_model_path, tmp_path, {"first": first})
    lines, header = read(out["first"]), json.loads(out["first"].with_suffix(".json").read_text())
    assert [line["id"] for line in lines] == ["u0", "u3", "u1", "u5", "u2"]
    assert lines[0]["ref"] == "Testo u0."
    assert lines[0]["block"] == "block-u0"
    decoder = Decoder(model, Tier(**TIER))
    expected = decoder.search([speech[0]])[0]
    assert lines[0]["hyp"] == decoder.text(expected) != ""
    assert [token["piece"] for token in lines[0]["tokens"]] == decoder.pieces(expected)
    assert {key: header[key] for key in KEYS} == KEYS
    assert header["test_set"] == "first"
    assert header["lookahead_ms"] == 560
    assert header["encoder_sha256"] is None
    assert header["rtfx"] > 0
    checked, shortest = (
        header["batch_check"],
        sorted(len(speech[index]) for index in (0, 3, 1, 5, 2))[:4],
    )
    assert checked["utterances"] == 4  # all but the longest: the last is at nine tenths
    assert checked["differing_utterances"] == 0
    assert 0 < checked["max_logit_difference"] < LOGIT_BOUND
    # Chunks of one stream: the first of 0.49 s, the others of 0.56 s.
    assert checked["chunks"] == sum(1 + -(-(1 + samples // HOP - 49) // 56) for samples in shortest)
    assert checked["chunk_ms_p95"] >= checked["chunk_ms_median"] > 0
    assert header["audio_s"] == pytest.approx(sum(line["duration_s"] for line in lines), abs=0.01)

    before = out["first"].stat().st_mtime_ns
    second = write_manifest(tmp_path / "b" / "test.jsonl.gz", {"v0": speech[4]})
    both = run(toy_model_path, tmp_path, {"first": first, "second": second})
    assert out["first"].stat().st_mtime_ns == before, "a current file was decoded again"
    assert len(read(both["second"])) == 1

    out["first"].write_text(out["first"].read_text()[:100])
    assert len(read(run(toy_model_path, tmp_path, {"first": first})["first"])) == 5, (
        "a damaged file was taken for current"
    )
    write_manifest(first, {"u0": speech[0]})
    assert len(read(run(toy_model_path, tmp_path, {"first": first})["first"])) == 1, (
        "a changed manifest was not seen"
    )


def test_joined_intervals_are_one_utterance_and_other_rates_are_resampled(tmp_path, speech):
    from lhotse import CutSet, MonoCut, Recording, SupervisionSegment

    soundfile.write(tmp_path / "session.wav", speech[-1], SAMPLE_RATE)
    recording = Recording.from_file(tmp_path / "session.wav")
    text = SupervisionSegment("s", recording.id, 0.0, 2.0, text="due pezzi")
    first = MonoCut(
        "joined",
        1.0,
        2.0,
        0,
        supervisions=[text],
        recording=recording,
        custom={"block": "b", "corpus": "c"},
    )
    second = MonoCut("later", 5.0, 1.5, 0, supervisions=[], recording=recording)
    joined = first.append(second)
    joined.id = "joined"
    soundfile.write(tmp_path / "narrow.wav", speech[0][::2], SAMPLE_RATE // 2)
    narrow = Recording.from_file(tmp_path / "narrow.wav").to_cut()
    narrow.supervisions = [
        SupervisionSegment("n", narrow.recording.id, 0.0, narrow.duration, text="stretto")
    ]
    CutSet.from_cuts([joined, narrow]).to_file(tmp_path / "test.jsonl.gz")
    found = read_test_set(tmp_path / "test.jsonl.gz")
    assert [(u.id, u.text, u.duration_s) for u in found] == [
        ("joined", "due pezzi", 3.5),
        ("narrow", "stretto", narrow.duration),
    ]
    assert found[0].block == "b"
    for _ in range(2):
        samples = load_audio(found[0], SAMPLE_RATE)
        assert len(samples) == 3.5 * SAMPLE_RATE
        wanted = numpy.concatenate(
            [
                speech[-1][SAMPLE_RATE : 3 * SAMPLE_RATE],
                speech[-1][5 * SAMPLE_RATE : int(6.5 * SAMPLE_RATE)],
            ]
        )
        numpy.testing.assert_allclose(samples, wanted, atol=1e-4)
    assert len(load_audio(found[1], SAMPLE_RATE)) == pytest.approx(len(speech[0]), abs=2)


def test_offline_tier_is_one_forward_with_times_at_the_frame(
    toy_model_path, tmp_path, speech, model
):
    tier = {"name": "offline", "left": 70, "right": 13, "offline": True}
    manifest = write_manifest(tmp_path / "a" / "test.jsonl.gz", {"u": speech[0]})
    out = run(toy_model_path, tmp_path, {"a": manifest}, tier=tier)
    expected = Decoder(model, Tier(**tier)).search([speech[0]])[0]
    assert [token["time_s"] for token in read(out["a"])[0]["tokens"]] == [
        round(frame * 0.08, 2) for frame in expected.frames
    ]
    assert (
        json.loads(out["a"].with_suffix(".json").read_text())["batch_check"]["chunk_ms_median"]
        is None
    )


def test_bad_input_is_named_and_leaves_no_file(toy_model_path, tmp_path, speech):
    broken = speech[0].copy()
    broken[100] = numpy.nan
    manifest = write_manifest(
        tmp_path / "nan" / "test.jsonl.gz", {"good": speech[1], "bad": broken}
    )
    with pytest.raises(UserError, match=r"cut bad: the waveform holds NaN"):
        run(toy_model_path, tmp_path, {"nan": manifest})
    empty = write_manifest(tmp_path / "empty" / "test.jsonl.gz", {})
    with pytest.raises(UserError, match="no utterances"):
        run(toy_model_path, tmp_path, {"empty": empty})
    good = write_manifest(tmp_path / "good" / "test.jsonl.gz", {"good": speech[1]})
    with pytest.raises(
        UserError, match=r"tier 320ms: context \[70, 3\] was not trained .*\[70, 13\]"
    ):
        run(
            toy_model_path,
            tmp_path,
            {"good": good},
            tier={"name": "320ms", "left": 70, "right": 3, "offline": False},
        )
    with pytest.raises(UserError, match="no such file"):
        run(tmp_path / "none.nemo", tmp_path, {"good": good})
    (tmp_path / "broken.nemo").write_bytes(toy_model_path.read_bytes()[:10000])
    with pytest.raises(UserError, match="cannot be restored"):
        run(tmp_path / "broken.nemo", tmp_path, {"good": good})
    shutil.rmtree(tmp_path / "good")
    with pytest.raises(UserError, match="no such file"):
        run(toy_model_path, tmp_path, {"good": good})
    assert not list(tmp_path.glob("out/*.json*"))


KILLED = """
import os, signal, sys
sys.path[:0] = {paths!r}
import decode
from warmstart.decoding import test_set

load, heard = test_set.load_audio, []
def load_audio(utterance, rate):
    heard.append(utterance.id)
    if len(heard) > {after}:
        os.kill(os.getpid(), signal.SIGKILL)
    return load(utterance, rate)
test_set.load_audio = load_audio
decode.main({command!r})
"""


def test_killed_decode_leaves_no_file_and_goes_on_without_what_was_finished(
    toy_model_path, tmp_path, speech, monkeypatch
):
    """The process is really killed, while it reads the audio of its third batch of two."""
    manifest = write_manifest(
        tmp_path / "a" / "test.jsonl.gz", {f"u{index}": speech[index] for index in range(7)}
    )
    options = {"batch_size": 2, "device": "cpu", "threads": 1}
    command = [
        "--model",
        str(toy_model_path),
        *("--run", RUN, "--precision", "full"),
        "--tier",
        tier_text(TIER),
    ]
    command += [
        "--settings",
        json.dumps(options),
        "--cuts",
        f"it/a={manifest}",
        "--output",
        f"it/a={tmp_path / 'out' / 'a.jsonl'}",
    ]
    program = KILLED.format(paths=[path for path in sys.path if path], after=4, command=command)
    killed = subprocess.run([sys.executable, "-c", program], capture_output=True, check=False)
    assert killed.returncode == -signal.SIGKILL, killed.stderr.decode()[-2000:]
    journal = tmp_path / "out" / ".a.journal"
    assert [path.name for path in (tmp_path / "out").iterdir()] == [journal.name]
    with journal.open("ab") as stream:
        stream.write(b'{"index": 6, "li')  # a line that the kill cut off

    decoded, real = [], load_audio
    monkeypatch.setattr(
        "warmstart.decoding.test_set.load_audio",
        lambda utterance, rate: decoded.append(utterance.id) or real(utterance, rate),
    )
    out = run(toy_model_path, tmp_path, {"a": manifest}, settings=options | {"threads": 2})
    by_length = sorted(range(7), key=lambda index: -len(speech[index]))
    header = json.loads(out["a"].with_suffix(".json").read_text())
    checked = header["batch_check"]["utterances"]
    assert decoded[:-checked] == [f"u{index}" for index in by_length[4:]], (
        "finished audio was repeated"
    )
    assert header["threads"] is None, "one number for two speeds"
    assert header["device_name"] == devices.device_name("cpu")
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        ".kept",
        "a.json",
        "a.jsonl",
    ]
    whole = run(toy_model_path, tmp_path / "whole", {"a": manifest}, settings=options)
    assert out["a"].read_bytes() == whole["a"].read_bytes()
    assert (
        header["tokens"] == json.loads(whole["a"].with_suffix(".json").read_text())["tokens"] > 100
    )


def test_what_a_failed_job_had_finished_is_not_decoded_again(
    toy_model_path, tmp_path, speech, monkeypatch
):
    broken = speech[2].copy()
    broken[100] = numpy.nan
    first = write_manifest(tmp_path / "a" / "test.jsonl.gz", {"u0": speech[0], "u1": speech[1]})
    second = write_manifest(tmp_path / "b" / "test.jsonl.gz", {"u2": broken})
    with pytest.raises(UserError, match="cut u2"):
        run(toy_model_path, tmp_path, {"a": first, "b": second})
    for path in (tmp_path / "out").glob("a.json*"):
        path.unlink()  # as Snakemake does with all outputs of a job that failed
    second = write_manifest(tmp_path / "b" / "test.jsonl.gz", {"u2": speech[2]})
    heard, real = [], Decoder.decode

    def counting(self, waveforms, *rest, **more):
        heard.append((self._step_frames, len(waveforms)))
        return real(self, waveforms, *rest, **more)

    monkeypatch.setattr(Decoder, "decode", counting)
    out = run(toy_model_path, tmp_path, {"a": first, "b": second})
    assert [count for step_frames, count in heard if step_frames] == [1], (
        "only the test set that was not there"
    )
    assert [line["id"] for name in "ab" for line in read(out[name])] == ["u0", "u1", "u2"]
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        ".kept",
        "a.json",
        "a.jsonl",
        "b.json",
        "b.jsonl",
    ]


def test_a_test_set_of_long_recordings_is_checked_on_a_piece(toy_model_path, tmp_path, speech):
    manifest = write_manifest(
        tmp_path / "a" / "test.jsonl.gz", {"long": speech[-1], "longer": numpy.tile(speech[-1], 2)}
    )
    out = run(toy_model_path, tmp_path, {"a": manifest})
    checked = json.loads(out["a"].with_suffix(".json").read_text())["batch_check"]
    assert (checked["test_set"], checked["utterances"], checked["differing_utterances"]) == (
        "it/a",
        1,
        0,
    )
    assert checked["chunks"] == 1 + -(-(1 + 30 * SAMPLE_RATE // HOP - 49) // 56)


def test_what_a_batch_changes_is_seen(model, tmp_path, speech):
    """The check compares with what was written: here a token less."""
    utterances = read_test_set(
        write_manifest(tmp_path / "test.jsonl.gz", {"u0": speech[0], "u1": speech[1]})
    )
    decoder, journal = Decoder(model, Tier(**TIER)), Journal(tmp_path / "j", "one")
    test_set.decode_test_set(decoder, utterances, 2, journal, {})
    assert test_set.batch_check(decoder, utterances, 2, journal)["differing_utterances"] == 0
    line = journal.line(1)
    journal.close_batch({1: line | {"tokens": line["tokens"][:-1]}}, {})
    assert test_set.batch_check(decoder, utterances, 2, journal)["differing_utterances"] == 1


def test_nan_of_the_encoder_is_named_and_leaves_no_file(toy_model_path, tmp_path, speech):
    loud = speech[2].copy() * numpy.float32(1e21)  # finite, its power is not
    clips = {"u0": speech[0], "loud": loud, "u1": speech[1]}
    with pytest.raises(
        UserError, match=r"cut loud: the encoder gives NaN or infinity at tier 560ms"
    ):
        run(
            toy_model_path, tmp_path, {"a": write_manifest(tmp_path / "a" / "test.jsonl.gz", clips)}
        )
    assert [path.name for path in (tmp_path / "out").iterdir()] == [".a.journal"]


@pytest.mark.parametrize(
    ("block", "setting", "value"),
    [
        ("encoder", "subsampling_factor", 4),
        ("encoder", "conv_context_size", None),
        ("encoder", "conv_norm_type", "instance_norm"),
        ("preprocessor", "normalize", "per_feature"),
    ],
)
def test_a_model_whose_chunks_would_compute_something_else_is_refused(
    tmp_path, block, setting, value
):
    import nemo.collections.asr as nemo_asr
    from omegaconf import OmegaConf

    config = toy_model.config(toy_model.train_tokenizer(tmp_path / "tokenizer"))
    config[block][setting] = value
    nemo_asr.models.EncDecRNNTBPEModel(OmegaConf.create(config)).save_to(
        str(tmp_path / "other.nemo")
    )
    with pytest.raises(
        UserError, match=rf"{block}\.{setting} is {value!r}, the study's models need"
    ):
        load.load_model(tmp_path / "other.nemo")


def test_percentile_is_the_nearest_rank():
    # 1 to 20: the 10th is the first with half of them at or below it, the 19th with 95 %.
    assert [numbers.percentile(range(1, 21), share) for share in (0, 0.5, 0.95, 1)] == [
        1,
        10,
        19,
        20,
    ]
    assert numbers.percentile([3.0, 8.0], 0.5) == 3.0
    assert numbers.percentile([], 0.5) is None


def test_journal_of_other_inputs_is_begun_anew(tmp_path):
    journal = Journal(tmp_path / "j", "one")
    journal.close_batch({3: {"id": "c"}, 1: {"id": "a"}}, {"n": 2})
    journal.close()
    again = Journal(tmp_path / "j", "one")
    assert (again.finished, list(again.lines()), again.records) == (
        {1, 3},
        [{"id": "a"}, {"id": "c"}],
        [{"n": 2}],
    )
    again.close_batch({2: {"id": "b"}}, {"n": 1})
    assert [line["id"] for line in again.lines()] == ["a", "b", "c"]
    again.close()
    assert Journal(tmp_path / "j", "two").finished == set()
    assert Journal(tmp_path / "j", "one").finished == set()


def test_unknown_device_and_missing_gpu_are_refused():
    import torch

    with pytest.raises(UserError, match="'tpu' is unknown"):
        devices.resolve_device("tpu")
    if not torch.cuda.is_available():
        with pytest.raises(UserError, match="no GPU"):
            devices.resolve_device("cuda")


def test_toy_model_is_of_the_studys_kind(model):
    assert model.encoder.d_model % 64 == 0
    assert [list(c) for c in model.encoder.att_context_size_all] == toy_model.CONTEXTS


def test_a_model_with_one_flipped_bit_is_not_decoded(toy_model_path, tmp_path, speech):
    manifest = write_manifest(tmp_path / "m" / "test.jsonl.gz", {"u": speech[1]})
    path = tmp_path / "model.nemo"
    content = bytearray(toy_model_path.read_bytes())
    (tmp_path / "run.json").write_text(
        json.dumps({"model_sha256": hashlib.sha256(content).hexdigest()})
    )
    content[len(content) // 2] ^= 64
    path.write_bytes(content)
    with pytest.raises(UserError, match=r"model\.nemo: its SHA-256 .* \(rule train\)"):
        run(path, tmp_path, {"u": manifest})
    assert not list(tmp_path.glob("out/*"))
