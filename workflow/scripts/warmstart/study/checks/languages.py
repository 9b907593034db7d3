"""Languages: their corpora, test sets, and the hours that there are."""

import json
from pathlib import Path
from typing import Any

from warmstart.data.corpora import reader
from warmstart.run import files
from warmstart.run.errors import UserError, did_you_mean
from warmstart.study import paths, slices
from warmstart.study.checks.allowed import require_input
from warmstart.study.grid import Study
from warmstart.study.hours import format_hours


def check(study: Study) -> None:
    """Every language has a code for what it is asked to have, and enough speech."""
    _check_noisy_test_sets(study)
    _check_hours(study)
    for section in ("languages", "support_languages"):
        for lang, block in study.config[section].items():
            for corpus in block["corpora"]:
                try:
                    slices.reader(study, corpus, lang).check_code()
                except UserError as error:
                    raise UserError(f"{section}.{lang}.corpora.{corpus}: {error}") from None
    _check_apart(study)
    for lang in study.languages:
        _check_language(study, lang)


def check_files(study: Study) -> None:
    """Look for what must lie on this machine before anything is fetched: folders, tables, their
    columns and splits.

    Only of recordings that no job has read yet: what was deleted after its manifests were made is
    needed by nobody.

    Raises:
        UserError: with the thing that is not there, those that are, and the key.
    """
    config = study.config
    for section in ("languages", "support_languages"):
        for lang, block in config[section].items():
            for corpus in block["corpora"]:
                one = slices.reader(study, corpus, lang)
                moved = one.place() is not None and one.place() != _read_from(corpus, lang)
                wanted = {
                    key: split
                    for key, split in _splits(study, section, lang, corpus).items()
                    if moved or not Path(paths.manifest(corpus, lang, split)).exists()
                }
                if not wanted:
                    continue
                try:
                    one.check_files(wanted)
                    for table in one.inputs():
                        require_input(f"corpora.{corpus}", table)
                except UserError as error:
                    raise UserError(f"{section}.{lang}.corpora.{corpus}: {error}") from None


def _read_from(corpus: str, lang: str) -> str | None:
    """Folder that somebody's own recordings were last read from."""
    try:
        facts = json.loads(Path(paths.complete(corpus, lang)).read_text(encoding="utf-8"))
        return facts.get("source")
    except (OSError, ValueError, AttributeError):
        return None


def _splits(study: Study, section: str, lang: str, corpus: str) -> dict[str, str]:
    """Key of the configuration -> split, of what some job reads of a corpus in a language."""
    config, block = study.config, study.language(lang)
    found = {}
    if lang in study.pooled_languages:
        for name, source in config["test_sets"].items():
            if source["corpus"] == corpus:
                found[f"test_sets.{name}.split"] = source["split"]
        if corpus in block["training_corpora"]:
            own = isinstance(block["corpora"][corpus], dict) and (
                "train_split" in block["corpora"][corpus]
            )
            key = f"corpora.{corpus}.train_split"
            key = f"{section}.{lang}.{key}" if own else key
            found[key] = slices.corpus_block(study, corpus, lang)["train_split"]
    if lang in study.languages:
        source = study.validation(lang)
        if source["corpus"] == corpus:
            own = "validation" in block
            found[f"languages.{lang}.validation.split" if own else "validation.split"] = source[
                "split"
            ]
    for name, init in config["inits"].items():
        recipe = init.get("pretrain") if "path" not in init else None
        if recipe and recipe["corpus"] == corpus and lang in recipe["languages"]:
            found[f"inits.{name}.pretrain.split"] = recipe["split"]
    return found


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


def _check_apart(study: Study) -> None:
    """No target has the name or the code of another one: a copied block would train one language
    on the speech of the other."""
    named = study.config["languages"]
    called: dict[str, str] = {}
    for lang, block in named.items():
        if block["name"] in called:
            raise UserError(
                f"languages.{called[block['name']]} and languages.{lang} are both called "
                f"{block['name']!r} on the page; give one of them another name"
            )
        called[block["name"]] = lang
        for corpus in block["corpora"]:
            one = slices.reader(study, corpus, lang)
            codes = one.codes() or {}
            other = codes.get(one.code)
            if other is None or other == lang or other not in named:
                continue
            own = [code for code, of in codes.items() if of == lang]
            raise UserError(
                f"languages.{lang}.corpora.{corpus} is {one.code!r}, the code of {other} "
                f"({named[other]['name']}), another language of this study"
                + (f"; did you mean {own[0]!r}?" if own else f"; {corpus} has no {lang}")
            )


