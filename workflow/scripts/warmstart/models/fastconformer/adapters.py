"""Bottleneck adapters inside a NeMo encoder whose own weights stay the donor's."""

from typing import Any

import torch

ADAPTER = "warmstart"  # name under which NeMo keeps them
_ENCODER = "nemo.collections.asr.modules.conformer_encoder.ConformerEncoderAdapter"


def adaptable(encoder: dict[str, Any]) -> dict[str, Any]:
    """Encoder settings under which NeMo builds an encoder that takes adapters; its weights have the
    same names."""
    return encoder | {"_target_": _ENCODER}


def add_adapters(model: Any, dim: int, seed: int) -> None:
    """Put a bottleneck adapter behind each layer of the encoder and freeze the rest of the encoder.

    A new adapter changes nothing (its last layer is zero); the others of its weights are drawn from
    `seed` alone.

    Args:
        model: built from `adaptable` encoder settings, donor loaded.
        dim: width of the bottleneck.

    Source:
        Houlsby et al., arXiv 1902.00751; NeMo's LinearAdapter
        (nemo/collections/common/parts/adapter_modules.py).
    """
    from nemo.collections.common.parts.adapter_modules import LinearAdapterConfig

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model.add_adapter(
            name=f"encoder:{ADAPTER}",
            cfg=LinearAdapterConfig(in_features=model.cfg.encoder.d_model, dim=dim),
        )
    model.set_enabled_adapters(enabled=True)
    for parameter in model.encoder.parameters():
        parameter.requires_grad_(False)
    for layer in model.encoder.layers:
        for parameter in layer.adapter_layer.parameters():
            parameter.requires_grad_(True)
