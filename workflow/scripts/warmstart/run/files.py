"""Files that are whole or absent: temporary names, renames, digests, JSON."""

import contextlib
import errno
import hashlib
import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from warmstart.run.errors import UserError

_CHUNK_BYTES = 1 << 20
_NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


@contextlib.contextmanager
def atomic_path(path: str | Path) -> Iterator[Path]:
    """Give a temporary path beside `path`; rename it to `path` when the block ends well, remove it
    when it raises.

    The temporary name keeps the suffixes (`pool.jsonl.gz` -> `.pool.1234.jsonl.gz`), because
    Lhotse, NeMo and pandas choose the format by suffix. The folder is created. A process killed
    inside the block leaves only the dotted name behind.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    stem, _, suffixes = path.name.partition(".")
    temporary = path.with_name(f".{stem}.{os.getpid()}" + (f".{suffixes}" if suffixes else ""))
    try:
        yield temporary
        os.replace(temporary, path)
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
        cause: BaseException | None = error
        # torch reports that its archive is cut short; the reason is the exception behind that one.
        while cause is not None and getattr(cause, "errno", None) not in _NO_ROOM:
            cause = cause.__context__
        if cause is None:
            raise
        folder = Path(path).parent
        raise UserError(
            f"{path}: no room to write it ({cause.strerror}; "
            f"{shutil.disk_usage(folder).free / 1e6:.0f} MB free in {folder}); "
            "free or raise the space, then the same command continues from the last checkpoint"
        ) from error


def write_text(path: str | Path, text: str) -> None:
    """Write `text` as UTF-8 under `path`, whole or not at all."""
    with atomic_path(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_json(path: str | Path, value: Any) -> None:
    """Write `value` as indented JSON with a final newline, whole or not at all. NaN is refused: it
    is not JSON."""
    write_text(path, json.dumps(value, ensure_ascii=False, indent=2, allow_nan=False) + "\n")


def read_json(path: str | Path) -> Any:
    """Read one JSON document."""
    return json.loads(Path(path).read_text(encoding="utf-8"))


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
