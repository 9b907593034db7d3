"""What the best tokens of each emission come to: counts of tokens in groups of blocks.

A file of candidates has millions of numbers; a language has hundreds of files. Everything that is
said of them follows from few counts, and intervals leave out one group of blocks at a time, so that
the counts of each group are all that has to be kept.
"""

import base64
import hashlib
import json
import re
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow
import pyarrow.parquet
from rapidfuzz.distance import Levenshtein

from warmstart.data import text
from warmstart.data.targets import IPA, PLAIN, Targets
from warmstart.data.utterances import TestUtterance, read_test_set
from warmstart.evidence import candidate_columns
from warmstart.evidence.keys import KEYS
from warmstart.run import files
from warmstart.run.errors import UserError

GROUPS = 20
"""Of blocks, at most: intervals leave one out at a time."""

_BYTE = re.compile(r"<0x[0-9A-F]{2}>")

_TOKENS = ("candidate_utterances", "candidate_counts", "taken_utterances", "taken_counts")
_SUMS = ("entropy_bits", "confidence", "right_rank")
_COUNTS = ("blocks", "utterances", "emissions", "aligned", "right_first", "right_within")


@dataclass(frozen=True)
class Counted:
    """One decode of one test set, in G groups of blocks; all decodes of a test set have the same.

    Attributes:
        key: values of `KEYS`.
        count: K.
        lengths: (V,) characters of each token; -1: it is no text, and counts nowhere.
        duration_s: (G,) audio.
        tokens: (G, V) each: utterances with the token among the candidates of some emission, how
            often it is a candidate, and both of the tokens that were taken.
        sums: (G,) each: over emissions, entropy of the candidates in bits, probability of the token
            taken, and rank of the right token where it is a candidate.
        counts: (G,) each: blocks, utterances, emissions; emissions with a token of the reference
            beside them (`aligned`), those of which it is the best and a candidate.
        knows_right: whether the family says how a reference is split.
    """

    key: Mapping[str, Any]
    count: int
    lengths: np.ndarray
    duration_s: np.ndarray
    tokens: Mapping[str, np.ndarray]
    sums: Mapping[str, np.ndarray]
    counts: Mapping[str, np.ndarray]
    knows_right: bool


# ---- from the files of a language


class Counter:
    """Counts the candidates of one language.

    Args:
        lang: of the test sets.
        settings: block `text` of the language.
        tests: test set -> manifest.
        spoken: whose models write phones, and of which voice: `voice`, `arms`, and `zero_shot`,
            arms whose init does as it is published; None = nobody's.
    """

    def __init__(
        self,
        lang: str,
        settings: text.TextSettings,
        tests: Mapping[str, Path],
        spoken: Mapping[str, Any] | None = None,
    ):
        self._lang, self._text, self._spoken = lang, settings, spoken
        voice = {lang: {"espeak_voice": spoken["voice"]}} if spoken else {}
        self._targets = Targets(IPA, voice) if spoken else PLAIN
        self._references = {name: read_test_set(path) for name, path in tests.items()}
        self._groups = {name: groups_of(found) for name, found in self._references.items()}
        self._right: dict[tuple[Any, ...], list[list[int]]] = {}

    def count(self, hypotheses: Path) -> Counted:
        """The candidates beside a hypothesis file.

        Raises:
            UserError: no candidates, or others than the header's; another language, or a test set
                without a manifest.
        """
        header = files.read_json(hypotheses.with_suffix(".json"))
        path = hypotheses.with_suffix(candidate_columns.SUFFIX)
        if header["lang"] != self._lang or header["test_set"] not in self._references:
            raise UserError(
                f"{hypotheses}: {header['test_set']} in {header['lang']}, asked to count "
                f"{', '.join(self._references)} in {self._lang}; give the files of one language, "
                "and the manifest of each test set"
            )
        about = header.get("candidates")
        if about is None or not path.exists():
            raise UserError(
                f"{hypotheses}: no {path.name} beside it; set decoding.log_candidates and decode "
                "again"
            )
        if files.digest(path) != about["sha256"]:
            raise UserError(
                f"{path}: not the file that its header describes; remove it and decode again"
            )
        with files.reading(path):
            return self._count(path, header)

    def _count(self, path: Path, header: Mapping[str, Any]) -> Counted:
        file = pyarrow.parquet.ParquetFile(path, page_checksum_verification=True)
        about = json.loads(file.metadata.metadata[candidate_columns.METADATA.encode()])
        pieces, count = about["pieces"], about["count"]
        name = header["test_set"]
        references, group = self._references[name], self._groups[name]
        total = int(group.max()) + 1
        right = self._right_tokens(name, header, about["sentencepiece"])
        tally = _Tally(len(pieces), count, group, total)
        place = {utterance.id: number for number, utterance in enumerate(references)}
        for number in range(file.num_row_groups):
            table = file.read_row_group(number)
            ids = table["id"].combine_chunks().dictionary_encode()
            places = np.array([place[name] for name in ids.dictionary.to_pylist()], dtype=int)
            tally.add(
                places[ids.indices.to_numpy()] if len(ids) else np.zeros(0, int),
                table["token"].to_numpy(),
                _matrix(table["candidates"], count),
                _matrix(table["probabilities"], count),
                right,
            )
        durations = np.array([utterance.duration_s for utterance in references])
        blocks = [len(set(part)) for part in _by_group(references, group, total)]
        return Counted(
            key={key: header[key] for key in KEYS} | {"hours": float(header["hours"])},
            count=count,
            lengths=np.array([characters(piece) for piece in pieces], dtype=np.int32),
            duration_s=np.bincount(group, durations, minlength=total),
            tokens=tally.tokens,
            sums=tally.sums,
            counts=tally.counts
            | {"blocks": np.array(blocks), "utterances": np.bincount(group, minlength=total)},
            knows_right=right is not None,
        )

    def _right_tokens(
        self, name: str, header: Mapping[str, Any], tokenizer: str
    ) -> list[list[int]] | None:
        """Tokens of every reference, as a model was trained to write them: normalised, as phones,
        or of a published model, which writes case and punctuation, as published."""
        zero_shot = bool(header.get("zero_shot"))
        writers = (self._spoken or {}).get("zero_shot" if zero_shot else "arms", ())
        phonemes = header["arm"] in writers
        raw = zero_shot and not phonemes
        content = zlib.decompress(base64.b64decode(tokenizer))
        if not content:
            return None
        key = name, raw, phonemes, hashlib.sha256(content).hexdigest()
        if key not in self._right:
            import sentencepiece

            splitter = sentencepiece.SentencePieceProcessor(model_proto=content)
            texts = [one.text for one in self._references[name]]
            if not raw:
                texts = [text.normalize(one, self._text) for one in texts]
            if phonemes:
                texts = [self._targets.of(one, self._lang) for one in texts]
            self._right[key] = splitter.encode(texts)
        return self._right[key]


