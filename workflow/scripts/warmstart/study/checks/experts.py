"""Arms that are made of experts, fused or as teachers: whether the experts are there, and of one
kind."""

from collections.abc import Mapping, Sequence

from warmstart import adaptation, models
from warmstart.adaptation.kinds import APART, EQUAL_RANKS
from warmstart.evidence.keys import FULL
from warmstart.run.errors import UserError
from warmstart.study import bundles, experts, slices
from warmstart.study.grid import Arm, Run, Study

DISTILS, GATES = "distils", "gates"
"""What a family offers of itself (`models.Kind.offers`)."""


def check(study: Study) -> None:
    """Every run has the experts that it is made of.

    Raises:
        UserError: with the key, the run, the expert and the remedy.
    """
    for arm in study.arms.values():
        named = experts.named_by(arm)
        if not named:
            continue
        _check_family(study, arm)
        if adaptation.kind_of(arm.adaptation["kind"]).own_steps and "steps" in arm.training:
            raise UserError(
                f"arms.{arm.name}.training.steps: an arm of experts has as many steps as its "
                "adaptation.tune_steps; remove the key"
            )
        if arm.distil and slices.recipe_of(study, arm.name)["steps"].get("fixed") == 0:
            raise UserError(
                f"arms.{arm.name}.distil has teachers, and adaptation.tune_steps is 0, so that "
                "nothing is learnt of them: raise it, or take distil away"
            )
        for run in study.runs():
            if run.arm != arm.name:
                continue
            _check_fused(study, arm, run)
            for expert in experts.teachers(study, run).values():
                _check_expert(study, arm, expert, "distil.teachers")


def _check_family(study: Study, arm: Arm) -> None:
    """Its models can do what is asked of them."""
    here = f"arms.{arm.name}"
    if arm.distil and DISTILS not in arm.kind.offers:
        raise UserError(
            f"{here}.distil: models of family {arm.family} do not give the scores of each token; "
            f"families that do: {_offering(DISTILS)}"
        )
    if arm.adaptation.get("fuse") != APART:
        return
    if GATES not in arm.kind.offers:
        raise UserError(
            f"{here}.adaptation.fuse is {APART}, and models of family {arm.family} do "
            f"not tell languages; families that do: {_offering(GATES)}; or take another fuse"
        )
    if bundles.arm_of(study) == arm.name:
        raise UserError(
            f"{here}.adaptation.fuse is {APART}, and bundle.arm names it: experts that are "
            "weighted for each utterance are in no bundle; name another arm, or take another fuse"
        )
    if others := [name for name in arm.precisions if name != FULL]:
        raise UserError(
            f"{here}.adaptation.fuse is {APART}, and {here}.precisions has "
            f"{', '.join(others)}: what is weighted for each utterance is no one model to "
            f"quantise; give the arm precisions: [{FULL}]"
        )


def _offering(ability: str) -> str:
    found = [name for name, kind in models.KINDS.items() if ability in kind.offers]
    return ", ".join(found) or "none"


def _check_fused(study: Study, arm: Arm, run: Run) -> None:
    """The experts of a fusion are several, of one kind, and their ranks are as it needs them."""
    found = experts.fused(study, run)
    if not found:
        return
    if len(found) < 2:
        raise UserError(
            f"arms.{arm.name} fuses experts, and training set {run.training_set} has one language; "
            f"give arms.{arm.name}.training_sets those of several"
        )
    for expert in found.values():
        _check_expert(study, arm, expert, "adaptation.of")
    here = f"arms.{arm.name}.adaptation"
    weights = arm.adaptation["weights"]
    if weights is not None and set(weights) != set(found):
        raise UserError(
            f"{here}.weights is of {', '.join(weights)}, and {run.path} has experts of "
            f"{', '.join(found)}; give each language one weight"
        )
    _require_equal(study, found, "layers", f"{here}.of")
    if arm.adaptation["fuse"] in EQUAL_RANKS:
        _require_equal(
            study,
            found,
            "rank",
            f"{here}.fuse is {arm.adaptation['fuse']}, which needs one rank",
            remedy="take fuse: cat or svd, or experts of one rank",
        )


def _require_equal(
    study: Study, found: Mapping[str, Run], option: str, said: str, remedy: str = ""
) -> None:
    """All experts have one value of an option of LoRA."""
    values: dict[str, Sequence[str]] = {}
    for expert in found.values():
        value = study.arms[expert.arm].adaptation[option]
        values.setdefault(str(value), []).append(expert.path)  # type: ignore[union-attr]
    if len(values) > 1:
        listed = "; ".join(f"{value}: {', '.join(runs)}" for value, runs in values.items())
        raise UserError(
            f"{said}: the experts' {option} differ ({listed}); "
            f"{remedy or f'name experts of arms with one lora.{option}'}"
        )


def _check_expert(study: Study, arm: Arm, expert: Run, key: str) -> None:
    """An expert is a LoRA of the same donor and family, made of nothing but its data."""
    here, other = f"arms.{arm.name}.{key}", study.arms[expert.arm]
    if other.adaptation["kind"] != "lora":
        raise UserError(
            f"{here}: {expert.path} is no expert, because the adaptation of arms.{other.name} is "
            f"{other.adaptation['kind']!r}, which leaves no update of low rank; name an arm with "
            "adaptation: {kind: lora}"
        )
    if other.distil:
        raise UserError(
            f"{here}: {expert.path} learns from teachers itself (arms.{other.name}.distil); name "
            "an arm without"
        )
    for what, own, its in (
        ("init", arm.init, other.init),
        ("family", arm.family, other.family),
    ):
        if own != its:
            raise UserError(
                f"{here}: {expert.path} has the {what} {its!r}, and arms.{arm.name} {own!r}: an "
                f"update is of the weights that it was trained beside; name an arm with the {what} "
                f"{own!r}"
            )
