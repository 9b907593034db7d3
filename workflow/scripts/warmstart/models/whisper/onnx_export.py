"""A Whisper as the two ONNX graphs that sherpa-onnx's offline Whisper recogniser drives.

- encoder: `mel` (1, bins, T) to keys and values of the encoder's states in every layer of the
  decoder, (L, 1, F, D) each.
- decoder: `tokens` (1, U) behind `offset` earlier ones, and caches of keys and values (L, 1, C, D)
  of C positions, to `logits` (1, U, V) and the caches with the new ones in them.

What sherpa-onnx does otherwise than the study is undone in the graphs. It fills a window with zeros
in place of silence, and 10 s of it: the encoder writes silence there, up to the window in which the
model hears an utterance. It suppresses no token: the decoder does.

Source of the names and shapes: k2-fsa/sherpa-onnx, scripts/whisper/export-onnx.py and
sherpa-onnx/csrc/offline-whisper-model.cc; of what is fed: offline-recognizer-whisper-impl.h.
"""

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from warmstart.models.onnx_trace import traced
from warmstart.models.whisper import settings
from warmstart.models.whisper.network import Network

if TYPE_CHECKING:
    import onnx


_FRAMES_A_SECOND = 100
_WINDOW = round(settings.WINDOW_S * _FRAMES_A_SECOND)
# Of features, (log10 of an energy + 4) / 4: 8 powers of ten below the loudest, and 1e-10
# (WhisperFeatureExtractor).
_RANGE, _FLOOR = 2.0, -1.5
_NEVER = -1e30

CROSS = ["n_layer_cross_k", "n_layer_cross_v"]
CACHES = ["n_layer_self_k_cache", "n_layer_self_v_cache"]


def export_encoder(network: Network) -> "onnx.ModelProto":
    """Of a network on the CPU, in eval mode."""
    bins = network.said.config["num_mel_bins"]
    dynamic = {"mel": {0: "n_audio", 2: "frames"}, **{name: {2: "states"} for name in CROSS}}
    example = (torch.randn(1, bins, 500),)
    return _traced(_Encoder(network), network, example, ["mel"], CROSS, dynamic)


def export_decoder(network: Network) -> "onnx.ModelProto":
    """Of a network on the CPU, in eval mode."""
    config = network.said.config
    layers, width, places = config["decoder_layers"], config["d_model"], network.positions
    cache, cross = torch.zeros(layers, 1, places, width), torch.randn(layers, 1, 50, width)
    tokens = torch.full((1, 3), network.tokens.start)
    example = (tokens, cache, cache.clone(), cross, cross.clone(), torch.tensor([2]))
    dynamic = {
        "tokens": {1: "n_tokens"},
        **{name: {2: "states"} for name in CROSS},
        "logits": {1: "n_tokens"},
    }
    inputs = ["tokens", *(f"in_{name}" for name in CACHES), *CROSS, "offset"]
    outputs = ["logits", *(f"out_{name}" for name in CACHES)]
    return _traced(_Decoder(network), network, example, inputs, outputs, dynamic)


class _Encoder(nn.Module):
    def __init__(self, network: Network):
        super().__init__()
        self.network = network
        self.short = round(network.said.window_s * _FRAMES_A_SECOND)
        # Of what is a little longer in front and behind, see `export.whisper`.
        self.most = min(self.short + 4, _WINDOW)

    def forward(self, mel: Tensor) -> tuple[Tensor, Tensor]:
        features = mel.transpose(1, 2)
        heard = (features != 0).any(2)
        frames = (heard.long() * torch.arange(1, features.shape[1] + 1)).max()
        loudest = torch.where(heard[..., None], features, -torch.inf).amax((1, 2), keepdim=True)
        silence = (loudest - _RANGE).clamp(min=_FLOOR)
        window = torch.where(frames <= self.most, self.short, _WINDOW)
        behind = silence.expand(-1, _WINDOW + 2, features.shape[2])
        features = torch.cat([torch.where(heard[..., None], features, silence), behind], 1)
        whisper = self.network.whisper.model
        states, _ = self.network.encoding.states(
            whisper.encoder, features[:, : window + 2], window[None]
        )
        layers: Any = whisper.decoder.layers
        keys = [layer.encoder_attn.k_proj(states) for layer in layers]
        values = [layer.encoder_attn.v_proj(states) for layer in layers]
        return torch.stack(keys), torch.stack(values)


