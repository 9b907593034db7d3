"""From a corpus on disk to Lhotse cuts, checked: every file decodes, is as long as it says, and
holds sound."""

import logging
import math
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
import soundfile

from warmstart.data import cut_lines, mpeg
from warmstart.data.corpora.base import Corpus, Seconds, Utterance
from warmstart.run import files
from warmstart.run.errors import UserError
from warmstart.run.logs import MinuteTicker

log = logging.getLogger(__name__)

SAMPLE_RATE = 16000
_LISTED_DROPS = 1000
_BLOCK_FRAMES = 1 << 20
# The header of a compressed file may be off by a codec frame; more means a file cut short.
_MISSING_S = 0.1


@dataclass(frozen=True, slots=True)
class Audio:
    """What a file holds: rate in Hz, channels, frames as decoded; or why it cannot be used."""

    sample_rate: int = 0
    channels: int = 0
    frames: int = 0
    problem: str | None = None
    detail: str = ""

    @property
    def duration_s(self) -> Seconds:
        return self.frames / self.sample_rate if self.sample_rate else 0.0


def probe(path: Path, decode: bool = True) -> Audio:
    """Look at an audio file.

    Args:
        decode: read every sample, in blocks (a 10-hour session needs 4 MB), which alone finds files
            cut short, NaN and silence. Without it only the header is read.

    Returns:
        Its form; with `problem` one of missing_file, undecodable, zero_length, truncated (cut
        short, or libsndfile cannot read it to its end), not_finite, silent.
    """
    try:
        with soundfile.SoundFile(path) as stream:
            rate, channels, frames = stream.samplerate, stream.channels, stream.frames
            counted = mpeg.samples(path) if stream.format in ("MP3", "MPEG") else None
            if counted is not None and frames < counted - _MISSING_S * rate:
                detail = (
                    f"its bit rate varies and its length is not noted: {frames} of {counted} "
                    "samples can be read; convert it"
                )
                return Audio(rate, channels, frames, "truncated", detail)
            if not decode:
                frames = frames if counted is None else min(frames, counted)
                return Audio(rate, channels, frames, None if frames > 0 else "zero_length")
            decoded, peak = 0, 0.0
            while len(block := stream.read(_BLOCK_FRAMES, dtype="float32")):
                decoded += len(block)
                # The channel that cuts are read on: speech on another one only would be trained on
                # as silence.
                heard = block if channels == 1 else block[:, 0]
                largest = float(np.abs(heard).max())
                # max() propagates NaN and infinity: one pass finds all three.
                if not math.isfinite(largest):
                    return Audio(rate, channels, decoded, "not_finite", "NaN or infinite samples")
                peak = max(peak, largest)
    except soundfile.LibsndfileError as error:
        return Audio(problem="undecodable" if path.is_file() else "missing_file", detail=str(error))
    if decoded == 0:
        return Audio(rate, channels, 0, "zero_length")
    if counted is None and decoded < frames - _MISSING_S * rate:
        return Audio(rate, channels, decoded, "truncated", f"{decoded} of {frames} samples")
    if peak == 0.0:
        return Audio(
            rate,
            channels,
            decoded,
            "silent",
            f"every sample{' of the first channel' * (channels > 1)} is zero",
        )
    return Audio(rate, channels, decoded)


def _resampled_frames(frames: int, rate: int) -> int:
    """Samples at 16 kHz, counted as Lhotse's `Recording.resample` counts them (half up)."""
    return math.floor(frames / rate * SAMPLE_RATE + 0.5)


def recording(recording_id: str, path: Path, audio: Audio) -> dict[str, Any]:
    """Lhotse `Recording` of a file: 16 kHz on load, by a lazy transform where the file has another
    rate.

    The same dict as `Recording.from_file(path).resample(16000).to_dict()` (tested).
    """
    made: dict[str, Any] = {
        "id": recording_id,
        "sources": [{"type": "file", "channels": list(range(audio.channels)), "source": str(path)}],
        "sampling_rate": audio.sample_rate,
        "num_samples": audio.frames,
        "duration": audio.duration_s,
        "channel_ids": list(range(audio.channels)),
    }
    if audio.sample_rate != SAMPLE_RATE:
        frames = _resampled_frames(audio.frames, audio.sample_rate)
        made |= {
            "sampling_rate": SAMPLE_RATE,
            "num_samples": frames,
            "duration": frames / SAMPLE_RATE,
        }
        made["transforms"] = [
            {
                "name": "Resample",
                "kwargs": {
                    "source_sampling_rate": audio.sample_rate,
                    "target_sampling_rate": SAMPLE_RATE,
                },
            }
        ]
    return made


