"""Which models of a study become deployable bundles."""

from dataclasses import dataclass

from warmstart import models
from warmstart.models.bundle_forms import DEFAULT_FORM, Form
from warmstart.models.tier import Tier
from warmstart.run.errors import UserError, did_you_mean
from warmstart.study import paths, routing
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
    with a head a language where the family makes none of such models."""
    chosen, name = study.config["bundle"], arm_of(study)
    if chosen is None:
        return []
    return [
        page(run, chosen["precision"], chosen["tier"])
        for run in study.runs()
        if run.arm == name
        and run.hours == study.budgets(run.training_set, name)[-1]
        and run.seed == study.config["seeds"][0]
        and can(study, run.training_set, run.arm)
    ]


def can(study: Study, training_set: str, arm: str) -> bool:
    """Whether the arm's family makes bundles of models of a training set."""
    kind = study.arms[arm].kind
    return bool(kind.heads_bundle if study.heads(training_set) else kind.bundle)


def examples(study: Study, training_set: str) -> list[str]:
    """Manifests from which a bundle's example is, and on which it is compared: the first test set;
    of a head a language that of each language."""
    first = {test.lang: test for test in reversed(study.test_sets(training_set))}
    heads = study.heads(training_set)
    chosen = [first[lang] for lang in heads if lang in first]
    return [
        paths.test_manifest(study, test) for test in chosen or study.test_sets(training_set)[:1]
    ]


def identified(study: Study, run: Run, tier: str) -> list[str]:
    """What has learnt to tell the languages of a bundle's heads: of a study with a router, at the
    tier at which that hears."""
    if not study.heads(run.training_set) or study.config["routing"] is None:
        return []
    if routing.tier(study, study.arms[run.arm]) != tier:
        return []
    return [routing.identified(study, run).removesuffix(".parquet") + ".json"]


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


@dataclass(frozen=True)
class Maker:
    """A rule that builds bundles; one a set of files, because forms of bundles differ in theirs.

    Attributes:
        rule: its name.
        form: of its bundles.
        arms: whose models they are of.
        training_sets: the same.
    """

    rule: str
    form: Form
    arms: list[str]
    training_sets: list[str]


def makers(study: Study) -> list[Maker]:
    """The rules that build the bundles of a study."""
    alike = [name for name in study.training_sets if not study.heads(name)]
    found = [
        Maker(rule_of(form), models.form_of(form), arms, alike)
        for form, arms in arms_by_form(study).items()
        if alike
    ]
    for name in study.training_sets:
        if not (heads := study.heads(name)):
            continue
        by_form: dict[str, list[str]] = {}
        for arm in study.arms.values():
            if arm.kind.heads_bundle:
                by_form.setdefault(arm.kind.heads_bundle, []).append(arm.name)
        found += [
            Maker(
                f"{rule_of(form)}_{name.replace('+', '_')}",
                models.form_of(form).of_heads(heads),
                arms,
                [name],
            )
            for form, arms in by_form.items()
        ]
    return found


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
    training_set, arm = page.removeprefix("results/bundles/").split("/")[:2]
    form = models.require_bundle(study.arms[arm].family, study.heads(training_set))
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
    models.require_bundle(study.arms[run.arm].family, study.heads(run.training_set))
    return page(run, named["PRECISION"][0], named["TIER"][0])
