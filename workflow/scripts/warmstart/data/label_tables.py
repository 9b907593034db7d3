"""Tables that say what sentences are about, and questions on them: read, and joined with the
sentences of a test set.

A table is a `.tsv`, `.csv`, `.jsonl` or `.parquet` file, or a folder of such files. Columns are
those of SIB-200 and SIB-Fleurs (arXiv 2309.07445, 2501.06117), Belebele (arXiv 2308.16884), or of a
table of one's own; any others are ignored:

- topics: `category`, `topic`, `label` or `class`;
- the sentence: `sentence`, `text` or `raw_transcription`;
- which utterance it is: `id`, `path` or `filename` (one, or a list), the suffix of a file aside;
- which sentence of the corpus it is: `sentence_id` or `fleurs_id`, the same in all languages;
- `split`: of several, `train` alone is learnt from;
- questions: `mc_answer1` ... `mc_answer4`, `correct_answer_num` (from 1), and the passage as
  `flores_passage`, `passage` or the columns of a sentence.

Standard library and rapidfuzz only; Parquet is read with pyarrow.
"""

import collections
import csv
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from warmstart.data.corpora.base import beside, text_lines
from warmstart.run.errors import UserError, did_you_mean
from warmstart.run.files import reading

SUFFIXES = (".tsv", ".csv", ".jsonl", ".parquet")
TOPIC = ("category", "topic", "label", "class")
SENTENCE = ("sentence", "text", "raw_transcription")
PASSAGE = ("flores_passage", "passage", *SENTENCE)
UTTERANCE = ("id", "path", "filename")
SENTENCE_ID = ("sentence_id", "fleurs_id")
PARALLEL = ("index_id", *SENTENCE_ID)
"""Numbers that a sentence and its translations share; `index_id` is that of FLORES."""
ANSWERS = tuple(f"mc_answer{number}" for number in range(1, 5))
CORRECT = "correct_answer_num"

FARTHEST = 3
"""Letters by which a sentence may differ from that of a table (fdschmidt93/fleurs-slu,
scripts/align-sib-fleurs.py: LEVENSHTEIN_THRESHOLD)."""
_LETTERS_FOR_ONE = 10
"""A letter may differ for so many of the sentence: the authors join sentences of a hundred letters,
and in a prompt of ten three letters are another word."""

_AUDIO = (".wav", ".flac", ".mp3", ".ogg", ".opus", ".m4a")

BY_ID, BY_SENTENCE_ID, BY_TEXT, BY_DISTANCE = "id", "sentence id", "text", "nearly the same text"
CONFLICT, ABSENT = "two topics in the table", "not in the table"


@dataclass(frozen=True)
class Label:
    """A row of a table of topics.

    Attributes:
        topic: what it is about.
        text: the sentence, raw; empty where the table has ids alone.
        utterances: ids of utterances, without the suffix of a file.
        sentence_id: of the corpus; empty: none.
        key: what the sentence shares with its translations, column and value; empty: nothing.
        split: empty: the table has none.
    """

    topic: str
    text: str = ""
    utterances: tuple[str, ...] = ()
    sentence_id: str = ""
    key: str = ""
    split: str = ""


@dataclass(frozen=True)
class Question:
    """A question with four answers.

    Attributes:
        name: of the question: passage and number, or its place in the table.
        passage: raw text of what is heard; empty where an id names it.
        utterances: see `Label`.
        answers: in their order.
        correct: place of the right one, from 0.
    """

    name: str
    passage: str
    utterances: tuple[str, ...]
    answers: tuple[str, ...]
    correct: int


@dataclass(frozen=True)
class Spoken:
    """An utterance as it is joined with a table.

    Attributes:
        id: of the utterance.
        block: its unit of resampling: the sentence id of corpora that read sentences again.
        text: normalised reference.
        published: the corpus's own id of it; empty: the same.
    """

    id: str
    block: str
    text: str
    published: str = ""

    @property
    def name(self) -> str:
        """What a table calls it."""
        return self.published or self.id


# ---- reading


def files_of(path: str | Path) -> list[Path]:
    """The files that a table consists of.

    Raises:
        UserError: no such file or folder, none in it, or one of an unknown kind.
    """
    path = Path(path)
    if path.is_dir():
        found = sorted(one for one in path.iterdir() if one.suffix in SUFFIXES)
        if not found:
            raise UserError(f"{path}: no {', '.join(SUFFIXES)} in this folder; put the table there")
        return found
    if not path.is_file():
        raise UserError(f"{path}: no such table{beside(path)}; put it there, or correct the path")
    if path.suffix not in SUFFIXES:
        raise UserError(f"{path}: {path.suffix or 'no suffix'}; tables are {', '.join(SUFFIXES)}")
    return [path]


