"""w2v-BERT 2.0, such that an utterance gets the same frames alone and in a batch of longer ones.

Features are made of each utterance by itself, normalised over its own frames. In the encoder
attention is masked, the convolutions look back only, and see zeros behind the end of an utterance;
position embeddings are of the distance of two frames, whatever the batch is padded to.
"""

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

import torch
from torch import Tensor, nn

from warmstart.models.recipe import SpecAugment
from warmstart.models.wav2vec2.architectures import spectra
from warmstart.models.wav2vec2.architectures.base import (
    SAMPLE_RATE,
    SHERPA_LEAST_VARIANCE,
    Encoding,
    samples_of,
)
from warmstart.models.wav2vec2.architectures.checks import NO_POSITIONS
from warmstart.models.wav2vec2.architectures.masks import under_time_masks
from warmstart.models.wav2vec2.windows import WINDOW_S

# Of transformers 5.23, models/seamless_m4t/feature_extraction_seamless_m4t.py, which follows
# Kaldi's fbank.
_WINDOW, _HOP, _FFT = 400, 160, 512
_LOWEST_HZ = 20.0
_PREEMPHASIS = 0.97
_LEAST_ENERGY = 1.192092955078125e-07
_SCALE = 2.0**15  # samples as 16-bit integers
_LEAST_VARIANCE = 1e-7
# The kind of position embeddings that is a table of distances, and how far it goes at least.
_TABLE, _WINDOW_FRAMES = "relative", round(WINDOW_S * SAMPLE_RATE) // _HOP


