"""Training sets: their languages, budgets, and what is replayed."""

import itertools
import math
from collections.abc import Mapping

from warmstart import models
from warmstart.data.labels import SWAP, WORDS
from warmstart.data.targets import IPA
from warmstart.evidence.keys import MEAN, OWN, POOLED
from warmstart.run.errors import UserError
from warmstart.study.checks.allowed import require
from warmstart.study.checks.languages import available
from warmstart.study.grid import Study, TrainingSet
from warmstart.study.hours import format_hours, replayed_hours


def check(study: Study) -> None:
    """Every training set has languages, budgets that there is speech for, and a test set."""
    config = study.config
    if config["training_sets"] and config["training"].get("replay"):
        raise UserError(
            "training.replay is for studies without training_sets, and this one has "
            f"{', '.join(config['training_sets'])}: write it into those that replay "
            "(training_sets.NAME.replay)"
        )
    for one in study.training_sets.values():
        if one.name in (OWN, MEAN, POOLED):
            raise UserError(
                f"training_sets.{one.name}: in tables this is a word of its own; give another name"
            )
        _check(study, one)
    _check_apart(study)
    for name, block in config["languages"].items():
        trained = [one for one in study.training_sets.values() if name in one.languages]
        if not trained:
            raise UserError(
                f"languages.{name} ({block['name']}) is in no training set, so nothing would be "
                f"trained on it; add it to one of {', '.join(study.training_sets)}, or remove it"
            )


def _check_apart(study: Study) -> None:
    """Two training sets are told apart by their names and by what is heard."""
    for one, other in itertools.combinations(study.training_sets.values(), 2):
        if one.name.replace("+", "_") == other.name.replace("+", "_"):
            raise UserError(
                f"training_sets.{one.name} and training_sets.{other.name} are one name in rules, "
                "where + is written _; rename one of them"
            )
        heard = [
            (
                *(dict(each.languages), each.replay, each.heads_per_language),
                *(each.labels, each.rounds),
            )
            for each in (one, other)
        ]
        if heard[0] == heard[1] and set(one.budgets) & set(other.budgets):
            raise UserError(
                f"training_sets.{one.name} and training_sets.{other.name} are equal: the same "
                "languages, weights, replay, heads, labels and rounds; remove one, or say what "
                "differs"
            )


def _check(study: Study, one: TrainingSet) -> None:
    here = f"training_sets.{one.name}"
    for lang in one.languages:
        require(f"{here}.languages", lang, study.languages)
    known = {*study.languages, *study.config["support_languages"]}
    if one.name in known and list(one.languages) != [one.name]:
        raise UserError(
            f"{here} has the name of a language and the languages {', '.join(one.languages)}; "
            f"give it another name, e.g. {'+'.join(one.languages)}"
        )
    if max(one.languages.values()) != 1:
        weights = ", ".join(f"{lang}: {weight:g}" for lang, weight in one.languages.items())
        raise UserError(
            f"{here}.languages is {{{weights}}}; a budget counts the hours of a language of "
            "weight 1: give one of them weight 1"
        )
    if not one.budgets_hours:
        budgets = "; ".join(
            f"{lang} {', '.join(map(format_hours, study.language(lang)['budgets_hours']))}"
            for lang in one.languages
        )
        raise UserError(
            f"{here}: its languages have no budget in common ({budgets}); give it budgets_hours"
        )
    if "0" in one.budgets or len(set(one.budgets)) < len(one.budgets):
        raise UserError(
            f"{here}.budgets_hours is {list(one.budgets_hours)}: budgets must differ in their "
            "first six decimals, and from 0"
        )
    for hours in one.budgets:
        for lang, part in one.parts(hours).items():
            if float(part) == 0:
                raise UserError(
                    f"{here}.languages gives {lang} the weight {one.languages[lang]:g}, which is 0 "
                    f"of {hours} h in the first six decimals; raise it, or leave {lang} out"
                )
    if not any(study.language(lang).get("test_sets") for lang in one.languages):
        raise UserError(
            f"{here} has no test set: none of its languages ({', '.join(one.languages)}) lists "
            "one under test_sets"
        )
    largest = max(one.budgets_hours)
    for lang, weight in one.languages.items():
        asked = largest * weight
        found = available(study, lang)
        # Budgets of the language itself are checked with the language.
        if found and asked > found[0] and asked > max(study.language(lang)["budgets_hours"]):
            raise UserError(
                f"{here}.budgets_hours has {largest:g}, {asked:g} h of {lang}: {found[0]:.4g} h "
                f"available ({found[1]}); lower it, or the weight of {lang}"
            )
    if one.replay:
        _check_replay(study, one)
    _check_labels(study, one)
    if one.heads_per_language:
        _check_heads(study, one)
    slugs: dict[str, str] = {}
    for test in study.test_sets(one.name):
        slug, said = test.slug(one), f"{test.name} of {test.lang}"
        if slug in slugs:
            raise UserError(
                f"test_sets.{slug} has the name that test set {said} gets beside {slugs[slug]} "
                f"in {here}; rename it"
            )
        slugs[slug] = said


