"""A bundle with a CTC head loads in sherpa-onnx as it is, and says what the model says."""

import json

import numpy
import onnx
import pytest
import soundfile
from made import ctc_model, sherpa_reference, toy_model
from made.decoding import write_manifest
from made.toy_model import SAMPLE_RATE, SPEECH

import build_bundle
import describe_bundle
from warmstart.export import bundle, forms, sherpa
from warmstart.models import onnx_file, open_family, quantised_weights
from warmstart.models.tier import Tier
from warmstart.run.errors import UserError

pytestmark = pytest.mark.slow

FAMILY, FORM = "fastconformer_ctc", "streaming_ctc"
TIER, SHORTEST = Tier("560ms", 70, 6), Tier("80ms", 70, 0)
INT4 = {"scheme": "k_quant", "bits": 4, "block_size": 32, "accuracy_level": 0}


@pytest.fixture(scope="module")
def model_path(tmp_path_factory):
    return ctc_model.build(tmp_path_factory.mktemp("ctc"))


@pytest.fixture(scope="module")
def clips():
    return [soundfile.read(path, dtype="float32")[0] for path in sorted(SPEECH.glob("it/*"))[:2]]


@pytest.fixture(scope="module")
def int4_bundle(model_path, tmp_path_factory, clips):
    folder = tmp_path_factory.mktemp("int4")
    heard = {f"u{index}": clip for index, clip in enumerate(clips)}
    manifest = write_manifest(folder / "m" / "test.jsonl.gz", heard)
    command = ["--model", model_path, "--family", FAMILY, "--precision", "int4"]
    command += ["--tier", TIER.as_text(), "--settings", json.dumps(INT4)]
    command += ["--run", "it/ml_ctc/0.02h/seed1", "--example-cuts", manifest]
    build_bundle.main([str(part) for part in [*command, "--output-dir", folder / "bundle"]])
    describe_bundle.main(["--bundle", str(folder / "bundle")])
    return folder / "bundle"


@pytest.fixture(scope="module")
def recognizer(int4_bundle):
    return sherpa.open_recognizer(int4_bundle, form=FORM)


def in_pytorch(recogniser, tier, samples):
    """Tokens of the model on sherpa-onnx's features and windows."""
    (head,) = (part for name, part in recogniser.parts().items() if name != "encoder")
    model, shift = recogniser.model, 8 * (tier.right + 1)
    around = (numpy.zeros(2640), samples, numpy.zeros(round(sherpa.tail_s(tier) * SAMPLE_RATE)))
    features = sherpa_reference.features(
        numpy.concatenate(around).astype(numpy.float32), model.preprocessor.featurizer.fb[0].numpy()
    )
    encode = sherpa_reference.windows_in_pytorch(model, tier)
    tokens = sherpa_reference.ctc_tokens(encode, head, features, 9 + shift, shift)
    return [piece.replace("\u2581", " ") for piece in model.tokenizer.ids_to_tokens(tokens)]


@pytest.mark.parametrize(
    ("precision", "tier"),
    [("fp32", TIER), ("int4", TIER), ("fp32", SHORTEST)],
    ids=["fp32", "int4", "80ms"],
)
def test_sherpas_tokens_are_our_models_on_its_features_and_chunks(
    model_path, int4_bundle, tmp_path, precision, tier
):
    folder, recogniser = int4_bundle, open_family(FAMILY).load(model_path)
    if precision == "fp32":
        folder = tmp_path
        recogniser.write_networks(tier, folder, lambda graph: graph)
    else:
        quantised_weights.load(recogniser.model.encoder, folder / "model.onnx")
    opened, agreed = sherpa.open_recognizer(folder, form=FORM), 0
    for path in sorted(SPEECH.glob("*/*.flac"))[::25]:
        samples = soundfile.read(path, dtype="float32")[0]
        found = sherpa.recognize(opened, samples, SAMPLE_RATE, sherpa.tail_s(tier))
        assert found == in_pytorch(recogniser, tier, samples), path
        agreed += len(found)
    assert agreed > 150


