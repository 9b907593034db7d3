"""Which runs a run is made of: language experts that are fused (an adaptation with `made_of`), and
those that teach a student (`arms.NAME.distil`).

An expert is a run on one language. Three ways to name some: ARM means, for each language of the
training set, that arm's run on the language alone; TRAINING_SET/ARM its run on that training set;
TRAINING_SET/ARM/HOURSh/seedN one run. Where hours and seed are not said, they are those of the run
that is made: the hours are the language's share of its budget.
"""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from warmstart import adaptation
from warmstart.adaptation.peft_folder import FOLDER
from warmstart.run.errors import UserError, did_you_mean
from warmstart.study.grid import Arm, Run, Study


def named_by(arm: Arm) -> dict[str, Sequence[str]]:
    """Key of an arm's block -> the experts that it names there; empty of most arms."""
    option = adaptation.kind_of(arm.adaptation["kind"]).made_of
    return {
        **({f"adaptation.{option}": arm.adaptation[option]} if option else {}),
        **({"distil.teachers": arm.distil["teachers"]} if arm.distil else {}),
    }


def fused(study: Study, run: Run) -> dict[str, Run]:
    """Language -> the run whose updates are a part of this one; empty where nothing is fused.

    Raises:
        UserError: see `_resolved`.
    """
    option = adaptation.kind_of(study.arms[run.arm].adaptation["kind"]).made_of
    if not option:
        return {}
    languages = list(study.training_set(run.training_set).languages)
    return _resolved(study, run, f"adaptation.{option}", languages)


def teachers(study: Study, run: Run) -> dict[str, Run]:
    """Language -> the run that teaches it; empty where none does.

    Raises:
        UserError: see `_resolved`.
    """
    if not study.arms[run.arm].distil:
        return {}
    return _resolved(study, run, "distil.teachers", study.training_set(run.training_set).heard())


def compared(study: Study) -> dict[str, Any]:
    """What the analysis `experts` is told: arms that are made of experts, and what stands beside
    them. Empty of a study without any."""
    made = [arm for arm in study.arms.values() if named_by(arm)]
    if not made:
        return {}
    found: dict[str, Any] = {"arms": {}, "standard": {}, "untouched": {}, "oracle": []}
    trained: dict[str, set[str]] = {}
    for run in study.runs():
        trained.setdefault(run.arm, set()).add(run.training_set)
    for arm in made:
        others = [
            other
            for other in study.arms.values()
            if (other.init, other.family) == (arm.init, arm.family)
            and not named_by(other)
            and trained.get(other.name, set()) & trained.get(arm.name, set())
        ]
        found["arms"][arm.name] = [other.name for other in others]
        full = [other.name for other in others if other.adaptation["kind"] == "full"]
        if standard := next(iter(full or found["arms"][arm.name]), None):
            found["standard"][arm.name] = standard
        zero_shot = study.zero_shot_arm(arm.init)
        if study.config["inits"][arm.init]["zero_shot"] is not None and zero_shot:
            found["untouched"][arm.name] = zero_shot
    names = {arm.name for arm in made}
    for run in study.runs():
        # Whoever is both fused and taught is compared with what it is fused of.
        if run.arm not in names or run.seed != study.config["seeds"][0]:
            continue
        for lang, expert in (fused(study, run) or teachers(study, run)).items():
            found["oracle"].append(
                {
                    **{"training_set": run.training_set, "arm": run.arm},
                    **{"hours": float(run.hours), "lang": lang},
                    "expert": {
                        **{"training_set": expert.training_set, "arm": expert.arm},
                        "hours": float(expert.hours),
                    },
                }
            )
    return found


def folder(run: Run) -> str:
    """Where the updates of an expert lie."""
    return f"results/runs/{run.path}/{FOLDER}"