def _check_hours(study: Study) -> None:
    """No `hours` of a corpus stand under a misspelt language: they would be of nobody, and budgets
    of the right one be held against nothing. Those of a language that is not in the study may stay.
    """
    blocks = {**study.config["support_languages"], **study.config["languages"]}
    for corpus, block in study.config["corpora"].items():
        if "hours" not in reader(block["kind"]).BESIDE_DATA:
            continue  # hours that are made, by split
        said = block.get("hours") or {}
        unsaid = [lang for lang in blocks if lang not in said and corpus in blocks[lang]["corpora"]]
        for lang in said:
            if lang not in blocks and (meant := did_you_mean(lang, unsaid)):
                raise UserError(
                    f"corpora.{corpus}.hours has {lang!r}{meant}, which is no language of this "
                    f"study; languages of {corpus} without hours: {', '.join(unsaid)}"
                )


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
        if not any(
            "noise_snr_db" not in other and {key: other[key] for key in clean} == clean
            for other in test_sets.values()
        ):
            raise UserError(
                f"test_sets.{name} is noisy; define its clean set {clean} too: it guards the pool"
            )


def _check_language(study: Study, lang: str) -> None:
    block = study.language(lang)
    for corpus in block["training_corpora"]:
        if corpus not in block["corpora"]:
            raise UserError(
                f"languages.{lang}.corpora has no code for {corpus!r}, which its training_corpora "
                f"list; add it (corpora: {{{corpus}: CODE}}), or take {corpus} out of them"
            )
    _check_validation(study, lang)
    for test_set in block["test_sets"]:
        corpus = study.config["test_sets"][test_set]["corpus"]
        if corpus not in block["corpora"]:
            raise UserError(
                f"languages.{lang}.test_sets has {test_set!r}, but languages.{lang}.corpora has "
                f"no code for its corpus {corpus!r}"
            )
    _check_budgets(study, lang)


def _check_validation(study: Study, lang: str) -> None:
    """Each language is watched on recordings that it has, and that it is not trained on."""
    block = study.language(lang)
    corpora = ", ".join(block["corpora"])
    example = f"languages.{lang}.validation: {{corpus: {next(iter(block['corpora']))}, split: dev}}"
    if "validation" not in block and "validation" not in study.config:
        raise UserError(
            f"languages.{lang} has no validation, and neither has the study: write `validation` at "
            f"the top level for all languages, or {example}; corpora of {lang}: {corpora}"
        )
    source = study.validation(lang)
    here = f"languages.{lang}.validation" if "validation" in block else "validation"
    corpus, split = source["corpus"], source["split"]
    if corpus not in block["corpora"]:
        raise UserError(
            f"{here}.corpus is {corpus!r}, and languages.{lang}.corpora has no code for it; give "
            f"the language a validation of its own, from a corpus that it has ({corpora}), e.g. "
            f"{example}, or a code for {corpus!r}"
        )
    if corpus in block["training_corpora"] and (
        slices.corpus_block(study, corpus, lang)["train_split"] == split
    ):
        raise UserError(
            f"{here} is split {split!r} of {corpus}, which languages.{lang} trains on, so it would "
            "show what was learnt by heart; give another split"
        )


def _check_budgets(study: Study, lang: str) -> None:
    """Compare budgets with what there is."""
    least = min(study.language(lang)["budgets_hours"])
    if least * 3600 < study.config["filters"]["min_duration_s"]:
        raise UserError(
            f"languages.{lang}.budgets_hours has {least:g}, {least * 3600:.3g} s, and no cut is "
            f"shorter than filters.min_duration_s, {study.config['filters']['min_duration_s']:g} "
            "s; hours are wanted: raise it"
        )
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