def groups_of(utterances: Sequence[TestUtterance]) -> np.ndarray:
    """(N,) group of each utterance: blocks are dealt out to at most `GROUPS` groups, in an order
    that only their names decide, so that all decodes of a test set share them."""
    names = {utterance.block for utterance in utterances}
    dealt = sorted(names, key=lambda name: hashlib.sha256(name.encode()).digest())
    group = {name: number % GROUPS for number, name in enumerate(dealt)}
    return np.array([group[utterance.block] for utterance in utterances])


def _by_group(
    utterances: Sequence[TestUtterance], group: np.ndarray, total: int
) -> list[list[str]]:
    parts: list[list[str]] = [[] for _ in range(total)]
    for utterance, number in zip(utterances, group, strict=True):
        parts[number].append(utterance.block)
    return parts


def characters(piece: str) -> int:
    """Characters of a token without the mark of a word's begin; -1 of what is no text. A piece that
    is one byte of a character counts as a token of no length."""
    if not piece:
        return -1
    return 0 if _BYTE.fullmatch(piece) else len(piece.replace("▁", ""))


def _matrix(column: pyarrow.ChunkedArray, count: int) -> np.ndarray:
    return column.combine_chunks().flatten().to_numpy().reshape(-1, count)


class _Tally:
    """Counts that grow a row group at a time; an utterance is whole in one."""

    def __init__(self, size: int, count: int, group: np.ndarray, total: int):
        self._size, self._count, self._group, self._total = size, count, group, total
        self.tokens = {name: np.zeros((total, size), dtype=np.int64) for name in _TOKENS}
        self.sums = {name: np.zeros(total) for name in _SUMS}
        self.counts = {name: np.zeros(total, dtype=np.int64) for name in _COUNTS[2:]}

    def add(
        self,
        places: np.ndarray,
        taken: np.ndarray,
        tokens: np.ndarray,
        probabilities: np.ndarray,
        right: list[list[int]] | None,
    ) -> None:
        """Add some utterances.

        Args:
            places: (n,) utterance of each emission, utterances one after another.
            taken: (n,) tokens.
            tokens, probabilities: (n, K).
            right: tokens of every reference.
        """
        if not len(places):
            return
        groups = self._group[places]
        self._add_tokens("candidate", places, np.repeat(places, self._count), tokens.ravel())
        self._add_tokens("taken", places, places, taken)
        shares = probabilities.astype(float)
        shares /= np.maximum(shares.sum(axis=1, keepdims=True), 1e-300)
        entropy = -(shares * np.log2(np.maximum(shares, 1e-300))).sum(axis=1)
        confidence = np.where(tokens == taken[:, None], probabilities, 0.0).sum(axis=1)
        self._sum("entropy_bits", groups, entropy)
        self._sum("confidence", groups, confidence)
        self._tell("emissions", groups)
        if right is None:
            return
        wanted = _aligned(places, taken, right)
        known = wanted >= 0
        is_right = tokens[known] == wanted[known, None]
        within, rank = is_right.any(axis=1), is_right.argmax(axis=1) + 1
        groups = groups[known]
        self._tell("aligned", groups)
        self._tell("right_first", groups[within & (rank == 1)])
        self._tell("right_within", groups[within])
        self._sum("right_rank", groups[within], rank[within])

    def _add_tokens(
        self, name: str, all_places: np.ndarray, places: np.ndarray, tokens: np.ndarray
    ) -> None:
        first, last = all_places.min(), all_places.max()
        seen = np.zeros((last - first + 1, self._size), dtype=bool)
        seen[places - first, tokens] = True
        utterances, distinct = seen.nonzero()
        self._count_tokens(f"{name}_utterances", utterances + first, distinct)
        self._count_tokens(f"{name}_counts", places, tokens)

    def _count_tokens(self, name: str, places: np.ndarray, tokens: np.ndarray) -> None:
        flat = self._group[places] * self._size + tokens
        self.tokens[name] += np.bincount(flat, minlength=self.tokens[name].size).reshape(
            self.tokens[name].shape
        )

    def _sum(self, name: str, groups: np.ndarray, values: np.ndarray) -> None:
        self.sums[name] += np.bincount(groups, values, minlength=self._total)

    def _tell(self, name: str, groups: np.ndarray) -> None:
        self.counts[name] += np.bincount(groups, minlength=self._total)


