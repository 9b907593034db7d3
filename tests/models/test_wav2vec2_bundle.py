"""A bundle of whole utterances: sherpa-onnx hears in it what the model hears, or the lines of its
README do."""

import json

import pytest
import torch
from made.decoding import RUN, write_manifest
from made.toy_model import train_tokenizer
from test_wav2vec2 import FAMILY, OFFLINE, build, snapshot, speech

import build_bundle
import describe_bundle
from warmstart.export import bundle, forms, matmul_nbits
from warmstart.export.scheme import Scheme
from warmstart.models import onnx_file, open_family, quantised_weights

INT4 = {"scheme": "k_quant", "bits": 4, "block_size": 32, "accuracy_level": 0}
LICENCE = {"licence": "CC-BY-4.0", "init": {"name": "XLS-R", "licence": "Apache-2.0"}}
LOUD, QUIET = speech(16000, 9123)
# Near silence, 401 samples of it, and less than one frame hears.
WAVEFORMS = [LOUD, 0.003 * QUIET + 0.1, LOUD[:401], LOUD[:100]]
LOADS_IN = {
    "wav2vec2-base": "sherpa",
    "wav2vec2-large": "sherpa",
    "hubert-base": "onnxruntime",
}


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory):
    return train_tokenizer(tmp_path_factory.mktemp("tokenizer"))


@pytest.fixture(scope="module", params=LOADS_IN)
def made(request, tokenizer, tmp_path_factory):
    """Architecture, model, and its bundle of 4 bits."""
    folder = tmp_path_factory.mktemp(request.param)
    snapshot(folder / "donor", request.param, hidden_size=64, intermediate_size=64)
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


@pytest.mark.slow
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
    # Of what is shorter than a frame hears the native decode says nothing; a network has a frame.
    for tokens, one in zip(heard[:-1], native[:-1], strict=True):
        assert [token.replace(" ", "\u2581") for token in tokens] == one.pieces != []
    assert (len(heard[-1]) <= 1, native[-1].pieces) == (True, [])
    assert {path.name for path in folder.iterdir()} == {
        *("model.onnx", "tokens.txt", "example.wav", "bundle.json", "README.md")
    }


@pytest.mark.slow
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
