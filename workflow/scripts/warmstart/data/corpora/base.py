"""What every corpus offers: its account of itself (keys, splits, speakers, hours, size, licence),
how to fetch its files, and how to read them as utterances.

Read while the DAG is built: standard library only, here and at the top of every reader.
"""

import copy
import difflib
import logging
from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from warmstart.data.corpora import pinned
from warmstart.data.corpora.pinned import Hours, Size
from warmstart.data.download import local_source
from warmstart.run.errors import UserError

Seconds = float
Schema = dict[str, Any]

log = logging.getLogger(__name__)

COMMON: Schema = {
    "kind": {
        "description": "The reader: workflow/scripts/warmstart/data/corpora/.",
        "type": "string",
    },
    "train_split": {
        "description": "Split that feeds the pool.",
        "type": "string",
        "pattern": "^[a-z][a-z0-9_]*$",
    },
    "source": {
        "description": "A folder or mirror URL to take the release from instead of its publisher.",
        "type": ["string", "null"],
        "default": None,
    },
    "verify": {
        "description": "Whether manifests decode every file (decode) or read its header (header).",
        "enum": ["decode", "header"],
        "default": "decode",
    },
    "max_drop_fraction": {
        "description": "A split that loses more of its recordings as damaged fails its manifest.",
        "type": "number",
        "minimum": 0,
        "maximum": 1,
        "default": 0.05,
    },
    "licence": {
        "description": "Shown in bundles and the report. Default: what the reader says.",
        "type": "string",
    },
    "speakers_of": {
        "description": (
            "Whose speaker ids these are: corpora with the same name here call one person by one "
            "id. Default: the publisher's where the reader knows that its ids are, else the corpus."
        ),
        "type": "string",
    },
    "hours": {
        "description": (
            "Hours of the training split, language -> number, for the check of budgets; over what "
            "the reader knows."
        ),
        "type": "object",
        "additionalProperties": {"type": "number", "exclusiveMinimum": 0},
    },
}
"""Keys of a corpus's block that every kind has, as properties of a JSON Schema."""


@dataclass(frozen=True, slots=True)
class Utterance:
    """One transcribed stretch of speech, as a corpus describes it; nothing about the audio has been
    checked yet.

    Attributes:
        id: unique within corpus, language and split.
        audio: the file that holds it.
        text: raw transcript, as published.
        speaker: the corpus's speaker id, or None where it has none.
        block: unit of resampling for intervals: utterances of one block are not independent
            (speaker, or sentence id).
        intervals: parts of the file to join, as (start, end) in seconds, in order; None means the
            whole file.
    """

    id: str
    audio: Path
    text: str
    speaker: str | None
    block: str
    intervals: tuple[tuple[Seconds, Seconds], ...] | None = None


@dataclass(frozen=True)
class Licence:
    """What a publisher allows, and what it asks for.

    Attributes:
        name: of the licence, as the publisher writes it.
        source: how the licence asks to name the source; empty where it does not.
        to_do: what a user does before the download, or keeps in mind; empty where that is nothing.
    """

    name: str
    source: str = ""
    to_do: str = ""

    def __str__(self) -> str:
        """One line for reports: the licence, and the source that it asks to name."""
        return f"{self.name} ({self.source})" if self.source else self.name

    @property
    def duties(self) -> str:
        """What is to be done, for planners; empty where nothing is."""
        named = f"name the source: {self.source}" if self.source else ""
        return "; ".join(part for part in (named, self.to_do) if part)


