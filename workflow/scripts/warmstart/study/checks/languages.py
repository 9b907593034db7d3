"""Languages: their corpora, test sets, and the hours that there are."""

from pathlib import Path
from typing import Any

from warmstart.run import files
from warmstart.run.errors import UserError
from warmstart.study import paths, slices
from warmstart.study.checks.allowed import require
from warmstart.study.grid import Study
from warmstart.study.hours import format_hours


def check(study: Study) -> None:
    """Every language has a code for what it is asked to have, and enough speech."""
    _check_noisy_test_sets(study)
    for lang in study.languages:
        _check_language(study, lang)
    for lang, block in study.config["support_languages"].items():
        for corpus in block["corpora"]:
            require(f"support_languages.{lang}.corpora", corpus, study.config["corpora"])
    headline = study.config["statistics"]["headline_test_set"]
    require("statistics.headline_test_set", headline, study.config["test_sets"])


def notes(study: Study) -> list[str]:
    """What a dry run says of languages that it does not refuse."""
    return [
        f"languages.{lang}: {study.language(lang)['name']} is written without spaces, so "
        "a word of WER is a whole sentence: read CER, or set text.segment: characters, which "
        "makes each letter a word"
        for lang in slices.unspaced(study)
    ]


def available(study: Study, lang: str) -> tuple[float, str] | None:
    """Hours of a language's pool, and who says so: its report if it is there, else the publishers'
    statistics.

    None: somebody's own data, known once the pool is built; the programs that take from it check
    then.
    """
    corpora = study.language(lang)["training_corpora"]
    report = Path(paths.pool(lang).replace(".jsonl.gz", ".qc.json"))
    pool = files.read_if_whole(report, dict, "the pool is made again")
    if pool and set(pool["corpora"]) == set(corpora) and _made_so(study, pool, lang):
        said = f"as {report} counts them; remove it if its corpora have changed since"
        return pool["total"]["hours"], said
    readers = {corpus: slices.reader(study, corpus, lang) for corpus in corpora}
    hours = {corpus: one.hours(one.settings["train_split"]) for corpus, one in readers.items()}
    known = [value for value in hours.values() if value is not None]
    if len(known) < len(hours):
        return None
    parts = " + ".join(f"{corpus} {value:g}" for corpus, value in hours.items())
    return sum(known), f"before cleaning: {parts}"


def _check_noisy_test_sets(study: Study) -> None:
    test_sets = study.config["test_sets"]
    for name, source in test_sets.items():
        if "noise_snr_db" not in source:
            continue
        if study.config["noise"] is None:
            raise UserError(
                f"test_sets.{name} has noise_snr_db, but no recordings: set noise.directory"
            )
        clean = {key: source[key] for key in ("corpus", "split")}
        if clean not in test_sets.values():
            raise UserError(
                f"test_sets.{name} is noisy; define its clean set {clean} too: it guards the pool"
            )


def _check_language(study: Study, lang: str) -> None:
    block = study.language(lang)
    for key in ("training_corpora", "corpora"):
        for corpus in block[key]:
            require(f"languages.{lang}.{key}", corpus, study.config["corpora"])
    for corpus in (*block["training_corpora"], study.config["validation"]["corpus"]):
        if corpus not in block["corpora"]:
            raise UserError(
                f"languages.{lang}.corpora has no code for {corpus!r}, which the language is "
                "trained or validated on"
            )
    for test_set in block["test_sets"]:
        require(f"languages.{lang}.test_sets", test_set, study.config["test_sets"])
        corpus = study.config["test_sets"][test_set]["corpus"]
        if corpus not in block["corpora"]:
            raise UserError(
                f"languages.{lang}.test_sets has {test_set!r}, but languages.{lang}.corpora has "
                f"no code for its corpus {corpus!r}"
            )
    _check_budgets(study, lang)


def _check_budgets(study: Study, lang: str) -> None:
    """Compare budgets with what there is."""
    if (found := available(study, lang)) is None:
        return
    hours, source = found
    asked = sorted(study.language(lang)["budgets_hours"])
    if asked[-1] > hours:
        fits = ", ".join(format_hours(value) for value in asked if value <= hours)
        raise UserError(
            f"{lang}: {asked[-1]:g} h asked, {hours:.4g} h available ({source}); budgets that "
            f"fit: {fits or 'none'}"
        )


def _made_so(study: Study, pool: dict[str, Any], lang: str) -> bool:
    """Whether a pool was made with the settings of today; another is stale and about to be built
    again: it says nothing."""
    wanted = slices.pool(study, lang)
    return (
        pool["text"] == wanted["text"]
        and (pool.get("speakers_of") or {}) == wanted.get("speakers_of", {})
        and all(pool["filters"].get(key) == value for key, value in wanted["filters"].items())
    )
