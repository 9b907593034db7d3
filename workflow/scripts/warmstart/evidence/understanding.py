"""What is understood of what was heard: topics and answers told from hypotheses, and topics told
from the encoder states of a donor.

After Fleurs-SLU (Schmidt et al. 2025, arXiv 2501.06117): a cascade classifies what a recogniser
wrote; end to end, a classifier reads the mean state of an encoder. Everything is learnt from
sentences that are not in the test set.
"""

import json
import logging
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from warmstart.data import label_tables, text
from warmstart.data.label_tables import Joined, Label, Question, Spoken
from warmstart.data.utterances import published_id, read_test_set
from warmstart.evidence import classifiers, row_files
from warmstart.evidence.keys import FULL
from warmstart.evidence.row_files import RowGroups
from warmstart.evidence.understood import CASCADE, COLUMNS, DECODE, PROBE, QUESTIONS
from warmstart.run import files
from warmstart.run.errors import UserError

_LOG = logging.getLogger(__name__)

TRAIN, TEST = "train", "test"
_MOST_OF_PASSAGE = 0.9  # of its letters that must be in the test set, or the passage was not heard
_SCORES = [
    *DECODE,
    *("id", "block", "reference", "hypothesis"),
    *("ref_words", "substitutions", "deletions", "insertions"),
]


# ---- what is asked


@dataclass(frozen=True)
class Asked:
    """What is asked of one language.

    Attributes:
        lang: of the test sets.
        texts: language -> its normaliser.
        labels: test set -> language -> table of topics.
        train: test set -> language -> manifest whose sentences are learnt from; without one the
            sentences of the table are.
        questions: test set -> table of questions.
        sources: languages that probes are learnt from beside the own.
        states: arm -> language -> states of its donor.
        tiers: arm -> tier of these states.
    """

    lang: str
    texts: Mapping[str, text.TextSettings]
    labels: Mapping[str, Mapping[str, Path]] = field(default_factory=dict)
    train: Mapping[str, Mapping[str, Path]] = field(default_factory=dict)
    questions: Mapping[str, Path] = field(default_factory=dict)
    sources: Sequence[str] = ()
    states: Mapping[str, Mapping[str, Path]] = field(default_factory=dict)
    tiers: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, settings: Mapping[str, Any]) -> "Asked":
        """From JSON (`slices.understanding`)."""
        return cls(
            settings["lang"],
            settings["texts"],
            _paths(settings.get("labels", {})),
            _paths(settings.get("train", {})),
            {name: Path(path) for name, path in settings.get("questions", {}).items()},
            tuple(settings.get("sources", ())),
            _paths(settings.get("states", {})),
            settings.get("tiers", {}),
        )


def _paths(block: Mapping[str, Mapping[str, str]]) -> dict[str, dict[str, Path]]:
    return {name: {lang: Path(path) for lang, path in own.items()} for name, own in block.items()}


class Answer:
    """What comes out, written as it comes: a large study has millions of rows.

    Args:
        writer: of the rows.

    Attributes:
        about: for each test set, kind and source, a status and counts: see `note`.
    """

    def __init__(self, writer: RowGroups):
        self._writer = writer
        self.about: list[dict[str, Any]] = []

    def add(self, rows: pd.DataFrame) -> None:
        """Write rows of `COLUMNS`."""
        self._writer.add(rows)

    def note(
        self, test_set: str, kind: str, source: str, why: str, counts: Mapping[str, Any]
    ) -> None:
        """Say what became of a question to a test set.

        Args:
            why: why nothing is estimated, or empty.
            counts: of rows, utterances and sentences, by reason.
        """
        status = f"not estimable: {why}" if why else "ok"
        _LOG.log(
            logging.WARNING if why else logging.INFO,
            "%s, %s from %s: %s; %s",
            test_set,
            kind,
            source,
            status,
            json.dumps(counts, ensure_ascii=False),
        )
        self.about.append(
            {
                "test_set": test_set,
                "kind": kind,
                "source": source,
                "status": status,
                "counts": dict(counts),
            }
        )


