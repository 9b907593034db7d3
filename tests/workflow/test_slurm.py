"""The user's own command on a real Slurm: one node of this machine, started for the test and
stopped after it."""

import os
import subprocess
from pathlib import Path

import pytest
import yaml
from conftest import Checkout
from made.cluster import HERE, PROFILE, SMALL, Cluster, running_slurm, with_profile, workflow
from made.studies import smoke_config

pytestmark = pytest.mark.slow

# What a partition, an account and states are for: two jobs, one of which fails for good.
TWO_JOBS = workflow(
    ("works", "done.txt", f'{SMALL}\n    shell: "echo $SLURM_JOB_ID > {{output}}"'),
    ("fails", "never.txt", f'{SMALL}\n    shell: "exit 7"'),
)


@pytest.mark.parametrize("profile", ["slurm", "profiles/slurm"])
def test_the_profile_is_found_as_a_user_types_it(checkout: Checkout, profile):
    done = checkout.snakemake("--profile", profile, "--dry-run", config=None)
    assert "train" in done.stdout


def test_every_key_of_the_profile_has_a_comment():
    text = (PROFILE / "config.v8+.yaml").read_text(encoding="utf-8")
    lines = text.splitlines()
    keys = [place for place, line in enumerate(lines) if line and line[0] not in "# "]
    assert len(keys) == len(yaml.safe_load(text))
    assert all(lines[place - 1].startswith("#") for place in keys)


def test_a_study_runs_through_slurm(cluster: Cluster, checkout: Checkout, tmp_path):
    study = checkout.copy(tmp_path / "warmstart")
    config = smoke_config()
    config["resources"] |= {
        "train_gpus": 1,
        "decode_gpus": 1,
    }  # Slurm hands them out; the programs find none and use the CPU
    study.write_config(config)
    hypotheses = "results/hypotheses/it/en/0.004h/seed1/full/560ms/human.jsonl"
    # Downloads on the login node, as docs/cluster.md writes it; manifests too, a dozen jobs of a
    # second each.
    study.snakemake(
        "--cores", "2", "--until", "download_corpus", "download_init", "--resources", "download=2"
    )
    study.snakemake("--cores", "2", "all_manifests")
    assert cluster.jobs(study.folder) == {}
    cluster.snakemake(study.folder, "--configfile", "smoke.yaml", limit_s=1200)
    assert (study.folder / "results/report.html").exists()
    assert list(study.folder.glob("results/bundles/it/**/bundle.json"))
    assert cluster.jobs_of("download_init", study.folder) == []
    for rule, memory_mb, count in (("train", 2500, 4), ("decode_it", 2500, 10)):
        jobs = cluster.jobs_of(rule, study.folder)
        assert len(jobs) == count
        for job in jobs:
            assert job["MinMemoryNode"] == f"{memory_mb}M"
            assert job["TimeLimit"] == {"train": "00:30:00", "decode_it": "04:00:00"}[rule]
            assert job["JobState"] == "COMPLETED"
            assert job["Requeue"] == "1"
    for job in cluster.jobs_of("train", study.folder):
        assert job["Partition"] == "gpu"
        assert job["TresPerJob"] == "gres:gpu:1"
    assert cluster.jobs_of("build_pool", study.folder)[0]["Partition"] == "cpu"
    # Slurm's own logs of what went well are gone, the programs' are there.
    assert list((study.folder / "logs/slurm").rglob("*.log")) == []
    assert (study.folder / "logs/train/it/en/0.004h/seed1.log").stat().st_size > 1000
    assert study.planned() == {}

    # As docs/cluster.md writes it: several decodings in one job, one after the other on its GPU.
    both = [hypotheses.replace("560ms", tier) for tier in ("560ms", "offline")]
    for name in both:
        (study.folder / name).unlink()
    grouped = ["--groups", "decode_it=decode", "--group-components", "decode=4"]
    one_gpu = ["--set-resource-scopes", "gpu=local", "--resources", "gpu=1", "download=2"]
    cluster.snakemake(study.folder, *both, "--configfile", "smoke.yaml", *grouped, *one_gpu)
    assert all((study.folder / name).exists() for name in both)
    [job] = cluster.jobs_of("decode_decode_it", study.folder)
    assert job["TresPerJob"] == "gres:gpu:1"
    assert job["TimeLimit"] == "08:00:00"


def test_a_study_in_another_folder_finds_the_partitions(cluster: Cluster, tmp_path):
    folder = with_profile(tmp_path / "study", TWO_JOBS)
    cluster.snakemake(folder, "done.txt", "--directory", str(tmp_path / "elsewhere"))
    assert cluster.jobs_of("works", tmp_path / "elsewhere")[0]["Partition"] == "cpu"


def test_with_accounting_the_state_of_a_job_comes_from_sacct(tmp_path_factory, tmp_path):
    folder = with_profile(tmp_path / "study", TWO_JOBS)
    with running_slurm(tmp_path_factory.mktemp("accounting"), accounting=True) as cluster:
        status, said = cluster.snakemake(folder, "--retries", "0", check=False)
        assert status == 1
        assert (folder / "done.txt").exists()
        # Only sacct is asked for a reason: the plugin says so where it had to ask squeue.
        assert "SLURM status is: 'FAILED'. Reason" in said
        assert "status command is not 'sacct'" not in said
        listed = cluster.ask(
            "sacct", "-X", "-n", "-P", "-o", "State,Account,Partition,Comment"
        ).split()
        assert sorted(listed) == ["COMPLETED|study|cpu|rule_works", "FAILED|study|cpu|rule_fails"]
        # An account that is not the user's stops before anything is submitted, and is told what
        # there is.
        status, said = cluster.snakemake(
            folder, "--default-resources", "slurm_account=mine", "mem_mb=600", check=False
        )
        assert status == 1
        assert "The given account mine appears to be invalid. Available accounts" in said


def test_two_slurms_do_not_meet_and_only_the_own_processes_stop(cluster: Cluster, tmp_path_factory):
    with running_slurm(tmp_path_factory.mktemp("second")) as second:
        assert "idle" in second.ask("sinfo", "-h", "-o", "%T")
        processes = [int(path.read_text()) for path in (second.root / "run").glob("*.pid")]
        assert len(processes) == 3
        assert all(Path(f"/proc/{process}").exists() for process in processes)
    assert not any(Path(f"/proc/{process}").exists() for process in processes)
    assert "idle" in cluster.ask("sinfo", "-h", "-o", "%T")
    # Nothing outside its own folder: a Slurm of the machine's own would be found there.
    assert not any(Path("/etc/slurm", name).is_symlink() for name in os.listdir("/etc/slurm"))
    subprocess.run([HERE / "down.sh", second.root], check=True)
