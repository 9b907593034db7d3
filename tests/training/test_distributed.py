"""A run of several processes: who sees which cut, whose hours count, who writes, and what a signal
to one of them does."""

import contextlib
import json
import signal
import socket
from collections import Counter
from types import SimpleNamespace

import pytest
from made.programs import Program
from made.small_speech import SETTINGS, listener, rows

from warmstart.run import files
from warmstart.run.errors import UserError
from warmstart.study import recipe

pytestmark = pytest.mark.slow

TWO = SETTINGS | {"devices": 2, "log_every_steps": 1}


def dealt(speech, rank, world, steps, start=(0, 0), first_step=0):
    """What one process of `world` gets: a record of each step."""
    from warmstart.training import order

    ranks = SimpleNamespace(rank=rank, world=world)
    _, sampler = order.dataloader(listener(speech), speech["train"], SETTINGS, seed=1, ranks=ranks)
    sampler.start, sampler.first_step = start, first_step
    for _ in zip(range(steps), sampler, strict=False):
        pass
    return [sampler.recent[step] for step in range(first_step, first_step + steps)]


@pytest.mark.parametrize("world", [2, 3])
def test_each_cut_of_an_epoch_is_seen_by_exactly_one_process(speech, world):
    from warmstart.data import mixing

    totals = mixing.totals(speech["train"])
    count, hours = totals.cuts, totals.hours
    alone = dealt(speech, 0, 1, 40)
    batches = [
        max(record["index"] for record in alone if record["epoch"] == epoch) for epoch in range(3)
    ]
    seen = [dealt(speech, rank, world, 1 + sum(batches) // world) for rank in range(world)]
    # In the order of the stream; an epoch need not end with a step.
    stream = [record for step in zip(*seen, strict=True) for record in step]
    for own in batches:
        epoch, stream = stream[:own], stream[own:]
        heard = Counter(cut for record in epoch for cut in record["ids"])
        assert len(heard) == count
        assert set(heard.values()) == {1}
        assert sum(record["budget_s"] for record in epoch) / 3600 == pytest.approx(hours)
    for step in zip(*seen, strict=True):
        assert len({(record["epoch"], record["index"], record["epoch_s"]) for record in step}) == 1


def test_processes_go_on_from_a_position_in_the_middle_of_an_epoch(speech):
    for rank in (0, 1):
        whole = dealt(speech, rank, 2, 9)
        position = (whole[3]["epoch"], whole[3]["index"])
        assert dealt(speech, rank, 2, 5, position, first_step=4) == whole[4:]


def test_the_batches_of_a_step_are_of_like_length(speech):
    """Between the processes of a step, the longest cuts differ less than between batches that
    follow each other."""
    from statistics import mean

    longest = [
        [max(record["durations_s"]) for record in dealt(speech, rank, 2, 60)] for rank in (0, 1)
    ]
    within = mean(abs(one - other) for one, other in zip(*longest, strict=True))
    plain = [max(record["durations_s"]) for record in dealt(speech, 0, 1, 120)]
    between = mean(abs(one - other) for one, other in zip(plain[::2], plain[1::2], strict=True))
    assert within < 0.7 * between


def arguments(speech, init, run_dir):
    return [
        *(
            "--train-cuts",
            str(speech["train"]),
            "--dev-cuts",
            f"it={speech['dev']}",
            "--tokenizer",
            str(speech["tokenizer"]),
        ),
        *("--init", str(init), "--run", "it/en/0.012h/seed1", "--settings", json.dumps(TWO)),
        *(
            "--run-dir",
            str(run_dir),
            "--output",
            str(run_dir / "model.nemo"),
            "--log",
            str(run_dir / "log.txt"),
        ),
    ]


def as_srun_starts_them(speech, init, run_dir):
    """Two tasks of a Slurm step on one node."""
    with contextlib.closing(socket.socket()) as found:
        found.bind(("127.0.0.1", 0))
        port = found.getsockname()[1]
    step = {
        "SLURM_STEP_NUM_TASKS": "2",
        "SLURM_NTASKS": "2",
        "SLURM_NTASKS_PER_NODE": "2",
        "SLURM_NNODES": "1",
    }
    step |= {
        "SLURM_JOB_ID": "17",
        "SLURM_NODEID": "0",
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port),
    }
    return [
        Program(
            "train",
            arguments(speech, init, run_dir),
            run_dir / f"said-{rank}.txt",
            environment=step | {"SLURM_PROCID": str(rank), "SLURM_LOCALID": str(rank)},
        )
        for rank in (0, 1)
    ]


def weights(path):
    import torch

    return torch.load(path, weights_only=False)["state_dict"]


def test_two_processes_train_one_model_and_go_on_after_a_signal_to_one_of_them(
    speech, donors, tmp_path
):
    import torch

    from warmstart.data import mixing

    init, whole, cut = donors["en"], tmp_path / "whole", tmp_path / "cut"
    programs = as_srun_starts_them(speech, init, whole)
    assert [program.wait() for program in programs] == [0, 0], programs[0].said + programs[1].said
    record = files.read_json(whole / "run.json")
    hours = mixing.totals(speech["train"]).hours
    heard_s = sum(step["budget_s"] for rank in (0, 1) for step in dealt(speech, rank, 2, 12))
    assert record["hours_seen"] == pytest.approx(heard_s / 3600, abs=1e-6)
    assert record["hours_seen"] > 2 * hours
    assert record["unique_hours"] == pytest.approx(hours, abs=1e-6)
    assert [int(row["step"]) for row in rows(whole)] == list(range(1, 13))
    assert float(rows(whole)[-1]["dev_wer"]) >= 0
    assert "warmstart" not in programs[1].said
    assert (whole / "log.rank1.log").exists()

    # As the program starts a second process for itself; the signal reaches the first only.
    program = Program("train", arguments(speech, init, cut), cut / "said.txt")
    program.wait_for(lambda: len(rows(cut)) >= 5)
    program.send(signal.SIGUSR1)
    assert program.wait() == 138, program.said
    assert program.said.count("stopped by SIGUSR1: checkpoint at step") == 1
    programs = as_srun_starts_them(speech, init, cut)
    assert [program.wait() for program in programs] == [0, 0], programs[0].said + programs[1].said
    assert "continuing from" in programs[0].said
    assert files.read_json(cut / "run.json")["hours_seen"] == record["hours_seen"]
    one, other = (weights(folder / "checkpoints" / "step-00000012.ckpt") for folder in (whole, cut))
    assert all(torch.equal(value, other[name]) for name, value in one.items())


def test_tasks_that_no_run_of_these_settings_has_are_refused(monkeypatch):
    from warmstart.training.distributed import Ranks

    monkeypatch.delenv("LOCAL_RANK", raising=False)
    monkeypatch.setenv("SLURM_STEP_NUM_TASKS", "4")
    with pytest.raises(
        UserError,
        match="is 2 processes, but srun started 4; start with `srun --nodes=1 --ntasks-per-node=2`",
    ):
        Ranks(2).environment()
    monkeypatch.setenv("SLURM_STEP_NUM_TASKS", "1")
    with pytest.raises(UserError, match="is 8 processes, but srun started 1"):
        Ranks(4, 2).environment()


@pytest.mark.parametrize(
    ("training", "gpus", "says"),
    [
        (
            {"devices": 4},
            1,
            "train_gpus is 1, training.devices 4 x training.num_nodes 1 is 4; give the same number",
        ),
        ({}, 4, "train_gpus is 4, training.devices 1"),
        ({"num_nodes": 2}, 2, "num_nodes is 2 with one device each; fill nodes first"),
    ],
)
def test_devices_that_do_not_fit_the_job_stop_the_dry_run(training, gpus, says):
    def check(train_gpus, devices=1, num_nodes=1):
        block = {"devices": devices, "num_nodes": num_nodes}
        recipe._check_devices({"training": block, "resources": {"train_gpus": train_gpus}})

    with pytest.raises(UserError, match=says):
        check(gpus, **training)
    check(8, devices=4, num_nodes=2)
    check(0, devices=2)
