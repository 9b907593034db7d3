"""What a cluster does to jobs, done to real ones on a real Slurm; docs/cluster.md has the table."""

import contextlib
import json
import os
import re
import shutil
import signal
import sys
import threading
import time
from pathlib import Path

import pytest
from conftest import Checkout
from made.cluster import SMALL, Cluster, with_profile, workflow
from made.studies import smoke_config

pytestmark = pytest.mark.slow

STEPS = 60
INITS = ("en", "ml")


def run_dir(study: Checkout, init: str) -> Path:
    return study.folder / f"results/runs/it/{init}/0.02h/seed1"


def newest_step(study: Checkout, init: str) -> int:
    """Step of the newest checkpoint of a run; 0 where there is none."""
    found = (run_dir(study, init) / "checkpoints").glob("step-*.ckpt")
    return max((int(path.stem.removeprefix("step-")) for path in found), default=0)


def training_log(study: Checkout, init: str) -> str:
    path = study.folder / f"logs/train/it/{init}/0.02h/seed1.log"
    return path.read_text(encoding="utf-8") if path.exists() else ""


def continued_from(log: str) -> int:
    """Step that the newest try of a training began with."""
    found = re.findall(r"continuing from \S*step-(\d+)\.ckpt", log)
    return int(found[-1]) if found else 0


def process_of(study: Checkout, init: str) -> int:
    """The process that trains a run."""
    return json.loads((run_dir(study, init) / ".lock").read_text())["pid"]


def parent_of(process: int) -> str:
    """Name of the program that started a process."""
    parent = re.search(r"PPid:\s*(\d+)", Path(f"/proc/{process}/status").read_text())[1]
    return Path(f"/proc/{parent}/comm").read_text().strip()


def signalled(process: int, number: signal.Signals) -> bool:
    """Whether a signal waits for a halted process, or woke it and it is gone."""
    try:
        status = Path(f"/proc/{process}/status").read_text()
    except FileNotFoundError:
        return True
    pending = int(re.search(r"ShdPnd:\s*(\w+)", status)[1], 16)
    return bool(pending >> (number - 1) & 1)


def slurm_logs(job: dict[str, str]) -> str:
    return Path(job["StdOut"]).read_text(encoding="utf-8")


def newest_job(cluster: Cluster, study: Checkout, init: str) -> dict[str, str]:
    """Slurm's record of the newest job of a run."""
    return [row for row in cluster.jobs_of("train", study.folder) if f"_{init}_" in row["Comment"]][
        -1
    ]


@pytest.fixture(scope="module")
def study(checkout: Checkout, tmp_path_factory) -> Checkout:
    """All that two trainings need is there; they have not begun, and take long enough to be
    disturbed."""
    made = checkout.copy(tmp_path_factory.mktemp("faults") / "warmstart")
    made.folder.parent.chmod(0o755)
    config = smoke_config()
    config["training"]["steps"] = {"fixed": STEPS}
    config["training"] |= {
        "checkpoint_every_steps": 5,
        "log_every_steps": 10,
        "validate_every_steps": 10 * STEPS,
    }
    made.write_config(config)
    inputs = [
        "results/budgets/it/0.02h.jsonl.gz",
        "results/tokenizers/it/tokenizer.model",
        "results/manifests/spoken/it/dev.jsonl.gz",
    ]
    made.snakemake("--cores", "2", *inputs, *(f"resources/inits/{init}.nemo" for init in INITS))
    return made