def on_grid(time_s: Seconds) -> Seconds:
    """A time on a whole sample at 16 kHz, downwards like VoxPopuli's official script, so that cut
    lengths are exact."""
    return int(time_s * SAMPLE_RATE) / SAMPLE_RATE


def make_cut(corpus: Corpus, split: str, utterance: Utterance, audio: Audio) -> dict[str, Any]:
    """The Lhotse cut of an utterance.

    One interval, or the whole file, gives a `MonoCut`. Several intervals of a long recording
    (VoxPopuli's speech without its pauses) give a `MixedCut` that appends them on load: nothing is
    re-encoded on disk. Its supervision lies on the first track. A file with several channels is
    read on its first.
    """
    cut_id = f"{corpus.name}-{corpus.lang}-{split}-{utterance.id}"
    custom = {"block": utterance.block, "corpus": corpus.name}
    recording_id = (
        f"{corpus.name}-{corpus.lang}-{utterance.audio.stem}" if utterance.intervals else cut_id
    )
    whole = recording(recording_id, utterance.audio, audio)
    intervals = utterance.intervals or ((0.0, whole["duration"]),)
    pieces = []
    for start_s, end_s in intervals:
        start = on_grid(start_s)
        pieces.append((start, min(on_grid(end_s), whole["duration"]) - start))
    total = sum(length for _, length in pieces)
    supervision: dict[str, Any] = {
        "id": cut_id,
        "recording_id": whole["id"],
        "start": 0.0,
        # Lhotse allows a supervision to reach past its cut; here it covers all the joined pieces.
        "duration": round(total, 8),
        "channel": 0,
        "text": utterance.text,
        "language": corpus.lang,
    }
    if utterance.speaker is not None:
        supervision["speaker"] = utterance.speaker
    tracks, offset = [], 0.0
    for number, (start, length) in enumerate(pieces):
        piece = {
            "id": cut_id if len(pieces) == 1 else f"{cut_id}-{number}",
            "start": start,
            "duration": round(length, 8),
            "channel": 0,
            "supervisions": [supervision] if number == 0 else [],
            "recording": whole,
        }
        if number == 0:
            piece["custom"] = custom
        tracks.append(
            {"cut": piece | {"type": "MonoCut"}, "type": "MonoCut", "offset": round(offset, 8)}
        )
        offset += length
    return (
        tracks[0]["cut"]
        if len(tracks) == 1
        else {"id": cut_id, "tracks": tracks, "type": "MixedCut"}
    )


def _in_order(calls: Iterable[Callable[[], Any]], threads: int) -> Iterator[Any]:
    """Results of `calls` in order, `threads` at a time; never more than a few hundred waiting."""
    with ThreadPoolExecutor(threads) as pool:
        waiting: deque[Future] = deque()
        for call in calls:
            waiting.append(pool.submit(call))
            if len(waiting) >= 64 * threads:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()


