"""`granary`: NeMo-style JSON-lines manifests (nvidia/Granary and others) over audio that the user
supplies.

Config: {kind: granary, directory: AUDIO_FOLDER, manifests: [GLOB, ...]}; `{lang}` and `{code}` are
filled in. `manifests` defaults to `{directory}/{lang}/*/{lang}_asr*.jsonl`, the layout of the hub.
Granary publishes labels only; its README says where each corpus's audio is. Each line:
audio_filepath (absolute or below `directory`), text, and optionally duration, offset, speaker,
lang.

One split, `train`. Durations are read from the files: VoxPopuli's lines say 'None'. A line with an
offset is a part of a recording. The block is the recording, where no speaker is given.
"""

import glob
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

from warmstart.data.corpora import pinned
from warmstart.data.corpora.base import Corpus, Licence, Utterance
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
    LICENCE = Licence(
        "CC BY 4.0 (labels)",
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
        return Path(self._filled(str(self.settings["directory"])))

    def _fitting(self) -> dict[str, list[str]]:
        patterns = self.settings.get("manifests") or [
            f"{self._folder()}/{{lang}}/*/{{lang}}_asr*.jsonl"
        ]
        return {
            pattern: glob.glob(pattern, recursive=True) for pattern in map(self._filled, patterns)
        }

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

    def fetch(self, directory: Path) -> dict[str, Any]:
        folder = self._folder()
        if not folder.is_dir():
            raise self.fail(
                f"no folder {folder}",
                "put the audio there; the data set's card says where each part comes from",
            )
        return {
            "source": str(folder),
            "files": {str(path): f"sha256:{files.digest(path)}" for path in self._manifests()},
        }

    def read(self, directory: Path, split: str) -> Iterator[Utterance]:
        if split != "train":
            raise self.fail(f"no split {split!r}", "these manifests are training data: split train")
        folder = self._folder()
        for path in self._manifests():
            with open(path, encoding="utf-8") as stream:
                for number, line in enumerate(stream, start=1):
                    if line.strip():
                        yield self._utterance(folder, path, number, line)

    def _utterance(self, folder: Path, path: Path, number: int, line: str) -> Utterance:
        try:
            entry = json.loads(line)
            audio, text = entry["audio_filepath"], entry["text"]
            offset, duration = _seconds(entry.get("offset")), _seconds(entry.get("duration"))
        except (ValueError, KeyError, TypeError) as error:
            raise self.fail(
                f"{path}:{number}: {error!r}", "each line is JSON with audio_filepath and text"
            ) from error
        if offset is not None and duration is None:
            raise self.fail(f"{path}:{number}: an offset without a duration", "add the duration")
        whole = offset is None
        name = Path(audio).with_suffix("").as_posix().lstrip("/")
        speaker = entry.get("speaker")
        return Utterance(
            id=name if whole else f"{name}-{offset:.3f}",
            audio=folder / audio,
            text=text or "",
            speaker=None if speaker is None else str(speaker),
            block=str(speaker) if speaker is not None else name,
            intervals=None if whole else ((offset, offset + duration),),
        )


def _seconds(value: Any) -> float | None:
    """A number of seconds; Granary writes the string 'None' where it has none."""
    return None if value in (None, "None", "") else float(value)
