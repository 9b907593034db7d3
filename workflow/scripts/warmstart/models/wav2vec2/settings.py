"""Settings of an encoder, as the `config.json` of a checkpoint gives them. Standard library only.

A donor is data: known keys are taken, each with its type and range, and no class is ever named by
it. `auto_map` and the like are left where they are.
"""

import math
from collections.abc import Callable, Mapping
from typing import Any

from warmstart.run.errors import UserError

ARCHITECTURES = {"wav2vec2": "wav2vec 2.0 or XLS-R", "hubert": "HuBERT or mHuBERT"}
"""`model_type` of transformers -> what people call it."""

SAMPLE_RATE = 16000
"""Of every published checkpoint of these architectures, Hz."""

_ACTIVATIONS = ("gelu", "gelu_new", "relu", "silu", "swish")


class _NotFit(ValueError):
    """A value that no encoder of these architectures has."""


def _count(most: int) -> Callable[[Any], int]:
    def check(value: Any) -> int:
        if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= most:
            raise _NotFit(f"a whole number from 1 to {most}")
        return value

    return check


def _share(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < 1:
        raise _NotFit("a number from 0 up to, but not, 1")
    return float(value)


def _small(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < 0.1:
        raise _NotFit("a number above 0 and below 0.1")
    return float(value)


def _flag(value: Any) -> bool:
    if not isinstance(value, bool):
        raise _NotFit("true or false")
    return value


def _one_of(*names: str) -> Callable[[Any], str]:
    def check(value: Any) -> str:
        if value not in names:
            raise _NotFit(f"one of {', '.join(names)}")
        return str(value)

    return check


def _counts(most: int) -> Callable[[Any], list[int]]:
    one = _count(most)

    def check(value: Any) -> list[int]:
        if not isinstance(value, list) or not 1 <= len(value) <= 16:
            raise _NotFit("a list of 1 to 16 whole numbers")
        return [one(each) for each in value]

    return check


_WIDTH, _LAYERS = _count(16384), _count(256)

# Key of config.json -> its check, and the default of transformers 5.23, which a configuration that
# is silent means.
_KEYS: dict[str, tuple[Callable[[Any], Any], Any]] = {
    "hidden_size": (_WIDTH, 768),
    "num_hidden_layers": (_LAYERS, 12),
    "num_attention_heads": (_count(256), 12),
    "intermediate_size": (_count(65536), 3072),
    "hidden_act": (_one_of(*_ACTIVATIONS), "gelu"),
    "layer_norm_eps": (_small, 1e-5),
    "feat_extract_norm": (_one_of("group", "layer"), "group"),
    "feat_extract_activation": (_one_of(*_ACTIVATIONS), "gelu"),
    "conv_dim": (_counts(16384), [512] * 7),
    "conv_stride": (_counts(1000), [5, 2, 2, 2, 2, 2, 2]),
    "conv_kernel": (_counts(1000), [10, 3, 3, 3, 3, 2, 2]),
    "conv_bias": (_flag, False),
    "num_conv_pos_embeddings": (_count(4096), 128),
    "num_conv_pos_embedding_groups": (_count(4096), 16),
    "do_stable_layer_norm": (_flag, False),
}
_DROPOUTS: dict[str, tuple[Callable[[Any], Any], Any]] = {
    "hidden_dropout": (_share, 0.1),
    "activation_dropout": (_share, 0.1),
    "attention_dropout": (_share, 0.1),
    "feat_proj_dropout": (_share, 0.0),
}
_OF_HUBERT: dict[str, tuple[Callable[[Any], Any], Any]] = {
    "feat_proj_layer_norm": (_flag, True),
    "conv_pos_batch_norm": (_flag, False),
}
DROPOUTS = tuple(_DROPOUTS)
"""What `training.model.encoder_dropout` replaces."""

# What changes the frames or adds modules that no published multilingual or English pair has.
_REFUSED = {"add_adapter": "its frames are longer than its encoder's"}


def read(config: Mapping[str, Any], preprocessing: Mapping[str, Any], where: str) -> dict[str, Any]:
    """Settings of an encoder, checked, with the defaults of transformers for what is not said.

    Args:
        config: of `config.json`.
        preprocessing: of `preprocessor_config.json`; empty where there is none.
        where: the init, for messages.

    Returns:
        `architecture`, `do_normalize` (whether the samples of an utterance get mean 0 and variance
        1), and the keys of transformers.

    Raises:
        UserError: another architecture or sampling rate, or a value that is out of range.
    """
    architecture = config.get("model_type")
    if architecture not in ARCHITECTURES:
        known = ", ".join(f"{name} ({what})" for name, what in ARCHITECTURES.items())
        raise UserError(f"{where}: model_type is {architecture!r}; this family knows {known}")
    rate = preprocessing.get("sampling_rate", SAMPLE_RATE)
    if rate != SAMPLE_RATE:
        raise UserError(
            f"{where}: its sampling_rate is {rate!r} Hz; encoders of this family hear "
            f"{SAMPLE_RATE} Hz: take another checkpoint"
        )
    for key, why in _REFUSED.items():
        if config.get(key):
            raise UserError(f"{where}: {key} is {config[key]!r}, and {why}; take another one")
    known = _KEYS | _DROPOUTS | (_OF_HUBERT if architecture == "hubert" else {})
    made: dict[str, Any] = {"architecture": architecture}
    try:
        made["do_normalize"] = _flag(preprocessing.get("do_normalize", True))
        for key, (check, default) in known.items():
            made[key] = default if config.get(key) is None else check(config[key])
    except _NotFit as error:
        key = next(key for key in ("do_normalize", *known) if key not in made)
        value = config.get(key, preprocessing.get(key))
        raise UserError(f"{where}: {key} is {value!r}; it must be {error}") from None
    _check_shape(made, where)
    return made


def _check_shape(made: Mapping[str, Any], where: str) -> None:
    """Sizes that must fit each other."""
    lengths = {key: len(made[key]) for key in ("conv_dim", "conv_kernel", "conv_stride")}
    if len(set(lengths.values())) > 1:
        raise UserError(f"{where}: {lengths} are the lengths of lists of the same layers")
    for part in ("num_attention_heads", "num_conv_pos_embedding_groups"):
        if made["hidden_size"] % made[part]:
            raise UserError(
                f"{where}: hidden_size {made['hidden_size']} is no multiple of {part} {made[part]}"
            )


def fresh(model: Mapping[str, Any]) -> dict[str, Any]:
    """Settings of a small encoder that is pretrained here.

    Args:
        model: block `training.model`: n_layers, n_heads, d_model, subsampling_channels.

    Raises:
        UserError: a size is not given.
    """
    asked = ("n_layers", "n_heads", "d_model", "subsampling_channels")
    if missing := [key for key in asked if key not in model]:
        raise UserError(
            f"training.model lacks {', '.join(missing)}: sizes of an encoder that is made here"
        )
    return read(
        {
            "model_type": "wav2vec2",
            "hidden_size": model["d_model"],
            "num_hidden_layers": model["n_layers"],
            "num_attention_heads": model["n_heads"],
            "intermediate_size": 4 * model["d_model"],
            "conv_dim": [model["subsampling_channels"]] * 7,
            "feat_extract_norm": "layer",
            "do_stable_layer_norm": True,
            "num_conv_pos_embeddings": 64,
        },
        {},
        "training.model",
    )


def frame_samples(settings: Mapping[str, Any]) -> int:
    """Samples from one output frame to the next."""
    return math.prod(settings["conv_stride"])


def fewest_samples(settings: Mapping[str, Any]) -> int:
    """Samples that one output frame hears (arXiv 2006.11477, §2: 25 ms)."""
    samples = 1
    for kernel, stride in zip(
        reversed(settings["conv_kernel"]), reversed(settings["conv_stride"]), strict=True
    ):
        samples = (samples - 1) * stride + kernel
    return samples
