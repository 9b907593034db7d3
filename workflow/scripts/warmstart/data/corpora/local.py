"""`local`: a folder of audio files with a tab-separated table, for anyone's own data. Used in
place; nothing is copied.

The table is `{split}.tsv`, `metadata-{split}.tsv`, or `metadata.tsv` with a column `split`.
Columns: `path` (relative to the folder, or absolute), `text`; optional `speaker`, `sentence_id`,
`split`; any others are ignored. For example

    path	text	speaker	split
    anna/001.flac	Buongiorno a tutti.	anna	train

Config: {kind: local, directory: demo/speech/{lang}, block: speaker}; `{lang}` and `{code}` in
`directory` are filled in. `block` is the unit of resampling: speaker, sentence (column
`sentence_id`, or the transcript where there is none) or utterance.
"""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

from warmstart.data.corpora import pinned
from warmstart.data.corpora.base import BadRow, Corpus, Utterance, table_rows
from warmstart.run import files


class Reader(Corpus):
    """A folder with a table."""

    SCHEMA: ClassVar = {
        "properties": {
            "directory": {
                "description": "The folder of the recordings, with {lang} for the language.",
                "type": "string",
            },
            "block": {
                "description": "What the bootstrap resamples.",
                "enum": ["speaker", "sentence", "utterance"],
                "default": "speaker",
            },
        },
        "required": ["directory"],
    }
    DOWNLOADS = False

    def __init__(self, name: str, lang: str, settings: dict[str, Any]):
        super().__init__(name, lang, settings)
        self.block = self.options.get("block", "speaker")

    def gigabytes(self) -> pinned.Size | None:
        return pinned.NOTHING

    def folder(self, directory: Path) -> Path:
        """Where the audio lies: the config's `directory`, never the download folder."""
        if "directory" not in self.settings:
            raise self.fail(
                "no directory",
                "give the folder with the table as `directory` in the corpus's block",
            )
        return Path(
            str(self.settings["directory"])
            .replace("{lang}", self.lang)
            .replace("{code}", self.code)
        )

    def tables(self) -> list[Path]:
        """The tables there are, by name."""
        return sorted(self.folder(Path()).glob("*.tsv"))

    def fetch(self, directory: Path) -> dict[str, Any]:
        folder = self.folder(directory)
        if not folder.is_dir():
            raise self.fail(
                f"no folder {folder}", "create it or correct `directory` in the corpus's block"
            )
        tables = self.tables()
        if not tables:
            raise self.fail(
                f"no .tsv in {folder}", "a table with the columns path and text is needed"
            )
        return {
            "source": str(folder),
            "files": {table.name: {"sha256": files.digest(table)} for table in tables},
        }

    def read(self, directory: Path, split: str) -> Iterator[Utterance | BadRow]:
        folder = self.folder(directory)
        table = next(
            (
                found
                for stem in (split, f"metadata-{split}")
                if (found := folder / f"{stem}.tsv").exists()
            ),
            None,
        )
        by_column = table is None
        if table is None:
            table = folder / "metadata.tsv"
            if not table.exists():
                there = ", ".join(found.name for found in self.tables()) or "no table at all"
                raise self.fail(
                    f"no {split}.tsv, metadata-{split}.tsv or metadata.tsv in {folder}, which has "
                    f"{there}",
                    "name the table after the split, or give metadata.tsv a column split",
                )
        required = [
            "path",
            "text",
            *(["speaker"] if self.block == "speaker" else []),
            *(["split"] if by_column else []),
        ]

        def file(cells: dict[str, str]) -> Path | None:
            return folder / cells["path"] if cells.get("path") else None

        for line in table_rows(table, self.rows, required=tuple(required), text="text", audio=file):
            its_split = (line.cells or {}).get("split") if by_column else split
            if its_split is not None and its_split != split:
                self.rows.of(its_split)
            elif isinstance(line, BadRow):
                yield replace(line, of_split=its_split is not None)
            else:
                yield self._utterance(folder, line.where, line.cells)

    def _utterance(self, folder: Path, where: str, row: dict[str, str]) -> Utterance | BadRow:
        block = {
            "speaker": row.get("speaker"),
            "sentence": row.get("sentence_id", row["text"]),
            "utterance": row["path"],
        }[self.block]
        path = Path(row["path"])
        if not path.name:
            return BadRow(where, "no_path", f"path is {row['path']!r}; name a file")
        if not block and row["text"].strip():
            return BadRow(
                f"{where}, {row['path']}",
                f"no_{self.block}",
                f"{row['path']} has no {self.block}; fill it in, or set `block: utterance`",
            )
        return Utterance(
            id=path.with_suffix("").as_posix(),
            audio=folder / row["path"],
            text=row["text"],
            speaker=row.get("speaker") or None,
            block=block or row["path"],
        )
