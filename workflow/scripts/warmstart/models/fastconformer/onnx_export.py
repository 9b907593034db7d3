"""Streaming encoders as ONNX graphs.

One graph a tier: the window of R + 1 encoder frames and the cache are constants, so the positional
projections of all layers are constants too. The graph is `EncoderSteps`: it caches keys and values,
where NeMo's own export caches the inputs of the attention and projects all of them again at every
chunk. Pointwise convolutions are matrix products there, which is what `MatMulNBits` needs. Inputs
and outputs have the names and the order of NeMo's export; `cache_last_channel` is (B, 2 layers,
heads x left, D / heads), the keys of a layer, then its values. Two forms share their packed
weights:

- native: drops the encoder frames that were given before only when something was; this equals
  NeMo's native chunks and the full forward. For `OnnxEncoder`.
- windows: takes windows of one size, as sherpa-onnx cuts them, and makes native chunks of them. It
  may have a CTC head behind it, and then gives (B, R + 1, V) log-probabilities.
  NeMo's own export drops repeated frames of every window, of the first one too, which loses 160 ms
  and encodes what lies before the audio: no chunk that the model was trained on. Here the surplus
  of the first window is cut off its front, so that 160 ms of anything before the audio give exactly
  the native chunks; and sherpa-onnx's log, floored at 2^-23, becomes NeMo's log(x + 2^-24).
"""

import copy
from typing import TYPE_CHECKING, Any

from warmstart.models.fastconformer.chunks import ChunkShape, set_tier
from warmstart.models.onnx_trace import traced
from warmstart.models.tier import Tier
from warmstart.run.errors import UserError

if TYPE_CHECKING:
    import onnx
    import torch


INPUTS = [
    "audio_signal",
    "length",
    "cache_last_channel",
    "cache_last_time",
    "cache_last_channel_len",
]


OUTPUTS = [
    "outputs",
    "encoded_lengths",
    "cache_last_channel_next",
    "cache_last_time_next",
    "cache_last_channel_next_len",
]


# kaldi-native-fbank floors energies at float32's epsilon, 2^-23, before its logarithm: -15.9424; a
# little above it.
_SHERPA_LOG_FLOOR = -15.942


