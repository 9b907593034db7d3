"""Lhotse cuts as JSON lines, a line at a time: a pool of a million cuts never lies in memory as
objects.

The files are Lhotse's (`CutSet.from_file`, `from_jsonl_lazy` read them); they are written as dicts
because a million `MonoCut` objects cost 2.4 GB and most of the time goes into making and unmaking
them.
"""

import contextlib
import gzip
import io
import json
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

from warmstart.run import files
from warmstart.run.errors import UserError

Seconds = float

# Level 1 packs to 1.15 times the size of level 9 in a tenth of the time; these files are read many
# times and kept once.
_COMPRESSION_LEVEL = 1
_BUFFER_BYTES = 1 << 18

# One encoder for all lines: json.dumps makes a new one for every call that is not plain.
_encode = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode


def read_lines(path: str | Path) -> Iterator[bytes]:
    """The lines of a `.jsonl.gz` file, without their ends.

    Raises:
        UserError: no such file, or cut short.
    """
    try:
        # To gzip a file of no bytes is one of no lines. A manifest without a cut has a header too.
        if not Path(path).stat().st_size:
            raise EOFError("empty")
        # Buffers around gzip: its own line reader and its write are Python code, called once a
        # line.
        with gzip.open(path, "rb") as packed, io.BufferedReader(packed, _BUFFER_BYTES) as stream:
            for line in stream:
                if line := line.strip():
                    yield line
    except FileNotFoundError:
        raise UserError(f"{path}: no such file") from None
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise UserError(
            f"{path}: damaged ({error}); delete it and run the workflow again"
        ) from error


def read(path: str | Path) -> Iterator[dict[str, Any]]:
    """The cuts of a `.jsonl.gz` file as dicts.

    Raises:
        UserError: no such file, cut short, or a line that is not a cut in JSON.
    """
    for number, line in enumerate(read_lines(path), start=1):
        yield parse(line, path, number)


def parse(line: bytes, path: str | Path, number: int) -> dict[str, Any]:
    """The cut of one line.

    Args:
        line: as `read_lines` gives it.
        path, number: file and line, for the message.

    Raises:
        UserError: not a cut in JSON.
    """
    try:
        cut = json.loads(line)
    except ValueError as error:
        raise UserError(
            f"{path}:{number}: damaged, not JSON ({error}); delete it and run the workflow again"
        ) from error
    if not isinstance(cut, dict) or "id" not in cut:
        raise UserError(
            f"{path}:{number}: not a Lhotse cut; delete the file and run the workflow again"
        )
    return cut


@contextlib.contextmanager
def writing(path: str | Path) -> Iterator[IO[bytes]]:
    """A stream for JSON lines that appears under `path` when the block ends well. The same lines
    give the same bytes."""
    # mtime and name are left out of the header: equal content, equal digest, nothing downstream
    # runs again.
    with (
        files.atomic_path(path) as temporary,
        open(temporary, "wb") as raw,
        gzip.GzipFile("", "wb", _COMPRESSION_LEVEL, raw, mtime=0) as packed,
        io.BufferedWriter(packed, _BUFFER_BYTES) as stream,
    ):
        yield stream


def line(cut: dict[str, Any]) -> bytes:
    """One cut as a line of a manifest."""
    return _encode(cut).encode() + b"\n"


def parts(cut: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """The single-recording cuts in `cut`: itself, or the tracks of a mixed cut (joined VoxPopuli
    intervals)."""
    if "tracks" in cut:  # a MixedCut
        for track in cut["tracks"]:
            yield track["cut"]
    else:
        yield cut


def first_part(cut: dict[str, Any]) -> dict[str, Any]:
    """The part that carries the supervision and the custom fields."""
    return next(parts(cut))


def custom(cut: dict[str, Any]) -> dict[str, Any]:
    """The custom fields of a cut: block, corpus, and what later stages add."""
    return first_part(cut).get("custom") or {}


def duration_s(cut: dict[str, Any]) -> Seconds:
    """Length of a cut; joined intervals do not overlap, so theirs is where the last one ends."""
    if "tracks" in cut:  # a MixedCut
        last = cut["tracks"][-1]
        return last.get("offset", 0.0) + last["cut"]["duration"]
    return cut["duration"]


def supervision(cut: dict[str, Any]) -> dict[str, Any]:
    """The one supervision of a cut.

    Raises:
        UserError: none, or several: not a manifest of this workflow.
    """
    found = first_part(cut).get("supervisions", [])
    if len(found) != 1:
        raise UserError(
            f"cut {cut['id']}: {len(found)} supervisions, 1 is needed; make the manifest with "
            "prepare_manifest.py"
        )
    return found[0]
