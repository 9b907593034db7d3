"""The settings that each stage's program takes, and the two forms in which they stand.

`canonical` leaves out what equals its default: of that form digests are made, so that a new key
with a default makes nothing stale. `filled` is its inverse, which programs call when they start:
defaults stand in the schema alone.
"""

import functools
from collections.abc import Callable, Mapping
from typing import Any

from warmstart import adaptation
from warmstart.run import cli
from warmstart.study.config import canonical_by, filled_by, schema

# Spellings of the recipe that no program sees: the study has resolved them.
RESOLVED = ("replay", "freeze", "adapter_dim")


@functools.cache
def _nodes() -> dict[str, dict[str, Any]]:
    """Stage -> the schema of its settings."""
    root = schema()
    definitions, properties = root["$defs"], root["properties"]
    text = definitions["text"]
    # Examples are checked while the DAG is built; no stage is given them.
    spelled = {key: node for key, node in text["properties"].items() if key != "examples"}
    text = {**text, "properties": spelled}
    texts = {"type": "object", "additionalProperties": text}
    training = definitions["training"]["properties"]
    recipe = {key: node for key, node in training.items() if key not in RESOLVED}
    precision = properties["precisions"]["additionalProperties"]["properties"]
    quantized = {key: node for key, node in precision.items() if key not in ("tiers", "budgets")}
    return {
        "pool": _block(text=text, filters=properties["filters"]),
        "tokenizer": _block(text=texts, **properties["tokenizer"]["properties"]),
        "texts": texts,
        "labels": _block(text=text),
        "train": _block(**recipe),
        # Its loop is that of training.
        "pretrain": _block(**{**recipe, **definitions["pretrain"]["properties"], "text": texts}),
        "quantize": _block(**quantized),
        "decode": properties["decoding"],
        "identify": _block(
            **properties["decoding"]["properties"],
            **{
                key: properties["routing"]["properties"][key]
                for key in ("seconds_heard", "most_utterances")
            },
        ),
        "score": _block(text=text, **properties["scoring"]["properties"]),
        "score_phones": _block(text=text),
        "understand": _block(texts=texts),
        "statistics": properties["statistics"],
        "page": properties["report"],
        "bundle": _block(
            text=texts,
            **{
                key: properties["statistics"]["properties"][key]
                for key in ("replicates", "confidence", "seed")
            },
            force=properties["bundle"]["properties"]["force"],
        ),
    }


def canonical(stage: str, value: Mapping[str, Any]) -> dict[str, Any]:
    """Settings of a stage without what equals its default; of a stage without a schema, as they
    are."""
    node = _nodes().get(stage)
    if node is None:
        return dict(value)
    made = canonical_by(node, value)
    if "adaptation" in made:
        made["adaptation"] = adaptation.without_defaults(made["adaptation"])
    return made


def filled(stage: str, value: Mapping[str, Any]) -> dict[str, Any]:
    """A copy of a stage's settings with their defaults; keys that the schema does not know stay."""
    node = _nodes().get(stage)
    if node is None:
        return dict(value)
    made = filled_by(node, value)
    if "adaptation" in made:
        made["adaptation"] = adaptation.of_settings(made)
    return made


def argument(stage: str) -> Callable[[str], dict[str, Any]]:
    """Argument type: settings of a stage, `@FILE` or JSON, with their defaults."""
    return lambda text: filled(stage, cli.json_value(text))


def _block(**properties: Any) -> dict[str, Any]:
    return {"type": "object", "properties": properties}
