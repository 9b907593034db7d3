"""Encoders of raw audio, such that an utterance gets the same frames alone and in a batch of longer
ones.

transformers gives what padding does to a batch to the caller. Here samples and frames behind the
end of an utterance have no influence: the group norm of the first layer takes its statistics over
the utterance's own frames, attention is masked, and the positional convolution sees zeros there, as
it does beyond the end of an utterance that is alone.
"""

import math
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

import torch
from torch import Tensor, nn

from warmstart.models.recipe import SpecAugment
from warmstart.models.wav2vec2.architectures.base import (
    SHERPA_LEAST_VARIANCE,
    Encoding,
    samples_of,
)
from warmstart.models.wav2vec2.architectures.masks import under_time_masks

# What Wav2Vec2FeatureExtractor adds to a variance.
_LEAST_VARIANCE = 1e-7


class MaskedGroupNorm(nn.GroupNorm):
    """Group norm of one channel a group, over the frames that an utterance has.

    The statistics are those of the utterance alone, whatever it is padded to.

    Attributes:
        frames: (B,) of the batch at hand.
    """

    frames: Tensor

    def forward(self, input: Tensor) -> Tensor:
        """(B, C, T) to the same shape."""
        inside = torch.arange(input.shape[2], device=input.device) < self.frames[:, None]
        inside = inside[:, None].to(input.dtype)
        count = self.frames.clamp(min=1)[:, None, None].to(input.dtype)
        mean = (input * inside).sum(2, keepdim=True) / count
        variance = ((input - mean).square() * inside).sum(2, keepdim=True) / count
        normal = (input - mean) * torch.rsqrt(variance + self.eps)
        return normal * self.weight[None, :, None] + self.bias[None, :, None]


