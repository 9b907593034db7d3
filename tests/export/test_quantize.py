"""The encoder files compute what PyTorch computes with the same weights, and their reports say what
is in them."""

import json
import signal
import subprocess
import sys

import numpy
import onnx
import pytest
import soundfile
from made import toy_model
from made.decoding import RUN, read, run, write_manifest
from made.toy_model import SAMPLE_RATE, SPEECH, toy_model_path  # noqa: F401 (a fixture)

import quantize
from warmstart.export import matmul_nbits
from warmstart.export.scheme import Scheme
from warmstart.models import onnx_file, quantised_weights
from warmstart.models.fastconformer import load, onnx_export
from warmstart.models.fastconformer.decoder import Decoder
from warmstart.models.fastconformer.onnx_encoder import OnnxEncoder
from warmstart.models.tier import Tier
from warmstart.run import files
from warmstart.run.errors import UserError

pytestmark = pytest.mark.slow

TIERS = [Tier("560ms", 70, 6), Tier("160ms", 70, 1), Tier("80ms", 70, 0)]
INT4 = {"scheme": "k_quant", "bits": 4, "block_size": 32, "accuracy_level": 0}
HOP = SAMPLE_RATE // 100


@pytest.fixture(scope="module")
def speech():
    clips = [
        soundfile.read(path, dtype="float32")[0] for path in sorted(SPEECH.glob("*/*.flac"))[:12]
    ]
    # One frame over, exactly two chunks, shorter than one chunk of [70, 6].
    return clips + [clips[0][: frames * HOP] for frames in (106, 105, 104, 20, 9, 2)]


def make(toy_model_path, folder, tier, **settings):
    path = folder / f"{tier.name}-{'-'.join(map(str, settings.values()))}.onnx"
    report = path.with_suffix(".json")
    options = {
        "--model": toy_model_path,
        "--precision": "int4",
        "--output": path,
        "--report": report,
    }
    command = [str(part) for option in options.items() for part in option]
    command += ["--run", RUN, "--tier", tier.as_text(), "--settings", json.dumps(settings)]
    quantize.main(command)
    return path, json.loads(report.read_text())


def one_product(seed):
    """A graph whose weights alone depend on the seed."""
    weight = numpy.random.default_rng(seed).normal(size=(128, 24)).astype(numpy.float32)
    graph = onnx.helper.make_graph(
        [onnx.helper.make_node("MatMul", ["x", "w"], ["y"], name="layers.0.linear/MatMul")],
        "one",
        [onnx.helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, ["rows", 128])],
        [onnx.helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, ["rows", 24])],
        [onnx.numpy_helper.from_array(weight, "w")],
    )
    return onnx.helper.make_model(
        graph, opset_imports=[onnx.helper.make_opsetid("", 17)], ir_version=10
    )


@pytest.mark.parametrize("tier", TIERS, ids=lambda tier: tier.name)
@pytest.mark.parametrize("settings", [{"scheme": "fp32"}, INT4], ids=["fp32", "int4"])
def test_tokens_equal_pytorch_with_the_same_weights(
    toy_model_path, tmp_path, speech, tier, settings
):
    path, report = make(toy_model_path, tmp_path, tier, **settings)
    assert report["parity"]["max_abs"] < 1e-4
    model = load.load_model(toy_model_path)
    as_trained = Decoder(model, Tier("full", *tier.context, offline=True)).search(speech)
    quantised_weights.load(model.encoder, path)
    expected = Decoder(model, Tier("full", *tier.context, offline=True)).search(speech)
    decoder = Decoder(model, tier, OnnxEncoder(path, tier, files.digest(toy_model_path)))
    assert decoder.search(speech) == expected
    assert [decoder.search([samples])[0] for samples in speech] == expected
    assert sum(len(found.tokens) for found in expected) > 20 * len(expected)
    assert (as_trained == expected) == (settings["scheme"] == "fp32"), (
        "int4 must change a random model's tokens, fp32 must not"
    )


