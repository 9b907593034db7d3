"""Arms and contrasts: what an arm's family can do, and what two arms of a contrast share."""

import contextlib
import itertools
from collections.abc import Iterator
from pathlib import Path

from warmstart import adaptation, models
from warmstart.data.targets import IPA
from warmstart.evidence.keys import FULL, GAP
from warmstart.models.recipe import Recipe
from warmstart.run.errors import UserError
from warmstart.study import bundles, recipe, slices, stages
from warmstart.study.checks import inits
from warmstart.study.checks.allowed import require
from warmstart.study.grid import OWN_TOKENS, Arm, Contrast, Study
from warmstart.study.hours import format_hours

# Keys of `training.model` for a pretraining here: an encoder comes with its init.
_OF_PRETRAINING = {
    *("features", "n_layers", "n_heads", "d_model", "subsampling_channels", "conv_kernel_size"),
}


def check(study: Study) -> None:
    """Every arm can be trained and decoded as it says, and every contrast can be estimated."""
    if GAP in study.config["arms"]:
        raise UserError(f"arms.{GAP}: in tables this is a word of its own; give another name")
    for arm in study.arms.values():
        _check_arm(study, arm)
    for name, init in study.config["inits"].items():
        if init.get("pretrain") and not study.donor_kind(name).pretrains:
            raise UserError(
                f"inits.{name}.pretrain: family {study.donor_family(name)} pretrains no donors; "
                "give path or hf, or arms of another family"
            )
    for one, other in itertools.combinations(study.arms.values(), 2):
        if _definition(study, one) == _definition(study, other):
            raise UserError(
                f"arms.{one.name} and arms.{other.name} are equal: the same init {one.init!r}, "
                "family, adaptation and recipe; remove one of them, or say what differs"
            )
        if one.label == other.label:
            section = "arms" if study.config["arms"] else "inits"
            raise UserError(
                f"{section}.{one.name} and {section}.{other.name} are both called {one.label!r} in "
                "plots and tables; give one of them another name"
            )
    if not study.word_contrasts:
        raise UserError(
            f"contrasts: both arms of {', '.join(study.contrasts)} have tokens ipa, and the answer "
            "of a study is about WER, which phones have none of: add a contrast of arms with "
            "tokens bpe or char"
        )
    for contrast in study.contrasts.values():
        _check_contrast(study, contrast)
    if (bundle := study.config["bundle"]) is not None:
        given = [key for key in ("arm", "init") if bundle.get(key) is not None]
        if len(given) > 1:
            raise UserError(
                "bundle names arm and init, two spellings of one key: remove init, or write "
                "init: null"
            )
        key = next(iter(given), "")
        if not given:
            raise UserError("config: bundle lacks 'arm': whose models become bundles")
        require(f"bundle.{key}", bundle[key], study.arms)
        require("bundle.precision", bundle["precision"], study.config["precisions"])
        try:
            tiers = bundles.tiers(study, bundle[key])
        except UserError as error:
            raise UserError(f"bundle.{key} is {bundle[key]!r}: {error}") from None
        require("bundle.tier", bundle["tier"], tiers)
        if study.arms[bundle[key]].tokens == IPA:
            raise UserError(
                f"bundle.{key} is {bundle[key]!r}, whose tokens are ipa: a bundle writes words, "
                "and its README has their error rates; name an arm with tokens bpe or char"
            )


def check_donors(study: Study) -> None:
    """Look into the donors whose files are here, and compare the encoders of arms that a contrast
    compares.

    Raises:
        UserError: a donor cannot be read or started from, its models not be exported, its layers
            not be adapted as an arm asks, or two differ in what a contrast is not about.
    """
    here = inits.at_hand(study)
    seen: set[tuple[str, ...]] = set()
    for arm in study.arms.values():
        names = tuple(
            dict.fromkeys(study.donor(study.arms[peer].init) for peer in study.peers(arm.name))
        )
        found = {name: here[name] for name in names if name in here}
        if found and names not in seen:
            try:
                models.open_family(arm.family).require_same_kind(
                    found, slices.recipe_of(study, arm.name)
                )
            except UserError as error:
                if not study.config["contrasts"] or "compared fairly" not in str(error):
                    raise
                raise UserError(
                    f"{error}; or give the contrast of their arms may_differ: [architecture]"
                ) from None
        seen.add(names)
    for arm in study.arms.values():
        donor = here.get(study.donor(arm.init))
        _check_export(study, arm, donor)
        _check_languages(study, arm, donor)
        if donor is not None and adaptation.kind_of(arm.adaptation["kind"]).fits is not None:
            with _said_of(study, arm):
                adaptation.check_donor(
                    arm.adaptation, models.open_family(arm.family).read_donor(donor)
                )


