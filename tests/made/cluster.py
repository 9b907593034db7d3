"""A real Slurm of one node, started for the tests and stopped after them, and Snakemake running on
it while faults are made."""

import contextlib
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import filelock
import pytest

HERE = Path(__file__).parents[1] / "slurm"
PROFILE = Path(__file__).parents[2] / "profiles/slurm"
PACKAGES = {"slurmctld": ["slurm-wlm", "munge"], "slurmdbd": ["slurmdbd", "mariadb-server"]}
# A cluster of one that answers at once: the profile's waits between looks at jobs are for real
# ones.
SOON = [
    "--slurm-init-seconds-before-status-checks",
    "2",
    "--seconds-between-status-checks",
    "2",
    "--latency-wait",
    "20",
]
# What a job without training in it asks for.
SMALL = "resources: mem_mb=600, runtime=10"


class Cluster:
    """A running Slurm. All it needs is in `environment`."""

    def __init__(self, root: Path):
        self.root = root
        self.environment = {
            **os.environ,
            "SLURM_CONF": str(root / "etc/slurm.conf"),
            "PATH": os.pathsep.join([str(root / "bin"), os.environ["PATH"], "/usr/sbin"]),
            "OMP_NUM_THREADS": "1",
            "HF_HUB_OFFLINE": "1",
        }

    def ask(self, *command: str) -> str:
        """Output of a Slurm command."""
        return subprocess.run(
            command, env=self.environment, capture_output=True, text=True, check=True
        ).stdout

    def jobs(self, folder: Path | None = None) -> dict[int, dict[str, str]]:
        """number -> fields of each job that the controller remembers, of those submitted from
        `folder` if given."""
        lines = self.ask("scontrol", "--oneliner", "show", "job").splitlines()
        rows = [
            dict(field.split("=", 1) for field in line.split() if "=" in field) for line in lines
        ]
        return {
            int(row["JobId"]): row
            for row in rows
            if "JobId" in row and (folder is None or row["WorkDir"] == str(folder))
        }

    def jobs_of(self, rule: str, folder: Path) -> list[dict[str, str]]:
        """Jobs of a rule, oldest first."""
        found = sorted(self.jobs(folder).items())
        comments = re.compile(rf"rule_{rule}(_wildcards_.*)?")
        return [row for _, row in found if comments.fullmatch(row.get("Comment", ""))]

    def restart_controller(self) -> None:
        """Stop slurmctld, start it again, wait until it answers."""
        process = int((self.root / "run/slurmctld.pid").read_text())
        os.kill(process, signal.SIGTERM)
        while Path(f"/proc/{process}").exists():
            time.sleep(0.1)
        time.sleep(3)  # long enough for Snakemake to ask in vain
        subprocess.run(["slurmctld"], env=self.environment, check=True)
        while (
            subprocess.run(
                ["scontrol", "ping"], env=self.environment, capture_output=True
            ).stdout.count(b"is UP")
            == 0
        ):
            time.sleep(0.1)

    def start(self, folder: Path, *arguments: str, output: str = "snakemake.txt") -> "Running":
        """Snakemake with the shipped profile in `folder`, in the background."""
        return Running(self, folder, [*arguments, *SOON], folder / output)

    def snakemake(
        self, folder: Path, *arguments: str, check: bool = True, limit_s: float = 240
    ) -> tuple[int, str]:
        """Snakemake with the shipped profile in `folder`, to its end: (exit status, what it
        said)."""
        running = self.start(folder, *arguments)
        status = running.wait(limit_s)
        if check and status:
            raise AssertionError(f"status {status}:\n{running.said()[-6000:]}")
        return status, running.said()


