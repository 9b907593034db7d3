"""Training audio from few large files: shards of a pool, written by `packing`, read at an offset.

A shard is a tar file as Lhotse's Shar writes them (`lhotse.shar.readers.TarIterator` reads it). It
is not read in sequence, as Shar reads it. A run draws the next cut among some 20,000, across
shards, and the order must not depend on the number of workers: Shar would keep the audio of all
20,000 in the process that makes batches, or give each worker shards and so an order of its own. An
index says where the bytes of a recording lie, and a worker reads those alone. Manifests, samplers
and batches are the same as without shards, because nothing but the place of the bytes changes.
"""

import hashlib
import math
import os
import zlib
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from lhotse import AudioSource, CutSet
from lhotse.augmentation import AudioTransform
from lhotse.cut import MixedCut
from lhotse.utils import compute_num_samples, fastcopy

from warmstart.data import cut_lines
from warmstart.run.errors import Damaged, UserError

Seconds = float

INDEX = "index.npy"
# An entry of the index: 128 bits of a hash of the path of a recording; what of it is there, frames
# at its own rate (`first` is WHOLE: the bytes of the file); and where. `size` 0: it was left where
# it is.
WHOLE = -1
ENTRY = np.dtype(
    [
        *(("key", "<u8"), ("check", "<u8")),
        *(("first", "<i8"), ("frames", "<i8"), ("rate", "<u4")),
        *(("shard", "<u4"), ("offset", "<u8"), ("size", "<u8"), ("crc", "<u4")),
    ]
)
_OPEN_SHARDS = 64


def shard_name(number: int) -> str:
    """Name of a shard within the folder of its pool."""
    return f"{number:06d}.tar"


def key_of(source: str) -> tuple[int, int]:
    """What stands for the path of a recording: two numbers of 64 bits."""
    digest = hashlib.blake2b(source.encode(), digest_size=16).digest()
    return int.from_bytes(digest[:8], "little"), int.from_bytes(digest[8:], "little")


def requested(cut: Any) -> tuple[Seconds, Seconds | None]:
    """(offset, duration) that a cut of one recording asks of its audio file; None = to its end.

    Source:
        Lhotse 1.33, `Recording.load_audio`.
    """
    recording = cut.recording
    offset, duration = cut.start, cut.duration
    if math.isclose(duration, recording.duration, rel_tol=1e-9, abs_tol=1e-3):
        duration = None
    for given in reversed(recording.transforms or []):
        transform = given if isinstance(given, AudioTransform) else AudioTransform.from_dict(given)
        offset, duration = transform.reverse_timestamps(
            offset=offset, duration=duration, sampling_rate=recording.sampling_rate
        )
    return offset, duration


@dataclass
class _Piece(AudioSource):
    """Some frames of a long recording in memory; asked by the times of the whole.

    Attributes:
        first: frame of the recording with which it begins.
        rate: of the recording, Hz.
    """

    first: int = 0
    rate: int = 0

    def load_audio(
        self,
        offset: Seconds = 0.0,
        duration: Seconds | None = None,
        force_opus_sampling_rate: int | None = None,
    ) -> np.ndarray:
        """As of the recording."""
        frames = compute_num_samples(offset, self.rate) - self.first
        return super().load_audio(frames / self.rate, duration, force_opus_sampling_rate)


class _Shards:
    """The shards of one pool; opened by each process for itself."""

    def __init__(self, folder: Path):
        self._folder = folder
        self._index: np.ndarray | None = None
        self._keys = np.empty(0, "<u8")
        self._open: OrderedDict[int, int] = OrderedDict()

    def __getstate__(self) -> dict[str, Any]:
        return {"_folder": self._folder}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__init__(state["_folder"])

    def entries(self, source: str) -> np.ndarray:
        """All that is known of a recording, (n,) of `ENTRY`."""
        index = self._read()
        key, check = key_of(source)
        first = np.searchsorted(self._keys, np.uint64(key), "left")
        end = np.searchsorted(self._keys, np.uint64(key), "right")
        found = index[first:end]
        return found[found["check"] == check]

    def bytes_of(self, entry: Any) -> bytes:
        """The bytes of an entry.

        Raises:
            Damaged: the shard is not there, cut or altered.
        """
        number, size = int(entry["shard"]), int(entry["size"])
        path = self._folder / shard_name(number)
        try:
            found = os.pread(self._descriptor(number, path), size, int(entry["offset"]))
        except FileNotFoundError:
            raise self._damaged(path, "is not there") from None
        if len(found) < size:
            raise self._damaged(path, "was cut short")
        if zlib.crc32(found) != entry["crc"]:
            raise self._damaged(path, "is not what was packed")
        return found

    def require_sizes(self) -> None:
        """Check that no shard is missing or cut short; what is in them is checked when it is read.

        Raises:
            Damaged: naming the first that is.
        """
        index = self._read()
        packed = index[index["size"] > 0]
        for number in np.unique(packed["shard"]):
            own = packed[packed["shard"] == number]
            path = self._folder / shard_name(int(number))
            if not path.is_file():
                raise self._damaged(path, "is not there")
            if path.stat().st_size < int((own["offset"] + own["size"]).max()):
                raise self._damaged(path, "was cut short")

    def _damaged(self, path: Path, what: str) -> Damaged:
        return Damaged(
            f"{path}: {what}; delete {self._folder / INDEX} and run the workflow again, which "
            "packs this shard anew and goes on with the training"
        )

    def _read(self) -> np.ndarray:
        if self._index is None:
            self._index = read_index(self._folder / INDEX)
            # Beside each other, because a search in the map would read all of it.
            self._keys = np.ascontiguousarray(self._index["key"])
        return self._index

    def _descriptor(self, number: int, path: Path) -> int:
        if number not in self._open:
            if len(self._open) >= _OPEN_SHARDS:
                os.close(self._open.popitem(last=False)[1])
            self._open[number] = os.open(path, os.O_RDONLY)
        self._open.move_to_end(number)
        return self._open[number]


