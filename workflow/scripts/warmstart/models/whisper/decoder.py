"""How a Whisper decodes: told the language of the utterances, or telling it itself."""

import copy
import itertools
import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy
import torch
from torch import Tensor

from warmstart.models import candidates, confidence
from warmstart.models.base import Decoder, Hypothesis, Listener, NotFinite, Timing, Vocabulary
from warmstart.models.tier import DETECTED, Tier
from warmstart.models.wav2vec2.architectures.base import SAMPLE_RATE
from warmstart.models.whisper import recordings, settings
from warmstart.models.whisper.network import Network
from warmstart.models.whisper.prompts import Front
from warmstart.models.whisper.search import Found, greedy
from warmstart.models.whisper.text import Text

FRAME_S = 0.02


@dataclass(frozen=True)
class _Part:
    """A piece of a recording.

    Attributes:
        index: of the recording.
        samples: (N,).
        window: samples of the window in which it is heard.
        first: whether it is the recording's first one, by which its language is told.
    """

    index: int
    samples: Tensor
    window: int
    first: bool


class WhisperDecoder(Decoder):
    """Batches of whole utterances, each in its window; what is longer than 30 s in pieces.

    Args:
        network: in eval mode.
        text: its tokenizer.
        tier: an offline one.
        language: code of a study or of Whisper, that of all utterances. Where it is not told, and
            where the tier says so, the model tells the language of each utterance itself, from its
            first window.
    """

    sample_rate, frame_s = SAMPLE_RATE, FRAME_S

    def __init__(self, network: Network, text: Text, tier: Tier, language: str | None = None):
        self.tier, self._network, self._text = tier, network, text
        # What is settled here is not told again (`of_language`).
        self._settled = language is not None or tier.language == DETECTED
        self._lang = None if tier.language == DETECTED else language
        self._language = None if self._lang is None else network.language_token(self._lang)
        self._candidates, self._confident = 0, False

    def of_language(self, lang: str) -> "WhisperDecoder":
        """Told that all utterances are in a language. A decoder that was made for one, or for a
        tier at which the model tells it, stays as it is.

        Raises:
            UserError: the model has no token for it.
        """
        if self._settled:
            return self
        other = copy.copy(self)
        other._language, other._lang = self._network.language_token(lang), lang
        return other

    def decode(
        self,
        waveforms: Sequence[numpy.ndarray],
        timing: Timing | None = None,
        steps_ms: list[float] | None = None,
    ) -> list[Hypothesis]:
        """See `Decoder.decode`; nothing streams, so there are no steps."""
        started = time.perf_counter()
        found = self._search(waveforms)
        if timing is not None:
            timing.encode_decode_s += time.perf_counter() - started
        return [self._hypothesis(parts) for parts in found]

    def _hypothesis(self, parts: list[Found]) -> Hypothesis:
        tokens = [token for part in parts for token in part.tokens]
        kept = None
        if self._candidates:
            rows = [row for part in parts for row in part.candidates]
            kept = candidates.stacked(tokens, rows, self._candidates)
        sure = [one for part in parts for one in part.probabilities]
        return Hypothesis(
            " ".join(filter(None, (self._text.decode(part.tokens) for part in parts))),
            self._text.pieces(tokens),
            None,
            kept,
            (statistics.fmean(sure) if tokens else 0.0) if self._confident else None,
            self._code(parts[0].language) if self._language is None else None,
        )

    def _code(self, token: int) -> str | None:
        """Of a language's token."""
        codes = {one: code for code, one in self._network.tokens.languages.items()}
        return codes.get(token)

    @property
    def vocabulary(self) -> Vocabulary:
        """Of the model's own tokenizer."""
        return self._text.vocabulary

    def with_candidates(self, count: int) -> "WhisperDecoder":
        """See `base.Decoder`; the end of a text is no candidate."""
        other = copy.copy(self)
        other._candidates = min(count, len(self.vocabulary.pieces))
        return other

    def with_confidence(self) -> "WhisperDecoder":
        """See `confidence_measure`."""
        other = copy.copy(self)
        other._confident = True
        return other

    @property
    def confidence_measure(self) -> str:
        """See `confidence.MEAN_PROBABILITY`; 0 where no text was written."""
        return confidence.MEAN_PROBABILITY

    def logits(self, waveforms: Sequence[numpy.ndarray]) -> list[Tensor]:
        """(pieces, V) a waveform: scores of the first token of each piece, on the CPU. Those of
        later ones follow from the tokens before."""
        return [
            torch.stack([part.first for part in parts]) for parts in self._search(waveforms, most=1)
        ]

    @torch.inference_mode()
    def _search(
        self, waveforms: Sequence[numpy.ndarray], most: int | None = None
    ) -> list[list[Found]]:
        """What is found in each piece of each waveform, of `most` tokens at most."""
        parts = self._parts(waveforms)
        # First pieces first, those of one window together, no more at once than there are
        # waveforms.
        keys = [(not part.first, part.window) for part in parts]
        order = sorted(range(len(parts)), key=keys.__getitem__)
        languages: dict[int, int] = {}
        weights: dict[int, Tensor] = {}
        found: dict[int, Found] = {}
        for _, group in itertools.groupby(order, key=keys.__getitem__):
            alike = list(group)
            for start in range(0, len(alike), len(waveforms)):
                places = alike[start : start + len(waveforms)]
                made = self._batch([parts[place] for place in places], languages, weights, most)
                found |= dict(zip(places, made, strict=True))
        gathered: list[list[Found]] = [[] for _ in waveforms]
        for place, part in enumerate(parts):
            gathered[part.index].append(found[place])
        return gathered

    def _parts(self, waveforms: Sequence[numpy.ndarray]) -> list[_Part]:
        made = []
        for index, samples in enumerate(waveforms):
            whole = numpy.ascontiguousarray(samples, dtype=numpy.float32)
            cut = recordings.pieces(whole, SAMPLE_RATE, settings.WINDOW_S)
            for number, piece in enumerate(cut):
                window = self._network.window_samples(torch.tensor(len(piece)), self.tier.window_s)
                made.append(_Part(index, torch.from_numpy(piece), int(window), number == 0))
        return made

    def _batch(
        self,
        parts: Sequence[_Part],
        languages: dict[int, int],
        weights: dict[int, Tensor],
        most: int | None,
    ) -> list[Found]:
        """Pieces with one window.

        Args:
            languages: recording -> id of its language's token; gets those of first pieces.
            weights: recording -> (L,) of language experts, likewise.
            most: tokens at most; None: as many as there is room for.
        """
        device, window = self._network.device, parts[0].window
        audio = torch.nn.utils.rnn.pad_sequence([part.samples for part in parts], batch_first=True)
        lengths = torch.tensor([len(part.samples) for part in parts])
        audio, lengths = audio.to(device), lengths.to(device)
        plain, gates = None, self._network.gates
        indices = [part.index for part in parts]
        if parts[0].first:
            if self._detects or gates is not None:
                plain = self._states(parts, audio, lengths, window)
            told = self._languages(plain if self._detects else None, len(parts))
            languages |= dict(zip(indices, told, strict=True))
            if gates is not None and plain is not None:
                weights |= dict(zip(indices, self._weights(plain, gates.experts), strict=True))
        of_experts = None if gates is None else torch.stack([weights[one] for one in indices])
        if of_experts is not None:
            plain = None  # the donor's alone
        spoken = torch.tensor([languages[index] for index in indices], device=device)
        found: list[Any] = [None] * len(parts)
        for rows, front in self._network.fronts([self._prompt(token) for token in spoken.tolist()]):
            own = None if of_experts is None else of_experts[rows]
            if plain is not None and (front is None or front.encoder is None):
                states = plain[rows]
            else:
                alike = [parts[row] for row in rows.tolist()]
                with self._network.weighted(own):
                    states = self._states(alike, audio[rows], lengths[rows], window, front)
            made = greedy(self._network, states, spoken[rows], self._candidates, most, front, own)
            for row, one in zip(rows.tolist(), made, strict=True):
                found[row] = one
        return found

    def _states(
        self,
        parts: Sequence[_Part],
        audio: Tensor,
        lengths: Tensor,
        window: int,
        front: Front | None = None,
    ) -> Tensor:
        states = self._network.states_of_window(audio, lengths, window, front)
        for row, part in enumerate(parts):
            if not bool(torch.isfinite(states[row]).all()):
                raise NotFinite(part.index)
        return states

    def _weights(self, states: Tensor, experts: Sequence[str]) -> list[Tensor]:
        """How much each language expert counts in each window: what the donor alone takes its
        language to be, whatever it was told."""
        tokens = [self._network.language_token(lang) for lang in experts]
        return list(self._network.probabilities_of_states(states, tokens))

    def _prompt(self, token: int) -> int | None:
        """Place of the prompt of utterances with a language's token. Where the model tells the
        language itself, a language that borrows its token has none: it would be taken from the one
        whose token it is."""
        prompts = self._network.prompts
        if prompts is None:
            return None
        own = self._network.tokens.languages
        lang = self._lang if self._language is not None else self._code(token)
        if lang not in prompts.languages:
            return None
        borrowed = self._language is None and self._network.language_token(lang) != own.get(lang)
        return None if borrowed else prompts.languages.index(lang)

    @property
    def _detects(self) -> bool:
        """Whether the model tells the language itself."""
        return self._language is None and bool(self._network.tokens.languages)

    def _languages(self, states: Tensor | None, count: int) -> list[int]:
        """Id of the token of each window's language: the one that was told, or the likeliest."""
        tokens = list(self._network.tokens.languages.values())
        if states is None:
            one = self._network.tokens.start if self._language is None else self._language
            return [one] * count
        likeliest = self._network.probabilities_of_states(states, tokens).argmax(-1)
        return [tokens[place] for place in likeliest.tolist()]


class WhisperListener(Listener):
    """The encoder, which hears as a decoder does.

    Args:
        network: in eval mode.
    """

    sample_rate = SAMPLE_RATE

    def __init__(self, network: Network):
        self._network = network

    @torch.inference_mode()
    def mean_states(self, waveforms: Sequence[numpy.ndarray]) -> numpy.ndarray:
        """Of the frames that an utterance has, without the silence behind it; of the first 30 s."""
        device = self._network.device
        lengths = torch.tensor([len(samples) for samples in waveforms]).to(device)
        audio = torch.nn.utils.rnn.pad_sequence(
            [torch.from_numpy(numpy.asarray(samples, numpy.float32)) for samples in waveforms],
            batch_first=True,
        ).to(device)
        made = numpy.zeros((len(waveforms), self._network.said.config["d_model"]), numpy.float32)
        frames = self._network.encoding.frames(lengths)
        for rows, states in self._network.states(audio, lengths):
            counts = frames[rows].clamp(max=states.shape[1])
            inside = torch.arange(states.shape[1], device=device) < counts[:, None]
            sums = states.double().where(inside[:, :, None], 0.0).sum(1)
            made[rows.cpu().numpy()] = (sums / counts[:, None]).float().cpu().numpy()
        return made
