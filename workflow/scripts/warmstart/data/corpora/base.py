"""What every corpus offers: its account of itself (keys, splits, speakers, hours, size, licence),
how to fetch its files, and how to read them as utterances.

Read while the DAG is built: standard library only, here and at the top of every reader.
"""

import copy
import logging
import stat
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

from warmstart.data import licences
from warmstart.data.corpora import pinned
from warmstart.data.corpora.pinned import Count, Hours, Size
from warmstart.data.download import local_source
from warmstart.run.errors import UserError, did_you_mean

Seconds = float
Schema = dict[str, Any]

log = logging.getLogger(__name__)

_MANY = 40  # names that a message lists

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
        stated_s: how long the whole file is by the corpus's table; None where that does not say.
            A file that is shorter is not all there.
        gender, accent: of the speaker, as the corpus writes them (`data.traits` makes them alike);
            None where it does not say.
    """

    id: str
    audio: Path
    text: str
    speaker: str | None
    block: str
    intervals: tuple[tuple[Seconds, Seconds], ...] | None = None
    stated_s: Seconds | None = None
    gender: str | None = None
    accent: str | None = None


@dataclass(frozen=True, slots=True)
class BadRow:
    """A row of a table that is no utterance; it is dropped, counted and named.

    Attributes:
        id: what names it: file and line, or the publisher's id.
        reason: one word for the counts, e.g. broken_row, long_row, short_row, bad_row.
        detail: what is wrong, and what to do.
        of_split: whether the row is known to belong to the split that is read. The other rows count
            against all rows of the table, because ten damaged lines of a large table say nothing
            about a small split.
        cells: what can be read of it, where the columns are known to fit.
    """

    id: str
    reason: str
    detail: str
    of_split: bool = True
    cells: dict[str, str] | None = None


_OTHER_NAMES = "(other names)"
_MOST_NAMES = 1000


@dataclass
class Rows:
    """What a reader says of the rows of its tables while it reads a split.

    Attributes:
        read: records of the tables, headers and blank lines left out.
        elsewhere: split -> rows that belong to it and not to the one that is read.
        tables: the tables that were read.
    """

    read: int = 0
    elsewhere: Counter[str] = field(default_factory=Counter)
    tables: list[Path] = field(default_factory=list)

    def of(self, split: str) -> None:
        """Count a row of another split. Names beyond a thousand are counted together: a column of
        texts under the head `split` must not fill the memory."""
        if split not in self.elsewhere and len(self.elsewhere) >= _MOST_NAMES:
            split = _OTHER_NAMES
        self.elsewhere[split] += 1


@dataclass(frozen=True)
class Licence:
    """What a publisher allows, and what it asks for.

    Attributes:
        name: of the licence, as the publisher writes it.
        source: how the licence asks to name the source; empty where it does not.
        to_do: what a user does before the download, or keeps in mind; empty where that is nothing.
        audio_may_be_passed_on: whether recordings may stand in a page that others are given.
    """

    name: str
    source: str = ""
    to_do: str = ""
    audio_may_be_passed_on: bool = True

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
        rows: what became of the rows of its tables in the last `read`.

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
    #: Whose the utterance ids are: one id is one recording in every release and split, and under
    #: every name in the config. None: an id means something inside the corpus only.
    CLIPS: ClassVar[str | None] = None
    #: Whether `fetch` brings or makes files. False: the recordings are somebody's own and used in
    #: place, and their tables (`tables`) are inputs of what is made of them.
    DOWNLOADS: ClassVar[bool] = True
    #: What the publisher allows; None where only the owner of the recordings can say.
    LICENCE: ClassVar[Licence | None] = None
    #: What the publisher calls it; empty: it has the name that the configuration gives it.
    TITLE: ClassVar[str] = ""
    #: Who speaks, for the page: a sentence without its full stop.
    SPOKEN_BY: ClassVar[str] = ""
    #: What is known to be wrong with its references, for the page: a sentence.
    CAUTION: ClassVar[str] = ""
    #: What intervals resample where utterances name no other block: see `Utterance.block`.
    BLOCK: ClassVar[str] = "speaker"
    #: Whether a block's name says which sentence it is, whatever the language.
    SHARED_SENTENCES: ClassVar[bool] = False
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
        self.rows = Rows()

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

    def count(self, split: str) -> Count | None:
        """Utterances and blocks of a split in this language, before cleaning; None where nobody can
        know before the data are read."""
        return pinned.published_counts().get((self.kind, split, self.lang))

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

    def may_be_passed_on(self) -> bool:
        """Whether the licence lets a few recordings stand in a page that is passed on. Where
        nobody has stated it, where it forbids trade or changes, or where it is not known, no."""
        if self.LICENCE is not None and not self.settings.get("licence"):
            return self.LICENCE.audio_may_be_passed_on
        return licences.allows_passing_on(self.settings.get("licence"))

    def block_unit(self) -> str:
        """What a block of this corpus is: `speaker`, `sentence` or `utterance`."""
        return self.BLOCK

    def shares_sentences(self) -> bool:
        """Whether blocks of one name are the same sentence in all languages of this kind."""
        return self.SHARED_SENTENCES

    def is_here(self) -> bool:
        """Whether `source` says that the release lies on this machine already."""
        source = self.settings.get("source")
        return bool(source) and local_source(str(source)) is not None

    def codes(self) -> Mapping[str, str] | None:
        """The codes that the release has, each with its language by ISO 639; None where nobody
        lists them, or where the release lies on this machine and says so itself."""
        return None if self.is_here() else pinned.codes(self.kind) or None

    def check_code(self) -> None:
        """Hold the code against those of the release.

        Raises:
            UserError: it has no such code; with the one that was meant where that can be told.
        """
        given = self.settings.get("code", self.lang)
        if not isinstance(given, str) or not given:
            raise UserError(
                f"code is {given!r}; give the language's own code in {self.name}, in quotes where "
                "YAML reads it as something else"
            )
        known = self.codes()
        if known is None or self.code in known:
            return
        same = [code for code, lang in known.items() if lang == self.lang]
        meant = pinned.language_of_country(self.code.casefold())
        same += [code for code, lang in known.items() if lang == meant]
        hint = f" (did you mean {same[0]!r}?)" if same else did_you_mean(self.code, known)
        raise UserError(
            f"{self.name} has no language {self.code!r}{hint}; {self.codes_are_from()}: "
            f"{listed(self.code, known)}"
        )

    def codes_are_from(self) -> str:
        """What the list of codes is, for the message about one that is not in it."""
        return "its codes"

    def check_files(self, splits: Mapping[str, str]) -> None:
        """Look for what must lie on this machine before anything is fetched.

        Args:
            splits: key of the configuration -> the split that it asks this corpus for.

        Raises:
            UserError: a folder, a table, a column or a split is not there; with those that are.
        """
        source = self.settings.get("source")
        place = local_source(str(source)) if source else None
        if place is not None and not place.exists():
            raise self.fail(
                f"no folder or file {place}{beside(place)}",
                "correct `source` in the corpus's block, or remove it to fetch from the publisher",
            )

    def tables(self) -> list[Path]:
        """The tables of somebody's own recordings, by name; a reader without `DOWNLOADS` has
        some."""
        return []

    def place(self) -> str | None:
        """Folder of somebody's own recordings, as `fetch` records it under `source`; None for a
        release."""
        return None

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
    def read(self, directory: Path, split: str) -> Iterator[Utterance | BadRow]:
        """The utterances of one split, in a fixed order, those of one audio file in a row.

        A row that is none is given as a `BadRow`, where it can be told from the others. A reader
        that counts in `rows` what it reads and what belongs to other splits has its sum checked:
        every row is kept, dropped, or of another split.

        Raises:
            UserError: a file that should be there is missing or in another encoding, or the corpus
                has no such split.
        """

    def cut_id(self, split: str, utterance: Utterance) -> str:
        """Id of an utterance's cut in a manifest, unique in a study."""
        return f"{self.name}-{self.lang}-{split}-{utterance.id}"

    def fail(self, problem: str, remedy: str) -> UserError:
        """An error that names the corpus and the language: `raise self.fail(...)`."""
        return UserError(f"{self.name}/{self.lang}: {problem}; {remedy}")


