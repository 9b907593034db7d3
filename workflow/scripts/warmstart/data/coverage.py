"""What tokens cannot write: characters (of `ipa`: phones) of training and test texts, counted."""

import logging
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import sentencepiece

from warmstart.data import cut_lines, mixing, tokenizer, unwritable
from warmstart.data.targets import PLAIN, Targets
from warmstart.data.text import normalize
from warmstart.run.errors import UserError

logger = logging.getLogger(__name__)


def coverage(model: str | Path, texts: Iterable[str], targets: Targets = PLAIN) -> dict[str, Any]:
    """How a tokenizer writes some targets.

    Args:
        texts: what is written; of phones the phones.
        targets: says of what a text consists.

    Returns:
        `sentences`, `words`, `pieces`, `pieces_per_word`, `characters` (phones, where these are
        learnt; without blanks), and `unwritable`: character or phone -> how often it occurs where
        the tokenizer can only write `<unk>`. Of phones also `empty`: texts that have none.
    """
    processor = sentencepiece.SentencePieceProcessor(model_file=str(model))
    missing: Counter[str] = Counter()
    sentences = words = pieces = characters = empty = 0
    for text in texts:
        sentences += 1
        words += len(text.split())
        ids = processor.encode(text)
        pieces += len(ids)
        units = targets.units(text)
        characters += len(units)
        empty += not units
        if processor.unk_id() in ids:
            unknown = {unit for unit in set(units) if processor.unk_id() in processor.encode(unit)}
            missing.update(unit for unit in units if unit in unknown)
    return {
        "sentences": sentences,
        "words": words,
        "pieces": pieces,
        "pieces_per_word": pieces / words if words else None,
        "characters": characters,
        **({"empty": empty} if targets.phonemes else {}),
        "unwritable": dict(missing.most_common()),
    }


def report(
    model: str | Path,
    pools: Mapping[str, Path],
    tests: Mapping[str, Path],
    text_settings: Mapping[str, Mapping[str, Any]],
    targets: Targets = PLAIN,
) -> dict[str, Any]:
    """Coverage of the training text and of each test set's normalised text; warns of what cannot be
    written.

    Args:
        pools: language -> pool, of the languages that are trained on.
        tests: name -> manifest; each cut is normalised by the rules of its own language, of the
            first in `pools` where it names none.
        text_settings: language -> block `text`.
        targets: what is learnt of a text.

    Returns:
        `train` and `tests` (name -> the same), as `coverage`.

    Raises:
        UserError: a test set in a language without rules.
    """
    heard = (
        targets.of(text, lang)
        for lang, pool in pools.items()
        for text in tokenizer.supervision_texts(pool)
    )
    made: dict[str, Any] = {"train": coverage(model, heard, targets), "tests": {}}
    for name, manifest in tests.items():
        texts = normalised(manifest, text_settings, next(iter(pools)))
        made["tests"][name] = coverage(model, (targets.of(*one) for one in texts), targets)
    for said in unwritable.sentences(made):
        logger.warning("%s", said)
    if empty := made["train"].get("empty"):
        logger.warning("%d training texts have no phones: they are learnt as silence", empty)
    return made


def normalised(
    manifest: Path, text_settings: Mapping[str, Mapping[str, Any]], default: str
) -> Iterator[tuple[str, str]]:
    """(normalised text, language) of each cut of a test set.

    Raises:
        UserError: one in a language without rules.
    """
    for cut in cut_lines.read(manifest):
        lang = mixing.language(cut) or default
        if lang not in text_settings:
            raise UserError(
                f"{manifest}: cut {cut['id']} is of {lang}, and `text` has the rules of "
                f"{', '.join(text_settings)}; add those of {lang}"
            )
        settings: Any = text_settings[lang]
        yield normalize(cut_lines.supervision(cut)["text"], settings), lang
