"""A bundle loads in sherpa-onnx as it is, holds the weights that were scored, and is whole or
absent."""

import json

import numpy
import onnx
import pytest
import soundfile
from made import sherpa_reference
from made.decoding import write_manifest
from made.toy_model import SAMPLE_RATE, SPEECH, toy_model_path  # noqa: F401 (a fixture)
from onnx import numpy_helper

import build_bundle
import describe_bundle
from warmstart.export import bundle, forms, matmul_nbits, sherpa
from warmstart.export.scheme import Scheme
from warmstart.models import onnx_file, quantised_weights
from warmstart.models.base import Hypothesis
from warmstart.models.bundle_forms import DEFAULT_FORM
from warmstart.models.fastconformer import load, onnx_export, sherpa_networks
from warmstart.models.tier import Tier
from warmstart.run import files, folders
from warmstart.run.errors import UserError

pytestmark = pytest.mark.slow

TIER, SHORTEST = Tier("560ms", 70, 6), Tier("80ms", 70, 0)
INT4 = {"scheme": "k_quant", "bits": 4, "block_size": 32, "accuracy_level": 0}
LICENCE = {
    "licence": "CC-BY-4.0",
    "init": {"name": "English", "licence": "OpenMDW-1.1", "source": "donor/repo"},
}
KEYS = {"training_set": "it", "arm": "en", "hours": "0.02", "seed": 1}


@pytest.fixture(scope="module")
def clips():
    return [
        soundfile.read(path, dtype="float32")[0] for path in sorted(SPEECH.glob("it/*.flac"))[:4]
    ]


def build(model, folder, clips, settings, tier=TIER):
    manifest = write_manifest(
        folder / "m" / "test.jsonl.gz", {f"u{index}": clip for index, clip in enumerate(clips)}
    )
    options = {
        "--model": model,
        "--precision": "int4",
        "--example-cuts": manifest,
        "--output-dir": folder / "bundle",
    }
    command = [str(part) for option in options.items() for part in option]
    build_bundle.main(
        [
            *command,
            "--tier",
            tier.as_text(),
            "--settings",
            json.dumps(settings),
            "--run",
            "it/en/0.02h/seed1",
        ]
    )
    describe_bundle.main(["--bundle", str(folder / "bundle"), "--origin", json.dumps(LICENCE)])
    return folder / "bundle"


@pytest.fixture(scope="module")
def int4_bundle(toy_model_path, tmp_path_factory, clips):
    return build(toy_model_path, tmp_path_factory.mktemp("int4"), clips, INT4)


@pytest.mark.parametrize(
    "settings", [{"scheme": None}, {**INT4, "accuracy_level": 4}], ids=["fp32", "int4-a4"]
)
def test_sherpa_decodes_a_real_recording_with_other_precisions(
    toy_model_path, tmp_path, clips, settings
):
    found = build(toy_model_path, tmp_path, clips[:1], settings)
    assert sherpa.recognize(sherpa.open_recognizer(found), clips[0], SAMPLE_RATE, 0.58)


def test_weights_beside_the_graph_ship_and_are_counted(
    toy_model_path, tmp_path, clips, monkeypatch
):
    monkeypatch.setattr(onnx_file, "_PROTOBUF_LIMIT_BYTES", 100_000)
    found = build(toy_model_path, tmp_path, clips[:1], {"scheme": None})
    about, data = bundle.verify(found), found / "encoder.onnx.data"
    assert sherpa.recognize(sherpa.open_recognizer(found), clips[0], SAMPLE_RATE, 0.58)
    assert about["encoder_bytes"] == (found / "encoder.onnx").stat().st_size + data.stat().st_size
    assert about["files"]["encoder.onnx.data"]["sha256"] == files.digest(data)
    assert data.stat().st_mode == (found / "encoder.onnx").stat().st_mode
    assert f"; {about['encoder_bytes'] / 1e6:.1f} MB." in (found / "README.md").read_text(
        encoding="utf-8"
    )


def test_what_the_readme_shows_prints_what_it_says(
    toy_model_path, tmp_path, clips, monkeypatch, capsys
):
    loud = clips[0] * (1.6 / abs(clips[0]).max())  # PCM_16 clips it
    found = build(toy_model_path, tmp_path, [loud], {"scheme": None})
    shown = bundle.verify(found)["example"]["sherpa_onnx"]
    recognizer = sherpa.open_recognizer(found)
    assert "".join(sherpa.recognize(recognizer, loud, SAMPLE_RATE, 0.58)).strip() != shown, (
        "the file sounds as the samples do"
    )
    text = (found / "README.md").read_text(encoding="utf-8")
    monkeypatch.chdir(found)
    capsys.readouterr()
    exec(text.split("```python\n")[1].split("```")[0], {})
    assert capsys.readouterr().out.strip() == shown != ""
    assert f"What this prints for it here: {shown}\n" in text


