"""What every corpus offers: how to fetch its files, and how to read them as utterances."""

import logging
from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from warmstart.run.errors import UserError

Seconds = float

log = logging.getLogger(__name__)

_COMMON_KEYS = frozenset(
    {
        "kind",
        "code",
        "source",
        "revision",
        "verify",
        "max_drop_fraction",
        "train_split",
        "hours",
        "licence",
        "speakers_of",
    }
)


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


class Corpus(ABC):
    """One corpus in one language.

    Attributes:
        name: the corpus's name in the config and in paths.
        lang: ISO 639-1 code of the study.
        code: the corpus's own code for that language.
        settings: the corpus's block of the config.
    """

    #: Keys of the config block that this kind knows besides the common ones.
    KEYS: ClassVar[frozenset[str]] = frozenset()
    #: Splits that `read` knows; None where the corpus's own table names them.
    SPLITS: ClassVar[tuple[str, ...] | None] = None

    def __init__(self, name: str, lang: str, settings: dict[str, Any]):
        unknown = sorted(set(settings) - self.KEYS - _COMMON_KEYS)
        if unknown:
            allowed = ", ".join(sorted(self.KEYS | _COMMON_KEYS))
            raise UserError(
                f"corpus {name}: unknown key {', '.join(unknown)}; keys of this kind: {allowed}"
            )
        self.name = name
        self.lang = lang
        self.settings = settings
        self.code = str(settings.get("code") or lang)

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
