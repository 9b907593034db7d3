"""Tokenizers that cannot be made, as far as the alphabets tell, and made ones that cannot write
what they should."""

import unicodedata
from collections.abc import Iterable

from warmstart.data import phones, unwritable
from warmstart.data.targets import BPE, CHAR, IPA, MOST_UNITS
from warmstart.run.errors import UserError
from warmstart.study import paths
from warmstart.study.coverage_reports import coverage_reports
from warmstart.study.grid import OWN_TOKENS, Study

# Beside a piece for each letter: `<unk>`, and the mark of a word's begin.
_OTHER_PIECES = 2


def check(study: Study) -> None:
    """Every tokenizer has a piece for each letter that its languages may write, or a voice for each
    language whose phones it has.

    SentencePiece refuses fewer (trainer_interface.cc), after all downloads. Where it leaves rare
    letters out (`character_coverage` below 1), the alphabet does not tell.

    Raises:
        UserError: with the number of letters, the key, its value and the least that would do; a
            language without a voice; a BPE without a size; or more candidates of a token are asked
            for than any trained tokenizer has tokens.
    """
    chosen = study.config["tokenizer"]
    made = paths.tokenizers(study)
    if "vocab_size" not in chosen and any(tokens == BPE for _, tokens in made):
        raise UserError(
            "config: tokenizer lacks 'vocab_size', how many pieces a BPE has; give it, or take "
            "tokenizer.tokens: char or ipa"
        )
    _require_candidates(study, {tokens for _, tokens in made})
    for name, tokens in made:
        langs, of = study.training_set(name).heard(), _whose(study, name)
        if tokens == BPE and chosen["character_coverage"] == 1:
            _require(study, "tokenizer.vocab_size", chosen["vocab_size"], langs, of)
        _require_units(study, tokens, langs, of)
    for name, init in study.config["inits"].items():
        if recipe := init.get("pretrain"):
            tokens, langs, of = recipe.get("tokens", BPE), recipe["languages"], f"init {name}"
            if tokens == BPE:
                key = f"inits.{name}.pretrain.vocab_size"
                _require(study, key, recipe["vocab_size"], langs, of)
            _require_units(study, tokens, langs, of)


def check_files(study: Study) -> None:
    """Tokenizers that are made write what `tokenizer.unwritable_share_max` asks: a limit that was
    lowered since then stops the study too.

    Raises:
        UserError: see `data.unwritable.require`.
    """
    most = study.config["tokenizer"]["unwritable_share_max"]
    for of, report in coverage_reports(study) if most is not None else ():
        unwritable.require(report, most, of)


def _require_candidates(study: Study, made: set[str]) -> None:
    """Where every tokenizer is a BPE of this study, the largest K is known; where a model brings
    its own, or writes characters or phones, decoding says how many there are."""
    own = any(arm.tokens == OWN_TOKENS for arm in study.arms.values())
    as_they_are = any(study.zero_shot_runs(name) for name in study.decoded_sets)
    if made != {BPE} or own or as_they_are:
        return
    asked, size = (
        study.config["decoding"]["log_candidates"],
        study.config["tokenizer"]["vocab_size"],
    )
    if asked > size:
        raise UserError(
            f"decoding.log_candidates is {asked}, and tokenizers have tokenizer.vocab_size = "
            f"{size} tokens: lower it to {size} or less"
        )


def _whose(study: Study, name: str) -> str:
    """The training set, or the head of another set, that a tokenizer is of."""
    if name in study.training_sets:
        return f"training set {name}"
    sets = [other for other in study.training_sets if name in study.heads(other)]
    return f"head {name} of training set {sets[0]}"


def letters(study: Study, langs: Iterable[str]) -> set[str]:
    """Characters that a pool of these languages may hold, without the blank."""
    found = set()
    for lang in langs:
        text = study.language(lang)["text"]
        composed = unicodedata.normalize("NFKC", text["alphabet"])
        found |= {letter for letter in composed if unicodedata.category(letter)[0] in "LMN"}
        found |= set(text["keep"]) | ({"-"} if text["hyphen"] == "keep" else set())
    return found


def _require_units(study: Study, tokens: str, langs: Iterable[str], of: str) -> None:
    """Of what is no BPE: letters are not too many, and phones have a voice."""
    langs = list(langs)
    if tokens == CHAR and (needed := len(letters(study, langs))) > MOST_UNITS:
        raise UserError(
            f"{of}: tokens are char, a token for each letter, and its alphabets have {needed} "
            f"letters, more than {MOST_UNITS}: take tokens bpe with tokenizer.character_coverage "
            "below 1, or take letters out of text.alphabet"
        )
    for lang in langs if tokens == IPA else ():
        try:
            phones.Phonemiser(study.voice(lang))
        except UserError as error:
            section = "languages" if lang in study.languages else "support_languages"
            raise UserError(f"{section}.{lang} ({of}, tokens ipa): {error}") from None
        except ImportError:  # a machine that plans, and does not have the environment
            return


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
