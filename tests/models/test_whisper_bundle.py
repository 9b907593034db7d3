"""A bundle of a Whisper: two networks that compute what the model computes, which sherpa-onnx
drives, and a folder that transformers' pipeline decodes from to the same tokens."""

import json

import numpy
import pytest
import torch
from made.decoding import RUN, write_manifest
from made.whisper import whole_whisper
from test_wav2vec2 import OFFLINE, speech

import build_bundle
import describe_bundle
from warmstart.export import bundle, forms
from warmstart.models import open_family
from warmstart.models.whisper import onnx_export
from warmstart.models.whisper.search import greedy
from warmstart.run.errors import UserError

pytestmark = pytest.mark.slow

INT4 = {"scheme": "k_quant", "bits": 4, "block_size": 32, "accuracy_level": 0}
SIZES = {"d_model": 64, "encoder_ffn_dim": 64, "decoder_ffn_dim": 64, "max_target_positions": 60}
WAVEFORMS = speech(16000, 33333, 48000)


@pytest.fixture(scope="module")
def donor(tmp_path_factory):
    """Of random weights that write ASCII alone, because half a letter is no text, and no other
    token is."""
    folder = tmp_path_factory.mktemp("whisper") / "donor"
    whole_whisper(folder, languages=("en", "it", "fr"), **SIZES)
    tokenizer = json.loads((folder / "tokenizer.json").read_text(encoding="utf-8"))
    rules = json.loads((folder / "generation_config.json").read_text())
    rules["suppress_tokens"] += [
        token
        for name, token in tokenizer["model"]["vocab"].items()
        if not all(character.isascii() or character == "Ġ" for character in name)
    ]
    rules["suppress_tokens"] += [
        one["id"] for one in tokenizer["added_tokens"] if one["content"] != "<|endoftext|>"
    ]
    (folder / "generation_config.json").write_text(json.dumps(rules))
    return folder


@pytest.fixture(scope="module")
def model(donor, tmp_path_factory):
    path = tmp_path_factory.mktemp("model") / "model.safetensors"
    open_family("whisper").load(donor).save(path)
    return path


@pytest.fixture(scope="module")
def made(model, tmp_path_factory):
    folder = tmp_path_factory.mktemp("bundle")
    samples = {f"u{place}": one for place, one in enumerate(WAVEFORMS)}
    cuts = write_manifest(folder / "m" / "test.jsonl.gz", samples, "it")
    arguments = ["--model", str(model), "--family", "whisper", "--run", RUN, "--precision", "int4"]
    arguments += ["--tier", OFFLINE.as_text(), "--settings", json.dumps(INT4)]
    build_bundle.main([*arguments, "--example-cuts", str(cuts), "--output-dir", str(folder / "b")])
    describe_bundle.main(["--bundle", str(folder / "b"), "--origin", "{}"])
    return folder / "b"


def session(graph):
    import onnxruntime

    return onnxruntime.InferenceSession(
        graph.SerializeToString(), providers=["CPUExecutionProvider"]
    )


def search(decoder, cross, prefix, network, most):
    """Greedy tokens as sherpa-onnx asks for them: the prefix at once, then one after the other."""
    config = network.said.config
    shape = config["decoder_layers"], 1, network.positions, config["d_model"]
    caches = [numpy.zeros(shape, numpy.float32) for _ in range(2)]
    given, offset, found = numpy.array([prefix]), 0, []
    for _ in range(most):
        names = [f"in_{name}" for name in onnx_export.CACHES]
        fed = dict(zip([*names, *onnx_export.CROSS], [*caches, *cross], strict=True))
        logits, *caches = decoder.run(
            None, {"tokens": given, **fed, "offset": numpy.array([offset])}
        )
        offset += given.shape[1]
        token = int(logits[0, -1].argmax())
        if token == network.tokens.end:
            break
        found.append(token)
        given = numpy.array([[token]])
    return found


