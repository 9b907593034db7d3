"""What a published model's own tokens cannot write of test texts."""

import logging
import re
import unicodedata
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from warmstart.data import coverage, unwritable
from warmstart.data.targets import Targets
from warmstart.run import files

logger = logging.getLogger(__name__)

_BYTE = re.compile(r"<0x[0-9A-Fa-f]{2}>")


def report_of(
    pieces: Sequence[str],
    tests: Mapping[str, Path],
    text: Mapping[str, Mapping[str, Any]],
    tokens: str,
    output: Path,
    most: float | None = None,
) -> dict[str, Any]:
    """Write which characters or phones of some test sets are in none of a model's tokens.

    A published model writes capitals and punctuation, of which scoring keeps what the normaliser
    does: a letter is written where any of its cases is.

    Args:
        pieces: text of each token (`base.Vocabulary`).
        tests: `lang/test set` -> manifest.
        text: language -> its block `text`.
        tokens: `ipa` where the model writes phones.
        output: JSON; `tests`, name -> `characters` and `unwritable` as in a tokenizer's
            coverage.json.
        most: share of a text that may be unwritable; None = all.

    Raises:
        UserError: more of a test set cannot be written; or of a language whose rules are missing.
    """
    targets, known = Targets(tokens, text), _Known(pieces)
    made: dict[str, Any] = {"tests": {}}
    for name, manifest in tests.items():
        lang = name.partition("/")[0]
        units = Counter(
            unit
            for one, own in coverage.normalised(manifest, text, lang)
            for unit in targets.units(targets.of(one, own))
        )
        missing = {unit: times for unit, times in units.most_common() if not known.writes(unit)}
        made["tests"][name] = {
            "characters": units.total(),
            **({"empty": 0} if targets.phonemes else {}),
            "unwritable": missing,
        }
    for said in unwritable.sentences(made):
        logger.warning("%s", said)
    unwritable.require(made, most, output.stem)
    files.write_json(output, made)
    return made


class _Known:
    """Characters that occur in tokens, whatever their case."""

    def __init__(self, pieces: Sequence[str]):
        # A byte of any character is a token of its own: everything can be written.
        self._everything = any(_BYTE.fullmatch(piece) for piece in pieces)
        self._characters = {
            character
            for piece in pieces
            for form in (piece, piece.lower(), piece.upper())
            for character in unicodedata.normalize("NFKC", form) + form
        }

    def writes(self, unit: str) -> bool:
        return self._everything or all(character in self._characters for character in unit)
