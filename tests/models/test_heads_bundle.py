"""One encoder of 4 bits and a head a language: decoded, bundled, described, and heard by the lines
of its README."""

import json

import numpy
import pytest
import torch
from made import encoders
from made.decoding import RUN, write_manifest
from made.toy_model import train_tokenizer
from test_wav2vec2 import FAMILY, OFFLINE, RECIPE, speech

import build_bundle
import describe_bundle
import identify_language
import quantize
from warmstart.export import bundle, forms, heads_example
from warmstart.models import onnx_file, open_family, quantised_weights
from warmstart.models.base import EncoderFile
from warmstart.run import files
from warmstart.run.errors import UserError

pytestmark = pytest.mark.slow

INT4 = {"scheme": "k_quant", "bits": 4, "block_size": 32, "accuracy_level": 0}
LANGS = ("it", "to")
WAVEFORMS = speech(16000, 9123, 12000, 1601)


@pytest.fixture(scope="module")
def tokenizers(tmp_path_factory):
    return {
        lang: train_tokenizer(tmp_path_factory.mktemp(lang), size)
        for lang, size in (("it", 64), ("to", 48))
    }


@pytest.fixture(scope="module", params=["wav2vec2-large", "w2v-bert", "whisper"])
def model(request, tokenizers, tmp_path_factory):
    folder = tmp_path_factory.mktemp(request.param)
    encoders.donor(folder / "donor", request.param)
    family = open_family(FAMILY)
    made = family.build_heads(
        family.read_donor(folder / "donor"), RECIPE, tokenizers=tokenizers, seed=1, steps=10
    )
    with torch.no_grad():  # a random head says one thing; these say many
        for name, part in made.parts().items():
            if name != "encoder":
                part.weight.mul_(20)
                part.bias[0] = -100  # <unk>, which SentencePiece writes otherwise
    made.save(folder / "model.safetensors")
    return folder / "model.safetensors"


def spoken(samples, lang):
    """The noise of a language: white, or without its high tones."""
    if lang == "it":
        return samples
    return numpy.convolve(samples, numpy.full(8, 1 / 8), "same").astype(numpy.float32)


def manifests(folder, waveforms=WAVEFORMS):
    """Of each language."""
    return [
        write_manifest(
            folder / lang / "test.jsonl.gz",
            {f"{lang}{place}": spoken(samples, lang) for place, samples in enumerate(waveforms)},
            lang,
        )
        for lang in LANGS
    ]


def command(model, output):
    arguments = ["--model", str(model), "--family", FAMILY, "--run", RUN, "--precision", "int4"]
    arguments += ["--tier", OFFLINE.as_text(), "--settings", json.dumps(INT4)]
    return [*arguments, "--output-dir", str(output)]


@pytest.fixture(scope="module")
def identified(model, tmp_path_factory):
    """What tells the two languages of noise apart, of the first 0.2 s and of the whole."""
    folder = tmp_path_factory.mktemp("identified")
    cuts = [str(path) for path in manifests(folder)]
    tests = [f"{lang}/t={path}" for lang, path in zip(LANGS, cuts, strict=True)]
    identify_language.main(
        [
            *("--languages", *LANGS, "--model", str(model), "--family", FAMILY),
            *("--tier", OFFLINE.as_text(), "--train-cuts", *cuts, "--tests", *tests),
            *("--settings", json.dumps({"seconds_heard": [0.2, "all"], "device": "cpu"})),
            *("--output", str(folder / "said.parquet")),
        ]
    )
    return folder / "said.json"


@pytest.fixture(scope="module")
def made(model, identified, tmp_path_factory):
    """A bundle that tells the language."""
    folder = tmp_path_factory.mktemp("bundle")
    examples = [str(path) for path in manifests(folder)]
    arguments = command(model, folder / "bundle")
    build_bundle.main([*arguments, "--example-cuts", *examples, "--identified", str(identified)])
    describe_bundle.main(["--bundle", str(folder / "bundle"), "--origin", "{}"])
    return folder / "bundle"


def test_the_encoder_is_quantised_and_the_heads_are_not(model, tmp_path):
    path, report = tmp_path / "encoder.onnx", tmp_path / "quantize.json"
    arguments = ["--model", str(model), "--precision", "q", "--family", FAMILY, "--run", RUN]
    arguments += ["--tier", OFFLINE.as_text(), "--settings", json.dumps(INT4)]
    quantize.main([*arguments, "--output", str(path), "--report", str(report)])
    found = files.read_json(report)
    assert found["parity"]["max_abs"] < 2e-3
    assert found["parity"]["differing_frames"] == 0
    left = {one["parameter"]: one["reason"] for one in found["layers"]["left"]}
    assert left["head.head_it.weight"] == "of a head, which is float32 behind the graph"
    recogniser = open_family(FAMILY).load(model)
    decoder = recogniser.decoder(OFFLINE, EncoderFile(path, files.digest(model)))
    assert (decoder.engine, decoder.heads) == ("onnxruntime", LANGS)
    heard = {lang: decoder.of_language(lang).decode(WAVEFORMS) for lang in LANGS}
    assert heard["it"] != heard["to"]
    assert decoder.with_confidence().decode_heads(WAVEFORMS)["to"][0].text == heard["to"][0].text
    quantised_weights.load(recogniser.network, path)
    for lang in LANGS:
        assert recogniser.decoder(OFFLINE).of_language(lang).decode(WAVEFORMS) == heard[lang]
    graph = onnx_file.metadata_of(__import__("onnx").load(str(path)))
    assert graph["warmstart_form"] == "states"


