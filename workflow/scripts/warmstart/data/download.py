"""Downloads that continue where they stopped, are checked, and appear under their final name only
when whole; safe unpacking.

Tokens come from the environment and go into request headers only: never into a URL that is logged,
a parameter or a file.
"""

import bz2
import contextlib
import fcntl
import gzip
import json
import logging
import lzma
import os
import shutil
import tarfile
import time
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO, TYPE_CHECKING, Any
from urllib.parse import urlsplit, urlunsplit

from warmstart.run import files
from warmstart.run.errors import UserError
from warmstart.run.logs import MinuteTicker

if TYPE_CHECKING:
    # Imported where a transfer begins: readers are asked while the DAG is built, and requests takes
    # a tenth of a second.
    import requests

log = logging.getLogger(__name__)

Seconds = float

_CHUNK_BYTES = 1 << 20
_TIMEOUT_S = (20, 120)  # to connect; between two reads
_ATTEMPTS = 6  # in a row without a new byte
_RETRY_STATUS = frozenset({408, 425, 429, 500, 502, 503, 504})
_LONGEST_WAIT_S = 600.0
_SPARE_BYTES = 1 << 28

_REFUSALS = {
    401: (
        "the server wants a token: set it in the environment (HF_TOKEN, MDC_API_KEY) and try again"
    ),
    403: (
        "access is refused: accept the data set's terms on its web site, and check the token in "
        "the environment"
    ),
    404: "no such file: check the corpus's code, release and source in the config",
    410: "the file was withdrawn: check the release in the config",
    451: "the file is withheld for legal reasons in this place",
}


@dataclass(frozen=True)
class Digest:
    """An expected digest: algorithm as in hashlib, lower-case hex."""

    algorithm: str
    hex: str


def shown(url: str) -> str:
    """A URL fit for logs and files: no user, no password, no query (signed links carry credentials
    there)."""
    parts = urlsplit(url)
    return urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path, "", ""))


def human_bytes(count: float) -> str:
    """1234567 -> '1.2 MB' (decimal units)."""
    for unit in ("B", "kB", "MB", "GB"):
        if count < 1000:
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1000
    return f"{count:.2f} TB"


