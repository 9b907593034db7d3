"""What lies in a `.nemo`, read as data that a stranger wrote: sizes are bounded before anything is
unpacked, and its configuration is plain YAML. Standard library and PyYAML only.
"""

import contextlib
import gzip
import math
import shutil
import tarfile
import zlib
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import IO, Any

import yaml

from warmstart.run.errors import UserError, first_line

CONFIG, WEIGHTS = "model_config.yaml", "model_weights.ckpt"

# NeMo's own files have a handful of members, one for each tokenizer file at most.
_MOST_MEMBERS = 1000
# Names of 100 languages and a vocabulary of 100 000 pieces take 3 MB.
_MOST_CONFIG_BYTES = 8 << 20
_MOST_EVENTS = 2_000_000
_DEEPEST = 20
# tarfile reads a header that announces its own length in one go.
_LONGEST_READ = 16 << 20
# NeMo before 1.7 compressed its files. Weights hardly shrink, so what grows further is no model.
_MOST_GROWTH, _SPARE_BYTES = 8, 64 << 20
_TAGS = {None, *(f"tag:yaml.org,2002:{name}" for name in ("str", "int", "float", "bool", "null"))}

# What reading a damaged archive raises.
FAULTS = (tarfile.TarError, EOFError, OSError, ValueError, zlib.error)


class NotPlain(ValueError):
    """A file holds something else than a model's data; the message says what."""


class Contents:
    """An open `.nemo`.

    Args:
        archive: open for reading.
    """

    def __init__(self, archive: tarfile.TarFile):
        self._archive = archive
        self._members: dict[str, tarfile.TarInfo] = {}
        for count, found in enumerate(archive):
            if count >= _MOST_MEMBERS:
                raise NotPlain(f"more than {_MOST_MEMBERS} files in it")
            name = PurePosixPath(found.name).name
            if found.isdir():
                continue
            if not found.isreg() or found.issparse():
                raise NotPlain(f"{found.name!r} in it is a link or no ordinary file")
            # Programs disagree about which of two is meant.
            if name in self._members:
                raise NotPlain(f"two files named {name!r} in it")
            self._members[name] = found

    @property
    def names(self) -> list[str]:
        """Of the files, without their folders."""
        return list(self._members)

    def config(self) -> Any:
        """The model's configuration: mappings, lists, words, numbers.

        Raises:
            NotPlain: none, too long, or with anything but plain values.
        """
        member = self._member(CONFIG)
        if member.size > _MOST_CONFIG_BYTES:
            raise NotPlain(
                f"{CONFIG} has {member.size / 1e6:.0f} MB, at most "
                f"{_MOST_CONFIG_BYTES / 1e6:.0f} MB are read"
            )
        stream = self._archive.extractfile(member)
        return plain_yaml(stream.read(_MOST_CONFIG_BYTES) if stream else b"")

    def take(self, name: str, folder: Path) -> Path:
        """Write one file into a folder, under its bare name.

        Raises:
            NotPlain: none of that name.
        """
        member = self._member(name)
        path = folder / name
        stream = self._archive.extractfile(member)
        with open(path, "wb") as output:
            if stream is not None:
                shutil.copyfileobj(stream, output, 1 << 20)
        if path.stat().st_size != member.size:
            raise tarfile.ReadError("unexpected end of data")
        return path

    def require(self, name: str) -> None:
        """See that a file is there and has bytes.

        Raises:
            NotPlain: none of that name, or an empty one.
        """
        if not self._member(name).size:
            raise NotPlain(f"{name} in it is empty")

    def _member(self, name: str) -> tarfile.TarInfo:
        if name not in self._members:
            raise NotPlain(f"no {name} in it")
        return self._members[name]


@contextlib.contextmanager
def opened(path: str | Path) -> Iterator[Contents]:
    """A `.nemo`, plain or compressed with gzip.

    Raises:
        FAULTS: no archive, cut short, or no `.nemo` (`NotPlain`).
    """
    with contextlib.ExitStack() as stack:
        stream: Any = stack.enter_context(open(path, "rb"))
        most = size = Path(path).stat().st_size
        if stream.read(2) == b"\x1f\x8b":
            stream = stack.enter_context(gzip.open(path))
            most = _MOST_GROWTH * size + _SPARE_BYTES
        stream.seek(0)
        bounded: Any = _Bounded(stream, most)
        yield Contents(stack.enter_context(tarfile.open(fileobj=bounded, mode="r:")))


def read_config(path: str | Path, refused: str) -> dict[str, Any]:
    """The whole configuration inside a `.nemo`.

    Args:
        refused: what a message begins with; the cause follows.

    Raises:
        UserError: no such file, not a `.nemo`, cut short, or with more than plain values in it.
    """
    try:
        with opened(path) as contents:
            config = contents.config()
            # Found here, without reading them, and not when the first run has all its data.
            contents.require(WEIGHTS)
    except FileNotFoundError:
        raise UserError(
            f"init {path}: no such file; run the rule that makes it, or correct the path"
        ) from None
    except FAULTS as error:
        # tarfile goes on with a line for each compression that it tried.
        cause = first_line(error)
        raise UserError(f"{refused} ({cause}); delete it and fetch or make it again") from error
    if not isinstance(config, dict):
        raise UserError(f"{refused} (its configuration is no mapping); it is no speech encoder")
    return config


class _Bounded:
    """A stream that ends with an error where it goes beyond a length."""

    def __init__(self, stream: IO[bytes], most: int):
        self._stream, self._most = stream, most

    def read(self, size: int = -1) -> bytes:
        if not 0 <= size <= _LONGEST_READ:
            raise NotPlain(f"a header of {size} bytes in it")
        if self._stream.tell() > self._most:
            raise NotPlain(f"it unpacks to more than {self._most / 1e6:.0f} MB")
        return self._stream.read(size)

    def seek(self, offset: int, whence: int = 0) -> int:
        if whence == 0 and offset > self._most:
            raise tarfile.ReadError("unexpected end of data")
        return self._stream.seek(offset, whence)

    def tell(self) -> int:
        return self._stream.tell()


def plain_yaml(data: bytes) -> Any:
    """Read YAML of mappings, lists, words and numbers.

    Looked through event by event before anything is built: an alias that stands for a list of
    aliases grows to gigabytes, and deep nesting overflows the stack.

    Raises:
        NotPlain: an alias, a tag, nested too deep, or no YAML.
    """
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    depth = 0
    try:
        text = data.decode("utf-8")
        for count, event in enumerate(yaml.parse(text, Loader=loader)):
            if isinstance(event, yaml.CollectionStartEvent):
                depth += 1
            elif isinstance(event, yaml.CollectionEndEvent):
                depth -= 1
            if depth > _DEEPEST or count > _MOST_EVENTS:
                raise NotPlain("its configuration is nested too deep or too long")
            if getattr(event, "anchor", None) is not None:
                raise NotPlain("its configuration has YAML aliases")
            if (tag := getattr(event, "tag", None)) not in _TAGS:
                raise NotPlain(f"its configuration has the YAML tag {str(tag)[:80]!r}")
        return yaml.load(text, Loader=loader)
    except UnicodeDecodeError as error:
        raise NotPlain(f"its configuration is not UTF-8 ({error})") from None
    except (yaml.YAMLError, RecursionError) as error:
        cause = " ".join(str(error).split())[:200]
        raise NotPlain(f"its configuration is no plain YAML ({cause})") from None


def is_number(value: Any) -> bool:
    """A finite number, no truth value."""
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
