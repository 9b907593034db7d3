"""The chunks of cache-aware streaming, with the tokens of the same-mask full forward.

A chunk of a tier with right context R is R + 1 encoder frames. The encoder is 8-fold causal, so the
first chunk takes 1 + 8 R feature frames and every later one 8 (R + 1), preceded by 9 frames that it
has seen before (the two frames that those 9 give again are dropped behind the subsampling). These
are NeMo's native chunks; its `pad_and_drop_preencoded` shifts the frames and does not equal the
full forward. NeMo's own `CacheAwareStreamingAudioBuffer` does not either: it leaves out a last
chunk of less than 8 feature frames, of which the full forward makes one more encoder frame, and
takes the last feature frame, which the full forward masks, for one of the audio. The chunks are
therefore cut here.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Protocol

from warmstart.models.tier import Tier
from warmstart.run.errors import UserError

if TYPE_CHECKING:
    import torch


_MOST_FRAMES = 256  # of one utterance in a step


def set_tier(encoder, tier: Tier) -> None:
    """Make `tier` the encoder's context.

    Raises:
        UserError: the encoder was not trained with this context, or cannot stream at all.
    """
    if encoder.att_context_style != "chunked_limited":
        raise UserError(
            f"tier {tier.name}: the encoder's att_context_style is {encoder.att_context_style!r}; "
            "tiers need 'chunked_limited'"
        )
    trained = [list(context) for context in encoder.att_context_size_all]
    if tier.context not in trained:
        raise UserError(
            f"tier {tier.name}: context {tier.context} was not trained into this model; its "
            f"contexts: {trained}"
        )
    encoder.set_default_att_context_size(tier.context)


def own_left(encoder, tier: Tier) -> Tier:
    """The tier with the left context that a donor was trained with for its lookahead: latency is
    the right context alone."""
    fits = [
        context for context in map(list, encoder.att_context_size_all) if context[1] == tier.right
    ]
    return replace(tier, left=fits[0][0]) if fits else tier


@dataclass(frozen=True)
class ChunkShape:
    """Sizes of native chunks, in feature frames unless said otherwise."""

    first: int
    later: int
    again: (
        int  # frames in front of a later chunk that were seen before, as far as there are so many
    )
    encoder_frames: int  # a whole chunk's

    @classmethod
    def of(cls, encoder) -> "ChunkShape":
        """Sizes for the context that is set."""
        streaming = encoder.streaming_cfg
        return cls(
            first=streaming.chunk_size[0],
            later=streaming.chunk_size[1],
            again=streaming.pre_encode_cache_size[1],
            encoder_frames=encoder.att_context_size[1] + 1,
        )

    def cut(
        self, features: "torch.Tensor", lengths: "torch.Tensor", step_frames: int = 0
    ) -> Iterator[tuple["torch.Tensor", "torch.Tensor", int]]:
        """Cut a batch into steps of whole chunks; utterances that are over leave from the end.

        Args:
            features: (B, F, T), utterances by falling length.
            lengths: (B,) feature frames.
            step_frames: encoder frames of a step, all utterances together; 0 or too few for more:
                one chunk.

        Yields:
            (n, F, `first`), then (n, F, `again + later`), each with k x `later` more for k further
            chunks, zero behind the end of an utterance; (n,) lengths that count `again`; and the
            number of encoder frames to drop, which were given before. Every one of the n utterances
            has at least one new frame in its step.
        """
        import torch

        counts = lengths.tolist()
        start, one, again = 0, self.first, 0
        while True:
            active = sum(count > start for count in counts)
            if not active:
                return
            wanted = min(step_frames // active, _MOST_FRAMES) // self.encoder_frames
            left_over = -(
                -(counts[0] - start - one) // self.later
            )  # further chunks of the longest utterance
            size = one + self.later * max(0, min(wanted - 1, left_over))
            chunk = features[:active, :, start - again : start + size]
            missing = again + size - chunk.shape[2]
            if missing:
                chunk = torch.nn.functional.pad(chunk, (0, missing))
            # 8-fold causal: 8 k + 1 feature frames give k + 1 encoder frames.
            yield (
                chunk,
                (lengths[:active] - start).clamp(max=size) + again,
                1 + (again - 1) // 8 if again else 0,
            )
            start, one = start + size, self.later
            # After a first chunk of one frame ([L, 0]) there are not yet 9; zeros in their place,
            # as in NeMo, change the encoding.
            again = min(self.again, start)


class Encoder(Protocol):
    """One step of a streaming encoder, whoever computes it."""

    def start(self, batch: int) -> Any:
        """Empty caches for `batch` utterances."""

    def narrow(self, caches: Any, batch: int) -> Any:
        """Keep the first `batch` utterances."""

    def step(
        self, chunk: "torch.Tensor", lengths: "torch.Tensor", dropped: int, caches: Any, /
    ) -> tuple["torch.Tensor", "torch.Tensor", Any]:
        """Encode a step of `ChunkShape.cut`: (B, k (R + 1), D) encoder frames of k chunks, (B,)
        lengths, next caches."""
        ...
