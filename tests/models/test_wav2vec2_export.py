"""Encoders of whole utterances as ONNX: padding changes nothing, and the quantised weights are
those that are decoded with."""

import json

import numpy
import onnx
import pytest
import torch
from made import encoders
from made.decoding import RUN
from made.toy_model import train_tokenizer
from test_wav2vec2 import FAMILY, OFFLINE, build, speech

import quantize
from warmstart.models import onnx_file, open_family, quantised_weights
from warmstart.models.base import EncoderFile
from warmstart.models.tier import Tier
from warmstart.models.wav2vec2 import onnx_export
from warmstart.models.wav2vec2.decoder import Wav2Vec2Decoder
from warmstart.models.wav2vec2.onnx_network import OnnxNetwork
from warmstart.run import files
from warmstart.run.errors import UserError

pytestmark = pytest.mark.slow

INT4 = {"scheme": "k_quant", "bits": 4, "block_size": 32, "accuracy_level": 0}


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory):
    return train_tokenizer(tmp_path_factory.mktemp("tokenizer"))


@pytest.fixture(scope="module")
def models(tokenizer, tmp_path_factory):
    """Saved models whose heads say many things."""

    def save(variant):
        folder = tmp_path_factory.mktemp(variant)
        encoders.donor(folder / "donor", variant)
        made = build(folder / "donor", tokenizer)
        with torch.no_grad():
            made.network.head.weight.mul_(10)
        made.save(folder / "model.safetensors")
        return folder / "model.safetensors"

    return {variant: save(variant) for variant in encoders.NAMES}


@pytest.fixture(params=encoders.NAMES)
def model(request, models):
    """Of each architecture."""
    return models[request.param]


@pytest.fixture
def base(models):
    """Of the one whose group norm has to know the length of an utterance."""
    return models["wav2vec2-base"]


def make(model, folder, settings, tier=OFFLINE):
    """What quantize.py writes: the encoder's path and the report."""
    path, report = folder / "encoder.onnx", folder / "quantize.json"
    command = ["--model", str(model), "--precision", "q", "--family", FAMILY, "--run", RUN]
    command += ["--tier", tier.as_text(), "--settings", json.dumps(settings)]
    quantize.main([*command, "--output", str(path), "--report", str(report)])
    return path, files.read_json(report)


@pytest.mark.parametrize(
    "settings",
    [{"scheme": "fp32"}, INT4, {**INT4, "bits": 8}],
    ids=["fp32", "int4", "int8"],
)
def test_onnxruntime_gives_the_tokens_of_the_same_weights_in_any_batch(model, tmp_path, settings):
    path, report = make(model, tmp_path, settings)
    assert report["parity"]["max_abs"] < 1e-3
    assert report["parity"]["differing_frames"] == 0
    assert report["parity"]["frames"] > 300
    recogniser = open_family(FAMILY).load(model)
    waveforms = speech(16000, 5000, 9123, 401, 100)
    native = recogniser.decoder(OFFLINE)
    as_trained = native.decode(waveforms)
    decoder = recogniser.decoder(OFFLINE, EncoderFile(path, files.digest(model)))
    assert decoder.engine == "onnxruntime"
    heard = decoder.decode(waveforms)
    assert [decoder.decode([samples])[0] for samples in waveforms] == heard
    if settings["scheme"] == "fp32":
        assert heard == as_trained
    else:
        exact, rounded = (each.logits(waveforms[:1])[0] for each in (native, decoder))
        assert float((exact - rounded).abs().max()) > 1e-2, "the weights are others"
    assert sum(len(one.pieces) for one in heard) > 30
    quantised_weights.load(recogniser.network, path)
    assert recogniser.decoder(OFFLINE).decode(waveforms) == heard


def test_padding_changes_no_score(model):
    recogniser = open_family(FAMILY).load(model)
    network = recogniser.network
    graph = onnx_export.export(network)
    import onnxruntime

    session = onnxruntime.InferenceSession(
        graph.SerializeToString(), providers=["CPUExecutionProvider"]
    )
    waveforms = [torch.from_numpy(samples) for samples in speech(16000, 4321, 400)]
    lengths = torch.tensor([len(samples) for samples in waveforms])
    audio = torch.nn.utils.rnn.pad_sequence(waveforms, batch_first=True)
    inputs, units = network.encoding.inputs(audio, lengths)
    scores, frames = session.run(None, {"inputs": inputs.numpy(), "lengths": units.numpy()})
    assert frames.tolist() == network.encoding.frames(lengths).tolist()
    assert frames[0] > 40
    for row, count, samples in zip(scores, frames, waveforms, strict=True):
        alone, unit = network.encoding.inputs(samples[None], torch.tensor([len(samples)]))
        own, counted = session.run(None, {"inputs": alone.numpy(), "lengths": unit.numpy()})
        assert counted.tolist() == [count]
        assert own.shape == (1, max(1, count), network.blank + 1)
        numpy.testing.assert_allclose(row[:count], own[0, :count], atol=2e-4)


