"""The user's own command on a real Slurm: one node of this machine, started for the test and stopped after it."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml
from conftest import ROOT, Checkout, smoke_config

pytestmark = pytest.mark.slow

HERE = Path(__file__).parent / "slurm"
PACKAGES = ["slurm-wlm", "munge"]


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    """A running Slurm, installed from Debian's packages where it is missing."""
    if shutil.which("slurmctld") is None:
        if os.geteuid() != 0 or shutil.which("apt-get") is None:
            pytest.skip(f"Slurm is not here and cannot be installed without root and apt: {' '.join(PACKAGES)}")
        subprocess.run(["apt-get", "update", "-qq"], check=True)
        subprocess.run(
            ["apt-get", "install", "-y", "-qq", *PACKAGES], check=True, env={**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
        )
    if os.geteuid() != 0:
        pytest.skip("a Slurm of one's own needs root (device nodes, /etc/slurm)")
    root = tmp_path_factory.mktemp("slurm")
    # pytest's folders are for their owner only; slurmd runs jobs below this one.
    for parent in (root, root.parent):
        parent.chmod(0o755)
    started = subprocess.run([HERE / "up.sh", root], text=True, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, check=False)
    if started.returncode == 3:
        pytest.skip(started.stderr)
    try:
        assert started.returncode == 0, started.stderr
        yield root
    finally:
        subprocess.run([HERE / "down.sh", root], check=True)


# The shipped profile, on a cluster without accounting that answers at once.
HERE_AND_NOW = [
    "--slurm-status-command", "squeue", "--slurm-no-account", "--latency-wait", "5",
    "--slurm-init-seconds-before-status-checks", "2", "--seconds-between-status-checks", "2",
    "--default-resources", "mem_mb=1000", "runtime=10",
]  # fmt: skip


def slurm_jobs() -> list[dict[str, str]]:
    """All jobs that the controller remembers."""
    shown = subprocess.run(["scontrol", "--oneliner", "show", "job"], capture_output=True, text=True, check=True).stdout
    return [dict(field.split("=", 1) for field in line.split() if "=" in field) for line in shown.splitlines() if line.strip()]


@pytest.mark.parametrize("profile", ["slurm", "profiles/slurm"])
def test_the_profile_is_found_as_a_user_types_it(checkout: Checkout, profile):
    done = checkout.snakemake("--profile", profile, "--dry-run", config=None)
    assert "train" in done.stdout


def test_every_key_of_the_profile_has_a_comment():
    text = (ROOT / "profiles/slurm/config.v8+.yaml").read_text(encoding="utf-8")
    lines = text.splitlines()
    keys = [place for place, line in enumerate(lines) if line and line[0] not in "# "]
    assert len(keys) == len(yaml.safe_load(text))
    assert all(lines[place - 1].startswith("#") for place in keys)


def test_a_study_runs_through_slurm(cluster, checkout: Checkout, tmp_path):
    study = checkout.copy(tmp_path / "warmstart")
    for parent in (tmp_path, tmp_path.parent):
        parent.chmod(0o755)
    config = smoke_config()
    config["resources"] |= {"train_gpus": 1, "decode_gpus": 1}  # Slurm hands them out; the programs find none and use the CPU
    study.write_config(config)
    model = "results/runs/it/en/0.004h/seed1/model.nemo"
    hypotheses = "results/hypotheses/it/en/0.004h/seed1/full/560ms/human.jsonl"
    study.snakemake(hypotheses, "--profile", "slurm", *HERE_AND_NOW)
    assert (study.folder / model).exists()
    assert (study.folder / hypotheses).exists()
    jobs = {job["Comment"]: job for job in slurm_jobs() if "Comment" in job}
    for rule in ("rule_train_wildcards", "rule_decode_it"):
        job = next(job for comment, job in jobs.items() if comment.startswith(rule))
        assert job["Partition"] == "gpu"
        assert job["TresPerJob"] == "gres:gpu:1"
    assert next(job for comment, job in jobs.items() if comment.startswith("rule_build_pool"))["Partition"] == "cpu"
    assert study.planned(hypotheses) == {}
