"""One step of a cache-aware FastConformer encoder that computes nothing twice, in PyTorch.

NeMo's `cache_aware_stream_step` caches the inputs of the attention and projects all of them to keys and values again at every
step, and projects the positional table in every layer at every step: at [70, 6] that is nine tenths of the frames that go
through these matrices. Here keys and values are cached, and the projected table is a constant of the tier. Same weights, same
function; the tests hold it against NeMo's full forward with the tier's mask.
"""

import math
from typing import Any

import torch
from torch import Tensor

from warmstart.errors import UserError

# What `EncoderSteps` reproduces. Anything else in these settings would compute something else without an error.
_NEEDED = {
    "self_attention_model": "rel_pos",
    "att_context_style": "chunked_limited",
    "reduction_position": None,
    "out_proj": None,
}


class EncoderSteps:
    """Streaming steps of a NeMo `ConformerEncoder`, with its own modules and the context that is set.

    Caches are one (keys, values, convolution) a layer and the count of frames that are in them: keys and values
    (B, heads, left, D / heads), convolution (B, D, kernel - 1). All utterances of a batch start together.

    Args:
        encoder: in eval mode; its weights are used where they are, except for the projected positions, which are computed here:
            make another one after changing weights or context.

    Raises:
        UserError: the encoder is of another kind.
    """

    def __init__(self, encoder):
        for name, value in _NEEDED.items():
            if (found := getattr(encoder, name, None)) != value:
                raise UserError(f"the encoder's {name} is {found!r}; streaming needs {value!r}")
        self._encoder = encoder
        self._left, self._right = encoder.att_context_size
        # (heads, D / heads, positions), a layer. Position p of the table lies left + right - p frames in the past; frames of a
        # chunk look back at most left + right and forth at most right.
        count = self._left + 2 * self._right + 1
        with torch.inference_mode():
            table = encoder.pos_enc.pe
            centre = table.shape[1] // 2
            distances = table[0, centre - self._left - self._right : centre + self._right + 1]
            self._positions = []
            for layer in encoder.layers:
                attention = layer.self_attn
                projected = attention.linear_pos(distances).view(count, attention.h, attention.d_k)
                self._positions.append(projected.permute(1, 2, 0).contiguous())

    def start(self, batch: int) -> Any:
        """Empty caches for `batch` utterances."""
        weight = self._encoder.layers[0].self_attn.linear_k.weight
        caches = []
        for layer in self._encoder.layers:
            attention, convolution = layer.self_attn, layer.conv.depthwise_conv
            keys = weight.new_zeros(batch, attention.h, self._left, attention.d_k)
            past = weight.new_zeros(batch, convolution.in_channels, convolution.kernel_size[0] - 1)
            caches.append((keys, keys, past))
        return caches, 0

    def narrow(self, caches: Any, batch: int) -> Any:
        """Keep the first `batch` utterances."""
        layers, filled = caches
        return [tuple(part[:batch] for part in layer) for layer in layers], filled

    def step(self, chunk: Tensor, lengths: Tensor, dropped: int, caches: Any) -> tuple[Tensor, Tensor, Any]:
        """Encode a chunk.

        Args:
            chunk: (B, F, T) features, the frames that were seen before in front.
            lengths: (B,) feature frames.
            dropped: encoder frames in front that were given before.
            caches: of `start` or of the step before.

        Returns:
            (B, right + 1, D) encoder frames, (B,) how many of them count, next caches.
        """
        layers, filled = caches
        x, encoded_lengths = self._encoder.pre_encode(x=chunk.transpose(1, 2), lengths=lengths)
        x, encoded_lengths = x[:, dropped:], encoded_lengths.to(torch.int64) - dropped
        if self._encoder.xscale:
            x = x * self._encoder.xscale
        frames = x.shape[1]
        index = torch.arange(-self._left, frames, device=x.device)
        # A last chunk may be shorter than its batch's; caches are empty in front at first.
        hidden = (index < -filled) | (index >= encoded_lengths[:, None])
        following = []
        for layer, positions, cache in zip(self._encoder.layers, self._positions, layers, strict=True):
            x, cache = self._layer(layer, x, positions, hidden[:, None, None], cache)
            following.append(cache)
        return x, encoded_lengths, (following, min(filled + frames, self._left))

    def _layer(self, layer, x: Tensor, positions: Tensor, hidden: Tensor, cache: tuple) -> tuple[Tensor, tuple]:
        """A Conformer layer (nemo/collections/asr/parts/submodules/conformer_modules.py, `ConformerLayer.forward`)."""
        keys, values, past = cache
        x = torch.add(x, layer.feed_forward1(layer.norm_feed_forward1(x)), alpha=layer.fc_factor)
        attended, keys, values = self._attend(layer.self_attn, layer.norm_self_att(x), positions, hidden, keys, values)
        x = _adapt(layer, x + attended, "mha")
        convolved, past = _convolve(layer.conv, layer.norm_conv(x), past)
        x = x + convolved
        x = torch.add(x, layer.feed_forward2(layer.norm_feed_forward2(x)), alpha=layer.fc_factor)
        return _adapt(layer, layer.norm_out(x), "post"), (keys, values, past)

    def _attend(
        self, attention, x: Tensor, positions: Tensor, hidden: Tensor, keys: Tensor, values: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Attention with relative positions over cached and new keys.

        Source: Transformer-XL, arXiv 1901.02860, section 3.3: score = ((q + u) k + (q + v) p) / sqrt(d).

        Returns:
            (B, T, D), and keys and values for the next step.
        """
        batch, frames, _ = x.shape
        heads, size = attention.h, attention.d_k

        def split(projected: Tensor) -> Tensor:
            return projected.view(batch, frames, heads, size)

        query = split(attention.linear_q(x)) / math.sqrt(size)
        keys = torch.cat([keys, split(attention.linear_k(x)).transpose(1, 2)], dim=2)
        values = torch.cat([values, split(attention.linear_v(x)).transpose(1, 2)], dim=2)
        by_content = (query + attention.pos_bias_u / math.sqrt(size)).transpose(1, 2) @ keys.transpose(2, 3)
        # Heads first, batch and time as one axis: the positions are then read once and not copied for every utterance.
        asking = (query + attention.pos_bias_v / math.sqrt(size)).permute(2, 0, 1, 3)
        by_position = asking.reshape(heads, -1, size) @ positions
        # Frame i and key j are left + i - j apart, which is position j + right - i: a diagonal view, no copy.
        width, seen = positions.shape[2], keys.shape[2]
        shifted = by_position.as_strided(
            (batch, heads, frames, seen), (frames * width, batch * frames * width, width - 1, 1), self._right
        )
        weights = torch.softmax(by_content.add_(shifted).masked_fill_(hidden, -math.inf), dim=-1)
        attended = (weights @ values).transpose(1, 2).reshape(batch, frames, -1)
        return attention.linear_out(attended), keys[:, :, frames:], values[:, :, frames:]


def _adapt(layer, x: Tensor, place: str) -> Tensor:
    """Residual adapters of a layer, where it has any (linear ones: they see one frame at a time)."""
    if not layer.is_adapter_available():
        return x
    return layer.forward_enabled_adapters({"x": x, "loc": place, "att_mask": None, "pos_emb": None})["x"]


def _convolve(convolution, x: Tensor, past: Tensor) -> tuple[Tensor, Tensor]:
    """The convolution module over (B, T, D), `past` in front. What lies behind an end reaches nothing that counts."""
    pointwise1, pointwise2, depthwise = convolution.pointwise_conv1, convolution.pointwise_conv2, convolution.depthwise_conv
    gated = torch.nn.functional.linear(x, pointwise1.weight[:, :, 0], pointwise1.bias)
    gated = torch.nn.functional.glu(gated, dim=-1).transpose(1, 2)
    heard = torch.cat([past, gated], dim=-1)
    x = torch.nn.functional.conv1d(heard, depthwise.weight, depthwise.bias, groups=depthwise.groups)
    if convolution.norm_type == "layer_norm":
        x = convolution.batch_norm(x.transpose(1, 2))
    else:
        x = convolution.batch_norm(x).transpose(1, 2)
    x = torch.nn.functional.linear(convolution.activation(x), pointwise2.weight[:, :, 0], pointwise2.bias)
    return x, heard[:, :, x.shape[1] :]