@pytest.fixture(scope="module")
def disturbed(cluster: Cluster, study: Checkout):
    """Two trainings at once: both preempted, then one cancelled and one warned that its time is
    over. What was seen of each."""
    running = cluster.start(
        study.folder,
        *(f"results/runs/it/{init}/0.02h/seed1/model.nemo" for init in INITS),
        "--configfile",
        "smoke.yaml",
    )

    seen = {init: {} for init in INITS}
    try:
        # Each is halted where it is to be disturbed, so that neither is over before the other has
        # come as far.
        for init in INITS:
            running.until(lambda init=init: newest_step(study, init), f"a checkpoint of {init}")
            os.kill(process_of(study, init), signal.SIGSTOP)
            seen[init]["parent"] = parent_of(process_of(study, init))
            seen[init] |= {
                "job": newest_job(cluster, study, init)["JobId"],
                "at_preemption": newest_step(study, init),
            }
        # A job of a partition above takes the whole node. What it pushes aside is told to end, and
        # killed after some seconds.
        cluster.ask(
            "sbatch",
            "--wait",
            "--partition=urgent",
            "--exclusive",
            "--output=/dev/null",
            "--wrap=sleep 1",
        )
        for init in INITS:
            seen[init]["at_preemption"] = newest_step(study, init)
        for init in INITS:
            running.until(
                lambda init=init: newest_step(study, init) > seen[init]["at_preemption"],
                f"{init} further after its preemption",
            )
            os.kill(process_of(study, init), signal.SIGSTOP)
            seen[init]["continued"] = continued_from(training_log(study, init))
            seen[init]["restarts"] = newest_job(cluster, study, init)["Restarts"]
            seen[init]["same_job"] = newest_job(cluster, study, init)["JobId"] == seen[init]["job"]
        cluster.ask("scancel", seen["en"]["job"])
        # Slurm looks at limits twice a minute; the profile asks for the warning five minutes
        # before.
        cluster.ask("scontrol", "update", f"JobId={seen['ml']['job']}", "TimeLimit=5")
        warned = process_of(study, "ml")
        running.until(lambda: signalled(warned, signal.SIGUSR1), "Slurm's warning", limit_s=70)
        with contextlib.suppress(ProcessLookupError):
            os.kill(warned, signal.SIGCONT)
        running.wait()
        for init in INITS:
            seen[init]["jobs"] = [
                row
                for row in cluster.jobs_of("train", study.folder)
                if f"_{init}_" in row["Comment"]
            ]
            seen[init]["log"] = training_log(study, init)
            seen[init]["run"] = json.loads((run_dir(study, init) / "run.json").read_text())
            seen[init]["curve"] = (run_dir(study, init) / "train.csv").read_text().splitlines()
        assert running.process.returncode == 0, running.said()[-6000:]
        yield seen
    finally:
        running.stop()


@pytest.mark.parametrize("init", INITS)
def test_a_preempted_training_is_requeued_and_goes_on(disturbed, init):
    seen = disturbed[init]
    assert seen["same_job"]
    assert seen["restarts"] == "1"
    assert 0 < seen["continued"] <= seen["at_preemption"]


def test_a_cancelled_training_is_submitted_again_and_goes_on(study, disturbed):
    seen = disturbed["en"]
    first, second = seen["jobs"]
    assert (first["JobState"], second["JobState"]) == ("CANCELLED", "COMPLETED")
    # More memory with a retry, and no more time: it goes on where it was.
    assert (first["MinMemoryNode"], second["MinMemoryNode"]) == ("2500M", "3750M")
    assert first["TimeLimit"] == second["TimeLimit"] == "00:30:00"
    # No shell between Snakemake and the program: it would die of the signal, and the job with it,
    # before it has saved.
    assert seen["parent"] != "bash"
    stopped = re.search(
        rf"stopped by SIGTERM: checkpoint at step (\d+) of {STEPS}", slurm_logs(first)
    )
    assert stopped
    assert continued_from(seen["log"]) == int(stopped[1]) > seen["continued"]


def test_a_training_warned_of_its_time_limit_writes_a_checkpoint_and_goes_on(study, disturbed):
    seen = disturbed["ml"]
    first, second = seen["jobs"]
    # Not TIMEOUT: it stopped by itself, minutes before.
    assert (first["JobState"], second["JobState"]) == ("FAILED", "COMPLETED")
    # And nobody else did: Snakemake gets the signal too.
    assert "User defined signal" not in slurm_logs(first)
    stopped = re.search(
        rf"stopped by SIGUSR1: checkpoint at step (\d+) of {STEPS}", slurm_logs(first)
    )
    assert stopped
    assert continued_from(seen["log"]) == int(stopped[1]) > seen["continued"]


