"""What a user should know of a study before it runs, though nothing in it is a fault."""

from pathlib import Path

from warmstart.data import unwritable
from warmstart.evidence.settings import headline_test_set
from warmstart.study import bundles, compared_rounds, slices
from warmstart.study.coverage_reports import coverage_reports
from warmstart.study.grid import Study
from warmstart.study.hours import format_hours


def notes(study: Study) -> list[str]:
    """Lines for the dry run."""
    return [
        *read_elsewhere(study),
        *left_aside(study),
        *without_spaces(study),
        *not_writable(study),
        *without_bundle(study),
        *without_controls(study),
    ]


def read_elsewhere(study: Study) -> list[str]:
    """A line for each test set that languages without the headline test set are read from."""
    headline = study.config["statistics"]["headline_test_set"]
    groups: dict[str, list[str]] = {}
    for lang in study.languages:
        own = study.language(lang)["test_sets"]
        if own and (chosen := headline_test_set(headline, own)) != headline:
            groups.setdefault(chosen, []).append(lang)
    return [
        f"{', '.join(langs)}: statistics.headline_test_set is {headline!r}, which is not in "
        f"{', '.join(f'languages.{lang}.test_sets' for lang in langs)}; answer, figures and "
        f"guideline take {chosen!r}, the first there, and means over languages leave "
        f"{'them' if len(langs) > 1 else 'it'} out"
        for chosen, langs in groups.items()
    ]


def not_writable(study: Study, results: Path = Path("results")) -> list[str]:
    """A line for each text with characters or phones that no hypothesis of some arms can contain,
    once their tokenizer is made.

    Args:
        results: folder of the study's results.
    """
    return [
        f"{of}: {said}"
        for of, report in coverage_reports(study, results)
        for said in unwritable.sentences(report)
    ]


def left_aside(study: Study) -> list[str]:
    """A line for the languages that no model is trained on or asked for: they are in no result."""
    aside = [lang for lang in study.languages if lang not in study.scored_languages]
    if not aside:
        return []
    return [
        f"{', '.join(aside)}: in no training set (training_sets) and decoded as no init is "
        "published, so nothing of this study is about it; name it in a training set, or take its "
        "block out"
    ]


def without_spaces(study: Study) -> list[str]:
    """A line for each language of which nobody has said what a word of WER is."""
    return [
        f"languages.{lang}: {study.language(lang)['name']} is written without spaces, so each "
        "character counts as a word and WER is a character error rate; for words separate them "
        "with a segmenter in the transcripts and set text.segment: spaces; text.segment: "
        "characters says that this is meant"
        for lang in slices.unspaced(study)
        if study.language(lang)["text"].get("segment") is None
    ]


def without_bundle(study: Study) -> list[str]:
    """A line for the training sets of which a bundle is asked for and none is made."""
    arm = bundles.arm_of(study)
    names = [run.training_set for run in study.runs() if run.arm == arm]
    without = [name for name in dict.fromkeys(names) if not bundles.can(study, name, str(arm))]
    if not without:
        return []
    return [
        f"bundle: none is made of {', '.join(without)}, because training_sets.*.heads gives their "
        f"models a head a language, and family {study.arms[str(arm)].family} bundles one head"
    ]


def without_controls(study: Study) -> list[str]:
    """A line for rounds that are compared with each other alone."""
    lines = []
    for name, one in compared_rounds.of(study).items():
        here = f"training_sets.{name}.rounds"
        if "at_once" not in one:
            lines.append(
                f"{here}: no training set of the same languages is without rounds, so nothing says "
                "what rounds gain; add one"
            )
            continue
        asked = {run.hours for run in study.runs(name)}
        asked |= {format_hours(one["total_hours"])} if one["total_hours"] else set()
        there = {run.hours for other in one["at_once"] for run in study.runs(other)}
        if missing := sorted(asked - there, key=float):
            lines.append(
                f"{here}: {', '.join(one['at_once'])} has no budget of {', '.join(missing)} h to "
                "compare them with; add it to its budgets_hours"
            )
    return lines
