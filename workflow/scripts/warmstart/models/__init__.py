"""Families of models: what each can do, declared; and the way to one by its name.

Standard library only, because a dry run asks it. A family of this package is one folder here and
one entry of `KINDS`. A family of somebody else's is named `module:OBJECT` wherever a family is
named, where OBJECT is a `Kind` in a module on PYTHONPATH (docs/extend/family.md).
"""

import importlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, TypeVar

from warmstart.models.bundle_forms import DEFAULT_FORM, FORMS, Form
from warmstart.models.recipe import Recipe
from warmstart.models.tier import Tier
from warmstart.run.errors import UserError, did_you_mean

if TYPE_CHECKING:
    from warmstart.models.base import Family

_Kind = TypeVar("_Kind")

# What an arm is that names no family.
DEFAULT_FAMILY = "fastconformer_rnnt"
# What is pretrained here where the settings name no family.
DEFAULT_PRETRAINING = "fastconformer_ctc"


@dataclass(frozen=True)
class Kind:
    """What a family is and can do, so that a dry run need not load it.

    Attributes:
        target: `module:Class` of its `base.Family`.
        about: one line for people who choose.
        streams: whether it decodes chunk by chunk; without it only offline tiers can be had.
        exports: whether its encoder can be quantised and written as `encoder.onnx`.
        exports_whole: whether that file takes whole utterances, so that ONNX Runtime decodes at
            offline tiers too. Without it the file is a streaming step, whose weights PyTorch takes
            at offline tiers.
        bundle: the form of its bundles, a key of `bundle_forms.FORMS` or `module:OBJECT`; '' = it
            makes none.
        heads_bundle: the same of models with a head a language.
        zero_shot: whether a published model can be decoded as it is.
        probes: whether the states of a donor's encoder can be had (`base.Family.listen`).
        heads: whether its models can have a head a language (`base.Family.build_heads`).
        confidence: whether its decoders say how sure they are (`base.Decoder.with_confidence`).
        languages: whether its models are told the language of an utterance or tell it themselves,
            and hear in windows (`Tier.language`, `Tier.window_s`).
        bfloat16_weights: whether its models can be trained with weights in bfloat16
            (`training.precision: bf16-true`, `base.Recogniser.kept_in_float32`).
        tokenizer: `trained` on the text of a training set, or the donor's `own`.
        donor: a donor is one `file`, or the folder of a `snapshot` of a hub's whole repository,
            which is packed into one file (`Family.pack_donor`).
        snapshot_files: patterns of the files of a snapshot that are read.
        donor_suffix: what the name of a donor ends with in resources/inits/.
        pretrains: name of the family whose CTC models donors are pretrained as here
            (`inits.*.pretrain`); '' = none are.
        pretrained_whole: whether such a donor is a model of this family, head and all.
        model_file: name of the file that a trained model is.
        encoder: name of the encoder that several families share. Arms of such families that are
            compared are held to one architecture; '' = it is this family's alone.
        ignores: keys of `training.model` that its models do not have; an arm cannot ask for them.
            What another family `adds` is ignored without being named.
        adds: keys of `training.model` that its models alone have.
        offers: what adaptations may use of its models: `blocks` (layers can be counted and
            frozen), `adapters` (its encoder takes new modules), `linears` (linear layers of its
            encoder may be replaced by name), `shared_tokens` (all models of a donor have its tokens
            and its head, so that what was learnt beside one fits the others), `prompts` (vectors
            can stand in front of utterances of a language). See `adaptation.Kind.needs`. And what
            arms may ask for beside: `distils` (it gives the scores of each token, for teachers and
            students), `gates` (it keeps language experts apart and weights them for each
            utterance).
    """

    target: str
    about: str
    streams: bool = False
    exports: bool = False
    exports_whole: bool = False
    bundle: str = ""
    heads_bundle: str = ""
    zero_shot: bool = False
    probes: bool = False
    heads: bool = False
    confidence: bool = False
    languages: bool = False
    bfloat16_weights: bool = False
    tokenizer: Literal["trained", "own"] = "trained"
    donor: Literal["file", "snapshot"] = "file"
    snapshot_files: tuple[str, ...] = ()
    donor_suffix: str = ""
    pretrains: str = ""
    pretrained_whole: bool = False
    model_file: str = "model.pt"
    encoder: str = ""
    ignores: frozenset[str] = frozenset()
    adds: frozenset[str] = frozenset()
    offers: frozenset[str] = frozenset()

    @property
    def bundles(self) -> bool:
        """Whether it makes bundles."""
        return bool(self.bundle)


