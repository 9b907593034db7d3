"""What a study asks to be understood of what was heard: which languages, tables, manifests and
states (block `understanding`)."""

from typing import Any

from warmstart.data import label_tables
from warmstart.evidence.tiers import place_of
from warmstart.models.tier import Tier
from warmstart.run.errors import UserError
from warmstart.study import paths, slices
from warmstart.study.grid import Study, TestSet

# Section -> the key of its tables.
_KEYS = {"topics": "labels", "questions": "table"}


def block(study: Study) -> dict[str, Any]:
    """The block, empty where nothing is asked."""
    return study.config["understanding"] or {}


def asked(study: Study, section: str, lang: str) -> list[str]:
    """Test sets in a language of which something is asked.

    Args:
        section: `topics` or `questions`.
    """
    if lang not in study.scored_languages:
        return []
    own = study.language(lang).get("test_sets", [])
    return [
        name
        for name, each in block(study).get(section, {}).items()
        if name in own and lang in (each["codes"] or [lang])
    ]


def languages(study: Study) -> list[str]:
    """Languages in which something is asked."""
    return [
        lang
        for lang in study.scored_languages
        if any(asked(study, section, lang) for section in _KEYS)
    ]


def table(study: Study, section: str, test_set: str, lang: str) -> str:
    """The table of a test set in a language.

    Args:
        section: `topics` or `questions`.
    """
    each = block(study)[section][test_set]
    code = each["codes"].get(lang, lang)
    path = each[_KEYS[section]].replace("{lang}", lang).replace("{code}", code)
    return study.source_path(path)


def sources(study: Study) -> list[str]:
    """Languages that every probe is learnt in beside its own."""
    return list((block(study).get("probe") or {}).get("sources", ()))


def learnt_in(study: Study, test_set: str, lang: str) -> list[str]:
    """Languages whose labelled sentences are learnt from for a test set in a language: its own,
    then those of probes that have any."""
    others = [
        one
        for one in sources(study)
        if one != lang and test_set in paths.learnt_manifests(study, one)
    ]
    return [lang, *others]


def probed(study: Study, lang: str) -> list[str]:
    """Arms whose donors are probed in a language."""
    if not block(study).get("probe"):
        return []
    asks = any(name in paths.learnt_manifests(study, lang) for name in asked(study, "topics", lang))
    return list(study.arms) if asks else []


def tier(study: Study, init: str) -> Tier:
    """The tier at which a donor is probed: the one that hears most of those of its arms."""
    names = {name for arm in study.arms.values() if arm.init == init for name in arm.tiers}
    order = slices.tiers(study)
    return study.tiers[max(names, key=lambda name: place_of(name, order))]


def heard(study: Study, lang: str) -> dict[str, str]:
    """`test set/part` -> CutSet of what a donor hears in a language."""
    found = {}
    for name, path in paths.learnt_manifests(study, lang).items():
        found[f"{name}/train"] = path
        if name in asked(study, "topics", lang):
            found[f"{name}/test"] = paths.test_manifest(study, TestSet(lang, name))
    return found


def tables(study: Study, lang: str) -> list[str]:
    """Files of the tables that a language's job reads; of one that is not there the path as it is
    given, which Snakemake then misses."""
    wanted = [
        table(study, "topics", name, one)
        for name in asked(study, "topics", lang)
        for one in learnt_in(study, name, lang)
    ]
    wanted += [table(study, "questions", name, lang) for name in asked(study, "questions", lang)]
    found: list[str] = []
    for path in dict.fromkeys(wanted):
        try:
            found += map(str, label_tables.files_of(path))
        except UserError:
            found.append(path)
    return found


def manifests(study: Study, lang: str) -> list[str]:
    """CutSets that a language's job reads."""
    return [
        path
        for name in asked(study, "topics", lang)
        for one in learnt_in(study, name, lang)
        if (path := paths.learnt_manifests(study, one).get(name))
    ]


def states(study: Study, lang: str) -> dict[str, dict[str, str]]:
    """Arm -> language -> states that a language's job reads."""
    every = [lang, *(one for one in sources(study) if one != lang)]
    langs = [
        one
        for one in every
        if any(one in learnt_in(study, name, lang) for name in asked(study, "topics", lang))
    ]
    return {
        arm: {one: paths.states(study.arms[arm].init, one) for one in langs}
        for arm in probed(study, lang)
    }


def settings(study: Study, lang: str) -> dict[str, Any]:
    """What `understand.py` needs."""
    topics = asked(study, "topics", lang)
    langs = dict.fromkeys([lang, *(one for name in topics for one in learnt_in(study, name, lang))])
    arms = states(study, lang)
    return {
        "lang": lang,
        "texts": {one: study.text(one) for one in langs},
        "labels": {
            name: {one: table(study, "topics", name, one) for one in learnt_in(study, name, lang)}
            for name in topics
        },
        "train": {
            name: {
                one: path
                for one in learnt_in(study, name, lang)
                if (path := paths.learnt_manifests(study, one).get(name))
            }
            for name in topics
        },
        "questions": {
            name: table(study, "questions", name, lang) for name in asked(study, "questions", lang)
        },
        "sources": sources(study) if arms else [],
        "states": arms,
        "tiers": {arm: tier(study, study.arms[arm].init).name for arm in arms},
    }
