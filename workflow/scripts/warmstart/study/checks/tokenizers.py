"""Tokenizers that cannot be made, as far as the alphabets tell."""

import unicodedata
from collections.abc import Iterable

from warmstart.run.errors import UserError
from warmstart.study.grid import Study

# Beside a piece for each letter: `<unk>`, and the mark of a word's begin.
_OTHER_PIECES = 2


def check(study: Study) -> None:
    """Every tokenizer has a piece for each letter that its languages may write.

    SentencePiece refuses fewer (trainer_interface.cc), after all downloads. Where it leaves rare
    letters out (`character_coverage` below 1), the alphabet does not tell.

    Raises:
        UserError: with the number of letters, the key, its value and the least that would do.
    """
    if study.config["tokenizer"]["character_coverage"] == 1:
        size = study.config["tokenizer"]["vocab_size"]
        for one in study.training_sets.values():
            _require(study, "tokenizer.vocab_size", size, one.heard(), f"training set {one.name}")
    for name, init in study.config["inits"].items():
        if recipe := init.get("pretrain"):
            key = f"inits.{name}.pretrain.vocab_size"
            _require(study, key, recipe["vocab_size"], recipe["languages"], f"init {name}")


def letters(study: Study, langs: Iterable[str]) -> set[str]:
    """Characters that a pool of these languages may hold, without the blank."""
    found = set()
    for lang in langs:
        text = study.language(lang)["text"]
        composed = unicodedata.normalize("NFKC", text["alphabet"])
        found |= {letter for letter in composed if unicodedata.category(letter)[0] in "LMN"}
        found |= set(text["keep"]) | ({"-"} if text["hyphen"] == "keep" else set())
    return found


def _require(study: Study, key: str, size: int, langs: Iterable[str], of: str) -> None:
    langs = list(langs)
    needed = len(letters(study, langs)) + _OTHER_PIECES
    if needed > size:
        alphabets = ", ".join(
            f"languages.{lang}" if lang in study.languages else f"support_languages.{lang}"
            for lang in langs
        )
        raise UserError(
            f"{key} is {size}, and the alphabets of {of} have {needed - _OTHER_PIECES} letters, "
            f"each of which is a piece: raise {key} to {needed} or more, or take letters out of "
            f"text.alphabet ({alphabets})"
        )
