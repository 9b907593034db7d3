"""Routing: what it chooses from, and whether identifiers can hear."""

from warmstart import models
from warmstart.data.targets import IPA
from warmstart.evidence.keys import MEAN, OWN, POOLED
from warmstart.run.errors import UserError
from warmstart.study import routing
from warmstart.study.checks.allowed import require
from warmstart.study.grid import Study


def check(study: Study) -> None:
    """Something is chosen from, every member is there, and every encoder gives its states.

    Raises:
        UserError: with the key, its value and what is allowed.
    """
    asked = study.config["routing"]
    if asked is None:
        return
    for name, members in asked["ensembles"].items():
        _check_ensemble(study, name, members)
    found = routing.choices(study)
    if not found:
        raise UserError(
            "routing: no training set has several languages, so there is nothing to choose from; "
            "give one (training_sets.NAME.languages), name models of one language each "
            "(routing.ensembles), or take the block out"
        )
    for name, choice in found.items():
        known = [run for of, run in routing.runs(study) if of.name == name]
        if not known:
            where = "routing.ensembles" if choice.ensemble else "training_sets"
            raise UserError(
                f"{where}.{name}: no arm, budget and seed that all of "
                f"{', '.join(dict.fromkeys(choice.models.values()))} have; give them a common one "
                "(budgets_hours, arms.NAME.training_sets)"
            )
        silent = [lang for lang in choice.languages if not study.language(lang).get("test_sets")]
        if silent:
            raise UserError(
                f"routing: {name} has {', '.join(silent)}, which lists no test set; add one under "
                "test_sets"
            )
        members = choice.models.values()
        for arm in dict.fromkeys(run.arm for run in known):
            _check_family(study, choice, arm)
            if study.arms[arm].tokens == IPA:
                raise UserError(
                    f"routing: arm {arm} writes phones (tokens: ipa), and what a wrong model costs "
                    f"is counted in words; keep the arm off {', '.join(dict.fromkeys(members))} "
                    f"(arms.{arm}.training_sets), or take the block out"
                )


def _check_family(study: Study, choice: routing.Choice, arm: str) -> None:
    family = study.arms[arm].family
    try:
        models.require_probe(family)
    except UserError as error:
        raise UserError(f"routing, arm {arm}: {error}") from None
    if choice.ensemble and not models.kind_of(family).confidence:
        can = [name for name, kind in models.KINDS.items() if kind.confidence]
        raise UserError(
            f"routing.ensembles.{choice.name}: models of arm {arm} (family {family}) do not say "
            f"how sure they are, so that none is the most confident; families that do: "
            f"{', '.join(can)}; keep the arm off its training sets (arms.{arm}.training_sets), or "
            "take the ensemble out"
        )


def _check_ensemble(study: Study, name: str, members: list[str]) -> None:
    here = f"routing.ensembles.{name}"
    known = {*study.config["languages"], *study.config["support_languages"]}
    if name in study.training_sets or name in known or name in (OWN, MEAN, POOLED):
        raise UserError(
            f"{here} has the name of a training set, of a language or of a word in tables; give it "
            "another name"
        )
    languages: dict[str, str] = {}
    for member in members:
        require(here, member, study.training_sets)
        own = list(study.training_sets[member].languages)
        if len(own) != 1:
            raise UserError(
                f"{here} has {member!r}, a training set of {', '.join(own)}; its members are of "
                "one language each"
            )
        if own[0] in languages:
            raise UserError(
                f"{here} has {languages[own[0]]!r} and {member!r}, both of {own[0]}; which of two "
                "models of a language is meant cannot be told from the language: take one out"
            )
        languages[own[0]] = member
