"""One writer a folder: two jobs that train into the same one would mix their checkpoints."""

import fcntl
import json
import logging
import os
import socket
import time
from pathlib import Path
from typing import Any, TextIO

from warmstart.run.errors import UserError

logger = logging.getLogger(__name__)

NAME = ".lock"


def hold(directory: Path, wait_s: float = 120.0) -> TextIO | None:
    """Take the folder for this process; the lock goes with the returned file, at the latest when
    the process ends.

    `flock` is dropped by the kernel whatever ends the holder, SIGKILL included, so a file left
    behind locks nobody out. Linux carries it over NFS (as a byte-range lock, see `man 2 flock`),
    and over Lustre and GPFS where they are mounted with locks; a file system without locks costs a
    warning, not the job.

    Args:
        directory: created where it is missing.
        wait_s: how long to wait for the holder. A job that a cluster starts anew on another node
            may overlap with the end of its first life by some seconds.

    Returns:
        The open lock file, to be kept as long as the folder is written to; None where the file
        system has no locks.

    Raises:
        UserError: held by somebody else all that time; names job, process and machine.
    """
    directory.mkdir(parents=True, exist_ok=True)
    path = directory / NAME
    stream = open(path, "a+", encoding="utf-8")  # noqa: SIM115, it outlives this function
    end = time.monotonic() + wait_s
    waiting = False
    while True:
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
            break
        except BlockingIOError:
            if time.monotonic() >= end:
                stream.seek(0)
                said = _described(stream.read())
                stream.close()
                raise UserError(
                    f"{directory} is being written by {said}; wait until it has finished, or stop "
                    "it. If you know that it is "
                    f"gone, for instance with a node that was lost, remove {path}"
                ) from None
            if not waiting:
                stream.seek(0)
                logger.warning(
                    "%s is being written by %s; waiting up to %.0f s",
                    directory,
                    _described(stream.read()),
                    wait_s,
                )
                waiting = True
            time.sleep(min(1.0, max(0.01, wait_s / 10)))
        except OSError as error:
            logger.warning(
                "%s: no locks on this file system (%s); nothing keeps a second job out", path, error
            )
            stream.close()
            return None
    stream.truncate(0)
    json.dump(_self(), stream)
    stream.flush()
    return stream


def _self() -> dict[str, Any]:
    job = os.environ.get("SLURM_JOB_ID")
    return {
        "host": socket.gethostname(),
        "pid": os.getpid(),
        "slurm_job": job,
        "since": time.strftime("%Y-%m-%d %H:%M:%S"),
    }


def _described(text: str) -> str:
    try:
        holder = json.loads(text)
    except ValueError:
        return "another process"
    job = f"Slurm job {holder['slurm_job']}, " if holder["slurm_job"] else ""
    return f"{job}process {holder['pid']} on {holder['host']} since {holder['since']}"
