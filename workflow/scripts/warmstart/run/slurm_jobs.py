"""What Slurm still has of this study; standard library only."""

import subprocess
from pathlib import Path

# What Snakemake's Slurm plugin writes into a job's comment, before the name of its rule or group.
_MARK = "rule_"


def jobs_in(folder: str | Path) -> list[str]:
    """Jobs of this user that a Snakemake submitted from `folder` and that are still queued or
    running.

    Whoever starts Snakemake holds the folder's lock, so these belong to one that is dead: killed,
    or lost with its login node.

    Returns:
        `ID (STATE, rule)` of each; empty where there is no Slurm, or where it does not answer
        within half a minute.
    """
    try:
        listed = subprocess.run(
            ["squeue", "--me", "--noheader", "--format=%i|%T|%Z|%k"],
            capture_output=True,
            text=True,
            check=True,
            timeout=30,
        ).stdout
    except (OSError, subprocess.SubprocessError):
        return []
    rows = [line.split("|", 3) for line in listed.splitlines() if line.count("|") >= 3]
    return [
        f"{number} ({state}, {comment.removeprefix(_MARK)})"
        for number, state, workdir, comment in rows
        if comment.startswith(_MARK) and Path(workdir).resolve() == Path(folder).resolve()
    ]