def _check_languages(study: Study, arm: Arm, donor: Path | None) -> None:
    """Models of an arm know the languages that they hear and are tested in, and so does its init
    where it is decoded as published."""
    family = models.open_family(arm.family)
    sets = arm.training_sets or tuple(study.training_sets)
    heard = [lang for name in sets for lang in study.training_set(name).heard()]
    heard += study.retained_languages
    with _said_of(study, arm):
        settings = slices.recipe_of(study, arm.name)
        family.check_languages(list(dict.fromkeys(heard)), settings, donor)
    asked = study.config["inits"][arm.init]["zero_shot"]
    if asked is None or study.zero_shot_arm(arm.init) != arm.name:
        return
    told = list((asked["prompts"] or {}).values()) or [
        *study.languages,
        *study.retained_languages,
    ]
    with _said_of(study, arm, f"init {arm.init}: "):
        family.check_languages(told, None, donor)


def _check_export(study: Study, arm: Arm, donor: Path | None) -> None:
    """Models of an arm that is quantised or bundled can be exported, by its donor."""
    asked = list(dict.fromkeys(f"precision {name}" for name, _ in _quantised(study, arm)))
    asked += ["bundle"] if bundles.arm_of(study) == arm.name else []
    if donor is None or not asked or not arm.kind.exports:
        return
    if (why := models.open_family(arm.family).read_donor(donor).export_refusal()) is not None:
        raise UserError(f"arms.{arm.name}, {', '.join(asked)}: {why}")


def _definition(study: Study, arm: Arm) -> tuple:
    """What its models follow from: the recipe as it holds for it, not as it is written."""
    return arm.init, arm.family, stages.canonical("train", slices.training(study, arm.name))


def _check_arm(study: Study, arm: Arm) -> None:
    here = f"arms.{arm.name}"
    require(f"{here}.init", arm.init, study.inits)
    with _said_of(study, arm):
        family = models.open_family(arm.family)
        adaptation.check(arm.adaptation["kind"], arm.family)
    if arm.kind.tokenizer == "own" and study.config["arms"].get(arm.name, {}).get("tokens"):
        raise UserError(
            f"{here}.tokens is {arm.asked_tokens!r}, and models of family {arm.family} bring their "
            "own tokenizer: remove it"
        )
    for tier in arm.tiers:
        require(f"{here}.tiers", tier, study.tiers)
    for precision in arm.precisions:
        require(f"{here}.precisions", precision, study.config["precisions"])
    for name in arm.training_sets or ():
        require(f"{here}.training_sets", name, study.training_sets)
    if FULL not in arm.precisions:
        raise UserError(
            f"{here}.precisions is {list(arm.precisions)}, without {FULL!r}, the models as "
            "trained, on which all gaps are taken: add it"
        )
    if (
        study.donor(arm.init) != arm.init
        and adaptation.kind_of(arm.adaptation["kind"]).keeps_encoder
    ):
        raise UserError(
            f"{here}: the adaptation {arm.adaptation['kind']!r} keeps the encoder as it was, and "
            f"init {arm.init!r} is random: give it another adaptation, or another init"
        )
    if idle := sorted(set(arm.training.get("model", ())) & _OF_PRETRAINING):
        raise UserError(
            f"{here}.training.model has {', '.join(idle)}, which an init brings itself; remove it, "
            "or take another init"
        )
    if ignored := models.foreign_settings(arm.family, arm.training.get("model", ())):
        raise UserError(
            f"{here}.training.model has {', '.join(ignored)}, which models of family {arm.family} "
            "do not have; remove it, or take another family"
        )
    settings = slices.recipe_of(study, arm.name)
    with _said_of(study, arm):
        family.check_settings(settings)
        models.require_training_precision(arm.family, settings)
        _check_length(arm, settings)
        if arm.training or adaptation.kind_of(arm.adaptation["kind"]).own_steps:
            recipe.check_recipe(settings)
    _check_adaptation(study, arm)
    _check_decodes(study, arm, settings)
    sets = arm.training_sets or tuple(study.training_sets)
    known = {hours for name in sets for hours in study.training_set(name).budgets}
    for hours in map(format_hours, arm.budgets_hours or ()):
        require(f"{here}.budgets_hours", hours, sorted(known, key=float))


def _check_adaptation(study: Study, arm: Arm) -> None:
    """Its training sets are what its adaptation can hear, and what is made of its models is whole
    without what the adaptation keeps beside the weights."""
    here, name = f"arms.{arm.name}", arm.adaptation["kind"]
    kind = adaptation.kind_of(name)
    for own in arm.training_sets or tuple(study.training_sets):
        heard = study.training_set(own)
        if (count := len(heard.languages)) < kind.least_languages:
            raise UserError(
                f"{here}: the adaptation {name!r} needs training sets of {kind.least_languages} "
                f"languages or more, and {own!r} has {count}; name others in {here}.training_sets, "
                "or give the arm another adaptation"
            )
        if kind.leaves_others and heard.replay is not None:
            raise UserError(
                f"{here}: the adaptation {name!r} leaves languages beside those of its training "
                f"set as they were, and {own!r} replays {heard.replay.lang}, which would teach "
                f"nothing; name training sets without replay in {here}.training_sets"
            )
    if kind.exportable:
        return
    asked = [f"precision {precision}" for precision in arm.precisions if precision != FULL]
    asked += ["bundle"] if bundles.arm_of(study) == arm.name else []
    if asked:
        raise UserError(
            f"{here}, {asked[0]}: what the adaptation {name!r} learns stays beside the weights, "
            "and an export has the weights alone; give the arm the precision `full` only and "
            "bundle another one"
        )


