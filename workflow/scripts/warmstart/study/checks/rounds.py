"""Rounds: what each asks of the data, of the arms that are trained in them, and of their recipe."""

from warmstart import models
from warmstart.data.targets import IPA
from warmstart.run.errors import UserError
from warmstart.study import experts, recipe, round_files, rounds, slices
from warmstart.study.checks.allowed import require
from warmstart.study.checks.languages import available
from warmstart.study.grid import Arm, Study
from warmstart.study.hours import format_hours
from warmstart.study.rounds import CLEAN, HARDEST, LABELLED, PSEUDO, Round


def check(study: Study) -> None:
    """Every round has data, and every arm that is trained in rounds can be.

    Raises:
        UserError: with the key, its value and what is allowed.
    """
    if not round_files.sets(study):
        return
    if named := [name for name in study.config["precisions"] if rounds.number_of(name)]:
        raise UserError(
            f"precisions.{named[0]}: with training_sets.*.rounds this is the name of a round; give "
            "another one"
        )
    _check_experts(study)
    for name in round_files.sets(study):
        for number, one in enumerate(round_files.of(study, name).each, 1):
            _check_round(name, number, one)
        _check_hours(study, name)
        for arm in study.arms.values():
            if any(run.arm == arm.name for run in study.runs(name)):
                _check_arm(study, name, arm)


def _check_experts(study: Study) -> None:
    """An update of a round belongs to the model of the round before, so that it is no expert of a
    donor; and what is made of experts is made at once."""
    for run in study.runs():
        made_of = {**experts.fused(study, run), **experts.teachers(study, run)}
        for expert in made_of.values():
            for one, does in ((run, "is made of experts"), (expert, "is one of its experts")):
                if study.training_set(one.training_set).rounds:
                    raise UserError(
                        f"training_sets.{one.training_set}.rounds, and {one.path} {does}"
                        f"{f' ({run.path})' if one is expert else ''}: updates of rounds are of no "
                        f"donor; take {one.training_set} out of arms.{one.arm}.training_sets"
                    )


def _place(name: str, number: int) -> str:
    return f"training_sets.{name}.rounds.each[{number - 1}]"


def _check_round(name: str, number: int, one: Round) -> None:
    here = _place(name, number)
    if number == 1 and one.data != LABELLED:
        raise UserError(
            f"{here}.data is {one.data!r}, and no model is there yet that could choose: the first "
            f"round has data: {LABELLED}"
        )
    if one.data == LABELLED and one.keep != 1:
        raise UserError(
            f"{here}.keep is {one.keep:g}, and {LABELLED} is all of the budget: remove it, or give "
            f"data: {CLEAN} or {HARDEST}"
        )
    if one.data != PSEUDO and one.min_confidence:
        raise UserError(
            f"{here}.min_confidence is {one.min_confidence:g}, and data {one.data} is chosen by "
            f"no confidence: remove it, or give data: {PSEUDO}"
        )


def _check_hours(study: Study, name: str) -> None:
    """There is speech beyond each budget where a round wants it, and not where none does."""
    made, one = round_files.of(study, name), study.training_set(name)
    here = f"training_sets.{name}.rounds.total_hours"
    wants = any(each.data == PSEUDO for each in made.each)
    if made.total_hours is None:
        if wants:
            raise UserError(
                f"{here} is null, and a round has data: {PSEUDO}, which is speech beyond the "
                "budget: give the hours that are heard in all"
            )
        return
    if not wants:
        raise UserError(
            f"{here} is {made.total_hours:g}, and no round has data: {PSEUDO}: remove it, or add "
            "such a round"
        )
    # A budget that no arm has asks for nothing.
    budgets = {float(run.hours) for run in study.runs(name)}
    if budgets and made.total_hours <= (most := max(budgets)):
        raise UserError(
            f"{here} is {made.total_hours:g}, and {most:g} h of it have texts, so nothing is left "
            f"to label: raise it above all budgets_hours of {name}"
        )
    for lang, weight in one.languages.items():
        asked, found = made.total_hours * weight, available(study, lang)
        if found and asked > found[0]:
            raise UserError(
                f"{here} is {made.total_hours:g}, {format_hours(asked)} h of {lang}: "
                f"{found[0]:.4g} h available ({found[1]}); lower it"
            )


def _check_arm(study: Study, name: str, arm: Arm) -> None:
    made = round_files.of(study, name)
    here = f"training_sets.{name}.rounds"
    if made.tier is not None:
        require(f"{here}.tier", made.tier, study.tiers)
        if made.tier not in arm.tiers:
            raise UserError(
                f"{here}.tier is {made.tier!r}, at which arms.{arm.name} is not decoded (tiers: "
                f"{', '.join(arm.tiers)}); add it there, or take {name} out of its training_sets"
            )
    off = f"take {name} out of arms.{arm.name}.training_sets"
    if any(each.data == PSEUDO for each in made.each) and not arm.kind.confidence:
        can = [key for key, kind in models.KINDS.items() if kind.confidence]
        raise UserError(
            f"{here} has data: {PSEUDO}, and models of arm {arm.name} (family {arm.family}) do not "
            f"say how sure they are; families that do: {', '.join(can)}; {off}"
        )
    if arm.tokens == IPA and any(each.decodes for each in made.each):
        raise UserError(
            f"{here} has rounds that a model chooses, and arms.{arm.name} writes phones (tokens: "
            f"ipa), which are not compared with texts and are read by nobody: {off}"
        )
    _check_recipe(study, name, arm)


def _check_recipe(study: Study, name: str, arm: Arm) -> None:
    """Each round's rate comes up, and what an adaptation waits for is reached, where steps are
    known before the data are."""
    made, settings = round_files.of(study, name), slices.recipe_of(study, arm.name)
    for number, (one, share) in enumerate(zip(made.each, made.shares(), strict=True), 1):
        here = f"{_place(name, number)}, arm {arm.name}: "
        rate = float(settings["optimizer"]["lr"]) * one.lr_scale
        try:
            recipe.check_schedule(
                "training", {**settings["optimizer"], "lr": rate}, settings["schedule"]
            )
            if not (fixed := settings["steps"].get("fixed")):
                continue
            steps = rounds.steps_between(fixed, share)
            if not steps:
                raise UserError(
                    f"it has none of the run's {fixed} steps; raise its steps_weight, or "
                    "training.steps"
                )
            recipe.check_warmup(settings, steps)
            recipe.check_averaging(settings, steps)
        except UserError as error:
            raise UserError(f"{here}{error}") from None
        until = arm.adaptation.get("steps")
        if until is not None and until >= steps:
            raise UserError(
                f"{here}adaptation.steps is {until}, and the round has {steps} of the run's "
                f"{fixed} steps; lower it, or raise training.steps"
            )
