"""Fine-tuning with real processes: exact order, hours that are true, and nothing lost when it is killed."""

import csv
import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest
from small_speech import SETTINGS, corpus, donor

from warmstart import files
from warmstart.donors import read_config
from warmstart.errors import UserError

pytestmark = pytest.mark.slow

PROGRAM = Path(__file__).parents[1] / "workflow" / "scripts" / "train.py"
ENVIRONMENT = os.environ | {"OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}


@pytest.fixture(scope="module")
def speech(tmp_path_factory):
    return corpus(tmp_path_factory.mktemp("speech"))


@pytest.fixture(scope="module")
def donors(tmp_path_factory, speech):
    directory = tmp_path_factory.mktemp("donors")
    return {name: donor(directory / f"{name}.nemo", speech["tokenizer"], seed) for name, seed in (("en", 1), ("ml", 2))}


def command(speech, init, run_dir, settings=None, hours="0.012"):
    keys = {"lang": "it", "init": "en", "hours": hours, "seed": 1}
    return [
        *(sys.executable, str(PROGRAM), "--train-cuts", str(speech["train"]), "--dev-cuts", str(speech["dev"])),
        *("--tokenizer", str(speech["tokenizer"]), "--init", str(init), "--keys", json.dumps(keys)),
        *("--settings", json.dumps(SETTINGS | (settings or {})), "--run-dir", str(run_dir)),
        *("--output", str(run_dir / "model.nemo"), "--log", str(run_dir / "log.txt")),
    ]


def train(speech, init, run_dir, settings=None):
    return subprocess.run(command(speech, init, run_dir, settings), env=ENVIRONMENT, capture_output=True, text=True)


def rows(run_dir):
    with open(run_dir / "train.csv", encoding="utf-8", newline="") as stream:
        return list(csv.DictReader(stream))


def weights(path):
    """Every tensor of a .nemo, for an exact comparison."""
    import tarfile

    import torch

    with tarfile.open(path) as archive:
        member = next(found for found in archive.getmembers() if found.name.endswith("model_weights.ckpt"))
        return torch.load(archive.extractfile(member), weights_only=True)


def same(one, other):
    import torch

    return one.keys() == other.keys() and all(torch.equal(value, other[name]) for name, value in one.items())


@pytest.fixture(scope="module")
def finished(speech, donors, tmp_path_factory):
    """A run that nobody disturbed."""
    run_dir = tmp_path_factory.mktemp("finished")
    done = train(speech, donors["en"], run_dir)
    assert done.returncode == 0, done.stderr
    return run_dir


def wait_for_checkpoint(process, run_dir, limit_s=120):
    end = time.monotonic() + limit_s
    while time.monotonic() < end and process.poll() is None:
        if list((run_dir / "checkpoints").glob("step-*.ckpt")):
            return
        time.sleep(0.02)
    raise AssertionError(f"no checkpoint; status {process.poll()}: {process.stderr.read() if process.poll() else ''}")


def test_record_and_curve_agree_with_the_cuts(finished, speech, donors):
    from warmstart.training import manifest_totals

    cuts, hours, _ = manifest_totals(speech["train"])
    record, curve = files.read_json(finished / "run.json"), rows(finished)
    assert [int(row["step"]) for row in curve] == [2, 4, 6, 8, 10, 12]
    assert record["cuts"] == cuts
    assert record["steps"] == 12
    assert record["hours_budget"] == pytest.approx(hours, abs=1e-6)
    assert record["hours_seen"] == pytest.approx(float(curve[-1]["hours_seen"]), abs=1e-6)
    assert record["unique_hours"] == pytest.approx(hours, abs=1e-6)
    assert record["epochs"] == pytest.approx(record["hours_seen"] / hours, abs=1e-3)
    assert record["epochs"] > 1
    assert 0 <= record["padding_share"] < 0.6
    assert float(curve[-1]["dev_wer"]) >= 0
    assert record["encoder_tensors_loaded"] == record["encoder_tensors"] > 0
    assert record["input_digests"]["init"] == files.digest(donors["en"])
    assert record["model_sha256"] == files.digest(finished / "model.nemo")
    ratio = float(curve[2]["lr_encoder"]) / float(curve[2]["lr"])
    assert ratio == pytest.approx(0.25, rel=1e-2)


def test_killed_at_any_moment_it_ends_with_the_same_weights_and_hours(finished, speech, donors, tmp_path):
    process = subprocess.Popen(command(speech, donors["en"], tmp_path), env=ENVIRONMENT, stderr=subprocess.PIPE, text=True)
    wait_for_checkpoint(process, tmp_path)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert not (tmp_path / "model.nemo").exists()
    done = train(speech, donors["en"], tmp_path)
    assert done.returncode == 0, done.stderr
    assert "continuing from" in done.stderr
    record, undisturbed = (files.read_json(directory / "run.json") for directory in (tmp_path, finished))
    assert record["hours_seen"] == undisturbed["hours_seen"]
    assert record["start_digests"] == undisturbed["start_digests"]
    assert [row["step"] for row in rows(tmp_path)] == [row["step"] for row in rows(finished)]
    assert same(weights(tmp_path / "model.nemo"), weights(finished / "model.nemo"))


def test_sigterm_leaves_a_checkpoint_and_status_143(finished, speech, donors, tmp_path):
    steps = {"steps": {"fixed": 5000}, "checkpoint_every_steps": 4}
    process = subprocess.Popen(
        command(speech, donors["en"], tmp_path, steps), env=ENVIRONMENT, stderr=subprocess.PIPE, text=True
    )
    wait_for_checkpoint(process, tmp_path)
    process.send_signal(signal.SIGTERM)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 143, said
    assert "stopped by a signal at step" in said
    newest = max((tmp_path / "checkpoints").glob("step-*.ckpt"))
    assert f"step {int(newest.stem.removeprefix('step-'))} of 5000" in said
    assert not (tmp_path / "model.nemo").exists()


def test_a_damaged_last_checkpoint_falls_back_to_the_one_before(finished, speech, donors, tmp_path):
    import shutil

    shutil.copytree(finished / "checkpoints", tmp_path / "checkpoints")
    last = max((tmp_path / "checkpoints").glob("step-*.ckpt"))
    last.write_bytes(last.read_bytes()[:-5000])
    done = train(speech, donors["en"], tmp_path)
    assert done.returncode == 0, done.stderr
    assert f"{last.name} is damaged" in done.stderr
    assert "continuing from" in done.stderr
    assert same(weights(tmp_path / "model.nemo"), weights(finished / "model.nemo"))


def test_a_loss_that_is_no_number_stops_and_names_the_cuts(speech, donors, tmp_path):
    done = train(speech, donors["en"], tmp_path, {"optimizer": {"name": "adamw", "lr": 1e30}, "gradient_clip": 0})
    assert done.returncode == 1
    assert "loss is nan at step" in done.stderr
    assert "train-000" in done.stderr
    assert "training.optimizer.lr" in done.stderr
    assert not (tmp_path / "model.nemo").exists()


def test_two_inits_start_from_the_same_new_modules(finished, speech, donors, tmp_path):
    done = train(speech, donors["ml"], tmp_path, {"steps": {"fixed": 2}})
    assert done.returncode == 0, done.stderr
    one, other = (files.read_json(directory / "run.json")["start_digests"] for directory in (finished, tmp_path))
    assert (one["decoder"], one["joint"]) == (other["decoder"], other["joint"])
    assert one["encoder"] != other["encoder"]


def test_every_epoch_sees_every_cut_once_and_a_position_continues_it(speech, donors):
    from nemo.collections.asr.models import EncDecRNNTBPEModel
    from omegaconf import OmegaConf

    from warmstart import inits, training

    orders = []
    for init, start, first in (("en", (0, 0), 0), ("ml", (0, 0), 0), ("en", (1, 3), 0)):
        config = inits.transducer_config(read_config(donors[init]), SETTINGS["model"], speech["tokenizer"])
        model = EncDecRNNTBPEModel(cfg=OmegaConf.create(config))
        _, sampler = training.dataloader(model, speech["train"], SETTINGS, seed=1)
        sampler.start, sampler.first_step = start, first
        seen, batches = [], iter(sampler)
        while len(seen) < 40:
            next(batches)
            record = sampler.recent[len(seen)]
            seen.append((record["epoch"], record["index"], tuple(record["ids"])))
        orders.append(seen)
    count, _, _ = training.manifest_totals(speech["train"])
    for epoch in (0, 1):
        ids = Counter(cut for number, _, cuts in orders[0] if number == epoch for cut in cuts)
        assert len(ids) == count
        assert set(ids.values()) == {1}
    assert orders[0] == orders[1]
    position = next(i for i, (epoch, index, _) in enumerate(orders[0]) if (epoch, index) == (1, 4))
    assert orders[2][: 40 - position] == orders[0][position:]


@pytest.mark.parametrize(
    ("settings", "hours", "expected"),
    [
        ({"fixed": 700}, 0.02, 700),
        ({"epochs": 10}, 1.0, 1800),
        ({"epochs": 10, "min": 300, "max": 1000}, 0.02, 300),
        ({"epochs": 10, "min": 300, "max": 1000}, 1.0, 1000),
    ],
)
def test_steps_follow_from_the_budget(settings, hours, expected):
    from warmstart.training import resolve_steps

    assert resolve_steps(settings, hours, 20) == expected


def test_steps_need_exactly_one_way():
    from warmstart.training import resolve_steps

    for settings in ({}, {"fixed": 1, "epochs": 2}):
        with pytest.raises(UserError, match="either `fixed` or `epochs`"):
            resolve_steps(settings, 1, 20)


def test_the_loss_on_a_cpu_is_nemos_own(speech, donors):
    import torch
    from nemo.collections.asr.losses.rnnt import RNNTLoss

    from warmstart.training import CpuRNNTLoss

    torch.manual_seed(0)
    log_probs, labels = torch.randn(2, 6, 4, 9).log_softmax(-1), torch.randint(0, 8, (2, 3))
    lengths = torch.tensor([6, 5]), torch.tensor([3, 2])
    reference = RNNTLoss(num_classes=8, loss_name="pytorch", reduction=None)
    expected = reference._loss(acts=log_probs, labels=labels, act_lens=lengths[0], label_lens=lengths[1])
    found = CpuRNNTLoss(blank=8)(acts=log_probs, labels=labels, act_lens=lengths[0], label_lens=lengths[1])
    torch.testing.assert_close(found.sum(), expected.sum())
