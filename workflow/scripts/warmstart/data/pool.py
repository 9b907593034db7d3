"""Every usable training cut of a language, cleaned, free of test sentences and test speakers, in
budget order.

Budget order makes every prefix a fair sample: inside a corpus cuts are sorted by a keyed hash of
their id, and corpora are interleaved so that each has given the same fraction of its hours at every
point. A hash depends on the cut alone: two machines agree, and a corpus that grows moves few other
cuts.

A recording is in a pool once, and no recording of a test set is in it, by whatever corpus, release
or split it came: `data.digests` tells.

Memory does not grow with the lines: they are spooled to disk, and only 57 bytes a cut (hashes,
length, size, corpus) are kept.
"""

import dataclasses
import hashlib
import logging
import multiprocessing
import os
import tempfile
import unicodedata
from array import array
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from warmstart.data import cut_lines, digests, text
from warmstart.data.corpora.base import Seconds
from warmstart.run import files
from warmstart.run.errors import UserError
from warmstart.run.logs import MinuteTicker

log = logging.getLogger(__name__)

GUARDS = ("sentence", "speaker")
# : Reasons that say something about a corpus's quality; only these count towards
# `max_drop_fraction`.
QUALITY_REASONS = (
    "too_short",
    "too_long",
    "empty_text",
    "foreign_alphabet",
    "too_slow",
    "too_fast",
)
_FILTER_KEYS = {
    "min_duration_s",
    "max_duration_s",
    "min_chars_per_s",
    "max_chars_per_s",
    "max_drop_fraction",
    "max_same_text",
    "guard",
    "speaker_cap_hours",
}
_CHUNK_LINES = 2000


def order_key(cut_id: str) -> int:
    """A cut's place within its corpus: 64 bits of a keyed hash of its id. Changing the key re-draws
    every budget."""
    return int.from_bytes(
        hashlib.blake2b(cut_id.encode(), digest_size=8, key=b"warmstart pool 1").digest(), "big"
    )


def fingerprint(value: str) -> int:
    """64 bits that stand for a text or a name."""
    return int.from_bytes(hashlib.blake2b(value.encode(), digest_size=8).digest(), "big")


@dataclass(frozen=True)
class Filters:
    """What may enter the pool; bounds are inclusive, None means no bound.

    Attributes:
        min_chars_per_s, max_chars_per_s: characters of the normalised text, spaces included, per
        second of audio.
        max_drop_fraction: of a corpus's cuts, dropped for a reason in `QUALITY_REASONS`; more fails
        the build.
        max_same_text: cuts kept with the same normalised text, over all corpora.
        guard: what a training cut must not share with a test set: its sentence (normalised), its
        speaker.
        speaker_cap_hours: most of one speaker.
    """

    min_duration_s: Seconds | None = None
    max_duration_s: Seconds | None = None
    min_chars_per_s: float | None = None
    max_chars_per_s: float | None = None
    max_drop_fraction: float = 1.0
    max_same_text: int | None = None
    guard: tuple[str, ...] = GUARDS
    speaker_cap_hours: float | None = None

    @classmethod
    def from_settings(cls, settings: dict[str, Any]) -> "Filters":
        """Read the `filters` block of the config.

        Raises:
            UserError: unknown key or guard.
        """
        if unknown := sorted(set(settings) - _FILTER_KEYS):
            raise UserError(
                f"filters: unknown key {', '.join(unknown)}; keys: "
                f"{', '.join(sorted(_FILTER_KEYS))}"
            )
        settings = dict(settings)
        settings["guard"] = tuple(settings.get("guard", GUARDS))
        if unknown := sorted(set(settings["guard"]) - set(GUARDS)):
            raise UserError(f"filters.guard: {', '.join(unknown)}; allowed: {', '.join(GUARDS)}")
        return cls(**settings)


@dataclass
class TestSets:
    """What the test sets hold that training must not: fingerprints of sentences, speakers and
    recordings -> name of the test set."""

    sentences: dict[int, str] = field(default_factory=dict)
    speakers: dict[int, str] = field(default_factory=dict)
    clips: dict[int, str] = field(default_factory=dict)
    audio: dict[int, str] = field(default_factory=dict)
    characters: dict[str, Counter[str]] = field(default_factory=dict)
    sizes: dict[str, dict[str, float]] = field(default_factory=dict)