def test_zeros_in_front_are_as_long_at_every_sample_rate(int4_bundle):
    recognizer = sherpa.open_recognizer(int4_bundle)

    def windows(rate, seconds):
        stream = sherpa.open_stream(
            recognizer, numpy.zeros(round(seconds * rate), numpy.float32), rate, sherpa.tail_s(TIER)
        )
        count = 0
        while recognizer.is_ready(stream):
            recognizer.decode_stream(stream)
            count += 1
        return count

    for more in range(0, 560, 70):  # somewhere in there 110 ms less are a window less
        counts = {rate: windows(rate, 1.005 + more / 1000) for rate in (8000, 16000, 48000)}
        assert len(set(counts.values())) == 1, (more, counts)
    assert "[0.0] * round(0.165 * rate)" in (int4_bundle / "README.md").read_text(encoding="utf-8")


def test_words_that_sherpa_adds_where_the_native_decode_has_none_are_counted(int4_bundle, clips):
    class Deaf:
        sample_rate, tier, heads = SAMPLE_RATE, TIER, ()

        def decode(self, waveforms):
            return [Hypothesis() for _ in waveforms]

    found = forms.open_form(DEFAULT_FORM).agreement(int4_bundle, Deaf(), clips, [None] * len(clips))
    recognizer = sherpa.open_recognizer(int4_bundle)
    said = sum(
        len("".join(sherpa.recognize(recognizer, clip, SAMPLE_RATE, 0.58)).split())
        for clip in clips
    )
    assert found["native_words"] == 0
    assert found["variants"][-1]["differing_words"] == said > 0


def test_an_emptied_cache_cuts_new_frames_off_as_the_readme_says(int4_bundle):
    """What `recognizer.reset` does; the day it costs nothing, the README may say so."""
    import onnxruntime

    session = onnxruntime.InferenceSession(
        str(int4_bundle / "encoder.onnx"), providers=["CPUExecutionProvider"]
    )
    cache = [
        numpy.zeros((1, *value.shape[1:]), numpy.float32) for value in session.get_inputs()[2:4]
    ]
    window = numpy.random.default_rng(1).normal(-6, 3, (1, 80, 65)).astype(numpy.float32)
    other = window.copy()
    other[:, :, 9:16] += 3  # the first 9 were in the window before

    def encoded(features, heard):
        values = [features, numpy.array([65]), *cache, numpy.array([heard])]
        return session.run(None, dict(zip(onnx_export.INPUTS, values, strict=True)))[0]

    assert numpy.array_equal(encoded(window, 0), encoded(other, 0))
    assert abs(encoded(window, 7) - encoded(other, 7)).max() > 1e-3
    assert "`recognizer.reset(stream)`" in (int4_bundle / "README.md").read_text(encoding="utf-8")


def test_sherpa_decodes_a_real_recording(int4_bundle):
    samples, rate = soundfile.read(int4_bundle / "example.wav", dtype="float32")
    tokens = sherpa.recognize(sherpa.open_recognizer(int4_bundle), samples, rate, 0.58)
    assert len(tokens) > 20
    assert len(set(tokens)) > 3
    about = bundle.verify(int4_bundle)
    assert about["agreement"]["utterances"] == 4
    assert about["agreement"]["native_words"] > 10


def test_bundle_holds_the_packed_weights_that_were_scored(int4_bundle, toy_model_path, tmp_path):
    model = load.load_model(toy_model_path)
    native = matmul_nbits.quantize(onnx_export.export(model.encoder, TIER), Scheme(**INT4))

    def packed(graph):
        tensors = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.graph.initializer}
        nodes = [node for node in graph.graph.node if node.op_type == "MatMulNBits"]
        return {
            onnx_file.module_of(node.name): [tensors[name] for name in node.input[1:] if name]
            for node in nodes
        }

    ours, shipped = packed(native), packed(onnx.load(str(int4_bundle / "encoder.onnx")))
    assert ours.keys() == shipped.keys()
    assert len(ours) == 21
    for name, tensors in ours.items():
        assert all(
            numpy.array_equal(left, right)
            for left, right in zip(tensors, shipped[name], strict=True)
        ), name


