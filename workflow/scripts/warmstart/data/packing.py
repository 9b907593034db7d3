"""Packs the audio of a pool into shards, once, in the pool's order: a budget, which is a prefix of
the pool, needs a prefix of the shards.

Samples are those that the files give, bit for bit. Of a recording of which a cut is half or more
the bytes of the file are copied. Of a longer one (a session of VoxPopuli) the frames of the cut are
kept with 10 ms on either side, which a change of speed may ask for by rounding: as FLAC where the
recording has samples of 16 or 24 bits, else as AU of 32-bit floats, because what an MP3 or a
Vorbis decoder says fits no integer. They are compared with what the recording itself gives. What
cannot be packed so is left where it is, counted by reason, and read from there.

A shard has 1000 cuts, and what it needs is in it: each can be packed anew alone.
"""

import io
import json
import logging
import tarfile
import zlib
from collections import Counter, deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from hashlib import blake2b
from itertools import islice
from pathlib import Path
from typing import IO, Any

import numpy as np
import soundfile
from lhotse.serialization import deserialize_item
from lhotse.utils import compute_num_samples

from warmstart.data import cut_lines, shar
from warmstart.run import files

log = logging.getLogger(__name__)

SHARD_CUTS = 1000
# Of the recording; below it the cut's own frames are kept.
_WHOLE_SHARE = 0.5
_MARGINS_PER_S = 100
_INTEGERS = {"PCM_16": "int16", "PCM_24": "int32"}
_FLAC_CHANNELS = 8
# Decoders that remember more than the frame before: after a seek their samples depend on its place.
# With libsndfile 1.2.2 most of 30 intervals of an MP3, and one of an Opus file, were other samples
# when they were read with their margin.
_REMEMBERING = ("MPEG_LAYER_I", "MPEG_LAYER_II", "MPEG_LAYER_III", "OPUS")
# Not WAV, in which libsndfile notes the time: the same pool gives the same bytes.
_FLOATS = {"format": "AU", "subtype": "FLOAT"}
_BLOCK_BYTES = tarfile.BLOCKSIZE


class _Unfit(Exception):
    """Why a recording is left where it is."""


@dataclass
class _Shard:
    """A shard while it is written: entries, and what became of its recordings."""

    number: int
    stream: IO[bytes]
    entries: list[tuple[Any, ...]]
    counts: Counter[str]

    def add(self, part: Any, source: str) -> None:
        """Put in what a cut of one recording needs."""
        key = shar.key_of(source)
        try:
            name, data, manifest, span = _packed(part, Path(source))
        except _Unfit as why:
            self.counts[f"left_in_files:{why}"] += 1
            self.entries.append((*key, 0, 0, 0, self.number, 0, 0, 0))
            return
        self.counts[f"packed_as:{name.rpartition('.')[2]}"] += 1
        offset = self._member(name, data)
        self._member(f"{part.id}.json", json.dumps(manifest).encode())
        place = (self.number, offset, len(data), zlib.crc32(data))
        self.entries.append((*key, *span, *place))

    def _member(self, name: str, data: bytes) -> int:
        """Add a member; where its data begins."""
        about = tarfile.TarInfo(name)
        about.size = len(data)
        self.stream.write(about.tobuf(tarfile.PAX_FORMAT))
        offset = self.stream.tell()
        self.stream.write(data)
        self.stream.write(b"\0" * (-len(data) % _BLOCK_BYTES))
        return offset

    def end(self) -> None:
        """Two empty blocks, as tar has them."""
        self.stream.write(b"\0" * 2 * _BLOCK_BYTES)