def listed(value: str, known: Collection[str]) -> str:
    """The names that there are, for a message; of very many those with the same first letter."""
    if len(known) <= _MANY:
        return ", ".join(sorted(known))
    alike = [name for name in sorted(known) if name[:1] == value[:1].lower()]
    return f"{len(known)} in all, among them {', '.join(alike or sorted(known)[:_MANY])}"


def beside(path: Path) -> str:
    """The name beside a path that is not there that may have been meant, for a message."""
    missing = path
    while not missing.parent.exists() and missing.parent != missing:
        missing = missing.parent
    try:
        names = [found.name for found in missing.parent.iterdir()]
    except OSError:
        return ""
    hint = did_you_mean(missing.name, names)
    return f", because {missing.parent} has no {missing.name}{hint}" if hint else ""


def _check_values(place: str, settings: dict[str, Any], properties: Schema) -> None:
    """What a program that runs by hand must notice; the study's schema looks at everything."""
    allowed = sorted({*properties, "code"})
    if unknown := sorted(set(settings) - set(allowed)):
        raise UserError(
            f"{place}: unknown key {unknown[0]!r}{did_you_mean(unknown[0], allowed)}; keys of this "
            f"kind: {', '.join(allowed)}"
        )
    for key, value in settings.items():
        listed = properties.get(key, {}).get("enum")
        if listed and value not in listed:
            names = list(map(str, listed))
            raise UserError(
                f"{place}: {key} is {value!r}{did_you_mean(value, names)}; allowed: "
                f"{', '.join(names)}"
            )