def _check_heads(study: Study, one: TrainingSet) -> None:
    """There are languages to have heads, and every arm on it is of a family that can."""
    here = f"training_sets.{one.name}.heads is per_language"
    if len(one.heads()) < 2:
        raise UserError(
            f"{here}, and {one.heads()[0]} is its only language: remove the key, or add languages"
        )
    if study.config["training"]["batch_profile"]:
        raise UserError(
            f"{here}, and training.batch_profile measures models with one head: set it to false"
        )
    for arm in study.arms.values():
        if arm.training_sets is None or one.name in arm.training_sets:
            try:
                models.require_heads(arm.family)
            except UserError as error:
                raise UserError(
                    f"{here}, and {error}. Take {one.name} out of arms.{arm.name}.training_sets, "
                    "or give the arm another family"
                ) from None
            if arm.tokens == IPA:
                raise UserError(
                    f"{here}, and arms.{arm.name} writes phones (tokens: ipa): what the heads of "
                    "several languages write is compared in words; give the arm tokens: bpe or "
                    f"char, or take {one.name} out of its training_sets"
                )


def _check_labels(study: Study, one: TrainingSet) -> None:
    """Labels that are made wrong can be: as far as lengths tell, each budget has two cuts to swap,
    and a head's tokenizer knows what its language's texts become."""
    here = f"training_sets.{one.name}.labels"
    block = (study.config["training_sets"].get(one.name) or {}).get("labels")
    if block and block["kind"] == SWAP and block["word_error_rate"] is not None:
        raise UserError(
            f"{here}.word_error_rate is {block['word_error_rate']:g}, and kind is swap, whose rate "
            "follows from the texts; take it out, or write kind: words"
        )
    if one.labels is None:
        return
    if one.labels.kind == WORDS and one.heads_per_language:
        raise UserError(
            f"{here}.kind is words, and heads is per_language, whose heads have the tokenizer of "
            "their language's clean texts; write kind: swap, or heads: shared"
        )
    shortest_s = study.config["filters"]["min_duration_s"]
    least = 2 if one.labels.kind == SWAP else 1
    for hours in one.budgets:
        for lang, part in one.parts(hours).items():
            most = float(part) * 3600 / shortest_s if shortest_s else math.inf
            if most * one.labels.corrupt < least:
                raise UserError(
                    f"{here}.corrupt is {one.labels.corrupt:g}: of {part} h of {lang}, at most "
                    f"{most:.3g} cuts of filters.min_duration_s, fewer than {least} would be "
                    "chosen; raise the share or the budget"
                )


def _check_replay(study: Study, one: TrainingSet) -> None:
    """What is replayed has a block, corpora, test sets, and enough speech."""
    replay = one.replay
    assert replay is not None
    named = f"training_sets.{one.name}.replay"
    place = named if study.config["training_sets"] else "training.replay"
    lang = replay.lang
    here = f"{place}.lang is {lang!r}"
    support = study.config["support_languages"]
    if lang in study.languages:
        raise UserError(
            f"{here}, a target language of this study; replay is of a support language "
            f"({', '.join(support) or 'none'}): mix target languages by their weights "
            "(training_sets.NAME.languages)"
        )
    if lang not in support:
        raise UserError(
            f"{here}; give it a block under support_languages: with training_corpora and "
            f"test_sets; blocks: {', '.join(support) or 'none'}"
        )
    require_pool_and_tests(study, here, lang)
    if (found := available(study, lang)) is None:
        return
    hours, source = found
    largest = max(one.budgets_hours) * sum(one.languages.values())
    needed = replayed_hours(largest, replay.fraction)
    if needed > hours:
        most = hours / (hours + largest)
        raise UserError(
            f"{place}.fraction is {replay.fraction:g}: {needed:.4g} h of {lang} beside "
            f"{largest:g} h of {one.name}, {hours:.4g} h available ({source}); lower it (at most "
            f"{most:.3g}), or give support_languages.{lang} more training_corpora"
        )


def require_pool_and_tests(study: Study, here: str, lang: str) -> None:
    """A support language that is scored has test sets, and a pool, whose words tell rare ones.

    Args:
        here: key and value that ask for it, for the message.
    """
    block = study.config["support_languages"][lang]
    if missing := [key for key in ("training_corpora", "test_sets") if not block.get(key)]:
        raise UserError(
            f"{here}; support_languages.{lang} lacks {', '.join(missing)}: what its pool is made "
            "of, and what is scored"
        )
    for corpus in block["training_corpora"]:
        _need_code(lang, "training_corpora", corpus, block["corpora"])
    for name in block["test_sets"]:
        require(f"support_languages.{lang}.test_sets", name, study.config["test_sets"])
        _need_code(lang, "test_sets", study.config["test_sets"][name]["corpus"], block["corpora"])


def _need_code(lang: str, key: str, corpus: str, codes: Mapping[str, object]) -> None:
    if corpus not in codes:
        raise UserError(
            f"support_languages.{lang}.{key} needs {corpus!r}, but "
            f"support_languages.{lang}.corpora has no code for it"
        )
