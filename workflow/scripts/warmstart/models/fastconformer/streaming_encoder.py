"""Streaming steps of a cache-aware FastConformer encoder that compute nothing twice; for PyTorch
and for the ONNX export.

NeMo's `cache_aware_stream_step` caches the inputs of the attention and projects all of them to keys
and values again at every step, and projects the positional table in every layer at every step: at
[70, 6] that is nine tenths of the frames that go through these matrices. Here keys and values are
cached, and the projected table is a constant of the tier. Same weights, same function; the tests
hold it against NeMo's full forward with the tier's mask.

A step takes one chunk, as a live stream does, or several at once under the mask that keeps them
apart: matrices that see seven frames take nearly as long as with fifty.
"""

import math
from typing import Any

import torch
from torch import Tensor

from warmstart.models.pointwise import as_linear
from warmstart.run.errors import UserError

# What `EncoderSteps` reproduces. Anything else in these settings would compute something else
# without an error.
_NEEDED = {
    "self_attention_model": "rel_pos",
    "att_context_style": "chunked_limited",
    "reduction_position": None,
    "out_proj": None,
}


class EncoderSteps:
    """Streaming steps of a NeMo `ConformerEncoder`, with its own modules and the context that is
    set.

    Caches are (keys, values, convolution) of every layer and the count of past frames that are in
    them: keys and values (B, heads, left, D / heads), convolution (B, D, kernel - 1), counts (B,).

    Args:
        encoder: in eval mode; its weights are used where they are, except for the projected
            positions, which are computed here: make another one after changing the context.
        most_frames: encoder frames that a step may have; right + 1 or more.

    Raises:
        UserError: the encoder is of another kind.
    """

    def __init__(self, encoder: Any, most_frames: int = 0):
        for name, value in _NEEDED.items():
            if (found := getattr(encoder, name, None)) != value:
                raise UserError(f"the encoder's {name} is {found!r}; streaming needs {value!r}")
        self._encoder = encoder
        self._left, self._right = encoder.att_context_size
        self._most = max(most_frames, self._right + 1)
        with torch.no_grad():
            self._positions = [
                self._projected_positions(layer.self_attn) for layer in encoder.layers
            ]
            self._pointwise = [
                (as_linear(layer.conv.pointwise_conv1), as_linear(layer.conv.pointwise_conv2))
                for layer in encoder.layers
            ]

    def _projected_positions(self, attention: Any) -> Tensor:
        """(heads, D / heads, left + 2 most); position p lies left + most - 1 - p frames in the
        past."""
        table = self._encoder.pos_enc.pe
        centre = table.shape[1] // 2
        distances = table[0, centre - (self._left + self._most - 1) : centre + self._most + 1]
        return (
            attention.linear_pos(distances)
            .view(-1, attention.h, attention.d_k)
            .permute(1, 2, 0)
            .contiguous()
        )

    @property
    def linears(self) -> dict[str, torch.nn.Linear]:
        """Every matrix that a step multiplies with, by the name of its module in the encoder;
        pointwise convolutions too."""
        found = {
            name: module
            for name, module in self._encoder.named_modules()
            if isinstance(module, torch.nn.Linear)
        }
        for number, pair in enumerate(self._pointwise):
            found |= {
                f"layers.{number}.conv.pointwise_conv{place}": linear
                for place, linear in enumerate(pair, 1)
            }
        return found

    def start(self, batch: int) -> Any:
        """Empty caches for `batch` utterances."""
        weight = self._encoder.layers[0].self_attn.linear_k.weight
        caches = []
        for layer in self._encoder.layers:
            attention, convolution = layer.self_attn, layer.conv.depthwise_conv
            keys = weight.new_zeros(batch, attention.h, self._left, attention.d_k)
            past = weight.new_zeros(batch, convolution.in_channels, convolution.kernel_size[0] - 1)
            caches.append((keys, keys, past))
        return caches, torch.zeros(batch, dtype=torch.int64, device=weight.device)

    def narrow(self, caches: Any, batch: int) -> Any:
        """Keep the first `batch` utterances."""
        layers, filled = caches
        return [tuple(part[:batch] for part in layer) for layer in layers], filled[:batch]

    def step(
        self, features: Tensor, lengths: Tensor, dropped: int, caches: Any
    ) -> tuple[Tensor, Tensor, Any]:
        """Encode one chunk or several.

        Args:
            features: (B, F, T) of whole chunks, those that were seen before in front.
            lengths: (B,) feature frames.
            dropped: encoder frames in front that were given before.
            caches: of `start` or of the step before.

        Returns:
            (B, frames, D) encoder frames, (B,) how many of them count, next caches.
        """
        x, encoded_lengths = self._encoder.pre_encode(x=features.transpose(1, 2), lengths=lengths)
        x = x[:, dropped:]
        return self.encode(x, encoded_lengths.to(torch.int64) - dropped, x.shape[1], caches)

    def encode(
        self, x: Tensor, lengths: Tensor, frames: int, caches: Any
    ) -> tuple[Tensor, Tensor, Any]:
        """`step` behind the subsampling: x (B, frames, D), of which `lengths` (B,) count."""
        layers, filled = caches
        if self._encoder.xscale:
            x = x * self._encoder.xscale
        mask = self._mask(lengths, filled, frames, x.dtype)
        following = []
        for layer, positions, pointwise, cache in zip(
            self._encoder.layers, self._positions, self._pointwise, layers, strict=True
        ):
            x, cache = self._layer(layer, x, frames, positions, pointwise, mask, cache)
            following.append(cache)
        return x, lengths, (following, (filled + frames).clamp(max=self._left))

    def _mask(self, lengths: Tensor, filled: Tensor, frames: int, dtype: torch.dtype) -> Tensor:
        """(B, 1, frames, left + frames), to be added to scores: a large negative number where a
        frame must not look.

        Finite, because frames behind the end of an utterance may find nothing to look at, and NaN
        would spread from there.
        """
        index = torch.arange(-self._left, frames, device=lengths.device)
        chunk = torch.div(index, self._right + 1, rounding_mode="floor")
        apart = chunk[self._left :, None] - chunk
        outside = (apart < 0) | (apart > self._left // (self._right + 1))
        # A last chunk may be shorter than its batch's; caches are empty in front at first.
        absent = (index < -filled[:, None]) | (index >= lengths[:, None])
        hidden = outside | absent[:, None]
        return hidden[:, None].to(dtype) * torch.finfo(dtype).min

    def _layer(
        self,
        layer,
        x: Tensor,
        frames: int,
        positions: Tensor,
        pointwise: tuple,
        mask: Tensor,
        cache: tuple,
    ) -> tuple[Tensor, tuple]:
        """A Conformer layer (nemo/collections/asr/parts/submodules/conformer_modules.py,
        `ConformerLayer.forward`)."""
        keys, values, past = cache
        x = torch.add(x, layer.feed_forward1(layer.norm_feed_forward1(x)), alpha=layer.fc_factor)
        attended, keys, values = self._attend(
            layer.self_attn, layer.norm_self_att(x), frames, positions, mask, keys, values
        )
        x = _adapt(layer, x + attended, "mha")
        convolved, past = _convolve(layer.conv, layer.norm_conv(x), frames, pointwise, past)
        x = x + convolved
        x = torch.add(x, layer.feed_forward2(layer.norm_feed_forward2(x)), alpha=layer.fc_factor)
        return _adapt(layer, layer.norm_out(x), "post"), (keys, values, past)

    def _attend(
        self,
        attention,
        x: Tensor,
        frames: int,
        positions: Tensor,
        mask: Tensor,
        keys: Tensor,
        values: Tensor,
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Attention with relative positions over cached and new keys.

        Source: Transformer-XL, arXiv 1901.02860, section 3.3: score = ((q + u) k + (q + v) p) /
        sqrt(d).

        Returns:
            (B, frames, D), and keys and values for the next step.
        """
        heads, size, seen = attention.h, attention.d_k, self._left + frames

        def split(projected: Tensor) -> Tensor:
            return projected.view(-1, frames, heads, size)

        query = split(attention.linear_q(x)) / math.sqrt(size)
        keys = torch.cat([keys, split(attention.linear_k(x)).transpose(1, 2)], dim=2)
        values = torch.cat([values, split(attention.linear_v(x)).transpose(1, 2)], dim=2)
        by_content = (query + attention.pos_bias_u / math.sqrt(size)).transpose(
            1, 2
        ) @ keys.transpose(2, 3)
        # Heads first, batch and time as one axis: the positions are then read once and not copied
        # for every utterance.
        asking = (query + attention.pos_bias_v / math.sqrt(size)).permute(2, 0, 1, 3)
        width = self._left + 2 * frames
        by_position = (
            asking.reshape(heads, -1, size)
            @ positions[:, :, self._most - frames : self._most + self._left + frames]
        )
        # Frame i and key j are left + i - j apart, which is position frames - 1 - i + j. A row read
        # one short of its width begins one position earlier than the row before: a view, no copy.
        rows = by_position.view(heads, -1, frames * width)[
            :, :, frames - 1 : frames - 1 + frames * (width - 1)
        ]
        by_position = rows.view(heads, -1, frames, width - 1)[:, :, :, :seen].transpose(0, 1)
        weights = torch.softmax(by_content + by_position + mask, dim=-1)
        attended = (weights @ values).transpose(1, 2).reshape(-1, frames, heads * size)
        return attention.linear_out(attended), keys[:, :, frames:], values[:, :, frames:]


def _adapt(layer, x: Tensor, place: str) -> Tensor:
    """Residual adapters of a layer, where it has any (linear ones: they see one frame at a
    time)."""
    if not layer.is_adapter_available():
        return x
    return layer.forward_enabled_adapters(
        {"x": x, "loc": place, "att_mask": None, "pos_emb": None}
    )["x"]


def _convolve(
    convolution, x: Tensor, frames: int, pointwise: tuple, past: Tensor
) -> tuple[Tensor, Tensor]:
    """The convolution module over (B, frames, D), `past` in front. What lies behind an end reaches
    nothing that counts."""
    into, out_of = pointwise
    gated = torch.nn.functional.glu(into(x), dim=-1).transpose(1, 2)
    heard = torch.cat([past, gated], dim=-1)
    depthwise = convolution.depthwise_conv
    # Not called, because it would pad; `past` is in its place.
    x = torch.nn.functional.conv1d(heard, depthwise.weight, depthwise.bias, groups=depthwise.groups)
    if convolution.norm_type == "layer_norm":
        x = convolution.batch_norm(x.transpose(1, 2))
    else:
        x = convolution.batch_norm(x).transpose(1, 2)
    return out_of(convolution.activation(x)), heard[:, :, frames:]
