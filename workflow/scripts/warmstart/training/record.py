"""What a run ran on, with what, and for how long, over all times it was started."""

import os
import platform
import resource
import socket
import time
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

import torch

from warmstart import __version__
from warmstart.models.base import Recogniser
from warmstart.run import files
from warmstart.run.commit import git_commit


class Starts:
    """Every start of a run with the time it took: a killed process leaves what it had used until
    its last note.

    Args:
        path: JSON file, beside the checkpoints and like them no declared output of a rule.
        devices: processes of the run, each with a device.
        shown: False in all processes of a run but the first.
    """

    def __init__(self, path: Path, devices: int, shown: bool = True):
        self._path, self._shown = path, shown
        lost = "seconds and GPU hours of earlier starts are not counted"
        self.entries: list[dict[str, Any]] = files.read_if_whole(path, list, lost, shown) or []
        self._own: dict[str, Any] = {
            "started": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
            "host": socket.gethostname(),
            "slurm_job": os.environ.get("SLURM_JOB_ID"),
            "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
            "gpus": devices if torch.cuda.is_available() else 0,
        }
        self.entries.append(self._own)

    def begin(self, step: int) -> None:
        """Training goes on after `step`."""
        self._own |= {"first_step": step}
        self.note(step)

    def note(self, step: int) -> None:
        """Write down how far this start has come, and how long the process has lived."""
        self._own.setdefault("first_step", step)
        self._own |= {"last_step": step, "wall_s": round(process_age_s(), 2)}
        if self._shown:
            files.write_json(self._path, self.entries)

    @property
    def wall_s(self) -> float:
        """Seconds of all starts."""
        return round(sum(entry["wall_s"] for entry in self.entries), 2)

    @property
    def gpu_hours(self) -> float:
        """GPUs times hours of all starts."""
        return round(sum(entry["wall_s"] * entry["gpus"] for entry in self.entries) / 3600, 4)


def process_age_s() -> float:
    """Seconds since this process was started: a device is held while libraries are imported,
    too."""
    # Field 22 of proc(5)'s stat, in clock ticks since boot; the second field may hold spaces and
    # ends with the last bracket.
    ticks = int(Path("/proc/self/stat").read_text().rsplit(")", 1)[1].split()[19])
    return time.clock_gettime(time.CLOCK_BOOTTIME) - ticks / os.sysconf("SC_CLK_TCK")


def hardware() -> dict[str, Any]:
    """What the run ran on."""
    return {
        "machine": platform.machine(),
        "cpus": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "gpu": torch.cuda.get_device_name(0) if torch.cuda.is_available() else None,
    }


def versions() -> dict[str, str]:
    """Versions of what decides a result."""
    names = ("nemo_toolkit", "torch", "torchaudio", "lightning", "lhotse", "sentencepiece")
    own = {"warmstart": __version__, "python": platform.python_version()}
    return own | {name: metadata.version(name) for name in names}


def parameters(recogniser: Recogniser) -> dict[str, int]:
    """How many weights each part has."""
    return {
        name: sum(parameter.numel() for parameter in part.parameters())
        for name, part in recogniser.parts().items()
    }


def trained_parameters(recogniser: Recogniser) -> int:
    """How many weights learn."""
    return sum(
        parameter.numel()
        for parameter in recogniser.lightning.parameters()
        if parameter.requires_grad
    )


def trained_share(recogniser: Recogniser) -> float:
    """Of all weights, those that learn."""
    weights = sum(parameter.numel() for parameter in recogniser.lightning.parameters())
    return round(trained_parameters(recogniser) / weights, 6)


def trained_mb(recogniser: Recogniser) -> float:
    """Megabytes (10^6 bytes) of the weights that learn: what a language adds, if the rest is kept
    once."""
    return round(
        sum(
            parameter.numel() * parameter.element_size()
            for parameter in recogniser.lightning.parameters()
            if parameter.requires_grad
        )
        / 1e6,
        3,
    )


def of_process() -> dict[str, Any]:
    """What this process is, runs on, and used."""
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return {
        "git_commit": git_commit(),
        "versions": versions(),
        "hardware": hardware(),
        "cpu_s": round(usage.ru_utime + usage.ru_stime, 2),
        "peak_mb": round(usage.ru_maxrss / 1024),
        "slurm_job": os.environ.get("SLURM_JOB_ID"),
    }