class _Decoder(nn.Module):
    def __init__(self, network: Network):
        super().__init__()
        self.network = network
        config = network.said.config
        self.heads = config["decoder_attention_heads"]
        self.always, self.first = (
            torch.zeros(config["vocab_size"]).index_fill(
                0, torch.tensor(config[name], dtype=torch.long), _NEVER
            )
            for name in ("suppress_tokens", "begin_suppress_tokens")
        )

    def forward(
        self,
        tokens: Tensor,
        self_k: Tensor,
        self_v: Tensor,
        cross_k: Tensor,
        cross_v: Tensor,
        offset: Tensor,
    ) -> tuple[Tensor, Tensor, Tensor]:
        decoder: Any = self.network.whisper.model.decoder
        before, end = offset[0], offset[0] + tokens.shape[1]
        hidden = decoder.embed_tokens(tokens) + decoder.embed_positions.weight[before:end]
        place = torch.arange(tokens.shape[1]) + before
        behind = torch.arange(self_k.shape[2])[None, :end] > place[:, None]
        mask = torch.zeros_like(behind, dtype=hidden.dtype).masked_fill(behind, _NEVER)
        keys, values = [], []
        for number, layer in enumerate(decoder.layers):
            heard = layer.self_attn_layer_norm(hidden)
            own = []
            for projection, cache, kept in (
                (layer.self_attn.k_proj, self_k[number], keys),
                (layer.self_attn.v_proj, self_v[number], values),
            ):
                now = torch.cat([cache[:, :before], projection(heard)], 1)
                kept.append(torch.cat([now, cache[:, end:]], 1))
                own.append(now)
            hidden = hidden + self._attend(layer.self_attn, heard, own[0], own[1], mask)
            heard = layer.encoder_attn_layer_norm(hidden)
            keys_there, values_there = cross_k[number], cross_v[number]
            attended = self._attend(layer.encoder_attn, heard, keys_there, values_there, None)
            hidden = hidden + attended
            heard = layer.activation_fn(layer.fc1(layer.final_layer_norm(hidden)))
            hidden = hidden + layer.fc2(heard)
        logits = self.network.whisper.proj_out(decoder.layer_norm(hidden)).float() + self.always
        logits = logits + self.first * (before == 0)
        return logits, torch.stack(keys), torch.stack(values)

    def _attend(
        self, attention: Any, heard: Tensor, keys: Tensor, values: Tensor, mask: Tensor | None
    ) -> Tensor:
        width = heard.shape[2]

        def split(x: Tensor) -> Tensor:
            return x.reshape(1, -1, self.heads, width // self.heads).transpose(1, 2)

        queries = split(attention.q_proj(heard) * (width // self.heads) ** -0.5)
        weights = queries @ split(keys).transpose(2, 3)
        if mask is not None:
            weights = weights + mask
        attended = weights.softmax(-1) @ split(values)
        return attention.out_proj(attended.transpose(1, 2).reshape(1, -1, width))


def _traced(
    module: nn.Module,
    network: Network,
    example: tuple[Tensor, ...],
    inputs: list[str],
    outputs: list[str],
    dynamic: dict[str, Any],
) -> "onnx.ModelProto":
    linears = {
        name: part for name, part in network.whisper.named_modules() if isinstance(part, nn.Linear)
    }
    return traced(module, linears, example, inputs, outputs, dynamic)
