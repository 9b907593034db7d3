"""Where the rounds of a study lie, and what their jobs are told."""

from typing import Any

from warmstart.evidence.keys import FULL
from warmstart.study import paths, rounds, slices
from warmstart.study.grid import Arm, Run, Study, TestSet
from warmstart.study.hours import format_hours
from warmstart.study.rounds import LABELLED, PSEUDO, Round, Rounds
from warmstart.study.run_length import heard_hours


def sets(study: Study) -> list[str]:
    """Training sets whose runs are trained in rounds."""
    return [name for name, one in study.training_sets.items() if one.rounds]


def of(study: Study, training_set: str) -> Rounds:
    """The rounds of such a training set."""
    found = study.training_set(training_set).rounds
    assert found is not None
    return found


def one_of(study: Study, training_set: str, number: int) -> Round:
    """A round by its number, from 1."""
    return of(study, training_set).each[number - 1]


# ---- models and cuts


def folder(run: str, number: int | str) -> str:
    """Of a round; `run` is the path of a run, or the pattern of one, and so may the number be."""
    return f"results/runs/{run}/round{number}"


def model(study: Study, run: Run, number: int) -> str:
    """The model of a round."""
    return f"{folder(run.path, number)}/{study.arms[run.arm].kind.model_file}"


def models(study: Study, run: Run) -> list[str]:
    """Those of all rounds of a run, in their order."""
    return [model(study, run, number) for number in of(study, run.training_set).numbers]


def labels(run: str, number: int | str) -> str:
    """Folder of what a model chose for a round; arguments as of `folder`."""
    return f"results/runs/{run}/labels{number}"


def cuts(study: Study, run: Run, number: int) -> str:
    """What a round is trained on."""
    if one_of(study, run.training_set, number).decodes:
        return f"{labels(run.path, number)}/cuts.jsonl.gz"
    return paths.training_cuts(study, run.training_set, run.hours)


def labelled(study: Study, run: Run) -> dict[str, str]:
    """Language -> its budget, perhaps with dirty labels."""
    return paths.parts(study, run.training_set, run.hours)


def heard(study: Study, training_set: str) -> dict[str, str]:
    """Language -> the budget of all that is heard, its texts beyond a run's budget hidden; none
    where nothing beyond it is."""
    total = of(study, training_set).total_hours
    if total is None:
        return {}
    parts = study.training_set(training_set).parts(format_hours(total))
    return {lang: paths.budget(lang, hours) for lang, hours in parts.items()}


def choices(study: Study) -> list[tuple[Run, int]]:
    """(run, number of the round) of every choice that a model makes."""
    return [
        (run, number)
        for name in sets(study)
        for run in study.runs(name)
        for number in of(study, name).numbers
        if one_of(study, name, number).decodes
    ]


def chosen(study: Study) -> list[str]:
    """The files of these choices that tables read."""
    return [f"{labels(run.path, number)}/labels.parquet" for run, number in choices(study)]


# ---- settings


def label_tier(study: Study, arm: Arm, training_set: str) -> str:
    """The tier at which an arm's models label: the one that is asked for, or the one that hears
    most, the last by latency."""
    asked = of(study, training_set).tier
    return asked or next(name for name in reversed(slices.tiers(study)) if name in arm.tiers)


def hours_of_steps(study: Study, training_set: str, hours: str) -> float:
    """Hours that the steps of a run follow from, where they are epochs: of all that is heard, with
    texts or without, so that it has the steps of a run that has all texts."""
    one, total = study.training_set(training_set), of(study, training_set).total_hours
    budget = sum(map(float, one.parts(format_hours(total) if total else hours).values()))
    return heard_hours(budget, one.replay.fraction if one.replay else 0.0)


def training(study: Study, run: Run, number: int) -> dict[str, Any]:
    """What `train.py` needs of the recipe for a round; see `slices.training`."""
    settings = slices.training(study, run.arm)
    one = one_of(study, run.training_set, number)
    if one.lr_scale != 1:
        optimizer = settings["optimizer"]
        settings["optimizer"] = {**optimizer, "lr": float(optimizer["lr"]) * one.lr_scale}
    of_round = {
        "number": number,
        "share": list(of(study, run.training_set).shares()[number - 1]),
    }
    # Fixed steps follow from no hours: with other ones the first round stays as it is.
    if settings["steps"].get("fixed") is None:
        of_round["hours"] = round(hours_of_steps(study, run.training_set, run.hours), 6)
    return {**settings, "round": of_round}


def pools(study: Study, training_set: str) -> dict[str, Any]:
    """Language -> what its pool was checked by, which a label has to pass too."""
    return {lang: slices.pool(study, lang) for lang in study.training_set(training_set).languages}


def guards(study: Study, training_set: str) -> dict[str, str]:
    """`lang/test set` -> CutSet, of those that the pools are kept free of."""
    return {
        f"{lang}/{name}": path
        for lang in study.training_set(training_set).languages
        for name, path in paths.guard_manifests(study, lang).items()
    }


# ---- how good each round's model is


def earlier(study: Study, training_set: str) -> list[str]:
    """Names of the rounds whose models are not the run's; each is decoded under its name in place
    of a precision, at full precision and one tier, because more would say nothing of rounds."""
    return [rounds.name_of(number) for number in of(study, training_set).numbers[:-1]]


def hypotheses(study: Study, lang: str) -> list[str]:
    """Hypotheses of the test sets in a language by such models."""
    found = []
    for name in sets(study):
        one = study.training_set(name)
        tests: list[TestSet] = [test for test in study.test_sets(name) if test.lang == lang]
        found += [
            paths.hypothesis(run.path, number, paths.crossed_tier(study, run.arm), test.slug(one))
            for run in study.runs(name)
            for number in earlier(study, name)
            for test in tests
        ]
    return found


def scores(study: Study) -> list[str]:
    """Counts of their errors, a file for each language in which there are some."""
    return [
        f"results/round_scores/{lang}.parquet"
        for lang in study.scored_languages
        if hypotheses(study, lang)
    ]


# ---- how labels are decoded, and what that takes


def label_settings(study: Study) -> dict[str, Any]:
    """How labels are decoded; not what a decode keeps for tables."""
    found = slices.decoding(study, FULL)
    return {key: value for key, value in found.items() if key != "log_candidates"}


def unlabelled_hours(study: Study, run: Run) -> float:
    """Hours that a model labels for a run, all languages together."""
    total = of(study, run.training_set).total_hours
    weights = study.training_set(run.training_set).languages.values()
    return max(0.0, (total or 0.0) - float(run.hours)) * sum(weights)


def asked_hours(study: Study, run: Run, number: int) -> float:
    """Hours that are decoded for a round."""
    data = one_of(study, run.training_set, number).data
    if data == LABELLED:
        return 0.0
    if data == PSEUDO:
        return unlabelled_hours(study, run)
    return sum(map(float, study.training_set(run.training_set).parts(run.hours).values()))