def understand(scores: Path, asked: Asked, output: Path) -> None:
    """Ask everything of one language.

    Args:
        scores: score file of the language, with references and hypotheses.
        asked: what.
        output: gets the rows as Parquet; what is said of them stands as JSON beside it.

    Raises:
        UserError: a table cannot be read, or the scores lack a test set that is asked.
    """
    with row_files.writing(output, COLUMNS.items()) as writer:
        answer = Answer(writer)
        for test_set in dict.fromkeys([*asked.labels, *asked.questions]):
            heard = Heard.read(scores, test_set, asked.lang)
            if test_set in asked.labels:
                _topics(heard, asked, test_set, answer)
            if test_set in asked.questions:
                _questions(heard, asked, test_set, answer)
    files.write_json(output.with_suffix(".json"), answer.about)


# ---- what was heard


@dataclass(frozen=True)
class Heard:
    """A test set in the score file of its language.

    Attributes:
        file: of the scores.
        groups: row groups that hold decodes of the test set.
        spoken: utterances, in the order of the file.
    """

    file: Path
    groups: tuple[int, ...]
    spoken: tuple[Spoken, ...]

    @classmethod
    def read(cls, path: Path, test_set: str, lang: str) -> "Heard":
        """Find a test set.

        Raises:
            UserError: it is not in the scores.
        """
        import pyarrow.parquet

        with files.reading(path):
            opened = pyarrow.parquet.ParquetFile(path)
            groups, spoken = [], {}
            for number in range(opened.num_row_groups):
                names = opened.read_row_group(number, ["test_set", "id", "block", "reference"])
                part = names.to_pandas()
                part = part[part.test_set == test_set]
                if part.empty:
                    continue
                groups.append(number)
                if not spoken:
                    spoken = {
                        row.id: Spoken(row.id, row.block, row.reference, published_id(row.id, lang))
                        for row in part.itertuples()
                    }
        if not groups:
            raise UserError(f"{path}: no test set {test_set!r}; score the language again")
        return cls(path, tuple(groups), tuple(spoken.values()))

    def decodes(self, test_set: str) -> Iterator[pd.DataFrame]:
        """Rows of the score file, some decodes at a time."""
        import pyarrow.parquet

        with files.reading(self.file):
            opened = pyarrow.parquet.ParquetFile(self.file)
            for number in self.groups:
                part = opened.read_row_group(number, _SCORES).to_pandas()
                yield part[part.test_set == test_set]


@dataclass(frozen=True)
class Material:
    """Labelled sentences to learn from.

    Attributes:
        ids: utterances; of a table's own sentences nothing was said, and these are empty.
        texts: normalised.
        topics: theirs.
        left_out: why sentences are not among them.
    """

    ids: tuple[str, ...]
    texts: tuple[str, ...]
    topics: tuple[str, ...]
    left_out: Counter[str]

    def sentences(self) -> tuple[list[str], list[str]]:
        """Every sentence once, with its topic."""
        once = {one: topic for one, topic in zip(self.texts, self.topics, strict=True) if one}
        return list(once), list(once.values())

    def counts(self) -> dict[str, Any]:
        """For the record."""
        sentences, topics = self.sentences()
        return {
            "sentences": len(sentences),
            "topics": dict(Counter(topics).most_common()),
            "left_out": dict(self.left_out),
        }


@dataclass(frozen=True)
class Labelled:
    """A test set with its topics.

    Attributes:
        labels: rows of the table.
        dropped: rows of the table that are none, by reason.
        joined: utterances with their rows.
        texts: normalised references of the test set, labelled or not.
        keys: what its labelled sentences share with their translations.
    """

    labels: Sequence[Label]
    dropped: Counter[str]
    joined: Joined
    texts: frozenset[str]
    keys: frozenset[str]

    @property
    def topics(self) -> dict[str, str]:
        """Utterance -> topic."""
        return {name: self.labels[place].topic for name, place in self.joined.rows.items()}

    def counts(self) -> dict[str, Any]:
        """For the record."""
        return {
            "rows": len(self.labels),
            "rows_left_out": dict(self.dropped),
            "utterances": dict(self.joined.counts),
            "topics": dict(Counter(self.topics.values()).most_common()),
        }


def _labelled(spoken: Sequence[Spoken], path: Path, settings: text.TextSettings) -> Labelled:
    labels, dropped = label_tables.read_labels(path)
    texts = [text.normalize(one.text, settings) for one in labels]
    joined = label_tables.join(labels, texts, spoken)
    keys = {labels[place].key for place in joined.rows.values()} - {""}
    return Labelled(labels, dropped, joined, frozenset(one.text for one in spoken), frozenset(keys))