def _resolved(study: Study, run: Run, key: str, languages: Sequence[str]) -> dict[str, Run]:
    """The experts that a key of an arm names, of all `languages`.

    Raises:
        UserError: a name that stands for no run of the study, a language with none or two experts,
            or an expert of another language.
    """
    here = f"arms.{run.arm}.{key}"
    found: dict[str, Run] = {}
    for name in named_by(study.arms[run.arm])[key]:
        for lang, expert in _experts(study, run, name, languages, here):
            if lang not in languages:
                raise UserError(
                    f"{here} has {name!r}, a run on {lang}, which training set "
                    f"{run.training_set} does not have ({', '.join(languages)}); take it out, or "
                    f"take {run.training_set} out of arms.{run.arm}.training_sets"
                )
            if lang in found:
                raise UserError(
                    f"{here} names two experts of {lang} for {run.path}: {found[lang].path} and "
                    f"{expert.path}; leave one"
                )
            found[lang] = expert
    if missing := [lang for lang in languages if lang not in found]:
        raise UserError(
            f"{here} names no expert of {', '.join(missing)} for {run.path}; add "
            f"{missing[0]}/ARM, the training set of {missing[0]} alone and an arm with a LoRA"
        )
    return {lang: found[lang] for lang in languages}


def _experts(
    study: Study, run: Run, name: str, languages: Sequence[str], here: str
) -> Iterator[tuple[str, Run]]:
    """(language, run) of a name."""
    parts = name.split("/")
    if len(parts) == 1:
        _require_known(here, name, name, study.arms)
        for lang in languages:
            yield lang, _of_arm(study, run, name, lang, here)
    elif len(parts) == 2:
        training_set, arm = parts
        _require_known(here, name, arm, study.arms)
        lang = _language(study, training_set, here, name)
        expert = _at(study, run, training_set, arm, lang)
        _require_run(study, expert, here, run)
        yield lang, expert
    else:
        expert = Run.of_path(name)
        if expert.path != name:
            raise UserError(f"{here} has {name!r}; a run is {Run.PATTERN}, e.g. it/lora/1h/seed1")
        _require_known(here, name, expert.arm, study.arms)
        lang = _language(study, expert.training_set, here, name)
        _require_run(study, expert, here, run)
        yield lang, expert


def _of_arm(study: Study, run: Run, arm: str, lang: str, here: str) -> Run:
    """The run of an arm on one language alone."""
    sets = [
        one.name
        for one in study.training_sets.values()
        if list(one.languages) == [lang] and not one.replay and not one.rounds
    ]
    runs = [_at(study, run, name, arm, lang) for name in sets]
    there = [expert for expert in runs if _is_run(study, expert)]
    own = [expert for expert in there if expert.training_set == lang]
    if len(own or there) == 1:
        return (own or there)[0]
    if there:
        listed = ", ".join(f"{expert.training_set}/{arm}" for expert in there)
        raise UserError(f"{here} has {arm!r}, which has several runs on {lang}; name one: {listed}")
    if not sets:
        raise UserError(
            f"{here} has {arm!r}, and no training set is of {lang} alone; add "
            f"training_sets.{lang}: {{languages: {{{lang}: 1}}}}"
        )
    _require_run(study, runs[0], here, run)
    raise AssertionError(runs[0].path)


def _at(study: Study, run: Run, training_set: str, arm: str, lang: str) -> Run:
    hours = study.training_set(run.training_set).parts(run.hours).get(lang, run.hours)
    return Run(training_set, arm, hours, run.seed)


def _is_run(study: Study, run: Run) -> bool:
    if run.training_set not in study.training_sets or run.seed not in study.config["seeds"]:
        return False
    sets = study.arms[run.arm].training_sets
    if sets is not None and run.training_set not in sets:
        return False
    return run.hours in study.budgets(run.training_set, run.arm)


def _require_known(here: str, name: str, value: str, known: Iterable[str]) -> None:
    known = list(known)
    if value not in known:
        raise UserError(
            f"{here} has {name!r}: there is no {value!r}{did_you_mean(value, known)}; allowed: "
            f"{', '.join(known)}"
        )


def _require_run(study: Study, expert: Run, here: str, run: Run) -> None:
    if _is_run(study, expert):
        return
    of_arm = [one.path for one in study.runs() if one.arm == expert.arm]
    raise UserError(
        f"{here}: {run.path} needs the expert {expert.path}, which is no run of the study; let "
        f"arms.{expert.arm} have that training set, budget and seed (training_sets, budgets_hours, "
        f"languages.*.budgets_hours, seeds); its runs: {', '.join(of_arm) or 'none'}"
    )


def _language(study: Study, training_set: str, here: str, name: str) -> str:
    _require_known(here, name, training_set, study.training_sets)
    languages = list(study.training_sets[training_set].languages)
    if len(languages) > 1:
        raise UserError(
            f"{here} has {name!r}, a run on {', '.join(languages)}; an expert is of one language"
        )
    return languages[0]
