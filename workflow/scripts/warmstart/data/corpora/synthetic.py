"""`synthetic`: speech made on this machine by `corpora.espeak`, read back as a folder with tables.

Config: {kind: synthetic, ...}; its other keys are settings of `corpora.espeak.synthesize`.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

from warmstart.data import numbers
from warmstart.data.corpora import local
from warmstart.data.corpora.base import Corpus, Licence
from warmstart.data.corpora.pinned import Hours
from warmstart.run import files
from warmstart.run.errors import UserError

VOICES = 54
"""Voices of espeak-ng that `corpora.espeak` speaks with, heard and unheard ones together."""

_COUNT = {"type": "integer", "minimum": 1}
_HOURS = {"type": "number", "exclusiveMinimum": 0}


class Reader(local.Reader):
    """Synthesized speech: fetched by making it, read like any local folder."""

    SCHEMA: ClassVar = {
        "properties": {
            "hours": {
                "description": "Hours to make of each split.",
                "type": "object",
                "additionalProperties": False,
                "properties": {
                    "train": {**_HOURS, "default": 0.4},
                    "dev": {**_HOURS, "default": 0.03},
                },
                "default": {},
            },
            "utterances": {
                "description": "Sizes of the test sets: voices heard in training, and others.",
                "type": "object",
                "additionalProperties": False,
                "properties": {
                    "same_voices": {**_COUNT, "default": 60},
                    "new_voices": {**_COUNT, "default": 60},
                },
                "default": {},
            },
            "voices": {"description": "Voices heard in training.", **_COUNT, "default": 24},
            "new_voices": {
                "description": "Voices of the test set with unheard voices.",
                **_COUNT,
                "default": 8,
            },
            "max_number": {
                "description": "Numbers are below this.",
                "type": "integer",
                "minimum": 10,
                "default": 100,
            },
            "espeak_voice": {
                "description": "espeak-ng's voice; the language's code unless given.",
                "type": "string",
            },
            "numbers": {
                "description": "num2words language of the texts; the language's code unless given.",
                "type": "string",
            },
            "numbers_per_text": {
                "description": "Fewest and most numbers in a text.",
                "type": "array",
                "minItems": 2,
                "maxItems": 2,
                "items": _COUNT,
                "default": [1, 3],
            },
            "seed": {
                "description": "Key of texts and voices.",
                "type": "integer",
                "minimum": 0,
                "maximum": 2**32 - 1,
                "default": 1,
            },
        }
    }
    SPLITS = ("train", "dev", "test_same", "test_new")
    DOWNLOADS = True
    SPOKEN_BY = "Voices of the synthesizer espeak-ng say phrases and numbers"
    LICENCE = Licence("made here")
    BESIDE_DATA = Corpus.BESIDE_DATA - {"hours"}

    def hours(self, split: str) -> Hours | None:
        return self.options["hours"].get(split)

    def folder(self, directory: Path) -> Path:
        return directory

    def place(self) -> str | None:
        return None

    def check_code(self) -> None:
        """What espeak-ng has a voice of, it says when it is asked; here: what the keys say."""
        super().check_code()
        if self.options["voices"] + self.options["new_voices"] > VOICES:
            raise UserError(
                f"corpora.{self.name} has {self.options['voices']} voices and "
                f"{self.options['new_voices']} new_voices; there are {VOICES} in all: lower one"
            )
        lang = self.settings.get("numbers", self.lang)
        if not numbers.is_known(lang):
            raise UserError(
                f"corpora.{self.name}.numbers, unless given the language itself, is {lang!r}, "
                "which num2words does not know; set it to a language that it knows: "
                f"{', '.join(numbers.known())}"
            )
        low, high = self.options["numbers_per_text"]
        if low > high:
            raise UserError(
                f"corpora.{self.name}.numbers_per_text is [{low}, {high}]; give the lower one first"
            )

    def check_files(self, splits: Mapping[str, str]) -> None:
        """Nothing is here before it is made."""

    def fetch(self, directory: Path) -> dict[str, Any]:
        # Here, not at the top: reading manifests needs no synthesizer.
        from warmstart.data.corpora.espeak import synthesize

        synthesize(directory, self.lang, self.options)
        tables = sorted(directory.glob("*.tsv"))
        return {
            "source": "synthesized",
            "files": {table.name: {"sha256": files.digest(table)} for table in tables},
        }
