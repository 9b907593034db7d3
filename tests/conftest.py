"""Fixtures that cost time, made once a session: a scratch copy of the checkout, and the smoke study
run in it for real."""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import filelock
import pytest
import yaml
from made.cluster import Cluster, running_slurm
from made.small_speech import donors, speech  # noqa: F401 (fixtures; a module may have a `speech` of its own)
from made.studies import smoke_config

ROOT = Path(__file__).resolve().parents[1]


class Checkout:
    """A scratch copy of this checkout in which real Snakemake runs."""

    def __init__(self, folder: Path):
        self.folder = folder

    def write_config(self, config: dict, name: str = "smoke.yaml") -> None:
        (self.folder / name).write_text(
            yaml.safe_dump(config, allow_unicode=True, sort_keys=False), encoding="utf-8"
        )

    def read_config(self, name: str = "smoke.yaml") -> dict:
        return yaml.safe_load((self.folder / name).read_text(encoding="utf-8"))

    def snakemake(
        self,
        *arguments: str,
        check: bool = True,
        config: str | None = "smoke.yaml",
        umask: int = -1,
    ) -> subprocess.CompletedProcess[str]:
        """Run Snakemake here; stdout and stderr come back as one text."""
        chosen = ["--configfile", config] if config else []
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
        done = subprocess.run(
            [sys.executable, "-m", "snakemake", *arguments, *chosen],
            cwd=self.folder,
            env=environment,
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            check=False,
            timeout=900,
            umask=umask,
        )
        if check and done.returncode:
            raise AssertionError(
                f"snakemake {' '.join(arguments)} ended with "
                f"{done.returncode}:\n{done.stdout[-8000:]}"
            )
        return done

    def planned(self, *arguments: str, config: str | None = "smoke.yaml") -> dict[str, int]:
        """rule -> number of jobs that a dry run would do; empty when there is nothing to be
        done."""
        output = self.snakemake("--dry-run", *arguments, config=config).stdout
        if "Nothing to be done" in output:
            return {}
        table = output.split("Job stats:")[1].splitlines()[3:]
        jobs = {}
        for line in table:
            fields = line.split()
            if len(fields) != 2 or not fields[1].isdigit():
                break
            jobs[fields[0]] = int(fields[1])
        jobs.pop("total", None)
        jobs.pop("all", None)
        return jobs

    def planned_outputs(self, *arguments: str) -> list[str]:
        """Output files that a run would make now, from Snakemake's own summary."""
        lines = self.snakemake("--summary", *arguments).stdout.splitlines()
        rows = [
            line.split("\t")
            for line in lines
            if "\t" in line and not line.startswith("output_file")
        ]
        return [row[0] for row in rows if row[-1] == "update pending"]

    def copy(self, folder: Path) -> "Checkout":
        """A copy with everything made so far, times and Snakemake's own records included."""
        shutil.copytree(self.folder, folder, symlinks=True, copy_function=shutil.copy2)
        return Checkout(folder)


def _tracked_files() -> list[Path]:
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    return [Path(name) for name in listed.stdout.split("\0") if name and (ROOT / name).exists()]


@pytest.fixture(scope="session")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Checkout:
    """The files that a clone would have, and nothing that was made."""
    folder = tmp_path_factory.mktemp("checkout") / "warmstart"
    for name in _tracked_files():
        target = folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(ROOT / name, target, follow_symlinks=False)
    return Checkout(folder)


@pytest.fixture(scope="session")
def smoke(checkout: Checkout, tmp_path_factory: pytest.TempPathFactory, worker_id: str) -> Checkout:
    """The smoke study, run from nothing to the report. Tests that change it take a `copy`.

    Run once: of several pytest workers, the first runs it and the others wait.
    """
    base = tmp_path_factory.getbasetemp()
    shared = base if worker_id == "master" else base.parent
    done = shared / "smoke" / "done"
    with filelock.FileLock(shared / "smoke.lock"):
        if not done.exists():
            shutil.rmtree(done.parent, ignore_errors=True)
            study = checkout.copy(done.parent / "warmstart")
            study.write_config(smoke_config())
            # As on clusters whose users share a group; tests/test_shared_cluster.py looks at what
            # came of it.
            study.snakemake("--cores", "2", "--workflow-profile", "profiles/demo", umask=0o002)
            done.touch()
    return Checkout(done.parent / "warmstart")


@pytest.fixture(scope="session")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """A Slurm without accounting."""
    with running_slurm(tmp_path_factory.mktemp("slurm")) as running:
        yield running
