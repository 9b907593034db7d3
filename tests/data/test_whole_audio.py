"""Audio that is not whole, or beyond measure, is dropped with its reason; streams of unknown length
are used."""

import struct

import numpy as np
import pytest
import soundfile
from made.speech import encode, recordings, samples

from warmstart.data import manifests
from warmstart.data.corpora import open_corpus
from warmstart.data.corpora.base import Utterance
from warmstart.run import files

SECONDS = 2.5
RATE = 16000
FORMATS = {
    "wav": ("WAV", "PCM_16"),
    "wavex": ("WAVEX", "PCM_24"),
    "float": ("WAV", "FLOAT"),
    "adpcm": ("WAV", "IMA_ADPCM"),
    "rf64": ("RF64", "PCM_16"),
    "w64": ("W64", "PCM_16"),
    "aiff": ("AIFF", "PCM_16"),
    "au": ("AU", "PCM_16"),
    "mu-law": ("AU", "ULAW"),
    "caf": ("CAF", "PCM_16"),
    "alac": ("CAF", "ALAC_16"),
    "nist": ("NIST", "PCM_16"),
    "svx": ("SVX", "PCM_16"),
    "flac": ("FLAC", "PCM_16"),
    "vorbis": ("OGG", "VORBIS"),
    "opus": ("OGG", "OPUS"),
    "mp3": ("MP3", "MPEG_LAYER_III"),
}
# Seen without decoding, from sizes in the head or marks at the end.
BY_CONTAINER = FORMATS.keys() - {"flac", "mp3"}


def noise(seconds=SECONDS):
    return (0.1 * np.random.default_rng(3).standard_normal(int(seconds * RATE))).astype("float32")


def write(path, name, audio=None):
    kind, subtype = FORMATS[name]
    audio = noise() if audio is None else audio
    soundfile.write(path, audio, RATE, format=kind, subtype=subtype)
    return path.read_bytes()


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize("share", [0.3, 0.7, 0.98])
def test_a_file_cut_short_is_dropped_in_every_format(tmp_path, name, share):
    path = tmp_path / "x"
    content = write(path, name)
    whole = manifests.probe(path)
    assert whole.problem is None
    assert whole.duration_s == pytest.approx(SECONDS, abs=0.1)
    assert manifests.probe(path, decode=False).problem is None
    path.write_bytes(content[: int(len(content) * share)])
    if not (name == "mp3" and share == 0.98):  # 50 ms of it: a codec's frame and its padding
        assert manifests.probe(path).problem in ("truncated", "undecodable")
    if name in BY_CONTAINER:
        assert manifests.probe(path, decode=False).problem in ("truncated", "undecodable")


@pytest.mark.parametrize("name", ["vorbis", "opus"])
def test_an_ogg_stream_cut_between_two_pages_has_no_end(tmp_path, name):
    path = tmp_path / "x.ogg"
    content = write(path, name)
    path.write_bytes(content[: content.rindex(b"OggS")])
    for decode in (True, False):
        audio = manifests.probe(path, decode)
        assert (audio.problem, audio.detail[:33]) == (
            "truncated",
            "its last page has no mark of the ",
        )


@pytest.mark.parametrize("name", ["vorbis", "opus"])
def test_an_ogg_stream_with_a_hole_is_dropped(tmp_path, name):
    path = tmp_path / "x.ogg"
    content = write(path, name, noise(8.0))
    pages = [place for place in range(len(content)) if content.startswith(b"OggS", place)]
    assert len(pages) > 5
    path.write_bytes(content[: pages[3]] + content[pages[4] :])
    assert manifests.probe(path).detail == f"pages are missing before byte {pages[3]}"
    path.write_bytes(content[: pages[3] + 40] + content[pages[3] + 90 :])
    assert "a part of it is missing or damaged" in manifests.probe(path).detail


def test_tags_behind_an_ogg_stream_do_no_harm(tmp_path):
    path = tmp_path / "x.ogg"
    path.write_bytes(write(path, "vorbis") + b"TAG" + bytes(125))
    for decode in (True, False):
        assert manifests.probe(path, decode).problem is None


