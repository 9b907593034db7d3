"""Fine-tuning with real processes: exact order, hours that are true, and nothing lost when it is
killed."""

import contextlib
import functools
import json
import random
import re
import shutil
import signal
import subprocess
from collections import Counter
from types import SimpleNamespace

import pytest
import torch
from made.programs import Program, memory_limit
from made.small_speech import SETTINGS, listener, rows

from warmstart.data import mixing
from warmstart.models.fastconformer.donor import read_config
from warmstart.run import files
from warmstart.run.errors import UserError
from warmstart.training.distributed import Ranks

pytestmark = pytest.mark.slow


def arguments(speech, init, run_dir, settings=None, hours="0.012"):
    return [
        *("--train-cuts", str(speech["train"]), "--dev-cuts", f"it={speech['dev']}"),
        *("--tokenizer", str(speech["tokenizer"]), "--init", str(init)),
        *("--run", f"it/en/{hours}h/seed1"),
        *("--settings", json.dumps(SETTINGS | (settings or {})), "--run-dir", str(run_dir)),
        *("--output", str(run_dir / "model.nemo"), "--log", str(run_dir / "log.txt")),
    ]


def start(speech, init, run_dir, settings=None, **how):
    """The program in a process of its own."""
    said = run_dir / f"said-{len(list(run_dir.glob('said-*')))}.txt"
    return Program("train", arguments(speech, init, run_dir, settings), said, **how)


def train(speech, init, run_dir, settings=None, **how):
    """The same to its end: exit status and what it said."""
    program = start(speech, init, run_dir, settings, **how)
    return program.wait(), program.said


def weights(path):
    """Every tensor of a .nemo, for an exact comparison."""
    import tarfile

    with tarfile.open(path) as archive:
        member = next(
            found for found in archive.getmembers() if found.name.endswith("model_weights.ckpt")
        )
        return torch.load(archive.extractfile(member), weights_only=True)


def same(one, other):
    return one.keys() == other.keys() and all(
        torch.equal(value, other[name]) for name, value in one.items()
    )


@pytest.fixture(scope="module")
def finished(speech, donors, tmp_path_factory):
    """A run that nobody disturbed."""
    run_dir = tmp_path_factory.mktemp("finished")
    status, said = train(speech, donors["en"], run_dir)
    assert status == 0, said
    return run_dir


def checkpoints(run_dir):
    return sorted(path.name for path in (run_dir / "checkpoints").glob("*.ckpt"))


def test_record_and_curve_agree_with_the_cuts(finished, speech, donors):
    totals = mixing.totals(speech["train"])
    cuts, hours = totals.cuts, totals.hours
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
    assert all(0 <= float(row["loader_wait_share"]) <= 1 for row in curve)
    assert record["encoder_tensors_loaded"] == record["encoder_tensors"] > 0
    assert record["input_digests"]["init"] == files.digest(donors["en"])
    assert record["model_sha256"] == files.digest(finished / "model.nemo")
    ratio = float(curve[2]["lr_encoder"]) / float(curve[2]["lr"])
    assert ratio == pytest.approx(0.25, rel=1e-2)


def test_the_same_seed_gives_the_same_weights_and_trying_the_largest_batches_leaves_no_trace(
    finished, speech, donors, tmp_path
):
    status, said = train(speech, donors["en"], tmp_path, prepare=try_no_batch)
    assert status == 0, said
    assert " fit\n" in (finished / "log.txt").read_text()
    assert " fit\n" not in said
    assert same(weights(tmp_path / "model.nemo"), weights(finished / "model.nemo"))


