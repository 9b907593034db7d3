"""prepare_manifest: every reader's utterances become checked Lhotse cuts, 16 kHz mono on load."""

import json

import numpy as np
import pytest
import soundfile
from lhotse import CutSet, Recording
from made.speech import encode, recordings, samples

import prepare_manifest
from warmstart.data import manifests
from warmstart.data.corpora import open_corpus
from warmstart.data.corpora.base import read_table
from warmstart.run import files
from warmstart.run.errors import UserError


def prepare(tmp_path, settings, split="train", lang="it", name="own", directory=None):
    """Run the program; returns (cuts, report)."""
    output, report = tmp_path / "out" / f"{split}.jsonl.gz", tmp_path / "out" / f"{split}.qc.json"
    arguments = [
        "--corpus",
        name,
        "--lang",
        lang,
        "--split",
        split,
        "--settings",
        json.dumps(settings),
    ]
    paths = [
        "--directory",
        directory or tmp_path / "unused",
        "--output",
        output,
        "--report",
        report,
        "--threads",
        2,
    ]
    prepare_manifest.main([*arguments, *map(str, paths)])
    return list(CutSet.from_file(output)), files.read_json(report)


def folder(tmp_path, rows, header="path\ttext\tspeaker", name="metadata-train.tsv"):
    """A local corpus with the given table; returns its settings."""
    where = tmp_path / "own"
    where.mkdir(exist_ok=True)
    (where / name).write_text("\n".join([header, *rows]) + "\n", encoding="utf-8")
    return {"kind": "local", "directory": str(where)}


def test_cuts_hold_what_the_table_says(tmp_path):
    (one, text, seconds), *_ = recordings()
    encode(samples(one), tmp_path / "own" / "a" / "one.flac")
    cuts, report = prepare(tmp_path, folder(tmp_path, [f"a/one.flac\t{text}\tcarlo"]))
    (cut,) = cuts
    assert cut.id == "own-it-train-a/one"
    assert cut.custom == {"block": "carlo", "corpus": "own"}
    (supervision,) = cut.supervisions
    assert (supervision.text, supervision.language, supervision.speaker) == (text, "it", "carlo")
    assert cut.duration == pytest.approx(seconds)
    np.testing.assert_allclose(cut.load_audio()[0], samples(one), atol=1e-4)
    assert report["kept"] == {
        "cuts": 1,
        "hours": pytest.approx(seconds / 3600),
        "speakers": 1,
        "blocks": 1,
    }


@pytest.mark.parametrize(
    ("suffix", "rate"),
    [
        (".flac", 16000),
        (".wav", 8000),
        (".mp3", 48000),
        (".mp3", 32000),
        (".ogg", 16000),
        (".opus", 48000),
    ],
)
def test_audio_of_every_format_is_16_khz_mono_on_load(tmp_path, suffix, rate):
    path, text, seconds = recordings()[0]
    encode(samples(path, rate), tmp_path / "own" / f"x{suffix}", rate)
    (cut,), report = prepare(tmp_path, folder(tmp_path, [f"x{suffix}\t{text}\tcarlo"]))
    audio = cut.load_audio()
    assert cut.sampling_rate == 16000
    assert audio.shape == (1, cut.num_samples)
    assert cut.duration == pytest.approx(seconds, abs=0.05)
    # The same speech, not only the same length: correlated with the source where the codec keeps
    # the phase.
    source = samples(path)[: audio.shape[1]]
    assert np.corrcoef(source, audio[0, : len(source)])[0, 1] > 0.9
    assert report["source_sample_rates"] == {str(rate): 1}


