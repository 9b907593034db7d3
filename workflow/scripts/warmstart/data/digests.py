"""What tells recordings apart whatever corpus, release or split they came by: two numbers a cut, in
a file beside each manifest.

They stand in no cut, because a cut that changes makes its pool, budgets and trainings again. A
manifest without the file, or with that of another manifest, can be used; its recordings are then
not compared with others.
"""

import hashlib
import logging
import zipfile
from array import array
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from warmstart.run import files

log = logging.getLogger(__name__)

_SUFFIX = ".jsonl.gz"
Samples = int


@dataclass(frozen=True)
class Digests:
    """Of each cut of a manifest, in its order; 0 where unknown.

    Attributes:
        clips: (N,) uint64, of the publisher and its id of the recording.
        audio: (N,) uint64, of the samples.
    """

    clips: np.ndarray
    audio: np.ndarray


def number(value: bytes | str) -> int:
    """64 bits of a value's digest. Of a million cuts two that differ share one with a chance of
    3e-8."""
    value = value.encode("utf-8", "backslashreplace") if isinstance(value, str) else value
    return int.from_bytes(hashlib.blake2b(value, digest_size=8).digest(), "big")


def of_clip(publisher: str | None, utterance_id: str) -> int:
    """Number of a recording that its publisher names in every release alike; 0 without one."""
    return number(f"{publisher}\t{utterance_id}") if publisher else 0


def of_cut(audio: bytes, pieces: Sequence[tuple[Samples, Samples]] | None) -> int:
    """Number of a cut's samples.

    Args:
        audio: digest of the whole file's samples; empty where none was taken.
        pieces: (start, length) of each part that is used; None for all of the file.
    """
    if not audio:
        return 0
    return number(audio + repr(pieces).encode() if pieces else audio)


def path(manifest: Path) -> Path:
    """The file beside a manifest."""
    return manifest.with_name(f"{manifest.name.removesuffix(_SUFFIX)}.digests.npz")


def write(manifest: Path, written: Path, clips: array, audio: array) -> None:
    """Write the file beside `manifest`.

    Args:
        written: where the manifest's content lies now; its digest binds the two files.
        clips, audio: a number for each cut.
    """
    with files.atomic_path(path(manifest)) as temporary, open(temporary, "wb") as stream:
        np.savez(
            stream,
            manifest=np.array(files.digest(written)),
            clips=np.asarray(clips, dtype=np.uint64),
            audio=np.asarray(audio, dtype=np.uint64),
        )


def read(manifest: Path) -> Digests | None:
    """The numbers of a manifest's cuts; None where there are none of these very cuts."""
    try:
        with np.load(path(manifest), allow_pickle=False) as found:
            if str(found["manifest"]) == files.digest(manifest):
                return Digests(found["clips"], found["audio"])
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        log.warning("%s cannot be read (%s)", path(manifest), error)
        return None
    log.warning("%s is of another manifest than %s", path(manifest), manifest)
    return None