def test_each_head_says_what_the_native_decode_says(model, made):
    about = bundle.verify(made)
    assert (about["form"], about["heads"]) == ("offline_ctc_heads", list(LANGS))
    met = about["agreement"]
    assert met["utterances"] == 2 * len(WAVEFORMS)
    given, detected = met["variants"]
    assert given == {"variant": "given", "identical": met["utterances"], "differing_words": 0}
    assert met["native_words"] > 10
    # What it tells was learnt from these very utterances.
    assert detected["variant"] == "detected"
    assert met["detected"] > met["utterances"] / 2
    assert (detected["identical"] < met["utterances"]) == (met["detected"] < met["utterances"])
    files_of = {"encoder.onnx", "example.wav", "bundle.json", "README.md"}
    files_of |= {f"{what}_{lang}.{end}" for lang in LANGS for what, end in PER_LANGUAGE}
    assert {path.name for path in made.iterdir()} == files_of


PER_LANGUAGE = (("head", "onnx"), ("tokens", "txt"))


def test_a_language_is_told_as_the_study_told_it(model, identified, made):
    """By the states of the encoder of 4 bits, in the place of those that it was learnt from."""
    recognizer = heads_example.open_bundle(made)
    listener = open_family(FAMILY).load(model).listener(OFFLINE)
    weights = files.read_json(identified)["seconds"]["all"]["weights"]
    for samples in WAVEFORMS[:3]:
        (state,) = listener.mean_states([samples])
        scores = numpy.array(weights["coefficients"]) @ state + weights["intercepts"]
        told = recognizer[0].run(["language"], {"x": samples[None]})[0][0]
        assert heads_example.detect(recognizer, samples) == LANGS[int(told.argmax())]
        if abs(scores[0] - scores[1]) > 1:
            assert told.argmax() == scores.argmax()


def test_the_lines_of_its_readme_print_what_it_says(made, monkeypatch, capsys):
    text = (made / "README.md").read_text(encoding="utf-8")
    shown = bundle.verify(made)["example"]["sherpa_onnx"]
    lines = text.split("```python\n")[1].split("```")[0]
    assert len(lines.splitlines()) <= 45
    monkeypatch.chdir(made)
    capsys.readouterr()
    exec(lines, {})
    assert capsys.readouterr().out.strip() == shown != ""
    sizes = [
        sum((made / f"{what}_{lang}.{end}").stat().st_size for what, end in PER_LANGUAGE) / 1e6
        for lang in LANGS
    ]
    assert f"it {sizes[0]:.3f} MB, to {sizes[1]:.3f} MB. Heads are float32." in text
    assert "| language | identical utterances | differing words |" in text
    assert "`detect` tells it from the states" in text
    assert "with a CTC head a language, arm" in text


def test_a_bundle_without_a_router_is_told_the_language(model, tmp_path):
    examples = [str(path) for path in manifests(tmp_path, WAVEFORMS[:1])]
    build_bundle.main([*command(model, tmp_path / "bundle"), "--example-cuts", *examples])
    about = bundle.verify(tmp_path / "bundle")
    assert [row["variant"] for row in about["agreement"]["variants"]] == ["given"]
    described = forms.of_bundle(about)
    assert "detect" not in "\n".join([*described.code(about), *described.remarks(about)])


def test_what_does_not_belong_together_is_refused(model, identified, tmp_path):
    arguments = [*command(model, tmp_path / "bundle"), "--example-cuts"]
    examples = [str(path) for path in manifests(tmp_path, WAVEFORMS[:1])]
    about = files.read_json(identified)
    for changes, said in (
        ({"encoder_sha256": "0" * 64}, "of another model, or at another tier"),
        ({"languages": ["it", "fr"]}, r"tells it, fr, and the model has heads of it, to"),
        ({"seconds": {"all": {}}}, r"not whole \(KeyError\('weights'\)\)"),
    ):
        path = tmp_path / "said.json"
        path.write_text(json.dumps({**about, **changes}))
        with pytest.raises(UserError, match=said):
            build_bundle.main([*arguments, *examples, "--identified", str(path)])
    other = write_manifest(tmp_path / "de" / "test.jsonl.gz", {"a": WAVEFORMS[0]}, "de")
    with pytest.raises(UserError, match=r"utterances in de, and the model has heads of it, to"):
        build_bundle.main([*arguments, str(other)])
    assert not (tmp_path / "bundle").exists()
