"""How a model of this family decodes: greedy CTC, batched, in windows where it is long."""

import copy
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy
import sentencepiece
import torch
from torch import Tensor

from warmstart.models import candidates, confidence
from warmstart.models.base import Decoder, Hypothesis, NotFinite, Timing, Vocabulary
from warmstart.models.tier import Tier
from warmstart.models.wav2vec2.architectures.base import SAMPLE_RATE
from warmstart.models.wav2vec2.network import Network
from warmstart.models.wav2vec2.onnx_network import OnnxNetwork
from warmstart.models.wav2vec2.windows import EDGE_S, WINDOW_S, windows
from warmstart.run.errors import UserError


class Model(Protocol):
    """What is decoded with: `recogniser.Wav2Vec2Recogniser`."""

    frame_s: float
    network: Network

    def pieces_of(self, lang: str | None) -> sentencepiece.SentencePieceProcessor:
        """The tokenizer of a head; of the one head for None."""
        ...


def greedy(scores: Tensor, blank: int) -> tuple[list[int], list[int]]:
    """Greedy CTC: the best label of each frame, repeated ones once, blanks none.

    Args:
        scores: (F, V + 1).
        blank: its label.

    Returns:
        Tokens, and the frame at which each begins.
    """
    labels = scores.argmax(-1).tolist()
    before = [blank, *labels]
    first = [place for place, label in enumerate(labels) if label not in (before[place], blank)]
    return [labels[place] for place in first], first