KINDS: dict[str, Kind] = {
    "fastconformer_rnnt": Kind(
        target="warmstart.models.fastconformer.family:Transducer",
        about="cache-aware FastConformer with a transducer (LSTM predictor and joint)",
        streams=True,
        exports=True,
        bundle=DEFAULT_FORM,
        zero_shot=True,
        probes=True,
        bfloat16_weights=True,
        confidence=True,
        donor_suffix=".nemo",
        pretrains="fastconformer_ctc",
        model_file="model.nemo",
        encoder="fastconformer",
        offers=frozenset({"blocks", "adapters", "linears"}),
    ),
    "fastconformer_ctc": Kind(
        target="warmstart.models.fastconformer.family:Ctc",
        about="cache-aware FastConformer with a CTC head",
        streams=True,
        exports=True,
        bundle="streaming_ctc",
        zero_shot=True,
        pretrained_whole=True,
        probes=True,
        bfloat16_weights=True,
        confidence=True,
        donor_suffix=".nemo",
        pretrains="fastconformer_ctc",
        model_file="model.nemo",
        encoder="fastconformer",
        ignores=frozenset({"pred_hidden", "pred_layers", "joint_hidden"}),
        offers=frozenset({"blocks", "adapters", "linears"}),
    ),
    "wav2vec2_ctc": Kind(
        target="warmstart.models.wav2vec2.family:Wav2Vec2Ctc",
        about="wav2vec 2.0, HuBERT, w2v-BERT or the encoder of Whisper with a CTC head; offline",
        exports=True,
        exports_whole=True,
        bundle="offline_ctc",
        heads_bundle="offline_ctc_heads",
        probes=True,
        heads=True,
        confidence=True,
        donor="snapshot",
        snapshot_files=(
            *("config.json", "preprocessor_config.json"),
            *("*.safetensors", "*.safetensors.index.json"),
        ),
        donor_suffix=".safetensors",
        pretrains="wav2vec2_ctc",
        model_file="model.safetensors",
        ignores=frozenset(
            {"contexts", "context_probs", "pred_hidden", "pred_layers", "joint_hidden"}
        ),
        offers=frozenset({"blocks", "linears"}),
    ),
    "whisper": Kind(
        target="warmstart.models.whisper.family:Whisper",
        about="Whisper: an encoder, and a decoder that is told the language; offline",
        bundle="offline_whisper",
        zero_shot=True,
        probes=True,
        confidence=True,
        languages=True,
        tokenizer="own",
        donor="snapshot",
        snapshot_files=(
            *("config.json", "preprocessor_config.json", "generation_config.json"),
            *("tokenizer.json", "model.safetensors"),
            # Not *.safetensors, because large-v3 lies there in two precisions.
            *("model-*.safetensors", "model.safetensors.index.json"),
        ),
        donor_suffix=".safetensors",
        model_file="model.safetensors",
        adds=frozenset({"window_s", "language_tokens"}),
        ignores=frozenset(
            {"contexts", "context_probs", "pred_hidden", "pred_layers", "joint_hidden", "dropout"}
        ),
        offers=frozenset({"blocks", "linears", "prompts", "shared_tokens", "distils", "gates"}),
    ),
}


def kind_of(name: str) -> Kind:
    """What is declared of a family.

    Args:
        name: a key of `KINDS`, or `module:OBJECT`.

    Raises:
        UserError: no such family, or no `Kind` under that name.
    """
    return declared(name, KINDS, "family", "a family of your own")


def foreign_settings(family: str, asked: Iterable[str]) -> list[str]:
    """Those keys of `training.model` that models of a family do not have, sorted."""
    kind = kind_of(family)
    others = frozenset().union(*(other.adds for other in KINDS.values())) - kind.adds
    return sorted(set(asked) & (kind.ignores | others))


def open_family(name: str) -> "Family":
    """The family of a name; what it loads (torch, NeMo) is imported when its methods are called.

    Raises:
        UserError: see `kind_of`.
    """
    return named_object(kind_of(name).target, f"target of family {name!r}:")()


def declared(name: str, kinds: Mapping[str, _Kind], what: str, own: str) -> _Kind:
    """What stands under a name: one of `kinds`, or of their type under `module:OBJECT`.

    Args:
        name: of the one that is wanted.
        kinds: those of this package.
        what: the thing that is named, for messages.
        own: the same as somebody else's, for messages.

    Raises:
        UserError: no such name, or an object of another type.
    """
    if name in kinds:
        return kinds[name]
    if ":" not in name:
        raise UserError(
            f"{what} {name!r} is unknown{did_you_mean(name, kinds)}; allowed: {', '.join(kinds)}, "
            f"or module:OBJECT of {own}"
        )
    kind = type(next(iter(kinds.values())))
    found = named_object(name, what)
    if not isinstance(found, kind):
        raise UserError(
            f"{what} {name!r} is a {type(found).__name__}; the object must be a "
            f"{kind.__module__}.{kind.__name__}"
        )
    return found


def named_object(target: str, what: str) -> Any:
    """What stands under `module:OBJECT`.

    Args:
        target: names of a module and of something in it.
        what: the name of the thing, for messages.

    Raises:
        UserError: no such module or object.
    """
    module, _, attribute = target.partition(":")
    try:
        return getattr(importlib.import_module(module), attribute)
    except (ImportError, AttributeError, ValueError) as error:
        raise UserError(
            f"{what} {target!r} cannot be imported ({error}); give module:OBJECT and put the "
            "folder of the module on PYTHONPATH"
        ) from error
    except Exception as error:  # whatever a module of somebody else's does when it is imported
        raise UserError(
            f"{what} {target!r}: the module {module} fails when it is imported "
            f"({type(error).__name__}: {error}); mend it"
        ) from error


