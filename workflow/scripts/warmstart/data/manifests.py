"""From a corpus on disk to Lhotse cuts, checked: every file decodes, is as long as it says, and
holds sound; every row of its tables is kept, dropped with a reason, or of another split."""

import difflib
import hashlib
import logging
import math
import os
import stat
import unicodedata
from array import array
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
import soundfile

from warmstart.data import containers, cut_lines, digests, mpeg
from warmstart.data.corpora.base import BadRow, Corpus, Rows, Seconds, Utterance
from warmstart.run import files
from warmstart.run.errors import UserError
from warmstart.run.logs import MinuteTicker

log = logging.getLogger(__name__)

SAMPLE_RATE = 16000
_LISTED_DROPS = 1000
_BLOCK_FRAMES = 1 << 20
# The header of a compressed file may be off by a codec frame; more means a file cut short.
_MISSING_S = 0.1
# Tables may state a length before resampling or trimming to codec frames.
_MISSING_FRACTION = 0.01
# Sizes that containers note are exact; some writers count a head of 44 bytes as samples.
_MISSING_IN_CONTAINER_S = 0.01
# Telephone speech has 8 kHz, studio converters at most 768 kHz.
_RATES = (4000, 768_000)
_LONGEST_S = 1000 * 3600
# 18 dB over full scale, which is 1: what gain or resampling leaves in a file of floats stays below.
# Floats that were never divided by 32768 lie above, and so do broken samples, whose squares make a
# loss infinite.
_LOUDEST = 8.0
_UNKNOWN_LENGTH = 1 << 62


@dataclass(frozen=True, slots=True)
class Audio:
    """What a file holds: rate in Hz, channels, frames as decoded; or why it cannot be used.
    `digest` is of the decoded samples of the channel that is used; empty where none was taken."""

    sample_rate: int = 0
    channels: int = 0
    frames: int = 0
    problem: str | None = None
    detail: str = ""
    digest: bytes = b""

    @property
    def duration_s(self) -> Seconds:
        return self.frames / self.sample_rate if self.sample_rate else 0.0


def probe(path: Path, decode: bool = True) -> Audio:
    """Look at an audio file.

    Args:
        decode: read every sample, in blocks (a 10-hour session needs 4 MB), which alone finds NaN,
            silence, samples beyond measure, holes, and MP3 and FLAC files cut short. Without it
            only the header is read, and what a container says at its end.

    Returns:
        Its form; with `problem` one of missing_file (also what is no file), undecodable,
        unchecked_format (none of `containers.CHECKED`), unknown_length (it cannot be loaded in
        parts then), bad_rate, bad_length, zero_length, truncated (cut short, or libsndfile cannot
        read it to its end), not_finite, too_loud, silent.
    """
    if problem := _no_file(path):
        return Audio(problem="missing_file", detail=problem)
    try:
        with soundfile.SoundFile(path) as stream:
            return _listen(path, stream, decode)
    except soundfile.LibsndfileError as error:
        return Audio(problem="undecodable", detail=_why_undecodable(path, error))
    except OSError as error:
        return Audio(problem="undecodable", detail=str(error.strerror))


