"""Runs that get nowhere: a loader that waits for ever, a decoder that says nothing but blank."""

import csv
import multiprocessing
import os
import threading
import time

import pytest
from made.losable_audio import audio_of, own, train  # noqa: F401 (`own` is a fixture)

from warmstart.training.watchdog import STALLED, Watchdog, stacks_path


def _fork() -> None:
    """Start loaders as a program that was started from a shell does."""
    multiprocessing.set_start_method("fork", force=True)


def _wait_here(over: threading.Event) -> None:
    over.wait(20)


@pytest.mark.slow
def test_a_process_without_a_sign_of_life_ends_with_the_stacks_of_all_its_threads(tmp_path):
    over, ended = threading.Event(), []

    def end(status: int) -> None:
        ended.append(status)
        over.set()

    with Watchdog(tmp_path, 0.1 / 60, rank=3, end=end) as watchdog:
        watchdog.alive("step 7")
        _wait_here(over)
    assert ended == [STALLED]
    said = stacks_path(tmp_path, 3).read_text()
    assert "rank 3" in said
    assert "nothing done since step 7" in said
    assert "in _wait_here" in said


def test_signs_of_life_keep_a_process_and_leave_no_file(tmp_path):
    ended = []
    with Watchdog(tmp_path, 0.2 / 60, end=ended.append) as watchdog:
        for step in range(8):
            time.sleep(0.05)
            watchdog.alive(f"step {step}")
    assert not ended
    assert not list(tmp_path.iterdir())
    with Watchdog(tmp_path, 0, end=ended.append):
        time.sleep(0.05)
    assert not ended


@pytest.mark.slow
@pytest.mark.parametrize("workers", [0, 1])
def test_a_loader_that_waits_for_ever_is_ended_and_the_run_goes_on(own, donors, tmp_path, workers):
    """A pipe that nobody writes to holds whoever opens it, as a dead disk does."""
    run = tmp_path / "run"
    file, _ = max(audio_of(own["train"]).values(), key=lambda one: one[1])
    file.rename(f"{file}.away")
    os.mkfifo(file)
    settings = {"stall_minutes": 0.25, "num_workers": workers}
    status, said = train(own, donors["en"], run, settings, prepare=_fork)
    assert status == STALLED, said
    assert "(training.stall_minutes): stopped" in said
    stacks = stacks_path(run, 0).read_text()
    assert "soundfile" in stacks, "neither the process nor its loader says that it reads audio"
    assert not (run / "model.nemo").exists()
    file.unlink()
    os.rename(f"{file}.away", file)
    status, said = train(own, donors["en"], run, settings, prepare=_fork)
    assert status == 0, said
    assert (run / "model.nemo").exists()


@pytest.mark.slow
def test_a_decoder_that_says_nothing_but_blank_stops_the_run(speech, donors, tmp_path):
    run = tmp_path / "run"
    # At this rate a new transducer learns within ten steps that blank is the safest thing to say.
    fast = {
        "optimizer": {"name": "adamw", "lr": 2e-2, "encoder_lr_scale": 0.25},
        "steps": {"fixed": 100},
        "validate_every_steps": 10,
    }
    status, said = train(speech, donors["en"], run, fast)
    assert status == 1, said
    assert "Traceback" not in said
    with open(run / "train.csv", encoding="utf-8") as stream:
        rows = [row for row in csv.DictReader(stream) if row["dev_empty"]]
    assert [row["dev_empty"] for row in rows[-3:]] == ["1.0"] * 3
    assert all(row["dev_empty"] != "1.0" for row in rows[:-3]), "it waited for more than three"
    last = rows[-1]["step"]
    assert f"in 3 validations in a row, the last of them after step {last} of 100" in said
    assert "Likely causes: " in said
    status, said = train(speech, donors["en"], run, fast | {"blank_validations": 0})
    assert status == 0, said