def require_tier(family: str, tier: Tier, settings: Recipe) -> None:
    """Refuse a tier at which models of a family cannot be decoded.

    Args:
        settings: block `training` of the arm.

    Raises:
        UserError: with the tier, its value and what can be had.
    """
    if not kind_of(family).streams and not tier.offline:
        raise UserError(
            f"tiers.{tier.name} streams, and family {family} decodes whole utterances only; give "
            "its arms offline tiers"
        )
    if (asked := tier.of_languages()) and not kind_of(family).languages:
        key, value = next(iter(asked.items()))
        raise UserError(
            f"tiers.{tier.name}.{key} is {value!r}, and models of family {family} know nothing of "
            f"languages and windows; give its arms tiers without it; families that do: "
            f"{', '.join(_that('languages'))}"
        )
    open_family(family).check_tier(tier, settings)


def require_precision(family: str, tier: Tier, *, only_onnx: bool = False) -> None:
    """Refuse to quantise where a family cannot, or cannot for a tier.

    Args:
        only_onnx: the precision is one that PyTorch does not compute.

    Raises:
        UserError: with the family or the tier, and what can be had.
    """
    if not kind_of(family).exports:
        raise UserError(
            f"family {family} exports no encoder to quantise; give its arms the precision `full` "
            f"only; families that do: {', '.join(_that('exports'))}"
        )
    if only_onnx and tier.offline and not kind_of(family).exports_whole:
        raise UserError(
            f"{tier.name} is offline, but this precision exists as streaming steps of ONNX Runtime "
            f"only where the family is {family}; list streaming tiers"
        )
    open_family(family).check_export(tier)


def require_bundle(family: str, heads: Sequence[str] = ()) -> Form:
    """The form of a family's bundles.

    Args:
        family: its name.
        heads: languages of a model with a head a language.

    Raises:
        UserError: it makes none; with the family and those that do.
    """
    kind = kind_of(family)
    if not kind.bundles:
        raise UserError(
            f"family {family} makes no bundle; families that do: {', '.join(_that('bundles'))}"
        )
    if not heads:
        return form_of(kind.bundle)
    if not kind.heads_bundle:
        raise UserError(
            f"family {family} makes no bundle of models with a head a language; families that do: "
            f"{', '.join(_that('heads_bundle'))}"
        )
    return form_of(kind.heads_bundle).of_heads(heads)


def form_of(name: str) -> Form:
    """What is declared of a form of bundles.

    Args:
        name: a key of `bundle_forms.FORMS`, or `module:OBJECT`.

    Raises:
        UserError: no such form, or no `Form` under that name.
    """
    return declared(name, FORMS, "bundle form", "a form of your own")


def require_bundle_tier(family: str, tier: Tier) -> None:
    """Refuse a tier at which a family's bundles cannot be made.

    Raises:
        UserError: with the tier and what can be had, or see `require_bundle` and
            `require_precision`.
    """
    form = require_bundle(family)
    if form.streams and tier.offline:
        raise UserError(
            f"tier {tier.name} is offline; a bundle streams: choose a streaming tier (bundle.tier)"
        )
    if not form.streams and not tier.offline:
        raise UserError(
            f"tier {tier.name} streams; a bundle of family {family} hears whole utterances: choose "
            "an offline tier (bundle.tier)"
        )
    if kind_of(family).exports:
        require_precision(family, tier)


def require_training_precision(family: str, settings: Recipe) -> None:
    """Refuse weights in bfloat16 of a family that does not train with them.

    Args:
        settings: block `training` of the arm, or that of a pretraining.

    Raises:
        UserError: with the family and those that do.
    """
    if settings["precision"] == "bf16-true" and not kind_of(family).bfloat16_weights:
        raise UserError(
            f"training.precision is 'bf16-true', and family {family} keeps its weights in float32; "
            "give bf16-mixed; families that train with weights in bfloat16: "
            f"{', '.join(_that('bfloat16_weights'))}"
        )


def require_probe(family: str) -> None:
    """Refuse to probe the donors of a family that does not give their states.

    Raises:
        UserError: with the family and those that do.
    """
    if not kind_of(family).probes:
        raise UserError(
            f"family {family} does not give the states of its donors' encoders; families that do: "
            f"{', '.join(_that('probes'))}"
        )


def require_heads(family: str) -> None:
    """Refuse a head a language of a family whose models have one head.

    Raises:
        UserError: with the family and those that can.
    """
    if not kind_of(family).heads:
        raise UserError(
            f"models of family {family} have one head for all languages; families with a head a "
            f"language: {', '.join(_that('heads'))}"
        )


def _that(ability: str) -> list[str]:
    return [name for name, kind in KINDS.items() if getattr(kind, ability)]