def _check_length(arm: Arm, settings: Recipe) -> None:
    """What an adaptation does until a step ends before the run does."""
    until, steps = arm.adaptation.get("steps"), settings["steps"].get("fixed")
    if until is not None and steps is not None and until >= steps:
        raise UserError(
            f"adaptation.steps is {until}, and a run has {steps} steps, so it would never end; "
            "lower it, or raise training.steps"
        )


def _check_decodes(study: Study, arm: Arm, settings: Recipe) -> None:
    """The family has the tiers and the precisions at which the arm is decoded."""
    for name in arm.tiers:
        with _said_of(study, arm):
            models.require_tier(arm.family, study.tiers[name], settings)
    for name, tier in _quantised(study, arm):
        with _said_of(study, arm, f"precisions.{name}.tiers: "):
            models.require_precision(
                arm.family, study.tiers[tier], only_onnx=slices.only_in_onnxruntime(study, name)
            )


def _quantised(study: Study, arm: Arm) -> list[tuple[str, str]]:
    """Precision and tier of every exported encoder with which an arm is decoded."""
    found = []
    for name in arm.precisions:
        listed = study.config["precisions"][name]["tiers"]
        tiers = study.tiers if listed == "all" else listed
        found += [(name, tier) for tier in tiers if name != FULL and tier in arm.tiers]
    return found


@contextlib.contextmanager
def _said_of(study: Study, arm: Arm, place: str = "") -> Iterator[None]:
    """Name the arm in a refusal of its family, where arms are written down."""
    try:
        yield
    except UserError as error:
        named = f"arms.{arm.name}: " if study.config["arms"] else ""
        raise UserError(f"{named}{place}{error}") from None


def _check_contrast(study: Study, contrast: Contrast) -> None:
    written = bool(study.config["contrasts"])
    here = f"contrasts.{contrast.name}" if written else "statistics"
    for key, name in (("baseline", contrast.baseline), ("challenger", contrast.challenger)):
        require(f"{here}.{key}", name, study.arms)
    _check_tokens(study, contrast, here)
    if contrast.baseline == contrast.challenger:
        raise UserError(
            f"{here}.baseline and challenger are both {contrast.baseline!r}; name two of: "
            f"{', '.join(study.arms)}"
        )
    common = {
        (run.training_set, run.hours) for run in study.runs() if run.arm == contrast.baseline
    } & {(run.training_set, run.hours) for run in study.runs() if run.arm == contrast.challenger}
    if not common:
        sides = "; ".join(
            f"{name}: "
            + ", ".join(
                dict.fromkeys(
                    f"{run.training_set} {run.hours} h" for run in study.runs() if run.arm == name
                )
            )
            for name in contrast.arms
        )
        raise UserError(
            f"{here} compares {contrast.baseline!r} with {contrast.challenger!r}, which have no "
            f"training set and budget in common ({sides}); give both the same budgets_hours and "
            "training_sets"
        )
    tiers = [set(study.arms[name].tiers) for name in contrast.arms]
    if not tiers[0] & tiers[1]:
        raise UserError(
            f"{here} compares {contrast.baseline!r} with {contrast.challenger!r}, which have no "
            f"tier in common ({', '.join(study.arms[contrast.baseline].tiers)}; "
            f"{', '.join(study.arms[contrast.challenger].tiers)}); give both one"
        )
    reference = study.config["statistics"]["reference_tier"]
    for name in contrast.arms:
        if contrast is next(iter(study.word_contrasts.values())) and (
            reference not in study.arms[name].tiers
        ):
            raise UserError(
                f"{here} is the headline, taken at statistics.reference_tier {reference}, and "
                f"arms.{name}.tiers is {list(study.arms[name].tiers)}: add it, or take another "
                "reference tier"
            )


def _check_tokens(study: Study, contrast: Contrast, here: str) -> None:
    """Two arms write alike, or a contrast is about what they write."""
    one, other = (study.arms[name] for name in contrast.arms)
    if one.tokens == other.tokens or OWN_TOKENS in (one.tokens, other.tokens):
        return
    said = (
        f"{here} compares {one.name!r}, whose tokens are {one.tokens}, with {other.name!r}, whose "
        f"tokens are {other.tokens}"
    )
    if IPA in (one.tokens, other.tokens):
        raise UserError(
            f"{said}: words of phones are other words than written ones, so their rates say "
            "nothing of each other; give both arms the same tokens"
        )
    sides = [_definition(study, arm) for arm in (one, other)]
    recipes = [{**recipe, "tokens": ""} for _, _, recipe in sides]
    alike = sides[0][:2] == sides[1][:2] and recipes[0] == recipes[1]
    if not alike and "tokens" not in contrast.may_differ:
        remedy = (
            "give the contrast may_differ: [tokens], or both arms the same tokens"
            if study.config["contrasts"]
            else "give both arms the same tokens"
        )
        raise UserError(f"{said}, and they differ in something else too: {remedy}")
