"""Which models of a study become deployable bundles."""

from warmstart import models
from warmstart.models.bundle_forms import DEFAULT_FORM
from warmstart.models.tier import Tier
from warmstart.run.errors import UserError, did_you_mean
from warmstart.study import paths
from warmstart.study.grid import FULL, Run, Study


def arm_of(study: Study) -> str | None:
    """The arm whose models become bundles; `init` is its other spelling."""
    wanted = study.config["bundle"]
    return None if wanted is None else wanted.get("arm") or wanted.get("init")


def page(run: Run, precision: str, tier: str) -> str:
    """README of a bundle."""
    return f"results/bundles/{run.path}/{precision}/{tier}/README.md"


def wanted(study: Study) -> list[str]:
    """README of every bundle of the study: one a training set, at its largest budget; none of one
    with a head a language, which sherpa-onnx has no type of model for."""
    chosen, name = study.config["bundle"], arm_of(study)
    if chosen is None:
        return []
    return [
        page(run, chosen["precision"], chosen["tier"])
        for run in study.runs()
        if run.arm == name
        and run.hours == study.budgets(run.training_set, name)[-1]
        and run.seed == study.config["seeds"][0]
        and not study.heads(run.training_set)
    ]


def hypotheses(study: Study, run: Run, precision: str, tier: str) -> list[str]:
    """Hypothesis files that a bundle's README has its rates from.

    The run's own at this tier, those of its precision first, then those of `full`. A precision that
    the study does not decode there has none.
    """
    decoded = [name for name, at in study.precisions(run) if at.name == tier]
    one = study.training_set(run.training_set)
    return [
        paths.hypothesis(run.path, name, tier, test.slug(one))
        for name in dict.fromkeys([precision, FULL])
        if name in decoded
        for test in study.test_sets(run.training_set)
    ]


def arms_by_form(study: Study) -> dict[str, list[str]]:
    """Form of bundles -> arms whose families make such ones; forms that no arm has are left out."""
    found: dict[str, list[str]] = {}
    for arm in study.arms.values():
        if arm.kind.bundles:
            found.setdefault(arm.kind.bundle, []).append(arm.name)
    return found


def rule_of(form: str) -> str:
    """Name of the rule that builds bundles of a form; the first one's is that of before there were
    others."""
    if form == DEFAULT_FORM:
        return "build_bundle"
    return "build_bundle_" + "".join(sign if sign.isalnum() else "_" for sign in form)


def files_of(study: Study, page: str) -> list[str]:
    """What lies beside the README of a bundle of the study."""
    arm = page.removeprefix("results/bundles/").split("/")[1]
    form = models.require_bundle(study.arms[arm].family)
    return [page.replace("README.md", name) for name in form.files]


def tiers(study: Study, arm: str) -> list[str]:
    """Tiers that a bundle of an arm can be made for.

    Raises:
        UserError: its family makes no bundle.
    """
    family = study.arms[arm].family
    models.require_bundle(family)
    return [tier.name for tier in study.tiers.values() if _can(family, tier)]


def _can(family: str, tier: Tier) -> bool:
    try:
        models.require_bundle_tier(family, tier)
    except UserError:
        return False
    return True


def find(
    study: Study,
    training_set: str | None = None,
    arm: str | None = None,
    hours: str | None = None,
    precision: str | None = None,
    tier: str | None = None,
    seed: str | None = None,
) -> str:
    """README of the bundle of a run that somebody names; what is left open comes from `bundle:` of
    the configuration.

    Raises:
        UserError: something is not named and has no default, or is not in the study, or the family
            of the arm makes no bundle.
    """
    defaults = study.config["bundle"] or {"precision": FULL}
    sets, arms = list(study.training_sets), list(study.arms)
    budgets = study.budgets(training_set, arm) if training_set in sets and arm in arms else []
    seeds = [str(seed) for seed in study.config["seeds"]]
    named = {
        "LANG": (training_set, sets),
        "INIT": (arm, arms),
        "HOURS": (hours, budgets),
        "PRECISION": (precision or defaults["precision"], list(study.config["precisions"])),
        "TIER": (tier or defaults.get("tier"), tiers(study, arm) if arm in arms else []),
        "SEED": (seed or seeds[0], seeds),
    }
    for name, (value, allowed) in named.items():
        if value is None:
            raise UserError(
                f"{name} is not given: make bundle LANG={sets[0]} INIT={arms[-1]}"
                f" HOURS={study.budgets(sets[0], arms[-1])[-1]} [PRECISION=...] [TIER=...] "
                "[SEED=...]"
            )
        if value not in allowed:
            raise UserError(
                f"{name}={value} is not in this study{did_you_mean(value, allowed)}; allowed: "
                f"{', '.join(allowed)}"
            )
    run = Run(str(training_set), str(arm), str(hours), int(named["SEED"][0]))
    if heads := study.heads(run.training_set):
        raise UserError(
            f"LANG={run.training_set} has a head a language ({', '.join(heads)}), and a bundle "
            "holds one; its model decodes with cross_decode.py, or bundle a training set of one "
            "language"
        )
    return page(run, named["PRECISION"][0], named["TIER"][0])
