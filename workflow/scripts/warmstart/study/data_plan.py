"""What a study's data will take before anything is downloaded: hours, the budgets that fit, disk,
licences. Each corpus's reader says what it knows; standard library only."""

from typing import Any

from warmstart.data.corpora import Corpus, open_corpus, reader
from warmstart.study.consistency import corpus_block
from warmstart.study.grid import Study
from warmstart.study.hours import format_hours, replayed_hours
from warmstart.study.planning import aligned

# The budgets of the full study's axis, for languages that might reach further than their block
# asks.
_SCALES = (100, 250, 500, 1000, 2500)


def plan(study: Study) -> str:
    """The whole report for a study."""
    return "\n\n".join([_hours(study), _disk(study), _licences(study.config)]) + "\n"


def _open(config: dict[str, Any], corpus: str, lang: str, block: dict[str, Any]) -> Corpus:
    """The reader of a corpus in a language, whose block is given."""
    code = block["corpora"].get(corpus, lang)
    return open_corpus(corpus, lang, corpus_block(config, corpus, lang, code))


def _hours(study: Study) -> str:
    config = study.config
    blocks = {**config["languages"], **_replayed(study)}
    corpora = [
        corpus
        for corpus in config["corpora"]
        if any(corpus in block["training_corpora"] for block in blocks.values())
    ]
    rows = [["lang", *corpora, "sum", "budgets"]]
    for lang, block in blocks.items():
        opened = {
            corpus: _open(config, corpus, lang, block) for corpus in block["training_corpora"]
        }
        hours = {corpus: one.hours(one.options["train_split"]) for corpus, one in opened.items()}
        total = sum(value for value in hours.values() if value is not None)
        unknown = None in hours.values()
        cells = [_number(hours[corpus]) if corpus in hours else "-" for corpus in corpora]
        last = (
            _budgets(block["budgets_hours"], total, unknown) + _rounds(study, lang, total, unknown)
            if lang in config["languages"]
            else _replay(study, lang, total, unknown)
        )
        rows.append([lang, *cells, _number(total), last])
    return (
        "Hours of training speech, as published, before cleaning (? = known only when read)\n"
        + aligned(rows)
    )


def _budgets(asked: list[float], total: float, unknown: bool) -> str:
    fit = [format_hours(hours) for hours in asked if hours <= total]
    too_large = [format_hours(hours) for hours in asked if hours > total]
    more = [format_hours(hours) for hours in _SCALES if max(asked) < hours <= total]
    text = " ".join(fit) or "none"
    if too_large:
        text += f"; {'perhaps' if unknown else 'TOO LARGE:'} {' '.join(too_large)}"
    return text + (f"; would fit: {' '.join(more)}" if more else "")


def _rounds(study: Study, lang: str, total: float, unknown: bool) -> str:
    """What rounds hear of a language, with texts or without, by the training set that asks for
    most."""
    asked = [
        one.rounds.total_hours * one.languages[lang]
        for one in study.training_sets.values()
        if one.rounds and one.rounds.total_hours and lang in one.languages
    ]
    if not asked:
        return ""
    fits = "" if max(asked) <= total else " (perhaps)" if unknown else " (TOO LARGE)"
    return f"; heard in rounds: {format_hours(max(asked))}{fits}"


def _replayed(study: Study) -> dict[str, Any]:
    """Block of each replayed language, with the corpora that are read of it."""
    tested = {source["corpus"] for source in study.config["test_sets"].values()}
    found = {}
    for lang in study.pooled_languages:
        if lang not in study.languages:
            block = study.language(lang)
            used = {
                name: code
                for name, code in block["corpora"].items()
                if name in block["training_corpora"] or name in tested
            }
            found[lang] = {**block, "corpora": used}
    return found


def _replay(study: Study, lang: str, total: float, unknown: bool) -> str:
    """What is asked of a replayed language, by the training set that asks for most."""
    asked = [
        (replayed_hours(hours, one.replay.fraction), hours)
        for one in study.training_sets.values()
        if one.replay and one.replay.lang == lang
        for hours in [max(one.budgets_hours) * sum(one.languages.values())]
    ]
    if not asked:
        return "tested, not heard"
    needed, most = max(asked)
    fits = needed <= total
    return f"replayed: {_number(needed)} beside {format_hours(most)}" + (
        "" if fits else "; perhaps" if unknown else "; TOO LARGE"
    )


def _disk(study: Study) -> str:
    config = study.config
    rows, total, rough = [["corpus", "GB", "languages"]], 0.0, False
    blocks = {**config["languages"], **_replayed(study)}
    for corpus, settings in config["corpora"].items():
        opened = {
            lang: _open(config, corpus, lang, block)
            for lang, block in blocks.items()
            if corpus in block["corpora"]
        }
        general = open_corpus(corpus, "", settings)
        fetched = {lang: one for lang, one in opened.items() if not one.is_here()}
        here = {str(one.settings["source"]) for one in [*opened.values(), general] if one.is_here()}
        if here and not fetched:
            rows.append([corpus, "0", f"taken from {', '.join(sorted(here))}"])
            continue
        sizes = {lang: one.gigabytes() for lang, one in fetched.items()}
        known = {lang: size.gigabytes for lang, size in sizes.items() if size is not None}
        shared = general.shared_gigabytes() if fetched else None
        size_gb = sum(known.values()) + (shared.gigabytes if shared else 0.0)
        if not size_gb:
            unknown = len(known) < len(sizes)
            rows.append([corpus, "0", "?" if unknown else "nothing is downloaded"])
            continue
        about = (
            not shared.stated
            if shared
            else any(size is None or not size.stated for size in sizes.values())
        )
        total, rough = total + size_gb, rough or about
        detail = (
            ", ".join(f"{lang} {value:.1f}" for lang, value in known.items())
            or f"one download for {', '.join(fetched)}"
        )
        rows.append([corpus, f"{'~' if about else ''}{size_gb:.1f}", detail])
    rows.append(
        [
            "all",
            f"{'~' if rough else ''}{total:.1f}",
            "for a moment an archive and its contents lie side by side: allow the largest twice",
        ]
    )
    return "Disk for the releases (~ = estimated)\n" + aligned(rows)


def _licences(config: dict[str, Any]) -> str:
    """Of each kind what its publisher says; of a corpus what its block says, or a language of
    it."""
    lines = []
    for name, settings in config["corpora"].items():
        stated = {"": settings["licence"]} if "licence" in settings else {}
        stated |= {
            f" ({lang})": own["licence"]
            for section in ("languages", "support_languages")
            for lang, block in config[section].items()
            if isinstance(own := block["corpora"].get(name), dict) and "licence" in own
        }
        lines += [f"{name}{of}: {licence}." for of, licence in stated.items()]
    for kind in dict.fromkeys(
        settings["kind"] for settings in config["corpora"].values() if "licence" not in settings
    ):
        licence = reader(kind).LICENCE
        said = licence.name if licence else "yours; state it as `licence` in the corpus's block"
        to_do = f" To do: {licence.duties}." if licence and licence.duties else ""
        lines.append(f"{kind}: {said}.{to_do}")
    return "Licences\n" + "\n".join(lines)


def _number(hours: float | None) -> str:
    return "?" if hours is None else f"{hours:.0f}" if hours >= 10 else f"{hours:.2f}"
