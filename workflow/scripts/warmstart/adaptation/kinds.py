"""The adaptations of this package: what each is called, which options it has, what it needs.
Standard library only."""

from collections.abc import Mapping
from typing import Any

from warmstart.adaptation import layers
from warmstart.adaptation.kind import Kind


def _freeze_fault(options: Mapping[str, Any]) -> str | None:
    """What a freezing cannot be."""
    policy, layers, steps = (options[key] for key in ("feature_encoder", "encoder_layers", "steps"))
    waits = policy == "steps" or layers > 0
    if policy == "never" and not layers:
        return (
            "feature_encoder is never and encoder_layers 0, so nothing is held; give layers, or "
            "the kind full"
        )
    if waits and steps is None:
        what = "the feature encoder" if policy == "steps" else f"{layers} layers"
        return f"lacks steps, the first step that trains {what}; give it, or take what waits away"
    if not waits and steps is not None:
        return (
            f"steps is {steps}, and nothing waits for it: feature_encoder is {policy}, for the "
            "whole run, and encoder_layers 0; remove steps"
        )
    return None


EQUAL_RANKS = frozenset({"linear", "ties", "dare"})
"""Fusions of experts that add A to A and B to B, which therefore are of one rank."""
APART = "lid"
"""The fusion that keeps experts apart until an utterance is heard."""
PRUNED = frozenset({"ties", "dare"})
"""Fusions that leave some values out."""


def _experts_fault(options: Mapping[str, Any]) -> str | None:
    """What a fusion cannot be."""
    fuse = options["fuse"]
    if options["rank"] is not None and fuse != "svd":
        return (
            f"rank is {options['rank']}, and fuse {fuse}, whose rank follows from the experts; "
            "remove rank, or take fuse: svd"
        )
    if options["density"] is not None and fuse not in PRUNED:
        return (
            f"density is {options['density']:g}, and fuse {fuse} leaves no values out; remove it, "
            f"or take fuse: {' or '.join(sorted(PRUNED))}"
        )
    if fuse == APART and options["tune_steps"]:
        return (
            f"tune_steps is {options['tune_steps']}, and fuse {APART} weights the experts anew for "
            "each utterance, so that there is no one update to tune; remove tune_steps, or take "
            "another fuse"
        )
    if fuse == APART and options["weights"] is not None:
        return (
            f"weights is {options['weights']}, and fuse {APART} takes the probabilities of the "
            "languages; remove weights"
        )
    return None


_PROMPT: dict[str, dict[str, Any]] = {
    "length": {
        "description": (
            "Vectors in front of each side. In front of the decoder they take so many of the "
            "positions that a text has."
        ),
        "type": "integer",
        "minimum": 1,
        "maximum": 400,
        "default": 8,
    },
    "where": {
        "description": (
            "In front of what the layers of the `encoder` hear, of what the `decoder` reads, or of "
            "`both`."
        ),
        "enum": ["both", "decoder", "encoder"],
        "default": "both",
    },
}


def _lapt_fault(options: Mapping[str, Any]) -> str | None:
    """A part of a higher rank than a prompt has vectors is no part of low rank."""
    if options["rank"] > options["length"]:
        return (
            f"rank is {options['rank']}, and a prompt has {options['length']} vectors, so that no "
            "part of it has a higher rank; lower rank, or raise length"
        )
    return None