def read_labels(path: str | Path) -> tuple[list[Label], collections.Counter[str]]:
    """Rows of a table of topics, and how many rows were left out by reason.

    Raises:
        UserError: see `files_of`; no column of topics, or none that names a sentence; damaged.
    """
    found: list[Label] = []
    dropped: collections.Counter[str] = collections.Counter()
    for file in files_of(path):
        for row in _rows(file):
            topic = _first(row, TOPIC)
            text = _first(row, SENTENCE)
            utterances = _ids(row)
            sentence_id = _first(row, SENTENCE_ID)
            if not topic:
                dropped["no topic"] += 1
            elif not (text or utterances or sentence_id):
                dropped["no sentence and no id"] += 1
            else:
                key = next((f"{name} {row[name]}" for name in PARALLEL if _text(row, name)), "")
                # Files of one name in several languages are one prompt; hashes never are.
                key = key or (f"id {utterances[0]}" if utterances else "")
                split = _text(row, "split").lower()
                found.append(Label(topic, text, utterances, sentence_id, key, split))
    if not found:
        reasons = ", ".join(f"{count} {reason}" for reason, count in dropped.items())
        raise UserError(f"{path}: no row with a topic ({reasons or 'no rows'}); fill the table")
    return found, dropped


def read_questions(path: str | Path) -> tuple[list[Question], collections.Counter[str]]:
    """Rows of a table of questions, and how many rows were left out by reason.

    Raises:
        UserError: see `files_of`; a column is missing, or no row has a question.
    """
    found: list[Question] = []
    dropped: collections.Counter[str] = collections.Counter()
    for file in files_of(path):
        for number, row in enumerate(_rows(file), 1):
            answers = tuple(_text(row, name) for name in ANSWERS)
            correct = _text(row, CORRECT)
            passage, utterances = _first(row, PASSAGE), _ids(row)
            if not all(answers):
                dropped["an answer is missing"] += 1
            elif correct not in ("1", "2", "3", "4"):
                dropped["no right answer from 1 to 4"] += 1
            elif not (passage or utterances):
                dropped["no passage and no id"] += 1
            else:
                name = " ".join(
                    part for part in (_text(row, "link"), _text(row, "question_number")) if part
                )
                found.append(
                    Question(
                        name or f"{file.name} {number}",
                        passage,
                        utterances,
                        answers,
                        int(correct) - 1,
                    )
                )
    if not found:
        reasons = ", ".join(f"{count} {reason}" for reason, count in dropped.items())
        raise UserError(f"{path}: no question ({reasons or 'no rows'}); fill the table")
    return found, dropped


def check_columns(path: str | Path, *, questions: bool = False) -> None:
    """Look at the heads of a table; a Parquet file only has to be there.

    Raises:
        UserError: see `files_of`; or a column is missing, with those that there are.
    """
    wanted = _QUESTION_COLUMNS if questions else _LABEL_COLUMNS
    for file in files_of(path):
        if file.suffix != ".parquet" and (row := next(_rows(file), None)) is not None:
            _require(file, row, wanted)


_LABEL_COLUMNS = (TOPIC, (*SENTENCE, *UTTERANCE, *SENTENCE_ID))
_QUESTION_COLUMNS = (*((name,) for name in ANSWERS), (CORRECT,), (*PASSAGE, *UTTERANCE))


def _require(file: Path, row: Mapping[str, Any], wanted: Sequence[tuple[str, ...]]) -> None:
    for names in wanted:
        if not any(name in row for name in names):
            raise UserError(
                f"{file}: no column {' or '.join(names)}{did_you_mean(names[0], row)}; its columns "
                f"are {', '.join(map(str, row)) or 'none'}"
            )


def _rows(file: Path) -> Iterator[dict[str, Any]]:
    """Rows of one file.

    Raises:
        UserError: damaged.
    """
    if file.suffix == ".parquet":
        yield from _parquet(file)
        return
    if file.suffix == ".jsonl":
        for number, line in enumerate(text_lines(file), 1):
            if not line.strip():
                continue
            try:
                row = json.loads(line)
            except ValueError as error:
                raise UserError(f"{file}:{number}: not JSON ({error}); mend the line") from error
            if not isinstance(row, dict):
                raise UserError(f"{file}:{number}: no JSON object; write one a line")
            yield row
        return
    lines = text_lines(file)
    if file.suffix == ".tsv":
        # As pandas and `datasets` write them; in tables by hand a quote is a quote.
        reader = csv.DictReader(lines, delimiter="\t", quoting=csv.QUOTE_NONE, restval="")
    else:
        reader = csv.DictReader((f"{line}\n" for line in lines), restval="")
    try:
        for row in reader:
            row.pop(None, None)  # the surplus of a long row
            yield dict(row)
    except csv.Error as error:
        raise UserError(f"{file}:{reader.line_num}: {error}; mend the table") from error


