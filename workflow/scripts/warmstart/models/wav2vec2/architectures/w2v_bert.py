"""Settings of w2v-BERT 2.0, a Conformer over stacked mel frames. Standard library only."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from warmstart.models.wav2vec2.architectures.base import Architecture
from warmstart.models.wav2vec2.architectures.checks import (
    ACTIVATIONS,
    NO_POSITIONS,
    Key,
    NotFit,
    count,
    one_of,
    read_keys,
    share,
    small,
)
from warmstart.run.errors import UserError

if TYPE_CHECKING:
    from warmstart.models.wav2vec2.architectures.w2v_bert_encoding import W2vBertEncoding

HOP = 160
"""Samples from one mel frame to the next, of transformers' SeamlessM4TFeatureExtractor."""


def _odd(value: Any) -> int:
    if count(255)(value) % 2 == 0:
        raise NotFit("an odd number up to 255, because a kernel has a middle")
    return value


# The defaults are those of transformers 5.23: of its feature extractor, and of its model.
_PREPROCESSING: dict[str, Key] = {"num_mel_bins": (count(512), 80), "stride": (count(16), 2)}
_KEYS: dict[str, Key] = {
    "hidden_size": (count(16384), 1024),
    "num_hidden_layers": (count(256), 24),
    "num_attention_heads": (count(256), 16),
    "intermediate_size": (count(65536), 4096),
    "feature_projection_input_dim": (count(8192), 160),
    "hidden_act": (one_of(*ACTIVATIONS), "swish"),
    "layer_norm_eps": (small, 1e-5),
    "position_embeddings_type": (
        one_of("relative_key", "relative", "rotary", NO_POSITIONS),
        "relative_key",
    ),
    "rotary_embedding_base": (count(10**9), 10000),
    "max_source_positions": (count(10**6), 5000),
    "left_max_position_embeddings": (count(4096), 64),
    "right_max_position_embeddings": (count(4096), 8),
    "conv_depthwise_kernel_size": (_odd, 31),
}
_DROPOUTS: dict[str, Key] = {
    "hidden_dropout": (share, 0.0),
    "activation_dropout": (share, 0.0),
    "attention_dropout": (share, 0.0),
    "feat_proj_dropout": (share, 0.0),
    "conformer_conv_dropout": (share, 0.1),
}
_REFUSED = {
    "add_adapter": "its frames are longer than its encoder's",
    "use_intermediate_ffn_before_adapter": "it is of an adapter that is not read",
}


class W2vBert(Architecture):
    """A Conformer with causal convolutions (arXiv 2312.05187, section 3.2.1; 2005.08100)."""

    names = MappingProxyType({"wav2vec2-bert": "w2v-BERT 2.0"})
    dropouts = tuple(_DROPOUTS)
    prefixes = ("wav2vec2_bert.",)
    # What published checkpoints have beside the encoder, and that starts anew here.
    beside = ("lm_head.", "quantizer.", "project_hid.", "project_q.", "classifier.", "projector.")
    exports = True

    def read(
        self, config: Mapping[str, Any], preprocessing: Mapping[str, Any], where: str
    ) -> dict[str, Any]:
        """`num_mel_bins` and `stride` say how the features are made."""
        for key, why in _REFUSED.items():
            if config.get(key):
                raise UserError(f"{where}: {key} is {config[key]!r}, and {why}; take another one")
        given = dict(config)
        if given.get("position_embeddings_type", "") is None:
            given["position_embeddings_type"] = NO_POSITIONS
        made = {
            "architecture": config["model_type"],
            **read_keys(_PREPROCESSING, preprocessing, where),
            **read_keys(_KEYS | _DROPOUTS, given, where),
        }
        _check_shape(made, preprocessing, where)
        return made

    def width(self, config: Mapping[str, Any]) -> int:
        """Of the Conformer."""
        return config["hidden_size"]

    def frame_samples(self, config: Mapping[str, Any]) -> int:
        """Of as many mel frames as are stacked."""
        return HOP * config["stride"]

    def encoding(self, config: Mapping[str, Any]) -> "W2vBertEncoding":
        """Of transformers' Wav2Vec2BertModel."""
        from warmstart.models.wav2vec2.architectures.w2v_bert_encoding import W2vBertEncoding

        return W2vBertEncoding(config, self.dropouts)


def _check_shape(made: Mapping[str, Any], preprocessing: Mapping[str, Any], where: str) -> None:
    """Sizes that must fit each other."""
    bins, stride = made["num_mel_bins"], made["stride"]
    if (size := preprocessing.get("feature_size", bins)) != bins:
        raise UserError(f"{where}: feature_size is {size!r}, and num_mel_bins {bins}; they are one")
    if (wanted := made["feature_projection_input_dim"]) != bins * stride:
        raise UserError(
            f"{where}: feature_projection_input_dim is {wanted}, and {stride} stacked frames of "
            f"{bins} mel bins are {bins * stride}; fetch config.json and preprocessor_config.json "
            "from one revision"
        )
    width, heads = made["hidden_size"], made["num_attention_heads"]
    if width % heads:
        raise UserError(
            f"{where}: hidden_size {width} is no multiple of num_attention_heads {heads}"
        )