KINDS: dict[str, Kind] = {
    "full": Kind(
        target="warmstart.adaptation.full:Full",
        about="All weights learn.",
    ),
    "freeze": Kind(
        target="warmstart.adaptation.freeze:Freezing",
        about="The feature encoder and the first layers do not learn at first.",
        options={
            "encoder_layers": {
                "description": "How many layers, from the input on; 0 = the feature encoder only.",
                "type": "integer",
                "minimum": 0,
            },
            "steps": {
                "description": "First step that trains what waits for one.",
                "type": ["integer", "null"],
                "minimum": 1,
                "default": None,
            },
            "feature_encoder": {
                "description": (
                    "When what is in front of the layers learns: `steps` = when they do, `always` "
                    "= it is frozen for the whole run, `never` = it learns from the start."
                ),
                "enum": ["always", "never", "steps"],
                "default": "steps",
            },
        },
        needs=frozenset({"blocks"}),
        unsaid=frozenset({"feature_encoder"}),
        fault=_freeze_fault,
    ),
    "adapter": Kind(
        target="warmstart.adaptation.adapter:Adapter",
        about="Only bottleneck adapters of the encoder, and what is behind it, learn.",
        options={
            "dim": {
                "description": (
                    "Width of the bottleneck; 4-bit blocks of 32 want a multiple of 64."
                ),
                "type": "integer",
                "minimum": 1,
                "multipleOf": 64,
                "default": 64,
            }
        },
        needs=frozenset({"adapters"}),
        keeps_encoder=True,
    ),
    "head_only": Kind(
        target="warmstart.adaptation.head_only:HeadOnly",
        about="The encoder stays as it was, and what is behind it learns.",
        keeps_encoder=True,
    ),
    "lora": Kind(
        target="warmstart.adaptation.lora:Lora",
        about="Low-rank updates of linear layers of the encoder, and what is behind it, learn.",
        options={
            "rank": {
                "description": "Rank of an update; at most the width of each layer that has one.",
                "type": "integer",
                "minimum": 1,
                "default": 32,
            },
            "alpha": {
                "description": "An update is multiplied by alpha / rank.",
                "type": "number",
                "exclusiveMinimum": 0,
                "default": 64,
            },
            "dropout": {
                "description": "Of what an update hears, in training.",
                "type": "number",
                "minimum": 0,
                "exclusiveMaximum": 1,
                "default": 0.0,
            },
            "layers": {
                "description": (
                    "Which linear layers of the encoder, by their names; `*` stands for anything."
                ),
                "type": "string",
                "minLength": 1,
                "default": "*",
            },
        },
        needs=frozenset({"linears"}),
        keeps_encoder=True,
        fits=layers.lora_fault,
        writes=("adapter/adapter_config.json", "adapter/adapter_model.safetensors"),
    ),
    "soft_prompt": Kind(
        target="warmstart.adaptation.soft_prompt:SoftPrompt",
        about="Only vectors in front of encoder and decoder learn, and the model stays as it was.",
        options=_PROMPT,
        needs=frozenset({"prompts"}),
        keeps_encoder=True,
        exportable=False,
        leaves_others=True,
    ),
    "lapt": Kind(
        target="warmstart.adaptation.lapt:Lapt",
        about="The same, of a part that languages share and a low-rank part of each.",
        options={
            **_PROMPT,
            "rank": {
                "description": "Rank of the part of a language; at most `length`.",
                "type": "integer",
                "minimum": 1,
                "default": 2,
            },
            "similarity": {
                "description": (
                    "`tokens` = languages take of each other's parts what their tokens are alike "
                    "in the donor; `none` = each has its own alone."
                ),
                "enum": ["none", "tokens"],
                "default": "tokens",
            },
        },
        needs=frozenset({"prompts"}),
        keeps_encoder=True,
        exportable=False,
        least_languages=2,
        leaves_others=True,
        fault=_lapt_fault,
    ),
    "experts": Kind(
        target="warmstart.adaptation.experts:Experts",
        about="One model of several LoRA runs, of one language each, fused.",
        options={
            "of": {
                "description": (
                    "Whose updates are fused: ARM = of each language of the training set, its runs "
                    "on that language alone; TRAINING_SET/ARM = its run there; "
                    "TRAINING_SET/ARM/HOURSh/seedN = that run."
                ),
                "type": "array",
                "minItems": 1,
                "uniqueItems": True,
                "items": {"type": "string", "minLength": 1},
            },
            "fuse": {
                "description": (
                    "cat = their weighted sum, exactly, at the sum of their ranks; svd = the "
                    "nearest update of rank `rank` to it; linear, ties, dare = of A and of B; "
                    "lid = weighted for each utterance by the model's own probabilities of "
                    "languages."
                ),
                "enum": ["linear", "cat", "svd", "ties", "dare", "lid"],
            },
            "weights": {
                "description": (
                    "Language -> weight of its expert; null = 1/N each of N, of ties 1 each, "
                    "because ties takes a mean itself."
                ),
                "type": ["object", "null"],
                "minProperties": 1,
                "additionalProperties": {"type": "number", "exclusiveMinimum": 0},
                "default": None,
            },
            "rank": {
                "description": "Of svd; null = the largest of the experts' ranks.",
                "type": ["integer", "null"],
                "minimum": 1,
                "default": None,
            },
            "density": {
                "description": "Of ties and dare: share of the values that stay; null = 0.5.",
                "type": ["number", "null"],
                "exclusiveMinimum": 0,
                "exclusiveMaximum": 1,
                "default": None,
            },
            "tune_steps": {
                "description": (
                    "Steps on the training set after the fusion, in which the fused update learns."
                ),
                "type": "integer",
                "minimum": 0,
                "default": 0,
            },
        },
        needs=frozenset({"linears", "shared_tokens"}),
        keeps_encoder=True,
        made_of="of",
        own_steps="tune_steps",
        fault=_experts_fault,
    ),
}
