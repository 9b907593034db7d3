"""What is asked to be understood: its test sets, tables, splits and languages."""

from pathlib import Path

from warmstart import models
from warmstart.data import label_tables
from warmstart.data.corpora import reader
from warmstart.run.errors import UserError
from warmstart.study import paths, slices, understanding
from warmstart.study.checks.allowed import require, require_input
from warmstart.study.grid import Study


def check(study: Study) -> None:
    """Every name is defined, something is asked of some language, and probes can be made.

    Raises:
        UserError: with the key, its value and what is allowed.
    """
    asked = understanding.block(study)
    langs = [*study.config["languages"], *study.config["support_languages"]]
    for section in ("topics", "questions"):
        for name, block in asked.get(section, {}).items():
            here = f"understanding.{section}.{name}"
            require(f"understanding.{section}", name, study.config["test_sets"])
            for lang in block["codes"]:
                require(f"{here}.codes", lang, langs)
            if not any(
                name in understanding.asked(study, section, lang) for lang in study.scored_languages
            ):
                raise UserError(
                    f"{here}: no language of its `codes` is scored on {name!r}; add the test set "
                    "to a language, or the language to `codes`"
                )
            _check_split(study, here, name, block.get("train_split"))
    if asked.get("probe") is not None:
        _check_probe(study, langs)


def _check_split(study: Study, here: str, test_set: str, split: str | None) -> None:
    source = study.config["test_sets"][test_set]
    if split is None:
        return
    if split == source["split"]:
        raise UserError(
            f"{here}.train_split is {split!r}, the split of the test set itself; give another, or "
            "leave it out to learn from the sentences of the table"
        )
    known = reader(study.config["corpora"][source["corpus"]]["kind"]).SPLITS
    if known is not None:
        require(f"{here}.train_split", split, known)


def _check_probe(study: Study, langs: list[str]) -> None:
    topics = understanding.block(study).get("topics", {})
    learnt = [name for name, block in topics.items() if block["train_split"]]
    if not learnt:
        raise UserError(
            "understanding.probe needs recordings to learn from: give understanding.topics.NAME a "
            "train_split"
        )
    for lang in understanding.sources(study):
        require("understanding.probe.sources", lang, langs)
        if not any(name in paths.learnt_manifests(study, lang) for name in learnt):
            raise UserError(
                f"understanding.probe.sources has {lang!r}, which has no recordings or no `codes` "
                f"for {', '.join(learnt)}; add the corpus to its `corpora` and the language to "
                "`codes`, or take it out"
            )
    for arm in study.arms.values():
        try:
            models.require_probe(arm.family)
        except UserError as error:
            raise UserError(f"understanding.probe: {error}") from None


def check_files(study: Study) -> None:
    """Tables are there and have their columns; splits to learn from exist.

    Raises:
        UserError: with the key, and what is missing.
    """
    for lang in understanding.languages(study):
        for section in ("topics", "questions"):
            for name in understanding.asked(study, section, lang):
                _check_table(study, section, name, lang)
        for name in understanding.asked(study, "topics", lang):
            for one in understanding.learnt_in(study, name, lang):
                if one != lang:
                    _check_table(study, "topics", name, one)
                _check_recordings(study, name, one)


def _check_table(study: Study, section: str, name: str, lang: str) -> None:
    here = f"understanding.{section}.{name}, {lang}"
    path = understanding.table(study, section, name, lang)
    try:
        label_tables.check_columns(path, questions=section == "questions")
    except UserError as error:
        raise UserError(f"{here}: {error}") from None
    for file in label_tables.files_of(path):
        require_input(here, file)


def _check_recordings(study: Study, name: str, lang: str) -> None:
    wanted = paths.learnt_manifests(study, lang).get(name)
    if wanted is None or Path(wanted).exists():
        return
    corpus = study.config["test_sets"][name]["corpus"]
    split = understanding.block(study)["topics"][name]["train_split"]
    key = f"understanding.topics.{name}.train_split"
    try:
        slices.reader(study, corpus, lang).check_files({key: split})
    except UserError as error:
        raise UserError(f"{key}, {lang}: {error}") from None
