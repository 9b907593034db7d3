"""Dirty labels on purpose: a share of the texts of a budget is made wrong, to measure what clean
texts are worth.

Which cuts are hit follows from a hash of each cut's id alone. A smaller budget's dirty cuts are
therefore those of a larger one, and those at a share of 0.25 are among those at 0.5; arms and seeds
hear the same. The share is that of the hash: of few cuts it is met on average, and the report has
what became of it.

`swap`: texts change places among the dirty cuts, so that the texts as a whole, and with them
characters and tokenizer, stay what they are. `words`: single words are replaced, deleted and
inserted. Both rules are ours.

Audio stays as it is, and so do test and validation sets.
"""

import hashlib
import logging
from collections import deque
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from warmstart.data import characters, cut_lines, text
from warmstart.run import files
from warmstart.run.errors import UserError

log = logging.getLogger(__name__)

Cut = dict[str, Any]

SWAP, WORDS = "swap", "words"
KINDS = (SWAP, WORDS)
WORD_ERROR_RATE = 0.5
"""Of a dirty text of kind `words`, where nobody gives another: half of its words, ours."""

TRUE_TEXT = "true_text"
"""Field of a supervision whose text is wrong: what was said."""

_KEY = b"warmstart labels 1"  # another one would hit other cuts
_REMEMBERED_WORDS = 10_000
_RANGE = 2.0**64


class Said(NamedTuple):
    """A cut by its id, and the text that it has."""

    id: str
    text: str


@dataclass(frozen=True)
class Labels:
    """What is done to the texts of a training set.

    Attributes:
        corrupt: share of its cuts, from 0 to 1.
        kind: `swap` or `words`.
        word_error_rate: of the dirty texts, above 0 and at most 1, on average; None of `swap`,
            whose rate follows from the texts.
    """

    corrupt: float
    kind: str
    word_error_rate: float | None = None

    @classmethod
    def of(cls, block: Mapping[str, Any]) -> "Labels":
        """From JSON, of keys named as the attributes are."""
        return cls(block["corrupt"], block["kind"], block["word_error_rate"])

    @property
    def described(self) -> str:
        """For people, behind the name of what is trained on."""
        share = f"{100 * self.corrupt:g} % of texts"
        if self.kind == SWAP:
            return f"{share} swapped"
        return f"{share} with {100 * (self.word_error_rate or 0):g} % wrong words"


def is_dirty(cut_id: str, corrupt: float) -> bool:
    """Whether a cut is among the share whose text is made wrong."""
    digest = hashlib.blake2b(cut_id.encode(), digest_size=8, key=_KEY).digest()
    return int.from_bytes(digest, "big") < corrupt * _RANGE


def corrupted(
    said: Iterable[Said],
    labels: Labels,
    settings: text.TextSettings,
    guarded: Collection[str] = (),
) -> dict[str, str]:
    """Id of each dirty cut -> its new text, which may be the old one where nothing else can be.

    Args:
        said: cuts in the order of their budget, or of a pool that begins with it.
        labels: what is done.
        settings: the language's block `text`: what counts as a word.
        guarded: normalised sentences that no text may become.
    """
    if labels.kind == SWAP:
        return swapped([one for one in said if is_dirty(one.id, labels.corrupt)])
    return _with_wrong_words(said, labels, settings, guarded)


def swapped(dirty: Sequence[Said]) -> dict[str, str]:
    """Texts that changed places.

    Each cut changes with the next one whose text is another, so that a longer list changes no pair
    of a shorter one. Cuts that are left at the end, all of one text, go into pairs of other texts,
    the last ones first: two cuts make two pairs of one, a single one makes a ring of three. Only
    where more than half have one text some keep it.
    """
    pairs: list[tuple[Said, Said]] = []
    waiting: deque[Said] = deque()
    for one in dirty:
        if waiting and waiting[0].text != one.text:
            pairs.append((waiting.popleft(), one))
        else:
            waiting.append(one)
    rings: list[tuple[Said, ...]] = []
    for pair in reversed(pairs):
        if not waiting or waiting[0].text in (pair[0].text, pair[1].text):
            rings.append(pair)
        elif len(waiting) == 1:
            rings.append((*pair, waiting.popleft()))
        else:
            rings += [(one, waiting.popleft()) for one in pair]
    found = {one.id: one.text for one in waiting}
    for ring in rings:
        found |= {one.id: other.text for one, other in zip(ring, (*ring[1:], ring[0]), strict=True)}
    return {one.id: found[one.id] for one in dirty}