def test_disturbed_trainings_lose_nothing(disturbed):
    for init in INITS:
        seen = disturbed[init]
        assert seen["run"]["steps"] == STEPS
        # Rows of all tries: Snakemake removed the file of the failed ones.
        assert [int(row.split(",")[0]) for row in seen["curve"][1:]] == list(
            range(10, STEPS + 1, 10)
        )
    # Cancelled and warned at different steps, both heard the same.
    assert disturbed["en"]["run"]["hours_seen"] == disturbed["ml"]["run"]["hours_seen"] > 0.02


def test_a_killed_snakemake_finds_its_jobs_again_and_nothing_is_lost(
    cluster: Cluster, study: Checkout, disturbed, tmp_path
):
    """The folder's own lock, then the jobs that are left stand in the way of doing work twice; then
    it goes on."""
    killed = study.copy(tmp_path / "killed")
    for parent in (tmp_path, tmp_path.parent):
        parent.chmod(0o755)
    shutil.rmtree(killed.folder / "results/runs")
    targets = [
        *(f"results/runs/it/{init}/0.02h/seed1/model.nemo" for init in INITS),
        "--configfile",
        "smoke.yaml",
    ]

    def state(init: str) -> str:
        return newest_job(cluster, killed, init)["JobState"]

    first = cluster.start(killed.folder, *targets)
    for init in INITS:
        first.until(lambda init=init: newest_step(killed, init), f"a checkpoint of {init}")
        os.kill(process_of(killed, init), signal.SIGSTOP)
    reached = {init: newest_step(killed, init) for init in INITS}
    number = {init: newest_job(cluster, killed, init)["JobId"] for init in INITS}
    first.kill()

    status, said = cluster.snakemake(killed.folder, *targets, check=False)
    assert status == 1
    assert "Directory cannot be locked" in said
    cluster.snakemake(killed.folder, "--unlock", "--configfile", "smoke.yaml")
    status, said = cluster.snakemake(killed.folder, *targets, check=False)
    assert status == 1
    assert "Slurm still has jobs of an earlier Snakemake in this folder" in said
    # Both are named, nothing was ordered a second time, and they are alone in their folders.
    assert re.search(r"scancel \d+ \d+`", said)
    assert len(cluster.jobs_of("train", killed.folder)) == 2
    for init in INITS:
        assert f"{number[init]} (RUNNING, train_wildcards_it_{init}_0.02_1)" in said
        assert newest_step(killed, init) == reached[init]
        assert (
            json.loads((run_dir(killed, init) / ".lock").read_text())["slurm_job"] == number[init]
        )

    # One is left to end by itself, as if nothing had happened to who ordered it; the other is
    # stopped.
    os.kill(process_of(killed, "en"), signal.SIGCONT)
    cluster.ask("scancel", number["ml"])
    end = time.monotonic() + 120
    while "RUNNING" in (state("en"), state("ml")) or "COMPLETING" in (state("en"), state("ml")):
        assert time.monotonic() < end
        time.sleep(0.3)
    assert (state("en"), state("ml")) == ("COMPLETED", "CANCELLED")
    cluster.snakemake(killed.folder, *targets)
    assert newest_job(cluster, killed, "en")["JobId"] == number["en"]
    assert state("ml") == "COMPLETED"
    assert continued_from(training_log(killed, "ml")) >= reached["ml"] > 0
    for init in INITS:
        curve = (run_dir(killed, init) / "train.csv").read_text().splitlines()
        assert [int(row.split(",")[0]) for row in curve[1:]] == list(range(10, STEPS + 1, 10))
        assert (
            json.loads((run_dir(killed, init) / "run.json").read_text())["hours_seen"]
            == disturbed[init]["run"]["hours_seen"]
        )


OTHERS = workflow(
    (
        "flaky",
        "flaky.txt",
        '''resources: mem_mb=600
    shell: "echo try >> tries.txt; test $(wc -l < tries.txt) -eq 3; mv tries.txt {output}"''',
    ),
    (
        "hungry",
        "hungry.txt",
        f'''resources: mem_mb=lambda wildcards, attempt: 600 * attempt, runtime=10
    shell:
        "{sys.executable} -c 'import time; held = bytearray(800_000_000); time.sleep(4)';"
        "echo $SLURM_JOB_ID > {{output}}"''',
    ),
    (
        "late",
        "late.txt",
        f'''params: hidden="hidden/late.txt"
    {SMALL}
    shell: "mkdir -p hidden; echo late > {{params.hidden}}"''',
    ),
    (
        "steady",
        "steady.txt",
        f'''{SMALL}
    shell:
        "echo $SLURM_JOB_ID >> lives.txt; while ! test -e enough; do sleep 0.2; done;"
        "mv lives.txt {{output}}"''',
    ),
)