def pack(
    pool: Path,
    index: Path,
    report: Path,
    version: int,
    threads: int = 1,
    shard_cuts: int = SHARD_CUTS,
) -> dict[str, Any]:
    """Pack the audio of a pool. Shards that are there already and whole stay; one that is cut,
    altered or of another pool is named in the log and packed again.

    Args:
        pool: written by `pool.build`, or any manifest of cuts.
        index: `index.npy`; the shards are written beside it.
        report: see below.
        version: of the stage; shards of another one are packed again.
        threads: shards that are packed at a time.

    Returns:
        The report: `cuts`, `shards`, `bytes`, and how many recordings, or parts of them, were
        packed in which form, and left in files for which reason (unreadable; needs_its_name: the
        decoder knows the format by the name of the file only; seek_not_exact: after a
        seek the samples depend on its place, as those of MP3 and Opus do; several_sources).

    Raises:
        UserError: the pool is damaged.
    """
    folder = index.parent
    folder.mkdir(parents=True, exist_ok=True)
    made = list(_in_order(_lines(pool, shard_cuts), folder, version, threads))
    for path in folder.glob("[0-9]*.*"):
        if int(path.name.partition(".")[0]) >= len(made):
            path.unlink()
    counts: Counter[str] = Counter()
    for one in made:
        counts.update(one["counts"])
    forms = {
        kind: {name.partition(":")[2]: counts[name] for name in sorted(counts) if kind in name}
        for kind in ("packed_as", "left_in_files")
    }
    sums = {name: sum(one[name] for one in made) for name in ("cuts", "bytes")}
    result = {"shards": len(made), **sums, **forms}
    entries = [shar.read_index(_entries_path(folder, number)) for number in range(len(made))]
    whole = np.concatenate([np.empty(0, shar.ENTRY), *entries])
    _write_entries(index, whole[np.argsort(whole["key"], kind="stable")])
    files.write_json(report, result)
    log.info("%s: %s", pool, result)
    return result


def _lines(pool: Path, count: int) -> Iterator[tuple[int, list[dict[str, Any]]]]:
    """(number of the shard, its cuts)."""
    cuts, number = cut_lines.read(pool), 0
    while chunk := list(islice(cuts, count)):
        yield number, chunk
        number += 1


def _in_order(
    shards: Iterable[tuple[int, list[dict[str, Any]]]], folder: Path, version: int, threads: int
) -> Iterator[dict[str, Any]]:
    """Records of the shards; few are waiting at a time, because each holds its cuts."""
    with ThreadPoolExecutor(threads) as workers:
        waiting: deque[Future[dict[str, Any]]] = deque()
        for number, cuts in shards:
            waiting.append(workers.submit(_shard, folder, number, cuts, version))
            if len(waiting) > 2 * threads:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()


def _shard(folder: Path, number: int, cuts: list[dict[str, Any]], version: int) -> dict[str, Any]:
    """One shard, its entries and its record; packed unless it is there as it was recorded."""
    path, record = folder / shar.shard_name(number), folder / f"{number:06d}.json"
    plan = _plan(cuts, version)
    if (kept := _kept(path, record, _entries_path(folder, number), plan)) is not None:
        return kept
    # Last, so that a shard with a record is whole; and gone first, so that none has another's.
    record.unlink(missing_ok=True)
    with files.explaining_full_disk(path), files.atomic_path(path) as temporary:
        with open(temporary, "wb") as stream:
            shard = _Shard(number, stream, [], Counter())
            for part, source in _recordings(cuts):
                shard.add(part, source)
            shard.end()
        digest, size = files.digest(temporary), temporary.stat().st_size
    _write_entries(_entries_path(folder, number), np.array(shard.entries, shar.ENTRY))
    made = {
        **{"plan": plan, "cuts": len(cuts), "bytes": size, "sha256": digest},
        "entries_sha256": files.digest(_entries_path(folder, number)),
        "counts": dict(sorted(shard.counts.items())),
    }
    files.write_json(record, made)
    log.info("%s: %d cuts, %d bytes", path, len(cuts), size)
    return made


def _kept(path: Path, record: Path, entries: Path, plan: str) -> dict[str, Any] | None:
    """The record of a shard that need not be packed; None of one that must be."""
    made = files.read_if_whole(record, dict, f"{path} is packed again", aside=False)
    if made is None:
        return None
    if made.get("plan") != plan:
        log.info("%s: of other cuts or another version; packed again", path)
        return None
    if not path.is_file() or not entries.is_file():
        log.warning("%s: gone, or its entries are; packed again", path)
    elif path.stat().st_size != made["bytes"]:
        log.warning(
            "%s: cut or altered, %d of %d bytes; packed again",
            *(path, path.stat().st_size, made["bytes"]),
        )
    elif (files.digest(path), files.digest(entries)) != (made["sha256"], made["entries_sha256"]):
        log.warning("%s: altered, its digest is another one; packed again", path)
    else:
        return made
    return None


