"""`synthetic`: speech made on this machine by `corpora.synthetic`, read back as a folder with
tables.

Config: {kind: synthetic, ...}; every other key is a setting of `corpora.synthetic.synthesize`.
"""

from pathlib import Path
from typing import Any

from warmstart.data.corpora import local
from warmstart.data.corpora.base import Corpus
from warmstart.run import files


class Reader(local.Reader):
    """Synthesized speech: fetched by making it, read like any local folder."""

    SPLITS = ("train", "dev", "test_same", "test_new")

    def __init__(self, name: str, lang: str, settings: dict[str, Any]):
        Corpus.__init__(
            self,
            name,
            lang,
            {key: value for key, value in settings.items() if key in ("kind", "code", "verify")},
        )
        self.settings = settings
        self.block = "speaker"

    def folder(self, directory: Path) -> Path:
        return directory

    def fetch(self, directory: Path) -> dict[str, Any]:
        # Here, not at the top: reading manifests needs no synthesizer.
        from warmstart.data.corpora.espeak import synthesize

        synthesize(directory, self.lang, self.settings)
        tables = sorted(directory.glob("*.tsv"))
        return {
            "source": "synthesized",
            "files": {table.name: {"sha256": files.digest(table)} for table in tables},
        }
