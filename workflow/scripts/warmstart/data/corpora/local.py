"""`local`: a folder of audio files with a tab-separated table, for anyone's own data. Used in
place; nothing is copied.

The table is `{split}.tsv`, `metadata-{split}.tsv`, or `metadata.tsv` with a column `split`.
Columns: `path` (relative to the folder, or absolute), `text`; optional `speaker`, `gender`,
`accent`, `sentence_id`, `split`; any others are ignored. For example

    path	text	speaker	split
    anna/001.flac	Buongiorno a tutti.	anna	train

Config: {kind: local, directory: demo/speech/{lang}, block: speaker}; `{lang}` and `{code}` in
`directory` are filled in. `block` is the unit of resampling: speaker, sentence (column
`sentence_id`, or the transcript where there is none) or utterance.
"""

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

from warmstart.data.corpora import pinned
from warmstart.data.corpora.base import BadRow, Corpus, Utterance, beside, read_table, table_rows
from warmstart.run import files
from warmstart.run.errors import did_you_mean


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
    SPOKEN_BY = "The study's own recordings"

    def __init__(self, name: str, lang: str, settings: dict[str, Any]):
        super().__init__(name, lang, settings)
        self.block = self.options.get("block", "speaker")

    def block_unit(self) -> str:
        return self.block

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
        ).expanduser()

    def place(self) -> str | None:
        return str(self.folder(Path()))

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

    def check_files(self, splits: Mapping[str, str]) -> None:
        """The folder, its tables, their columns, and the splits that are asked for."""
        folder = self.folder(Path())
        if not folder.is_dir():
            raise self.fail(
                f"no folder {folder}{beside(folder)}",
                "create it or correct `directory` in the corpus's block",
            )
        counted: Counter[str] | None = None
        for key, split in splits.items():
            table, by_column = self._table(folder, split)
            if not by_column:
                next(read_table(table, required=self._columns(by_column)), None)
                continue
            if not table.exists():
                there = ", ".join(found.name for found in self.tables()) or "no table at all"
                raise self.fail(
                    f"{key} is {split!r}, and {folder} has neither {split}.tsv nor metadata.tsv "
                    f"with a column split (there: {there})",
                    f"write one, or correct {key}",
                )
            if counted is None:
                rows = read_table(table, required=self._columns(by_column))
                counted = Counter(row["split"] for row in rows)
            if split not in counted:
                there = ", ".join(f"{name!r} {count}" for name, count in counted.items())
                raise self.fail(
                    f"{key} is {split!r}{did_you_mean(split, counted)}, and no row of {table} has "
                    f"this split; rows by split: {there or 'none'}",
                    f"correct the table or {key}",
                )

    def _table(self, folder: Path, split: str) -> tuple[Path, bool]:
        """The table of a split, and whether it is the one of all splits, with a column."""
        for stem in (split, f"metadata-{split}"):
            if (found := folder / f"{stem}.tsv").exists():
                return found, False
        return folder / "metadata.tsv", True

    def _columns(self, by_column: bool) -> tuple[str, ...]:
        """The columns that a table needs."""
        speaker = ("speaker",) if self.block == "speaker" else ()
        return ("path", "text", *speaker, *(("split",) if by_column else ()))

    def read(self, directory: Path, split: str) -> Iterator[Utterance | BadRow]:
        folder = self.folder(directory)
        table, by_column = self._table(folder, split)
        if not table.exists():
            there = ", ".join(found.name for found in self.tables()) or "no table at all"
            raise self.fail(
                f"no {split}.tsv, metadata-{split}.tsv or metadata.tsv in {folder}, which has "
                f"{there}",
                "name the table after the split, or give metadata.tsv a column split",
            )
        required = self._columns(by_column)

        def file(cells: dict[str, str]) -> Path | None:
            return folder / cells["path"] if cells.get("path") else None

        for line in table_rows(table, self.rows, required=required, text="text", audio=file):
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
            gender=row.get("gender"),
            accent=row.get("accent"),
        )