@pytest.mark.parametrize("scheme", ["k_quant", "rtn", "default"])
@pytest.mark.parametrize("bits", [4, 8])
def test_dequantised_weight_is_what_onnxruntime_multiplies_with(scheme, bits):
    import onnxruntime

    model = one_product(1)
    weight = onnx.numpy_helper.to_array(model.graph.initializer[0])
    quantized = matmul_nbits.quantize(model, Scheme(scheme, bits))
    session = onnxruntime.InferenceSession(
        quantized.SerializeToString(), providers=["CPUExecutionProvider"]
    )
    multiplied = session.run(None, {"x": numpy.eye(128, dtype=numpy.float32)})[0]
    ours = quantised_weights.dequantized(quantized)["layers.0.linear"]
    numpy.testing.assert_allclose(ours.T, multiplied, atol=1e-6)
    error = numpy.linalg.norm(ours.T - weight) / numpy.linalg.norm(weight)
    assert 0 < error < {4: 0.1, 8: 0.01}[bits]


def test_report_names_sizes_ratios_and_every_parameter(toy_model_path, tmp_path):
    path, report = make(toy_model_path, tmp_path, TIERS[0], **INT4)
    model = load.load_model(toy_model_path)
    sizes = report["bytes"]
    assert sizes["encoder"] == path.stat().st_size
    assert sizes["pytorch_fp32"] == 4 * sum(
        parameter.numel() for parameter in model.encoder.parameters()
    )
    assert sizes["encoder"] < sizes["fp16"] < sizes["onnx_fp32"]
    assert report["ratios"]["onnx_fp32_to_encoder"] == pytest.approx(
        sizes["onnx_fp32"] / sizes["encoder"], abs=1e-3
    )
    layers = report["layers"]
    # Two layers of 2 x 2 feed-forward, 4 attention and 2 pointwise matrices, and the projection
    # behind the subsampling.
    assert len(layers["quantised"]) == 2 * 10 + 1
    assert all(0 < layer["relative_error"] < 0.1 for layer in layers["quantised"])
    parameters = {name for name, _ in model.encoder.named_parameters()}
    named = {f"{layer['layer']}.weight" for layer in layers["quantised"]} | {
        left["parameter"] for left in layers["left"]
    }
    assert named == parameters
    assert report["opset"] == {"ai.onnx": 17, "com.microsoft": 1}
    assert list(path.parent.glob("*.data")) == []


def test_eight_bits_lie_nearer_and_int8_activations_are_marked(toy_model_path, tmp_path):
    _, int4 = make(toy_model_path, tmp_path, TIERS[0], **INT4)
    _, int8 = make(toy_model_path, tmp_path, TIERS[0], **{**INT4, "bits": 8})
    assert int8["relative_error_max"] < int4["relative_error_median"] / 10
    assert int4["bytes"]["encoder"] < int8["bytes"]["encoder"] < int8["bytes"]["onnx_fp32"]
    path, _ = make(toy_model_path, tmp_path, TIERS[0], **{**INT4, "accuracy_level": 4})
    assert quantised_weights.accuracy_levels(onnx.load(str(path))) == {4}
    with pytest.raises(UserError, match="int8 activations"):
        quantised_weights.load(load.load_model(toy_model_path).encoder, path)


def test_layers_with_an_odd_number_of_blocks_stay_and_say_so(tmp_path):
    model_path = toy_model.build(tmp_path, d_model=96)
    _, report = make(model_path, tmp_path, TIERS[0], **INT4)
    left = {entry["parameter"]: entry["reason"] for entry in report["layers"]["left"]}
    assert left["layers.0.self_attn.linear_q.weight"] == "96 rows are an odd number of blocks"
    assert "layers.0.feed_forward1.linear2" in {
        layer["layer"] for layer in report["layers"]["quantised"]
    }
    assert report["parity"]["max_abs"] < 1e-4


