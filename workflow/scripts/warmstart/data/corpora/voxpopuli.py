"""`voxpopuli`: European Parliament speech with transcripts (facebookresearch/voxpopuli; data CC0).

Config: {kind: voxpopuli, code: de, segments: vad | contiguous, source: FOLDER or URL}. A source
folder holds the publisher's files (`annotations/asr/asr_de.tsv.gz`, `audios/original_2009.tar`
...), or has `raw_audios/` unpacked as the official scripts leave it, which is used in place. The
yearly archives hold all languages: they are fetched once, into the folder `_shared` beside the
languages' own.

`segments: vad` joins the speech intervals of a segment and leaves its pauses out, as the official
get_asr_data.py does (and so the release on the hub); `contiguous` takes the whole stretch from
start to end, as Lhotse's recipe does. The words are the same.

Own reader: Lhotse 1.33 looks for `raw_audios/{lang}/`, which its own downloader does not make,
refuses to run without network, knows no `vad`, and filters recordings with a search through a list
for each (recipes/voxpopuli.py).
"""

import ast
import csv
import gzip
import math
import os
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

from warmstart.data import download
from warmstart.data.corpora import pinned
from warmstart.data.corpora.base import BadRow, Corpus, Licence, Utterance
from warmstart.run import files

BASE = "https://dl.fbaipublicfiles.com/voxpopuli"
SPLITS = ("train", "dev", "test")
_COLUMNS = (
    "session_id",
    "id_",
    "original_text",
    "normed_text",
    "speaker_id",
    "split",
    "start_time",
    "end_time",
    "vad",
)
_AUDIO_SUFFIX = "_original.ogg"


class Reader(Corpus):
    """One language of VoxPopuli. Block and speaker are the Parliament's speaker id; the text is the
    publisher's normed one."""

    SCHEMA: ClassVar = {
        "properties": {
            "segments": {
                "description": (
                    "vad = pauses cut as the official script does; contiguous = as Lhotse does."
                ),
                "enum": ["vad", "contiguous"],
                "default": "vad",
            }
        }
    }
    SPLITS = SPLITS
    SPEAKERS = "voxpopuli"
    TITLE = "VoxPopuli"
    SPOKEN_BY = "Members of the European Parliament speak in its sittings"
    # huggingface/open_asr_leaderboard at d1e99b2, benchmark_fitting/README.md, section 1.
    CAUTION = (
        "references come from the Parliament's records and sometimes disagree with the audio. "
        "Hand corrections of 628 English clips of the test split differ from them in 600 places "
        "(VoxPopuli-Cleaned-AA); how many there are in other languages is not known."
    )
    CLIPS = "voxpopuli"
    LICENCE = Licence(
        "CC0, and the European Parliament's legal notice", source="European Parliament, VoxPopuli"
    )

    def shared_gigabytes(self) -> pinned.Size | None:
        return pinned.release_size("voxpopuli", "original", "all")

    def _audio_root(self, directory: Path) -> Path:
        folder = download.local_source(self.settings.get("source"))
        if folder is not None and (folder / "raw_audios").is_dir():
            return folder / "raw_audios"
        return directory.parent / "_shared"

    def _annotations(self, directory: Path) -> Path:
        folder = download.local_source(self.settings.get("source"))
        name = f"asr_{self.code}.tsv.gz"
        for path in (folder / "annotations" / "asr" / name, folder / name) if folder else ():
            if path.is_file():
                return path
        return directory / name

    def fetch(self, directory: Path) -> dict[str, Any]:
        base = self.settings.get("source") or BASE
        _, digest = download.obtain(base, f"annotations/asr/asr_{self.code}.tsv.gz", directory)
        facts = {f"asr_{self.code}.tsv.gz": digest}
        audio_root = self._audio_root(directory)
        if audio_root.name == "_shared":
            for year in sorted(
                {row["session_id"][:4] for _, row in self._rows(directory) if _split(row) in SPLITS}
            ):
                facts[f"original_{year}.tar"] = _fetch_year(base, year, audio_root)
        return {"source": download.shown(str(base)), "files": facts}

    def _rows(self, directory: Path) -> Iterator[tuple[int, dict[str, str]]]:
        """Records with the number of their last line, some of them short or long."""
        path = self._annotations(directory)
        try:
            # Written with Python's csv module and read so by the official script: here quotes do
            # quote.
            with gzip.open(path, "rt", encoding="utf-8-sig", newline="") as stream:
                table = csv.DictReader(stream, delimiter="|")
                missing = [name for name in _COLUMNS if name not in (table.fieldnames or ())]
                if missing:
                    raise self.fail(
                        f"{path}: no column {', '.join(missing)}", "fetch the annotations again"
                    )
                for row in table:
                    yield table.line_num, row
        except FileNotFoundError:
            raise self.fail(f"no {path}", "is the download complete?") from None
        except (EOFError, zlib.error, gzip.BadGzipFile, UnicodeDecodeError, csv.Error) as error:
            raise self.fail(
                f"{path}: damaged ({error})", "delete it and run the workflow again"
            ) from error

    def read(self, directory: Path, split: str) -> Iterator[Utterance | BadRow]:
        if split not in SPLITS:
            raise self.fail(f"no split {split!r}", f"splits: {', '.join(SPLITS)}")
        audio_root = self._audio_root(directory)
        sessions = _sessions(audio_root)
        table = self._annotations(directory)
        self.rows.tables.append(table)
        rows = []
        for number, row in self._rows(directory):
            self.rows.read += 1
            if taken := _lines_taken(row):
                raise self.fail(
                    f"{table}: a quotation mark takes {taken} lines up to line {number} in",
                    "fetch the annotations again",
                )
            if problem := _problem(row):
                its_split = _split(row)
                if its_split in (None, split):
                    where = f"{table.name}:{number}"
                    yield BadRow(where, "bad_row", problem, of_split=its_split is not None)
                else:
                    self.rows.of(str(its_split))
            elif row["split"] != split:
                self.rows.of(row["split"])
            else:
                rows.append(row)
        # Sessions last hours: all segments of one in a row, so that its file is checked once.
        rows.sort(key=lambda row: (row["session_id"], float(row["start_time"]), row["id_"]))
        for row in rows:
            session = row["session_id"]
            try:
                intervals = self._intervals(row)
            except ValueError as error:
                yield BadRow(f"{session}-{row['id_']}", "bad_interval", str(error))
                continue
            # The tables were written by pandas: an unknown speaker is the word None, and must not
            # become one person.
            speaker = None if row["speaker_id"] in ("", "None", "nan") else row["speaker_id"]
            yield Utterance(
                id=f"{session}-{row['id_']}",
                audio=sessions.get(session, audio_root / f"{session}{_AUDIO_SUFFIX}"),
                text=row["normed_text"] or row["original_text"],
                speaker=speaker,
                block=speaker or f"{session}-{row['id_']}",
                intervals=intervals,
                gender=row.get("gender"),
                accent=row.get("accent"),
            )

    def _intervals(self, row: dict[str, str]) -> tuple[tuple[float, float], ...]:
        """Raises:
        ValueError: `vad` is no list of intervals.
        """
        if self.options["segments"] == "contiguous":
            return ((float(row["start_time"]), float(row["end_time"])),)
        try:
            intervals = tuple(
                (float(start), float(end)) for start, end, *_ in ast.literal_eval(row["vad"])
            )
        except (ValueError, SyntaxError, TypeError, RecursionError, MemoryError) as error:
            raise ValueError(f"vad is {row['vad'][:60]!r}; use `segments: contiguous`") from error
        # The official script cuts nothing out of an empty or reversed interval, and keeps the rest
        # of the segment.
        intervals = tuple((start, end) for start, end in intervals if start < end) or intervals
        return intervals or ((float(row["start_time"]), float(row["end_time"])),)


