"""How the weights of an arm may change: what there is, which options each has, and what the old
keys mean.

Standard library and jsonschema only, because a dry run asks it. An adaptation of this package is
one module here and one entry of `KINDS`. One of somebody else's is named `module:OBJECT` wherever a
kind is named, where OBJECT is a `Kind` in a module on PYTHONPATH (docs/extend/adaptation.md).
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from warmstart import models
from warmstart.adaptation import layers
from warmstart.run.errors import UserError, did_you_mean

if TYPE_CHECKING:
    from warmstart.adaptation.base import Adaptation
    from warmstart.models.base import Donor


@dataclass(frozen=True)
class Kind:
    """What an adaptation is and needs.

    Attributes:
        target: `module:Class` of its `base.Adaptation`.
        about: one line for people who choose.
        options: name -> JSON schema of its value, with a `description`, and with a `default`
            unless it must be given.
        needs: what it uses of a model; a family must offer all of it (`models.Kind.offers`).
        keeps_encoder: whether the donor's encoder stays as it is, which makes no sense with random
            weights.
        exportable: whether all of it is in the weights of a model in the end, so that exports and
            bundles have it.
        least_languages: how many a training set must have.
        leaves_others: whether languages beside those of the training set decode as before, bit for
            bit, so that there is nothing for replay to keep.
        writes: what it writes beside the model (`base.Adaptation.write`), paths below the folder of
            the run.
        unsaid: options that a filled block leaves out where they have their default. They came
            after blocks without them had been recorded, and those records stay what they are.
        made_of: the option that names the arms whose low-rank updates it is made of; '' = of none.
        own_steps: the option that says how many steps a run has, in place of `training.steps`; '' =
            none does.
        fits: options and the linear layers of a donor (`models.base.Donor.linears`) -> why the two
            do not go together and how to mend it; None if they do.
        fault: options -> what is wrong with them together and how to mend it; None if nothing.
    """

    target: str
    about: str
    options: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    needs: frozenset[str] = frozenset()
    keeps_encoder: bool = False
    exportable: bool = True
    least_languages: int = 1
    leaves_others: bool = False
    writes: tuple[str, ...] = ()
    unsaid: frozenset[str] = frozenset()
    made_of: str = ""
    own_steps: str = ""
    fits: Callable[[Mapping[str, Any], layers.Linears], str | None] | None = None
    fault: Callable[[Mapping[str, Any]], str | None] | None = None

    def schema(self, name: str) -> dict[str, Any]:
        """JSON schema of a block `adaptation` of this kind."""
        return {
            "description": self.about,
            "type": "object",
            "additionalProperties": False,
            "required": ["kind", *(key for key in self.options if self._must_be_given(key))],
            "properties": {
                "kind": {"const": name},
                **{key: dict(value) for key, value in self.options.items()},
            },
        }

    def filled(self, name: str, options: Mapping[str, Any]) -> dict[str, Any]:
        """A block `adaptation` with all its options but the `unsaid` ones.

        Args:
            name: of the kind.
            options: those that are given.

        Raises:
            UserError: an unknown option, one that is lacking, a value outside its schema, or
                options that do not go together.
        """
        import jsonschema

        here = f"adaptation {name}"
        for key in options:
            if key not in self.options:
                raise UserError(
                    f"{here} has no option {key!r}{did_you_mean(key, self.options)}; it has "
                    f"{', '.join(self.options) or 'none'}"
                )
        if lacking := [
            key for key in self.options if self._must_be_given(key) and key not in options
        ]:
            raise UserError(f"{here} lacks {', '.join(lacking)}; give the block a value for each")
        # As in the study's schema: 64.0 is the integer 64.
        options = {
            key: int(value)
            if self.options[key].get("type") == "integer"
            and isinstance(value, float)
            and value.is_integer()
            else value
            for key, value in options.items()
        }
        for key, value in options.items():
            try:
                jsonschema.validate(value, dict(self.options[key]))
            except jsonschema.ValidationError as error:
                about = self.options[key].get("description", "see its schema")
                raise UserError(f"{here}.{key} is {value!r}: {error.message}; {about}") from error
        defaults = {
            key: value["default"] for key, value in self.options.items() if "default" in value
        }
        made = {**defaults, **options}
        if self.fault is not None and (why := self.fault(made)) is not None:
            raise UserError(f"{here}: {why}")
        said = {
            key: value
            for key, value in made.items()
            if key not in self.unsaid or value != defaults[key]
        }
        return {"kind": name, **said}

    def _must_be_given(self, option: str) -> bool:
        return "default" not in self.options[option]


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


def kind_of(name: str) -> Kind:
    """What is declared of an adaptation.

    Args:
        name: a key of `KINDS`, or `module:OBJECT`.

    Raises:
        UserError: no such adaptation, or no `Kind` under that name.
    """
    return models.declared(name, KINDS, "adaptation", "one of your own")


def of_settings(settings: Mapping[str, Any]) -> dict[str, Any]:
    """The adaptation that a block `training` asks for, with all its options.

    Args:
        settings: with `adaptation` {kind, ...options}; or as it was before there were arms:
            `adaptation` full or adapter, `adapter_dim`, `freeze` {options of that kind}.

    Returns:
        {kind, ...options}.

    Raises:
        UserError: an unknown kind or option, one that is lacking, or keys that exclude each other.
    """
    asked, freeze = settings.get("adaptation") or "full", settings.get("freeze")
    given: dict[str, Any] = dict(asked) if isinstance(asked, Mapping) else {"kind": asked}
    if "kind" not in given:
        raise UserError(f"training.adaptation {given} has no kind; give one of {', '.join(KINDS)}")
    kind = given.pop("kind")
    if freeze and kind_of(kind).keeps_encoder:
        raise UserError(
            f"training.adaptation is {kind}, which freezes the whole encoder for good; remove "
            "training.freeze"
        )
    if freeze and kind != "full" and not _is_freezing(kind, given, freeze):
        raise UserError(
            f"training.adaptation is {kind}, and training.freeze is another adaptation; remove one"
        )
    if freeze:
        kind, given = "freeze", dict(freeze)
    if (width := settings.get("adapter_dim")) is not None:
        if kind != "adapter":
            raise UserError(
                f"training.adapter_dim is {width}, and training.adaptation is {kind}; write "
                f"adaptation: {{kind: adapter, dim: {width}}}, or remove it"
            )
        given.setdefault("dim", width)
    return kind_of(kind).filled(kind, given)


def _is_freezing(kind: str, options: Mapping[str, Any], freeze: Mapping[str, Any]) -> bool:
    """Whether an adaptation is what another spelling of it says."""
    declared = KINDS["freeze"]
    return kind == "freeze" and (declared.filled(kind, options) == declared.filled(kind, freeze))


def without_defaults(block: Mapping[str, Any]) -> dict[str, Any]:
    """A block {kind, ...options} without the options that equal their defaults."""
    options = kind_of(block["kind"]).options
    return {
        key: value
        for key, value in block.items()
        if key == "kind" or "default" not in options[key] or options[key]["default"] != value
    }


def possible(family: str) -> list[str]:
    """Names of the adaptations that models of a family can have.

    Raises:
        UserError: no such family.
    """
    offers = models.kind_of(family).offers
    return [name for name, kind in KINDS.items() if kind.needs <= offers]


def check(kind: str, family: str) -> None:
    """Refuse an adaptation that a family cannot have.

    Args:
        kind: name of the adaptation.
        family: name of the family.

    Raises:
        UserError: with both and what the family can.
    """
    missing = kind_of(kind).needs - models.kind_of(family).offers
    if missing:
        raise UserError(
            f"family {family} cannot have the adaptation {kind}, which needs "
            f"{', '.join(sorted(missing))}; allowed: {', '.join(possible(family))}"
        )


def check_donor(block: Mapping[str, Any], donor: "Donor") -> None:
    """Refuse an adaptation that does not fit the layers of a donor, as far as its file tells.

    Args:
        block: {kind, ...options}, as `of_settings` gives it.
        donor: as its family reads it.

    Raises:
        UserError: with the option and what the donor has.
    """
    kind = kind_of(block["kind"])
    if kind.fits is None or (linears := donor.linears()) is None:
        return
    options = {key: value["default"] for key, value in kind.options.items() if "default" in value}
    if (fault := kind.fits({**options, **block}, linears)) is not None:
        raise UserError(fault)


def open_adaptation(block: Mapping[str, Any]) -> "Adaptation":
    """The adaptation of a block {kind, ...options}, as `of_settings` gives it.

    Raises:
        UserError: see `kind_of` and `Kind.filled`.
    """
    options = dict(block)
    name = options.pop("kind")
    kind = kind_of(name)
    filled = kind.filled(name, options)
    del filled["kind"]
    return models.named_object(kind.target, f"target of adaptation {name!r}:")(**filled)