def read_tests(
    paths: list[tuple[str, Path]], text_settings: text.TextSettings, speakers_of: dict[str, str]
) -> TestSets:
    """Read the test manifests of the language; `speakers_of` as in `build`."""
    made = TestSets()
    for name, path in paths:
        characters: Counter[str] = Counter()
        count, length = 0, 0.0
        for cut in cut_lines.read(path):
            supervision = cut_lines.supervision(cut)
            normalised = text.normalize(supervision["text"], text_settings)
            characters.update(normalised)
            count += 1
            length += cut_lines.duration_s(cut)
            made.sentences.setdefault(fingerprint(normalised), name)
            if speaker := supervision.get("speaker"):
                made.speakers.setdefault(_speaker_key(cut, speaker, speakers_of), name)
        if known := digests.read(path):
            made.clips |= dict.fromkeys(known.clips[known.clips != 0].tolist(), name) | made.clips
            made.audio |= dict.fromkeys(known.audio[known.audio != 0].tolist(), name) | made.audio
        made.characters[name] = characters
        made.sizes[name] = {"cuts": count, "hours": length / 3600}
    return made


def _speaker_key(cut: dict[str, Any], speaker: str, speakers_of: dict[str, str]) -> int:
    """A person is known by id and who gave it: two corpora may use the same number for two
    people."""
    corpus = cut_lines.custom(cut)["corpus"]
    return fingerprint(f"{speakers_of.get(corpus, corpus)}\t{speaker}")


@dataclass(frozen=True)
class Checker:
    """Looks at one cut by itself; sent to every worker process once.

    Attributes:
        text_settings: of the language.
        filters: what may enter.
        alphabet: characters that a normalised text may have.
        tests: what training must not hold.
        speakers_of: see `build`.
    """

    text_settings: text.TextSettings
    filters: Filters
    alphabet: frozenset[str]
    tests: TestSets
    speakers_of: dict[str, str]

    @cached_property
    def _normalise(self) -> Callable[[str], str]:
        return text.normaliser(self.text_settings)

    @classmethod
    def of(cls, settings: dict[str, Any], tests: list[tuple[str, Path]]) -> "Checker":
        """By the settings of a pool and the test sets that it is kept free of.

        Raises:
            UserError: unknown setting, or a manifest that cannot be read.
        """
        if unknown := sorted(set(settings) - {"text", "filters", "speakers_of"}):
            raise UserError(
                f"pool settings: unknown key {', '.join(unknown)}; keys: text, filters, speakers_of"
            )
        own, speakers_of = settings["text"], settings.get("speakers_of") or {}
        filters = Filters.from_settings(settings.get("filters") or {})
        return cls(own, filters, _alphabet(own), read_tests(tests, own, speakers_of), speakers_of)

    def judge(self, cut: dict[str, Any], text: str) -> tuple[str, str]:
        """A text normalised, and why no pool would have the cut with it; '' where one would."""
        normalised = self._normalise(text)
        speaker = cut_lines.supervision(cut).get("speaker")
        speaker_key = _speaker_key(cut, speaker, self.speakers_of) if speaker else 0
        reason, *_ = self._reason(
            cut_lines.duration_s(cut), normalised, fingerprint(normalised), speaker_key
        )
        return normalised, reason or ""

    def check(self, cut: dict[str, Any], chunk: "_Chunk") -> None:
        """Judge one cut of a manifest and add it to `chunk`, rewritten, or to what the chunk
        drops."""
        length = cut_lines.duration_s(cut)
        supervision = cut_lines.supervision(cut)
        raw = supervision["text"]
        normalised = self._normalise(raw)
        speaker = supervision.get("speaker")
        speaker_key = _speaker_key(cut, speaker, self.speakers_of) if speaker else 0
        key = fingerprint(normalised)
        reason, test_set, foreign = self._reason(length, normalised, key, speaker_key)
        if reason is not None:
            chunk.dropped.append((reason, length, test_set, foreign))
            return
        supervision["text"] = normalised
        supervision["custom"] = {**(supervision.get("custom") or {}), "raw_text": raw}
        chunk.add(cut_lines.line(cut), order_key(cut["id"]), length, speaker_key, key)
        chunk.characters.update(normalised)

    def _reason(
        self, length: Seconds, normalised: str, sentence: int, speaker_key: int
    ) -> tuple[str | None, str, str]:
        limits = self.filters
        if limits.min_duration_s is not None and length < limits.min_duration_s:
            return "too_short", "", ""
        if limits.max_duration_s is not None and length > limits.max_duration_s:
            return "too_long", "", ""
        if not normalised or normalised.isspace():
            return "empty_text", "", ""
        if foreign := "".join(set(normalised) - self.alphabet):
            return "foreign_alphabet", "", foreign
        speed = len(normalised) / length
        if limits.min_chars_per_s is not None and speed < limits.min_chars_per_s:
            return "too_slow", "", ""
        if limits.max_chars_per_s is not None and speed > limits.max_chars_per_s:
            return "too_fast", "", ""
        if "sentence" in limits.guard and (test_set := self.tests.sentences.get(sentence)):
            return "sentence_in_test", test_set, ""
        if (
            "speaker" in limits.guard
            and speaker_key
            and (test_set := self.tests.speakers.get(speaker_key))
        ):
            return "speaker_in_test", test_set, ""
        return None, "", ""

    def check_all(self, lines: "_Lines") -> "_Chunk":
        """`check` for some lines."""
        chunk = _Chunk()
        for number, line in enumerate(lines.lines, start=lines.first):
            kept = len(chunk.keys)
            self.check(cut_lines.parse(line, lines.path, number), chunk)
            if len(chunk.keys) > kept:
                chunk.places.append(number - 1)
        return chunk