def material(
    labels: Sequence[Label],
    texts: Sequence[str],
    train: Sequence[Spoken] | None,
    test: Labelled,
) -> Material:
    """Labelled sentences that are not in the test set: none of its texts (nor nearly), and none of
    which it has the translation.

    Args:
        labels: a table, in the language that is learnt from.
        texts: its normalised sentences.
        train: utterances to learn from; None: the table's own sentences.
        test: the test set.
    """
    if train is None:
        wanted = [
            ("", texts[place], one)
            for place, one in enumerate(labels)
            if one.split in ("", TRAIN) and texts[place]
        ]
        left_out = Counter(
            {"of another split": sum(one.split not in ("", TRAIN) for one in labels)}
        )
    else:
        joined = label_tables.join(labels, texts, train)
        wanted = [
            (one.id, one.text, labels[joined.rows[one.id]])
            for one in train
            if one.id in joined.rows
        ]
        reasons = (label_tables.CONFLICT, label_tables.ABSENT)
        left_out = Counter({reason: joined.counts[reason] for reason in reasons})
    near = label_tables.Near(sorted(test.texts))
    kept = []
    for name, sentence, label in wanted:
        if sentence in test.texts or label.key in test.keys or near.to(sentence):
            left_out["in the test set"] += 1
        else:
            kept.append((name, sentence, label.topic))
    names, sentences, topics = zip(*kept, strict=True) if kept else ((), (), ())
    return Material(names, sentences, topics, +left_out)


def _utterances(path: Path | None, lang: str, settings: text.TextSettings) -> list[Spoken] | None:
    """A manifest as it is joined with tables."""
    if path is None:
        return None
    return [
        Spoken(one.id, one.block, text.normalize(one.text, settings), published_id(one.id, lang))
        for one in read_test_set(path)
    ]


# ---- topics


def _topics(heard: Heard, asked: Asked, test_set: str, answer: Answer) -> None:
    lang, tables = asked.lang, asked.labels[test_set]
    test = _labelled(heard.spoken, tables[lang], asked.texts[lang])
    common = {"test": test.counts()}
    why = _unfit(test, len(heard.spoken), tables[lang])
    if why:
        answer.note(test_set, CASCADE, lang, why, common)
        return
    found = {}
    for source in dict.fromkeys([lang, *(one for one in asked.sources if one in tables)]):
        settings = asked.texts[source]
        labels = test.labels if source == lang else label_tables.read_labels(tables[source])[0]
        texts = [text.normalize(one.text, settings) for one in labels]
        train = _utterances(asked.train.get(test_set, {}).get(source), source, settings)
        found[source] = material(labels, texts, train, test)
    own = found[lang]
    learnt = classifiers.of_texts(*own.sentences())
    counts = common | {"learnt_from": own.counts(), "unseen": _unseen(test, own)}
    answer.note(test_set, CASCADE, lang, learnt.why, counts)
    if not learnt.why:
        for rows in _cascade(heard, test_set, test, learnt):
            answer.add(rows)
    for arm, states in asked.states.items():
        for source, known in found.items():
            _probe(asked, test_set, arm, source, known, states, test, heard, answer)


def _unfit(test: Labelled, utterances: int, table: Path) -> str:
    """Why topics of a test set say nothing."""
    topics = set(test.topics.values())
    if not topics:
        reasons = ", ".join(f"{count} {reason}" for reason, count in test.joined.counts.items())
        return f"{table} labels none of {utterances} utterances ({reasons})"
    if len(topics) < 2:
        return f"one topic in the test set ({next(iter(topics))})"
    return ""


def _unseen(test: Labelled, known: Material) -> dict[str, int]:
    """Topics of the test set that nothing was learnt of, with their utterances: all of them are
    wrong."""
    seen = set(known.topics)
    return dict(Counter(topic for topic in test.topics.values() if topic not in seen))


