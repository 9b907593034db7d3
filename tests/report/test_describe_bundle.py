"""READMEs of bundles: the rates of their own run and precision, from its hypotheses."""

import json
import os
import subprocess
import sys

import pytest
from made.hypotheses import TEXT, write_hypotheses, write_manifest

import describe_bundle
import score
from warmstart.evidence.analyses.wer import rates_of
from warmstart.evidence.collected import read_scores, resample
from warmstart.evidence.settings import Resampling
from warmstart.run import files, folders
from warmstart.run.errors import UserError

KEYS = {"training_set": "it", "arm": "en", "hours": "0.02", "seed": 1}
KEYS |= {"lang": "it", "init": "en"}  # which `verify` asks for until bundles have the new keys
INT4 = {"scheme": "k_quant", "bits": 4, "block_size": 32, "accuracy_level": 0}
STATISTICS = {"replicates": 500, "confidence": 0.9, "seed": 3}
REFERENCES = ["uno due tre", "quattro cinque", "sei sette", "otto nove dieci", "dodici tredici"]
SAID = ["uno due tre", "quattro", "sei sei sette", "otto nove", "dodici tredici"]


@pytest.fixture
def folder(tmp_path):
    """A bundle whose networks nobody runs."""
    made = tmp_path / "bundle"
    made.mkdir()
    names = ("encoder.onnx", "decoder.onnx", "joiner.onnx", "tokens.txt", "example.wav")
    for name in names:
        (made / name).write_text(name)
    write_about(made, {
        "keys": KEYS,
        "precision": "int4",
        "tier": {"name": "560ms", "left": 70, "right": 6, "offline": False},
        "settings": INT4,
        "model_sha256": "m" * 64,
        "processor": "x86_64",
        "encoder_bytes": 1_500_000,
        "feature_dim": 80,
        "versions": {"sherpa-onnx": "2.0.1"},
        "example": {"id": "u0", "reference": "uno due tre", "sherpa_onnx": "uno due"},
        "agreement": {"utterances": 2, "native_words": 5, "rtfx": 9.0, "variants": []},
        "files": {
            name: {"bytes": len(name), "sha256": files.digest(made / name)} for name in names
        },
    })  # fmt: skip
    return made


def write_about(folder, about):
    files.write_json(folder / "bundle.json", about)


def change(folder, **values):
    write_about(folder, {**files.read_json(folder / "bundle.json"), **values})


def decoded(tmp_path, precision, said=SAID, **keys):
    """Hypotheses of a run, as decode.py writes them."""
    about = {
        "model_sha256": "m" * 64,
        "rtfx": 500.0,
        "engine": "onnxruntime",
        "device_name": "x86_64",
    }
    path = tmp_path / "hypotheses" / str(keys.get("seed", 1)) / precision / "human.jsonl"
    return write_hypotheses(path, said, **{**about, "precision": precision, **keys})


def describe(folder, hypotheses=(), origin=None, **settings):
    manifest = write_manifest(folder.parent / "human.jsonl.gz", REFERENCES)
    settings = {"text": {"it": TEXT, "fr": TEXT}, **STATISTICS, **settings}
    scored = [
        "--hypotheses",
        *map(str, hypotheses),
        "--tests",
        f"it/human={manifest}",
        f"fr/human={manifest}",
        "--settings",
        json.dumps(settings),
    ]
    describe_bundle.main(["--bundle", str(folder), *scored, "--origin", json.dumps(origin or {})])
    return (folder / "README.md").read_text(encoding="utf-8")


def rows(text):
    """The README's table of rates, a dict a row."""
    lines = [line.strip("| ").split(" | ") for line in text.splitlines() if line.startswith("| ")]
    heads = next(line for line in lines if "wer_pct" in line)
    return [
        dict(zip(heads, line, strict=True))
        for line in lines
        if len(line) == len(heads) and line[2] == "human"
    ]