class W2vBertEncoding(Encoding):
    """A unit is an output frame: as many mel frames as are stacked."""

    stride = 1
    constants = MappingProxyType({"masked_spec_embed": "stands under masks, in training only"})

    def __init__(self, config: Mapping[str, Any], dropouts: Sequence[str]):
        from transformers.audio_utils import mel_filter_bank, window_function

        super().__init__(config, dropouts)
        # In float64, because transformers computes with it.
        self._window = torch.from_numpy(window_function(_WINDOW, "povey", periodic=False)).double()
        self._mel = torch.from_numpy(
            mel_filter_bank(
                num_frequency_bins=_FFT // 2 + 1,
                num_mel_filters=config["num_mel_bins"],
                min_frequency=_LOWEST_HZ,
                max_frequency=SAMPLE_RATE // 2,
                sampling_rate=SAMPLE_RATE,
                norm=None,
                mel_scale="kaldi",
                triangularize_in_mel_space=True,
            )
        ).double()
        self._spectrum = spectra.kernel(self._frame(), _FFT)
        if config["position_embeddings_type"] == _TABLE:
            self.longest_s = WINDOW_S

    def _frame(self) -> Tensor:
        """(n, n) what is done to the samples of a frame."""
        whole = torch.eye(_WINDOW, dtype=torch.float64)
        before = torch.cat([whole[:1], whole[:-1]])
        centred = whole - 1.0 / _WINDOW
        return _SCALE * torch.diag(self._window) @ (whole - _PREEMPHASIS * before) @ centred

    def make(self, dropout: float | None) -> nn.Module:
        """Of transformers."""
        from transformers import Wav2Vec2BertConfig, Wav2Vec2BertModel

        given = {
            key: value
            for key, value in self.config.items()
            if key not in ("architecture", "num_mel_bins", "stride")
        }
        if given["position_embeddings_type"] == NO_POSITIONS:
            given["position_embeddings_type"] = None
        # A graph cannot make its table longer, as transformers does, which hears in windows here.
        given["max_source_positions"] = max(given["max_source_positions"], _WINDOW_FRAMES)
        if dropout is not None:
            given |= dict.fromkeys(self.dropouts, dropout)
        # See RawAudioEncoding.make: no layer is left out, and there is a vector under masks.
        return Wav2Vec2BertModel(Wav2Vec2BertConfig(**given, layerdrop=0.0, mask_time_prob=0.05))

    def stand_ins(self, encoder: nn.Module) -> dict[str, Tensor]:
        """The vector under masks is learned anew where a donor has none."""
        vector: Any = encoder.masked_spec_embed
        return {"masked_spec_embed": torch.zeros_like(vector.detach())}

    def blocks(self, encoder: nn.Module) -> list[nn.Module]:
        """No convolutions are in front of the layers: the first block is the projection of the
        features."""
        inside: Any = encoder
        return [inside.feature_projection, *inside.encoder.layers]

    def frames(self, samples: Tensor) -> Tensor:
        """Whole stacks of mel frames; what is left over is in the statistics only."""
        return self._mel_frames(samples) // self.config["stride"]

    def _mel_frames(self, samples: Tensor) -> Tensor:
        counted = torch.div(samples - _WINDOW, _HOP, rounding_mode="floor") + 1
        return counted.clamp(min=0)

    def inputs(self, audio: Tensor, audio_len: Tensor) -> tuple[Tensor, Tensor]:
        """(B, N, `stride` * mel bins), those of transformers' SeamlessM4TFeatureExtractor."""
        each = [
            self._features(row[:length])
            for row, length in zip(audio, audio_len.tolist(), strict=True)
        ]
        return nn.utils.rnn.pad_sequence(each, batch_first=True), self.frames(audio_len)

    @torch.no_grad()
    def _features(self, samples: Tensor) -> Tensor:
        """(N, `stride` * mel bins) of one utterance: log energies, each bin with mean 0 and
        variance 1 over the utterance, neighbouring frames side by side."""
        stride, bins = self.config["stride"], self.config["num_mel_bins"]
        if len(samples) < _WINDOW + (stride - 1) * _HOP:
            return samples.new_zeros(0, stride * bins)
        frames = samples.double().unfold(0, _WINDOW, _HOP) * _SCALE
        frames = frames - frames.mean(1, keepdim=True)
        before = torch.cat([frames[:, :1], frames[:, :-1]], dim=1)
        frames = (frames - _PREEMPHASIS * before) * self._window.to(frames.device)
        power = torch.fft.rfft(frames, n=_FFT).abs().square()
        energies = (power @ self._mel.to(power.device)).clamp(min=_LEAST_ENERGY).log()
        # With ddof 1; one frame has no variance, and transformers has NaN there.
        variance = (
            energies.var(0, keepdim=True) if len(energies) > 1 else torch.zeros_like(energies)
        )
        normal = (energies - energies.mean(0)) * torch.rsqrt(variance + _LEAST_VARIANCE)
        whole = len(normal) // stride
        return normal[: whole * stride].reshape(whole, stride * bins).to(samples.dtype)

    def states(
        self,
        encoder: nn.Module,
        inputs: Tensor,
        lengths: Tensor,
        masks: SpecAugment | None = None,
    ) -> tuple[Tensor, Tensor]:
        """Masks over time cover frames with the encoder's own vector, as in its pretraining; it
        knows none over mel bins."""
        if torch.jit.is_tracing():  # pyright: ignore[reportPrivateImportUsage]
            # A graph is not asked whether its example is too short.
            inputs = nn.functional.pad(inputs, (0, 0, 0, 1))[:, : lengths.max().clamp(min=1)]
        elif not inputs.shape[1]:
            inputs = nn.functional.pad(inputs, (0, 0, 0, 1))
        inside_it: Any = encoder
        hidden, _ = inside_it.feature_projection(inputs)
        if masks is not None:
            under = under_time_masks(lengths, hidden.shape[1], masks)
            vector = inside_it.masked_spec_embed.to(hidden.dtype)
            hidden = torch.where(under[..., None], vector, hidden)
        inside = torch.arange(hidden.shape[1], device=hidden.device) < lengths.clamp(min=1)[:, None]
        return inside_it.encoder(hidden, attention_mask=inside)[0], lengths

    def hears_scaled(self) -> bool:
        """Of a scale and a mean of the samples nothing is left in the features but at their
        floor."""
        return True

    def in_graph(self, samples: Tensor, scaled: bool) -> tuple[Tensor, Tensor]:
        """sherpa-onnx divides by sqrt(v + a), v the variance of the waveform and a = 1e-5. What it
        gives has the mean square r = v / (v + a), so the energies get v + a = a / (1 - r) back
        before their floor is looked at, which matters in digital silence only. sherpa-onnx computes
        in float32: 1 - r is then good to about 10 % at v = 0.1 (-10 dB), and the logarithm of an
        energy to 0.1, of a floor at -16."""
        stride, bins = self.config["stride"], self.config["num_mel_bins"]
        count = samples_of(samples)
        least = _WINDOW + (stride - 1) * _HOP
        heard = nn.functional.pad(samples, (0, least))[:, : count[0].clamp(min=least)]
        power = spectra.power(heard, self._spectrum, _HOP)
        if scaled:
            lost = (1 - samples.double().square().mean()).clamp(min=1e-6)
            power = power * (SHERPA_LEAST_VARIANCE / lost).float()
        energies = (self._mel.T.float() @ power).clamp(min=_LEAST_ENERGY).log()[0]
        whole = self.frames(count).clamp(min=1)
        centred = energies - energies.mean(1, keepdim=True)
        others = (self._mel_frames(count) - 1).clamp(min=1)
        variance = centred.square().sum(1, keepdim=True) / others
        normal = (centred * torch.rsqrt(variance + _LEAST_VARIANCE)).T[: whole[0] * stride]
        return normal.reshape(1, -1, stride * bins), whole