@contextlib.contextmanager
def lock(path: Path) -> Iterator[None]:
    """Hold a lock file: jobs of several languages share one download. The kernel frees it when a
    process dies."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "w") as stream:
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            log.info("%s: another job is fetching this; waiting for it", path.parent)
            fcntl.flock(stream, fcntl.LOCK_EX)
        yield


def verify(path: Path, digest: Digest | None, size: int | None, name: str | None = None) -> str:
    """Check a file's size and digest.

    Returns:
        Its digest as `algorithm:hex`; sha256 where none was expected, for the record.

    Raises:
        UserError: naming the file, what was expected and what was found.
    """
    name = name or path.name
    found_size = path.stat().st_size
    if size is not None and found_size != size:
        raise UserError(
            f"{name}: {found_size} bytes, {size} expected; get the file again from its publisher"
        )
    algorithm = digest.algorithm if digest else "sha256"
    found = files.digest(path, algorithm)
    if digest and found != digest.hex:
        raise UserError(
            f"{name}: {algorithm} is {found}, {digest.hex} expected; fetch it again, and if that "
            "does not help check the "
            "release and the source in the config"
        )
    return f"{algorithm}:{found}"


class _Stopped(Exception):
    """The transfer ended early; try again after `wait_s` (None: by our own schedule)."""

    def __init__(self, reason: str, wait_s: Seconds | None = None):
        super().__init__(reason)
        self.wait_s = wait_s


def fetch(
    url: str,
    path: Path,
    *,
    digest: Digest | None = None,
    size: int | None = None,
    token: str | None = None,
    sleep: Callable[[Seconds], None] = time.sleep,
) -> str:
    """Download `url` to `path`.

    Bytes gather in `.{name}.part` beside it and survive a killed job; the next call asks for the
    rest (HTTP Range, guarded by the server's ETag so that two versions are never mixed), or starts
    anew where the server cannot do that. A broken connection and the statuses 408, 425, 429 and 5xx
    are tried again after a growing pause, or after `Retry-After`.

    Args:
        digest: what the bytes must hash to; a mismatch deletes them.
        size: bytes, where the publisher states them.
        token: sent as `Authorization: Bearer`, to the first host only; redirects elsewhere do not
            get it.

    Returns:
        `algorithm:hex` of the file. A file already under `path` was checked when it got there: only
        its size is looked at.

    Raises:
        UserError: refused, gone, no space, wrong digest or size, or no progress after several
            tries.
    """
    record = _Part.of(path)
    if path.exists() and (size is None or path.stat().st_size == size):
        return verify(path, None, size) if digest is None else f"{digest.algorithm}:{digest.hex}"
    path.parent.mkdir(parents=True, exist_ok=True)
    name = f"{shown(url)}"
    attempt = 0

    import requests

    with requests.Session() as session:
        if token:
            session.headers["Authorization"] = f"Bearer {token}"
        # Stored bytes are wanted: a server that compresses on the way would make ranges and sizes
        # meaningless.
        session.headers["Accept-Encoding"] = "identity"
        while True:
            before = record.bytes
            try:
                _transfer(session, url, record, size)
                break
            except _Stopped as stopped:
                attempt = 1 if record.bytes > before else attempt + 1
                if attempt >= _ATTEMPTS:
                    raise UserError(
                        f"{name}: gave up after {attempt} tries without progress ({stopped}); "
                        f"{human_bytes(record.bytes)} are "
                        "kept, run again later to continue"
                    ) from None
                wait_s = min(
                    stopped.wait_s if stopped.wait_s is not None else 2.0**attempt, _LONGEST_WAIT_S
                )
                log.warning(
                    "%s: %s at %s; again in %.0f s",
                    name,
                    stopped,
                    human_bytes(record.bytes),
                    wait_s,
                )
                sleep(wait_s)
    try:
        found = verify(record.part, digest, size, name)
    except UserError:
        record.forget()
        raise
    os.replace(record.part, path)
    record.forget()
    log.info("%s: %s, %s", path.name, human_bytes(path.stat().st_size), found)
    return found


@dataclass(frozen=True)
class _Part:
    """The bytes so far, and a note of which version of the file they belong to."""

    part: Path
    note: Path

    @classmethod
    def of(cls, path: Path) -> "_Part":
        return cls(path.with_name(f".{path.name}.part"), path.with_name(f".{path.name}.part.json"))

    @property
    def bytes(self) -> int:
        return self.part.stat().st_size if self.part.exists() else 0

    def validator(self) -> str | None:
        try:
            return json.loads(self.note.read_text()).get("validator")
        except (OSError, ValueError):
            return None

    def forget(self) -> None:
        self.part.unlink(missing_ok=True)
        self.note.unlink(missing_ok=True)


def _transfer(session: "requests.Session", url: str, record: _Part, size: int | None) -> None:
    """One request; on return the part file is complete. Raises `_Stopped` when another try makes
    sense."""
    import requests
    import urllib3

    broken = (
        requests.ConnectionError,
        requests.Timeout,
        requests.exceptions.ChunkedEncodingError,
        requests.exceptions.ContentDecodingError,
        urllib3.exceptions.HTTPError,
        ConnectionError,
    )
    start = record.bytes
    if size is not None and start == size:
        return
    headers = {}
    if start and (size is None or start < size):
        headers["Range"] = f"bytes={start}-"
        if validator := record.validator():
            headers["If-Range"] = validator
    elif start:
        record.forget()
        start = 0
    try:
        with session.get(url, headers=headers, stream=True, timeout=_TIMEOUT_S) as response:
            content_range = response.headers.get("Content-Range", "")
            if response.status_code == 416:
                # Nothing after `start`: either it is all here, or the file has changed. Length
                # decides.
                total = content_range.rpartition("/")[2]
                if total.isdigit() and int(total) == start:
                    return
                record.forget()
                raise _Stopped("the file changed on the server")
            if response.status_code in _RETRY_STATUS:
                raise _Stopped(f"HTTP {response.status_code}", _retry_after(response))
            if not response.ok:
                remedy = _REFUSALS.get(response.status_code, "check the source in the config")
                raise UserError(f"{shown(url)}: HTTP {response.status_code}; {remedy}")
            if response.status_code == 206 and not content_range.startswith(f"bytes {start}-"):
                record.forget()
                raise _Stopped("the server sent another range than asked for")
            if response.status_code != 206:
                start = 0  # Range ignored, or the file changed: the whole file comes
            _receive(response, record, start, shown(url))
    except broken as error:
        raise _Stopped(type(error).__name__) from None


def _receive(response: "requests.Response", record: _Part, start: int, name: str) -> None:
    validator = response.headers.get("ETag") or response.headers.get("Last-Modified")
    # If-Range must not hold a weak validator (RFC 9110, 13.1.5).
    strong = validator if validator and not validator.startswith("W/") else None
    record.note.write_text(json.dumps({"validator": strong}))
    length = response.headers.get("Content-Length", "")
    expected = start + int(length) if length.isdigit() else None
    if (
        expected is not None
        and expected - start > (free := shutil.disk_usage(record.part.parent).free) - _SPARE_BYTES
    ):
        raise UserError(
            f"{name}: {human_bytes(expected - start)} to come, {human_bytes(free)} free on disk; "
            "make room"
        )
    ticker, began, got = MinuteTicker(15.0), time.monotonic(), start
    with open(record.part, "r+b" if start else "wb") as stream:
        stream.seek(start)
        stream.truncate()
        for chunk in _chunks(response, sized=expected is not None):
            stream.write(chunk)
            got += len(chunk)
            if ticker.due():
                speed = (got - start) / max(time.monotonic() - began, 1e-9)
                rest = (
                    f" of {human_bytes(expected)}, {(expected - got) / speed / 60:.0f} min left"
                    if expected
                    else ""
                )
                log.info("%s: %s%s, %s/s", name, human_bytes(got), rest, human_bytes(speed))
    if expected is not None and got < expected:
        raise _Stopped(f"the connection closed after {human_bytes(got)} of {human_bytes(expected)}")


def _chunks(response: "requests.Response", sized: bool) -> Iterator[bytes]:
    if not sized:
        yield from response.iter_content(_CHUNK_BYTES)
        return
    # iter_content throws the unfilled chunk away when the connection breaks; read1 hands over what
    # has come.
    while chunk := response.raw.read1(_CHUNK_BYTES, decode_content=False):
        yield chunk


def _retry_after(response: "requests.Response") -> Seconds | None:
    value = response.headers.get("Retry-After", "")
    if value.isdigit():
        return float(value)
    import email.utils

    with contextlib.suppress(TypeError, ValueError):
        return max(0.0, email.utils.parsedate_to_datetime(value).timestamp() - time.time())
    return None


def get_text(url: str, path: Path, **more: Any) -> str:
    """Download a small text file and read it."""
    fetch(url, path, **more)
    return path.read_text(encoding="utf-8")


def local_source(source: str | None) -> Path | None:
    """The folder or file that a `source` of the config names, or None where it is a web address or
    absent."""
    return (
        None
        if source is None or source.startswith(("http://", "https://"))
        else Path(source).expanduser()
    )


def obtain(
    base: str,
    relative: str,
    directory: Path,
    *,
    digest: Digest | None = None,
    size: int | None = None,
) -> tuple[Path, str]:
    """A file of a release, from the publisher, a mirror, or a folder of this machine.

    Args:
        base: web address or folder; below it lies `relative` as the publisher lays it out (in a
            folder, the bare name will do).
        directory: where a download goes; a file of a folder is used in place, never copied, moved
            or deleted.

    Returns:
        (path, `algorithm:hex`), checked against `digest` and `size` either way.

    Raises:
        UserError: see `fetch`; or no such file in the folder.
    """
    folder = local_source(base)
    name = PurePosixPath(relative).name
    if folder is None:
        path = directory / name
        return path, fetch(base.rstrip("/") + "/" + relative, path, digest=digest, size=size)
    for path in (folder / relative, folder / name):
        if path.is_file():
            return path, verify(path, digest, size)
    raise UserError(
        f"{folder}: neither {relative} nor {name} is there; correct the corpus's source or put the "
        "file there"
    )


def discard(path: Path, directory: Path) -> None:
    """Delete an unpacked archive to halve the disk needed; only one that was downloaded into
    `directory`."""
    if path.parent.resolve() == directory.resolve():
        path.unlink(missing_ok=True)


def unpack(archive: Path, directory: Path) -> None:
    """Unpack a tar archive (plain, gz, bz2, xz) into `directory`, which appears whole or not at
    all.

    Refused before anything of it is written: absolute names, names that climb out with `..`, links
    of any kind and devices; no speech corpus needs them. Files get ordinary permissions.

    Raises:
        UserError: naming the member; or the archive is damaged.
    """
    if directory.exists():
        return
    working = directory.with_name(f".{directory.name}.unpacking")
    shutil.rmtree(working, ignore_errors=True)
    working.mkdir(parents=True)
    ticker, count, size = MinuteTicker(15.0), 0, 0
    try:
        with _decompressed(archive) as raw, tarfile.open(fileobj=raw, mode="r|") as stream:
            for member in stream:
                _check_member(archive, member)
                stream.extract(member, working, filter="data", set_attrs=False)
                count += 1
                size += member.size
                if ticker.due():
                    log.info("%s: %d files, %s unpacked", archive.name, count, human_bytes(size))
            # To the very end: the checksum of a gzip or xz stream comes last, and tarfile stops
            # before it.
            while raw.read(_CHUNK_BYTES):
                pass
    except (tarfile.TarError, EOFError, zlib.error, gzip.BadGzipFile, lzma.LZMAError) as error:
        shutil.rmtree(working, ignore_errors=True)
        raise UserError(
            f"{archive}: damaged or not a tar archive ({error}); delete it and fetch it again"
        ) from error
    except BaseException:
        shutil.rmtree(working, ignore_errors=True)
        raise
    if not count:
        shutil.rmtree(working)
        raise UserError(f"{archive}: the archive is empty; fetch it again")
    os.replace(working, directory)
    log.info("%s: %d files, %s unpacked", archive.name, count, human_bytes(size))


def _decompressed(archive: Path) -> IO[bytes]:
    """The plain tar stream. Python's own openers, because tarfile's stream mode checks no
    checksum."""
    with open(archive, "rb") as stream:
        magic = stream.read(6)
    for prefix, opener in (
        (b"\x1f\x8b", gzip.open),
        (b"BZh", bz2.open),
        (b"\xfd7zXZ\0", lzma.open),
    ):
        if magic.startswith(prefix):
            return opener(archive, "rb")
    return open(archive, "rb")


def _check_member(archive: Path, member: tarfile.TarInfo) -> None:
    name = PurePosixPath(member.name)
    if name.is_absolute() or ".." in name.parts or "\\" in member.name or "\0" in member.name:
        raise UserError(
            f"{archive}: member {member.name!r} points outside the archive; refused, get the "
            "archive from its publisher"
        )
    if not (member.isfile() or member.isdir()):
        raise UserError(
            f"{archive}: member {member.name!r} is a link or device; refused, get the archive from "
            "its publisher"
        )