def try_no_batch():
    from warmstart.training import memory

    memory.SCANNED = 0


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGUSR1])
def test_ended_at_any_step_it_goes_on_to_the_same_weights_and_hours(
    finished, speech, donors, tmp_path, number
):
    """The step is drawn anew each time and printed; weights are equal to the last bit, on a CPU."""
    step = random.randint(1, 9)
    print("signal after row of step", step)
    settings = {"log_every_steps": 1, "checkpoint_every_steps": 3}
    program = start(speech, donors["en"], tmp_path, settings)
    program.wait_for(lambda: len(rows(tmp_path)) >= step)
    program.send(number)
    status = program.wait()
    assert not (tmp_path / "model.nemo").exists()
    if number == signal.SIGKILL:
        assert status == -number
    else:
        assert status == 128 + number
        [reached] = re.findall(
            rf"stopped by {number.name}: checkpoint at step (\d+) of 12; start again to resume",
            program.said,
        )
        assert f"step-{int(reached):08d}.ckpt" in checkpoints(tmp_path)
    # Snakemake removes the declared outputs of a job that failed.
    (tmp_path / "train.csv").unlink()

    left = checkpoints(tmp_path)
    status, said = train(speech, donors["en"], tmp_path, settings)
    assert status == 0, said
    assert ("continuing from" in said) is bool(left)
    record, undisturbed = (
        files.read_json(directory / "run.json") for directory in (tmp_path, finished)
    )
    assert record["hours_seen"] == undisturbed["hours_seen"]
    assert record["start_digests"] == undisturbed["start_digests"]
    assert [int(row["step"]) for row in rows(tmp_path)] == list(range(1, 13))
    assert checkpoints(tmp_path) == ["step-00000009.ckpt", "step-00000012.ckpt"]
    assert same(weights(tmp_path / "model.nemo"), weights(finished / "model.nemo"))
    first, second = record["starts"]
    assert first["first_step"] == 0
    assert second["last_step"] == 12
    assert record["wall_s"] == pytest.approx(first["wall_s"] + second["wall_s"])
    assert curve_of_tensorboard(tmp_path) == {
        int(row["step"]): pytest.approx(float(row["loss"])) for row in rows(tmp_path)
    }


