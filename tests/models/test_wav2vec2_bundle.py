"""A bundle of whole utterances: sherpa-onnx hears in it what the model hears, or the lines of its
README do."""

import json

import numpy
import pytest
import torch
from made import encoders
from made.decoding import RUN, write_manifest
from made.toy_model import train_tokenizer
from test_wav2vec2 import FAMILY, OFFLINE, build, speech

import build_bundle
import describe_bundle
from warmstart.export import bundle, forms, matmul_nbits, waveform_example
from warmstart.export.scheme import Scheme
from warmstart.models import onnx_file, open_family, quantised_weights
from warmstart.run.errors import UserError

pytestmark = pytest.mark.slow

INT4 = {"scheme": "k_quant", "bits": 4, "block_size": 32, "accuracy_level": 0}
LICENCE = {"licence": "CC-BY-4.0", "init": {"name": "XLS-R", "licence": "Apache-2.0"}}
LOUD, QUIET = speech(16000, 9123)
# Near silence, digital silence at an end, few samples, and less than most frames hear.
WAVEFORMS = [LOUD, 0.003 * QUIET + 0.1, numpy.pad(QUIET, (0, 4000)), LOUD[:401], LOUD[:100]]
LOADS_IN = {
    "wav2vec2-base": "sherpa",
    "wav2vec2-large": "sherpa",
    "hubert-base": "onnxruntime",
    "w2v-bert": "sherpa",
    "whisper": "onnxruntime",
}


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory):
    return train_tokenizer(tmp_path_factory.mktemp("tokenizer"))


@pytest.fixture(scope="module", params=LOADS_IN)
def made(request, tokenizer, tmp_path_factory):
    """Architecture, model, and its bundle of 4 bits."""
    folder = tmp_path_factory.mktemp(request.param)
    encoders.donor(folder / "donor", request.param)
    model = build(folder / "donor", tokenizer)
    with torch.no_grad():
        model.network.head.weight.mul_(10)
    model.save(folder / "model.safetensors")
    manifest = write_manifest(
        folder / "m" / "test.jsonl.gz",
        {f"u{index}": samples for index, samples in enumerate(WAVEFORMS)},
    )
    command = ["--model", str(folder / "model.safetensors"), "--precision", "int4"]
    command += ["--family", FAMILY, "--run", RUN, "--tier", OFFLINE.as_text()]
    command += ["--settings", json.dumps(INT4), "--example-cuts", str(manifest)]
    build_bundle.main([*command, "--output-dir", str(folder / "bundle")])
    describe_bundle.main(["--bundle", str(folder / "bundle"), "--origin", json.dumps(LICENCE)])
    return request.param, folder / "model.safetensors", folder / "bundle"


def test_a_bundle_says_what_the_native_decode_says(made, tmp_path):
    variant, model, folder = made
    about = bundle.verify(folder)
    assert about["form"] == "offline_ctc"
    assert about["loads_in"] == LOADS_IN[variant]
    assert about["agreement"]["native_words"] > 5
    opened = forms.open_form("offline_ctc")
    recognizer = opened.open(folder)
    assert isinstance(recognizer, tuple) == (about["loads_in"] == "onnxruntime")
    model = open_family(FAMILY).load(model)
    quantised = model.export_encoder(OFFLINE).model
    path = tmp_path / "encoder.onnx"
    onnx_file.save(matmul_nbits.quantize(quantised, Scheme(**INT4)), path)
    quantised_weights.load(model.network, path)
    native = model.decoder(OFFLINE).decode(WAVEFORMS)
    heard = [opened.recognize(recognizer, each, 16000, OFFLINE, 0.0) for each in WAVEFORMS]
    lengths = torch.tensor([len(samples) for samples in WAVEFORMS])
    for tokens, one, frames in zip(heard, native, model.ctc_frames(lengths).tolist(), strict=True):
        if frames:
            assert [token.replace(" ", "\u2581") for token in tokens] == one.pieces != []
        else:  # the native decode says nothing of what is too short; a network has a frame
            assert (len(tokens) <= 1, one.pieces) == (True, [])
    assert {path.name for path in folder.iterdir()} == {
        *("model.onnx", "tokens.txt", "example.wav", "bundle.json", "README.md")
    }


def test_the_lines_of_its_readme_print_what_it_says(made, monkeypatch, capsys):
    _, _, folder = made
    text = (folder / "README.md").read_text(encoding="utf-8")
    shown = bundle.verify(folder)["example"]["sherpa_onnx"]
    lines = text.split("```python\n")[1].split("```")[0]
    assert len(lines.splitlines()) <= 30
    monkeypatch.chdir(folder)
    capsys.readouterr()
    exec(lines, {})
    assert capsys.readouterr().out.strip() == shown != ""
    assert f"What this prints for it here: {shown}\n" in text
    assert "with CTC, arm" in text
    assert "hears whole utterances" in text


def test_no_more_is_heard_than_the_network_can(made):
    """Whisper has positions for 30 s; the others have no such end."""
    variant, _, folder = made
    opened = waveform_example.open_bundle(folder)
    samples = numpy.zeros(31 * 16000, dtype=numpy.float32)
    if variant == "whisper":
        with pytest.raises(ValueError, match=r"hears 30.0 s at most; cut the recording at pauses"):
            waveform_example.recognize(opened, samples, 16000)
    else:
        waveform_example.recognize(opened, samples[:16000], 16000)
    with pytest.raises(ValueError, match="8000 Hz; the network hears 16000 Hz"):
        waveform_example.recognize(opened, samples, 8000)


def test_what_is_longer_than_one_piece_is_no_example(made, tmp_path):
    """The study hears it in windows, and a bundle does not."""
    _, model, _ = made
    long, short = speech(31 * 16000, 16000)
    command = ["--model", str(model), "--precision", "int4", "--settings", json.dumps(INT4)]
    command += ["--family", FAMILY, "--run", RUN, "--tier", OFFLINE.as_text()]
    command += ["--output-dir", str(tmp_path / "bundle")]
    manifest = write_manifest(tmp_path / "a" / "test.jsonl.gz", {"long": long, "short": short})
    build_bundle.main([*command, "--example-cuts", str(manifest)])
    about = bundle.verify(tmp_path / "bundle")
    assert about["example"]["id"] == "short"
    assert about["agreement"]["utterances"] == 1
    manifest = write_manifest(tmp_path / "b" / "test.jsonl.gz", {"long": long})
    with pytest.raises(UserError, match=r"no utterance of 30 s or less"):
        build_bundle.main([*command, "--example-cuts", str(manifest)])
