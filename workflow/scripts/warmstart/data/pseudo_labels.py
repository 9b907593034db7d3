"""What a model wrote of speech whose texts are hidden, as training cuts: which of it is kept, and
why the rest is not.

A cut of a pool is free of test sentences by its own text. By the text that a model gives it, it
need not be: so each labelled cut goes through the checks of the pool once more. What is written
down of it is made anew from what is not text, and not from its line, because texts lie in several
places of one.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from warmstart.data import cut_lines, pool
from warmstart.data.cut_lines import Seconds
from warmstart.run.errors import UserError

LOOPING, UNSURE, BEYOND = "looping", "low_confidence", "beyond_keep"
"""Reasons beside those of a pool: a phrase over and over, less confidence than is asked for, and
room for no more."""

MARK = "pseudo_label"
"""Custom field of a labelled cut, with the model's confidence."""

_OF_CUT = ("id", "type", "start", "duration", "channel", "recording", "features", "offset", "snr")
_OF_SUPERVISION = (
    *("id", "recording_id", "start", "duration", "channel", "language", "speaker", "gender"),
)
_OF_CUSTOM = ("block", "corpus")


@dataclass(frozen=True)
class Label:
    """What a model made of one cut.

    Attributes:
        cut: without its own text.
        text: what the model wrote; normalised once it was checked.
        confidence: from 0 to 1.
        looping: whether it repeats itself as nobody speaks.
        reason: why it is dropped; '' = it is kept.
    """

    cut: dict[str, Any]
    text: str
    confidence: float
    looping: bool = False
    reason: str = ""

    @property
    def duration_s(self) -> Seconds:
        """Of its audio."""
        return cut_lines.duration_s(self.cut)


def beyond(labelled: Path, heard: Path) -> Iterator[dict[str, Any]]:
    """The cuts of a budget that a smaller one lacks, without texts.

    Args:
        labelled: the smaller budget, of the same pool.
        heard: the larger one.

    Raises:
        UserError: the smaller one is not how the larger one begins.
    """
    larger = cut_lines.read(heard)
    for cut in cut_lines.read(labelled):
        other = next(larger, None)
        if other is None or other["id"] != cut["id"]:
            raise UserError(
                f"{labelled}: cut {cut['id']} is not at its place in {heard}, so that they are no "
                "budgets of one pool; make both again"
            )
    return (without_text(cut) for cut in larger)


def without_text(cut: Mapping[str, Any]) -> dict[str, Any]:
    """A cut of which only audio, place and speaker are left: its text is empty, and no field that
    might hold another is taken over."""
    if "tracks" in cut:  # a MixedCut
        tracks = [{**track, "cut": without_text(track["cut"])} for track in cut["tracks"]]
        return {**{key: cut[key] for key in ("id", "type") if key in cut}, "tracks": tracks}
    made = {key: cut[key] for key in _OF_CUT if key in cut}
    made["supervisions"] = [
        {**{key: one[key] for key in _OF_SUPERVISION if key in one}, "text": ""}
        for one in cut.get("supervisions", [])
    ]
    custom = cut.get("custom") or {}
    made["custom"] = {key: custom[key] for key in _OF_CUSTOM if key in custom}
    return made


def checked(
    labels: Sequence[Label], settings: dict[str, Any], tests: list[tuple[str, Path]]
) -> list[Label]:
    """Labels with normalised texts, and a reason for those that no pool would have.

    Args:
        labels: of one language.
        settings: of its pool: `text`, `filters`, `speakers_of`.
        tests: (name, manifest) of the test sets whose sentences and speakers are kept out.

    Raises:
        UserError: see `pool.build`.
    """
    judge = pool.Checker.of(settings, tests)
    found, texts = [], []
    for label in labels:
        text, reason = judge.judge(label.cut, label.text)
        looping = LOOPING if label.looping else ""
        found.append(replace(label, text=text, reason=looping or reason))
        texts.append(0 if found[-1].reason else pool.fingerprint(text))
    most = judge.filters.max_same_text
    if most is None or not found:
        return found
    keys = np.array([pool.order_key(label.cut["id"]) for label in found], dtype=np.uint64)
    over = pool.over_cap(np.array(texts, dtype=np.uint64), keys, np.ones(len(found)), most)
    return [
        replace(label, reason="same_text") if gone else label
        for label, gone in zip(found, over, strict=True)
    ]


def kept(labels: Sequence[Label], keep: float, min_confidence: float = 0.0) -> list[Label]:
    """Labels with a reason for all but the most confident.

    Args:
        labels: checked.
        keep: share of the audio of all labels that is kept at most.
        min_confidence: with less none is.

    Of two that are as sure the first stays.
    """
    sure = [
        replace(label, reason=UNSURE)
        if not label.reason and label.confidence < min_confidence
        else label
        for label in labels
    ]
    ranks = [-label.confidence for label in sure]
    return best(sure, ranks, keep)


def best(labels: Sequence[Label], ranks: Sequence[float], keep: float) -> list[Label]:
    """Labels with a reason for all but those of the lowest ranks, as many as fit a share of the
    audio of all.

    Args:
        labels: in the order in which they stay.
        ranks: one each; of equal ones the first comes first.
        keep: the share.
    """
    room_s = keep * sum(label.duration_s for label in labels) + 1e-6
    found = list(labels)
    full = False
    for place in sorted(range(len(found)), key=lambda place: (ranks[place], place)):
        if found[place].reason:
            continue
        room_s -= found[place].duration_s
        # A shorter one of a higher rank is not let past.
        full = full or room_s < 0
        if full:
            found[place] = replace(found[place], reason=BEYOND)
    return found


def training_cut(label: Label) -> dict[str, Any]:
    """A cut that teaches what the model wrote, marked as such."""
    made = without_text(label.cut)
    cut_lines.supervision(made)["text"] = label.text
    cut_lines.first_part(made)["custom"][MARK] = round(label.confidence, 6)
    return made


def tally(labels: Sequence[Label]) -> dict[str, Any]:
    """Cuts and hours of all, of those that are kept, and of the others by reason; they add up."""

    def amount(some: Sequence[Label]) -> dict[str, float]:
        return {"cuts": len(some), "hours": sum(one.duration_s for one in some) / 3600}

    reasons = sorted({label.reason for label in labels} - {""})
    return {
        "heard": amount(labels),
        "kept": amount([label for label in labels if not label.reason]),
        "dropped": {
            reason: amount([label for label in labels if label.reason == reason])
            for reason in reasons
        },
    }
