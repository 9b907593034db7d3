"""Experts of two languages trained through the programs; fused, tuned and as teachers, killed and
resumed to the same bytes."""

import json
import signal
import time
from pathlib import Path

import pytest
from made.small_speech import SETTINGS, rows
from made.whisper import whole_whisper
from test_heads_training import finish, start, two  # noqa: F401 (a fixture)
from test_whisper_training import MORE

from warmstart.adaptation import peft_folder
from warmstart.models import open_family
from warmstart.run import files

pytestmark = pytest.mark.slow

LORA = {"kind": "lora", "rank": 2, "alpha": 8, "layers": "*_proj"}
LANGS = ("it", "fr")
TUNED = {"kind": "experts", "of": ["lora"], "fuse": "cat", "tune_steps": 8}
TEACHERS = {"teachers": ["lora"], "alpha": 0.5, "temperature": 2}


@pytest.fixture(scope="module")
def donor(tmp_path_factory):
    folder = tmp_path_factory.mktemp("whisper")
    whole_whisper(folder / "snapshot", max_target_positions=100)
    open_family("whisper").pack_donor(folder / "snapshot", folder / "tiny.safetensors")
    return folder / "tiny.safetensors"


def training(donor, cuts, dev, run, run_dir, made_of=(), **more):
    return [
        *("--train-cuts", cuts, "--init", donor, "--family", "whisper", "--run", run),
        *("--dev-cuts", *(f"{lang}={path}" for lang, path in dev.items())),
        *("--tokenizer", run_dir, *made_of),
        *("--settings", json.dumps(SETTINGS | MORE | more), "--run-dir", run_dir),
        *("--output", run_dir / "model.safetensors"),
    ]


@pytest.fixture(scope="module")
def experts(two, donor, tmp_path_factory):
    """Language -> the folder of its updates."""
    found = {}
    for lang in LANGS:
        run_dir = tmp_path_factory.mktemp(lang)
        (run_dir / "tokenizer.model").touch()
        dev, run = {lang: two[lang]["dev"]}, f"{lang}/lora/0.012h/seed1"
        command = training(donor, two[lang]["train"], dev, run, run_dir, adaptation=LORA)
        finish(start("train", *command))
        found[lang] = run_dir / peft_folder.FOLDER
    return found


def made_of(two, donor, experts, option, run_dir, **more):
    """The command of a run that is made of them."""
    run_dir.mkdir(exist_ok=True)
    (run_dir / "tokenizer.model").touch()
    dev = {lang: two[lang]["dev"] for lang in LANGS}
    named = [option, *(f"{lang}={folder}" for lang, folder in experts.items())]
    run = "both/made/0.024h/seed1"
    return training(donor, two["mixed"], dev, run, run_dir, named, **more)


def fused(two, donor, experts, run_dir, steps=None, **options):
    block = {"kind": "experts", "of": ["lora"], **options}
    more = {"adaptation": block, "steps": {"fixed": block.get("tune_steps", 0)}}
    return made_of(two, donor, experts, "--experts", run_dir, **more)


def killed_and_resumed(command, run_dir, rows_before: int) -> str:
    """What the second start says."""
    process = start("train", *command)
    limit = time.monotonic() + 300
    while len(rows(run_dir)) < rows_before and process.poll() is None and time.monotonic() < limit:
        time.sleep(0.002)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert process.returncode == -signal.SIGKILL
    assert not (run_dir / "model.safetensors").exists()
    return finish(start("train", *command))


def model_of(run_dir: Path) -> str:
    return files.digest(run_dir / "model.safetensors")


def test_a_fusion_trains_nothing_and_is_the_same_again(two, donor, experts, tmp_path):
    for name in ("one", "two"):
        finish(start("train", *fused(two, donor, experts, tmp_path / name, fuse="dare")))
    assert model_of(tmp_path / "one") == model_of(tmp_path / "two")
    record = files.read_json(tmp_path / "one/run.json")
    assert (record["steps"], record["steps_planned"], record["hours_seen"]) == (0, 0, 0)
    assert (record["trained_parameters"], record["trained_mb"]) == (0, 0)
    assert rows(tmp_path / "one") == []
    assert set(record["input_digests"]["experts"]) == set(LANGS)
    # The weights of the experts' layers moved, and no others.
    family = open_family("whisper")
    before, after = (
        family.load(path).network.tensors() for path in (donor, tmp_path / "one/model.safetensors")
    )
    moved = {name for name, value in before.items() if not value.equal(after[name])}
    layers = set(peft_folder.read(experts["it"]).layers)
    assert {name.removesuffix(".weight") for name in moved} <= layers
    assert len(moved) > len(layers) / 2, "dare may leave out all of a small one"


