"""Faults of a configuration between its keys, which data are not needed to see: they stop the dry
run.

Those of `training` and `noise` are in `recipe`, those of tiers, precisions and budgets in `study`.
"""

import math
import unicodedata
from typing import Any

from warmstart.data import numbers
from warmstart.data.corpora import open_corpus, reader
from warmstart.data.text import normalize
from warmstart.run.errors import UserError, did_you_mean
from warmstart.study.hours import format_hours


def check(config: dict[str, Any]) -> None:
    """Check a validated configuration.

    Raises:
        UserError: the first fault, with key, value and remedy.
    """
    if twice := sorted(set(config["languages"]) & set(config["support_languages"])):
        raise UserError(
            f"support_languages.{twice[0]} is a target under languages too, whose block would be "
            "used for both; take one out"
        )
    _check_splits(config)
    _check_filters(config["filters"])
    _check_statistics(config)
    _check_seen(config)
    for lang, block in {**config["languages"], **config["support_languages"]}.items():
        section = "languages" if lang in config["languages"] else "support_languages"
        _check_readers(config, f"{section}.{lang}.corpora", lang, block["corpora"])
        _check_text(f"{section}.{lang}.text", block["text"])
    for lang, block in config["languages"].items():
        _check_paths(f"languages.{lang}.budgets_hours", block["budgets_hours"])


def corpus_block(
    config: dict[str, Any], corpus: str, lang: str, code: str | dict[str, Any]
) -> dict[str, Any]:
    """Block of a corpus with what a language says of its own in it."""
    return {
        **config["corpora"][corpus],
        **({"code": code} if isinstance(code, str) else {"code": lang, **code}),
    }


def _check_readers(config: dict[str, Any], place: str, lang: str, codes: dict[str, Any]) -> None:
    for corpus, code in codes.items():
        if corpus not in config["corpora"]:
            continue  # said elsewhere, with what there is
        try:
            opened = open_corpus(corpus, lang, corpus_block(config, corpus, lang, code))
        except UserError as error:
            raise UserError(f"{place}.{corpus}: {error}") from None
        if missing := opened.lacks():
            raise UserError(f"corpora.{corpus} lacks {missing}")


def _check_splits(config: dict[str, Any]) -> None:
    """Each corpus has the splits that are asked of it, and nobody is tested on what was trained or
    watched on."""
    test_sets = config["test_sets"]
    asked = {
        f"test_sets.{name}": (source["corpus"], source["split"])
        for name, source in test_sets.items()
    }
    validations = {"validation": config.get("validation")} | {
        f"languages.{lang}.validation": block.get("validation")
        for lang, block in config["languages"].items()
    }
    watched = {place for place, source in validations.items() if source}
    asked |= {
        place: (source["corpus"], source["split"])
        for place, source in validations.items()
        if source
    }
    for name, init in config["inits"].items():
        if recipe := init.get("pretrain"):
            asked[f"inits.{name}.pretrain"] = recipe["corpus"], recipe["split"]
    asked |= {
        f"corpora.{name}.train_split": (name, block["train_split"])
        for name, block in config["corpora"].items()
    }
    for section in ("languages", "support_languages"):
        for lang, block in config[section].items():
            for corpus in block.get("training_corpora", []):
                own = block["corpora"].get(corpus)
                place = f"corpora.{corpus}.train_split"
                if isinstance(own, dict) and "train_split" in own and corpus in config["corpora"]:
                    place = f"{section}.{lang}.{place}"
                    asked[place] = corpus, own["train_split"]
                watched.add(place)
    for place, (corpus, split) in asked.items():
        known = reader(config["corpora"][corpus]["kind"]).SPLITS
        if known and split not in known:
            key = place if place.endswith(".train_split") else f"{place}.split"
            raise UserError(
                f"config: {key} is {split!r}{did_you_mean(split, known)}, which {corpus} does not "
                "have; allowed: "
                f"{', '.join(known)}"
            )
    for name, source in test_sets.items():
        for place, other in asked.items():
            if place in watched and other == (source["corpus"], source["split"]):
                raise UserError(
                    f"{place} is split {other[1]!r} of {other[0]}, which is test set {name!r}: "
                    "what is tested on "
                    f"must be neither trained nor watched on; give another split"
                )


def _check_filters(filters: dict[str, Any]) -> None:
    for low, high in (("min_duration_s", "max_duration_s"), ("min_chars_per_s", "max_chars_per_s")):
        if filters[low] >= filters[high]:
            raise UserError(
                f"filters.{low} is {filters[low]:g}, filters.{high} {filters[high]:g}: no cut "
                "would be left"
            )


def _check_statistics(config: dict[str, Any]) -> None:
    settings = config["statistics"]
    headline = settings["headline_test_set"]
    scored = list(
        dict.fromkeys(name for block in config["languages"].values() for name in block["test_sets"])
    )
    if headline in config["test_sets"] and headline not in scored:
        raise UserError(
            f"statistics.headline_test_set is {headline!r}, on which no language is scored; take "
            "one of "
            f"{', '.join(scored)}, or list it under test_sets of the languages"
        )
    # Of the replicates, the tail beyond each bound has half of 1 - confidence.
    least = round(2 / (1 - settings["confidence"]), 6)
    if settings["replicates"] < least:
        raise UserError(
            f"statistics.confidence is {settings['confidence']:.10g}, and of statistics.replicates "
            f"{settings['replicates']} none lies beyond its bounds: give at least "
            f"{math.ceil(least)} replicates, or a lower confidence"
        )
    full = config["precisions"].get("full")
    if full is None:
        raise UserError(
            "precisions lacks 'full', the models as trained, on which all gaps are taken: add "
            "`full: {}`"
        )
    if full["tiers"] != "all" and settings["reference_tier"] not in full["tiers"]:
        raise UserError(
            f"precisions.full.tiers is {full['tiers']}, without statistics.reference_tier "
            f"{settings['reference_tier']!r}; add it"
        )