def reveal(folder: Path, after_s: float, stop: threading.Event) -> None:
    """A file system that shows a file some seconds after it was written."""
    hidden = folder / "hidden/late.txt"
    while not hidden.exists() and not stop.wait(0.2):
        pass
    if not stop.wait(after_s):
        hidden.rename(folder / "late.txt")


@pytest.fixture(scope="module")
def others(cluster: Cluster, tmp_path_factory):
    """One Snakemake with four jobs, each with a fault of its own; the last one loses its node and
    then the controller."""
    folder = with_profile(tmp_path_factory.mktemp("others") / "study", OTHERS)
    folder.parent.chmod(0o755)
    running, stop, seen = cluster.start(folder), threading.Event(), {"folder": folder}
    threading.Thread(target=reveal, args=(folder, 8, stop), daemon=True).start()
    node = cluster.ask("sinfo", "-h", "-N", "-o", "%N").split()[0]

    def state(name: str) -> str:
        """Of a rule's newest job."""
        found = cluster.jobs_of(name, folder)
        return found[-1]["JobState"] if found else ""

    def lives() -> int:
        path = folder / "lives.txt"
        return len(path.read_text().splitlines()) if path.exists() else 0

    try:
        for name in ("flaky", "hungry", "late"):
            running.until(lambda name=name: state(name) == "COMPLETED", name, limit_s=180)
        running.until(lambda: lives() == 1, "the steady job")
        cluster.ask("scontrol", "update", f"NodeName={node}", "State=DOWN", "Reason=test")
        running.until(lambda: state("steady") == "PENDING", "the job back in the queue")
        cluster.ask("scontrol", "update", f"NodeName={node}", "State=RESUME")
        running.until(lambda: lives() == 2, "its second life")
        cluster.restart_controller()
        seen["state_after_restart"] = state("steady")
        (folder / "enough").touch()
        seen["status"] = running.wait()
        seen["said"] = running.said()
        seen["jobs"] = {
            name: cluster.jobs_of(name, folder) for name in ("flaky", "hungry", "late", "steady")
        }
        yield seen
    finally:
        stop.set()
        running.stop()


def test_a_job_that_fails_twice_passes_the_third_time(others):
    assert [job["JobState"] for job in others["jobs"]["flaky"]] == ["FAILED", "FAILED", "COMPLETED"]
    assert (others["folder"] / "flaky.txt").read_text() == "try\n" * 3
    # It says nothing of its time: the profile does, and gives more with every try.
    assert [job["TimeLimit"] for job in others["jobs"]["flaky"]] == [
        "04:00:00",
        "08:00:00",
        "12:00:00",
    ]


def test_a_job_killed_for_its_memory_gets_more(others):
    first, second = others["jobs"]["hungry"]
    assert (first["MinMemoryNode"], second["MinMemoryNode"]) == ("600M", "1200M")
    assert first["JobState"] in ("OUT_OF_MEMORY", "CANCELLED", "FAILED")
    assert "exceeded memory limit" in slurm_logs(first)
    assert second["JobState"] == "COMPLETED"


def test_a_file_that_a_shared_file_system_shows_late_is_waited_for(others):
    assert [job["JobState"] for job in others["jobs"]["late"]] == ["COMPLETED"]
    assert (others["folder"] / "late.txt").read_text() == "late\n"


def test_a_job_whose_node_goes_down_starts_again_when_it_is_up(others):
    [job] = others["jobs"]["steady"]
    assert job["JobState"] == "COMPLETED"
    assert job["Restarts"] == "1"
    # Twice begun, under the same number: Slurm did it, no retry of Snakemake's was spent.
    assert (others["folder"] / "steady.txt").read_text().split() == [job["JobId"]] * 2


def test_a_restart_of_the_controller_goes_unnoticed(others):
    assert others["state_after_restart"] == "RUNNING"
    assert others["status"] == 0
    assert "Error in rule steady" not in others["said"]