def test_program_decodes_with_the_encoder_and_offline_with_its_weights(
    toy_model_path, tmp_path, speech
):
    encoder, _ = make(toy_model_path, tmp_path, Tier("offline", 70, 6, True), **INT4)
    manifest = write_manifest(tmp_path / "a" / "test.jsonl.gz", {"u": speech[0], "v": speech[1]})
    model = load.load_model(toy_model_path)
    quantised_weights.load(model.encoder, encoder)
    # The file of an offline tier holds the steps of its context; its weights serve the full
    # forward.
    for tier in (vars(TIERS[0]), {**vars(TIERS[0]), "name": "offline", "offline": True}):
        out = run(
            toy_model_path,
            tmp_path / tier["name"],
            {"a": manifest},
            tier=tier,
            more=["--encoder", str(encoder)],
        )
        expected = Decoder(model, Tier(**tier)).search([speech[0], speech[1]])
        assert [[token["piece"] for token in line["tokens"]] for line in read(out["a"])] == [
            model.tokenizer.ids_to_tokens(found.tokens) for found in expected
        ]
        assert json.loads(out["a"].with_suffix(".json").read_text())[
            "encoder_sha256"
        ] == files.digest(encoder)


@pytest.mark.parametrize(
    ("settings", "smaller"),
    [
        ({"scheme": "fp32"}, 0.75),
        ({**INT4, "bits": 8}, 1.6),
        ({**INT4, "scheme": "rtn"}, 2.0),
        ({**INT4, "block_size": 16}, 1.8),
        ({**INT4, "accuracy_level": 4}, 2.0),
    ],
    ids=["onnx", "int8", "rtn", "block16", "a4"],
)
def test_every_precision_of_a_study_runs_from_file_to_hypotheses(
    toy_model_path, tmp_path, speech, settings, smaller
):
    encoder, report = make(toy_model_path, tmp_path, TIERS[0], **settings)
    assert report["bytes"]["pytorch_fp32"] / report["bytes"]["encoder"] > smaller
    manifest = write_manifest(tmp_path / "a" / "test.jsonl.gz", {"u": speech[0], "v": speech[1]})
    out = run(
        toy_model_path,
        tmp_path,
        {"a": manifest},
        tier=vars(TIERS[0]),
        more=["--encoder", str(encoder)],
    )
    header = json.loads(out["a"].with_suffix(".json").read_text())
    assert header["engine"] == "onnxruntime"
    model = load.load_model(toy_model_path)
    quantised_weights.load(model.encoder, encoder, any_activations=True)
    expected = Decoder(model, TIERS[0]).search([speech[0], speech[1]])
    pieces = [[token["piece"] for token in line["tokens"]] for line in read(out["a"])]
    same = pieces == [model.tokenizer.ids_to_tokens(found.tokens) for found in expected]
    # int8 activations are not what the dequantised weights compute: their tokens, and their parity,
    # are their own.
    assert same == (settings.get("accuracy_level") != 4)
    assert (report["parity"]["max_abs"] < 1e-4) == same


def test_weights_beside_a_graph_are_covered_by_its_digest_and_go_with_it(tmp_path, monkeypatch):
    path = tmp_path / "encoder.onnx"
    small = one_product(1).SerializeToString(deterministic=True)
    assert onnx_file.save(one_product(1), path) == path.stat().st_size
    assert onnx.load(str(path)).SerializeToString(deterministic=True) == small
    assert not onnx.load(str(path)).metadata_props, "what was made before has the same bytes"
    monkeypatch.setattr(onnx_file, "_PROTOBUF_LIMIT_BYTES", 1000)
    digests = set()
    for seed in (1, 2):
        written = onnx_file.save(one_product(seed), path)
        data = tmp_path / "encoder.onnx.data"
        assert written == path.stat().st_size + data.stat().st_size
        assert data.stat().st_size == 128 * 24 * 4, "nothing of the former weights"
        assert data.stat().st_mode == path.stat().st_mode
        digests.add(files.digest(path))
    assert len(digests) == 2
    onnx_file.save(one_product(1), path)
    assert files.digest(path) in digests, "the same weights give the same bytes"
    monkeypatch.undo()
    onnx_file.save(one_product(1), path)
    assert sorted(tmp_path.iterdir()) == [path]


KILLED = """
import os, signal, sys
sys.path[:0] = sys.argv[2:]
from test_quantize import one_product
from warmstart.models import onnx_file, quantised_weights
onnx_file._PROTOBUF_LIMIT_BYTES = 1000
# The weights are written, the graph is about to get its name.
os.replace = lambda *_: os.kill(os.getpid(), signal.SIGKILL)
onnx_file.save(one_product(2), sys.argv[1])
"""


