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
from typing import IO, TYPE_CHECKING
from urllib.parse import urlsplit, urlunsplit

from warmstart.run import files
from warmstart.run.disk import NO_ROOM
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
_LOOK_BYTES = 1 << 26  # between two looks at the room that is left
_MOST_TEXT_BYTES = 1 << 24  # a list of digests has kilobytes
# Text and silence shrink a hundredfold, speech not by half: what grows more fills the disk.
_MOST_GROWTH = 200

# What a file of a name begins with.
_MAGIC = {
    ".gz": (b"\x1f\x8b",),
    ".tgz": (b"\x1f\x8b",),
    ".bz2": (b"BZh",),
    ".xz": (b"\xfd7zXZ",),
    ".zip": (b"PK",),
    ".parquet": (b"PAR1",),
}
_PAGE = (b"<!doctype html", b"<html", b"<head", b"<?xml", b"<error")

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
    try:
        parts = urlsplit(url)
    except ValueError:  # no address at all, so nothing tells where a password would stand
        return "an address that cannot be read"
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
    most_bytes: int | None = None,
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
        most_bytes: of a file whose size nobody states.

    Returns:
        `algorithm:hex` of the file. A file already under `path` was checked when it got there: only
        its size is looked at.

    Raises:
        UserError: refused, gone, no space, wrong digest or size, a web page in place of the file,
            more than there should be, a redirect that leads nowhere, or no progress after several
            tries. What was wrong is deleted, so that the next call begins anew.
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
                _transfer(session, url, record, size, most_bytes)
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
        if digest is None:
            _require_no_page(record.part, path.name, name)
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


def _require_no_page(part: Path, name: str, url: str) -> None:
    """Refuse what no publisher calls by this name: sites answer with a page where they want a login
    or have a fault, and say that all is well."""
    with open(part, "rb") as stream:
        begin = stream.read(512)
    wanted = _MAGIC.get(PurePosixPath(name).suffix)
    page = begin.lstrip(b"\xef\xbb\xbf \t\r\n").lower().startswith(_PAGE)
    if page and not name.endswith((".html", ".xml")):
        raise UserError(
            f"{url}: the server sent a web page instead of the file; open the address in a browser "
            "to see what it asks for, then try again, or set the corpus's source to a folder"
        )
    if not begin or (wanted is not None and not begin.startswith(wanted)):
        what = f"something that begins with {begin[:16]!r}" if begin else "nothing"
        raise UserError(
            f"{url}: the server sent {what} instead of the file; check the source in the config, "
            "then try again"
        )