def test_rates_are_those_that_the_study_has_of_this_run(folder, tmp_path):
    """Scored alone as in the whole study: counts, intervals, and no other seed's errors."""
    hypotheses = [decoded(tmp_path, "int4"), decoded(tmp_path, "full", REFERENCES)]
    found = rows(describe(folder, hypotheses))
    assert [row["precision"] for row in found] == ["int4", "full"]
    assert (found[0]["words"], found[0]["wer_pct"]) == (
        "12",
        "25.00",
    )  # a deletion twice, an insertion
    assert found[0]["rtfx"] == "500.00"
    output = tmp_path / "it.parquet"
    options = [
        "--lang",
        "it",
        "--tests",
        f"human={tmp_path / 'human.jsonl.gz'}",
        "--output",
        str(output),
    ]
    score.main(
        [*options, "--hypotheses", *map(str, hypotheses), "--settings", json.dumps({"text": TEXT})]
    )
    scored = resample(read_scores([output]), Resampling(**STATISTICS))
    table = {row["precision"]: row for row in rates_of(scored, STATISTICS["confidence"])}
    for row in found:
        for column in ("wer_pct", "wer_low_pct", "wer_high_pct", "cer_pct"):
            assert row[column] == f"{table[row['precision']][column]:.2f}", (
                row["precision"],
                column,
            )
    assert float(found[0]["wer_low_pct"]) < 25 < float(found[0]["wer_high_pct"])
    # Where several seeds are trained, the table has their mean, and a bundle is of one.
    change(folder, keys={**KEYS, "seed": 2}, model_sha256="2" * 64)
    second = decoded(tmp_path, "int4", REFERENCES, seed=2, model_sha256="2" * 64)
    text = describe(folder, [second])
    assert rows(text)[0]["wer_pct"] == "0.00"
    assert "Of this run alone (seed 2)" in text


def test_a_model_of_several_languages_has_rates_in_each(folder, tmp_path):
    change(folder, keys={**KEYS, "training_set": "it+fr"})
    paths = [
        decoded(tmp_path / lang, "int4", said, training_set="it+fr", lang=lang)
        for lang, said in (("it", SAID), ("fr", REFERENCES))
    ]
    text = describe(folder, paths)
    assert text.startswith("# Streaming speech recogniser: it+fr\n")
    assert "arm `en`, fine-tuned on 0.02 h of `it+fr`" in text
    assert [(row["lang"], row["wer_pct"]) for row in rows(text)] == [
        ("it", "25.00"),
        ("fr", "0.00"),
    ]
    other = decoded(tmp_path / "de", "int4", lang="de")
    with pytest.raises(UserError, match="its language 'de' has no test set or no text"):
        describe(folder, [other])


def test_what_headers_say_stays_inside_its_cell(folder, tmp_path):
    text = describe(folder, [decoded(tmp_path, "int4", device_name="a | b\n# c")])
    assert "| a \\| b # c |" in text


def test_the_precision_is_named_and_one_that_was_not_scored_is_said(folder, tmp_path):
    four = describe(folder, [decoded(tmp_path, "int4"), decoded(tmp_path, "full")])
    assert (
        "Precision `int4`: encoder weights 4 bit (k_quant, block 32), activations float32; 1.5 MB"
        in four
    )
    assert "was not scored" not in four
    change(folder, precision="int4a4", settings={**INT4, "accuracy_level": 4})
    other = describe(folder, [decoded(tmp_path, "full")])
    assert (
        "Precision `int4a4`: encoder weights 4 bit (k_quant, block 32), activations int8" in other
    )
    assert (
        "**`int4a4`, the precision of this bundle, was not scored at 560ms for this run.**" in other
    )
    assert "The rows below are of `full`, not of these weights." in other
    nothing = describe(folder)
    assert "was not scored at 560ms for this run.**\n" in nothing
    assert rows(other)
    assert "wer_pct" not in nothing


def test_licences_go_from_the_corpora_to_the_bundle(folder):
    origin = {
        "licence": "CC-BY-4.0",
        "init": {
            "name": "English",
            "licence": "OpenMDW-1.1",
            "source": "donor/repo",
            "random": False,
        },
        "corpora": {"mls": "CC BY 4.0 (MLS)", "own": None},
        "example": {"corpus": "fleurs", "licence": "CC BY 4.0"},
    }
    text = describe(folder, origin=origin)
    for line in (
        "- This bundle: CC-BY-4.0",
        "- Encoder initialised from: English (donor/repo), licence: OpenMDW-1.1",
        "- Training corpus `mls`: CC BY 4.0 (MLS)",
        "- Training corpus `own`: licence not stated",
        "- `example.wav`, of the corpus `fleurs`: CC BY 4.0",
    ):
        assert f"{line}\n" in text, line
    origin["init"]["random"] = True
    text = describe(folder, origin=origin)
    assert (
        "- Encoder before fine-tuning: random weights, architecture of English (donor/repo)\n"
        in text
    )
    assert "OpenMDW" not in text, "none of its weights are in there"


