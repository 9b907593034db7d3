"""One long recording among short ones: batches by seconds, an offline tier without a matrix of all
frames by all, and a line where memory does not suffice."""

import contextlib
import logging
import resource

import numpy
import pytest
import soundfile
from made.decoding import SETTINGS, read, run, write_manifest
from made.toy_model import CONTEXTS, SAMPLE_RATE, SPEECH, toy_model_path  # noqa: F401 (a fixture)

from warmstart.data.utterances import TestUtterance
from warmstart.decoding import test_set
from warmstart.decoding.journal import Journal
from warmstart.models.base import Hypothesis, NotFinite
from warmstart.models.tier import Tier
from warmstart.run.errors import UserError

LONG = {"name": "offline", "left": 70, "right": 13, "offline": True}


@pytest.mark.parametrize(
    ("lengths", "size", "most", "expected"),
    [
        # 600 s alone, then 32 and 32 and the rest of 2 s.
        ([600.0, *[2.0] * 70], 32, 960, [[0], [*range(1, 33)], [*range(33, 65)], [*range(65, 71)]]),
        # Each counts as the longest of its batch: three of 30 s are 90 s, four would be 120.
        ([10.0, 30.0, 20.0, 25.0, 5.0], 32, 90, [[1, 3, 2], [0, 4]]),
        # Longer than a batch may be: alone.
        ([1000.0, 999.0], 32, 960, [[0], [1]]),
        ([4.0, 4.0, 4.0], 2, float("inf"), [[0, 1], [2]]),
        ([], 2, 10, []),
    ],
)
def test_batches_hold_so_many_seconds(lengths, size, most, expected):
    assert list(test_set.batches(lengths, size, most)) == expected


class Narrow:
    """Decodes at most so many samples at a time, padding counted; writes down what it decoded."""

    sample_rate, tier = SAMPLE_RATE, Tier("offline", 70, 13, True)

    def __init__(self, most):
        self.most, self.decoded = most, []

    def decode(self, waveforms, timing=None, steps_ms=None):
        if len(waveforms) * max(map(len, waveforms)) > self.most:
            raise RuntimeError(
                "[enforce fail at alloc_cpu.cpp:117] err == 0. DefaultCPUAllocator: can't allocate "
                "memory: you tried to allocate 37626319920 bytes. Error code 12"
            )
        if any(numpy.isnan(samples).any() for samples in waveforms):
            raise NotFinite(next(i for i, s in enumerate(waveforms) if numpy.isnan(s).any()))
        self.decoded.append(len(waveforms))
        return [Hypothesis(str(len(samples)), ["a"], [0.0]) for samples in waveforms]


def utterances(seconds):
    return [TestUtterance(f"u{i}", "it", "b", s, "", b"") for i, s in enumerate(seconds)]


@pytest.fixture
def silent(monkeypatch):
    """Waveforms of zeros, as long as their utterances."""
    monkeypatch.setattr(
        test_set,
        "load_audio",
        lambda utterance, rate: numpy.zeros(round(utterance.duration_s * rate), "float32"),
    )


def decode(decoder, seconds, journal, batch_duration_s=960):
    return test_set.decode_test_set(decoder, utterances(seconds), 4, journal, {}, batch_duration_s)


def test_a_batch_that_does_not_fit_is_decoded_in_halves(silent, tmp_path, caplog):
    decoder, journal = Narrow(2 * 3 * SAMPLE_RATE), Journal(tmp_path / "j", "x")
    with caplog.at_level(logging.WARNING):
        decoded = decode(decoder, [3, 3, 3, 3, 1], journal)
    assert decoder.decoded == [2, 2, 1]
    assert decoded.tokens == 5
    assert [line["hyp"] for line in journal.lines()] == ["48000"] * 4 + ["16000"]
    [record] = caplog.records
    assert "4 utterances of up to 3 s (u0) do not fit" in record.message
    assert "decoding.batch_duration_s" in record.message


