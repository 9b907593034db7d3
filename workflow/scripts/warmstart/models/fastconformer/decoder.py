"""Greedy decoding of waveforms with a cache-aware encoder: batched, chunk by chunk or in one
forward."""

import copy
import re
import time
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from warmstart.models import base, candidates, confidence
from warmstart.models.base import Hypothesis, NotFinite, Timing, Vocabulary
from warmstart.models.fastconformer.chunks import _MOST_FRAMES, ChunkShape, Encoder, set_tier
from warmstart.models.fastconformer.found import FRAME_S, Found, Search
from warmstart.models.fastconformer.onnx_encoder import OnnxEncoder
from warmstart.models.tier import Seconds, Tier

if TYPE_CHECKING:
    import torch


# Encoder frames of a step over its batch, as far as chunks are shorter. On a CPU, 12 layers of 512,
# one utterance at 160 ms: RTFx 22, 26, 30, 30 with 32, 64, 128, 256 frames, and no other batch or
# tier gains beyond 128. The GPU's is not measured.
_STEP_FRAMES = {"cpu": 128, "cuda": 2048}


# Encoder frames (a minute) up to which an offline tier is one forward, whose attention is a matrix
# of all frames by all. A longer utterance goes through the steps of the same context, many chunks
# at a time: they give the same frames, and what they need grows with the length alone.
_FULL_FORWARD_FRAMES = 750


_LANGUAGE_TAG = re.compile(r"<[a-z]{2,3}(-[A-Za-z0-9]{2,4})?>")