def _filled(settings: dict[str, Any], properties: Schema) -> dict[str, Any]:
    made = dict(settings)
    for key, schema in properties.items():
        if key not in made and "default" in schema:
            made[key] = copy.deepcopy(schema["default"])
        if isinstance(made.get(key), dict):
            made[key] = _filled(made[key], schema.get("properties", {}))
    return made


@dataclass(frozen=True, slots=True)
class Row:
    """A row of a table: where it stands, and its cells by column."""

    where: str
    cells: dict[str, str]


def table_rows(
    path: Path,
    rows: Rows,
    *,
    columns: list[str] | None = None,
    required: tuple[str, ...] = (),
    text: str,
    audio: Callable[[dict[str, str]], Path | None],
) -> Iterator[Row | BadRow]:
    """Rows of a tab-separated table with one record a line, each of them once.

    Quotes are ordinary characters: Common Voice's sentences hold unbalanced ones. A line break
    inside a cell therefore breaks a record in two or more lines. They are found because they are
    shorter than the table is wide, and name no recording. All of them are given as bad rows, and so
    is the line before or after that holds the rest of the transcript: half a transcript must never
    become a pair.

    A short line that does name a recording is a row of its own, whose last cells an editor left
    out; empty strings fill it where no required column is among them.

    Args:
        rows: where they are counted.
        columns: the names, where the file has no header line.
        required: names that must be among the columns.
        text: the column of the transcript.
        audio: cells -> the recording that they name; None where they name none.

    Raises:
        UserError: no such file, not UTF-8, no header, or a required column is missing.
    """
    rows.tables.append(path)
    lines = text_lines(path)
    number_of_first, columns = _header(path, lines, columns, required)
    needed = max((columns.index(name) for name in required), default=0)
    text_is_first, text_is_last = columns[0] == text, columns[-1] == text
    held: Row | None = None  # not given yet: the next line may be the rest of it
    held_is_short = False
    pending: BadRow | None = None  # a fragment whose record may go on in the next whole line
    broken = "a line break inside a cell? write the record in one line"
    for number, line in enumerate(lines, start=number_of_first):
        if not line.strip():
            continue  # an empty line, or empty cells below the end of a sheet
        rows.read += 1
        where = f"{path.name}:{number}"
        fields = line.split("\t")
        size = f"{len(fields)} field{'s' * (len(fields) > 1)}, {len(columns)} columns"
        cells = dict(zip(columns, fields, strict=False))
        # A piece with tabs of its own may be as wide as the table; its quotes tell.
        begins = text_is_first and _opens(cells.get(text, ""))
        unended = held is not None and (text_is_last or held_is_short) and _opens(held.cells[text])
        ends = unended and _is_odd(line)
        if (len(fields) < len(columns) or begins or ends) and not _is_file(audio(cells)):
            if held is not None and (held_is_short or ends or (text_is_last and len(fields) == 1)):
                yield BadRow(
                    held.where,
                    "broken_row",
                    f"the next line, {number}, is a piece of it: {broken}",
                    cells=None if held_is_short else held.cells,
                )
            elif held is not None:
                yield held
            held = None
            pending = BadRow(where, "broken_row", f"{size}, and no recording: {broken}")
            yield pending
            pending = pending if len(fields) == 1 or begins else None
            continue
        if held is not None:
            yield held
            held = None
        if len(fields) > len(columns):
            yield BadRow(where, "long_row", f"{size}; take the surplus tab out")
        elif len(fields) <= needed:
            yield BadRow(where, "short_row", f"{size}; no {columns[needed]}: {broken}")
        elif pending is not None and text_is_first:
            yield BadRow(
                where, "broken_row", f"the line before is a piece of it: {broken}", cells=cells
            )
        else:
            held = Row(where, {name: cells.get(name, "") for name in columns})
            held_is_short = len(fields) < len(columns)
        pending = None
    if held is not None and held_is_short and not _ends_a_line(path):
        yield BadRow(
            held.where, "broken_row", "the table ends inside it; is all of the file there?"
        )
    elif held is not None:
        yield held


