"""One writer a folder, between real processes."""

import json
import os
import signal
import subprocess
import sys
import time

import pytest
from conftest import ROOT

from warmstart.run import locks
from warmstart.run.errors import UserError

HOLDER = """
import sys, time
from pathlib import Path
from warmstart.run import locks
kept = locks.hold(Path(sys.argv[1]), wait_s=float(sys.argv[2]))
print("held", flush=True)
time.sleep(60)
"""


@pytest.fixture
def holder(tmp_path):
    """Another process, as Slurm job 17, that has the folder."""
    environment = os.environ | {"PYTHONPATH": str(ROOT / "workflow/scripts"), "SLURM_JOB_ID": "17"}
    process = subprocess.Popen(
        [sys.executable, "-c", HOLDER, tmp_path, "0"],
        env=environment,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout.readline() == "held\n"
    yield process
    process.kill()
    process.communicate()


def test_a_second_writer_is_told_who_the_first_is(holder, tmp_path):
    with pytest.raises(
        UserError,
        match=rf"is being written by Slurm job 17, process {holder.pid} on .* since .*; wait until",
    ):
        locks.hold(tmp_path, wait_s=0)


def test_what_a_killed_holder_leaves_locks_nobody_out(holder, tmp_path):
    holder.send_signal(signal.SIGKILL)
    holder.wait()
    assert json.loads((tmp_path / locks.NAME).read_text())["pid"] == holder.pid
    lock = locks.hold(tmp_path, wait_s=0)
    assert json.loads((tmp_path / locks.NAME).read_text())["pid"] == os.getpid()
    lock.close()


def test_a_writer_waits_for_the_end_of_the_one_before(holder, tmp_path):
    started = time.monotonic()
    subprocess.Popen(["sh", "-c", f"sleep 0.5; kill -9 {holder.pid}"])
    lock = locks.hold(tmp_path, wait_s=20)
    assert 0.4 < time.monotonic() - started < 10
    lock.close()


def test_a_file_system_without_locks_costs_a_warning(tmp_path, caplog, monkeypatch):
    def refuse(_stream, _operation):
        raise OSError(37, "No locks available")

    # No file system here refuses locks; this one call of the kernel's is stood in for.
    monkeypatch.setattr("fcntl.flock", refuse)
    assert locks.hold(tmp_path) is None
    assert "no locks on this file system" in caplog.text