class Decoder(base.Decoder):
    """Greedy decode at one tier.

    Args:
        model: from `load_model`.
        tier: must be among the contexts of the model (UserError otherwise).
        encoder: steps through this instead of the model's own encoder, chunk by chunk; not for
            offline tiers.
        step_frames: encoder frames that a step of the model's own encoder computes over its batch;
            0 = chunk by chunk, as a live stream; None = what suits the device.
        search: of encoder frames; None = with the model's predictor and joint.
    """

    def __init__(
        self,
        model: Any,
        tier: Tier,
        encoder: Encoder | None = None,
        step_frames: int | None = None,
        search: Search | None = None,
    ):
        from warmstart.models.fastconformer.streaming_encoder import EncoderSteps
        from warmstart.models.fastconformer.transducer_search import GreedySearch

        set_tier(model.encoder, tier)
        self.model = model
        self.tier = tier
        self.sample_rate = int(model.cfg.preprocessor.sample_rate)
        self.frame_s = FRAME_S
        self.device = next(model.parameters()).device
        self._shape = ChunkShape.of(model.encoder)
        self._step_frames = (
            0
            if encoder
            else _STEP_FRAMES.get(self.device.type, 0)
            if step_frames is None
            else step_frames
        )
        if encoder is None and not tier.offline:
            encoder = EncoderSteps(model.encoder, min(self._step_frames, _MOST_FRAMES))
        self._encoder = encoder  # None for offline tiers: the model's own forward
        self._long: Encoder | None = None  # of an offline tier, for long utterances
        self._search: Search = search or GreedySearch(model)

    def chunk_by_chunk(self) -> "Decoder":
        """The same decoder, taking one chunk a step."""
        other = copy.copy(self)
        other._step_frames = 0
        return other

    @property
    def vocabulary(self) -> Vocabulary:
        """Of the model's tokenizer; `<unk>`, control symbols and tags of languages are no text."""
        import sentencepiece

        tokenizer = self.model.tokenizer
        pieces = tokenizer.ids_to_tokens(list(range(tokenizer.vocab_size)))
        own = getattr(tokenizer, "tokenizer", None)
        if not isinstance(own, sentencepiece.SentencePieceProcessor):
            return Vocabulary(tuple("" if _is_tag(piece) else piece for piece in pieces))
        return Vocabulary(
            tuple(
                "" if own.is_unknown(token) or own.is_control(token) or _is_tag(piece) else piece
                for token, piece in enumerate(pieces)
            ),
            own.serialized_model_proto(),
        )

    def with_candidates(self, count: int) -> "Decoder":
        """See `base.Decoder`."""
        other = copy.copy(self)
        other._search = copy.copy(self._search)
        other._search.candidates = min(count, self.model.tokenizer.vocab_size)
        return other

    def with_confidence(self) -> "Decoder":
        """See `base.Decoder`: the mean over emissions of a transducer, of the distribution from
        which each token was taken, the blank in it; of CTC over the frames of all tokens."""
        other = copy.copy(self)
        other._search = copy.copy(self._search)
        other._search.confident = True
        return other

    @property
    def engine(self) -> str:
        """What computes the encoder."""
        return "onnxruntime" if isinstance(self._encoder, OnnxEncoder) else "pytorch"

    def decode(
        self, waveforms: Sequence, timing: Timing | None = None, steps_ms: list[float] | None = None
    ) -> list[Hypothesis]:
        """Decode a batch, see `base.Decoder`. Audio shorter than one feature frame (10 ms) gives an
        empty hypothesis.

        Args:
            steps_ms: gets the wall time of every step: encoder, search, and of the features, made
                at once, an equal part.
        """
        found = self.search(waveforms, timing, steps_ms)
        kept = self._search.candidates
        return [
            Hypothesis(
                self.text(one),
                self.pieces(one),
                self.emission_s(one),
                candidates.stacked(one.tokens, one.candidates, kept) if kept else None,
                confidence.mean(one.confidences) if self._search.confident else None,
            )
            for one in found
        ]

    def search(
        self, waveforms: Sequence, timing: Timing | None = None, steps_ms: list[float] | None = None
    ) -> list[Found]:
        """The tokens of `decode`, and at which encoder frames they came."""
        import torch

        timing = timing if timing is not None else Timing()
        if self.tier.offline and (long := self._long_ones(waveforms)):
            return self._apart(waveforms, long, timing, steps_ms)
        order = sorted(range(len(waveforms)), key=lambda index: -len(waveforms[index]))
        hypotheses = [Found() for _ in waveforms]
        by_length, state, took_ms = [hypotheses[index] for index in order], None, []
        with torch.inference_mode():
            started = self._now()
            features, lengths = self._features([waveforms[index] for index in order])
            features_s = self._now() - started
            started = step_started = self._now()
            for encoded, counts in self._encoded(features, lengths):
                if (
                    not torch.isfinite(encoded).all()
                    and (bad := _not_finite(encoded, counts)) is not None
                ):
                    raise NotFinite(order[bad])
                state = (
                    self._search.start(len(encoded))
                    if state is None
                    else state.narrow(len(encoded))
                )
                self._search.extend(by_length[: len(encoded)], encoded, counts, state)
                if steps_ms is not None:
                    took_ms.append(1000 * (self._now() - step_started))
                    step_started = self._now()
            timing.encode_decode_s += self._now() - started
        timing.features_s += features_s
        if steps_ms is not None:
            steps_ms += [took + 1000 * features_s / len(took_ms) for took in took_ms]
        return hypotheses

    def _long_ones(self, waveforms: Sequence) -> set[int]:
        """Of a mixed batch, the utterances that are too long for one forward; none of a batch of
        long ones."""
        most = _FULL_FORWARD_FRAMES * self.frame_s * self.sample_rate
        long = {index for index, samples in enumerate(waveforms) if len(samples) > most}
        return long if len(long) < len(waveforms) else set()

    def _apart(
        self, waveforms: Sequence, long: set[int], timing: Timing, steps_ms: list[float] | None
    ) -> list[Found]:
        """Long utterances and the others, each among themselves."""
        found: dict[int, Found] = {}
        for part in (sorted(long), [i for i in range(len(waveforms)) if i not in long]):
            try:
                heard = self.search([waveforms[index] for index in part], timing, steps_ms)
            except NotFinite as error:
                raise NotFinite(part[error.index]) from error
            found |= dict(zip(part, heard, strict=True))
        return [found[index] for index in range(len(waveforms))]

    def logits(self, waveforms: Sequence) -> "list[torch.Tensor]":
        """What the joint makes of every frame before any token: (T, V) a waveform, to compare ways
        of computing the same."""
        import torch

        order = sorted(range(len(waveforms)), key=lambda index: -len(waveforms[index]))
        parts: list[list[torch.Tensor]] = [[] for _ in waveforms]
        with torch.inference_mode():
            for encoded, counts in self._encoded(
                *self._features([waveforms[index] for index in order])
            ):
                for index, rows, count in zip(
                    order, self._search.first_logits(encoded), counts.tolist(), strict=False
                ):
                    parts[index].append(rows[:count])
        return [torch.cat(rows) if rows else torch.zeros(0, 0) for rows in parts]

    def frames(self, waveforms: Sequence) -> Iterator[tuple["torch.Tensor", "torch.Tensor"]]:
        """Encoder frames of a batch by falling length, step by step: (n, T, D) of the n longest
        that are not over, and how many of them count (n,)."""
        yield from self._encoded(*self._features(list(waveforms)))

    def _features(self, waveforms: list) -> tuple["torch.Tensor", "torch.Tensor"]:
        """Log-mel features (B, F, T), zero behind the end, and their lengths (B,).

        One utterance at a time: a batch of long ones would need ten times its size for the spectra.
        """
        import torch

        rows, lengths = [], []
        for samples in waveforms:
            signal = torch.from_numpy(samples)[None].to(self.device)
            features, length = self.model.preprocessor(
                input_signal=signal, length=torch.tensor([signal.shape[1]], device=self.device)
            )
            lengths.append(int(length))
            rows.append(features[0, :, : lengths[-1]].T)
        batch = torch.nn.utils.rnn.pad_sequence(rows, batch_first=True).transpose(1, 2)
        return batch, torch.tensor(lengths, device=self.device)

    def _encoded(
        self, features: "torch.Tensor", lengths: "torch.Tensor"
    ) -> Iterator[tuple["torch.Tensor", "torch.Tensor"]]:
        """Of the n longest utterances, which are not over: encoder frames (n, T, D) and how many of
        them count (n,)."""
        steps, step_frames = self._encoder, self._step_frames
        if self.tier.offline and features.shape[2] > 8 * _FULL_FORWARD_FRAMES:
            from warmstart.models.fastconformer.streaming_encoder import EncoderSteps

            steps = self._long = self._long or EncoderSteps(self.model.encoder, _MOST_FRAMES)
            step_frames = max(_STEP_FRAMES.values())
        elif self.tier.offline:
            if heard := int((lengths > 0).sum()):
                encoded, counts = self.model.encoder(
                    audio_signal=features[:heard], length=lengths[:heard]
                )[:2]
                yield self._prompted(encoded.transpose(1, 2)), counts
            return
        caches, before = None, 0
        assert steps is not None
        for chunk, chunk_lengths, dropped in self._shape.cut(features, lengths, step_frames):
            if caches is None:
                caches = steps.start(len(chunk))
            elif len(chunk) < before:
                caches = steps.narrow(caches, len(chunk))
            before = len(chunk)
            encoded, counts, caches = steps.step(chunk, chunk_lengths, dropped, caches)
            yield self._prompted(encoded), counts

    def _prompted(self, encoded: "torch.Tensor") -> "torch.Tensor":
        """Encoder frames (B, T, D) with the language prompt mixed in, where the model has one
        (frame by frame)."""
        return self.model._apply_prompt_to_encoded(encoded.transpose(1, 2)).transpose(1, 2)

    def _now(self) -> Seconds:
        if self.device.type == "cuda":
            import torch

            torch.cuda.synchronize(self.device)
        return time.perf_counter()

    def emission_s(self, found: Found) -> list[Seconds]:
        """When each token could be shown, in seconds of audio.

        At a streaming tier a frame waits for the last frame of its chunk (or of the utterance); in
        the full forward it is counted at its own position. The difference of the two is the delay
        of a token against a recogniser that need not wait.
        """
        if self.tier.offline:
            return [round(frame * self.frame_s, 2) for frame in found.frames]
        size, last = self.tier.right + 1, found.encoder_frames - 1
        return [
            round(min((frame // size + 1) * size - 1, last) * self.frame_s, 2)
            for frame in found.frames
        ]

    def text(self, found: Found) -> str:
        """Raw text of a found."""
        return without_language_tags(self.model.tokenizer.ids_to_text(found.tokens))

    def pieces(self, found: Found) -> list[str]:
        """SentencePiece pieces of a found."""
        return list(self.model.tokenizer.ids_to_tokens(found.tokens))


def _not_finite(encoded: "torch.Tensor", counts: "torch.Tensor") -> int | None:
    """The first utterance of (n, T, D) frames with NaN or infinity among those that count (n,);
    None if there is none."""
    import torch

    counting = torch.arange(encoded.shape[1], device=counts.device) < counts[:, None]
    bad = (~torch.isfinite(encoded).all(dim=2) & counting.to(encoded.device)).any(dim=1)
    return int(bad.nonzero()[0]) if bad.any() else None


def _is_tag(piece: str) -> bool:
    """Whether a piece only says which language a multilingual model hears."""
    return _LANGUAGE_TAG.fullmatch(piece.removeprefix("▁")) is not None


def without_language_tags(text: str) -> str:
    """Multilingual models write what they heard as `<de-DE>`, which is no word."""
    return _LANGUAGE_TAG.sub("", text).strip()