@pytest.mark.parametrize("window_s", [30.0, 2.0])
def test_the_networks_give_the_states_and_tokens_of_the_model(donor, window_s):
    """Fed as sherpa-onnx feeds them: features of the audio alone, then zeros."""
    import dataclasses

    network = open_family("whisper").load(donor).network
    network.said = dataclasses.replace(network.said, window_s=window_s)
    encoder = session(onnx_export.export_encoder(network))
    decoder = session(onnx_export.export_decoder(network))
    language = torch.tensor([network.language_token("fr")])
    for samples in WAVEFORMS[:2]:
        audio, length = torch.from_numpy(samples)[None], torch.tensor([len(samples)])
        features, _ = network.encoding.inputs(audio, length)
        mel = torch.nn.functional.pad(features, (0, 0, 0, 1000)).transpose(1, 2)
        cross = encoder.run(None, {"mel": mel.numpy()})
        with torch.inference_mode():
            [(_, states)] = network.states(audio, length)
            wanted = network.whisper.model.decoder.layers[1].encoder_attn.v_proj(states)
        assert states.shape[1] == round(50 * (window_s if len(samples) <= 32000 else 30))
        numpy.testing.assert_allclose(cross[1][1], wanted, atol=1e-4)
        (found,) = greedy(network, states, language)
        prefix = network.prefix(language)[0].tolist()
        most = network.positions - len(prefix)
        assert search(decoder, cross, prefix, network, most) == found.tokens
        assert len(found.tokens) > 10


def test_sherpa_onnx_hears_what_the_model_hears(model, made):
    about = bundle.verify(made)
    assert about["form"] == "offline_whisper"
    assert about["languages"] == ["en", "it", "fr"]
    opened = forms.of_bundle(about)
    decoder = open_family("whisper").load(model).decoder_of_bundle(OFFLINE, made)
    native = opened.native_texts(decoder, WAVEFORMS, ["it"] * len(WAVEFORMS))
    recognizer = opened.open(made)
    for samples, text in zip(WAVEFORMS, native, strict=True):
        heard = opened.said(recognizer, samples, 16000, OFFLINE, "it")
        # Random weights never end, and sherpa-onnx writes six tokens a second at most.
        assert len(heard) >= 6
        assert text.startswith(heard)
    assert opened.said(recognizer, WAVEFORMS[0], 16000, OFFLINE, "fr") != native[0]
    before = open_family("whisper").load(model).decoder(OFFLINE).of_language("it")
    assert before.decode(WAVEFORMS[:1])[0].text != native[0], "4 bits are other weights"


def test_its_folder_decodes_in_the_pipeline_of_transformers_to_the_same_tokens(model, made):
    from transformers import AutoProcessor, WhisperForConditionalGeneration, pipeline

    decoder = open_family("whisper").load(model).decoder(OFFLINE)
    folder = str(made / "huggingface")
    asr = pipeline("automatic-speech-recognition", model=folder)
    processor = AutoProcessor.from_pretrained(folder)
    theirs = WhisperForConditionalGeneration.from_pretrained(folder).eval()
    told = decoder.of_language("it").decode(WAVEFORMS)
    for samples, one in zip(WAVEFORMS, told, strict=True):
        said = asr(
            {"raw": samples, "sampling_rate": 16000},
            generate_kwargs={"language": "it", "task": "transcribe"},
        )
        assert said["text"].strip() == one.text
        features = processor(samples, sampling_rate=16000, return_tensors="pt").input_features
        written = theirs.generate(features, language="it", task="transcribe", num_beams=1)
        pieces = processor.tokenizer.convert_ids_to_tokens(written[0].tolist())
        assert [piece.replace("Ġ", "▁") for piece in pieces][-len(one.pieces) :] == one.pieces
    alone = decoder.decode(WAVEFORMS[:1])[0]
    detected = asr({"raw": WAVEFORMS[0], "sampling_rate": 16000})
    assert detected["text"].strip() == alone.text


def test_its_readme_and_its_files(made, monkeypatch, capsys):
    about = bundle.verify(made)
    text = (made / "README.md").read_text(encoding="utf-8")
    lines = text.split("```python\n")[1].split("```")[0]
    monkeypatch.chdir(made)
    capsys.readouterr()
    exec(lines, {})
    assert capsys.readouterr().out.strip() == about["example"]["sherpa_onnx"] != ""
    assert "hears whole utterances of up to 29 s" in text
    assert "`huggingface/` is the same model for transformers" in text
    listed = {*about["files"], "bundle.json", "README.md"}
    assert {str(path.relative_to(made)) for path in made.rglob("*") if path.is_file()} == listed
    (made / "huggingface" / "tokenizer.json").write_text("{}")
    with pytest.raises(UserError, match=r"changed \['huggingface/tokenizer.json'\]"):
        bundle.verify(made)


def test_what_no_network_computes_is_refused(donor, tmp_path):
    made = open_family("whisper").load(donor)
    made.add_prompts(["it", "fr"], 2, ["decoder"], 1)
    with pytest.raises(UserError, match="has prompts beside its weights, which no bundle holds"):
        made.write_networks(OFFLINE, tmp_path, lambda graph: graph)
    assert not list(tmp_path.iterdir())
