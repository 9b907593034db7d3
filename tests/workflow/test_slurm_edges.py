"""Submission at the edge: throttled, refused by sbatch, without the database of accounts, GPUs of a
model, and sites that know GPUs as generic resources only; on a real Slurm."""

import os
import signal
import subprocess
import time
from datetime import datetime
from pathlib import Path

import pytest
import yaml
from made.cluster import PROFILE, SMALL, Cluster, running_slurm, with_profile, workflow

pytestmark = pytest.mark.slow

ON_A_GPU = 'resources: mem_mb=600, runtime=10, gpu=1\n    shell: "touch {output}"'


def refusing(folder: Path, times: int, rule: str) -> str:
    """A folder whose `sbatch` refuses the jobs of a rule so many times, as a busy controller does,
    and is Slurm's own otherwise."""
    real = subprocess.run(["which", "sbatch"], capture_output=True, text=True, check=True).stdout
    folder.mkdir()
    program = folder / "sbatch"
    program.write_text(
        f"""#!/bin/sh
case "$*" in
*"--comment rule_{rule} "*)
    echo refused >> {folder}/refused
    if [ $(wc -l < {folder}/refused) -le {times} ]; then
        echo "sbatch: error: Batch job submission failed: Socket timed out on send/recv" >&2
        exit 1
    fi;;
esac
exec {real.strip()} "$@"
""",
        encoding="utf-8",
    )
    program.chmod(0o755)
    return str(folder)


@pytest.fixture
def pair(tmp_path) -> Path:
    """A study of two jobs."""
    works = f'{SMALL}\n    shell: "echo $SLURM_JOB_ID > {{output}}"'
    return with_profile(
        tmp_path / "study", workflow(("one", "one.txt", works), ("two", "two.txt", works))
    )


def with_sbatch(cluster: Cluster, folder: str, monkeypatch: pytest.MonkeyPatch) -> None:
    path = os.pathsep.join([folder, cluster.environment["PATH"]])
    monkeypatch.setitem(cluster.environment, "PATH", path)


def test_a_submission_that_fails_once_is_tried_again(cluster, pair, tmp_path, monkeypatch):
    with_sbatch(cluster, refusing(tmp_path / "bin", 1, "one"), monkeypatch)
    status, said = cluster.snakemake(pair)
    assert status == 0
    assert "SLURM sbatch failed" in said
    assert "Socket timed out" in said
    assert (pair / "one.txt").exists()
    assert (pair / "two.txt").exists()
    assert len(cluster.jobs_of("one", pair)) == 1


def test_a_submission_that_fails_for_good_stops_no_other_job(cluster, pair, tmp_path, monkeypatch):
    with_sbatch(cluster, refusing(tmp_path / "bin", 100, "one"), monkeypatch)
    status, _ = cluster.snakemake(pair, check=False)
    assert status == 1
    assert (tmp_path / "bin/refused").read_text().count("refused") == 3, "two retries"
    assert cluster.jobs_of("one", pair) == []
    assert (pair / "two.txt").exists()


def test_submission_is_throttled(cluster, tmp_path):
    profile = yaml.safe_load((PROFILE / "config.v8+.yaml").read_text(encoding="utf-8"))
    assert profile["max-jobs-per-timespan"] == "60/1m"
    jobs = [(f"job{at}", f"{at}.txt", f'{SMALL}\n    shell: "touch {{output}}"') for at in range(4)]
    folder = with_profile(tmp_path / "study", workflow(*jobs))
    cluster.snakemake(folder, "--max-jobs-per-timespan", "2/20s")
    begun = sorted(
        datetime.fromisoformat(job["SubmitTime"]) for job in cluster.jobs(folder).values()
    )
    assert len(begun) == 4
    # Two at once, two after twenty seconds; a slow sbatch moves each by a few.
    assert (begun[2] - begun[1]).total_seconds() > 10


@pytest.mark.parametrize(
    ("resources", "asked"),
    [
        ((), {"TresPerJob": "gres:gpu:1"}),
        (("trains:gpu_model=h100",), {"TresPerJob": "gres:gpu:h100:1"}),
        (("trains:gpu=0", "trains:gres=gpu:2"), {"TresPerNode": "gres:gpu:2"}),
        (("trains:gpu=0", "trains:gres=gpu:h100:2"), {"TresPerNode": "gres:gpu:h100:2"}),
    ],
)
def test_gpus_are_asked_for_by_model_or_as_generic_resources(cluster, tmp_path, resources, asked):
    folder = with_profile(tmp_path / "study", workflow(("trains", "done.txt", ON_A_GPU)))
    options = ["--set-resources", *resources] if resources else []
    cluster.snakemake(folder, *options)
    [job] = cluster.jobs_of("trains", folder)
    assert {name: job.get(name) for name in asked} == asked
    assert job["Partition"] == "gpu"


def test_a_model_that_the_cluster_lacks_is_named(cluster, tmp_path):
    folder = with_profile(tmp_path / "study", workflow(("trains", "done.txt", ON_A_GPU)))
    status, said = cluster.snakemake(
        folder, "--set-resources", "trains:gpu_model=b200", "--retries", "0", check=False
    )
    assert status == 1
    assert "SLURM sbatch failed" in said


def test_the_database_of_accounts_may_go_away_and_come_back(tmp_path_factory, tmp_path):
    """One job ends while nobody records it, and the next one is submitted."""
    waits = f'{SMALL}\n    shell: "while ! test -e enough; do sleep 0.2; done; touch {{output}}"'
    after = f'input: "first.txt"\n    {SMALL}\n    shell: "touch {{output}}"'
    folder = with_profile(
        tmp_path / "study", workflow(("first", "first.txt", waits), ("second", "second.txt", after))
    )
    with running_slurm(tmp_path_factory.mktemp("accounting"), accounting=True) as cluster:
        running = cluster.start(folder)
        try:

            def state(rule: str) -> str:
                found = cluster.jobs_of(rule, folder)
                return found[-1]["JobState"] if found else ""

            running.until(lambda: state("first") == "RUNNING", "the first job")
            database = int((cluster.root / "run/slurmdbd.pid").read_text())
            os.kill(database, signal.SIGTERM)
            while Path(f"/proc/{database}").exists():
                time.sleep(0.1)
            (folder / "enough").touch()
            running.until(lambda: state("first") == "COMPLETED", "its end")
            # The plugin's own five looks in vain are over within seconds; then it forgot its jobs.
            time.sleep(40)
            assert running.process.poll() is None, running.said()
            assert not (folder / "second.txt").exists()
            subprocess.run(["slurmdbd"], env=cluster.environment, check=True)
            assert running.wait(300) == 0, running.said()
            assert (folder / "second.txt").exists()
            assert len(cluster.jobs_of("first", folder)) == 1
        finally:
            running.stop()