def _opens(cell: str) -> bool:
    """Whether a quoted cell begins that does not end."""
    return cell.startswith('"') and _is_odd(cell)


def _is_odd(text: str) -> bool:
    return text.count('"') % 2 == 1


def _ends_a_line(path: Path) -> bool:
    with open(path, "rb") as stream:
        stream.seek(-1, 2)
        return stream.read() in b"\r\n"


def _is_file(path: Path | None) -> bool:
    try:
        return path is not None and stat.S_ISREG(path.stat().st_mode)
    except (OSError, ValueError):  # ValueError: a NUL in the name
        return False


def read_table(
    path: Path, *, columns: list[str] | None = None, required: tuple[str, ...] = ()
) -> Iterator[dict[str, str]]:
    """Rows of a tab-separated table with one record a line, as dicts, without the care for broken
    records of `table_rows`.

    Quotes are ordinary characters. A byte-order mark and CRLF line ends are taken off. A short row
    is filled with empty strings; the surplus of a long one is left out.

    Args:
        columns: the names, where the file has no header line.
        required: names that must be among the columns.

    Raises:
        UserError: no such file, not UTF-8, no header, or a required column is missing.
    """
    lines = text_lines(path)
    _, columns = _header(path, lines, columns, required)
    for line in lines:
        if line:
            fields = line.split("\t")[: len(columns)]
            fields += [""] * (len(columns) - len(fields))
            yield dict(zip(columns, fields, strict=True))


def text_lines(path: Path) -> Iterator[str]:
    """Lines of a UTF-8 file without their ends; a byte-order mark is taken off.

    Raises:
        UserError: no such file, or another encoding: with the byte where it shows.
    """
    place = 0
    try:
        with open(path, "rb") as stream:
            for raw in stream:
                try:
                    line = raw.decode("utf-8")
                except UnicodeDecodeError as error:
                    guess = "UTF-16" if raw[:2] in (b"\xff\xfe", b"\xfe\xff") else "LATIN1"
                    raise UserError(
                        f"{path}: not UTF-8 ({error.reason} at byte {place + error.start}); "
                        f"convert the file to UTF-8, e.g. iconv -f {guess} -t UTF-8"
                    ) from error
                yield (line.removeprefix("\ufeff") if place == 0 else line).rstrip("\r\n")
                place += len(raw)
    except FileNotFoundError:
        raise UserError(f"{path}: no such file; is the download complete?") from None
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror})") from error


def _header(
    path: Path, lines: Iterator[str], columns: list[str] | None, required: tuple[str, ...]
) -> tuple[int, list[str]]:
    """Number of the first record's line, and the columns."""
    if columns is not None:
        return 1, columns
    columns = next(lines, "").split("\t")
    if columns == [""]:
        raise UserError(
            f"{path}: empty; a header line with {', '.join(required) or 'column names'} is needed"
        )
    missing = [name for name in required if name not in columns]
    if missing:
        raise UserError(
            f"{path}: no column {', '.join(missing)}; its columns are {', '.join(columns)}"
            + _hint(missing, columns)
        )
    if twice := [name for name, times in Counter(columns).items() if name and times > 1]:
        raise UserError(
            f"{path}: the column {twice[0]} stands twice in its header; take one of them out"
        )
    return 2, columns


def _hint(missing: list[str], columns: list[str]) -> str:
    if len(columns) == 1 and (found := [mark for mark in ";,|" if mark in columns[0]]):
        return f"; separate them with tabs, not with {found[0]!r}"
    if any("\r" in column for column in columns):
        return "; its lines end in CR alone: save it with line ends LF or CRLF"
    plain = {column.strip().strip('"').lower(): column for column in columns}
    for name in missing:
        if name in plain:
            return f"; write {name!r} for {plain[name]!r}: lower case, no blanks, no quotes"
    return ""