def test_a_fusion_that_is_tuned_goes_on_to_the_same_bytes(two, donor, experts, tmp_path):
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    finish(start("train", *fused(two, donor, experts, whole, **TUNED)))
    said = killed_and_resumed(fused(two, donor, experts, cut, **TUNED), cut, 3)
    assert "continuing from" in said
    assert model_of(cut) == model_of(whole)
    record = files.read_json(whole / "run.json")
    layers = peft_folder.read(experts["it"])
    wanted = 2 * sum(value.numel() for value in layers.tensors.values())
    assert record["trained_parameters"] == wanted, "A and B of two experts, side by side"
    curve = rows(whole)
    assert [int(row["step"]) for row in curve] == [2, 4, 6, 8]
    # Tuned, it is another one; and other experts make another one too.
    plain = tmp_path / "plain"
    finish(start("train", *fused(two, donor, experts, plain, fuse="cat")))
    assert model_of(plain) != model_of(whole)


def test_a_student_goes_on_to_the_same_bytes(two, donor, experts, tmp_path):
    whole, cut, alone = (tmp_path / name for name in ("whole", "cut", "alone"))
    more = {"adaptation": LORA, "distil": TEACHERS}
    command = [made_of(two, donor, experts, "--teachers", run, **more) for run in (whole, cut)]
    said = finish(start("train", *command[0]))
    assert "weights are the teachers' and the student's" in said
    assert "continuing from" in killed_and_resumed(command[1], cut, 4)
    assert model_of(cut) == model_of(whole)
    record = files.read_json(whole / "run.json")
    assert record["settings"]["distil"] == TEACHERS
    assert set(record["input_digests"]["teachers"]) == set(LANGS)
    untaught = made_of(two, donor, {}, "--teachers", alone, adaptation=LORA)
    untaught.remove("--teachers")
    finish(start("train", *untaught))
    assert model_of(alone) != model_of(whole)


def test_experts_that_stay_apart_are_decoded_through_the_program(two, donor, experts, tmp_path):
    finish(start("train", *fused(two, donor, experts, tmp_path, fuse="lid")))
    model = tmp_path / "model.safetensors"
    arguments = ("--model", model, "--family", "whisper", "--run", "both/made/0.024h/seed1")
    cuts = ("--cuts", *(f"{lang}/dev={two[lang]['dev']}" for lang in LANGS))
    outputs = ("--output", *(f"{lang}/dev={tmp_path / lang}.jsonl" for lang in LANGS))
    options = json.dumps({"batch_size": 4, "device": "cpu", "threads": 1})
    rest = ("--precision", "full", "--tier", "offline:70:13:offline", "--settings", options)
    finish(start("decode", *arguments, *cuts, *outputs, *rest))
    for lang in LANGS:
        header = files.read_json(tmp_path / f"{lang}.json")
        assert header["batch_check"]["differing_utterances"] == 0
        assert header["tokens"] > 0


def test_an_expert_that_was_altered_or_is_missing_is_refused(two, donor, experts, tmp_path):
    import shutil

    folder = tmp_path / "it" / peft_folder.FOLDER
    shutil.copytree(experts["it"].parent, folder.parent)
    content = bytearray((folder / peft_folder.TENSORS).read_bytes())
    content[-1] ^= 1
    (folder / peft_folder.TENSORS).write_bytes(content)
    altered = {**experts, "it": folder}
    said = finish(start("train", *fused(two, donor, altered, tmp_path / "x", fuse="cat")), 1)
    assert "and run.json beside it says" in said
    (folder / peft_folder.TENSORS).unlink()
    said = finish(start("train", *fused(two, donor, altered, tmp_path / "x", fuse="cat")), 1)
    assert "no such file" in said
    nobody = fused(two, donor, {}, tmp_path / "x", fuse="cat")
    nobody.remove("--experts")
    said = finish(start("train", *nobody), 1)
    assert "adaptation is experts, and --experts is missing; give LANG=FOLDER" in said