def _transfer(
    session: "requests.Session",
    url: str,
    record: _Part,
    size: int | None,
    most_bytes: int | None = None,
) -> None:
    """One request; on return the part file is complete. Raises `_Stopped` when another try makes
    sense."""
    import requests
    import urllib3

    # No address that can be asked; all others are ends of a connection.
    nowhere = (
        requests.exceptions.InvalidURL,
        requests.exceptions.InvalidSchema,
        requests.exceptions.MissingSchema,
        urllib3.exceptions.LocationParseError,
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
            # A little more than stated is left to the comparison of sizes, which names both.
            most = most_bytes if size is None else size + _LOOK_BYTES
            _receive(response, record, start, shown(url), most)
    except requests.TooManyRedirects:
        raise UserError(
            f"{shown(url)}: the server redirects in a circle; check the source in the config"
        ) from None
    except nowhere:
        raise UserError(_nowhere(url)) from None
    except (requests.RequestException, urllib3.exceptions.HTTPError, ConnectionError) as error:
        raise _Stopped(type(error).__name__) from None
    except ValueError:  # what urllib makes of the address in a redirect
        raise UserError(_nowhere(url)) from None


def _nowhere(url: str) -> str:
    return (
        f"{shown(url)}: this is, or redirects to, no address of the web (http, https) that can be "
        "read; check the source in the config"
    )


def _receive(
    response: "requests.Response", record: _Part, start: int, name: str, most: int | None
) -> None:
    validator = response.headers.get("ETag") or response.headers.get("Last-Modified")
    # If-Range must not hold a weak validator (RFC 9110, 13.1.5).
    strong = validator if validator and not validator.startswith("W/") else None
    encoding = response.headers.get("Content-Encoding", "identity").strip().lower()
    # Where a server takes the name's own compression for one of the way, its bytes are the file.
    packed = encoding in ("gzip", "x-gzip") and not name.endswith((".gz", ".tgz"))
    if encoding not in ("", "identity", "gzip", "x-gzip"):
        record.forget()
        raise UserError(
            f"{name}: the server sends the file in content encoding {encoding!r}, which nobody "
            "asked for; set the corpus's source to a mirror or a folder"
        )
    if packed:
        start = 0  # places in packed bytes are none in the file
    record.note.write_text(json.dumps({"validator": None if packed else strong}))
    length = response.headers.get("Content-Length", "")
    expected = start + int(length) if length.isdigit() and not packed else None
    if (
        expected is not None
        and expected - start > (free := shutil.disk_usage(record.part.parent).free) - _SPARE_BYTES
    ):
        raise UserError(
            f"{name}: {human_bytes(expected - start)} to come, {human_bytes(free)} free on disk; "
            "make room"
        )
    ticker, began, got = MinuteTicker(15.0), time.monotonic(), start
    looked = got
    try:
        with open(record.part, "r+b" if start else "wb") as stream:
            stream.seek(start)
            stream.truncate()
            for chunk in _unpacked(response, name) if packed else _chunks(response):
                stream.write(chunk)
                got += len(chunk)
                if most is not None and got > most:
                    record.forget()
                    raise UserError(
                        f"{name}: more than {human_bytes(most)} came, which is too much; check the "
                        "source in the config"
                    )
                if got - looked >= _LOOK_BYTES:
                    looked = got
                    _require_room(record, name, expected)
                if ticker.due():
                    speed = (got - start) / max(time.monotonic() - began, 1e-9)
                    rest = (
                        f" of {human_bytes(expected)}, {(expected - got) / speed / 60:.0f} min left"
                        if expected
                        else ""
                    )
                    log.info("%s: %s%s, %s/s", name, human_bytes(got), rest, human_bytes(speed))
    except OSError as error:
        if error.errno not in NO_ROOM:
            raise
        raise _no_room(record, name, expected) from None
    except BaseException:
        if packed:
            record.forget()
        raise
    if expected is not None and got < expected:
        raise _Stopped(f"the connection closed after {human_bytes(got)} of {human_bytes(expected)}")


def _require_room(record: _Part, name: str, expected: int | None) -> None:
    """Stop before a disk is full, which other jobs write to."""
    if shutil.disk_usage(record.part.parent).free < _SPARE_BYTES:
        raise _no_room(record, name, expected)


def _no_room(record: _Part, name: str, expected: int | None) -> UserError:
    # Of a body whose length nobody states, what came may be rubbish: it must not keep the disk
    # full.
    came = human_bytes(record.bytes)
    if expected is None:
        record.forget()
    kept = (
        "kept: the same command continues"
        if expected is not None
        else "deleted, because the server states no length: there may be no end to it"
    )
    free = human_bytes(shutil.disk_usage(record.part.parent).free)
    return UserError(
        f"{name}: no room on the disk after {came} ({free} free in {record.part.parent}); make "
        f"room, then try again; what came is {kept}"
    )


def _chunks(response: "requests.Response") -> Iterator[bytes]:
    """The bytes as they were sent."""
    # iter_content throws the unfilled chunk away when the connection breaks; read1 hands over what
    # has come.
    while chunk := response.raw.read1(_CHUNK_BYTES, decode_content=False):
        yield chunk


def _unpacked(response: "requests.Response", name: str) -> Iterator[bytes]:
    """The bytes of a body that was compressed on its way, a piece at a time: a few of them may
    stand for gigabytes.

    Raises:
        UserError: they stand for more than any file does.
        _Stopped: they are damaged.
    """
    inflate, came, gave = zlib.decompressobj(wbits=31), 0, 0
    try:
        for packed in _chunks(response):
            came += len(packed)
            while packed:
                chunk = inflate.decompress(packed, _CHUNK_BYTES)
                packed = inflate.unconsumed_tail
                gave += len(chunk)
                if gave > _MOST_GROWTH * came + _MOST_TEXT_BYTES:
                    raise UserError(
                        f"{name}: {human_bytes(came)} unpack to more than {human_bytes(gave)}; "
                        "this is no speech corpus: check the source in the config"
                    )
                yield chunk
    except zlib.error as error:
        raise _Stopped(f"damaged on the way ({error})") from None
    if not inflate.eof:
        raise _Stopped("the connection closed before the end")


def _retry_after(response: "requests.Response") -> Seconds | None:
    value = response.headers.get("Retry-After", "")
    if value.isdigit():
        return float(value)
    import email.utils

    with contextlib.suppress(TypeError, ValueError):
        return max(0.0, email.utils.parsedate_to_datetime(value).timestamp() - time.time())
    return None


def listing(
    base: str, relative: str, directory: Path, complete: Callable[[str], bool], wanted: str
) -> str:
    """A small text file of a release that says what its other files are.

    Fetched anew each time, because publishers mend their lists; where that fails, one that came
    before serves.

    Args:
        base, relative, directory: see `obtain`.
        complete: whether a text is the list that is wanted.
        wanted: what it lists then, for messages.

    Raises:
        UserError: see `fetch`; or another text than wanted, which is deleted if it was downloaded.
    """
    path = directory / PurePosixPath(relative).name
    before = None
    if local_source(base) is None:
        if path.exists() and complete(text := _text(path)):
            before = text
        path.unlink(missing_ok=True)
    else:
        path, _ = obtain(base, relative, directory)
    address = f"{shown(str(base)).rstrip('/')}/{relative}"
    try:
        if local_source(base) is None:
            fetch(f"{base.rstrip('/')}/{relative}", path, most_bytes=_MOST_TEXT_BYTES)
        text = _text(path)
        if not complete(text):
            if local_source(base) is None:
                path.unlink()
            said = " ".join(text.split())[:60]
            raise UserError(
                f"{address} does not list {wanted}; check the corpus's code, format and source, "
                f"then try again (it begins with {said!r})"
            )
        return text
    except UserError as error:
        if before is None:
            raise
        log.warning("%s; the list that came before is used", error)
        files.write_text(path, before)
        return before


def _text(path: Path) -> str:
    """A text, whatever else may be in a file that should be one."""
    with open(path, "rb") as stream:
        return stream.read(_MOST_TEXT_BYTES).decode("utf-8", errors="replace")


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
    ticker, count, size, packed = MinuteTicker(15.0), 0, 0, archive.stat().st_size
    whole = False
    try:
        with _decompressed(archive) as raw, tarfile.open(fileobj=raw, mode="r|") as stream:
            for member in stream:
                _check_member(archive, member)
                size += member.size
                _check_growth(archive, packed, size, member, working)
                stream.extract(member, working, filter="data", set_attrs=False)
                count += 1
                if ticker.due():
                    log.info("%s: %d files, %s unpacked", archive.name, count, human_bytes(size))
            # To the very end: the checksum of a gzip or xz stream comes last, and tarfile stops
            # before it.
            while raw.read(_CHUNK_BYTES):
                pass
        whole = True
    except (tarfile.TarError, EOFError, zlib.error, gzip.BadGzipFile, lzma.LZMAError) as error:
        raise UserError(
            f"{archive}: damaged or not a tar archive ({error}); delete it and fetch it again"
        ) from error
    except OSError as error:
        if error.errno not in NO_ROOM:
            raise
        raise UserError(_full(archive, working)) from None
    finally:
        if not whole:
            shutil.rmtree(working, ignore_errors=True)
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


def _check_growth(
    archive: Path, packed: int, size: int, member: tarfile.TarInfo, working: Path
) -> None:
    """Refuse what would fill the disk, before it does."""
    if size > _MOST_GROWTH * packed + _SPARE_BYTES:
        raise UserError(
            f"{archive}: {human_bytes(packed)} unpack to more than {human_bytes(size)}; this is no "
            "speech corpus: get the archive from its publisher"
        )
    if member.size > _CHUNK_BYTES and (
        member.size > shutil.disk_usage(working).free - _SPARE_BYTES
    ):
        raise UserError(_full(archive, working))


def _full(archive: Path, working: Path) -> str:
    free = human_bytes(shutil.disk_usage(working.parent).free)
    return (
        f"{archive}: no room to unpack it ({free} free in {working.parent}); make room, then the "
        "same command unpacks it anew"
    )


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
