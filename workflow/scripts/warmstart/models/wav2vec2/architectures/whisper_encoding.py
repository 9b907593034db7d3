"""The encoder of Whisper, at the length of an utterance in place of a window of 30 s.

Whisper was trained on windows of 30 s, padded with silence. Here the spectrogram is that of the
padded window, the convolutions hear two frames of its silence, and the rest of it is left out:
positions are those of the utterance, and attention is masked to it. Up to the first attention the
states are those of the padded window, and of an utterance of 30 s they are to the end.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from warmstart.models.recipe import SpecAugment
from warmstart.models.wav2vec2.architectures import spectra
from warmstart.models.wav2vec2.architectures.base import SAMPLE_RATE, Encoding, samples_of
from warmstart.models.wav2vec2.architectures.masks import under_mel_masks, under_time_masks
from warmstart.models.wav2vec2.windows import EDGE_S, windows

_FFT, _HOP = 400, 160
_POSITIONS = 1500
_WINDOW = 30 * SAMPLE_RATE
# Of log-mel energies, in powers of ten: the least, and how far below the loudest any may be
# (WhisperFeatureExtractor).
_FLOOR, _RANGE = 1e-10, 8.0


class WhisperEncoding(Encoding):
    """A unit is a frame of the spectrogram, 10 ms."""

    stride = 2
    tail = 2
    longest_s = 30.0

    def __init__(self, config: Mapping[str, Any], dropouts: Sequence[str]):
        super().__init__(config, dropouts)
        from transformers import WhisperFeatureExtractor

        filters = WhisperFeatureExtractor(feature_size=config["num_mel_bins"]).mel_filters
        self._filters = torch.from_numpy(filters).float().T
        window = torch.hann_window(_FFT, dtype=torch.float64)
        self._spectrum = spectra.kernel(torch.diag(window), _FFT)

    def make(self, dropout: float | None) -> nn.Module:
        """Of transformers; its table of positions is no weight that learns there, nor here."""
        from transformers import WhisperConfig
        from transformers.models.whisper.modeling_whisper import WhisperEncoder

        given = {key: value for key, value in self.config.items() if key != "architecture"}
        if dropout is not None:
            given |= dict.fromkeys(self.dropouts, dropout)
        return WhisperEncoder(WhisperConfig(**given, encoder_layerdrop=0.0))

    def blocks(self, encoder: nn.Module) -> list[nn.Module]:
        """The two convolutions, then the layers."""
        inside: Any = encoder
        return [nn.ModuleList([inside.conv1, inside.conv2]), *inside.layers]

    def frames(self, samples: Tensor) -> Tensor:
        """A frame for each begun 20 ms."""
        return _halved(_mel_frames(samples))

    @torch.no_grad()
    def inputs(self, audio: Tensor, audio_len: Tensor) -> tuple[Tensor, Tensor]:
        """(B, N + 2, bins) log-mel energies as WhisperFeatureExtractor gives them.

        It pads what is shorter than 30 s with zeros, and mirrors what stands at the end.
        """
        lengths = _mel_frames(audio_len)
        frames = int(lengths.max()) + self.tail
        samples = nn.functional.pad(
            audio.float(), (0, max(0, (frames - 1) * _HOP + _FFT // 2 - audio.shape[1]))
        )
        for row, end in enumerate(audio_len.clamp(min=_WINDOW).tolist()):
            if (room := samples.shape[1] - end) > 0:
                mirrored = samples[row, end - 1 - _FFT // 2 : end - 1].flip(0)
                samples[row, end : end + _FFT // 2] = mirrored[:room]
        before = samples[:, 1 : _FFT // 2 + 1].flip(1)
        # In single precision: half of it has too few digits for powers of ten.
        with torch.autocast(audio.device.type, enabled=False):
            spectrum = torch.stft(
                torch.cat([before, samples], 1),
                _FFT,
                _HOP,
                window=torch.hann_window(_FFT, device=audio.device),
                center=False,
                return_complex=True,
            )
            power = (spectrum[..., :frames].abs() ** 2).contiguous()
            # As many columns as WhisperFeatureExtractor has, because a product of few rounds in
            # another order.
            power = nn.functional.pad(power, (0, max(0, _WINDOW // _HOP - frames)))
            energies = (self._filters.to(audio.device) @ power)[..., :frames]
            energies = energies.clamp(min=_FLOOR).log10()
        # The loudest frame is looked for where WhisperFeatureExtractor has one.
        counted = audio_len.clamp(min=_WINDOW) // _HOP
        heard = torch.arange(energies.shape[2], device=audio.device) < counted[:, None]
        loudest = energies.masked_fill(~heard[:, None], float("-inf")).amax((1, 2), keepdim=True)
        energies = torch.maximum(energies, loudest - _RANGE)
        return ((energies + 4.0) / 4.0).transpose(1, 2), lengths

    def states(
        self,
        encoder: nn.Module,
        inputs: Tensor,
        lengths: Tensor,
        masks: SpecAugment | None = None,
        front: Tensor | None = None,
    ) -> tuple[Tensor, Tensor]:
        """What is longer than 30 s is heard in windows, to learn from it as to decode it. Masks are
        drawn over time and mel bins, and hold 0, as transformers' own for Whisper do.

        (B, L, D) `front` stands in front of what the layers hear, of utterances of up to 30 s: L
        more states come out, in front of the others.
        """
        if masks is not None:
            inputs = self.under_masks(inputs, lengths, masks)
        tracing = torch.jit.is_tracing()  # pyright: ignore[reportPrivateImportUsage]
        if not tracing and int(lengths.max()) > _POSITIONS * self.stride:
            return self._in_windows(encoder, inputs, lengths)
        inside_it: Any = encoder
        frames = _halved(lengths)
        there: Any = frames.max().clamp(min=1)
        if tracing:
            # A graph is not asked whether its example is too short.
            inputs = nn.functional.pad(inputs, (0, 0, 0, self.stride))
        else:
            there = int(there)
        heard = inputs[:, : _POSITIONS * self.stride].transpose(1, 2)
        hidden = nn.functional.gelu(inside_it.conv1(heard))
        hidden = nn.functional.gelu(inside_it.conv2(hidden)).transpose(1, 2)[:, :there]
        hidden = hidden + inside_it.embed_positions.weight[: hidden.shape[1]]
        hidden = nn.functional.dropout(hidden, p=inside_it.dropout, training=encoder.training)
        behind = torch.arange(there, device=hidden.device) >= frames.clamp(min=1)[:, None]
        if front is not None:
            hidden = torch.cat([front.to(hidden.dtype), hidden], 1)
            behind = nn.functional.pad(behind, (front.shape[1], 0))
            there = hidden.shape[1]
        mask = None
        if tracing or bool(behind.any()):
            lowest = torch.finfo(hidden.dtype).min
            mask = torch.zeros_like(behind, dtype=hidden.dtype).masked_fill(behind, lowest)
            mask = mask[:, None, None].expand(-1, 1, there, -1)
        for layer in inside_it.layers:
            hidden = layer(hidden, mask)
        return inside_it.layer_norm(hidden), frames

    def in_graph(self, samples: Tensor, scaled: bool) -> tuple[Tensor, Tensor]:
        """Of up to 30 s, which is all that a graph hears: the padded window is cut to what `inputs`
        computes of it."""
        count = samples_of(samples).clamp(max=_WINDOW)
        lengths = _mel_frames(count)
        window = nn.functional.pad(samples, (0, _WINDOW))[:, :_WINDOW]
        before = window[:, 1 : _FFT // 2 + 1].flip(1)
        behind = window[:, -1 - _FFT // 2 : -1].flip(1)
        frames = (lengths[0] + self.tail).clamp(max=_WINDOW // _HOP)
        heard = torch.cat([before, window, behind], 1)[:, : (frames - 1) * _HOP + _FFT]
        energies = self._filters @ spectra.power(heard, self._spectrum, _HOP)
        energies = energies.clamp(min=_FLOOR).log10()
        energies = torch.maximum(energies, energies.amax((1, 2), keepdim=True) - _RANGE)
        return ((energies + 4.0) / 4.0).transpose(1, 2), lengths

    def under_masks(self, inputs: Tensor, lengths: Tensor, masks: SpecAugment) -> Tensor:
        """(B, N, bins) under masks that are drawn over (B,) frames and over mel bins."""
        under = under_time_masks(lengths, inputs.shape[1], masks)[..., None]
        under = under | under_mel_masks(len(inputs), inputs.shape[2], masks)[:, None].to(
            inputs.device
        )
        return inputs.masked_fill(under, 0.0)

    def _in_windows(
        self, encoder: nn.Module, inputs: Tensor, lengths: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Each utterance from its windows, one utterance after the other."""
        edge = round(EDGE_S * SAMPLE_RATE) // (_HOP * self.stride)
        rows = []
        for row, count in zip(inputs, lengths.tolist(), strict=True):
            taken = []
            for window in windows(count, _POSITIONS, edge, self.stride):
                end = window.end + (self.tail if window.last is None else 0)
                length = lengths.new_tensor([window.end - window.start])
                states, _ = self.states(encoder, row[None, window.start : end], length)
                taken.append(states[0, window.first : window.last])
            rows.append(torch.cat(taken))
        return nn.utils.rnn.pad_sequence(rows, batch_first=True), _halved(lengths)


def _mel_frames(samples: Tensor) -> Tensor:
    return torch.div(samples + _HOP - 1, _HOP, rounding_mode="floor")


def _halved(frames: Tensor) -> Tensor:
    """Of a convolution of stride 2, width 3, padded by one on each side."""
    return torch.div(frames + 1, 2, rounding_mode="floor")