_checker: Checker | None = None


def _set_checker(checker: Checker) -> None:
    # The worker process's own copy: sending it with every chunk would cost more than the work.
    global _checker
    _checker = checker


def _check_chunk(lines: "_Lines") -> "_Chunk":
    return _checker.check_all(lines)


@dataclass(frozen=True)
class _Lines:
    """Some lines of a manifest; `first` is the number of the first."""

    path: Path
    first: int
    lines: list[bytes]


def _lines_of(path: Path) -> Iterator[_Lines]:
    lines, first = cut_lines.read_lines(path), 1
    while some := list(islice(lines, _CHUNK_LINES)):
        yield _Lines(path, first, some)
        first += len(some)


@dataclass
class _Chunk:
    """Some lines, judged: the kept ones as text with one number each in five arrays, and what was
    dropped.

    Arrays and one block of bytes, because they cross from the worker processes quickly and take 56
    bytes a cut.

    `places` are the kept lines' own in their manifest, from 0; `clips` and `audio` are filled in
    from the file beside it.
    """

    body: list[bytes] = field(default_factory=list)
    keys: array = field(default_factory=lambda: array("Q"))
    lengths: array = field(default_factory=lambda: array("d"))
    speakers: array = field(default_factory=lambda: array("Q"))
    texts: array = field(default_factory=lambda: array("Q"))
    sizes: array = field(default_factory=lambda: array("I"))
    places: array = field(default_factory=lambda: array("I"))
    clips: array = field(default_factory=lambda: array("Q"))
    audio: array = field(default_factory=lambda: array("Q"))
    characters: Counter[str] = field(default_factory=Counter)
    dropped: list[tuple[str, Seconds, str, str]] = field(default_factory=list)

    def add(self, line: bytes, key: int, length: Seconds, speaker: int, fingerprint: int) -> None:
        self.body.append(line)
        self.keys.append(key)
        self.lengths.append(length)
        self.speakers.append(speaker)
        self.texts.append(fingerprint)
        self.sizes.append(len(line))

    def tell_apart(self, known: digests.Digests | None) -> None:
        """Fill in `clips` and `audio`; zeros where nothing is known of the manifest's cuts."""
        places = np.frombuffer(self.places, dtype=np.uint32)
        for name in ("clips", "audio"):
            column = np.zeros(len(places)) if known is None else getattr(known, name)[places]
            setattr(self, name, array("Q", column.astype(np.uint64).tobytes()))

    def extend(self, other: "_Chunk") -> None:
        """Take over the numbers and characters of `other`; its lines and drops are the caller's."""
        for name in ("keys", "lengths", "speakers", "texts", "sizes", "clips", "audio"):
            getattr(self, name).extend(getattr(other, name))
        self.characters.update(other.characters)