def read_index(path: Path) -> np.ndarray:
    """The entries of a pool, or of one shard, as a map of the file.

    Raises:
        Damaged: not there, cut short, or not ours.
    """
    try:
        found = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise Damaged(f"{path}: cannot be read ({error}); run rule pack_pool again") from error
    if found.dtype != ENTRY:
        raise Damaged(f"{path}: not an index of shards; delete it and run rule pack_pool again")
    return found


class Packed:
    """Audio of training cuts from the shards of their pools.

    Args:
        folders: of the pools, written by `packing.pack`.
    """

    def __init__(self, folders: Sequence[str | Path]):
        self._pools = [_Shards(Path(folder)) for folder in folders]

    @classmethod
    def of(cls, cuts_path: str | Path, folders: Sequence[str | Path]) -> "Packed | None":
        """The shards of a manifest; None where there are none, and files are read.

        Raises:
            UserError: see `require`.
        """
        if not folders:
            return None
        packed = cls(folders)
        packed.require(cuts_path)
        return packed

    def require(self, cuts_path: str | Path) -> None:
        """Check that every cut of a manifest is packed, and every shard as long as it was.

        Raises:
            UserError: naming the first that is not.
        """
        for pool in self._pools:
            pool.require_sizes()
        for cut in cut_lines.read(cuts_path):
            for part in cut_lines.parts(cut):
                source = part["recording"]["sources"][0]["source"]
                if not any(len(pool.entries(source)) for pool in self._pools):
                    raise UserError(
                        f"cut {cut['id']} of {cuts_path}: {source} is in no packed pool; run rule "
                        "pack_pool of its language again, or set training.storage: files"
                    )

    def cuts(self, batch: Any) -> CutSet:
        """The cuts of a batch with their audio in memory. What was not packed, such as the noise
        under a cut, is read from its file as ever.

        Raises:
            Damaged: a shard is not there, cut or altered.
        """
        return CutSet.from_cuts([self._with_audio(cut) for cut in batch])

    def _with_audio(self, cut: Any) -> Any:
        if isinstance(cut, MixedCut):
            tracks = [fastcopy(track, cut=self._with_audio(track.cut)) for track in cut.tracks]
            return fastcopy(cut, tracks=tracks)
        if not getattr(cut, "has_recording", False) or len(cut.recording.sources) != 1:
            return cut
        if (source := self._source(cut)) is None:
            return cut
        return fastcopy(cut, recording=fastcopy(cut.recording, sources=[source]))

    def _source(self, cut: Any) -> AudioSource | None:
        named = cut.recording.sources[0]
        if named.type != "file":
            return None
        for pool in self._pools:
            for entry in pool.entries(named.source):
                if not entry["size"]:
                    continue
                if entry["first"] == WHOLE:
                    return AudioSource("memory", named.channels, pool.bytes_of(entry))
                if _covers(entry, *requested(cut)):
                    first, rate = int(entry["first"]), int(entry["rate"])
                    audio = pool.bytes_of(entry)
                    return _Piece("memory", named.channels, audio, first=first, rate=rate)
        return None


def _covers(entry: Any, offset: Seconds, duration: Seconds | None) -> bool:
    if duration is None:
        return False
    rate = int(entry["rate"])
    first = compute_num_samples(offset, rate)
    end = first + compute_num_samples(duration, rate)
    return int(entry["first"]) <= first and end <= int(entry["first"]) + int(entry["frames"])
