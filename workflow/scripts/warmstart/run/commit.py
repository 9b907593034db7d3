"""The commit of the code that runs."""

import subprocess
from pathlib import Path


def git_commit() -> str | None:
    """Commit of this workflow, `-dirty` where tracked files differ; None outside a repository."""
    try:
        found = subprocess.run(
            ["git", "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"],
            cwd=Path(__file__).parent,
            capture_output=True,
            text=True,
            check=True,
        )
    except (OSError, subprocess.CalledProcessError):
        return None
    return found.stdout.strip()