def _plan(cuts: list[dict[str, Any]], version: int) -> str:
    """Digest of all that a shard follows from but the audio itself."""
    state = blake2b(f"{version}".encode(), digest_size=16)
    for cut in cuts:
        for part in cut_lines.parts(cut):
            asked = [part["id"], part["start"], part["duration"], part["recording"]]
            state.update(json.dumps(asked, sort_keys=True).encode())
    return state.hexdigest()


def _recordings(cuts: list[dict[str, Any]]) -> Iterator[tuple[Any, str]]:
    """(cut of one recording, its file), what several cuts share once."""
    seen = set()
    for cut in cuts:
        for line in cut_lines.parts(cut):
            part = deserialize_item({**line, "type": line.get("type", "MonoCut")})
            source = str(part.recording.sources[0].source)
            place = (source, None if _is_whole(part) else (part.start, part.duration))
            if place not in seen:
                seen.add(place)
                yield part, source


def _is_whole(part: Any) -> bool:
    return part.duration >= _WHOLE_SHARE * part.recording.duration


def _packed(part: Any, path: Path) -> tuple[str, bytes, dict[str, Any], tuple[int, int, int]]:
    """Name of a member, its bytes, the Lhotse recording that it is, and (first, frames, rate) of
    the entry."""
    if len(part.recording.sources) != 1 or part.recording.sources[0].type != "file":
        raise _Unfit("several_sources")
    try:
        return _whole(part, path) if _is_whole(part) else _piece(part, path)
    except (OSError, soundfile.LibsndfileError):
        raise _Unfit("unreadable") from None


def _whole(part: Any, path: Path) -> tuple[str, bytes, dict[str, Any], tuple[int, int, int]]:
    data, named = path.read_bytes(), _form(soundfile.info(path))
    try:
        in_memory = _form(soundfile.info(io.BytesIO(data)))
    except soundfile.LibsndfileError:
        in_memory = None
    if in_memory != named:
        raise _Unfit("needs_its_name")
    manifest = part.recording.to_dict() | {"sources": _placeholder(part)}
    suffix = path.suffix.lower() or ".audio"
    return f"{part.id}{suffix}", data, manifest, (shar.WHOLE, 0, 0)


def _form(info: Any) -> tuple[Any, ...]:
    return info.samplerate, info.channels, info.frames, info.format, info.subtype


def _piece(part: Any, path: Path) -> tuple[str, bytes, dict[str, Any], tuple[int, int, int]]:
    offset_s, duration_s = shar.requested(part)
    with soundfile.SoundFile(path) as stream:
        rate, subtype = stream.samplerate, stream.subtype
        if subtype in _REMEMBERING:
            raise _Unfit("seek_not_exact")
        start, count = (compute_num_samples(time_s, rate) for time_s in (offset_s, duration_s))
        margin = rate // _MARGINS_PER_S
        first = max(0, start - margin)
        frames = start + count + margin - first
        integers = stream.channels <= _FLAC_CHANNELS and _INTEGERS.get(subtype)
        stream.seek(first)
        samples = stream.read(frames, dtype=integers or "float32", always_2d=True)
    # As Lhotse reads it: from a file that was just opened.
    expected, _ = soundfile.read(path, count, start, dtype="float32", always_2d=True)
    form = {"format": "FLAC", "subtype": subtype} if integers else _FLOATS
    packed = io.BytesIO()
    soundfile.write(packed, samples, rate, **form)
    data = packed.getvalue()
    given, _ = soundfile.read(
        io.BytesIO(data), count, start - first, dtype="float32", always_2d=True
    )
    if not np.array_equal(given, expected):
        raise _Unfit("seek_not_exact")
    manifest = {
        **{"id": part.id, "sources": _placeholder(part), "sampling_rate": rate},
        **{"num_samples": len(samples), "duration": len(samples) / rate},
        "channel_ids": list(part.recording.channel_ids),
    }
    suffix = "flac" if integers else "au"
    return f"{part.id}.{suffix}", data, manifest, (first, frames, rate)


def _placeholder(part: Any) -> list[dict[str, Any]]:
    return [{"type": "shar", "channels": list(part.recording.channel_ids), "source": ""}]


def _entries_path(folder: Path, number: int) -> Path:
    return folder / f"{number:06d}.npy"


def _write_entries(path: Path, entries: np.ndarray) -> None:
    with files.atomic_path(path) as temporary, open(temporary, "wb") as stream:
        np.save(stream, entries, allow_pickle=False)