def build(
    corpus: Corpus, split: str, directory: Path, output: Path, report: Path, threads: int = 1
) -> dict[str, Any]:
    """Write the manifest of one split and its report.

    Dropped, with id and reason in the report: audio that is missing, does not decode, is cut short,
    empty, silent or not finite (see `probe`); intervals outside their file; an id that occurred
    before (the second one); a transcript that is empty or not Unicode.

    Options of the corpus that are used: `verify`, and `max_drop_fraction` of the utterances.

    Returns:
        The report.

    Raises:
        UserError: nothing readable, or more than `max_drop_fraction` dropped. No manifest is
            written then; the report is.
    """
    verify = corpus.options["verify"]
    allowed_share = float(corpus.options["max_drop_fraction"])
    kept, kept_s, read = 0, 0.0, 0
    seen: set[str] = set()
    blocks: set[str] = set()
    speakers: set[str] = set()
    rates: Counter[str] = Counter()
    reasons: dict[str, dict[str, float]] = {}
    dropped: list[dict[str, Any]] = []
    lengths: list[float] = []
    ticker = MinuteTicker()

    def drop(utterance: Utterance, reason: str, length_s: Seconds, detail: str) -> None:
        entry = reasons.setdefault(reason, {"cuts": 0, "hours": 0.0})
        entry["cuts"] += 1
        entry["hours"] += length_s / 3600
        if len(dropped) < _LISTED_DROPS:
            dropped.append(
                {
                    "id": utterance.id,
                    "reason": reason,
                    "audio": str(utterance.audio),
                    "detail": detail,
                }
            )

    def probed() -> Iterator[tuple[list[Utterance], Audio]]:
        def calls():
            for path, group in groupby(
                corpus.read(directory, split), key=lambda utterance: utterance.audio
            ):
                members = list(group)
                yield lambda path=path, members=members: (
                    members,
                    probe(path, decode=verify == "decode"),
                )

        return _in_order(calls(), threads)

    with files.atomic_path(output) as temporary:
        with cut_lines.writing(temporary) as stream:
            for group, audio in probed():
                for utterance in group:
                    read += 1
                    intervals = utterance.intervals or ((0.0, audio.duration_s),)
                    length_s = sum(end - start for start, end in intervals)
                    if audio.problem:
                        drop(utterance, audio.problem, length_s, audio.detail)
                    elif utterance.id in seen:
                        drop(utterance, "duplicate_id", length_s, "the first one was kept")
                    elif not utterance.text.strip():
                        drop(utterance, "empty_text", length_s, "")
                    elif problem := _not_text(utterance.text):
                        drop(utterance, "not_text", length_s, problem)
                    elif problem := _bad_intervals(utterance, audio):
                        drop(utterance, "bad_interval", max(0.0, length_s), problem)
                    else:
                        seen.add(utterance.id)
                        cut = make_cut(corpus, split, utterance, audio)
                        stream.write(cut_lines.line(cut))
                        kept += 1
                        kept_s += (length := cut_lines.duration_s(cut))
                        lengths.append(length)
                        blocks.add(utterance.block)
                        rates[str(audio.sample_rate)] += 1
                        if utterance.speaker is not None:
                            speakers.add(utterance.speaker)
                    if ticker.due():
                        log.info(
                            "%s/%s/%s: %d utterances, %.1f h",
                            corpus.name,
                            corpus.lang,
                            split,
                            read,
                            kept_s / 3600,
                        )
        n_dropped = read - kept
        result = {
            "corpus": corpus.name,
            "lang": corpus.lang,
            "split": split,
            "verify": verify,
            "kept": {
                "cuts": kept,
                "hours": kept_s / 3600,
                "speakers": len(speakers),
                "blocks": len(blocks),
            },
            "dropped": reasons,
            "dropped_fraction": n_dropped / read if read else 0.0,
            "dropped_ids": dropped,
            "dropped_ids_complete": n_dropped == len(dropped),
            "source_sample_rates": dict(rates),
            "duration_s": _quantiles(lengths),
        }
        files.write_json(report, result)
        name = f"{corpus.name}/{corpus.lang}/{split}"
        if not read:
            raise UserError(
                f"{name}: no utterance; check the split's name and the corpus's table under "
                f"{directory}"
            )
        if n_dropped and (not kept or n_dropped > allowed_share * read):
            first = "; ".join(
                f"{d['audio']}: {d['reason']} {d['detail']}".rstrip() for d in dropped[:3]
            )
            raise UserError(
                f"{name}: {n_dropped} of {read} utterances cannot be used ({_listing(reasons)}), "
                "more than max_drop_fraction = "
                f"{allowed_share:g}; first: {first}. Mend the files, or raise max_drop_fraction in "
                "the corpus's block"
            )
    log.info(
        "%s: %d cuts, %.2f h kept; dropped: %s",
        name,
        kept,
        kept_s / 3600,
        _listing(reasons) or "none",
    )
    return result


def _not_text(text: str) -> str:
    """Why a transcript cannot be written as UTF-8, or an empty string: JSON may hold half of a
    surrogate pair."""
    try:
        text.encode()
    except UnicodeEncodeError as error:
        return (
            f"{text[error.start : error.end].encode('unicode_escape').decode()} at character "
            f"{error.start}"
        )
    return ""


def _bad_intervals(utterance: Utterance, audio: Audio) -> str:
    """What is wrong with an utterance's intervals, or an empty string."""
    for start, end in utterance.intervals or ():
        if not 0 <= start < end:
            return f"{start:.3f}-{end:.3f} s is empty"
        if on_grid(start) >= audio.duration_s:
            return f"starts at {start:.3f} s, the file ends at {audio.duration_s:.3f} s"
        # A tenth of a second over is rounding in the annotation; the cut is trimmed to the file.
        if end > audio.duration_s + 0.1:
            return f"ends at {end:.3f} s, the file at {audio.duration_s:.3f} s"
    return ""


def _quantiles(values: list[float]) -> dict[str, float] | None:
    if not values:
        return None
    points = np.quantile(np.asarray(values), [0, 0.05, 0.5, 0.95, 1])
    return dict(
        zip(
            ("min", "p05", "median", "p95", "max"),
            (round(float(point), 3) for point in points),
            strict=True,
        )
    )


def _listing(reasons: dict[str, dict[str, float]]) -> str:
    return ", ".join(
        f"{reason} {entry['cuts']} ({entry['hours']:.2f} h)"
        for reason, entry in sorted(reasons.items())
    )