def _tally() -> dict[str, float]:
    return {"cuts": 0, "hours": 0.0}


def _add(tally: dict[str, float], length_s: Seconds, count: int = 1) -> None:
    tally["cuts"] += count
    tally["hours"] += length_s / 3600


def budget_order(keys: np.ndarray, lengths: np.ndarray, corpora: np.ndarray) -> np.ndarray:
    """Indices of cuts in budget order.

    Args:
        keys: (N,) uint64, `order_key` of each cut.
        lengths: (N,) seconds.
        corpora: (N,) small integers.

    Returns:
        (N,) indices. After any prefix each corpus has given the same fraction of its hours, to
        within one cut of it.
    """
    position = np.empty(len(keys))
    for corpus in np.unique(corpora):
        members = np.flatnonzero(corpora == corpus)
        members = members[np.argsort(keys[members], kind="stable")]
        ends = np.cumsum(lengths[members])
        # The middle of a cut, as a fraction of its corpus: a corpus with one cut comes at one half,
        # not always first or last.
        position[members] = (ends - lengths[members] / 2) / ends[-1]
    return np.lexsort((keys, corpora, position))


def over_cap(groups: np.ndarray, keys: np.ndarray, amounts: np.ndarray, cap: float) -> np.ndarray:
    """Which rows to drop so that no group holds more than `cap`; those with the lowest keys stay.
    Group 0 has no cap.

    Args:
        groups: (N,) group of each row.
        keys: (N,) order of rows within a group.
        amounts: (N,) what each row adds (seconds, or 1).
        cap: largest sum of a group, inclusive.

    Returns:
        (N,) bool, True = drop.
    """
    order = np.lexsort((keys, groups))
    sums = np.cumsum(amounts[order])
    sorted_groups = groups[order]
    first = np.flatnonzero(np.r_[True, sorted_groups[1:] != sorted_groups[:-1]])
    before = np.repeat(sums[first] - amounts[order][first], np.diff(np.r_[first, len(groups)]))
    drop = np.zeros(len(groups), dtype=bool)
    # A sum of floats may end a hair above the cap it equals.
    drop[order] = (sums - before > cap * (1 + 1e-9)) & (sorted_groups != 0)
    return drop


