"""Folders that appear whole or not at all."""

import contextlib
import os
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

from warmstart.run import disk


def _runs(process: int) -> bool:
    """Whether a process of this machine is alive, whoever owns it."""
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return True


@contextlib.contextmanager
def atomic_directory(path: str | Path) -> Iterator[Path]:
    """Give a temporary folder beside `path`; it takes the place of `path` when the block ends well,
    and goes when it raises.

    What killed processes left of the same `path` goes first.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    for left in path.parent.glob(f".{path.name}.*"):
        owner = re.fullmatch(r"(\d+)(\.former)?", left.name.removeprefix(f".{path.name}."))
        if owner and (int(owner[1]) == os.getpid() or not _runs(int(owner[1]))):
            shutil.rmtree(left)
    temporary, former = (
        path.with_name(f".{path.name}.{os.getpid()}{suffix}") for suffix in ("", ".former")
    )
    temporary.mkdir()
    try:
        yield temporary
        disk.flush_all(temporary)
        if path.exists():
            path.rename(former)
        temporary.rename(path)
        disk.flush(path.parent)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
        shutil.rmtree(former, ignore_errors=True)