def _check_seen(config: dict[str, Any]) -> None:
    known = sorted(
        {
            *config["test_sets"],
            *config["corpora"],
            *(block["kind"] for block in config["corpora"].values()),
        }
    )
    for init, block in config["inits"].items():
        listed = [] if block["seen"] == "unknown" else block["seen"]
        if unknown := sorted(set(listed) - set(known)):
            raise UserError(
                f"inits.{init}.seen has {unknown[0]!r}{did_you_mean(unknown[0], known)}, which is "
                "no test set and no corpus here, so no report would name it; "
                f"known: {', '.join(known)}; or write `seen: unknown`"
            )


def _check_text(place: str, text: dict[str, Any]) -> None:
    if text["case"] == "lower" and (
        upper := [letter for letter in text["alphabet"] if letter != letter.lower()]
    ):
        raise UserError(
            f"{place}.alphabet has {''.join(upper)}, but texts are lower case (`case: lower`) and "
            "every cut with such a letter "
            f"would be dropped; write the alphabet in lower case"
        )
    if letters := [char for char in text["keep"] if char.isalnum() or char.isspace()]:
        raise UserError(
            f"{place}.keep has {''.join(letters)!r}: it lists punctuation; letters stay anyway "
            "(`alphabet`)"
        )
    if "-" in text["keep"]:
        raise UserError(
            f"{place}.keep has '-', and {place}.hyphen is {text['hyphen']!r}, which decides about "
            "hyphens alone; take it out, and write hyphen: keep where they stay"
        )
    replaced = text.get("replace") or {}
    if long := [
        char for char in replaced if len(char) != 1 or unicodedata.normalize("NFKC", char) != char
    ]:
        raise UserError(
            f"{place}.replace has {long[0]!r}: keys are single characters, composed as NFKC "
            "composes them"
        )
    if gone := [letter for letter in text["alphabet"] if replaced.get(letter, letter) != letter]:
        raise UserError(
            f"{place}.alphabet has {''.join(gone)}, which {place}.replace makes other letters of; "
            "take it out of one of the two"
        )
    if text["numbers"] is not None:
        _check_numbers(place, text)
    _check_words(place, text)


def _check_numbers(place: str, text: Any) -> None:
    lang = text["numbers"]
    if not numbers.is_known(lang):
        raise UserError(
            f"{place}.numbers is {lang!r}{did_you_mean(lang, numbers.known())}, which num2words "
            "does not know; allowed: "
            f"null (digits stay), {', '.join(numbers.known())}"
        )
    try:
        numbers.check(lang)
    except UserError as error:
        raise UserError(f"{place}.numbers is {error}") from None
    # A German alphabet lacks a letter of a few numbers at most, a Cyrillic one all of them.
    spoken = [normalize(str(digit), text) for digit in range(10)]
    letters = set(unicodedata.normalize("NFKC", text["alphabet"] + text["keep"])) | set(" -")
    if len(foreign := [word for word in spoken if set(word) - letters]) > len(spoken) / 2:
        raise UserError(
            f"{place}.numbers is {lang!r}, whose words ({', '.join(foreign[:3])}) are in letters "
            f"that {place}.alphabet lacks, so every cut with a number would be dropped; write null "
            "(digits stay), or another language, or `replace` its letters"
        )


def _check_words(place: str, text: Any) -> None:
    words = text.get("words") or {}
    plain: Any = {**text, "words": {}}
    letters = set(unicodedata.normalize("NFKC", text["alphabet"]))
    for wrong, right in words.items():
        if not wrong or " " in wrong:
            raise UserError(
                f"{place}.words has {wrong!r}: keys are single words; write one key for each word, "
                "or take it out"
            )
        if normalize(wrong, plain) != wrong:
            raise UserError(
                f"{place}.words has {wrong!r}: keys are single words as the normaliser writes "
                f"them, here {normalize(wrong, plain)!r}"
            )
        if normalize(right, plain) != right:
            raise UserError(
                f"{place}.words makes {right!r} of {wrong!r}, which the normaliser writes "
                f"{normalize(right, plain)!r}; write that"
            )
        if foreign := [char for char in right if char.isalpha() and char not in letters]:
            raise UserError(
                f"{place}.words makes {right!r} of {wrong!r}, and {place}.alphabet lacks "
                f"{''.join(foreign)}, so every cut with this word would be dropped; add the "
                "letters, or write another word"
            )
        if again := [word for word in right.split() if words.get(word, word) != word]:
            raise UserError(
                f"{place}.words makes {right!r} of {wrong!r}, and {again[0]!r} becomes another "
                "word again; write the last one"
            )


def _check_paths(place: str, hours: list[float]) -> None:
    names = [format_hours(value) for value in hours]
    if "0" in names or len(set(names)) < len(names):
        raise UserError(
            f"{place} is {hours}: budgets must differ in their first six decimals, and from 0"
        )