def build(
    lang: str,
    manifests: list[tuple[str, Path]],
    tests: list[tuple[str, Path]],
    settings: dict[str, Any],
    output: Path,
    report: Path,
    threads: int = 1,
) -> dict[str, Any]:
    """Write the pool of a language and its quality report.

    Args:
        manifests: (corpus, path) of training manifests; a corpus may occur several times.
        tests: (test set, path) of every test set of the language.
        settings: {text: the language's text block, filters: see `Filters`, speakers_of: corpus ->
            whose speaker ids it uses, where not its own; corpora with the same name there call one
            person by one id}.
        threads: processes that normalise and check; the result does not depend on it.

    Returns:
        The report: per corpus cuts and hours read, kept and dropped by reason; per test set what
            the guard took; how many recordings could be told from others; characters.

    Raises:
        UserError: unknown setting, nothing left, an id that occurs twice, or a corpus that lost
            more than `max_drop_fraction`.
    """
    checker = Checker.of(settings, tests)
    filters, speakers_of, found_tests = checker.filters, checker.speakers_of, checker.tests
    names = list(dict.fromkeys(name for name, _ in manifests))
    counts = _Counts(names, [name for name, _ in tests])
    known = [digests.read(path) for _, path in manifests]
    unknown = sorted(
        {name for (name, _), found in zip(manifests, known, strict=True) if found is None}
    )
    if unknown:
        log.warning(
            "%s: recordings of %s are not compared with others, because no digests lie beside the "
            "manifests; make these again to find recordings that are in twice",
            lang,
            ", ".join(unknown),
        )
    rows, corpus_of_row, ticker = _Chunk(), array("B"), MinuteTicker()
    output.parent.mkdir(parents=True, exist_ok=True)

    with tempfile.TemporaryFile(dir=output.parent, buffering=1 << 20) as spool:
        for place, chunk in _checked(manifests, checker, threads):
            number = names.index(manifests[place][0])
            chunk.tell_apart(known[place])
            rows.extend(chunk)
            corpus_of_row.extend(array("B", [number]) * len(chunk.keys))
            spool.write(b"".join(chunk.body))
            counts.add(names[number], chunk)
            if ticker.due():
                log.info("%s: %d cuts read, %d usable", lang, counts.cuts_read, len(rows.keys))
        spool.flush()

        usable = _Usable.of(rows, corpus_of_row)
        alive = _once(usable, found_tests, names, counts)
        alive = _under_caps(usable, alive, filters, names, counts)
        kept = {name: _kept(usable, alive, corpus) for corpus, name in enumerate(names)}
        total = {"cuts": len(alive), "hours": sum(entry["hours"] for entry in kept.values())}
        result = {
            "lang": lang,
            "normaliser_version": text.VERSION,
            "text": settings["text"],
            "filters": dataclasses.asdict(filters),
            "speakers_of": speakers_of,
            "total": total,
            "corpora": {
                name: {
                    "read": counts.read[name],
                    "kept": kept[name],
                    "dropped": counts.dropped[name],
                }
                for name in names
            },
            "guard": {"on": list(filters.guard), "removed": counts.leaks},
            "recordings": {
                "usable": len(usable.keys),
                "known_by_clip": int(np.count_nonzero(usable.clips)),
                "known_by_audio": int(np.count_nonzero(usable.audio)),
                "corpora_without_digests": unknown,
            },
            "characters": dict(
                sorted(rows.characters.items(), key=lambda item: (-item[1], item[0]))
            ),
            "foreign_characters": dict(
                sorted(counts.foreign.items(), key=lambda item: (-item[1]["cuts"], item[0]))
            ),
            "test_sets": {
                name: found_tests.sizes[name]
                | {
                    "characters_unseen_in_pool": _unseen(
                        found_tests.characters[name], rows.characters
                    )
                }
                for name, _ in tests
            },
        }
        files.write_json(report, result)
        _refuse_bad(lang, result, filters)
        _refuse_twice(lang, usable.keys[alive])
        _write(output, spool.fileno(), rows, usable, alive)
    log.info("%s: %d cuts, %.2f h in the pool", lang, total["cuts"], total["hours"])
    return result


def _alphabet(settings: text.TextSettings) -> frozenset[str]:
    """Characters that a normalised text may have."""
    letters = settings["alphabet"]
    # Texts are composed here; an editor may have written the configuration's accents as marks of
    # their own.
    composed = unicodedata.normalize("NFKC", letters)
    hyphen = "-" if settings.get("hyphen") == "keep" else ""
    return frozenset(letters + composed + (settings.get("keep") or "") + hyphen + " ")


class _Counts:
    """Cuts and seconds that were read and dropped: by corpus and reason, by test set that the guard
    protects, by foreign character."""

    def __init__(self, names: list[str], tests: list[str]):
        self.read = {name: _tally() for name in names}
        self.dropped: dict[str, dict[str, dict[str, float]]] = {name: {} for name in names}
        self.leaks: dict[str, dict[str, dict[str, float]]] = {name: {} for name in tests}
        self.foreign: dict[str, dict[str, float]] = {}

    @property
    def cuts_read(self) -> int:
        """Of all corpora."""
        return sum(int(tally["cuts"]) for tally in self.read.values())

    def add(self, name: str, chunk: "_Chunk") -> None:
        """Count a chunk of a corpus, kept and dropped."""
        _add(self.read[name], sum(chunk.lengths), len(chunk.keys))
        for reason, length, test_set, characters in chunk.dropped:
            _add(self.read[name], length)
            self.drop(name, reason, length)
            if test_set:
                self.leak(test_set, reason, length)
            for character in characters:
                _add(self.foreign.setdefault(character, _tally()), length)

    def leak(self, test_set: str, reason: str, length_s: Seconds) -> None:
        """Count a cut that the guard took for a test set."""
        _add(self.leaks[test_set].setdefault(reason, _tally()), length_s)

    def drop(self, name: str, reason: str, length_s: float, cuts: int = 1) -> None:
        """Count cuts of a corpus that were read before."""
        _add(self.dropped[name].setdefault(reason, _tally()), length_s, cuts)