def test_killed_while_weights_are_written_leaves_no_graph_beside_weights_of_another(
    tmp_path, monkeypatch
):
    path = tmp_path / "encoder.onnx"
    monkeypatch.setattr(onnx_file, "_PROTOBUF_LIMIT_BYTES", 1000)
    onnx_file.save(one_product(1), path)
    done = subprocess.run([sys.executable, "-c", KILLED, str(path), *sys.path], check=False)
    assert done.returncode == -signal.SIGKILL
    assert (tmp_path / "encoder.onnx.data").exists()
    assert not path.exists()
    onnx_file.save(one_product(3), path)
    found = onnx.numpy_helper.to_array(onnx.load(str(path)).graph.initializer[0])
    expected = onnx.numpy_helper.to_array(one_product(3).graph.initializer[0])
    assert numpy.array_equal(found, expected)


def test_an_encoder_with_weights_beside_it_decodes_and_refuses_others(
    toy_model_path, tmp_path, speech, monkeypatch
):
    monkeypatch.setattr(onnx_file, "_PROTOBUF_LIMIT_BYTES", 100_000)
    path, report = make(toy_model_path, tmp_path, TIERS[0], scheme="fp32")
    data = path.with_name(path.name + ".data")
    assert report["bytes"]["encoder"] == path.stat().st_size + data.stat().st_size
    assert report["parity"]["max_abs"] < 1e-4
    model = load.load_model(toy_model_path)
    expected = Decoder(model, Tier("full", *TIERS[0].context, offline=True)).search(speech)
    assert Decoder(model, TIERS[0], OnnxEncoder(path, TIERS[0])).search(speech) == expected
    weights = bytearray(data.read_bytes())
    weights[1000] ^= 1
    data.write_bytes(weights)
    for opened in (
        lambda: OnnxEncoder(path, TIERS[0]),
        lambda: quantised_weights.load(model.encoder, path),
    ):
        with pytest.raises(
            UserError,
            match=r"\.onnx\.data: not the weights that .*\.onnx was written with; make both again",
        ):
            opened()
    data.unlink()
    with pytest.raises(UserError, match=r"onnx\.data: no weights that"):
        quantised_weights.load(model.encoder, path)
    with pytest.raises(UserError, match="cannot load it"):
        OnnxEncoder(path, TIERS[0])


@pytest.mark.parametrize("context", [(0, 0), (0, 6), (1, 0)])
def test_a_tier_without_a_cache_is_refused_before_the_model_is_read(tmp_path, context):
    with pytest.raises(UserError, match=f"left context of {context[0]}; .* 2 frames or more"):
        make(tmp_path / "no_such.nemo", tmp_path, Tier("short", *context), scheme="fp32")
    with pytest.raises(UserError, match="2 frames or more"):
        onnx_export.export(None, Tier("short", *context))


def test_bad_input_is_refused(toy_model_path, tmp_path):
    with pytest.raises(UserError, match="scheme is 'gguf'"):
        make(toy_model_path, tmp_path, TIERS[0], scheme="gguf")
    with pytest.raises(UserError, match="unexpected keyword argument 'blocks'"):
        make(toy_model_path, tmp_path, TIERS[0], blocks=32)
    assert not list(tmp_path.glob("*.onnx"))
    path, _ = make(toy_model_path, tmp_path, TIERS[0], **INT4)
    with pytest.raises(UserError, match=r"made for context \[70, 6\], tier 160ms is \[70, 1\]"):
        OnnxEncoder(path, TIERS[1])
    with pytest.raises(UserError, match="made of a model with sha256"):
        OnnxEncoder(path, TIERS[0], "0" * 64)
    whole = onnx.load(str(path))
    whole.opset_import[0].version = 99
    onnx.save(whole, str(tmp_path / "opset.onnx"))
    with pytest.raises(UserError, match=r"(?is)cannot load it .*opset 99.*run quantize.py again"):
        OnnxEncoder(tmp_path / "opset.onnx", TIERS[0])
    path.write_bytes(path.read_bytes()[:5000])
    with pytest.raises(UserError, match="cannot load it"):
        OnnxEncoder(path, TIERS[0])
