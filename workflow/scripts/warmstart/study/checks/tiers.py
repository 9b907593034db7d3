"""Latency tiers and precisions."""

import re

from warmstart.models.tier import UNIT_MS
from warmstart.run.errors import UserError
from warmstart.study.checks.allowed import require
from warmstart.study.grid import FULL, Study


def check(study: Study) -> None:
    """Every tier is trained, named by its latency, and to be had at precisions that list it."""
    _check_tiers(study)
    _check_precisions(study)
    reference = study.config["statistics"]["reference_tier"]
    require("statistics.reference_tier", reference, study.tiers)


def _check_tiers(study: Study) -> None:
    contexts = [tuple(context) for context in study.config["training"]["model"]["contexts"]]
    for tier in study.tiers.values():
        if tier.name == "offline" and not tier.offline:
            raise UserError("tiers.offline streams: give it `offline: true`, or another name")
        named = re.fullmatch(r"(\d+)ms", tier.name)
        if named and int(named[1]) != tier.lookahead_ms:
            raise UserError(
                f"tiers.{tier.name} has right context {tier.right}, which is {tier.lookahead_ms} "
                f"ms of lookahead: call it {tier.lookahead_ms}ms or set the right context to "
                f"{int(named[1]) / UNIT_MS - 1:g}"
            )
        if not tier.offline and (asked := tier.of_languages()):
            key, value = next(iter(asked.items()))
            raise UserError(
                f"tiers.{tier.name}.{key} is {value!r}, and the tier streams: models that know "
                "languages and windows hear whole utterances; give it `offline: true`"
            )
    same: dict[tuple[object, ...], str] = {}
    for tier in study.tiers.values():
        key = (tier.left, tier.right, tier.offline, tier.language, tier.window_s)
        if key in same:
            raise UserError(
                f"tiers.{same[key]} and tiers.{tier.name} are one: the same context "
                f"{tier.context}; remove one of them"
            )
        same[key] = tier.name
    most = max(right for _, right in contexts)
    offline = [tier.right for tier in study.tiers.values() if tier.offline]
    if offline and max(offline) < most:
        raise UserError(
            f"no offline tier has the largest right context the models are trained with, {most}: "
            f"emission delays are measured against it; set the context of one to [left, {most}]"
        )


def _check_precisions(study: Study) -> None:
    for name, precision in study.config["precisions"].items():
        if precision["tiers"] != "all":
            for tier in precision["tiers"]:
                require(f"precisions.{name}.tiers", tier, study.tiers)
            if len(set(precision["tiers"])) < len(precision["tiers"]):
                raise UserError(
                    f"precisions.{name}.tiers is {precision['tiers']}; allowed: a list without "
                    "repetitions"
                )
        if (name == FULL) != (precision.get("scheme") is None):
            raise UserError(
                f"precisions.{name}.scheme is {precision.get('scheme')!r}: '{FULL}' is the model "
                "as trained and has none, every other precision needs one (k_quant, rtn, fp32)"
            )
