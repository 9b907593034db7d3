"""Settings of encoders of raw audio: wav2vec 2.0, XLS-R, HuBERT and their kin. Standard library
only."""

import math
from collections.abc import Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from warmstart.models.wav2vec2.architectures.base import Architecture
from warmstart.models.wav2vec2.architectures.checks import (
    ACTIVATIONS,
    Key,
    count,
    counts,
    flag,
    one_of,
    read_keys,
    share,
    small,
)
from warmstart.run.errors import UserError

if TYPE_CHECKING:
    from warmstart.models.wav2vec2.architectures.raw_audio_encoding import RawAudioEncoding

_PREPROCESSING: dict[str, Key] = {"do_normalize": (flag, True)}
# The defaults are those of transformers 5.23.
_KEYS: dict[str, Key] = {
    "hidden_size": (count(16384), 768),
    "num_hidden_layers": (count(256), 12),
    "num_attention_heads": (count(256), 12),
    "intermediate_size": (count(65536), 3072),
    "hidden_act": (one_of(*ACTIVATIONS), "gelu"),
    "layer_norm_eps": (small, 1e-5),
    "feat_extract_norm": (one_of("group", "layer"), "group"),
    "feat_extract_activation": (one_of(*ACTIVATIONS), "gelu"),
    "conv_dim": (counts(16384), [512] * 7),
    "conv_stride": (counts(1000), [5, 2, 2, 2, 2, 2, 2]),
    "conv_kernel": (counts(1000), [10, 3, 3, 3, 3, 2, 2]),
    "conv_bias": (flag, False),
    "num_conv_pos_embeddings": (count(4096), 128),
    "num_conv_pos_embedding_groups": (count(4096), 16),
    "do_stable_layer_norm": (flag, False),
}
_DROPOUTS: dict[str, Key] = {
    "hidden_dropout": (share, 0.1),
    "activation_dropout": (share, 0.1),
    "attention_dropout": (share, 0.1),
    "feat_proj_dropout": (share, 0.0),
}
_OF_HUBERT: dict[str, Key] = {
    "feat_proj_layer_norm": (flag, True),
    "conv_pos_batch_norm": (flag, False),
}
# What changes the frames or adds modules that no published multilingual or English pair has.
_REFUSED = {"add_adapter": "its frames are longer than its encoder's"}

# As torch named the two halves of a weight norm before 2.1, and as it does now.
_RENAMED = {
    ".conv.weight_g": ".conv.parametrizations.weight.original0",
    ".conv.weight_v": ".conv.parametrizations.weight.original1",
}


class RawAudio(Architecture):
    """Convolutions over samples, then a Transformer (arXiv 2006.11477, 2106.07447)."""

    names = MappingProxyType({"wav2vec2": "wav2vec 2.0 or XLS-R", "hubert": "HuBERT or mHuBERT"})
    dropouts = tuple(_DROPOUTS)
    prefixes = ("wav2vec2.", "hubert.")
    # What published checkpoints have beside the encoder, and that starts anew here.
    beside = (
        *("lm_head.", "quantizer.", "project_hid.", "project_q.", "dropout_features."),
        *("final_proj.", "label_embs_concat", "classifier.", "projector."),
    )
    exports = True

    def own_name(self, name: str) -> str | None:
        """The same, with torch's names of today."""
        kept = super().own_name(name)
        for old, new in _RENAMED.items():
            if kept is not None and kept.endswith(old):
                return kept.removesuffix(old) + new
        return kept

    def read(
        self, config: Mapping[str, Any], preprocessing: Mapping[str, Any], where: str
    ) -> dict[str, Any]:
        """`do_normalize` says whether the samples of an utterance get mean 0 and variance 1."""
        for key, why in _REFUSED.items():
            if config.get(key):
                raise UserError(f"{where}: {key} is {config[key]!r}, and {why}; take another one")
        architecture = config["model_type"]
        known = _KEYS | _DROPOUTS | (_OF_HUBERT if architecture == "hubert" else {})
        made = {
            "architecture": architecture,
            **read_keys(_PREPROCESSING, preprocessing, where),
            **read_keys(known, config, where),
        }
        _check_shape(made, where)
        return made

    def width(self, config: Mapping[str, Any]) -> int:
        """Of the Transformer."""
        return config["hidden_size"]

    def frame_samples(self, config: Mapping[str, Any]) -> int:
        """The product of the strides."""
        return math.prod(config["conv_stride"])

    def encoding(self, config: Mapping[str, Any]) -> "RawAudioEncoding":
        """Of wav2vec 2.0 or HuBERT."""
        from warmstart.models.wav2vec2.architectures.raw_audio_encoding import RawAudioEncoding

        return RawAudioEncoding(config, self.dropouts)


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