def curve_of_tensorboard(run_dir):
    """step -> loss, as TensorBoard itself reads the files of all starts."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(run_dir / "tensorboard"))
    events.Reload()
    return {event.step: event.value for event in events.Scalars("loss")}


def test_checkpoints_of_another_recipe_are_not_continued(finished, speech, donors, tmp_path):
    shutil.copytree(finished / "checkpoints", tmp_path / "checkpoints")
    status, said = train(speech, donors["en"], tmp_path, {"gradient_clip": 0.5})
    assert status == 0, said
    assert "checkpoints of other settings are put aside" in said
    assert "continuing from" not in said
    assert checkpoints(tmp_path) == checkpoints(finished)
    assert len(list((tmp_path / "checkpoints.before").glob("*.ckpt"))) == 2
    assert not same(weights(tmp_path / "model.nemo"), weights(finished / "model.nemo"))


def test_a_damaged_last_checkpoint_falls_back_to_the_one_before(finished, speech, donors, tmp_path):
    shutil.copytree(finished / "checkpoints", tmp_path / "checkpoints")
    last = max((tmp_path / "checkpoints").glob("step-*.ckpt"))
    last.write_bytes(last.read_bytes()[:-5000])
    status, said = train(speech, donors["en"], tmp_path)
    assert status == 0, said
    assert f"{last.name} is damaged" in said
    assert "step-00000008.ckpt" in said.split("continuing from")[1]
    assert same(weights(tmp_path / "model.nemo"), weights(finished / "model.nemo"))


def test_a_full_disk_leaves_the_checkpoints_whole_and_training_goes_on_when_there_is_room(
    finished, speech, donors, tmp_path
):
    """On a file system with room for one checkpoint and a half."""
    folder = tmp_path / "checkpoints"
    folder.mkdir()
    size = int(1.5 * max(path.stat().st_size for path in (finished / "checkpoints").glob("*.ckpt")))
    with small_file_system(folder, size) as grow:
        status, said = train(speech, donors["en"], tmp_path)
        assert status == 1
        assert re.search(
            r"step-00000008.ckpt: no room to write it \(No space left on device; \d+ MB free", said
        )
        assert "Traceback" not in said
        assert [path.name for path in folder.iterdir() if path.suffix == ".ckpt"] == [
            "step-00000004.ckpt"
        ]
        grow()
        status, said = train(speech, donors["en"], tmp_path)
        assert status == 0, said
        assert "continuing from" in said
    assert same(weights(tmp_path / "model.nemo"), weights(finished / "model.nemo"))


@contextlib.contextmanager
def small_file_system(folder, size):
    """`folder` as a file system of `size` bytes; gives a function that makes it large."""
    if subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={size}", "none", folder], capture_output=True
    ).returncode:
        pytest.skip("a file system that is full needs the right to mount")
    try:
        yield lambda: subprocess.run(["mount", "-o", "remount,size=100m", folder], check=True)
    finally:
        subprocess.run(["umount", folder], check=True)


def test_too_little_memory_is_found_before_the_first_step_with_the_key_to_lower(
    speech, donors, tmp_path
):
    wide = {
        "model": SETTINGS["model"] | {"joint_hidden": 2048},
        "batch_duration_s": 100,
        "bucket_bins_s": [],
    }
    status, said = train(
        speech, donors["en"], tmp_path, wide, prepare=functools.partial(memory_limit, 400)
    )
    assert status == 1
    assert (
        "out of memory in the largest batch, tried before the first step: 27 cuts, each padded to"
        in said
    )
    assert (
        "lower training.batch_duration_s (now 100), say to 75; filters.max_duration_s helps only "
        "below" in said
    )
    assert "Traceback" not in said
    assert rows(tmp_path) == []


def test_a_loss_that_is_no_number_stops_and_names_the_cuts(speech, donors, tmp_path):
    status, said = train(
        speech,
        donors["en"],
        tmp_path,
        {"optimizer": {"name": "adamw", "lr": 1e30}, "gradient_clip": 0},
    )
    assert status == 1
    assert "loss is nan at step" in said
    assert "train-000" in said
    assert "training.optimizer.lr" in said
    assert not (tmp_path / "model.nemo").exists()


def test_two_inits_start_from_the_same_new_modules(finished, speech, donors, tmp_path):
    status, said = train(speech, donors["ml"], tmp_path, {"steps": {"fixed": 2}})
    assert status == 0, said
    one, other = (
        files.read_json(directory / "run.json")["start_digests"]
        for directory in (finished, tmp_path)
    )
    assert (one["decoder"], one["joint"]) == (other["decoder"], other["joint"])
    assert one["encoder"] != other["encoder"]


def test_every_epoch_sees_every_cut_once_and_a_position_continues_it(speech, donors):
    from warmstart.models import open_family
    from warmstart.training import order

    family, orders = open_family("fastconformer_rnnt"), []
    for init, start, first in (("en", (0, 0), 0), ("ml", (0, 0), 0), ("en", (1, 3), 0)):
        donor = family.read_donor(donors[init])
        model = family.build(donor, SETTINGS, tokenizer=speech["tokenizer"], seed=1, steps=9)
        _, sampler = order.dataloader(model, speech["train"], SETTINGS, seed=1)
        sampler.start, sampler.first_step = start, first
        seen, batches = [], iter(sampler)
        while len(seen) < 40:
            next(batches)
            record = sampler.recent[len(seen)]
            seen.append((record["epoch"], record["index"], tuple(record["ids"])))
        orders.append(seen)
    count = mixing.totals(speech["train"]).cuts
    for epoch in (0, 1):
        ids = Counter(cut for number, _, cuts in orders[0] if number == epoch for cut in cuts)
        assert len(ids) == count
        assert set(ids.values()) == {1}
    assert orders[0] == orders[1]
    position = next(i for i, (epoch, index, _) in enumerate(orders[0]) if (epoch, index) == (1, 4))
    assert orders[2][: 40 - position] == orders[0][position:]


@pytest.mark.parametrize("workers", [0, 2])
def test_batches_of_an_epoch_hold_each_cut_once_also_from_a_position_on_and_with_workers(
    speech, workers
):
    """The audio that arrives, not what was recorded: lengths tell the cuts apart, of which each has
    its own here."""
    from warmstart.data import cut_lines
    from warmstart.training import order

    lengths = {
        cut["id"]: round(cut_lines.duration_s(cut) * 16000)
        for cut in cut_lines.read(speech["train"])
    }

    def arriving(position, first_step, steps):
        loader, sampler = order.dataloader(
            listener(speech), speech["train"], SETTINGS | {"num_workers": workers}, seed=1
        )
        sampler.start, sampler.first_step = position, first_step
        got = []
        for step, (batch, _) in enumerate(
            zip(loader, range(steps), strict=False), start=first_step
        ):
            record = sampler.recent[step]
            assert sorted(batch[1].tolist()) == sorted(lengths[cut] for cut in record["ids"])
            got.append((record["epoch"], record["index"], sorted(batch[1].tolist())))
        return got

    whole = arriving((0, 0), 0, 20)
    for epoch in (0, 1):
        heard = [length for number, _, batch in whole if number == epoch for length in batch]
        assert sorted(heard) == sorted(lengths.values())
    assert arriving((0, whole[3][1]), 4, 6) == whole[4:10]


def test_padding_share_is_what_a_hand_makes_of_it(speech, tmp_path):
    """Batches of 3 s and 1 s, then of 2 s: 8 s of room for 6 s of speech is a quarter of
    padding."""
    from warmstart.training.recorder import Recorder

    recorder = Recorder(
        tmp_path,
        SimpleNamespace(recent={}, waited_s=0.0),
        6 / 3600,
        9,
        1,
        SETTINGS | {"log_every_steps": 2, "validate_every_steps": 100},
        None,
        Ranks(),
        16000,
    )
    trainer = SimpleNamespace(
        optimizers=[SimpleNamespace(param_groups=[{"lr": 0.1}])], global_step=0
    )
    for lengths in ([3, 1], [2]):
        recorder._sampler.recent[trainer.global_step] = {
            **{
                "ids": ["a"] * len(lengths),
                "durations_s": lengths,
                "budget_s": sum(lengths),
                "replay_s": 0,
            },
            **{
                "epoch": 0,
                "index": trainer.global_step + 1,
                "epoch_s": 4 + 2 * trainer.global_step,
            },
        }
        trainer.global_step += 1
        audio = torch.zeros(len(lengths), max(lengths) * 16000)
        batch = (audio, torch.tensor(lengths) * 16000)
        recorder.on_train_batch_end(trainer, None, {"loss": torch.tensor(1.0)}, batch, 0)
    assert recorder.last_row["padding_share"] == 0.25
    assert recorder.last_row["hours_seen"] == pytest.approx(6 / 3600, abs=1e-6)
    assert recorder.last_row["unique_hours"] == pytest.approx(6 / 3600, abs=1e-6)
    assert recorder.last_row["epochs"] == 1


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
    from warmstart.study.run_length import resolve_steps

    assert resolve_steps(settings, hours, 20) == expected


def test_an_epoch_is_as_long_as_what_is_heard_in_it():
    from warmstart.study.run_length import heard_hours

    assert heard_hours(90) == 90
    # A tenth of all is replayed: 90 h of the budget and 10 h of the other; at 0.8 and 1.25 of their
    # speed 125 and 80 h.
    assert heard_hours(90, replayed=0.1) == pytest.approx(100)
    assert heard_hours(100, speeds=[0.8, 1.25]) == pytest.approx(102.5)


def test_steps_need_exactly_one_way():
    from warmstart.study.run_length import resolve_steps

    for settings in ({}, {"fixed": 1, "epochs": 2}):
        with pytest.raises(UserError, match="either `fixed` or `epochs`"):
            resolve_steps(settings, 1, 20)


def test_the_loss_on_a_cpu_is_nemos_own(speech, donors):
    import torch
    from nemo.collections.asr.losses.rnnt import RNNTLoss

    from warmstart.models.fastconformer.loss import CompiledRNNTLoss

    torch.manual_seed(0)
    log_probs, labels = torch.randn(2, 6, 4, 9).log_softmax(-1), torch.randint(0, 8, (2, 3))
    lengths = torch.tensor([6, 5]), torch.tensor([3, 2])
    reference = RNNTLoss(num_classes=8, loss_name="pytorch", reduction=None)
    expected = reference._loss(
        acts=log_probs, labels=labels, act_lens=lengths[0], label_lens=lengths[1]
    )
    found = CompiledRNNTLoss(blank=8)(
        acts=log_probs, labels=labels, act_lens=lengths[0], label_lens=lengths[1]
    )
    torch.testing.assert_close(found.sum(), expected.sum())


def test_joint_and_loss_in_parts_as_on_a_gpu_give_the_loss_and_gradients_of_the_whole(
    speech, donors
):
    from nemo.collections.asr.models import EncDecRNNTBPEModel
    from omegaconf import OmegaConf

    from warmstart.models.fastconformer import build
    from warmstart.models.fastconformer.loss import use_fast_loss

    config = build.transducer_config(
        read_config(donors["en"]), SETTINGS["model"], speech["tokenizer"]
    )
    found = {}
    for fused in (False, True):
        torch.manual_seed(1)
        model = EncDecRNNTBPEModel(cfg=OmegaConf.create(config)).eval()
        use_fast_loss(model, fused)
        model.log_dict, model._optimizer = (
            lambda *_, **__: None,
            torch.optim.SGD(model.parameters(), lr=1),
        )
        model._trainer = SimpleNamespace(log_every_n_steps=100, global_step=0)
        torch.manual_seed(2)
        lengths = torch.tensor([16000, 12000, 20000, 9000, 16000, 5000])
        tokens = torch.randint(0, 40, (6, 7))
        batch = (torch.randn(6, 20000), lengths, tokens, torch.tensor([7, 3, 5, 2, 6, 1]))
        loss = model.training_step(batch, 0)["loss"]
        loss.backward()
        found[fused] = loss.item(), model.encoder.pre_encode.out.weight.grad.clone()
    assert found[True][0] == pytest.approx(found[False][0], rel=1e-5)
    torch.testing.assert_close(found[True][1], found[False][1], rtol=1e-3, atol=1e-4)
