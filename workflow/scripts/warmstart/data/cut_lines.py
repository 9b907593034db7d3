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
import re
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
        UserError: no such file, cut short, or a line that is not JSON.
    """
    for number, line in enumerate(read_lines(path), start=1):
        try:
            yield json.loads(line)
        except ValueError as error:
            raise UserError(
                f"{path}:{number}: not JSON ({error}); delete the file and run the workflow again"
            ) from error


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


_STRING = rb'"(?:[^"\\]|\\.)*"'
_HEAD = re.compile(rb'\{"id":' + _STRING + rb',"start":[-+.\de]+,"duration":([-+.\de]+),')
_TAIL = re.compile(
    rb'"custom":\{"block":' + _STRING + rb',"corpus":"([^"\\]*)"\},"type":"MonoCut"\}$'
)


def length_and_corpus(line: bytes) -> tuple[Seconds, str]:
    """Length in seconds and corpus of one line of a manifest.

    A line as `make_cut` lays it out is read by its two ends, in a third of the time that parsing it
    takes; any other is parsed.
    """
    if (head := _HEAD.match(line)) and (tail := _TAIL.search(line, line.rfind(b'"custom":'))):
        return float(head[1]), tail[1].decode()
    cut = json.loads(line)
    return duration_s(cut), first_part(cut)["custom"]["corpus"]
