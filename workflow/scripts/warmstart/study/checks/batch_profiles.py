"""Batches by a profile: what is measured is what every run that follows it trains."""

from typing import Any

from warmstart import adaptation
from warmstart.run.errors import UserError
from warmstart.study import experts, recipe, slices
from warmstart.study.grid import Arm, Study


def check(study: Study) -> None:
    """Every run of a study with `training.batch_profile` can follow its profile, which is of the
    first of the arms that are compared and of the largest budget.

    Raises:
        UserError: with the key, both values and the remedy.
    """
    if not study.config["training"]["batch_profile"]:
        return
    for name, one in study.training_sets.items():
        if one.rounds and one.rounds.total_hours is not None:
            raise UserError(
                f"training_sets.{name}.rounds.total_hours is {one.rounds.total_hours:g}, and "
                "training.batch_profile measures the largest of budgets_hours, whose cuts may be "
                "shorter than those beyond it: set it to false"
            )
    for arm in study.arms.values():
        _check_arm(study, arm, study.arms[study.peers(arm.name)[0]])


def _check_arm(study: Study, arm: Arm, first: Arm) -> None:
    """An arm is what its first peer is, as far as memory tells."""
    here = f"training.batch_profile measures arms.{first.name}"
    if named := experts.named_by(first):
        raise UserError(
            f"{here}, the first of the arms that are compared with it, before the experts of its "
            f"{next(iter(named))} are there: set it to false, or write an arm that contrasts "
            "compare with it above it"
        )
    if arm is first:
        return
    for what, measured in _of_memory(study, first).items():
        if (own := _of_memory(study, arm)[what]) != measured:
            raise UserError(
                f"{here} for all arms that are compared with it, and arms.{arm.name} has another "
                f"{what} ({own!r}, there {measured!r}), so that another batch fits: set it to "
                f"false, or give both one {what}"
            )
    if _keeps_encoder(first) and not _keeps_encoder(arm):
        raise UserError(
            f"{here}, whose encoder does not learn, and arms.{arm.name}, which is compared with "
            f"it, takes more memory: write arms.{arm.name} above it"
        )


def _of_memory(study: Study, arm: Arm) -> dict[str, Any]:
    """What a profile is refused for where a training has another."""
    training: Any = slices.recipe_of(study, arm.name)
    return {
        "family": arm.family,
        "tokens": arm.tokens,
        **{f"training.{key}": training.get(key) for key in recipe.OF_MEMORY},
    }


def _keeps_encoder(arm: Arm) -> bool:
    return adaptation.kind_of(arm.adaptation["kind"]).keeps_encoder
