"""Digests of inputs: of any size, read once for each state of a file."""

import asyncio
import hashlib
import os
from typing import ClassVar

from snakemake.io import _IOFile

from warmstart.run.file_digests import FileDigests

MB = 1 << 20


class File(str):
    """What Snakemake's class for files has of it, counting what is read."""

    read: ClassVar[list[str]] = []

    async def checksum(self, threshold=None, force=False, algorithm=None):
        if not await self.is_checksum_eligible(threshold):
            return None
        File.read.append(str(self))
        with open(self, "rb") as stream:
            return f"sha256:{hashlib.sha256(stream.read()).hexdigest()}"

    async def is_checksum_eligible(self, threshold):
        return os.path.getsize(self) <= threshold


def fresh(folder):
    """A class of its own with a memory in `folder`."""
    File.read = []
    kind = type("Watched", (File,), {})
    FileDigests(folder / "digests.tsv").install(kind)
    return kind


def digest(kind, path, limit=1_000_000):
    return asyncio.run(kind(path).checksum(limit, algorithm="sha256"))


def test_a_large_file_is_compared_and_read_once(tmp_path):
    path = tmp_path / "model"
    path.write_bytes(b"x" * (2 * MB))
    kind = fresh(tmp_path)
    right = f"sha256:{hashlib.sha256(b'x' * (2 * MB)).hexdigest()}"
    assert [digest(kind, path) for _ in range(3)] == [right] * 3
    assert len(File.read) == 1
    # Nor once for each process.
    kind = fresh(tmp_path)
    assert digest(kind, path) == right
    assert File.read == []


def test_another_state_is_read_again_even_with_its_size_and_time(tmp_path):
    path = tmp_path / "model"
    path.write_bytes(b"x" * (2 * MB))
    kind = fresh(tmp_path)
    first, state = digest(kind, path), path.stat()
    path.write_bytes(b"y" * (2 * MB))
    os.utime(path, ns=(state.st_atime_ns, state.st_mtime_ns))
    assert digest(kind, path) == f"sha256:{hashlib.sha256(b'y' * (2 * MB)).hexdigest()}" != first


def test_a_limit_that_somebody_gives_holds(tmp_path):
    path = tmp_path / "model"
    path.write_bytes(b"x" * (2 * MB))
    kind = fresh(tmp_path)
    assert digest(kind, path, limit=1_500_000) is None
    assert digest(kind, path, limit=3_000_000)


def test_small_files_are_not_remembered_and_a_cut_line_is_no_loss(tmp_path):
    small, large = tmp_path / "small", tmp_path / "large"
    small.write_bytes(b"x")
    large.write_bytes(b"x" * (2 * MB))
    kind = fresh(tmp_path)
    assert digest(kind, small) == digest(kind, small)
    assert digest(kind, large)
    memory = tmp_path / "digests.tsv"
    assert len(memory.read_text().splitlines()) == 1
    memory.write_text(memory.read_text()[:80])
    assert digest(fresh(tmp_path), large)
    assert File.read == [str(large)]


def test_snakemake_still_has_what_is_replaced():
    """Where it is gone, files above 1 MB would be compared by their times."""
    kind = type("Watched", (_IOFile,), {})
    FileDigests("nowhere").install(kind)
    assert kind.checksum is not _IOFile.checksum
    assert kind.is_checksum_eligible is not _IOFile.is_checksum_eligible