def _with_wrong_words(
    said: Iterable[Said],
    labels: Labels,
    settings: text.TextSettings,
    guarded: Collection[str],
) -> dict[str, str]:
    """Texts in which words are wrong. What is put in comes from the texts before and from the text
    itself, so that a budget's texts are the same in every larger one."""
    recent: deque[str] = deque(maxlen=_REMEMBERED_WORDS)
    found = {}
    for one in said:
        words = text.segmented(one.text, settings).split()
        recent.extend(words)
        if is_dirty(one.id, labels.corrupt):
            made = _joined(wrong_words(one.id, words, labels.word_error_rate or 0, recent))
            found[one.id] = one.text if made in guarded else made
    return found


def wrong_words(cut_id: str, words: Sequence[str], rate: float, recent: Sequence[str]) -> list[str]:
    """A text with errors. Each word is hit with a probability of `rate`, and is then replaced,
    deleted, or followed by another one, a third each, by a hash of the cut's id and its place.

    Two kinds of deletions are replacements instead: one that would leave no word at all, and one
    after an insertion with no right word between, because both together are fewer errors than were
    drawn.

    Args:
        recent: words that are put in; one that equals the replaced word is passed over.
    """
    made: list[str] = []
    inserted = False
    for place, word in enumerate(words):
        hit, how, pick = drawn(cut_id, place)
        if hit >= rate:
            made.append(word)
            inserted = False
            continue
        what = int(how * 3)  # 0: replace, 1: delete, 2: insert
        last = not made and place == len(words) - 1
        if what == 1 and (inserted or last):
            what = 0
        other = _other(word, recent, pick) if what != 1 else ""
        # Where every word that was heard is this one, one more of it is an error too.
        made += {0: [other] if other != word else [word, word], 1: [], 2: [word, other]}[what]
        inserted = inserted or what == 2
    return made


def drawn(cut_id: str, place: int) -> tuple[float, float, int]:
    """Of a word by its cut and place: two numbers from 0 to 1, and one of 64 bits."""
    digest = hashlib.blake2b(f"{cut_id}\t{place}".encode(), digest_size=24, key=_KEY).digest()
    hit, how, pick = (int.from_bytes(digest[at : at + 8], "big") for at in (0, 8, 16))
    # Dividing 64 bits rounds, and to 1 at most once in 2**53.
    return hit / _RANGE, min(how / _RANGE, 1 - 2**-53), pick


def _joined(words: Sequence[str]) -> str:
    """Words as a text; letters of a script without spaces stand side by side."""
    made = ""
    for word in words:
        side_by_side = made and (
            characters.is_unspaced(made[-1]) or characters.is_unspaced(word[0])
        )
        made += word if side_by_side or not made else f" {word}"
    return made


def _other(word: str, recent: Sequence[str], pick: int) -> str:
    """A word that was heard, another one than `word` where there is one."""
    for step in range(len(recent)):
        if (found := recent[(pick + step) % len(recent)]) != word:
            return found
    return word