class RawAudioEncoding(Encoding):
    """wav2vec 2.0, XLS-R, HuBERT; a unit is a sample."""

    constants = MappingProxyType(
        {
            ".original0": "weight norm of the positional convolution, folded into its weight",
            ".original1": "weight norm of the positional convolution, folded into its weight",
            "masked_spec_embed": "stands under masks, in training only",
        }
    )

    def __init__(self, config: Mapping[str, Any], dropouts: Sequence[str]):
        super().__init__(config, dropouts)
        self.stride = math.prod(config["conv_stride"])

    def make(self, dropout: float | None) -> nn.Module:
        """Of transformers, its group norm replaced by one that knows the ends."""
        from transformers import HubertConfig, HubertModel, Wav2Vec2Config, Wav2Vec2Model

        kinds = {"wav2vec2": (Wav2Vec2Config, Wav2Vec2Model), "hubert": (HubertConfig, HubertModel)}
        made_of, model = kinds[self.config["architecture"]]
        given = {
            key: value
            for key, value in self.config.items()
            if key not in ("architecture", "do_normalize")
        }
        if dropout is not None:
            given |= dict.fromkeys(self.dropouts, dropout)
        # No layer is left out: the recipe of transformers for fine-tuning (examples/pytorch/
        # speech-recognition) has layerdrop 0, and processes that train together must not differ.
        # mask_time_prob above 0 is what makes the model have `masked_spec_embed`.
        made = model(made_of(**given, layerdrop=0.0, mask_time_prob=0.05, apply_spec_augment=False))
        first = made.feature_extractor.conv_layers[0]
        if isinstance(getattr(first, "layer_norm", None), nn.GroupNorm):
            norm = first.layer_norm
            first.layer_norm = MaskedGroupNorm(norm.num_groups, norm.num_channels, eps=norm.eps)
        return made

    def stand_ins(self, encoder: nn.Module) -> dict[str, Tensor]:
        """The vector under masks is learned anew where a donor has none: most heads drop it."""
        vector: Any = encoder.masked_spec_embed
        return {"masked_spec_embed": torch.zeros_like(vector.detach())}

    def blocks(self, encoder: nn.Module) -> list[nn.Module]:
        """What transformers' `freeze_feature_encoder` freezes is the first of them."""
        inside: Any = encoder
        return [inside.feature_extractor, *inside.encoder.layers]

    def frames(self, samples: Tensor) -> Tensor:
        """Of convolutions without padding."""
        for kernel, stride in zip(
            self.config["conv_kernel"], self.config["conv_stride"], strict=True
        ):
            samples = torch.div(samples - kernel, stride, rounding_mode="floor") + 1
        return samples.clamp(min=0)

    def inputs(self, audio: Tensor, audio_len: Tensor) -> tuple[Tensor, Tensor]:
        """Samples as the encoder was pretrained on them; zero behind the end."""
        inside = torch.arange(audio.shape[1], device=audio.device) < audio_len[:, None]
        if not self.config["do_normalize"]:
            return audio * inside, audio_len
        count = audio_len.clamp(min=1)[:, None].to(audio.dtype)
        mean = (audio * inside).sum(1, keepdim=True) / count
        centred = (audio - mean) * inside
        variance = centred.square().sum(1, keepdim=True) / count
        return centred * torch.rsqrt(variance + _LEAST_VARIANCE), audio_len

    def states(
        self,
        encoder: nn.Module,
        inputs: Tensor,
        lengths: Tensor,
        masks: SpecAugment | None = None,
    ) -> tuple[Tensor, Tensor]:
        """Masks over mel bins have no counterpart in raw audio; those over time cover frames with
        the encoder's own vector."""
        fewest = fewest_samples(self.config)
        if torch.jit.is_tracing():  # pyright: ignore[reportPrivateImportUsage]
            # A graph is not asked whether its example is too short.
            longest = lengths.max().clamp(min=fewest)
            inputs = nn.functional.pad(inputs, (0, fewest))[:, :longest]
        elif inputs.shape[1] < fewest:
            inputs = nn.functional.pad(inputs, (0, fewest - inputs.shape[1]))
        frames = self.frames(lengths)
        inside_it: Any = encoder
        self._tell_norm(inside_it, lengths)
        features = inside_it.feature_extractor(inputs).transpose(1, 2)
        if not torch.jit.is_tracing():  # pyright: ignore[reportPrivateImportUsage]
            features = features[:, : max(1, int(frames.max()))]
        hidden = inside_it.feature_projection(features)
        hidden = hidden[0] if isinstance(hidden, tuple) else hidden
        if masks is not None:
            under = under_time_masks(frames, hidden.shape[1], masks)
            vector = inside_it.masked_spec_embed.to(hidden.dtype)
            hidden = torch.where(under[..., None], vector, hidden)
        inside = torch.arange(hidden.shape[1], device=hidden.device) < frames.clamp(min=1)[:, None]
        # The encoder writes zeros behind the end into what it is given.
        return inside_it.encoder(hidden.clone(), attention_mask=inside)[0], frames

    def hears_scaled(self) -> bool:
        """Where the encoder was trained on such samples."""
        return self.config["do_normalize"]

    def in_graph(self, samples: Tensor, scaled: bool) -> tuple[Tensor, Tensor]:
        """With mean 0 and variance 1, as `inputs`, where the encoder wants that.

        sherpa-onnx divides by sqrt(v + a), v the variance of the waveform and a = 1e-5; the encoder
        was trained on samples divided by sqrt(v + b), b = 1e-7. What sherpa-onnx gives has the mean
        square r = v / (v + a), so (v + b) / (v + a) = r + (1 - r) b / a. Quiet recordings need
        this: at -60 dB the factor is 3.2.
        """
        if not scaled:
            return super().in_graph(samples, scaled)
        ratio = _LEAST_VARIANCE / SHERPA_LEAST_VARIANCE
        mean_square = samples.square().mean(1, keepdim=True)
        normal = samples * torch.rsqrt(mean_square + (1 - mean_square) * ratio)
        return normal, samples_of(samples)

    def _tell_norm(self, encoder: Any, lengths: Tensor) -> None:
        first = encoder.feature_extractor.conv_layers[0]
        if isinstance(getattr(first, "layer_norm", None), MaskedGroupNorm):
            kernel, stride = self.config["conv_kernel"][0], self.config["conv_stride"][0]
            frames = torch.div(lengths - kernel, stride, rounding_mode="floor") + 1
            first.layer_norm.frames = frames.clamp(min=0)


def fewest_samples(config: Mapping[str, Any]) -> int:
    """Samples that one output frame hears (arXiv 2006.11477, §2: 25 ms)."""
    samples = 1
    for kernel, stride in zip(
        reversed(config["conv_kernel"]), reversed(config["conv_stride"]), strict=True
    ):
        samples = (samples - 1) * stride + kernel
    return samples