@dataclass(frozen=True)
class _Usable:
    """Columns of all cuts that no check dropped, a row each, in the order read."""

    keys: np.ndarray
    lengths: np.ndarray  # s
    corpora: np.ndarray  # index of the corpus
    texts: np.ndarray  # fingerprints
    speakers: np.ndarray  # fingerprints; 0 where unknown
    clips: np.ndarray  # as `digests.Digests` has them
    audio: np.ndarray

    @classmethod
    def of(cls, rows: "_Chunk", corpora: array) -> "_Usable":
        return cls(
            np.frombuffer(rows.keys, dtype=np.uint64),
            np.frombuffer(rows.lengths, dtype=np.float64),
            np.frombuffer(corpora, dtype=np.uint8),
            np.frombuffer(rows.texts, dtype=np.uint64),
            np.frombuffer(rows.speakers, dtype=np.uint64),
            np.frombuffer(rows.clips, dtype=np.uint64),
            np.frombuffer(rows.audio, dtype=np.uint64),
        )


def same_recordings(clips: np.ndarray, audio: np.ndarray, ranks: np.ndarray) -> np.ndarray:
    """Which rows are one recording: those with one clip or one audio, also by way of others.

    Args:
        clips, audio: (N,) as `digests.Digests` has them; 0 is unknown, and joins nothing.
        ranks: (N,) a permutation of 0 ... N - 1.

    Returns:
        (N,) the least rank among the rows that are one recording with each.
    """
    least = ranks.copy()
    groups = []
    for column in (clips, audio):
        known = np.flatnonzero(column)
        groups.append((known, np.unique(column[known], return_inverse=True)[1]))
    while True:
        before = least.copy()
        for known, group in groups:
            lowest = np.full(len(known), len(ranks), dtype=least.dtype)
            np.minimum.at(lowest, group, least[known])
            least[known] = lowest[group]
        if np.array_equal(before, least):
            return least


def _once(usable: _Usable, tests: TestSets, names: list[str], counts: _Counts) -> np.ndarray:
    """Rows that are left, ascending, when each recording is in once, and none of a test set. No
    guard's setting switches this off: who trains on a test set's recordings measures nothing."""
    # The first corpus by name keeps a recording, not the cut that comes first in budget order: a
    # release that is added brings its new recordings and moves no others, and the order of the
    # manifests changes nothing.
    by_name = np.argsort(np.argsort(names))
    ranks = np.empty(len(usable.keys), dtype=np.int64)
    ranks[np.lexsort((usable.keys, by_name[usable.corpora]))] = np.arange(len(ranks))
    recordings = same_recordings(usable.clips, usable.audio, ranks)
    of_test: dict[int, str] = {}  # recording -> test set
    for column, of_tests in ((usable.clips, tests.clips), (usable.audio, tests.audio)):
        held = np.fromiter(of_tests, dtype=np.uint64, count=len(of_tests))
        for row in np.flatnonzero(np.isin(column, held)):
            of_test.setdefault(int(recordings[row]), of_tests[int(column[row])])
    leaked = np.isin(recordings, np.fromiter(of_test, dtype=np.int64, count=len(of_test)))
    again = ~leaked & (recordings != ranks)
    for reason, rows in (("recording_in_test", leaked), ("same_recording", again)):
        for row in np.flatnonzero(rows):
            length = float(usable.lengths[row])
            counts.drop(names[usable.corpora[row]], reason, length)
            if leaked[row]:
                counts.leak(of_test[int(recordings[row])], reason, length)
    return np.flatnonzero(~leaked & ~again)


def _under_caps(
    usable: _Usable, alive: np.ndarray, filters: Filters, names: list[str], counts: _Counts
) -> np.ndarray:
    """Rows of `alive` that are left under the caps of equal texts and of speakers, ascending."""

    def cap(reason: str, groups: np.ndarray, amounts: np.ndarray, limit: float) -> None:
        nonlocal alive
        if not len(alive):
            return
        over = over_cap(groups[alive], usable.keys[alive], amounts[alive], limit)
        gone, alive = alive[over], alive[~over]
        for corpus, name in enumerate(names):
            of_corpus = gone[usable.corpora[gone] == corpus]
            if len(of_corpus):
                counts.drop(name, reason, float(usable.lengths[of_corpus].sum()), len(of_corpus))

    if filters.max_same_text is not None:
        cap("same_text", usable.texts, np.ones(len(usable.keys)), filters.max_same_text)
    if filters.speaker_cap_hours is not None:
        cap("speaker_cap", usable.speakers, usable.lengths, filters.speaker_cap_hours * 3600)
    return alive