def _cascade(
    heard: Heard, test_set: str, test: Labelled, learnt: classifiers.Learnt
) -> Iterator[pd.DataFrame]:
    """Topics of hypotheses and of references."""
    topics = test.topics
    references = sorted({one.text for one in heard.spoken if one.id in topics})
    read_as = dict(zip(references, learnt.says(references), strict=True))
    for part in heard.decodes(test_set):
        part = part[part.id.isin(list(topics))]
        said = learnt.says(part.hypothesis.tolist())
        truth = part.id.map(topics)
        read = part.reference.map(read_as)
        yield _frame(
            part,
            kind=CASCADE,
            source=part.lang,
            sentence=part.reference,
            topic=truth,
            said=said,
            read=read,
            right=(truth == said).astype(float),
            right_reference=(truth == read).astype(float),
        )


def _frame(part: pd.DataFrame, **columns: Any) -> pd.DataFrame:
    errors = part.substitutions + part.deletions + part.insertions
    return part[[*DECODE, "id"]].assign(words=part.ref_words, errors=errors, **columns)


def _probe(
    asked: Asked,
    test_set: str,
    arm: str,
    source: str,
    known: Material,
    states: Mapping[str, Path],
    test: Labelled,
    heard: Heard,
    answer: Answer,
) -> None:
    """Topics from the states of one arm's donor."""
    own, target = (read_states(states[lang], test_set) for lang in (source, asked.lang))
    kept = [place for place, name in enumerate(known.ids) if (TRAIN, name) in own]
    counts = {
        "arm": arm,
        "learnt_from": known.counts(),
        "unseen": _unseen(test, known),
        "without_states": len(known.ids) - len(kept),
    }
    topics = test.topics
    asked_of = [one for one in heard.spoken if one.id in topics and (TEST, one.id) in target]
    counts["test_without_states"] = len(topics) - len(asked_of)
    if not kept or not asked_of:
        side = "learn from" if not kept else "ask"
        answer.note(test_set, PROBE, source, f"no labelled utterance with states to {side}", counts)
        return
    learnt = classifiers.of_states(
        np.stack([own[TRAIN, known.ids[place]] for place in kept]),
        [known.topics[place] for place in kept],
        [known.texts[place] for place in kept],
    )
    answer.note(test_set, PROBE, source, learnt.why, counts)
    if learnt.why:
        return
    said = learnt.says(np.stack([target[TEST, one.id] for one in asked_of]))
    truth = [topics[one.id] for one in asked_of]
    answer.add(
        pd.DataFrame(
            {
                "kind": PROBE,
                "source": source,
                "training_set": asked.lang,
                "lang": asked.lang,
                "test_set": test_set,
                "arm": arm,
                "hours": 0.0,
                "seed": 0,
                "precision": FULL,
                "tier": asked.tiers[arm],
                "id": [one.id for one in asked_of],
                "sentence": [one.text for one in asked_of],
                "topic": truth,
                "said": said,
                "read": None,
                "right": [float(one == other) for one, other in zip(truth, said, strict=True)],
                "right_reference": np.nan,
                "words": 0,
                "errors": 0,
            }
        )
    )


def read_states(path: Path, test_set: str) -> dict[tuple[str, str], np.ndarray]:
    """(`train` or `test`, utterance) -> (D,) mean state, of one test set and what is learnt for
    it."""
    with files.reading(path):
        table = pd.read_parquet(path)
    own = table[table.test_set == test_set]
    return {
        (row.part, row.id): np.asarray(row.state, np.float32)
        for row in own.itertuples()
        if np.isfinite(row.state).all()
    }


# ---- questions


@dataclass(frozen=True)
class Passage:
    """What is heard of a question: an utterance for each sentence, in order."""

    question: Question
    utterances: tuple[str, ...]
    key: str


def _questions(heard: Heard, asked: Asked, test_set: str, answer: Answer) -> None:
    settings = asked.texts[asked.lang]
    questions, dropped = label_tables.read_questions(asked.questions[test_set])
    passages, counts = find_passages(questions, heard.spoken, settings)
    record = {"rows_left_out": dict(dropped), "questions": dict(counts)}
    if not passages:
        why = f"{asked.questions[test_set]} has no question whose passage is heard"
        answer.note(test_set, QUESTIONS, asked.lang, why, record)
        return
    answer.note(test_set, QUESTIONS, asked.lang, "", record)
    choices = [
        [text.normalize(one, settings) for one in each.question.answers] for each in passages
    ]
    references = {one.id: one.text for one in heard.spoken}
    whole = [" ".join(references[name] for name in each.utterances) for each in passages]
    known = sorted({*whole, *(one for own in choices for one in own)})
    read = _answers(known, whole, choices)
    for part in heard.decodes(test_set):
        for _, decode in part.groupby(DECODE, sort=False):
            rows = decode.set_index("id")
            said = [
                " ".join(rows.hypothesis[name] for name in each.utterances) for each in passages
            ]
            answer.add(_answered(rows, passages, read, _answers(known, said, choices), asked.lang))