@pytest.mark.parametrize("tier", [TIER, SHORTEST], ids=lambda tier: tier.name)
def test_graph_makes_native_chunks_of_sherpas_windows(toy_model_path, tmp_path, tier):
    import onnxruntime
    import torch

    model = load.load_model(toy_model_path)
    graph = onnx_export.export(model.encoder, tier, native=False, log_guard=2**-24)
    onnx_file.save(graph, tmp_path / "encoder.onnx")
    session = onnxruntime.InferenceSession(
        str(tmp_path / "encoder.onnx"), providers=["CPUExecutionProvider"]
    )
    shift = 8 * (tier.right + 1)
    features = (
        torch.randn(1, 80, 9 + 12 * shift, generator=torch.Generator().manual_seed(1)) * 4 - 6
    )
    features[:, :, 30:40] = float(numpy.log(numpy.finfo(numpy.float32).eps))
    encode = sherpa_reference.windows_in_pytorch(model, tier)
    caches = [
        numpy.zeros((1, *shape), numpy.float32) for shape in onnx_export.cache_shapes(model.encoder)
    ]
    caches.append(numpy.zeros(1, numpy.int64))
    for start in range(0, 12 * shift, shift):  # at 560 ms more than the cache of 70 frames holds
        window = features[:, :, start : start + 9 + shift]
        expected = encode(window.transpose(1, 2)).T[None].numpy()
        inputs = dict(
            zip(
                onnx_export.INPUTS, [window.numpy(), numpy.array([9 + shift]), *caches], strict=True
            )
        )
        found, count, *caches = session.run(None, inputs)
        assert found.shape[2] == count[0] == tier.right + 1
        numpy.testing.assert_allclose(found, expected, atol=1e-5)


@pytest.mark.parametrize("tier", [TIER, SHORTEST], ids=lambda tier: tier.name)
def test_streams_of_a_batch_may_be_at_different_windows(toy_model_path, tmp_path, tier):
    import onnxruntime

    model = load.load_model(toy_model_path)
    onnx_file.save(onnx_export.export(model.encoder, tier, native=False), tmp_path / "encoder.onnx")
    session = onnxruntime.InferenceSession(
        str(tmp_path / "encoder.onnx"), providers=["CPUExecutionProvider"]
    )
    shift = 8 * (tier.right + 1)
    draw = numpy.random.default_rng(1)
    streams = [
        draw.normal(-6, 4, (5, 80, 9 + shift)).astype(numpy.float32) for _ in range(3)
    ]  # five windows each
    empty = [
        numpy.zeros(shape, numpy.float32) for shape in onnx_export.cache_shapes(model.encoder)
    ] + [numpy.int64(0)]

    def step(windows, caches):
        stacked = [numpy.stack(parts) for parts in zip(*caches, strict=True)]
        lengths = numpy.full(len(windows), 9 + shift)
        outputs, counts, *stacked = session.run(
            None,
            dict(zip(onnx_export.INPUTS, [numpy.stack(windows), lengths, *stacked], strict=True)),
        )
        assert set(counts) == {tier.right + 1}
        return outputs, [list(parts) for parts in zip(*stacked, strict=True)]

    alone = []
    for windows in streams:
        caches = [empty]
        for window in windows:
            outputs, caches = step([window], caches)
            alone.append(outputs[0])
    caches = [empty] * 3
    for now in range(
        7
    ):  # the second stream begins one window later than the first, the third another one
        live = [stream for stream in range(3) if 0 <= now - stream < 5]
        outputs, following = step(
            [streams[stream][now - stream] for stream in live], [caches[stream] for stream in live]
        )
        for stream, output, cache in zip(live, outputs, following, strict=True):
            numpy.testing.assert_allclose(output, alone[5 * stream + now - stream], atol=1e-5)
            caches[stream] = cache


@pytest.mark.parametrize(
    ("precision", "tier"),
    [("fp32", TIER), ("int4", TIER), ("fp32", SHORTEST)],
    ids=["fp32", "int4", "80ms"],
)
def test_sherpas_tokens_are_our_models_on_its_features_and_chunks(
    toy_model_path, int4_bundle, tmp_path, precision, tier
):
    folder = int4_bundle
    model = load.load_model(toy_model_path)
    if precision == "fp32":
        folder = tmp_path / "fp32"
        folder.mkdir()
        sherpa_networks.write_transducer(model, tier, folder, lambda graph: graph)
    else:
        quantised_weights.load(model.encoder, folder / "encoder.onnx")
    recognizer = sherpa.open_recognizer(folder)
    mel, tail_s, shift = (
        model.preprocessor.featurizer.fb[0].numpy(),
        sherpa.tail_s(tier),
        8 * (tier.right + 1),
    )
    assert tail_s == {7: 0.58, 1: 0.1}[tier.right + 1]
    agreed = 0
    for path in sorted(SPEECH.glob("*/*.flac"))[::6]:
        samples = soundfile.read(path, dtype="float32")[0]
        padded = numpy.concatenate(
            [numpy.zeros(2640), samples, numpy.zeros(round(tail_s * SAMPLE_RATE))]
        ).astype(numpy.float32)
        frames = sherpa_reference.features(padded, mel)
        tokens = sherpa_reference.tokens(
            sherpa_reference.windows_in_pytorch(model, tier), model, frames, 9 + shift, shift
        )
        pieces = [piece.replace("\u2581", " ") for piece in model.tokenizer.ids_to_tokens(tokens)]
        found = sherpa.recognize(recognizer, samples, SAMPLE_RATE, tail_s)
        # It writes no <unk>, which only a random model says.
        assert found == [piece for piece in pieces if piece != "<unk>"], path
        agreed += len(found)
    assert agreed > 3000