def test_the_report_accounts_for_every_parameter_and_every_byte(base, tmp_path):
    path, report = make(base, tmp_path, INT4)
    network = open_family(FAMILY).load(base).network
    layers, sizes = report["layers"], report["bytes"]
    named = {f"{layer['layer']}.weight" for layer in layers["quantised"]}
    # Two layers of four attention and two feed-forward matrices, the projection, the head. The
    # projection of 16 features has half a block.
    assert len(named) == 2 * 6 + 1
    assert "head.weight" in named
    named |= {left["parameter"] for left in layers["left"]}
    assert named == {name for name, _ in network.named_parameters()}
    reasons = {left["parameter"]: left["reason"] for left in layers["left"]}
    assert "multiple of the block" in reasons["encoder.feature_projection.projection.weight"]
    assert "convolution" in reasons["encoder.feature_extractor.conv_layers.1.conv.weight"]
    assert "training only" in reasons["encoder.masked_spec_embed"]
    assert sizes["encoder"] == path.stat().st_size < sizes["onnx_fp32"]
    assert sizes["pytorch_fp32"] == 4 * sum(each.numel() for each in network.parameters())


def test_pointwise_convolutions_are_quantised_and_back_in_their_place(models, tmp_path):
    _, report = make(models["w2v-bert"], tmp_path, INT4)
    quantised = {layer["layer"] for layer in report["layers"]["quantised"]}
    assert "encoder.encoder.layers.1.conv_module.pointwise_conv2" in quantised
    # Of two layers: four of attention, four of feed-forward, two convolutions; and the head. The
    # projection of 160 features has an odd number of blocks.
    assert len(quantised) == 2 * (4 + 4 + 2) + 1
    left = {one["parameter"]: one["reason"] for one in report["layers"]["left"]}
    assert "odd number of blocks" in left["encoder.feature_projection.projection.weight"]
    assert "convolution" in left["encoder.encoder.layers.0.conv_module.depthwise_conv.weight"]
    network = open_family(FAMILY).load(models["w2v-bert"]).network
    before = dict(network.named_modules())
    onnx_export.export(network)
    after = dict(network.named_modules())
    assert after.keys() == before.keys()
    assert all(after[name] is part for name, part in before.items())


def test_a_table_of_positions_reaches_over_a_window(tokenizer, tmp_path):
    """transformers makes a table longer when it needs to; a graph cannot."""
    import onnxruntime

    encoders.donor(tmp_path, "w2v-bert", position_embeddings_type="relative")
    network = build(tmp_path, tokenizer).network.eval()
    assert network.encoding.longest_s == 30
    session = onnxruntime.InferenceSession(
        onnx_export.export(network).SerializeToString(), providers=["CPUExecutionProvider"]
    )
    (samples,) = speech(480_000)
    inputs, units = network.encoding.inputs(
        torch.from_numpy(samples)[None], torch.tensor([len(samples)])
    )
    with torch.inference_mode():
        expected, _ = network(inputs, units, prepared=True)
    found, _ = session.run(None, {"inputs": inputs.numpy(), "lengths": units.numpy()})
    numpy.testing.assert_allclose(found, expected, atol=2e-4)


def test_files_for_something_else_are_refused(base, tmp_path):
    streaming = Tier("560ms", 70, 6)
    with pytest.raises(UserError, match=r"560ms streams.*offline tier"):
        make(base, tmp_path, INT4, streaming)
    assert not list(tmp_path.iterdir())
    path, _ = make(base, tmp_path, {"scheme": "fp32"})
    recogniser = open_family(FAMILY).load(base)
    with pytest.raises(UserError, match="made of a model with sha256"):
        recogniser.decoder(OFFLINE, EncoderFile(path, "0" * 64))
    graph = onnx.load(str(path))
    onnx_file.set_metadata(graph, onnx_file.metadata_of(graph) | {"warmstart_form": "native"})
    onnx.save(graph, str(path))
    with pytest.raises(UserError, match="its form is 'native', and 'whole' is needed"):
        recogniser.decoder(OFFLINE, EncoderFile(path))


def test_long_recordings_are_heard_in_the_same_windows(base, tmp_path):
    path, _ = make(base, tmp_path, {"scheme": "fp32"})
    recogniser = open_family(FAMILY).load(base)
    computed = OnnxNetwork(path, OFFLINE)
    waveforms = speech(48000, 16000)
    native = Wav2Vec2Decoder(recogniser, OFFLINE, window_s=1.2, edge_s=0.2)
    exported = Wav2Vec2Decoder(recogniser, OFFLINE, 1.2, 0.2, computed)
    assert exported.decode(waveforms) == native.decode(waveforms)