def test_a_damaged_bundle_is_refused_by_name(folder, tmp_path):
    about = files.read_json(folder / "bundle.json")
    for text, message in [
        ('{"keys": ', r"bundle.json: damaged \(Expecting value.*make the bundle again"),
        ("[]", r"bundle.json: lacks keys, tier, .*feature_dim; make the bundle again"),
        (
            json.dumps({**about, "tier": 5, "agreement": {}}),
            r"bundle.json: lacks tier, agreement; make the bundle again",
        ),
    ]:
        (folder / "bundle.json").write_text(text)
        with pytest.raises(UserError, match=message):
            describe(folder)
    write_about(folder, about)
    (folder / "joiner.onnx").unlink()
    (folder / "tokens.txt").write_text("others")
    with pytest.raises(
        UserError,
        match=r"missing \['joiner.onnx'\], changed \['tokens.txt'\]; make the bundle again",
    ):
        describe(folder)
    assert not (folder / "README.md").exists()


def test_what_killed_builds_left_is_removed(tmp_path):
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    names = [
        f".560ms.{os.getpid()}",
        f".560ms.{dead.pid}",
        f".560ms.{dead.pid}.former",
        ".160ms.1",
        ".560ms.1",
        ".560ms.keep",
    ]
    for name in names:
        (tmp_path / name).mkdir()
        (tmp_path / name / "half").write_text("half")
    with folders.atomic_directory(tmp_path / "560ms") as made:
        (made / "whole").write_text("whole")
    # Process 1 is alive; the others are not of this bundle.
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        ".160ms.1",
        ".560ms.1",
        ".560ms.keep",
        "560ms",
    ]
    assert [path.name for path in (tmp_path / "560ms").iterdir()] == ["whole"]


def test_hypotheses_of_another_model_or_tier_are_refused(folder, tmp_path):
    with pytest.raises(
        UserError,
        match=r"int4.human.jsonl: decoded with another model or at another tier \(560ms\)",
    ):
        describe(folder, [decoded(tmp_path, "int4", model_sha256="0" * 64)])
    with pytest.raises(UserError, match=r"another tier \(160ms\)"):
        describe(folder, [decoded(tmp_path, "int4", tier="160ms")])
    assert not (folder / "README.md").exists()


def test_a_model_that_recognises_nothing_gets_no_readme_without_force(folder, tmp_path):
    silent = decoded(tmp_path, "int4", ["", "eh", "", "", ""])
    with pytest.raises(
        UserError, match=r"does not recognise speech \(it human: WER 100 %\)"
    ) as told:
        describe(folder, [silent])
    assert "bundle.force: true" in str(told.value)
    assert not (folder / "README.md").exists()
    text = describe(folder, [silent], force=True)
    head, _, banner = text.splitlines()[:3]
    assert head.startswith("# Streaming")
    assert banner.startswith("> **This model does not recognise speech (it human: WER 100 %).**")


def test_half_of_the_outputs_empty_is_enough_and_one_good_test_set_too(folder, tmp_path):
    silent = decoded(tmp_path, "int4", ["uno due tre", "", "", "", "dodici tredici"])
    with pytest.raises(UserError, match="60 % of outputs empty or looping"):
        describe(folder, [silent])
    other = decoded(tmp_path, "int4", REFERENCES, seed=2)
    assert "does not recognise" not in describe(folder, [silent, other])


def test_rates_at_full_precision_speak_for_a_bundle_that_was_not_scored(folder, tmp_path):
    silent = decoded(tmp_path, "full", ["eh"] * 5)
    with pytest.raises(UserError, match="it human: WER 100 %"):
        describe(folder, [silent])
    assert "does not recognise" not in describe(folder), "nothing is known of it"
