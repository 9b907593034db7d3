"""Counts of errors per utterance: words, characters, numbers, rare words, empty and looping
hypotheses, emission delay.

Rates are never stored here, only counts: every rate of the study is a ratio of sums. Alignments
come from jiwer.
"""

import collections
import json
import logging
import statistics
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import jiwer
from rapidfuzz.distance import Levenshtein

from warmstart.data import cut_lines, text, traits
from warmstart.data.utterances import TestUtterance, read_test_set
from warmstart.evidence import leaderboard
from warmstart.evidence.keys import FULL, KEYS
from warmstart.run import vouchers
from warmstart.run.errors import Damaged, UserError
from warmstart.run.files import read_json

_LOG = logging.getLogger(__name__)
_LISTED_IDS = 10
_LOOP_REPEATS = 4  # so many repeats of one n-gram in a row are no natural speech
_LOOP_ORDER = 4  # longest n-gram looked at, words
_ERRORS = ("substitutions", "deletions", "insertions")


def read_hypotheses(path: str | Path, references: dict[str, TestUtterance]) -> list[dict[str, Any]]:
    """Records of a hypothesis file, one for each reference (by id) and no other.

    Raises:
        UserError: an id is missing, extra or doubled, a line is no JSON, or a reference differs
            from the manifest's.
    """
    records: dict[str, dict[str, Any]] = {}
    doubled, stale = [], []
    for number, line in enumerate(_lines(path), 1):
        try:
            record = json.loads(line)
            name, _ = record["id"], record["hyp"]
        except (ValueError, KeyError, TypeError) as error:
            raise UserError(
                f"{path}, line {number}: no hypothesis record ({error!r}); remove the file and "
                "decode again"
            ) from None
        if name in records:
            doubled.append(name)
        records[name] = record
        if name in references and record.get("ref", references[name].text) != references[name].text:
            stale.append(name)
    missing = [name for name in references if name not in records]
    extra = [name for name in records if name not in references]
    faults = [
        f"{len(names)} {what}: "
        f"{', '.join(names[:_LISTED_IDS])}{' ...' if len(names) > _LISTED_IDS else ''}"
        for what, names in (
            ("missing", missing),
            ("not in the test manifest", extra),
            ("doubled", doubled),
            ("with another reference than the manifest's", stale),
        )
        if names
    ]
    if faults:
        raise UserError(
            f"{path}: not the {len(references)} ids of the test manifest; {'; '.join(faults)}; "
            "remove it and decode again"
        )
    return [records[name] for name in references]


def _lines(path: str | Path) -> Iterable[str]:
    try:
        with open(path, encoding="utf-8") as stream:
            yield from stream
    except UnicodeDecodeError as error:
        raise Damaged(
            f"{path}: damaged, not UTF-8 ({error}); delete it and run the workflow again"
        ) from error


def count_words(texts: Iterable[str]) -> collections.Counter:
    """Frequencies of words in normalised texts."""
    counts: collections.Counter = collections.Counter()
    for line in texts:
        counts.update(line.split())
    return counts


def training_words(pool: str | Path) -> collections.Counter:
    """Word frequencies of a pool, whose supervisions hold normalised text."""
    return count_words(cut_lines.supervision(cut).get("text") or "" for cut in cut_lines.read(pool))


def is_looping(hypothesis: str, reference: str) -> bool:
    """Whether the hypothesis says 1 to 4 words four times in a row or more, and more often than the
    reference does."""
    repeats = _longest_repeat(hypothesis.split())
    return repeats >= _LOOP_REPEATS and repeats > _longest_repeat(reference.split())


