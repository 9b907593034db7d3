"""`granary`: NeMo-style JSON-lines manifests (nvidia/Granary and others) over audio that the user
supplies.

Config: {kind: granary, directory: AUDIO_FOLDER, manifests: [GLOB, ...]}; `{lang}` and `{code}` are
filled in. `manifests` defaults to `{directory}/{lang}/*/{lang}_asr*.jsonl`, the layout of the hub.
Granary publishes labels only; its README says where each corpus's audio is. Each line:
audio_filepath (absolute or below `directory`), text, and optionally duration, offset, speaker,
lang.

One split, `train`. Durations are read from the files, because VoxPopuli's lines say 'None'; a file
that is shorter than its line says is dropped. A line with an offset is a part of a recording. The
block is the recording, where no speaker is given.
"""

import glob
import json
import math
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, ClassVar

from warmstart.data.corpora import pinned
from warmstart.data.corpora.base import BadRow, Corpus, Licence, Utterance, beside, text_lines
from warmstart.run import files


class Reader(Corpus):
    """Manifests of pseudo-labelled speech; nothing is downloaded."""

    SCHEMA: ClassVar = {
        "properties": {
            "directory": {
                "description": "The folder of the recordings, with {lang} for the language.",
                "type": "string",
            },
            "manifests": {
                "description": "Patterns of JSON-lines manifests; {lang} is filled in.",
                "type": "array",
                "items": {"type": "string"},
            },
        },
        "required": ["directory"],
    }
    SPLITS = ("train",)
    DOWNLOADS = False
    TITLE = "Granary"
    LICENCE = Licence(
        "CC BY 4.0 (labels)",
        audio_may_be_passed_on=False,
        to_do="the audio has the licences of its sources; see the data set's card",
    )

    def gigabytes(self) -> pinned.Size | None:
        return pinned.NOTHING

    def _filled(self, text: str) -> str:
        return text.replace("{lang}", self.lang).replace("{code}", self.code)

    def _folder(self) -> Path:
        if "directory" not in self.settings:
            raise self.fail(
                "no directory", "give the folder of the audio as `directory` in the corpus's block"
            )
        return Path(self._filled(str(self.settings["directory"]))).expanduser()

    def _fitting(self) -> dict[str, list[str]]:
        patterns = self.settings.get("manifests") or [
            f"{self._folder()}/{{lang}}/*/{{lang}}_asr*.jsonl"
        ]
        return {
            pattern: self._matches(os.path.expanduser(pattern))
            for pattern in map(self._filled, patterns)
        }

    def _matches(self, pattern: str) -> list[str]:
        """Files that a pattern fits. Brackets in a file's own name, or in that of the corpus's
        folder, are no pattern."""
        if Path(pattern).is_file():
            return [pattern]
        folder = str(self.settings.get("directory") and self._folder())
        inside = pattern.removeprefix(f"{folder}/")
        escaped = pattern if inside == pattern else f"{glob.escape(folder)}/{inside}"
        return glob.glob(escaped, recursive=True) or glob.glob(pattern, recursive=True)

    def place(self) -> str | None:
        return str(self._folder())

    def tables(self) -> list[Path]:
        """The manifests there are, by name."""
        return sorted({Path(path) for paths in self._fitting().values() for path in paths})

    def _manifests(self) -> list[Path]:
        for pattern, fitting in self._fitting().items():
            if not fitting:
                raise self.fail(
                    f"no manifest fits {pattern}", "correct `manifests` in the corpus's block"
                )
        return self.tables()

    def check_files(self, splits: Mapping[str, str]) -> None:
        """The folder of the audio, and manifests for every pattern."""
        self._require_folder()
        self._manifests()

    def _require_folder(self) -> Path:
        folder = self._folder()
        if not folder.is_dir():
            raise self.fail(
                f"no folder {folder}{beside(folder)}",
                "put the audio there, or correct `directory` in the corpus's block; the data set's "
                "card says where each part comes from",
            )
        return folder

    def fetch(self, directory: Path) -> dict[str, Any]:
        folder = self._require_folder()
        return {
            "source": str(folder),
            "files": {str(path): f"sha256:{files.digest(path)}" for path in self._manifests()},
        }

    def read(self, directory: Path, split: str) -> Iterator[Utterance | BadRow]:
        if split != "train":
            raise self.fail(f"no split {split!r}", "these manifests are training data: split train")
        folder = self._folder()
        for path in self._manifests():
            self.rows.tables.append(path)
            for number, line in enumerate(text_lines(path), start=1):
                if line.strip():
                    self.rows.read += 1
                    try:
                        yield self._utterance(folder, line)
                    except (ValueError, RecursionError) as error:
                        yield BadRow(
                            f"{path}:{number}",
                            "bad_row",
                            f"{error}; each line is JSON with audio_filepath and text",
                        )

    def _utterance(self, folder: Path, line: str) -> Utterance:
        """Raises:
        ValueError: the line is no utterance.
        """
        entry = json.loads(line)
        if not isinstance(entry, dict):
            raise ValueError(f"{line[:40]!r} is no object")
        for key in ("audio_filepath", "text"):
            if key not in entry:
                raise ValueError(f"no {key!r}")
            if not isinstance(entry[key], str) and not (key == "text" and entry[key] is None):
                raise ValueError(f"{key} is {json.dumps(entry[key])[:40]}, not a text")
        audio = entry["audio_filepath"]
        if not Path(audio).name:
            raise ValueError(f"audio_filepath is {audio!r}")
        offset, duration = (_seconds(key, entry.get(key)) for key in ("offset", "duration"))
        if offset is not None and duration is None:
            raise ValueError("an offset without a duration; add the duration")
        name = Path(audio).with_suffix("").as_posix().lstrip("/")
        speaker = entry.get("speaker")
        # Tables that went through pandas have these for nobody; they must not become one person.
        if speaker in (None, "", "None", "nan") or speaker != speaker:
            speaker = None
        return Utterance(
            id=name if offset is None else f"{name}-{offset:.3f}",
            audio=folder / audio,
            text=entry["text"] or "",
            speaker=None if speaker is None else str(speaker),
            block=name if speaker is None else str(speaker),
            intervals=None if offset is None else ((offset, offset + (duration or 0.0)),),
            stated_s=duration if offset is None else None,
            **{key: str(entry[key]) for key in ("gender", "accent") if entry.get(key)},
        )


def _seconds(key: str, value: Any) -> float | None:
    """A number of seconds; Granary writes the string 'None' where it has none.

    Raises:
        ValueError: anything else, NaN and infinity too.
    """
    if value in (None, "None", ""):
        return None
    try:
        number = float("no" if isinstance(value, bool) else value)
    except (TypeError, ValueError, OverflowError):
        number = math.nan
    if not math.isfinite(number):
        raise ValueError(f"{key} is {json.dumps(value)[:40]}, not a number of seconds")
    return number