def test_the_bundle_says_what_it_is(int4_bundle):
    about = bundle.verify(int4_bundle)
    assert about["form"] == FORM
    assert set(about["files"]) == {"model.onnx", "tokens.txt", "example.wav"}
    assert about["encoder_bytes"] == (int4_bundle / "model.onnx").stat().st_size < 600_000
    assert [row["variant"] for row in about["agreement"]["variants"]][-1].startswith("165 ms")
    tokens = (int4_bundle / "tokens.txt").read_text(encoding="utf-8").splitlines()
    assert tokens[-1] == "<blk> 64"
    metadata = onnx_file.metadata_of(onnx.load(str(int4_bundle / "model.onnx")))
    assert (metadata["window_size"], metadata["chunk_shift"]) == ("65", "56")
    text = (int4_bundle / "README.md").read_text(encoding="utf-8")
    assert text.startswith("# Streaming speech recogniser: it\n")
    assert "Cache-aware FastConformer with a CTC head, arm `ml_ctc`" in text
    assert "chunks of 560 ms, 5600 ms of left context" in text
    assert "transducer" not in text


def test_what_the_readme_shows_prints_what_it_says(int4_bundle, monkeypatch, capsys):
    text = (int4_bundle / "README.md").read_text(encoding="utf-8")
    monkeypatch.chdir(int4_bundle)
    capsys.readouterr()
    exec(text.split("```python\n")[1].split("```")[0], {})
    shown = bundle.verify(int4_bundle)["example"]["sherpa_onnx"]
    assert capsys.readouterr().out.strip() == shown != ""


def test_streams_of_a_batch_may_be_at_different_windows(recognizer, clips):
    tail_s = sherpa.tail_s(TIER)
    alone = [sherpa.recognize(recognizer, clip, SAMPLE_RATE, tail_s) for clip in clips]
    first, second = (sherpa.open_stream(recognizer, clip, SAMPLE_RATE, tail_s) for clip in clips)
    recognizer.decode_stream(first)
    while ready := [stream for stream in (first, second) if recognizer.is_ready(stream)]:
        recognizer.decode_streams(ready)
    assert [list(recognizer.tokens(stream)) for stream in (first, second)] == alone
    assert sum(map(len, alone)) > 20


def test_a_reset_empties_the_cache_as_the_readme_says(int4_bundle, recognizer, clips):
    """What follows is heard as by a new stream, which cuts 16 frames off. The day it costs nothing,
    the README may say so."""
    around = (numpy.zeros(2640), *clips, numpy.zeros(round(sherpa.tail_s(TIER) * SAMPLE_RATE)))
    samples, windows = numpy.concatenate(around).astype(numpy.float32), 3

    def heard(samples, reset_behind=None):
        stream = sherpa.open_stream(recognizer, samples, SAMPLE_RATE, 0.0, 0.0)
        count = 0
        while recognizer.is_ready(stream):
            if count == reset_behind:
                recognizer.reset(stream)
            recognizer.decode_stream(stream)
            count += 1
        return list(recognizer.tokens(stream))

    behind = heard(samples, windows)
    assert behind == heard(samples[windows * 56 * 160 :]) != []
    assert heard(samples)[-len(behind) :] != behind
    assert "`recognizer.reset(stream)`" in (int4_bundle / "README.md").read_text(encoding="utf-8")


def test_a_missing_network_is_named(int4_bundle, tmp_path):
    (tmp_path / "tokens.txt").write_bytes((int4_bundle / "tokens.txt").read_bytes())
    with pytest.raises(UserError, match=r"the bundle lacks model.onnx"):
        forms.open_form(FORM).open(tmp_path)
    (tmp_path / "model.onnx").write_bytes(b"no graph")
    with pytest.raises(UserError, match=r"model.onnx: ONNX Runtime .* cannot load it"):
        forms.open_form(FORM).open(tmp_path)


def test_the_head_of_a_hybrid_ships_too(tmp_path, clips):
    recogniser = open_family(FAMILY).load(toy_model.build(tmp_path, hybrid=True))
    folder = tmp_path / "bundle"
    folder.mkdir()
    recogniser.write_networks(TIER, folder, lambda graph: graph)
    opened = sherpa.open_recognizer(folder, form=FORM)
    found = sherpa.recognize(opened, clips[0], SAMPLE_RATE, sherpa.tail_s(TIER))
    assert found == in_pytorch(recogniser, TIER, clips[0]) != []
