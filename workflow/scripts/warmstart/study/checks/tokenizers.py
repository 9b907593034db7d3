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
        UserError: with the number of letters, the key, its value and the least that would do; or
            more candidates of a token are asked for than any trained tokenizer has tokens.
    """
    _require_candidates(study)
    if study.config["tokenizer"]["character_coverage"] == 1:
        size = study.config["tokenizer"]["vocab_size"]
        for one in study.training_sets.values():
            _require(study, "tokenizer.vocab_size", size, one.heard(), f"training set {one.name}")
    for name, init in study.config["inits"].items():
        if recipe := init.get("pretrain"):
            key = f"inits.{name}.pretrain.vocab_size"
            _require(study, key, recipe["vocab_size"], recipe["languages"], f"init {name}")


def _require_candidates(study: Study) -> None:
    """Where every arm's tokenizer is trained, the largest K is known; where a model brings its own,
    decoding says how many there are."""
    asked = study.config["decoding"]["log_candidates"]
    size = study.config["tokenizer"]["vocab_size"]
    trained = all(arm.kind.tokenizer == "trained" for arm in study.arms.values())
    as_they_are = any(study.zero_shot_runs(name) for name in study.decoded_sets)
    if asked > size and trained and not as_they_are:
        raise UserError(
            f"decoding.log_candidates is {asked}, and tokenizers have tokenizer.vocab_size = "
            f"{size} tokens: lower it to {size} or less"
        )


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