def test_an_utterance_that_does_not_fit_alone_is_named(silent, tmp_path):
    with pytest.raises(UserError) as raised:
        decode(Narrow(2 * SAMPLE_RATE), [3, 1], Journal(tmp_path / "j", "x"))
    said = str(raised.value)
    assert said.startswith("cut u0: out of memory with its 3 s alone at tier offline (")
    assert "you tried to allocate 37626319920 bytes" in said
    assert "raise resources.decode_mem_mb" in said


def test_nan_in_a_half_is_that_of_its_utterance(monkeypatch, tmp_path):
    def load(utterance, rate):
        value = numpy.nan if utterance.id == "u2" else 0
        return numpy.full(round(utterance.duration_s * rate), value, "float32")

    monkeypatch.setattr(test_set, "load_audio", load)
    with pytest.raises(UserError, match="cut u2: the encoder gives NaN"):
        decode(Narrow(2 * 3 * SAMPLE_RATE), [3, 3, 3, 3], Journal(tmp_path / "j", "x"))


def test_what_was_decoded_in_other_batches_is_not_decoded_again(silent, tmp_path):
    seconds = [3, 3, 3, 3, 1]
    first = Narrow(10**9)
    with contextlib.closing(Journal(tmp_path / "j", "x")) as journal:
        test_set.decode_test_set(first, utterances(seconds[:3]), 2, journal, {}, 960)
    again = Narrow(10**9)
    decoded = decode(again, seconds, Journal(tmp_path / "j", "x"), batch_duration_s=7)
    assert again.decoded == [1, 1]
    assert decoded.tokens == 5


# ---- the model


@pytest.fixture(scope="module")
def long_speech():
    clips = [soundfile.read(path, dtype="float32")[0] for path in sorted(SPEECH.glob("*/*.flac"))]
    return numpy.concatenate(clips * 3)[: 80 * SAMPLE_RATE]


@pytest.mark.slow
@pytest.mark.parametrize("context", CONTEXTS)
def test_long_utterances_of_an_offline_tier_have_the_tokens_of_one_forward(
    toy_model_path,
    long_speech,
    context,
    monkeypatch,
):
    from test_decode import decoded_by_nemo

    from warmstart.models.fastconformer import decoder, load

    model = load.load_model(toy_model_path)
    # At 50 frames all but the second are long; at the real bound only the first is.
    audio = [
        long_speech[: seconds * SAMPLE_RATE + odd]
        for seconds, odd in ((62, 0), (3, 5), (4, 0), (20, 77), (13, 9))
    ]
    expected = [decoded_by_nemo(model, samples, context) for samples in audio]
    offline = decoder.Decoder(model, Tier("offline", *context, offline=True))
    assert offline.search(audio) == expected
    assert offline._long is not None
    assert offline.search(audio[1:3]) == expected[1:3]
    monkeypatch.setattr(decoder, "_FULL_FORWARD_FRAMES", 50)
    assert offline.search(audio) == expected
    assert offline.search([audio[0]]) == [expected[0]]
    assert offline.search(audio[::-1]) == expected[::-1]
    assert sum(len(found.tokens) for found in expected) > 100


@pytest.mark.slow
def test_an_offline_decode_of_minutes_takes_little_more_memory_than_one_of_seconds(
    toy_model_path,
    long_speech,
    tmp_path,
):
    """Twelve minutes are 9000 frames: their attention alone would be 4 heads x 9000² x 4 bytes, 1.3
    GB, several times."""
    short = write_manifest(tmp_path / "short" / "test.jsonl.gz", {"a": long_speech[:48000]})
    run(toy_model_path, tmp_path, {"short": short}, tier=LONG, settings=SETTINGS)
    before_kb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    speech = numpy.concatenate([long_speech] * 9)
    manifest = write_manifest(
        tmp_path / "long" / "test.jsonl.gz", {"long": speech, "a": long_speech[:48000]}
    )
    out = run(toy_model_path, tmp_path, {"long": manifest}, tier=LONG, settings=SETTINGS)
    grown_mb = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before_kb) / 1024
    assert [line["id"] for line in read(out["long"])] == ["long", "a"]
    assert len(read(out["long"])[0]["tokens"]) > 100
    assert grown_mb < 900