def test_sherpa_decodes_streams_together_that_are_not_equally_far(int4_bundle, clips):
    recognizer, tail_s = sherpa.open_recognizer(int4_bundle), sherpa.tail_s(TIER)
    first = sherpa.open_stream(recognizer, numpy.concatenate(clips), SAMPLE_RATE, tail_s)
    for _ in range(3):
        recognizer.decode_stream(first)
    said = 0
    for samples in clips:
        second = sherpa.open_stream(recognizer, samples, SAMPLE_RATE, tail_s)
        while recognizer.is_ready(second):
            recognizer.decode_streams([first, second] if recognizer.is_ready(first) else [second])
        tokens = list(recognizer.tokens(second))
        assert tokens == sherpa.recognize(recognizer, samples, SAMPLE_RATE, tail_s)
        said += len(tokens)
    assert said > 100


def test_readme_and_json_say_what_it_is(int4_bundle):
    text = (int4_bundle / "README.md").read_text(encoding="utf-8")
    for phrase in (
        "560ms",
        "4 bit (k_quant, block 32)",
        "OpenMDW-1.1",
        "donor/repo",
        "CC-BY-4.0",
        "`int4`, the precision of this bundle, was not scored at 560ms",
        "times real time on one thread",
    ):
        assert phrase in text, phrase
    about = bundle.verify(int4_bundle)
    assert about["keys"] == KEYS
    assert set(about["files"]) == {
        "encoder.onnx",
        "decoder.onnx",
        "joiner.onnx",
        "tokens.txt",
        "example.wav",
    }
    assert about["files"]["tokens.txt"]["sha256"] == files.digest(int4_bundle / "tokens.txt")
    tokens = (int4_bundle / "tokens.txt").read_text(encoding="utf-8").splitlines()
    assert tokens[-1] == f"<blk> {len(tokens) - 1}"
    assert not list(int4_bundle.parent.glob(".*"))


@pytest.mark.parametrize("more", range(0, 560, 70))
def test_zeros_behind_the_audio_flush_its_last_window_and_no_more_than_one_other(more):
    """Frames of 10 ms: 16 of zeros in front; windows of 65 that move by 56, taken while more than
    65 are there."""
    audio_frames = 100 + more // 10
    frames = 16 + audio_frames + round(100 * sherpa.tail_s(TIER))
    windows = -(-(frames - 65) // 56)
    heard = 65 + 56 * (windows - 1)
    assert 0 <= heard - (16 + audio_frames) < 56 + 2


def test_missing_and_changed_files_are_named(int4_bundle, tmp_path):
    import shutil

    copied = tmp_path / "copied"
    shutil.copytree(int4_bundle, copied)
    (copied / "joiner.onnx").unlink()
    with (copied / "tokens.txt").open("a") as stream:
        stream.write("x 999\n")
    with pytest.raises(UserError, match=r"missing \['joiner.onnx'\], changed \['tokens.txt'\]"):
        bundle.verify(copied)
    with pytest.raises(UserError, match=r"lacks joiner.onnx"):
        sherpa.open_recognizer(copied)
    shutil.copy(int4_bundle / "joiner.onnx", copied)
    encoder = onnx.load(str(copied / "encoder.onnx"))
    encoder.opset_import[0].version = 99
    onnx.save(encoder, str(copied / "encoder.onnx"))
    with pytest.raises(
        UserError, match=r"(?is)encoder.onnx: ONNX Runtime .* cannot load it .*opset 99"
    ):
        sherpa.open_recognizer(copied)


def test_a_failed_build_leaves_the_former_bundle(toy_model_path, tmp_path, clips):
    with pytest.raises(UserError, match="a bundle streams"):
        build(toy_model_path, tmp_path, clips[:1], INT4, tier=Tier("offline", 70, 13, True))
    former = tmp_path / "bundle"
    former.mkdir()
    (former / "keep.txt").write_text("former")
    with pytest.raises(FileNotFoundError), folders.atomic_directory(former) as folder:
        (folder / "half" / "missing").write_text("half")
    assert [path.name for path in tmp_path.glob("*bundle*")] == ["bundle"]
    assert (former / "keep.txt").exists()
    with folders.atomic_directory(former) as folder:
        (folder / "new.txt").write_text("new")
    assert [path.name for path in former.iterdir()] == ["new.txt"]