def _aligned(places: np.ndarray, taken: np.ndarray, right: list[list[int]]) -> np.ndarray:
    """(n,) token of the reference beside each emission, by a Levenshtein alignment of the tokens of
    its utterance; -1: it was inserted."""
    wanted = np.full(len(places), -1, dtype=np.int64)
    starts = np.flatnonzero(np.diff(places, prepend=-1))
    for start, end in zip(starts, [*starts[1:], len(places)], strict=True):
        reference = right[places[start]]
        for step in Levenshtein.opcodes(reference, taken[start:end].tolist()):
            if step.tag in ("equal", "replace"):
                wanted[start + step.dest_start : start + step.dest_end] = reference[
                    step.src_start : step.src_end
                ]
    return wanted


# ---- the file of a language


def _schema() -> pyarrow.Schema:
    """A row for each group of each decode."""
    keys = {"hours": pyarrow.float64(), "seed": pyarrow.int64()}
    numbers = pyarrow.list_(pyarrow.int32())
    return pyarrow.schema(
        [
            *((key, keys.get(key, pyarrow.string())) for key in KEYS),
            *(("group", pyarrow.int32()), ("count", pyarrow.int32())),
            *(("knows_right", pyarrow.bool_()), ("duration_s", pyarrow.float64())),
            *((name, pyarrow.int64()) for name in _COUNTS),
            *((name, pyarrow.float64()) for name in _SUMS),
            *((name, numbers) for name in ("lengths", *_TOKENS)),
        ]
    )


def write(path: Path, counted: Iterator[Counted]) -> int:
    """Write the counts of a language, whole or not at all; a row group a decode.

    Returns:
        How many decodes.
    """
    decodes = 0
    with (
        files.atomic_path(path) as temporary,
        pyarrow.parquet.ParquetWriter(
            temporary, _schema(), compression="zstd", write_page_checksum=True
        ) as writer,
    ):
        for one in counted:
            writer.write_table(pyarrow.Table.from_pylist(list(_rows(one)), schema=_schema()))
            decodes += 1
    return decodes


def _rows(one: Counted) -> Iterator[dict[str, Any]]:
    for group in range(len(one.duration_s)):
        yield {
            **one.key,
            **{"group": group, "count": one.count, "knows_right": one.knows_right},
            "duration_s": one.duration_s[group],
            **{name: one.counts[name][group] for name in _COUNTS},
            **{name: one.sums[name][group] for name in _SUMS},
            "lengths": one.lengths,
            **{name: one.tokens[name][group] for name in _TOKENS},
        }


class File:
    """A file of `write`, of which a decode at a time is in memory.

    Attributes:
        keys: values of `KEYS` of each decode, in the order of the file.

    Raises:
        Damaged: it is not whole.
    """

    def __init__(self, path: Path):
        self._path = path
        with files.reading(path):
            self._file = pyarrow.parquet.ParquetFile(path, page_checksum_verification=True)
            self.keys: list[dict[str, Any]] = [
                self._file.read_row_group(number, columns=list(KEYS)).slice(0, 1).to_pylist()[0]
                for number in range(self._file.num_row_groups)
            ]

    def read(self, number: int) -> Counted:
        """The decode of a place.

        Raises:
            Damaged: it is not whole.
        """
        with files.reading(self._path):
            return _counted(self._file.read_row_group(number))


def _counted(table: pyarrow.Table) -> Counted:
    first = table.slice(0, 1).select([*KEYS, "count", "knows_right", "lengths"]).to_pylist()[0]
    size = len(first["lengths"])

    def numbers(name: str) -> np.ndarray:
        return table[name].to_numpy()

    return Counted(
        key={key: first[key] for key in KEYS},
        count=first["count"],
        lengths=np.array(first["lengths"], dtype=np.int32),
        duration_s=numbers("duration_s"),
        tokens={name: _matrix(table[name], size).astype(np.int64) for name in _TOKENS},
        sums={name: numbers(name) for name in _SUMS},
        counts={name: numbers(name) for name in _COUNTS},
        knows_right=first["knows_right"],
    )
