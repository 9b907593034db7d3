"""The guide docs/extend/family.md, followed: its two files are a family that trains, resumes after
SIGKILL to the same weights, decodes and is scored, all through the programs, with no line of the
package changed."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from made import guide
from made.decoding import read
from made.programs import SCRIPTS
from made.small_speech import SETTINGS, rows

from warmstart import adaptation, models
from warmstart.models.tier import Tier
from warmstart.run import files
from warmstart.run.errors import UserError

FAMILY = "toy:TOY"
RUN = "it/toy/0.012h/seed1"
OFFLINE = Tier("offline", 70, 13, offline=True)
STREAMING = Tier("560ms", 70, 6)
# Long enough to be killed in the middle: a step takes milliseconds.
MORE = {"steps": {"fixed": 300}, "checkpoint_every_steps": 50, "log_every_steps": 10}
MORE["optimizer"] = {"name": "adamw", "lr": 2e-2, "encoder_lr_scale": 0.25}


@pytest.fixture(scope="module")
def plugin(tmp_path_factory):
    """The folder with the files of the guide."""
    folder = tmp_path_factory.mktemp("plugin")
    assert guide.write_modules("family.md", folder) == ["toy.py", "toy_network.py"]
    return folder


@pytest.fixture
def on_path(plugin, monkeypatch):
    monkeypatch.syspath_prepend(str(plugin))
    for name in ("toy", "toy_network"):
        monkeypatch.delitem(sys.modules, name, raising=False)


def start(plugin, program, *arguments):
    """A program as a person starts it, with the family on PYTHONPATH."""
    environment = os.environ | {"PYTHONPATH": str(plugin), "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(
        [sys.executable, str(SCRIPTS / f"{program}.py"), *map(str, arguments)],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def finish(process) -> str:
    said, _ = process.communicate(timeout=300)
    assert process.returncode == 0, said
    return said


def training(speech, run_dir, init="scratch", **settings):
    return [
        *("--train-cuts", speech["train"], "--dev-cuts", f"it={speech['dev']}"),
        *("--tokenizer", speech["tokenizer"], "--init", init, "--run", RUN),
        *("--settings", json.dumps(SETTINGS | MORE | settings), "--run-dir", run_dir),
        *("--output", run_dir / "model.toy", "--family", FAMILY),
        *(("--like", speech["tokenizer"] / "tokenizer.model") if init == "scratch" else ()),
    ]


@pytest.fixture(scope="module")
def finished(plugin, speech, tmp_path_factory) -> Path:
    run_dir = tmp_path_factory.mktemp("finished")
    said = finish(start(plugin, "train", *training(speech, run_dir)))
    assert "nemo" not in said.lower()
    return run_dir


# ---- what the dry run asks


def test_it_declares_what_it_can_and_everything_else_is_refused(on_path):
    models.require_tier(FAMILY, OFFLINE, SETTINGS)
    assert adaptation.possible(FAMILY) == ["full", "freeze", "head_only"]
    with pytest.raises(UserError, match=r"tiers\.560ms streams, and family toy:TOY decodes whole"):
        models.require_tier(FAMILY, STREAMING, SETTINGS)
    with pytest.raises(UserError, match=r"toy:TOY exports no encoder .* that do: fastconformer_r"):
        models.require_precision(FAMILY, OFFLINE)
    with pytest.raises(UserError, match="toy:TOY makes no bundle"):
        models.require_bundle(FAMILY)
    with pytest.raises(UserError, match=r"cannot have the adaptation adapter.*: full, freeze"):
        adaptation.check("adapter", FAMILY)


def test_asking_it_loads_no_torch(plugin):
    code = (
        "from warmstart import models; from warmstart.models.tier import Tier\n"
        "models.require_tier('toy:TOY', Tier('o', 1, 1, True), {'model': {}})\n"
        "models.open_family('fastconformer_ctc').check_export(Tier('o', 70, 6))\n"
        "import sys; print({'torch', 'nemo', 'lightning', 'numpy'} & set(sys.modules))"
    )
    path = os.pathsep.join([str(plugin), str(SCRIPTS)])
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=os.environ | {"PYTHONPATH": path},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == "set()"


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("fastconformer_rnn", "did you mean 'fastconformer_rnnt'.*module:OBJECT"),
        (
            "nothing:HERE",
            r"'nothing:HERE' cannot be imported \(No module named.*PYTHONPATH",
        ),
        ("toy:NONE", "cannot be imported .*has no attribute 'NONE'"),
        ("toy:Toy", r"is a \w+; the object must be a warmstart\.models\.Kind"),
    ],
)
def test_a_wrong_name_is_refused(on_path, name, says):
    with pytest.raises(UserError, match=says):
        models.kind_of(name)


# ---- what the programs do


@pytest.mark.slow
def test_it_learns_and_its_record_says_what_it_is(finished):
    record, curve = files.read_json(finished / "run.json"), rows(finished)
    assert record["family"] == FAMILY
    assert set(record["parameters"]) == {"encoder", "head"}
    assert record["init_facts"] == {"class": "Toy"}
    assert float(curve[-1]["loss"]) < 0.7 * float(curve[0]["loss"])
    assert float(curve[-1]["dev_wer"]) >= 0
    # The study's recipe: a quarter of the rate for the encoder, at the end of a cosine.
    assert float(curve[3]["lr_encoder"]) == pytest.approx(float(curve[3]["lr"]) / 4, rel=1e-2)
    assert float(curve[-1]["lr"]) < 1e-6


@pytest.mark.slow
def test_killed_it_goes_on_to_the_same_bytes(plugin, finished, speech, tmp_path):
    process = start(plugin, "train", *training(speech, tmp_path))
    limit = time.monotonic() + 120
    while len(rows(tmp_path)) < 12 and process.poll() is None and time.monotonic() < limit:
        time.sleep(0.002)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert process.returncode == -signal.SIGKILL
    assert not (tmp_path / "model.toy").exists()
    assert list((tmp_path / "checkpoints").glob("step-*.ckpt"))
    assert "continuing from" in finish(start(plugin, "train", *training(speech, tmp_path)))
    assert files.digest(tmp_path / "model.toy") == files.digest(finished / "model.toy")


@pytest.mark.slow
def test_it_starts_from_a_donor_and_can_be_frozen(plugin, finished, speech, tmp_path):
    import torch

    init = finished / "model.toy"
    block = {"kind": "freeze", "encoder_layers": 0, "steps": 5}
    settings = {"adaptation": block, "steps": {"fixed": 4}, "checkpoint_every_steps": 4}
    finish(start(plugin, "train", *training(speech, tmp_path, init, **settings)))
    record = files.read_json(tmp_path / "run.json")
    assert record["adaptation"] == block
    assert record["encoder_tensors_loaded"] == record["encoder_tensors"] == 6
    before, after = (
        torch.load(path, weights_only=True)["weights"] for path in (init, tmp_path / "model.toy")
    )
    moved = {name for name, value in before.items() if not torch.equal(value, after[name])}
    assert {name.split(".")[1] for name in moved if name.startswith("encoder.")} == {"1"}


@pytest.mark.slow
def test_it_is_decoded_and_scored(plugin, finished, speech, tmp_path):
    import pyarrow.parquet

    output = tmp_path / "dev.jsonl"
    command = ["--model", finished / "model.toy", "--family", FAMILY]
    command += ["--run", RUN, "--precision", "full", "--tier", "offline:70:13:offline"]
    options = {"batch_size": 4, "device": "cpu", "threads": 1, "log_candidates": 3}
    command += ["--settings", json.dumps(options)]
    command += ["--cuts", f"it/dev={speech['dev']}", "--output", f"it/dev={output}"]
    finish(start(plugin, "decode", *command))
    header, lines = files.read_json(output.with_suffix(".json")), read(output)
    assert header["family"] == FAMILY
    assert header["batch_check"]["differing_utterances"] == 0
    assert header["rtfx"] > 0
    tokens = [token for line in lines for token in line["tokens"]]
    assert tokens
    assert all(token["time_s"] >= 0 for token in tokens)
    kept = pyarrow.parquet.read_table(output.with_suffix(".candidates.parquet")).to_pylist()
    assert [row["time_s"] for row in kept] == [token["time_s"] for token in tokens]
    assert all(row["candidates"][0] == row["token"] for row in kept)
    assert all(len(row["candidates"]) == 3 for row in kept)
    text = {"alphabet": "abcdefghijklmnopqrstuvwxyzàèéìíîòóùú", "numbers": "it"}
    finish(
        start(
            plugin,
            "score",
            *("--lang", "it", "--hypotheses", output, "--tests", f"dev={speech['dev']}"),
            *("--settings", json.dumps({"text": text, "rare_below": 5})),
            *("--output", tmp_path / "it.parquet"),
        )
    )
    scored = pyarrow.parquet.read_table(tmp_path / "it.parquet").to_pylist()
    assert [row["id"] for row in scored] == [line["id"] for line in lines]
    assert sum(row["ref_words"] for row in scored) > 0
