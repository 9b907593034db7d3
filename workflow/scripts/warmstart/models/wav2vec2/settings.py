"""Settings of an encoder, as the `config.json` of a checkpoint gives them. Standard library only.

A donor is data: known keys are taken, each with its type and range, and no class is ever named by
it. `auto_map` and the like are left where they are.
"""

from collections.abc import Mapping
from typing import Any

from warmstart.models.wav2vec2.architectures import ARCHITECTURES
from warmstart.models.wav2vec2.architectures.base import SAMPLE_RATE, Architecture
from warmstart.run.errors import UserError


def read(config: Mapping[str, Any], preprocessing: Mapping[str, Any], where: str) -> dict[str, Any]:
    """Settings of an encoder of any architecture.

    Args:
        config: of `config.json`.
        preprocessing: of `preprocessor_config.json`; empty where there is none.
        where: the init, for messages.

    Returns:
        See `Architecture.read`.

    Raises:
        UserError: another architecture or sampling rate, or a value that is out of range.
    """
    name = config.get("model_type")
    if name not in ARCHITECTURES:
        known = ", ".join(f"{each} ({ARCHITECTURES[each].names[each]})" for each in ARCHITECTURES)
        raise UserError(f"{where}: model_type is {name!r}; this family knows {known}")
    rate = preprocessing.get("sampling_rate", SAMPLE_RATE)
    if rate != SAMPLE_RATE:
        raise UserError(
            f"{where}: its sampling_rate is {rate!r} Hz; encoders of this family hear "
            f"{SAMPLE_RATE} Hz: take another checkpoint"
        )
    return ARCHITECTURES[name].read(config, preprocessing, where)


def again(saved: Mapping[str, Any], where: str) -> dict[str, Any]:
    """Settings that stand in the header of a saved model, checked like a donor's.

    Raises:
        UserError: see `read`.
    """
    return read({**saved, "model_type": saved.get("architecture")}, saved, where)


def architecture_of(config: Mapping[str, Any]) -> Architecture:
    """Of settings that `read` gave."""
    return ARCHITECTURES[config["architecture"]]


def export_refusal(config: Mapping[str, Any]) -> str | None:
    """Why encoders of these settings cannot be ONNX graphs, or None."""
    if architecture_of(config).exports:
        return None
    named = {name: each.names[name] for name, each in ARCHITECTURES.items()}
    can = [named[name] for name, each in ARCHITECTURES.items() if each.exports]
    return (
        f"{named[config['architecture']]} cannot be exported as ONNX yet; give its arms the "
        f"precision `full` only; encoders that can: {', '.join(can)}"
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
