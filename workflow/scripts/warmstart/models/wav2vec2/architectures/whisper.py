"""Settings of the encoder of a Whisper checkpoint (arXiv 2212.04356). Standard library only."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from warmstart.models.wav2vec2.architectures.base import Architecture
from warmstart.models.wav2vec2.architectures.checks import (
    ACTIVATIONS,
    Key,
    count,
    exactly,
    one_of,
    read_keys,
    share,
)
from warmstart.run.errors import UserError

if TYPE_CHECKING:
    from warmstart.models.wav2vec2.architectures.whisper_encoding import WhisperEncoding

# The defaults are those of transformers 5.23.
_KEYS: dict[str, Key] = {
    "d_model": (count(16384), 384),
    "encoder_layers": (count(256), 4),
    "encoder_attention_heads": (count(256), 6),
    "encoder_ffn_dim": (count(65536), 1536),
    "activation_function": (one_of(*ACTIVATIONS), "gelu"),
    "num_mel_bins": (count(256), 80),
    "max_source_positions": (exactly(1500, "the 30 s of every published Whisper"), 1500),
}
_DROPOUTS: dict[str, Key] = {
    "dropout": (share, 0.0),
    "attention_dropout": (share, 0.0),
    "activation_dropout": (share, 0.0),
}
# As WhisperFeatureExtractor has them, of every published Whisper.
_PREPROCESSING: dict[str, Key] = {
    "n_fft": (exactly(400, "25 ms, as every published Whisper hears"), 400),
    "hop_length": (exactly(160, "10 ms, as every published Whisper hears"), 160),
}


class Whisper(Architecture):
    """The encoder of Whisper over log-mel spectrograms; the decoder is left where it is."""

    names = MappingProxyType({"whisper": "the encoder of Whisper"})
    dropouts = tuple(_DROPOUTS)
    layerdrop = "encoder_layerdrop"
    prefixes = ("model.", "encoder.")
    # What published checkpoints have beside the encoder, and that is left where it is.
    beside = (
        *("model.decoder.", "decoder.", "proj_out.", "projector.", "classifier."),
        "layer_weights",
    )
    exports = True

    def read(
        self, config: Mapping[str, Any], preprocessing: Mapping[str, Any], where: str
    ) -> dict[str, Any]:
        """`num_mel_bins` is what the features must have too."""
        read_keys(_PREPROCESSING, preprocessing, where)
        made = {
            "architecture": config["model_type"],
            **read_keys(_KEYS | _DROPOUTS, config, where),
        }
        width, heads = made["d_model"], made["encoder_attention_heads"]
        if width % heads:
            raise UserError(
                f"{where}: d_model {width} is no multiple of encoder_attention_heads {heads}"
            )
        bins = preprocessing.get("feature_size", made["num_mel_bins"])
        if bins != made["num_mel_bins"]:
            raise UserError(
                f"{where}: feature_size of its preprocessing is {bins!r}, and num_mel_bins of its "
                f"encoder {made['num_mel_bins']}; fetch both from one revision"
            )
        return made

    def width(self, config: Mapping[str, Any]) -> int:
        """Of the Transformer."""
        return config["d_model"]

    def frame_samples(self, config: Mapping[str, Any]) -> int:
        """Two frames of the spectrogram, 20 ms (arXiv 2212.04356, §2.2)."""
        return 320

    def encoding(self, config: Mapping[str, Any]) -> "WhisperEncoding":
        """Of the spectrogram."""
        from warmstart.models.wav2vec2.architectures.whisper_encoding import WhisperEncoding

        return WhisperEncoding(config, self.dropouts)
