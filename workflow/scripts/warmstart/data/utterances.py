"""Test manifests as utterances: what decoding, scoring and the bundles know of a test set. Standard
library only."""

import re
from dataclasses import dataclass, field
from pathlib import Path

from warmstart.data import cut_lines
from warmstart.run.errors import UserError

Seconds = float


@dataclass(frozen=True)
class TestUtterance:
    """One utterance of a test set.

    Attributes:
        id: unique in the test set.
        lang: the language that is spoken; None where the manifest does not say.
        block: unit of resampling: utterances of one block are not independent. Of a manifest that
            names none, the speaker; of one without speakers, the utterance itself.
        duration_s: length of its audio.
        text: the reference as published; empty where there is none.
        line: of the manifest, from which Lhotse makes the cut: a tenth of what its objects would
            take.
        speaker: the corpus's speaker id; None where nobody knows.
    """

    __test__ = False  # pytest takes the name for a collection of tests

    id: str
    lang: str | None
    block: str
    duration_s: Seconds
    text: str
    line: bytes = field(repr=False)
    speaker: str | None = None


_CUT = re.compile(r"[a-z][a-z0-9_]*-(?P<lang>[a-z]{2,3})-[a-z][a-z0-9_]*-(?P<own>.+)", re.DOTALL)


def published_id(name: str, lang: str) -> str:
    """What a corpus calls an utterance: the id of its cut without `{corpus}-{lang}-{split}-`, which
    `manifests` puts in front; the id itself where it has another form."""
    found = _CUT.fullmatch(name)
    return found["own"] if found and found["lang"] == lang else name


def read_test_set(path: str | Path) -> list[TestUtterance]:
    """The utterances of a test manifest, in its order.

    Raises:
        UserError: no such file, damaged, empty, or two cuts of one id.
    """
    utterances = []
    seen: set[str] = set()
    twice: list[str] = []
    for number, line in enumerate(cut_lines.read_lines(path), start=1):
        cut = cut_lines.parse(line, path, number)
        supervision = cut_lines.supervision(cut)
        name = cut["id"]
        if name in seen:
            twice.append(name)
        seen.add(name)
        utterances.append(
            TestUtterance(
                id=name,
                lang=supervision.get("language"),
                block=str(cut_lines.custom(cut).get("block") or supervision.get("speaker") or name),
                duration_s=float(cut_lines.duration_s(cut)),
                text=supervision.get("text") or "",
                line=line,
                speaker=supervision.get("speaker"),
            )
        )
    if not utterances:
        raise UserError(
            f"{path}: no utterances; a test set needs at least one: check the .qc.json beside it"
        )
    if twice:
        raise UserError(
            f"{path}: {len(twice)} utterance ids occur twice, e.g. {twice[0]}; make the manifest "
            "again"
        )
    return utterances