def _listen(path: Path, stream: soundfile.SoundFile, decode: bool) -> Audio:
    """`probe` of a file that libsndfile opened."""
    rate, channels, frames = stream.samplerate, stream.channels, stream.frames

    def unfit(problem: str, detail: str, frames: int = 0) -> Audio:
        return Audio(rate, channels, frames, problem, detail)

    if not _RATES[0] <= rate <= _RATES[1]:
        return unfit(
            "bad_rate", f"{rate} Hz; {_RATES[0]} to {_RATES[1]} Hz is what speech may have"
        )
    if stream.format not in containers.CHECKED:
        detail = f"of {stream.format} a file that was cut short cannot be told from a whole one"
        return unfit("unchecked_format", f"{detail}; {_to_flac(path)}")
    if frames >= _UNKNOWN_LENGTH:
        detail = "its length is not noted, as in a file that was written to a pipe"
        return unfit("unknown_length", f"{detail}; write it again, e.g. ffmpeg -i OLD NEW")
    if frames > _LONGEST_S * rate:
        return unfit("bad_length", f"{frames / rate / 3600:.0f} h by its header")
    if stream.format == "OGG" and (fault := containers.ogg_fault(path, whole=decode)):
        return unfit("truncated", fault, frames)
    announced, missing = containers.missing_bytes(path, stream.format)
    there = announced - missing
    if missing and (not there or missing / there * frames > _MISSING_IN_CONTAINER_S * rate):
        detail = f"{missing} of {announced} bytes that its header announces are missing"
        return unfit("truncated", detail, frames)
    if byte := containers.second_file(path, stream.format, decode):
        return unfit(
            "truncated", f"a second file begins at byte {byte}; join them as audio", frames
        )
    if stream.format in ("MP3", "MPEG") and (byte := mpeg.second_stream(path)):
        return unfit("truncated", f"a second stream begins at byte {byte}; convert it", frames)
    counted = mpeg.samples(path) if stream.format in ("MP3", "MPEG") else None
    if counted is not None and frames < counted - _MISSING_S * rate:
        detail = (
            f"its bit rate varies and its length is not noted: {frames} of {counted} "
            "samples can be read; convert it"
        )
        return unfit("truncated", detail, frames)
    if not decode:
        frames = frames if counted is None else min(frames, counted)
        return Audio(rate, channels, frames, None if _samples(frames, rate) else "zero_length")
    frames, noted = 0, frames if counted is None else 0
    peak, digest = 0.0, hashlib.blake2b(f"{rate}".encode(), digest_size=16)
    while len(block := stream.read(max(1, _BLOCK_FRAMES // channels), dtype="float32")):
        frames += len(block)
        # The channel that cuts are read on: speech on another one only would be trained on as
        # silence.
        heard = block if channels == 1 else np.ascontiguousarray(block[:, 0])
        largest = float(np.abs(heard).max())
        # max() propagates NaN and infinity: one pass finds all three.
        if not math.isfinite(largest):
            return unfit("not_finite", "NaN or infinite samples", frames)
        peak = max(peak, largest)
        # Floats have two zeros, and a copy in integers one.
        digest.update((heard + np.float32(0)).data)
    if not _samples(frames, rate):
        return unfit("zero_length", f"{frames} samples in {path.stat().st_size} bytes", frames)
    if frames < noted - _MISSING_S * rate:
        return unfit("truncated", f"{frames} of {noted} samples", frames)
    if peak > _LOUDEST:
        return unfit("too_loud", _loudness(peak), frames)
    if peak == 0.0:
        of_channel = " of the first channel" * (channels > 1)
        return unfit("silent", f"every sample{of_channel} is zero", frames)
    return Audio(rate, channels, frames, digest=digest.digest())


def _no_file(path: Path) -> str:
    """Why there is no file to open, or an empty string. A pipe or a device is never opened: it may
    block or have no end."""
    try:
        mode = path.stat().st_mode
    except FileNotFoundError:
        return _other_name(path) or "no such file"
    except (OSError, ValueError) as error:  # ValueError: a NUL in the name
        return getattr(error, "strerror", None) or str(error)
    if not stat.S_ISREG(mode):
        kind = "a folder" if stat.S_ISDIR(mode) else "a pipe, a socket or a device"
        return f"{kind}, not a file"
    return "" if os.access(path, os.R_OK) else "no permission to read it"


def _other_name(path: Path) -> str:
    """A file that is there under nearly this name, or an empty string."""
    name = str(path)
    forms = {
        "composed characters (Unicode NFC)": unicodedata.normalize("NFC", name),
        "characters taken apart (Unicode NFD)": unicodedata.normalize("NFD", name),
        "no blank at an end": str(path.with_name(path.name.strip() or path.name)),
        "/ for \\": name.replace("\\", "/"),
        "an ending in lower case": str(path.with_suffix(path.suffix.lower())),
        "an ending in upper case": str(path.with_suffix(path.suffix.upper())),
    }
    for form, other in forms.items():
        if other != name and os.path.isfile(other):
            return f"no such file, but one with {form}; write its name as it is"
    return "no such file"


def _why_undecodable(path: Path, error: soundfile.LibsndfileError) -> str:
    if not path.stat().st_size:
        return "the file is empty"
    problem = error.error_string.rstrip(".")
    if error.code in _FOREIGN:
        return f"{problem}; {_to_flac(path)}"
    return problem


def _to_flac(path: Path) -> str:
    """What to do with a format that is not read; ffmpeg does not write over what it reads."""
    if path.suffix.lower() == ".flac":
        return "it is no FLAC, whatever its name; fetch it again, or convert what it is"
    return f"convert it to WAV or FLAC, e.g. ffmpeg -i {path.name} {path.stem}.flac"


# SF_ERR_UNRECOGNISED_FORMAT, SF_ERR_UNSUPPORTED_ENCODING of sndfile.h.
_FOREIGN = (1, 4)


def _loudness(peak: float) -> str:
    scale = "; divide its samples by 32768" if _LOUDEST < peak <= 32768 else ""
    return f"a sample of {peak:.3g}, where full scale is 1 and {_LOUDEST:g} the most{scale}"


def _samples(frames: int, rate: int) -> int:
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
        frames = _samples(audio.frames, audio.sample_rate)
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


def pieces_of(utterance: Utterance, audio: Audio) -> list[tuple[int, int]]:
    """(start, length) in samples at 16 kHz of each part of an utterance that holds a sample. Times
    are taken down to a sample, like `on_grid`; an end past the file is the file's."""
    there = _samples(audio.frames, audio.sample_rate)
    pieces = []
    for start_s, end_s in utterance.intervals or ((0.0, audio.duration_s + 1.0),):
        start = int(start_s * SAMPLE_RATE)
        length = min(int(end_s * SAMPLE_RATE), there) - start
        if length > 0:
            pieces.append((start, length))
    return pieces


def _parts(utterance: Utterance, audio: Audio) -> list[tuple[int, int]] | None:
    """`pieces_of` an utterance; None where it is the whole file. An interval that leaves out less
    than 10 ms at the end is the whole: annotations round lengths."""
    pieces = pieces_of(utterance, audio)
    there = _samples(audio.frames, audio.sample_rate)
    whole = len(pieces) == 1 and pieces[0][0] == 0 and pieces[0][1] > there - SAMPLE_RATE // 100
    return None if whole else pieces


def make_cut(corpus: Corpus, split: str, utterance: Utterance, audio: Audio) -> dict[str, Any]:
    """The Lhotse cut of an utterance.

    One interval, or the whole file, gives a `MonoCut`. Several intervals of a long recording
    (VoxPopuli's speech without its pauses) give a `MixedCut` that appends them on load: nothing is
    re-encoded on disk. Its supervision lies on the first track. A file with several channels is
    read on its first.
    """
    cut_id = corpus.cut_id(split, utterance)
    custom = {"block": utterance.block, "corpus": corpus.name}
    recording_id = (
        f"{corpus.name}-{corpus.lang}-{utterance.audio.stem}" if utterance.intervals else cut_id
    )
    whole = recording(recording_id, utterance.audio, audio)
    intervals = utterance.intervals or ((0.0, whole["duration"]),)
    pieces = []
    for start_s, end_s in intervals:
        start = on_grid(start_s)
        length = min(on_grid(end_s), whole["duration"]) - start
        if length > 0:  # an interval of no whole sample, beside others
            pieces.append((start, length))
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


class _Tally:
    """What became of the utterances and rows of a split: counts, and the first of those dropped."""

    def __init__(self) -> None:
        self.kept = 0
        self.kept_s: Seconds = 0.0
        self.reasons: dict[str, dict[str, float]] = {}
        self.dropped = 0
        self.bad_rows = 0  # of those dropped, rows that are no utterance
        self.of_no_split = 0  # of these, those of which nobody knows the split
        self.listed: list[dict[str, Any]] = []

    def drop(self, name: str, reason: str, length_s: Seconds, detail: str, audio: str) -> None:
        """Count an utterance or a row."""
        entry = self.reasons.setdefault(reason, {"cuts": 0, "hours": 0.0})
        entry["cuts"] += 1
        # Nothing was checked: a length may be negative, infinite or NaN.
        if math.isfinite(length_s) and length_s > 0:
            entry["hours"] += length_s / 3600
        self.dropped += 1
        if len(self.listed) < _LISTED_DROPS:
            entry = {"id": name, "reason": reason, "audio": audio, "detail": detail}
            self.listed.append({key: _printable(value) for key, value in entry.items()})

    def drop_row(self, row: BadRow) -> None:
        """Count a row that is no utterance."""
        self.drop(row.id, row.reason, 0.0, row.detail, "")
        self.bad_rows += 1
        self.of_no_split += not row.of_split

    @property
    def fraction(self) -> float:
        """Share of the split's own utterances and rows that were dropped."""
        of_split = self.kept + self.dropped - self.of_no_split
        return (self.dropped - self.of_no_split) / of_split if of_split else 0.0

    def listing(self) -> str:
        """Reasons with cuts and hours."""
        return ", ".join(
            f"{reason} {entry['cuts']} ({entry['hours']:.2f} h)"
            for reason, entry in sorted(self.reasons.items())
        )


def _printable(text: str) -> str:
    """A text that UTF-8 can hold: file names and JSON may have halves of characters."""
    return text.encode("utf-8", "backslashreplace").decode()


def build(
    corpus: Corpus,
    split: str,
    directory: Path,
    output: Path,
    report: Path,
    threads: int = 1,
    used_splits: tuple[str, ...] = (),
) -> dict[str, Any]:
    """Write the manifest of one split, its digests (`data.digests`) and its report.

    Dropped, with id and reason in the report: rows that are no utterance (see the readers); audio
    that cannot be used (see `probe`); intervals outside their file or without a sample; an id that
    occurred before (the second one); a transcript that is empty or not Unicode.

    Options of the corpus that are used: `verify`, and `max_drop_fraction` of the utterances.

    Args:
        used_splits: those that a study uses; rows of others are told. Empty: nobody knows.

    Returns:
        The report.

    Raises:
        UserError: nothing readable, more than `max_drop_fraction` dropped, or a reader whose rows
            do not add up. No manifest is written then; the report is.
    """
    verify = corpus.options["verify"]
    tally, utterances = _Tally(), 0
    seen: set[str] = set()
    blocks: set[str] = set()
    speakers: set[str] = set()
    rates: Counter[str] = Counter()
    lengths: list[float] = []
    clips, sounds = array("Q"), array("Q")
    ticker = MinuteTicker()
    name = f"{corpus.name}/{corpus.lang}/{split}"
    corpus.rows = Rows()

    def probed() -> Iterator[tuple[list[Utterance | BadRow], Audio]]:
        def calls():
            for path, group in groupby(
                corpus.read(directory, split),
                key=lambda entry: entry.audio if isinstance(entry, Utterance) else None,
            ):
                members = list(group)
                yield lambda path=path, members=members: (
                    members,
                    Audio() if path is None else probe(path, decode=verify == "decode"),
                )

        return _in_order(calls(), threads)

    with files.atomic_path(output) as temporary:
        with cut_lines.writing(temporary) as stream:
            for group, audio in probed():
                for utterance in group:
                    if isinstance(utterance, BadRow):
                        tally.drop_row(utterance)
                        continue
                    utterances += 1
                    intervals = utterance.intervals or ((0.0, audio.duration_s),)
                    length_s = sum(end - start for start, end in intervals)
                    reason, detail = _fault(utterance, audio, seen)
                    if reason:
                        tally.drop(utterance.id, reason, length_s, detail, str(utterance.audio))
                    else:
                        seen.add(utterance.id)
                        cut = make_cut(corpus, split, utterance, audio)
                        stream.write(cut_lines.line(cut))
                        clips.append(digests.of_clip(corpus.CLIPS, utterance.id))
                        sounds.append(digests.of_cut(audio.digest, _parts(utterance, audio)))
                        tally.kept += 1
                        tally.kept_s += (length := cut_lines.duration_s(cut))
                        lengths.append(length)
                        blocks.add(utterance.block)
                        rates[str(audio.sample_rate)] += 1
                        if utterance.speaker is not None:
                            speakers.add(utterance.speaker)
                    if ticker.due():
                        log.info("%s: %d utterances, %.1f h", name, utterances, tally.kept_s / 3600)
        rows = _rows(corpus, tally)
        result = {
            "corpus": corpus.name,
            "lang": corpus.lang,
            "split": split,
            "verify": verify,
            "kept": {
                "cuts": tally.kept,
                "hours": tally.kept_s / 3600,
                "speakers": len(speakers),
                "blocks": len(blocks),
            },
            "dropped": tally.reasons,
            "dropped_fraction": tally.fraction,
            "dropped_ids": tally.listed,
            "dropped_ids_complete": tally.dropped == len(tally.listed),
            "source_sample_rates": dict(rates),
            "duration_s": _quantiles(lengths),
            "rows": rows,
            "same_recording": _repeated(sounds),
        }
        files.write_json(report, result)
        _refuse(corpus, name, split, directory, tally, rows)
        digests.write(output, temporary, clips, sounds)
    _tell(name, split, tally, rows, result["same_recording"], used_splits)
    return result


def _rows(corpus: Corpus, tally: _Tally) -> dict[str, Any]:
    """What became of every row of the tables."""
    ended = tally.kept + tally.dropped + sum(corpus.rows.elsewhere.values())
    return {
        "read": corpus.rows.read or ended,
        "kept": tally.kept,
        "dropped": tally.dropped,
        "other_splits": dict(corpus.rows.elsewhere.most_common()),
    }


def _in_words(rows: dict[str, Any]) -> str:
    others = rows["other_splits"]
    listed = ", ".join(f"{split or '(empty)'} {count}" for split, count in others.items())
    return (
        f"rows {rows['read']} = {rows['kept']} kept + {rows['dropped']} dropped + "
        f"{sum(others.values())} of other splits" + (f" ({listed})" if listed else "")
    )


def _refuse(
    corpus: Corpus,
    name: str,
    split: str,
    directory: Path,
    tally: _Tally,
    rows: dict[str, Any],
) -> None:
    """Raises:
    UserError: see `build`.
    """
    if rows["read"] != rows["kept"] + rows["dropped"] + sum(rows["other_splits"].values()):
        raise UserError(
            f"{name}: {_in_words(rows)}, which does not add up; the reader {corpus.kind} loses "
            "rows: mend it"
        )
    if not tally.kept + tally.dropped:
        tables = ", ".join(map(str, corpus.rows.tables[:3])) or f"the tables under {directory}"
        there = ", ".join(f"{other!r} {n}" for other, n in rows["other_splits"].items())
        near = _look_alikes(split, rows["other_splits"])
        raise UserError(
            f"{name}: no utterance of split {split!r} in {tables}; "
            + (f"splits there: {there}" if there else "no row at all is there")
            + (f"; did you mean {near[0]!r}?" if near else "; correct the split or the table")
        )
    share = float(corpus.options["max_drop_fraction"])
    stray = tally.of_no_split > share * rows["read"]
    if not tally.dropped or (tally.kept and tally.fraction <= share and not stray):
        return
    if share and tally.kept and tally.dropped == tally.bad_rows == 1:
        return  # one stray tab stops no small table; it is told
    listed = tally.listed[:3]
    folder = _common_folder([entry["audio"] for entry in listed])
    first = "; ".join(
        f"{(entry['audio'] or entry['id']).removeprefix(folder)}: {entry['reason']} "
        f"{entry['detail']}".rstrip()
        for entry in listed
    )
    raise UserError(
        f"{name}: {tally.dropped} of {tally.kept + tally.dropped} utterances cannot be used "
        f"({tally.listing()}), more than max_drop_fraction = {share:g}; first"
        f"{f' in {folder}' if folder else ''}: {first}. Mend the files, or raise "
        "max_drop_fraction in the corpus's block"
    )


def _common_folder(paths: list[str]) -> str:
    """The folder of several files, with its last slash, so that it is written once."""
    if len(paths) < 2 or not all(paths):
        return ""
    folder = os.path.commonpath([os.path.dirname(path) or "." for path in paths])
    return f"{folder}/" if all(path.startswith(f"{folder}/") for path in paths) else ""


def _look_alikes(split: str, others: dict[str, int]) -> list[str]:
    """Splits that may be misspellings of one: other case, blanks, a letter or two."""
    plain = {other: other.strip().casefold() for other in others}
    return [
        other
        for other, form in plain.items()
        if form == split.casefold() or difflib.SequenceMatcher(None, form, split).ratio() >= 0.8
    ]


def _tell(
    name: str,
    split: str,
    tally: _Tally,
    rows: dict[str, Any],
    repeated: int,
    used_splits: tuple[str, ...],
) -> None:
    others = rows["other_splits"]
    near = [other for other in _look_alikes(split, others) if other not in used_splits]
    if near:
        listed = ", ".join(f"{other!r} ({others[other]} rows)" for other in near)
        log.warning("%s: is %s a misspelling of %r? these rows are left out", name, listed, split)
    unused = [other for other in others if used_splits and other not in {*used_splits, *near}]
    if unused:
        listed = ", ".join(f"{other!r} ({others[other]} rows)" for other in unused[:10])
        log.warning("%s: the study uses no split %s", name, listed)
    if tally.bad_rows:
        rows_listed = [entry for entry in tally.listed if not entry["audio"]][:3]
        first = "; ".join(f"{one['id']}: {one['reason']}, {one['detail']}" for one in rows_listed)
        log.warning("%s: %d rows are no utterance; first: %s", name, tally.bad_rows, first)
    if repeated:
        log.warning("%s: %d utterances have the samples of another one", name, repeated)
    log.info(
        "%s: %d cuts, %.2f h kept; dropped: %s; %s",
        name,
        tally.kept,
        tally.kept_s / 3600,
        tally.listing() or "none",
        _in_words(rows),
    )


def _repeated(sounds: array) -> int:
    """Cuts whose samples an earlier one has."""
    known = np.asarray(sounds, dtype=np.uint64)
    known = known[known != 0]
    return len(known) - len(np.unique(known))


def _fault(utterance: Utterance, audio: Audio, seen: set[str]) -> tuple[str, str]:
    """Reason and detail why an utterance becomes no cut; two empty strings where it does."""
    if audio.problem:
        return audio.problem, audio.detail
    if utterance.id in seen:
        return "duplicate_id", "an id is a name without its ending; the first one was kept"
    if not isinstance(utterance.text, str):
        return "not_text", repr(utterance.text)[:60]
    if not utterance.text.strip():
        return "empty_text", ""
    if problem := _not_text(utterance.text):
        return "not_text", problem
    for value in (utterance.id, utterance.speaker or "", utterance.block, str(utterance.audio)):
        if problem := _not_text(value):
            return "not_text", f"{problem} of {_printable(value)}"
    stated_s = utterance.stated_s or 0.0
    if stated_s - audio.duration_s > max(_MISSING_S, _MISSING_FRACTION * stated_s):
        return "truncated", f"{audio.duration_s:.3f} s, its table says {stated_s:.3f} s"
    problem = _bad_intervals(utterance, audio)
    return ("bad_interval", problem) if problem else ("", "")


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
        if start - 1 / SAMPLE_RATE >= audio.duration_s or on_grid(start) >= audio.duration_s:
            return f"starts at {start:.3f} s, the file ends at {audio.duration_s:.3f} s"
        # A tenth of a second over is rounding in the annotation; the cut is trimmed to the file.
        if end > audio.duration_s + 0.1:
            return f"ends at {end:.3f} s, the file at {audio.duration_s:.3f} s"
    if utterance.intervals and not pieces_of(utterance, audio):
        start, end = utterance.intervals[0]
        return f"{start:.6f}-{end:.6f} s holds no sample at {SAMPLE_RATE} Hz"
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