def _parquet(file: Path) -> Iterator[dict[str, Any]]:
    """Rows of a Parquet file, without its audio: the columns that are known here alone are read.
    Numbers of a `ClassLabel` become their names, which `datasets` keeps beside the schema."""
    import pyarrow.parquet

    known = {*TOPIC, *PASSAGE, *UTTERANCE, *PARALLEL, "split", "link", "question_number", CORRECT}
    with reading(file, "get it again"):
        opened = pyarrow.parquet.ParquetFile(file)
        columns = [name for name in opened.schema_arrow.names if name in known | {*ANSWERS}]
        rows = opened.read(columns=columns).to_pylist()
        note = (opened.schema_arrow.metadata or {}).get(b"huggingface")
        features = json.loads(note)["info"]["features"] if note else {}
    names = {name: features.get(name, {}).get("names") for name in columns if name in TOPIC}
    for row in rows:
        for name, classes in names.items():
            if classes and isinstance(row[name], int) and 0 <= row[name] < len(classes):
                row[name] = classes[row[name]]
        yield row


def _text(row: Mapping[str, Any], name: str) -> str:
    value = row.get(name)
    return "" if value is None or value != value else str(value).strip()


def _first(row: Mapping[str, Any], names: Iterable[str]) -> str:
    return next((text for name in names if (text := _text(row, name))), "")


def _ids(row: Mapping[str, Any]) -> tuple[str, ...]:
    """Ids of utterances, the suffix of a file aside; those of SIB-Fleurs are lists."""
    found: list[str] = []
    for name in UTTERANCE:
        value = row.get(name)
        for one in value if isinstance(value, list | tuple) else [value]:
            if one is not None and one == one and (text := str(one).strip()):
                found.append(stem(text))
    return tuple(dict.fromkeys(found))


def stem(name: str) -> str:
    """What names an utterance: of a file its path without the suffix."""
    path = PurePosixPath(name)
    return path.with_suffix("").as_posix() if path.suffix.lower() in _AUDIO else name


# ---- joining


@dataclass(frozen=True)
class Joined:
    """Utterances with their rows of a table.

    Attributes:
        rows: utterance -> place in the table, of those that have one topic there.
        counts: how utterances were found, and why the others were not.
    """

    rows: dict[str, int]
    counts: collections.Counter[str]


def join(labels: Sequence[Label], texts: Sequence[str], spoken: Iterable[Spoken]) -> Joined:
    """Find the row of every utterance: by its id, by its sentence id, by its text, and by the
    nearest text of at most `FARTHEST` letters' difference.

    Rows of one sentence that disagree in their topic give none.

    Args:
        labels: the table.
        texts: their normalised sentences, empty where there is none.
        spoken: utterances.
    """
    by_id = _by_id(labels)
    by_sentence = _index((one.sentence_id, place) for place, one in enumerate(labels))
    by_text = _index((text, place) for place, text in enumerate(texts))
    near = Near(list(by_text))

    def places_of(one: Spoken) -> tuple[str, list[int]]:
        for how, index, name in (
            (BY_ID, by_id, one.name),
            (BY_SENTENCE_ID, by_sentence, one.block),
            (BY_TEXT, by_text, one.text),
        ):
            if name in index:
                return how, index[name]
        return BY_DISTANCE, [place for text in near.to(one.text) for place in by_text[text]]

    rows: dict[str, int] = {}
    counts: collections.Counter[str] = collections.Counter()
    for one in spoken:
        how, places = places_of(one)
        if not places:
            counts[ABSENT] += 1
        elif len({labels[place].topic for place in places}) > 1:
            counts[CONFLICT] += 1
        else:
            counts[how] += 1
            rows[one.id] = places[0]
    return Joined(rows, counts)


def _by_id(labels: Sequence[Label | Question]) -> dict[str, list[int]]:
    """Utterance -> rows. A file in a folder may be meant by its name alone, where no other folder
    has one of that name."""
    whole = _index((name, place) for place, one in enumerate(labels) for name in one.utterances)
    folders: dict[str, set[str]] = {}
    for name in whole:
        folders.setdefault(PurePosixPath(name).name, set()).add(name)
    alone = {last: whole[next(iter(names))] for last, names in folders.items() if len(names) == 1}
    return alone | whole


def _index(pairs: Iterable[tuple[str, int]]) -> dict[str, list[int]]:
    found: dict[str, list[int]] = {}
    for name, place in pairs:
        if name:
            found.setdefault(name, []).append(place)
    return found


class Near:
    """The nearest of some texts, by Levenshtein distance."""

    def __init__(self, texts: list[str]):
        self._texts = texts
        self._known: dict[str, list[str]] = {}

    def to(self, text: str) -> list[str]:
        """The nearest, all that are as near; none beyond `FARTHEST` letters, or a tenth of the
        text."""
        if text not in self._known:
            self._known[text] = self._search(text)
        return self._known[text]

    def _search(self, text: str) -> list[str]:
        from rapidfuzz import process
        from rapidfuzz.distance import Levenshtein

        most = min(FARTHEST, len(text) // _LETTERS_FOR_ONE)
        if not most or not self._texts:
            return []
        found = process.extract(
            text, self._texts, scorer=Levenshtein.distance, score_cutoff=most, limit=None
        )
        least = min((distance for _, distance, _ in found), default=0)
        return [near for near, distance, _ in found if distance == least]