def find_passages(
    questions: Sequence[Question], spoken: Sequence[Spoken], settings: text.TextSettings
) -> tuple[list[Passage], Counter[str]]:
    """The utterances that say each question's passage: those that it names, or those whose
    references stand in it. Of several readings of a sentence the first by id is taken.

    Returns:
        Questions whose passage is heard, and how many were found or left out, by reason.
    """
    readings: dict[str, str] = {}
    for one in sorted(spoken, key=lambda one: one.id):
        if one.text:
            readings.setdefault(one.text, one.id)
    longest = sorted(readings, key=lambda sentence: (-len(sentence), sentence))
    called = {one.name: one.id for one in spoken}
    ids = {one.id: one.text for one in spoken}
    found, counts = [], Counter()
    for question in questions:
        named = [called[name] for name in question.utterances if name in called]
        if named:
            counts[label_tables.BY_ID] += 1
            found.append(Passage(question, tuple(named), " ".join(ids[name] for name in named)))
            continue
        passage = text.normalize(question.passage, settings)
        inside = _inside(f" {passage} ", longest)
        said = sum(len(sentence) + 1 for _, sentence in inside)
        if not inside:
            counts[label_tables.ABSENT.replace("table", "test set")] += 1
        elif said < _MOST_OF_PASSAGE * len(passage):
            counts["a part of the passage alone is in the test set"] += 1
        else:
            counts[label_tables.BY_TEXT] += 1
            names = tuple(readings[sentence] for _, sentence in inside)
            found.append(Passage(question, names, passage))
    return found, counts


def _inside(passage: str, longest: Sequence[str]) -> list[tuple[int, str]]:
    """Sentences that stand in a passage, with their places, by place. Of two that share letters the
    longer one: "yes" is no part of "yes please".

    Args:
        passage: with a blank at each end.
        longest: sentences, the longest first.
    """
    found: list[tuple[int, str]] = []
    for sentence in longest:
        place = passage.find(f" {sentence} ")
        end = place + len(sentence) + 1
        if place >= 0 and all(end <= at or at + len(one) + 1 <= place for at, one in found):
            found.append((place, sentence))
    return sorted(found)


def _answers(
    known: Sequence[str], heard: Sequence[str], choices: Sequence[Sequence[str]]
) -> list[np.ndarray]:
    """Shares of each choice."""
    return [classifiers.chosen(alike) for alike in classifiers.likeness(known, heard, choices)]


def _answered(
    rows: pd.DataFrame,
    passages: Sequence[Passage],
    read: Sequence[np.ndarray],
    said: Sequence[np.ndarray],
    lang: str,
) -> pd.DataFrame:
    """Rows of one decode, one a question."""
    errors = rows.substitutions + rows.deletions + rows.insertions
    first = rows.iloc[0]
    return pd.DataFrame(
        {
            "kind": QUESTIONS,
            "source": lang,
            **{name: first[name] for name in DECODE},
            "id": [each.question.name for each in passages],
            "sentence": [each.key for each in passages],
            "topic": [str(each.question.correct + 1) for each in passages],
            "said": [str(int(shares.argmax()) + 1) for shares in said],
            "read": [str(int(shares.argmax()) + 1) for shares in read],
            "right": [
                float(shares[each.question.correct])
                for each, shares in zip(passages, said, strict=True)
            ],
            "right_reference": [
                float(shares[each.question.correct])
                for each, shares in zip(passages, read, strict=True)
            ],
            "words": [int(rows.ref_words[list(each.utterances)].sum()) for each in passages],
            "errors": [int(errors[list(each.utterances)].sum()) for each in passages],
        }
    )