def _exportable(
    encoder, tier: Tier, native: bool, log_guard: float, head: Any
) -> tuple["torch.nn.Module", dict]:
    """A step as a module of `INPUTS`, and the matrices in it by name."""
    import torch

    from warmstart.models.fastconformer.streaming_encoder import EncoderSteps

    steps = EncoderSteps(encoder)
    shape = ChunkShape.of(encoder)
    attention = encoder.layers[0].self_attn
    layers, heads, size, frames = len(encoder.layers), attention.h, attention.d_k, tier.right + 1
    # Feature frames by which a window is longer than a first chunk, and encoder frames that its
    # repeated ones give again.
    surplus, dropped = shape.again + shape.later - shape.first, 1 + (shape.again - 1) // 8

    # Windows of streams that are not equally far in a batch: the first ones have nothing in front,
    # behind a first chunk of one frame the second ones have one frame, and all later ones two.
    # Every way is computed, and of each stream its own is taken.
    fewer = range(0, dropped, frames)  # than two in front
    convolutions = copy.copy(encoder.pre_encode)  # without its matrix, which then multiplies once
    convolutions._modules = {**encoder.pre_encode._modules, "out": torch.nn.Identity()}

    class Step(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.encoder = encoder
            self.convolutions = convolutions
            self.head = head
            self.linears = torch.nn.ModuleList(
                steps.linears.values()
            )  # what is no part of it becomes no initializer

        def forward(
            self, audio_signal, length, cache_last_channel, cache_last_time, cache_last_channel_len
        ):
            subsampled = self.chunk if native else self.window
            x, lengths = subsampled(
                audio_signal.transpose(1, 2), length, cache_last_channel_len.clamp(max=dropped)
            )
            attended = cache_last_channel.view(-1, 2 * layers, heads, tier.left, size).unbind(1)
            caches = list(
                zip(attended[::2], attended[1::2], cache_last_time.unbind(1), strict=True)
            )
            x, lengths, (caches, filled) = steps.encode(
                x, lengths, frames, (caches, cache_last_channel_len)
            )
            attended = torch.stack(
                [part for keys, values, _ in caches for part in (keys, values)], dim=1
            )
            x = x.transpose(1, 2)
            return (
                x if head is None else self.head(encoder_output=x),
                lengths,
                attended.view(-1, 2 * layers, heads * tier.left, size),
                torch.stack([past for *_, past in caches], dim=1),
                filled,
            )

        def chunk(self, features, length, repeated):
            repeated = repeated.max()  # utterances of a batch are equally far
            x, lengths = self.encoder.pre_encode(x=features, lengths=length)
            return x[:, repeated:], lengths.to(torch.int64) - repeated

        def window(self, features, length, repeated):
            if log_guard:
                guarded = torch.log(torch.exp(features) + log_guard)
                # What lay under the floor is unknown; -15.94 is within NeMo's own range of it,
                # -16.64 to -15.53.
                features = torch.where(features > _SHERPA_LOG_FLOOR, guarded, features)
            x, lengths = self.behind(features, length, dropped)
            for count in fewer:
                found, counts = self.behind(features, length, count)
                its_way = repeated == count
                x, lengths = (
                    torch.where(its_way[:, None, None], found, x),
                    torch.where(its_way, counts, lengths),
                )
            return self.encoder.pre_encode.out(x), lengths

        def behind(self, features, length, repeated):
            before_the_audio = surplus - 8 * repeated
            x, lengths = self.convolutions(
                x=features[:, before_the_audio:], lengths=length - before_the_audio
            )
            return x[:, repeated:], lengths.to(torch.int64) - repeated

    return Step().eval(), steps.linears


def cache_shapes(encoder) -> tuple[tuple[int, int, int], tuple[int, int, int]]:
    """Shapes of `cache_last_channel` and `cache_last_time` for the context that is set, without the
    batch."""
    attention, convolution = encoder.layers[0].self_attn, encoder.layers[0].conv.depthwise_conv
    layers, left = len(encoder.layers), encoder.att_context_size[0]
    return (
        (2 * layers, attention.h * left, attention.d_k),
        (layers, convolution.in_channels, convolution.kernel_size[0] - 1),
    )


def require_exportable(tier: Tier) -> None:
    """Refuse before anything is loaded what `export` cannot do.

    Raises:
        UserError: a left context of less than two frames.
    """
    if not tier.exportable:
        raise UserError(
            f"tier {tier.name} has a left context of {tier.left}; an encoder is exported with one "
            "of 2 frames or more: take"
            " another tier"
        )


def export(
    encoder, tier: Tier, native: bool = True, log_guard: float = 0.0, head: Any = None
) -> "onnx.ModelProto":
    """Export one streaming step of a PyTorch encoder (on the CPU) as a graph with float32 weights
    inside.

    For an offline tier this is a step with the same context; its weights serve the full forward
    (`quantised_weights.load`).

    Args:
        native: the form, see above.
        log_guard: what the features of the model add before the logarithm (0: nothing); for
            windows.
        head: of NeMo (`ConvASRDecoder`), to be put behind the encoder; its weights are no products
            with a matrix, so they stay float32 whatever is done to those.

    Raises:
        UserError: the tier was not trained, or see `require_exportable`.
    """
    import torch

    require_exportable(tier)

    set_tier(encoder, tier)
    shape = ChunkShape.of(encoder)
    window = shape.again + shape.later
    with torch.no_grad():
        step, linears = _exportable(encoder, tier, native, log_guard, head)
        channel, convolution = cache_shapes(encoder)
        example = (
            torch.randn(2, encoder._feat_in, window),
            torch.tensor([window, window - 3]),
            torch.randn(2, *channel),
            torch.randn(2, *convolution),
            torch.tensor([tier.left, tier.left]),
        )
        outputs = OUTPUTS if head is None else ["log_probs", *OUTPUTS[1:]]
        dynamic = {name: {0: "batch"} for name in INPUTS + outputs}
        if native:
            dynamic["audio_signal"][2] = "time"
        return traced(step, linears, example, INPUTS, outputs, dynamic)