def _split(row: dict[str, str]) -> str | None:
    """The split of a record; None where the record ends before it."""
    return row.get("split") or None


def _lines_taken(row: dict[str, str]) -> int:
    """Lines behind it that a quotation mark took into its cell, because nothing closes it."""
    for cell in row.values():
        if isinstance(cell, str) and "\n" in cell and cell.count("|") >= len(_COLUMNS) - 1:
            return cell.count("\n")
    return 0


def _problem(row: dict[str, str]) -> str:
    """What is wrong with the fields of a record, or an empty string."""
    if None in row:  # where csv puts the surplus
        return "more fields than columns"
    if missing := [name for name in _COLUMNS if row[name] is None]:
        return f"no field {missing[0]}"
    for name in ("start_time", "end_time"):
        try:
            finite = math.isfinite(float(row[name]))
        except ValueError:
            finite = False
        if not finite:
            return f"{name} is {row[name]!r}"
    return ""


def _sessions(root: Path) -> dict[str, Path]:
    """Session id -> file, wherever under `root` the year's archive put it."""
    found = {}
    for folder, _, names in os.walk(root):
        for name in names:
            if name.endswith(_AUDIO_SUFFIX):
                found[name.removesuffix(_AUDIO_SUFFIX)] = Path(folder) / name
    return found


def _fetch_year(base: str, year: str, shared: Path) -> str:
    """Fetch and unpack one year's recordings, once for all languages; returns the archive's
    digest."""
    note, unpacked = shared / f"original_{year}.json", shared / f"original_{year}"
    with download.lock(shared / f".original_{year}.lock"):
        known = files.read_if_whole(note, dict, f"{year} is fetched again")
        if known and unpacked.is_dir():
            return known["digest"]
        # The publisher lists no digests for these: the size is checked in transit, the sha256
        # recorded.
        path, digest = download.obtain(base, f"audios/original_{year}.tar", shared)
        download.unpack(path, unpacked)
        files.write_json(note, {"digest": digest, "bytes": path.stat().st_size})
        download.discard(path, shared)
    return digest
