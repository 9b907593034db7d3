"""Greedy decoding of waveforms with a cache-aware transducer: batched, chunk by chunk or in one
forward."""

import copy
import re
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from warmstart.models.fastconformer.chunks import _MOST_FRAMES, ChunkShape, Encoder, set_tier
from warmstart.models.fastconformer.onnx_encoder import OnnxEncoder
from warmstart.run.errors import UserError
from warmstart.study.tier import FRAME_S, Seconds, Tier

if TYPE_CHECKING:
    import torch

    from warmstart.models.fastconformer.transducer_search import Hypothesis


# Encoder frames of a step over its batch, as far as chunks are shorter. On a CPU, 12 layers of 512,
# one utterance at 160 ms: RTFx 22, 26, 30, 30 with 32, 64, 128, 256 frames, and no other batch or
# tier gains beyond 128. The GPU's is not measured.
_STEP_FRAMES = {"cpu": 128, "cuda": 2048}


_LANGUAGE_TAG = re.compile(r"<[a-z]{2,3}(-[A-Za-z0-9]{2,4})?>")


@dataclass
class Timing:
    """Wall times of a decode, without loading model and audio."""

    features_s: Seconds = 0.0
    encode_decode_s: Seconds = 0.0

    @property
    def compute_s(self) -> Seconds:
        """From waveforms in memory to tokens: features, encoder, predictor and joint."""
        return self.features_s + self.encode_decode_s


class NotFinite(UserError):
    """An encoder gave NaN or infinity, of which the search would take some token all the same.

    Attributes:
        index: of one waveform with such frames, as they were given.
    """

    def __init__(self, index: int):
        super().__init__(f"waveform {index}: the encoder gives NaN or infinity")
        self.index = index


class Decoder:
    """Greedy decode at one tier.

    Args:
        model: from `load_model`.
        tier: must be among the contexts of the model (UserError otherwise).
        encoder: steps through this instead of the model's own encoder, chunk by chunk; not for
            offline tiers.
        step_frames: encoder frames that a step of the model's own encoder computes over its batch;
            0 = chunk by chunk, as a live stream; None = what suits the device.
    """

    def __init__(
        self, model, tier: Tier, encoder: Encoder | None = None, step_frames: int | None = None
    ):
        from warmstart.models.fastconformer.streaming_encoder import EncoderSteps
        from warmstart.models.fastconformer.transducer_search import GreedySearch

        set_tier(model.encoder, tier)
        self.model = model
        self.tier = tier
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
        self._encoder = encoder
        self._search = GreedySearch(model)

    def chunk_by_chunk(self) -> "Decoder":
        """The same decoder, taking one chunk a step."""
        other = copy.copy(self)
        other._step_frames = 0
        return other

    @property
    def engine(self) -> str:
        """What computes the encoder."""
        return "onnxruntime" if isinstance(self._encoder, OnnxEncoder) else "pytorch"

    def decode(
        self, waveforms: Sequence, timing: Timing | None = None, steps_ms: list[float] | None = None
    ) -> "list[Hypothesis]":
        """Decode a batch.

        Args:
            waveforms: float32 arrays (samples,) in any order; the batch is sorted by length inside.
            timing: is added to.
            steps_ms: gets the wall time of every step: encoder, search, and of the features, made
                at once, an equal part.

        Returns:
            One hypothesis a waveform, in the order given. Audio shorter than one feature frame (10
            ms) gives an empty one.

        Raises:
            NotFinite: of a damaged model, or of audio beyond float32's reach.
        """
        import torch

        from warmstart.models.fastconformer.transducer_search import Hypothesis

        timing = timing if timing is not None else Timing()
        order = sorted(range(len(waveforms)), key=lambda index: -len(waveforms[index]))
        hypotheses = [Hypothesis() for _ in waveforms]
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
        if self.tier.offline:
            if heard := int((lengths > 0).sum()):
                encoded, counts = self.model.encoder(
                    audio_signal=features[:heard], length=lengths[:heard]
                )[:2]
                yield self._prompted(encoded.transpose(1, 2)), counts
            return
        caches, before = None, 0
        for chunk, chunk_lengths, dropped in self._shape.cut(features, lengths, self._step_frames):
            if caches is None:
                caches = self._encoder.start(len(chunk))
            elif len(chunk) < before:
                caches = self._encoder.narrow(caches, len(chunk))
            before = len(chunk)
            encoded, counts, caches = self._encoder.step(chunk, chunk_lengths, dropped, caches)
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

    def emission_s(self, hypothesis: "Hypothesis") -> list[Seconds]:
        """When each token could be shown, in seconds of audio.

        At a streaming tier a frame waits for the last frame of its chunk (or of the utterance); in
        the full forward it is counted at its own position. The difference of the two is the delay
        of a token against a recogniser that need not wait.
        """
        if self.tier.offline:
            return [round(frame * FRAME_S, 2) for frame in hypothesis.frames]
        size, last = self.tier.right + 1, hypothesis.encoder_frames - 1
        return [
            round(min((frame // size + 1) * size - 1, last) * FRAME_S, 2)
            for frame in hypothesis.frames
        ]

    def text(self, hypothesis: "Hypothesis") -> str:
        """Raw text of a hypothesis."""
        return without_language_tags(self.model.tokenizer.ids_to_text(hypothesis.tokens))

    def pieces(self, hypothesis: "Hypothesis") -> list[str]:
        """SentencePiece pieces of a hypothesis."""
        return list(self.model.tokenizer.ids_to_tokens(hypothesis.tokens))

    def emitted(self, hypothesis: "Hypothesis") -> list[dict[str, Any]]:
        """Piece and time of every token, as hypothesis files hold them."""
        times = zip(self.pieces(hypothesis), self.emission_s(hypothesis), strict=True)
        return [{"piece": piece, "time_s": seconds} for piece, seconds in times]


def _not_finite(encoded: "torch.Tensor", counts: "torch.Tensor") -> int | None:
    """The first utterance of (n, T, D) frames with NaN or infinity among those that count (n,);
    None if there is none."""
    import torch

    counting = torch.arange(encoded.shape[1], device=counts.device) < counts[:, None]
    bad = (~torch.isfinite(encoded).all(dim=2) & counting.to(encoded.device)).any(dim=1)
    return int(bad.nonzero()[0]) if bad.any() else None


def without_language_tags(text: str) -> str:
    """Multilingual models write what they heard as `<de-DE>`, which is no word."""
    return _LANGUAGE_TAG.sub("", text).strip()
