"""A memory for the digests that Snakemake takes of inputs, so that each file is read once.

Snakemake compares an input that is newer than a job's outputs by its digest, if the file is small
enough; the limit is 1 MB by default. Above it a `touch`, a clone or an rsync makes everything stale
that a donor, a pool or a model feeds. Without a limit, Snakemake (9.27) would read every input once
for each output of each job that ends, and once for each dry run: a model of 2.4 GB twenty times.
"""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

# What Snakemake takes where nobody says otherwise (`--max-checksum-file-size`).
_DEFAULT_LIMIT_BYTES = 1_000_000
# Smaller ones are read faster than they are looked up.
_WORTH_IT_BYTES = 1 << 20
_ALGORITHM = "sha256"

_Key = tuple[str, int, int, int, int]


class FileDigests:
    """Digests of files, by path, size, inode and times; the time of change (ctime) cannot be set.

    Args:
        path: where they are kept from one process to the next, a line each.
    """

    def __init__(self, path: str | Path):
        self._path = Path(path)
        self._known: dict[_Key, str] | None = None

    def install(self, files: type) -> None:
        """Let Snakemake's class for files compare files of any size, with this memory.

        Who gives Snakemake a limit keeps it. The limit is none of the settings that a Snakefile can
        reach: Snakemake reads it from the command line, after the Snakefile.
        """
        if getattr(files, "of_any_size", False):
            return
        eligible = files.is_checksum_eligible

        async def of_any_size(file: Any, threshold: float | None) -> bool:
            limit = float("inf") if threshold == _DEFAULT_LIMIT_BYTES else threshold
            return await eligible(file, limit)

        files.checksum = self.remember(files.checksum)
        files.is_checksum_eligible = of_any_size
        files.of_any_size = True

    def remember(self, checksum: Callable[..., Any]) -> Callable[..., Any]:
        """`checksum` of Snakemake's class for files (a coroutine method), with this memory."""

        async def remembered(file: Any, *arguments: Any, **options: Any) -> str | None:
            key = _key(file) if options.get("algorithm") in (None, _ALGORITHM) else None
            if key is None:
                return await checksum(file, *arguments, **options)
            if (known := self._read().get(key)) is None:
                known = await checksum(file, *arguments, **options)
                # Not what was written to meanwhile.
                if known and known.startswith(f"{_ALGORITHM}:") and _key(file) == key:
                    self._note(key, known)
            return known

        return remembered

    def _read(self) -> dict[_Key, str]:
        if self._known is None:
            self._known = {}
            try:
                lines = self._path.read_text(encoding="utf-8").splitlines()
            except (OSError, UnicodeDecodeError):
                lines = []
            for line in lines:
                found = line.split("\t", 5)
                # A line that was cut off is no loss.
                if len(found) == 6 and len(found[0]) == len(_ALGORITHM) + 65:
                    size, inode, modified, changed = map(int, found[1:5])
                    self._known[found[5], size, inode, modified, changed] = found[0]
        return self._known

    def _note(self, key: _Key, digest: str) -> None:
        self._read()[key] = digest
        path, *numbers = key
        if "\n" in path:
            return
        line = "\t".join([digest, *map(str, numbers), path]) + "\n"
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            with open(self._path, "a", encoding="utf-8") as stream:
                stream.write(line)
        except OSError:
            return  # a folder that is only looked at


def _key(file: Any) -> _Key | None:
    """What tells one state of a file from another; None for what is not remembered."""
    if getattr(file, "is_storage", False):
        return None
    try:
        found = os.stat(str(file))
    except OSError:
        return None
    if found.st_size < _WORTH_IT_BYTES or not os.path.isfile(str(file)):
        return None
    return (str(file), found.st_size, found.st_ino, found.st_mtime_ns, found.st_ctime_ns)
