"""Files that are whole or absent: temporary names, renames, digests, JSON."""

import contextlib
import hashlib
import json
import logging
import os
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from warmstart.run import disk
from warmstart.run.errors import Damaged, UserError, first_line

logger = logging.getLogger(__name__)

_CHUNK_BYTES = 1 << 20
_AGAIN = "delete it and run the workflow again"


@contextlib.contextmanager
def atomic_path(path: str | Path) -> Iterator[Path]:
    """Give a temporary path beside `path`; rename it to `path` when the block ends well, remove it
    when it raises.

    The temporary name keeps the suffixes (`pool.jsonl.gz` -> `.pool.1234.jsonl.gz`), because
    Lhotse, NeMo and pandas choose the format by suffix. The folder is created. A process killed
    inside the block leaves only the dotted name behind, and a machine that loses its power leaves
    the old file or the whole new one. What a full disk raises inside the block names `path`.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    stem, _, suffixes = path.name.partition(".")
    temporary = path.with_name(f".{stem}.{os.getpid()}" + (f".{suffixes}" if suffixes else ""))
    try:
        yield temporary
        # A rename must not reach the disk before the bytes do: the machine may be lost in between,
        # and the final name would be that of an empty file.
        disk.flush(temporary)
        os.replace(temporary, path)
        disk.flush(path.parent)
    except Exception as error:
        disk.name_file(error, path, temporary)
        raise
    finally:
        temporary.unlink(missing_ok=True)


@contextlib.contextmanager
def explaining_full_disk(path: str | Path) -> Iterator[None]:
    """Turn the errors of a full disk, quota or file-size limit while `path` is written into one
    line that says so.

    Raises:
        UserError: with the room that is left in the folder.
    """
    try:
        yield
    except (OSError, RuntimeError) as error:
        disk.name_file(error, path)
        message = disk.no_room(error)
        if message is None:
            raise
        raise UserError(message) from error


def write_text(path: str | Path, text: str) -> None:
    """Write `text` as UTF-8 under `path`, whole or not at all."""
    with atomic_path(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_json(path: str | Path, value: Any) -> None:
    """Write `value` as indented JSON with a final newline, whole or not at all. NaN is refused: it
    is not JSON."""
    write_text(path, json.dumps(value, ensure_ascii=False, indent=2, allow_nan=False) + "\n")


@contextlib.contextmanager
def reading(path: str | Path, remedy: str = _AGAIN) -> Iterator[None]:
    """Name the file of which a parser says that it is damaged: their messages do not.

    Raises:
        Damaged: instead of what gzip, Parquet, CSV and JSON raise of files that are not whole.
    """
    try:
        yield
    # pyarrow's, pandas', JSON's and UTF-8's are ValueErrors; codecs of Parquet raise an OSError
    # without a number.
    except (ValueError, EOFError, KeyError, zlib.error, OSError) as error:
        if isinstance(error, OSError) and (error.errno is not None or disk.no_room(error)):
            raise
        raise Damaged(f"{path}: damaged ({first_line(error)}); {remedy}") from error


def require_end(path: str | Path, end: bytes = b"\n", remedy: str = _AGAIN) -> None:
    """Check how a text file ends that we wrote: a table that was cut is one of fewer rows to a
    parser.

    Args:
        end: what it ends with, blanks and line ends behind it aside.

    Raises:
        Damaged: it ends in another way.
    """
    with open(path, "rb") as stream:
        stream.seek(max(0, os.stat(path).st_size - 64))
        tail = stream.read()
    if not tail.endswith(end) and not tail.rstrip().endswith(end):
        why = "empty" if not tail else "it ends in the middle"
        raise Damaged(f"{path}: damaged ({why}); {remedy}")


class _Document(dict[str, Any]):
    """A JSON object that knows its file: a key that is missing there is damage, said by name."""

    path: Path

    def __missing__(self, key: str) -> Any:
        raise Damaged(f"{self.path}: damaged (no {key!r} in it); {_AGAIN}")


def read_json(path: str | Path, remedy: str = _AGAIN) -> Any:
    """Read one JSON document. A key that an object lacks is reported like other damage.

    Args:
        remedy: what a person does about a damaged one.

    Raises:
        Damaged: empty, cut short, or no JSON in UTF-8.
    """
    content = Path(path).read_bytes()
    if not content:
        raise Damaged(f"{path}: damaged (empty); {remedy}")
    with reading(path, remedy):
        value = json.loads(content.decode("utf-8"))
    if isinstance(value, dict):
        value = _Document(value)
        value.path = Path(path)
    return value


def read_if_whole(path: str | Path, kind: type, consequence: str, aside: bool = True) -> Any:
    """Read a JSON document that work can go on without.

    Args:
        kind: dict or list; another one is damage.
        consequence: what it means that a damaged one is not used, for the warning.
        aside: a damaged file is renamed to `NAME.damaged`.

    Returns:
        The document; None where there is none, or a damaged one, which is named in a warning.
    """
    path = Path(path)
    try:
        value = read_json(path)
        if not isinstance(value, kind):
            raise Damaged(f"{path}: damaged (not the kind of JSON that belongs there)")
        return value
    except FileNotFoundError:
        return None
    except Damaged as error:
        why = str(error).removesuffix(f"; {_AGAIN}")
        kept = ""
        if aside:
            with contextlib.suppress(OSError):
                os.replace(path, damaged := path.with_name(f"{path.name}.damaged"))
                kept = f", kept as {damaged.name}"
        logger.warning("%s%s; %s", why, kept, consequence)
        return None


def digest(path: str | Path, algorithm: str = "sha256") -> str:
    """Hex digest of a file's bytes, read in chunks; of a folder that over the digests and names of
    all files in it."""
    state = hashlib.new(algorithm)
    if Path(path).is_dir():
        for inside in sorted(found for found in Path(path).rglob("*") if found.is_file()):
            name = inside.relative_to(path).as_posix()
            state.update(f"{digest(inside, algorithm)} {name}\n".encode())
        return state.hexdigest()
    with open(path, "rb") as stream:
        while chunk := stream.read(_CHUNK_BYTES):
            state.update(chunk)
    return state.hexdigest()