@pytest.mark.parametrize("name", ["wav", "float", "au", "aiff"])
@pytest.mark.parametrize(
    "size", [0xFFFFFFFF, 0x7FFFFFFF, 2_000_000_000, 0x7FFFFFFF - 36, 0x80000000]
)
def test_headers_of_streams_of_unknown_length_stay_usable(tmp_path, name, size):
    if name == "au" and size in (0x7FFFFFFF, 0x80000000):
        pytest.skip("libsndfile reads nothing of an AU file with these; 0xFFFFFFFF is its unknown")
    path = tmp_path / "x"
    content = bytearray(write(path, name))
    order, mark, after = {
        "wav": ("<", b"data", 4),
        "float": ("<", b"data", 4),
        "aiff": (">", b"SSND", 4),
        "au": (">", b".snd", 8),
    }[name]
    place = content.index(mark) + after
    content[place : place + 4] = struct.pack(order + "I", size)
    path.write_bytes(content)
    for decode in (True, False):
        audio = manifests.probe(path, decode)
        assert (audio.problem, audio.frames) == (None, len(noise()))


@pytest.mark.parametrize("decode", [True, False])
def test_a_flac_of_unknown_length_never_becomes_a_cut_of_ages(tmp_path, decode):
    path = tmp_path / "x.flac"
    content = bytearray(write(path, "flac"))
    # STREAMINFO: 36 bits of the number of samples, 0 where an encoder wrote to a pipe.
    content[21] &= 0xF0
    content[22:26] = bytes(4)
    path.write_bytes(content)
    audio = manifests.probe(path, decode)
    assert audio.problem == "unknown_length"
    assert "write it again, e.g. ffmpeg" in audio.detail


def test_a_flac_that_claims_more_than_a_thousand_hours_is_dropped_unread(tmp_path):
    path = tmp_path / "x.flac"
    content = bytearray(write(path, "flac"))
    content[21] |= 0x0F
    content[22:26] = b"\xff" * 4
    path.write_bytes(content)
    assert manifests.probe(path, decode=False).problem == "bad_length"


@pytest.mark.parametrize(
    ("rate", "problem"), [(1, "bad_rate"), (8000, None), (3_000_000, "bad_rate")]
)
@pytest.mark.parametrize("decode", [True, False])
def test_rates_out_of_any_measure_are_dropped(tmp_path, rate, problem, decode):
    path = tmp_path / "x.wav"
    soundfile.write(path, noise(), rate, subtype="PCM_16")
    assert manifests.probe(path, decode).problem == problem


@pytest.mark.parametrize(
    ("scale", "broken", "problem"),
    [(1.0, 0.5, None), (7.9, 7.9, None), (32768.0, 32768.0, "too_loud"), (1.0, 1e30, "too_loud")],
    ids=["whole", "over full scale", "never divided by 32768", "one broken sample"],
)
def test_samples_beyond_measure_are_dropped_with_their_scale(tmp_path, scale, broken, problem):
    audio = noise() / np.abs(noise()).max() * np.float32(scale)
    audio[100] = broken
    path = tmp_path / "x.wav"
    soundfile.write(path, audio, RATE, subtype="FLOAT")
    found = manifests.probe(path)
    assert found.problem == problem
    if problem:
        said = f"a sample of {broken:.3g}, where full scale is 1 and 8 the most"
        remedy = "; divide its samples by 32768" if scale == 32768 else ""
        assert found.detail == said + remedy


def test_a_format_of_which_a_cut_file_looks_whole_is_named(tmp_path):
    path = tmp_path / "x.sf"
    soundfile.write(path, noise(), RATE, format="IRCAM")
    audio = manifests.probe(path)
    assert audio.problem == "unchecked_format"
    assert "ffmpeg -i x.sf x.flac" in audio.detail


def test_a_file_of_less_than_one_sample_at_16_khz_is_empty(tmp_path):
    path = tmp_path / "x.wav"
    for frames, problem in ((1, "zero_length"), (2, None)):
        soundfile.write(path, np.full(frames, 0.1), 48000, subtype="PCM_16")
        assert manifests.probe(path).problem == manifests.probe(path, decode=False).problem
        assert manifests.probe(path).problem == problem