class Corpus(ABC):
    """One corpus in one language. A reader is a subclass named `Reader` (docs/extend/corpus.md).

    Attributes:
        name: the corpus's name in the config and in paths.
        lang: ISO 639-1 code of the study.
        kind: the reader's name in the config.
        code: the corpus's own code for that language.
        settings: the corpus's block of the config, as it was given.
        options: the same with the defaults of `COMMON` and `SCHEMA` filled in.

    Raises:
        UserError: on construction, for a key that this kind does not have, or a value that is not
            among those that its schema lists.
    """

    #: Keys of the block that only this kind has, as a JSON Schema: `properties`, `required`.
    SCHEMA: ClassVar[Schema] = {}
    #: Splits that `read` knows; None where the corpus's own table names them.
    SPLITS: ClassVar[tuple[str, ...] | None] = None
    #: Whose the speaker ids are: the same people in every release and under every name in the
    #: config. None: the corpus numbers its own people.
    SPEAKERS: ClassVar[str | None] = None
    #: Whether `fetch` brings or makes files. False: the recordings are somebody's own and used in
    #: place, and their tables (`tables`) are inputs of what is made of them.
    DOWNLOADS: ClassVar[bool] = True
    #: What the publisher allows; None where only the owner of the recordings can say.
    LICENCE: ClassVar[Licence | None] = None
    #: Keys that change neither what is fetched nor what a manifest holds.
    BESIDE_DATA: ClassVar[frozenset[str]] = frozenset(
        {"train_split", "licence", "max_drop_fraction", "speakers_of", "hours"}
    )

    def __init__(self, name: str, lang: str, settings: dict[str, Any]):
        self.name, self.lang, self.settings = name, lang, settings
        self.kind = str(settings.get("kind") or name)
        self.code = str(settings.get("code") or lang)
        properties = self.properties()
        _check_values(f"corpus {name}", settings, properties)
        self.options = _filled(settings, properties)

    @classmethod
    def properties(cls) -> Schema:
        """Every key that a block of this kind may have, as properties of a JSON Schema."""
        return {**COMMON, **cls.SCHEMA.get("properties", {})}

    # ---- what it says of itself, before any of its data are here

    def lacks(self) -> str | None:
        """What the block and the language's own settings leave out that this kind needs; None when
        nothing. For one message: the key, and what it is."""
        for key in self.SCHEMA.get("required", ()):
            if not self.settings.get(key):
                what = self.SCHEMA["properties"][key].get("description", "").rstrip(".")
                return f"{key!r}: {what[:1].lower()}{what[1:]}"
        return None

    def data_settings(self) -> dict[str, Any]:
        """The settings that the corpus's files and manifests follow from, as they were given: what
        `download_corpus.py` and `prepare_manifest.py` get. An edit of any other makes nothing
        stale."""
        return {key: value for key, value in self.settings.items() if key not in self.BESIDE_DATA}

    @property
    def speakers(self) -> str:
        """Whose speaker ids these are: corpora with one name here call one person by one id."""
        return self.settings.get("speakers_of") or self.SPEAKERS or self.name

    def hours(self, split: str) -> Hours | None:
        """Hours of speech in a split in this language, before cleaning; None where nobody can know
        before the data are read."""
        given = self.settings.get("hours")
        if given is not None and split == self.settings.get("train_split"):
            return given.get(self.lang)
        return pinned.published_hours().get((self.kind, split, self.lang))

    def gigabytes(self) -> Size | None:
        """Size of the download in this language, without what languages share; None where nobody
        knows."""
        return None

    def shared_gigabytes(self) -> Size | None:
        """Size of a download that all languages share; None where they share nothing."""
        return None

    def licence(self) -> str | None:
        """The licence with the source that it asks to name: what the block says, else what the
        publisher does. None: recordings whose licence nobody has stated."""
        return self.settings.get("licence") or (str(self.LICENCE) if self.LICENCE else None)

    def is_here(self) -> bool:
        """Whether `source` says that the release lies on this machine already."""
        source = self.settings.get("source")
        return bool(source) and local_source(str(source)) is not None

    def tables(self) -> list[Path]:
        """The tables of somebody's own recordings, by name; a reader without `DOWNLOADS` has
        some."""
        return []

    def inputs(self) -> list[Path]:
        """What is made anew when somebody edits it: the tables of one's own recordings. A release
        never changes."""
        return [] if self.DOWNLOADS else self.tables()

    # ---- its data

    @abstractmethod
    def fetch(self, directory: Path) -> dict[str, Any]:
        """Bring every file that `read` needs under `directory`; called again after a fault, it
        continues.

        Returns:
            What `complete.json` records: where the data came from and which digests were verified.

        Raises:
            UserError: the source is absent or refuses, or a digest is wrong.
        """

    @abstractmethod
    def read(self, directory: Path, split: str) -> Iterator[Utterance]:
        """The utterances of one split, in a fixed order, those of one audio file in a row.

        Raises:
            UserError: a file that should be there is missing or malformed, or the corpus has no
                such split.
        """

    def fail(self, problem: str, remedy: str) -> UserError:
        """An error that names the corpus and the language: `raise self.fail(...)`."""
        return UserError(f"{self.name}/{self.lang}: {problem}; {remedy}")