class Wav2Vec2Decoder(Decoder):
    """Batches of whole utterances, padded; what is longer than a window in overlapping ones.

    Args:
        recogniser: the model.
        tier: an offline one.
        window_s, edge_s: see `WINDOW_S` and `EDGE_S`.
        computed: what computes the network; None = PyTorch.
    """

    sample_rate = SAMPLE_RATE

    def __init__(
        self,
        recogniser: Model,
        tier: Tier,
        window_s: float = WINDOW_S,
        edge_s: float = EDGE_S,
        computed: OnnxNetwork | None = None,
    ):
        self.tier, self._recogniser = tier, recogniser
        self._candidates, self._confident = 0, False
        self._lang: str | None = None
        self.frame_s = recogniser.frame_s
        self._network, self._computed = recogniser.network, computed
        self._window, self._edge = (round(seconds / self.frame_s) for seconds in (window_s, edge_s))

    @property
    def engine(self) -> str:
        """What computes the network."""
        return "pytorch" if self._computed is None else "onnxruntime"

    def decode(
        self,
        waveforms: Sequence[numpy.ndarray],
        timing: Timing | None = None,
        steps_ms: list[float] | None = None,
    ) -> list[Hypothesis]:
        """See `Decoder.decode`; nothing streams, so there are no steps."""
        return self._decode(waveforms, [self._lang], timing)[self._lang]

    @property
    def heads(self) -> tuple[str, ...]:
        """See `base.Decoder`."""
        return self._network.languages

    def of_language(self, lang: str) -> "Wav2Vec2Decoder":
        """See `base.Decoder`."""
        if not self.heads:
            return self
        if lang not in self.heads:
            raise UserError(
                f"the model has no head of {lang}; it has heads of {', '.join(self.heads)}"
            )
        other = copy.copy(self)
        other._lang = lang
        return other

    def with_confidence(self) -> "Wav2Vec2Decoder":
        """See `confidence`."""
        other = copy.copy(self)
        other._confident = True
        return other

    def decode_heads(
        self, waveforms: Sequence[numpy.ndarray], timing: Timing | None = None
    ) -> dict[str, list[Hypothesis]]:
        """See `base.Decoder`."""
        found = self._decode(waveforms, self.heads, timing)
        return {lang: found[lang] for lang in self.heads}

    def _decode(
        self,
        waveforms: Sequence[numpy.ndarray],
        langs: Sequence[str | None],
        timing: Timing | None,
    ) -> dict[str | None, list[Hypothesis]]:
        started = time.perf_counter()
        scores = dict(zip(langs, self._logits(waveforms, langs), strict=True))
        for rows in scores.values():
            for index, row in enumerate(rows):
                if not bool(torch.isfinite(row).all()):
                    raise NotFinite(index)
        found = {
            lang: [greedy(row, self._network.blank_of(lang)) for row in rows]
            for lang, rows in scores.items()
        }
        if timing is not None:
            timing.encode_decode_s += time.perf_counter() - started
        return {
            lang: [
                self._hypothesis(lang, row, tokens, frames)
                for row, (tokens, frames) in zip(rows, found[lang], strict=True)
            ]
            for lang, rows in scores.items()
        }

    def _hypothesis(
        self, lang: str | None, scores: Tensor, tokens: list[int], frames: list[int]
    ) -> Hypothesis:
        pieces, blank, kept = self._recogniser.pieces_of(lang), self._network.blank_of(lang), None
        if self._candidates:
            taken = torch.tensor(tokens, dtype=torch.long)
            best = candidates.best(scores[frames], taken, blank, self._candidates)
            rows = list(zip(*best, strict=True))
            kept = candidates.stacked(tokens, rows, self._candidates)
        return Hypothesis(
            pieces.decode(tokens),
            [pieces.id_to_piece(token) for token in tokens],
            [round(frame * self.frame_s, 3) for frame in frames],
            kept,
            confidence.of_utterance(scores, blank) if self._confident else None,
        )

    @property
    def vocabulary(self) -> Vocabulary:
        """Of the SentencePiece model; `<unk>` and control symbols are no text."""
        pieces = self._recogniser.pieces_of(self._lang)
        return Vocabulary(
            tuple(
                ""
                if pieces.is_unknown(token) or pieces.is_control(token)
                else pieces.id_to_piece(token)
                for token in range(pieces.vocab_size())
            ),
            pieces.serialized_model_proto(),
        )

    def with_candidates(self, count: int) -> "Wav2Vec2Decoder":
        """See `base.Decoder`; of a token the candidates are those of the first frame of its run."""
        other = copy.copy(self)
        other._candidates = min(count, self._recogniser.pieces_of(self._lang).vocab_size())
        return other

    def logits(self, waveforms: Sequence[numpy.ndarray]) -> list[Tensor]:
        """(F, V + 1) log-probabilities a waveform, on the CPU."""
        return self._logits(waveforms, [self._lang])[0]

    @torch.inference_mode()
    def _logits(
        self, waveforms: Sequence[numpy.ndarray], langs: Sequence[str | None]
    ) -> list[list[Tensor]]:
        """The same of each of some heads, over states that are computed once."""
        parts = [
            part for index, samples in enumerate(waveforms) for part in self._parts(index, samples)
        ]
        # Of like length, so that little is padding; no more at once than there are waveforms.
        order = sorted(range(len(parts)), key=lambda place: -parts[place].length)
        rows: list[list[Tensor]] = [[]] * len(parts)
        for first in range(0, len(order), max(1, len(waveforms))):
            places = order[first : first + max(1, len(waveforms))]
            for place, scores in zip(
                places, self._scores([parts[place] for place in places], langs), strict=True
            ):
                rows[place] = [parts[place].own(each) for each in scores]
        found: list[list[list[Tensor]]] = [[[] for _ in waveforms] for _ in langs]
        for part, scores in zip(parts, rows, strict=True):
            for of_head, each in zip(found, scores, strict=True):
                of_head[part.index].append(each)
        return [[torch.cat(each) for each in of_head] for of_head in found]

    def _parts(self, index: int, samples: numpy.ndarray) -> list["_Part"]:
        """An utterance as it is heard: in one piece, or in windows of what the encoder is given of
        the whole."""
        audio = torch.from_numpy(numpy.ascontiguousarray(samples, dtype=numpy.float32))
        device, encoding = self._network.device, self._network.encoding
        inputs, lengths = encoding.inputs(
            audio[None].to(device), torch.tensor([len(audio)]).to(device)
        )
        whole, length = inputs[0].cpu(), int(lengths)
        return [
            _Part(
                index,
                whole[window.start : window.end + (encoding.tail if window.last is None else 0)],
                window.end - window.start,
                window.first,
                window.last,
            )
            for window in windows(length, self._window, self._edge, encoding.stride)
        ]

    def _scores(self, parts: list["_Part"], langs: Sequence[str | None]) -> list[list[Tensor]]:
        """Of each part, one a head."""
        device = self._network.device
        lengths = torch.tensor([part.length for part in parts])
        inputs = torch.nn.utils.rnn.pad_sequence([part.inputs for part in parts], batch_first=True)
        if self._computed is not None:  # a graph, with the one head or without any
            states, frames = self._computed(inputs, lengths)
        else:
            states, frames = self._network.states(
                inputs.to(device), lengths.to(device), prepared=True
            )
        if self._computed is not None and not self.heads:
            found = [states]
        else:
            found = [self._network.scores(states, lang) for lang in langs]
        return [
            [of_head[index, :count].cpu() for of_head in found]
            for index, count in enumerate(frames.tolist())
        ]


@dataclass(frozen=True)
class _Part:
    """A window of an utterance.

    Attributes:
        index: of the utterance.
        inputs: (N, ...), see `Encoding.inputs`.
        length: units that count.
        first, last: its frames that count, from the one to before the other; None: to the end.
    """

    index: int
    inputs: Tensor
    length: int
    first: int
    last: int | None

    def own(self, scores: Tensor) -> Tensor:
        """(F, V) of the window to those that count."""
        return scores[self.first : self.last]