def digest(path):
    return manifests.probe(path).digest


def test_equal_samples_have_one_digest_whatever_holds_them(tmp_path):
    audio = (noise() * 32767).astype("int16")
    audio[::5] = 0
    paths = [tmp_path / f"x.{suffix}" for suffix in ("wav", "flac", "aiff", "w64")]
    for path in paths:
        soundfile.write(path, audio, RATE)
    floats = np.where(audio == 0, np.float32(-0.0), audio / np.float32(32768))
    soundfile.write(tmp_path / "float.wav", floats, RATE, subtype="FLOAT")
    both = np.stack([audio, audio[::-1]], axis=1)
    soundfile.write(tmp_path / "stereo.wav", both, RATE)
    names = [*paths, tmp_path / "float.wav", tmp_path / "stereo.wav"]
    assert len({digest(path) for path in names}) == 1
    assert digest(paths[0]) != b""
    soundfile.write(paths[0], audio, RATE // 2)
    soundfile.write(paths[1], np.roll(audio, 1), RATE)
    assert len({digest(path) for path in names[:3]}) == 3
    assert manifests.probe(paths[0], decode=False).digest == b""


class OneFile:
    """A corpus of one file, read at several places."""

    def __init__(self, path, intervals):
        self.corpus = open_corpus("own", "it", {"kind": "local", "directory": "x"})
        self.corpus.read = lambda *_: (
            Utterance(f"u{n}", path, "uno", None, "b", parts) for n, parts in enumerate(intervals)
        )
        self.corpus.options["max_drop_fraction"] = 1


def test_intervals_that_hold_no_sample_are_left_out_or_drop_their_utterance(tmp_path):
    path = encode(samples(recordings()[0][0])[:32000], tmp_path / "x.wav")
    sample = 1 / RATE
    parts = [
        ((0.5, 1.0), (1.2, 1.2 + sample / 3), (1.5, 2.0)),
        ((1.2, 1.2 + sample / 3),),
        ((2.0 - sample, 2.05),),
        ((1e300, 1e301),),
    ]
    corpus = OneFile(path, parts).corpus
    output = tmp_path / "m.jsonl.gz"
    manifests.build(corpus, "train", tmp_path, output, tmp_path / "m.json")
    made = list(manifests.cut_lines.read(output))
    assert [len(cut.get("tracks", [0])) for cut in made] == [2, 1]
    assert [manifests.cut_lines.duration_s(cut) for cut in made] == [1.0, sample]
    report = files.read_json(tmp_path / "m.json")
    assert {reason: one["cuts"] for reason, one in report["dropped"].items()} == {"bad_interval": 2}


def test_an_interval_of_a_whole_file_is_the_file(tmp_path):
    path = encode(samples(recordings()[0][0])[:32000], tmp_path / "x.wav")
    parts = [None, ((0.0, 2.0),), ((0.0, 1.995),), ((0.0, 1.5),), ((0.5, 2.0),)]
    output = tmp_path / "m.jsonl.gz"
    manifests.build(OneFile(path, parts).corpus, "train", tmp_path, output, tmp_path / "m.json")
    sounds = manifests.digests.read(output).audio.tolist()
    assert len(set(sounds[:3])) == 1
    assert len(set(sounds)) == 3


@pytest.mark.parametrize(
    "file_format", ["WAV", "RF64", "W64", "AIFF", "AU", "CAF", "NIST", "FLAC", "MP3", "OGG"]
)
def test_a_second_file_behind_the_first_is_not_left_out_in_silence(tmp_path, file_format):
    path = tmp_path / "x"
    soundfile.write(path, samples(recordings()[0][0])[:48000], RATE, format=file_format)
    one = path.read_bytes()
    path.write_bytes(one + b"TAG" + bytes(125))  # ID3v1, and what other programs leave
    assert manifests.probe(path).problem is None
    path.write_bytes(one + one)
    heard = manifests.probe(path)
    assert heard.problem in ("truncated", "undecodable")