def _kept(usable: _Usable, alive: np.ndarray, corpus: int) -> dict[str, float]:
    """Cuts, hours and known speakers of a corpus in the pool."""
    members = alive[usable.corpora[alive] == corpus]
    known = np.unique(usable.speakers[members])
    return {
        "cuts": len(members),
        "hours": float(usable.lengths[members].sum()) / 3600,
        "speakers": int(np.count_nonzero(known)),
    }


def _write(
    output: Path, descriptor: int, rows: "_Chunk", usable: _Usable, alive: np.ndarray
) -> None:
    """The lines of `alive` in budget order, from the file that holds all lines as read."""
    order = alive[budget_order(usable.keys[alive], usable.lengths[alive], usable.corpora[alive])]
    sizes = np.frombuffer(rows.sizes, dtype=np.uint32)
    offsets = np.cumsum(sizes, dtype=np.int64) - sizes
    with cut_lines.writing(output) as stream:
        for index in order:
            # pread, not mmap: mapped pages would count as this process's memory.
            stream.write(os.pread(descriptor, int(sizes[index]), int(offsets[index])))


def _checked(
    manifests: list[tuple[str, Path]], checker: Checker, threads: int
) -> Iterator[tuple[int, _Chunk]]:
    """(number of the manifest, its next lines, judged), in the order of the manifests."""
    if threads == 1:
        for number, (_, path) in enumerate(manifests):
            for lines in _lines_of(path):
                yield number, checker.check_all(lines)
        return
    with multiprocessing.get_context("spawn").Pool(threads, _set_checker, (checker,)) as workers:
        for number, (_, path) in enumerate(manifests):
            for results in workers.imap(_check_chunk, _lines_of(path)):
                yield number, results


def _unseen(test: Counter[str], pool: Counter[str]) -> dict[str, int]:
    return {character: count for character, count in sorted(test.items()) if character not in pool}


def _refuse_bad(lang: str, result: dict[str, Any], filters: Filters) -> None:
    for name, entry in result["corpora"].items():
        bad = {
            reason: entry["dropped"][reason]
            for reason in QUALITY_REASONS
            if reason in entry["dropped"]
        }
        count = sum(tally["cuts"] for tally in bad.values())
        if entry["read"]["cuts"] and count / entry["read"]["cuts"] > filters.max_drop_fraction:
            listing = ", ".join(f"{reason} {tally['cuts']}" for reason, tally in bad.items())
            worst = ", ".join(
                f"{c!r} {t['cuts']}" for c, t in list(result["foreign_characters"].items())[:8]
            )
            raise UserError(
                f"{lang}/{name}: {count} of {entry['read']['cuts']} cuts dropped ({listing}), more "
                "than filters."
                f"max_drop_fraction = {filters.max_drop_fraction:g}"
                + (
                    f"; characters outside the alphabet: {worst}"
                    if "foreign_alphabet" in bad
                    else ""
                )
                + "; correct the language's text block or the filters, or raise max_drop_fraction"
            )
    if not result["total"]["cuts"]:
        # In words: Snakemake removes the report of a failed job.
        reasons = Counter()
        for entry in result["corpora"].values():
            reasons.update({reason: tally["cuts"] for reason, tally in entry["dropped"].items()})
        listing = (
            ", ".join(f"{reason} {count}" for reason, count in reasons.most_common())
            or "the manifests are empty"
        )
        raise UserError(
            f"{lang}: no cut is left in the pool: {listing}; correct the filters, their guard or "
            "the text block"
        )


def _refuse_twice(lang: str, keys: np.ndarray) -> None:
    ordered = np.sort(keys)
    twice = int(np.count_nonzero(ordered[1:] == ordered[:-1]))
    if twice:
        raise UserError(
            f"{lang}: {twice} cut ids occur twice in the training manifests; list each split of a "
            "corpus once"
        )
