"""Counts of errors per utterance: words, characters, numbers, rare words, empty and looping
hypotheses, emission delay.

Rates are never stored here, only counts: every rate of the study is a ratio of sums. Alignments
come from jiwer.
"""

import collections
import gzip
import json
import logging
import statistics
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import jiwer
from rapidfuzz.distance import Levenshtein

from warmstart.data import cut_lines, text
from warmstart.run.errors import UserError
from warmstart.run.files import read_json

_LOG = logging.getLogger(__name__)
_LISTED_IDS = 10
_LOOP_REPEATS = 4  # so many repeats of one n-gram in a row are no natural speech
_LOOP_ORDER = 4  # longest n-gram looked at, words

KEYS = ["lang", "init", "hours", "seed", "precision", "tier", "test_set"]


def open_text(path: str | Path) -> Iterator[str]:
    """Lines of a text file, gzipped or not."""
    opener = gzip.open if str(path).endswith(".gz") else open
    with opener(path, "rt", encoding="utf-8") as stream:
        yield from stream


def read_references(manifest: str | Path) -> dict[str, dict[str, Any]]:
    """id -> {text, block, duration_s} of a test manifest (Lhotse cuts, one supervision each), in
    its order.

    Raises:
        UserError: the manifest is empty or an id stands twice.
    """
    references: dict[str, dict[str, Any]] = {}
    for line in open_text(manifest):
        cut = json.loads(line)
        if cut["id"] in references:
            raise UserError(
                f"{manifest}: id {cut['id']!r} stands twice; prepare the manifest again"
            )
        # A cut of joined VoxPopuli intervals keeps these in its first part.
        custom = cut_lines.first_part(cut).get("custom") or {}
        references[cut["id"]] = {
            "text": cut_lines.supervision(cut).get("text") or "",
            "block": str(custom.get("block", cut["id"])),
            "duration_s": float(cut_lines.duration_s(cut)),
        }
    if not references:
        raise UserError(
            f"{manifest}: no cut in it; a test set of zero utterances has no error rate; prepare "
            "it again"
        )
    return references


def read_hypotheses(
    path: str | Path, references: dict[str, dict[str, Any]]
) -> list[dict[str, Any]]:
    """Records of a hypothesis file, one for each reference and no other.

    Raises:
        UserError: an id is missing, extra or doubled, a line is no JSON, or a reference differs
            from the manifest's.
    """
    records: dict[str, dict[str, Any]] = {}
    doubled, stale = [], []
    for number, line in enumerate(open_text(path), 1):
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
        if (
            name in references
            and record.get("ref", references[name]["text"]) != references[name]["text"]
        ):
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


def count_words(texts: Iterable[str]) -> collections.Counter:
    """Frequencies of words in normalised texts."""
    counts: collections.Counter = collections.Counter()
    for line in texts:
        counts.update(line.split())
    return counts


def training_words(pool: str | Path) -> collections.Counter:
    """Word frequencies of a pool, whose supervisions hold normalised text."""
    return count_words(
        cut_lines.supervision(json.loads(line)).get("text") or "" for line in open_text(pool)
    )


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


def align_counts(
    references: list[str], hypotheses: list[str]
) -> tuple[list[dict[str, int]], list[set[int]], list[dict[str, int]]]:
    """jiwer's counts for each pair of normalised texts.

    Returns:
        Per utterance: word counts {hits, substitutions, deletions, insertions}, the places of
            reference words that were
        substituted or deleted, and character counts.
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
        [_chunk_counts(c) for c in words.alignments],
        wrong,
        [_chunk_counts(c) for c in characters.alignments],
    )


def _chunk_counts(chunks: list) -> dict[str, int]:
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


class Scorer:
    """Scores the hypothesis files of one language; normalised references are made once per test
    set.

    Args:
        lang: language code.
        settings: {"text": block of the language, "rare_below": a reference word that the pool has
            fewer times is rare, "test_set_text": test set -> block of another language, for the
            test sets of a replayed one}.
        tests: test set -> manifest.
        pool_words: word frequencies of the whole training pool, or None where rare words are not
            counted.
    """

    def __init__(
        self,
        lang: str,
        settings: dict[str, Any],
        tests: dict[str, Path],
        pool_words: collections.Counter | None,
    ):
        self.lang = lang
        text.check_examples(lang, settings["text"])
        self._foreign = settings.get("test_set_text") or {}
        self.texts = {name: self._foreign.get(name, settings["text"]) for name in tests}
        self.rare_below = settings.get("rare_below", 5)
        self.pool_words = pool_words
        self.numbers = {name: text.number_words(block) for name, block in self.texts.items()}
        self.references = {name: read_references(path) for name, path in tests.items()}
        self.normal = {
            name: [
                text.normalize(reference["text"], self.texts[name])
                for reference in references.values()
            ]
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
        """Header beside a hypothesis file.

        Raises:
            UserError: no header, another language, or a test set without a manifest.
        """
        beside = path.with_suffix(".json")
        if not beside.exists():
            raise UserError(
                f"{path}: its header {beside.name} is not beside it; remove the hypotheses and "
                "decode again"
            )
        header = read_json(beside)
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
        hypotheses = [
            text.normalize(record["hyp"], self.texts[header["test_set"]]) for record in records
        ]
        words, wrong, characters = align_counts(normal, hypotheses)
        rows: dict[str, list] = collections.defaultdict(list)
        for place, (name, reference) in enumerate(references.items()):
            row = {
                **{key: header[key] for key in KEYS if key != "hours"},
                "hours": float(header["hours"]),
                "id": name,
                "block": reference["block"],
                "duration_s": reference["duration_s"],
                **words[place],
                **{f"char_{key}": value for key, value in characters[place].items()},
                **self._special_words(header["test_set"], normal[place].split(), wrong[place]),
                "ref_words": len(normal[place].split()),
                "ref_chars": len(normal[place]),
                "empty": not hypotheses[place],
                "looping": is_looping(hypotheses[place], normal[place]),
                "emission_delay_ms": emission_delay_ms(
                    records[place].get("tokens"),
                    anchors[place].get("tokens") if anchors[place] else None,
                ),
                "reference": normal[place],
                "hypothesis": hypotheses[place],
                "normaliser_version": text.VERSION,
            }
            for key, value in row.items():
                rows[key].append(value)
        return rows

    def _special_words(self, test_set: str, words: list[str], wrong: set[int]) -> dict[str, int]:
        numbers = {place for place, word in enumerate(words) if word in self.numbers[test_set]}
        rare = (
            {place for place, word in enumerate(words) if self.pool_words[word] < self.rare_below}
            # How rare a word of another language is in this one's pool says nothing.
            if self.pool_words is not None and test_set not in self._foreign
            else set()
        )
        return {
            "number_words": len(numbers),
            "number_errors": len(numbers & wrong),
            "rare_words": len(rare),
            "rare_errors": len(rare & wrong),
        }