def _longest_repeat(words: list[str]) -> int:
    best = 1 if words else 0
    for order in range(1, _LOOP_ORDER + 1):
        run = 0
        for place in range(order, len(words)):
            run = run + 1 if words[place] == words[place - order] else 0
            best = max(best, run // order + 1)
    return best


def find_anchors(headers: dict[Path, dict[str, Any]]) -> dict[Path, Path]:
    """For each hypothesis file, the offline decode of the same run and test set: of its own
    precision, else of `full`.

    Of several offline tiers the one that hears most.
    """

    def decode(header: dict[str, Any], precision: str) -> tuple:
        return (
            *(str(header[key]) for key in KEYS if key not in ("precision", "tier")),
            precision,
        )

    by_context = sorted(headers.items(), key=lambda item: (item[1]["right"], item[1]["left"]))
    offline = {decode(h, h["precision"]): path for path, h in by_context if h["offline"]}
    anchors = {}
    for path, h in headers.items():
        anchor = offline.get(decode(h, h["precision"])) or offline.get(decode(h, FULL))
        if anchor is not None:
            anchors[path] = anchor
    return anchors


def align_counts(
    references: list[str], hypotheses: list[str]
) -> tuple[list[dict[str, int]], list[set[int]], list[dict[str, int]]]:
    """jiwer's counts for each pair of normalised texts.

    Returns:
        Per utterance: word counts {hits, substitutions, deletions, insertions}, the places of
        reference words that were substituted or deleted, and character counts.
    """
    words = jiwer.process_words(references, hypotheses)
    characters = jiwer.process_characters(references, hypotheses)
    wrong = [
        {
            place
            for chunk in chunks
            if chunk.type in ("substitute", "delete")
            for place in range(chunk.ref_start_idx, chunk.ref_end_idx)
        }
        for chunks in words.alignments
    ]
    return (
        [chunk_counts(c) for c in words.alignments],
        wrong,
        [chunk_counts(c) for c in characters.alignments],
    )


def chunk_counts(chunks: list) -> dict[str, int]:
    """Hits, substitutions, deletions and insertions of one of jiwer's alignments."""
    counts = {"hits": 0, "substitutions": 0, "deletions": 0, "insertions": 0}
    names = {
        "equal": "hits",
        "substitute": "substitutions",
        "delete": "deletions",
        "insert": "insertions",
    }
    for chunk in chunks:
        size = (
            chunk.hyp_end_idx - chunk.hyp_start_idx
            if chunk.type == "insert"
            else chunk.ref_end_idx - chunk.ref_start_idx
        )
        counts[names[chunk.type]] += size
    return counts


def emission_delay_ms(
    tokens: list[dict[str, Any]] | None, anchor: list[dict[str, Any]] | None
) -> float:
    """Median over the tokens that two decodes of one utterance share: how much later than `anchor`
    they came out, ms.

    Tokens are paired by a Levenshtein alignment of the pieces. NaN when they share none, or times
    are unknown.
    """
    if not tokens or not anchor:
        return float("nan")
    blocks = Levenshtein.opcodes(
        [token["piece"] for token in anchor], [token["piece"] for token in tokens]
    )
    delays = []
    for block in blocks:
        if block.tag != "equal":
            continue
        for left, right in zip(
            range(block.src_start, block.src_end),
            range(block.dest_start, block.dest_end),
            strict=True,
        ):
            early, late = anchor[left].get("time_s"), tokens[right].get("time_s")
            if early is not None and late is not None:
                delays.append(1000.0 * (late - early))
    return statistics.median(delays) if delays else float("nan")


def read_header(path: Path) -> dict[str, Any]:
    """Header beside a hypothesis file that is what the header says.

    Raises:
        UserError: there is none, or the file was damaged or edited.
    """
    beside = path.with_suffix(".json")
    if not beside.exists():
        raise UserError(
            f"{path}: its header {beside.name} is not beside it; remove the hypotheses and decode "
            "again"
        )
    vouchers.verified(path)
    return read_json(beside, "remove it and the hypotheses beside it, and run the workflow again")


class Scorer:
    """Scores the hypothesis files of one language, whatever their models were trained on;
    normalised references are made once for each test set.

    Args:
        lang: of the test sets.
        settings: {"text": block of the language, "rare_below": a reference word that the pool has
            fewer times is rare}.
        tests: test set -> manifest.
        pool_words: word frequencies of the language's whole training pool, or None where rare
            words are not counted.
        traits_of: test set -> file of `data.traits`; of one that has none nobody knows gender and
            accent.
    """

    def __init__(
        self,
        lang: str,
        settings: dict[str, Any],
        tests: dict[str, Path],
        pool_words: collections.Counter | None,
        traits_of: Mapping[str, Path] | None = None,
    ):
        self.lang, self.text = lang, settings["text"]
        text.check_examples(lang, self.text)
        self.rare_below = settings.get("rare_below", 5)
        self.pool_words = pool_words
        if pool_words is not None and text.counts_characters(self.text):
            self.pool_words = collections.Counter()
            for word, times in pool_words.items():
                for part in text.segmented(word, self.text).split():
                    self.pool_words[part] += times
        self.numbers = text.number_words(self.text)
        self.leaderboard = leaderboard.Counter(lang, self.text)
        if self.leaderboard.refused:
            _LOG.info("%s: no WER of the leaderboard: %s", lang, self.leaderboard.refused)
        self.references = {
            name: {utterance.id: utterance for utterance in read_test_set(path)}
            for name, path in tests.items()
        }
        self.traits = {name: traits.read(path) for name, path in (traits_of or {}).items()}
        self.normal = {
            name: [text.normalize(reference.text, self.text) for reference in references.values()]
            for name, references in self.references.items()
        }
        for name, normal in self.normal.items():
            if empty := sum(not reference for reference in normal):
                _LOG.warning(
                    "%s %s: %d of %d references are empty once normalised",
                    lang,
                    name,
                    empty,
                    len(normal),
                )

    def header(self, path: Path) -> dict[str, Any]:
        """Header beside a hypothesis file that this scores.

        Raises:
            UserError: no header, a test set in another language, or one without a manifest.
        """
        header = read_header(path)
        if header["lang"] != self.lang:
            raise UserError(
                f"{path}: language {header['lang']!r}, asked to score {self.lang!r}; give the "
                "files of one language"
            )
        if header["test_set"] not in self.references:
            known = ", ".join(self.references)
            raise UserError(
                f"{path}: test set {header['test_set']!r} has no manifest; --tests has {known}"
            )
        return header

    def score(self, path: Path, header: dict[str, Any], anchor: Path | None) -> dict[str, list]:
        """One row per utterance of a hypothesis file, as columns.

        Args:
            path: hypothesis file.
            header: the header beside it.
            anchor: hypothesis file of the offline tier of the same run and test set, for emission
                delays.
        """
        references = self.references[header["test_set"]]
        normal = self.normal[header["test_set"]]
        records = read_hypotheses(path, references)
        anchors = [None] * len(records) if anchor is None else read_hypotheses(anchor, references)
        hypotheses = [text.normalize(record["hyp"], self.text) for record in records]
        words, wrong, characters = align_counts(normal, hypotheses)
        spaced = normal
        if text.counts_characters(self.text):
            spaced = [text.segmented(reference, self.text) for reference in normal]
            words, wrong, _ = align_counts(
                spaced, [text.segmented(hypothesis, self.text) for hypothesis in hypotheses]
            )
        known = self.traits.get(header["test_set"], {})
        rows: dict[str, list] = collections.defaultdict(list)
        for place, (name, reference) in enumerate(references.items()):
            offline = anchors[place]
            row = {
                **{key: header[key] for key in KEYS if key != "hours"},
                "hours": float(header["hours"]),
                "id": name,
                "block": reference.block,
                "speaker": reference.speaker,
                **known.get(name, traits.NOBODY_KNOWS)._asdict(),
                "duration_s": reference.duration_s,
                **words[place],
                **{f"char_{key}": value for key, value in characters[place].items()},
                **self._special_words(spaced[place].split(), wrong[place]),
                "ref_words": len(spaced[place].split()),
                "ref_chars": len(normal[place]),
                "empty": not hypotheses[place],
                "looping": is_looping(hypotheses[place], normal[place]),
                "emission_delay_ms": emission_delay_ms(
                    records[place].get("tokens"), offline.get("tokens") if offline else None
                ),
                "reference": normal[place],
                "hypothesis": hypotheses[place],
                "normaliser_version": text.VERSION,
                **self.leaderboard.row(
                    (reference.text, records[place]["hyp"]),
                    (normal[place], hypotheses[place]),
                    sum(words[place][kind] for kind in _ERRORS),
                ),
            }
            for key, value in row.items():
                rows[key].append(value)
        return rows

    def _special_words(self, words: list[str], wrong: set[int]) -> dict[str, int]:
        numbers = {place for place, word in enumerate(words) if word in self.numbers}
        rare = (
            {place for place, word in enumerate(words) if self.pool_words[word] < self.rare_below}
            if self.pool_words is not None
            else set()
        )
        return {
            "number_words": len(numbers),
            "number_errors": len(numbers & wrong),
            "rare_words": len(rare),
            "rare_errors": len(rare & wrong),
        }