class Running:
    """A Snakemake at work."""

    def __init__(self, cluster: Cluster, folder: Path, arguments: list[str], output: Path):
        self.cluster, self.folder, self._output = cluster, folder, output
        with open(output, "w", encoding="utf-8") as stream:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "snakemake", "--profile", "slurm", *arguments],
                cwd=folder,
                env=cluster.environment,
                stdout=stream,
                stderr=subprocess.STDOUT,
            )

    def said(self) -> str:
        """Its output so far."""
        return self._output.read_text(encoding="utf-8")

    def wait(self, limit_s: float = 240) -> int:
        """Exit status."""
        try:
            return self.process.wait(limit_s)
        except subprocess.TimeoutExpired:
            raise AssertionError(
                f"not at its end after {limit_s} s:\n{self.said()[-6000:]}"
            ) from None

    def until(self, condition: Callable[[], Any], what: str, limit_s: float = 120) -> Any:
        """Wait for something that this Snakemake leads to; its value."""
        end = time.monotonic() + limit_s
        while not (found := condition()):
            if time.monotonic() > end or self.process.poll() is not None:
                raise AssertionError(
                    f"not seen: {what}; Snakemake's status "
                    f"{self.process.poll()}:\n{self.said()[-6000:]}"
                )
            time.sleep(0.2)
        return found

    def kill(self) -> None:
        """SIGKILL: what a login node does to processes that are too heavy, or its end."""
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()

    def stop(self) -> None:
        """Ctrl-C, if it still runs; it cancels its jobs."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGINT)
            try:
                self.process.wait(30)
            except subprocess.TimeoutExpired:
                self.kill()


def with_profile(folder: Path, snakefile: str) -> Path:
    """A folder with a small workflow and, as in a checkout, the profile."""
    (folder / "profiles").mkdir(parents=True)
    (folder / "profiles/slurm").symlink_to(PROFILE)
    (folder / "slurm").symlink_to("profiles/slurm")
    (folder / "Snakefile").write_text(snakefile, encoding="utf-8")
    return folder


def workflow(*jobs: tuple[str, str, str]) -> str:
    """A Snakefile of jobs without training in them, for what is the same with any job.

    Snakemake, which runs in each, needs 350 MB of its own.

    Args:
        jobs: (rule, its output, how it is made: the directives behind `output`).
    """
    targets = ", ".join(f'"{output}"' for _, output, _ in jobs)
    rules = [f'rule {rule}:\n    output: "{output}"\n    {how}\n' for rule, output, how in jobs]
    return "\n".join([f"rule all:\n    input: {targets}\n", *rules])


def _install(program: str) -> None:
    """Debian's packages; skips the test with the reason where that cannot be."""
    # Of several pytest workers, one installs.
    with filelock.FileLock(Path(tempfile.gettempdir(), "warmstart-tests-apt.lock")):
        if shutil.which(program, path=os.environ["PATH"] + os.pathsep + "/usr/sbin") is not None:
            return
        packages = PACKAGES[program]
        if os.geteuid() != 0 or shutil.which("apt-get") is None:
            pytest.skip(
                "Slurm is not here and cannot be installed without root and apt: "
                f"{' '.join(packages)}"
            )
        # Debian starts a service with its package; `invoke-rc.d` asks this program first, and 101
        # says no.
        policy = Path("/usr/sbin/policy-rc.d")
        ours = not policy.exists()
        if ours:
            policy.write_text("#!/bin/sh\nexit 101\n")
            policy.chmod(0o755)
        try:
            quietly = {
                "check": True,
                "stdout": subprocess.DEVNULL,
                "env": {**os.environ, "DEBIAN_FRONTEND": "noninteractive"},
            }
            subprocess.run(["apt-get", "update", "-qq"], **quietly)
            subprocess.run(
                ["apt-get", "install", "-y", "-qq", "--no-install-recommends", *packages], **quietly
            )
        finally:
            if ours:
                policy.unlink()


@contextlib.contextmanager
def running_slurm(root: Path, *, accounting: bool = False) -> Iterator[Cluster]:
    """A Slurm below `root`, installed where it is missing; only its own processes are stopped at
    the end."""
    _install("slurmctld")
    if accounting:
        _install("slurmdbd")
    if os.geteuid() != 0:
        pytest.skip("a Slurm of one's own needs root (device nodes)")
    # pytest's folders are for their owner only; slurmd runs jobs below this one.
    for parent in (root, root.parent):
        parent.chmod(0o755)
    command = [str(HERE / "up.sh"), str(root), *(["accounting"] if accounting else [])]
    try:
        started = subprocess.run(
            command, text=True, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, check=False
        )
        assert started.returncode == 0, started.stderr
        yield Cluster(root)
    finally:
        subprocess.run([HERE / "down.sh", root], check=True)