def test_an_mp3_cut_short_is_found_where_its_encoder_noted_the_length(tmp_path):
    path, text, _ = recordings()[0]
    content = encode(samples(path, 48000), tmp_path / "one.mp3", 48000).read_bytes()
    own = tmp_path / "own"
    own.mkdir()
    (own / "short.mp3").write_bytes(content[: len(content) // 2])
    # Without the note nobody can tell, and libsndfile's estimate must not condemn a good file.
    unnoted = mp3_without_a_note(
        own / "unnoted.mp3", samples(path, 48000), 48000, "CONSTANT"
    ).read_bytes()
    (own / "unnoted.mp3").write_bytes(unnoted[: len(unnoted) // 2])
    settings = folder(tmp_path, [f"{name}.mp3\t{text}\tc" for name in ("short", "unnoted")]) | {
        "max_drop_fraction": 0.5
    }
    (cut,), report = prepare(tmp_path, settings)
    assert [entry["reason"] for entry in report["dropped_ids"]] == ["truncated"]
    assert cut.load_audio().shape == (1, cut.num_samples)


def mp3_without_a_note(path, audio, rate, mode):
    """An MP3 as an encoder writes it to a pipe: the first frame, which would hold the note, is
    missing."""
    with soundfile.SoundFile(
        path, "w", rate, 1, format="MP3", bitrate_mode=mode, compression_level=0.7
    ) as stream:
        stream.write(audio)
    content = path.read_bytes()
    note = max(content.find(name) for name in (b"Xing", b"Info"))
    path.write_bytes(content[content.index(content[:2], note) :])
    return path


def test_a_note_behind_a_large_tag_is_found(tmp_path):
    content = encode(samples(recordings()[0][0]), tmp_path / "one.mp3").read_bytes()
    picture = (
        bytes([0, 0, 0, 0, 0x44, 0]) + b"\xff\xfb\x90\x00" * 2176
    )  # 68 * 128 bytes that look like frames
    (tmp_path / "tagged.mp3").write_bytes(b"ID3\3" + picture + content)
    assert manifests.probe(tmp_path / "tagged.mp3") == manifests.probe(tmp_path / "one.mp3")


@pytest.mark.parametrize("rate", [48000, 44100, 16000])
@pytest.mark.parametrize("verify", ["decode", "header"])
def test_an_mp3_of_varying_bit_rate_that_libsndfile_reads_in_part_is_dropped(
    tmp_path, rate, verify
):
    draw = np.random.default_rng(1)
    audio = np.concatenate([draw.normal(0, 0.2, rate), draw.normal(0, 1e-4, 3 * rate)]).astype(
        "float32"
    )
    (tmp_path / "own").mkdir()
    for mode in ("VARIABLE", "CONSTANT"):
        mp3_without_a_note(tmp_path / "own" / f"{mode}.mp3", audio, rate, mode)
    settings = folder(tmp_path, [f"{mode}.mp3\tuno due\tc" for mode in ("VARIABLE", "CONSTANT")])
    (cut,), report = prepare(tmp_path, settings | {"max_drop_fraction": 0.5, "verify": verify})
    assert cut.id == "own-it-train-CONSTANT"
    # Frames of 1152 samples or less, and the encoder's padding before and behind.
    assert cut.duration == pytest.approx(len(audio) / rate, abs=0.15)
    assert cut.load_audio().shape == (1, cut.num_samples)
    (dropped,) = report["dropped_ids"]
    assert dropped["reason"] == "truncated"
    assert "bit rate varies" in dropped["detail"]


def test_stereo_is_read_on_its_first_channel(tmp_path):
    path, text, _ = recordings()[0]
    left = samples(path)
    encode(np.stack([left, np.zeros_like(left)], axis=1), tmp_path / "own" / "x.wav")
    (cut,), _ = prepare(tmp_path, folder(tmp_path, [f"x.wav\t{text}\tc"]))
    np.testing.assert_allclose(cut.load_audio(), left[None], atol=1e-4)


def test_speech_on_the_second_channel_only_is_silence(tmp_path):
    path, text, _ = recordings()[0]
    speech, nothing = samples(path), np.zeros_like(samples(path))
    encode(np.stack([nothing, speech], axis=1), tmp_path / "own" / "right.wav")
    encode(np.stack([speech, nothing], axis=1), tmp_path / "own" / "left.wav")
    settings = folder(tmp_path, [f"{name}.wav\t{text}\tc" for name in ("right", "left")]) | {
        "max_drop_fraction": 0.5
    }
    cuts, report = prepare(tmp_path, settings)
    assert [cut.id for cut in cuts] == ["own-it-train-left"]
    (dropped,) = report["dropped_ids"]
    assert (dropped["reason"], dropped["detail"]) == (
        "silent",
        "every sample of the first channel is zero",
    )


@pytest.mark.parametrize("rate", [16000, 44100, 48000])
def test_recording_is_the_one_lhotse_would_make(tmp_path, rate):
    path = encode(samples(recordings()[0][0], rate), tmp_path / "x.wav", rate)
    lhotse = Recording.from_file(path, recording_id="x")
    if rate != 16000:
        lhotse = lhotse.resample(16000)
    ours = Recording.from_dict(manifests.recording("x", path, manifests.probe(path)))
    assert ours.to_dict() == lhotse.to_dict()
    np.testing.assert_array_equal(ours.load_audio(), lhotse.load_audio())


def test_unusable_audio_is_dropped_and_counted_by_reason(tmp_path):
    own = tmp_path / "own"
    good = samples(recordings()[0][0])
    encode(good, own / "good.flac")
    (own / "noise.flac").write_bytes(b"this is no audio")
    (own / "empty.flac").write_bytes(b"")
    encode(good[:0], own / "none.wav")
    encode(np.zeros(16000), own / "silent.flac")
    whole = encode(good, own / "cut.flac").read_bytes()
    (own / "cut.flac").write_bytes(whole[: len(whole) // 2])
    soundfile.write(
        own / "nan.wav",
        np.where(np.arange(16000) == 9000, np.nan, 0.1).astype("float32"),
        16000,
        subtype="FLOAT",
    )
    names = [
        "good.flac",
        "noise.flac",
        "empty.flac",
        "none.wav",
        "silent.flac",
        "cut.flac",
        "nan.wav",
        "gone.flac",
    ]
    settings = folder(tmp_path, [f"{name}\tuno due tre\tc" for name in names]) | {
        "max_drop_fraction": 0.9
    }
    cuts, report = prepare(tmp_path, settings)
    assert [cut.id for cut in cuts] == ["own-it-train-good"]
    reasons = {entry["id"]: entry["reason"] for entry in report["dropped_ids"]}
    assert reasons.pop("cut") in ("truncated", "undecodable")
    assert reasons == {
        "noise": "undecodable",
        "empty": "undecodable",
        "none": "zero_length",
        "silent": "silent",
        "nan": "not_finite",
        "gone": "missing_file",
    }
    assert sum(entry["cuts"] for entry in report["dropped"].values()) == 7


def test_too_many_drops_stop_with_the_first_offenders_and_no_manifest(tmp_path):
    encode(samples(recordings()[0][0]), tmp_path / "own" / "good.flac")
    settings = folder(tmp_path, ["good.flac\tuno\tc", "gone.flac\tdue\tc"])
    with pytest.raises(
        UserError, match=r"1 of 2 utterances.*missing_file 1.*max_drop_fraction = 0.05.*gone.flac"
    ):
        prepare(tmp_path, settings)
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["train.qc.json"]


def test_header_verification_reads_no_samples(tmp_path):
    encode(np.zeros(16000), tmp_path / "own" / "silent.flac")
    settings = folder(tmp_path, ["silent.flac\tuno\tc"])
    cuts, report = prepare(tmp_path, settings | {"verify": "header"})
    assert len(cuts) == 1
    assert report["verify"] == "header"
    with pytest.raises(UserError, match="verify is 'no'; allowed: decode, header"):
        prepare(tmp_path, settings | {"verify": "no"})


def test_intervals_outside_their_file_are_dropped_and_a_rounded_end_is_trimmed(tmp_path):
    encode(np.full(32000, 0.1, dtype="float32"), tmp_path / "own" / "two.wav")  # 2 s
    stretches = {
        "good": (0.5, 1.0),
        "rounded": (1.5, 0.55),
        "after": (2.02, 0.05),
        "beyond": (1.0, 1.5),
        "before": (-0.5, 1.0),
    }
    lines = [
        {"audio_filepath": "two.wav", "offset": at, "duration": s, "text": name}
        for name, (at, s) in stretches.items()
    ]
    (tmp_path / "own" / "it.jsonl").write_text("\n".join(map(json.dumps, lines)) + "\n")
    settings = {
        "kind": "granary",
        "directory": str(tmp_path / "own"),
        "manifests": [str(tmp_path / "own" / "it.jsonl")],
    }
    cuts, report = prepare(tmp_path, settings | {"max_drop_fraction": 0.9})
    assert {cut.supervisions[0].text: cut.duration for cut in cuts} == {"good": 1.0, "rounded": 0.5}
    # 0.05 + 1.5 + 1 s; nothing that lies outside may become a cut of no or negative length.
    assert report["dropped"] == {"bad_interval": {"cuts": 3, "hours": pytest.approx(2.55 / 3600)}}


def test_empty_transcripts_and_repeated_ids_are_dropped(tmp_path):
    audio = samples(recordings()[0][0])
    for name in ("a.flac", "b.flac"):
        encode(audio, tmp_path / "own" / name)
    settings = folder(tmp_path, ["a.flac\tuno\tc", "a.flac\tdue\tc", "b.flac\t \tc"]) | {
        "max_drop_fraction": 1
    }
    cuts, report = prepare(tmp_path, settings)
    assert [cut.supervisions[0].text for cut in cuts] == ["uno"]
    assert {reason: entry["cuts"] for reason, entry in report["dropped"].items()} == {
        "duplicate_id": 1,
        "empty_text": 1,
    }


def test_half_a_character_is_dropped_and_does_not_stop_a_million_lines(tmp_path):
    """JSON can write it, UTF-8 cannot."""
    own = tmp_path / "own"
    encode(samples(recordings()[0][0]), own / "a.flac")
    encode(samples(recordings()[1][0]), own / "b.flac")
    (own / "it.jsonl").write_text(
        r'{"audio_filepath": "a.flac", "text": "ciao \ud83d"}'
        + "\n"
        + r'{"audio_filepath": "b.flac", "text": "ciao \ud83d\ude00"}'
    )
    settings = {
        "kind": "granary",
        "directory": str(own),
        "manifests": [str(own / "it.jsonl")],
        "max_drop_fraction": 0.5,
    }
    (cut,), report = prepare(tmp_path, settings)
    assert cut.supervisions[0].text == "ciao 😀"
    (dropped,) = report["dropped_ids"]
    assert (dropped["id"], dropped["reason"], dropped["detail"]) == (
        "a",
        "not_text",
        r"\ud83d at character 5",
    )


def test_a_split_nobody_has_is_named(tmp_path):
    settings = folder(
        tmp_path,
        ["a.flac\tuno\tc\ttrain"],
        header="path\ttext\tspeaker\tsplit",
        name="metadata.tsv",
    )
    with pytest.raises(UserError, match="own/it/test: no utterance"):
        prepare(tmp_path, settings, split="test")


@pytest.mark.parametrize(
    ("header", "rows", "problem"),
    [
        ("path\tsentence", ["a.flac\tuno"], "no column text"),
        ("path\ttext\tspeaker", ["a.flac\tuno\tc\tmore"], "4 fields, 3 columns"),
        ("path\ttext\tspeaker", ["a.flac\tuno\t"], "has no speaker; fill it in"),
    ],
)
def test_a_malformed_table_is_named_with_its_remedy(tmp_path, header, rows, problem):
    with pytest.raises(UserError, match=problem):
        prepare(tmp_path, folder(tmp_path, rows, header=header))


def test_tables_with_quotes_bom_and_crlf_are_read_as_they_are(tmp_path):
    path = tmp_path / "t.tsv"
    path.write_bytes(
        '\ufeffpath\ttext\r\na\t"Ciao, disse\u2028lei\r\nb\tperche\u0301\r\nc\r\n'.encode()
    )
    rows = list(read_table(path, required=("path", "text")))
    assert rows == [
        {"path": "a", "text": '"Ciao, disse\u2028lei'},
        {"path": "b", "text": "perche\u0301"},
        {"path": "c", "text": ""},
    ]


def test_a_table_in_another_encoding_is_refused(tmp_path):
    path = tmp_path / "t.tsv"
    path.write_bytes("path\ttext\na\tperché\n".encode("latin-1"))
    with pytest.raises(UserError, match="not UTF-8"):
        list(read_table(path))


def test_the_same_corpus_gives_the_same_bytes(tmp_path):
    settings = {
        "kind": "local",
        "directory": str(recordings()[0][0].parent),
        "max_drop_fraction": 0.0,
    }
    first = prepare(tmp_path / "1", settings, split="test")
    digests = [files.digest(tmp_path / run / "out" / "test.jsonl.gz") for run in ("1", "1")]
    prepare(tmp_path / "2", settings, split="test")
    assert digests[0] == files.digest(tmp_path / "2" / "out" / "test.jsonl.gz")
    assert first[1]["kept"]["cuts"] > 5


@pytest.mark.parametrize(
    ("settings", "problem"),
    [
        ({"kind": "lokal"}, "unknown kind 'lokal' .*kinds: .*local"),
        (
            {"kind": "local", "directry": "x"},
            "unknown key 'directry' .*did you mean 'directory'.*keys of this kind: .*directory",
        ),
        (
            {"kind": "local", "block": "word"},
            "block is 'word'; allowed: speaker, sentence, utterance",
        ),
    ],
)
def test_wrong_settings_are_named(settings, problem):
    with pytest.raises(UserError, match=problem):
        open_corpus("own", "it", settings)