def _check_values(place: str, settings: dict[str, Any], properties: Schema) -> None:
    """What a program that runs by hand must notice; the study's schema looks at everything."""
    allowed = sorted({*properties, "code"})
    if unknown := sorted(set(settings) - set(allowed)):
        near = difflib.get_close_matches(unknown[0], allowed, n=1)
        hint = f" (did you mean {near[0]!r}?)" if near else ""
        raise UserError(
            f"{place}: unknown key {unknown[0]!r}{hint}; keys of this kind: {', '.join(allowed)}"
        )
    for key, value in settings.items():
        listed = properties.get(key, {}).get("enum")
        if listed and value not in listed:
            raise UserError(f"{place}: {key} is {value!r}; allowed: {', '.join(map(str, listed))}")


def _filled(settings: dict[str, Any], properties: Schema) -> dict[str, Any]:
    made = dict(settings)
    for key, schema in properties.items():
        if key not in made and "default" in schema:
            made[key] = copy.deepcopy(schema["default"])
        if isinstance(made.get(key), dict):
            made[key] = _filled(made[key], schema.get("properties", {}))
    return made


def read_table(
    path: Path,
    *,
    delimiter: str = "\t",
    columns: list[str] | None = None,
    required: tuple[str, ...] = (),
    skip_long: bool = False,
) -> Iterator[dict[str, str]]:
    """Rows of a table with one record a line, as dicts.

    Quotes are ordinary characters: Common Voice's sentences hold unbalanced ones. A byte-order mark
    and CRLF line ends are taken off. A short row (an editor dropped trailing tabs) is filled with
    empty strings; a long one is an error, because its text would be cut silently.

    Args:
        columns: the names, where the file has no header line.
        required: names that must be among the columns.
        skip_long: leave long rows out and warn with their number: one line of a million must not
            stop a release of others.

    Raises:
        UserError: no such file, not UTF-8, no header, a required column is missing, or a row has
            too many fields.
    """
    try:
        # newline="\n" leaves U+2028 and friends inside a cell alone.
        with open(path, encoding="utf-8-sig", newline="\n") as stream:
            yield from _rows(path, stream, delimiter, columns, required, skip_long)
    except FileNotFoundError:
        raise UserError(f"{path}: no such file; is the download complete?") from None
    except UnicodeDecodeError as error:
        raise UserError(
            f"{path}: not UTF-8 ({error.reason} at byte {error.start}); convert the file to UTF-8"
        ) from error


def _rows(path, stream, delimiter, columns, required, skip_long) -> Iterator[dict[str, str]]:
    lines = (line.rstrip("\r\n") for line in stream)
    first = 1 if columns else 2  # the number of the first record's line
    if columns is None:
        columns = next(lines, "").split(delimiter)
        if columns == [""]:
            raise UserError(
                f"{path}: empty; a header line with {', '.join(required) or 'column names'} is "
                "needed"
            )
    missing = [name for name in required if name not in columns]
    if missing:
        raise UserError(
            f"{path}: no column {', '.join(missing)}; its columns are {', '.join(columns)}"
        )
    long_rows = 0
    for number, line in enumerate(lines, start=first):
        if not line:
            continue
        fields = line.split(delimiter)
        if len(fields) > len(columns):
            long_rows += 1
            if not skip_long:
                surplus = (
                    f"{len(fields)} fields, {len(columns)} columns; take the surplus {delimiter!r} "
                    "out"
                )
                raise UserError(f"{path}:{number}: {surplus}")
            continue
        fields += [""] * (len(columns) - len(fields))
        yield dict(zip(columns, fields, strict=True))
    if long_rows:
        log.warning("%s: %d rows with more fields than columns left out", path, long_rows)