def corrupt(
    cuts: Path,
    output: Path,
    report: Path,
    labels: Labels,
    settings: text.TextSettings,
    guarded: Collection[str] = (),
    about: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Write a budget with dirty labels. A cut whose text became another has what was said as
    `true_text` in its supervision.

    Args:
        cuts: written by `budgets.subset`.
        labels, settings, guarded: see `corrupted`.
        about: what the report says first.

    Returns:
        The report: `kind`, `corrupt`, `word_error_rate` as asked; `cuts`, `hours` and `words` of
        all; `dirty_cuts`, `dirty_hours`, `dirty_words` of those chosen; `unchanged_cuts`, of these
        those that kept their text; `word_errors` and the rates `label_wer` over all words and
        `dirty_wer` over those of dirty cuts, by edit distance.

    Raises:
        UserError: no text became another: the budget is too small, or all its texts are one.
    """
    new = corrupted(_said(cuts), labels, settings, guarded)
    sums = {"cuts": 0, "words": 0, "dirty_cuts": 0, "dirty_words": 0, "unchanged_cuts": 0}
    sums["word_errors"] = 0
    seconds = dirty_s = 0.0
    with cut_lines.writing(output) as stream:
        for cut in cut_lines.read(cuts):
            supervision = cut_lines.supervision(cut)
            true, length = supervision["text"], cut_lines.duration_s(cut)
            words = _words(true, settings)
            sums["cuts"] += 1
            sums["words"] += len(words)
            seconds += length
            if (other := new.get(cut["id"])) is not None:
                sums["dirty_cuts"] += 1
                sums["dirty_words"] += len(words)
                sums["unchanged_cuts"] += other == true
                sums["word_errors"] += _errors(words, _words(other, settings))
                dirty_s += length
                if other != true:
                    supervision["text"] = other
                    custom = {**(supervision.get("custom") or {}), TRUE_TEXT: true}
                    supervision["custom"] = custom
            stream.write(cut_lines.line(cut))
        if sums["dirty_cuts"] == sums["unchanged_cuts"]:
            raise UserError(_too_small(cuts, labels, sums))
    result = {
        **(about or {}),
        "kind": labels.kind,
        "corrupt": labels.corrupt,
        "word_error_rate": labels.word_error_rate,
        **sums,
        "hours": seconds / 3600,
        "dirty_hours": dirty_s / 3600,
        "label_wer": sums["word_errors"] / sums["words"] if sums["words"] else 0.0,
        "dirty_wer": sums["word_errors"] / sums["dirty_words"] if sums["dirty_words"] else 0.0,
    }
    files.write_json(report, result)
    log.info(
        "%d of %d texts chosen, %d kept theirs; WER of the labels %.1f %%",
        *(sums[key] for key in ("dirty_cuts", "cuts", "unchanged_cuts")),
        100 * result["label_wer"],
    )
    return result


def _too_small(cuts: Path, labels: Labels, sums: Mapping[str, int]) -> str:
    chosen = f"{cuts}: labels.corrupt {labels.corrupt:g} chooses {sums['dirty_cuts']} of "
    chosen += f"{sums['cuts']} cuts"
    if labels.kind == SWAP:
        return (
            f"{chosen}, and two different texts are needed to swap; raise the budget, or the share"
        )
    return f"{chosen}, and no text became another; raise the budget, the share or word_error_rate"


def guarded_by(
    tests: Iterable[Path], how: Mapping[str, Any], settings: text.TextSettings
) -> set[str]:
    """The normalised texts of test sets, which no dirty label may become; none where the pool is
    not guarded by sentences either (`guard`)."""
    if not how["guard"]:
        return set()
    normalise = text.normaliser(settings)
    return {
        normalise(cut_lines.supervision(cut)["text"])
        for path in tests
        for cut in cut_lines.read(path)
    }


def pool_texts(
    pool: Path, tests: Sequence[Path], how: Mapping[str, Any], settings: text.TextSettings
) -> dict[str, str]:
    """Id -> text of a whole pool's dirty cuts, for its tokenizer, which learns what a recogniser is
    shown. A budget is a prefix of its pool, so that wrong words are those of the budgets; texts
    that changed places are the same texts, and stay.

    Args:
        pool: written by `pool.build`.
        tests, how: test sets, and see `Labels.of` and `guarded_by`.
        settings: the language's block `text`.
    """
    labels = Labels.of(how)
    if labels.kind == SWAP:
        return {}
    return corrupted(_said(pool), labels, settings, guarded_by(tests, how, settings))


def _said(manifest: Path) -> Iterable[Said]:
    for cut in cut_lines.read(manifest):
        yield Said(cut["id"], cut_lines.supervision(cut)["text"])


def _words(said: str, settings: text.TextSettings) -> list[str]:
    return text.segmented(said, settings).split()


def _errors(reference: Sequence[str], hypothesis: Sequence[str]) -> int:
    """Fewest words that are replaced, deleted and inserted."""
    from rapidfuzz.distance import Levenshtein

    return Levenshtein.distance(reference, hypothesis)
