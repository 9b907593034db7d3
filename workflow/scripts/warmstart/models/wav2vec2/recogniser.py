"""A model of this family in memory, and how it decodes."""

import base64
import copy
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy
import sentencepiece
import torch
from torch import Tensor

from warmstart.models import candidates, confidence, optimizer, quantised_weights
from warmstart.models.base import (
    Decoder,
    EncoderFile,
    EncoderGraph,
    Hypothesis,
    Listener,
    NotFinite,
    Recogniser,
    Timing,
    Vocabulary,
)
from warmstart.models.batches import Batch, LanguageBatch, LanguageDataset, SpeechDataset
from warmstart.models.recipe import Recipe
from warmstart.models.tier import Tier
from warmstart.models.wav2vec2 import (
    bundle_networks,
    checkpoint,
    network,
    onnx_export,
    onnx_network,
    settings,
)
from warmstart.models.wav2vec2 import heads as heads_of
from warmstart.models.wav2vec2.architectures.base import SAMPLE_RATE
from warmstart.models.wav2vec2.onnx_network import OnnxNetwork
from warmstart.models.wav2vec2.windows import EDGE_S, WINDOW_S, windows
from warmstart.run.errors import UserError


class Wav2Vec2Recogniser(Recogniser):
    """Encoder and head.

    Args:
        config: of the encoder, see `settings.read`.
        tokenizer: the bytes of a SentencePiece model; of heads a language, language -> theirs.
        seed: of what is new.
        dropout: in place of the encoder's own; None keeps them.
        head_dropout: in front of the head.
    """

    sample_rate = SAMPLE_RATE

    def __init__(
        self,
        config: dict[str, Any],
        tokenizer: bytes | Mapping[str, bytes],
        seed: int = 0,
        dropout: float | None = None,
        head_dropout: float = 0.0,
    ):
        self.config, self._tokenizer = config, tokenizer
        architecture = settings.architecture_of(config)
        self.frame_s = architecture.frame_samples(config) / SAMPLE_RATE
        self._width = architecture.width(config)
        given = {None: tokenizer} if isinstance(tokenizer, bytes) else tokenizer
        # Of a head a language by language, else of the one head.
        self._pieces: dict[str | None, sentencepiece.SentencePieceProcessor] = {
            lang: sentencepiece.SentencePieceProcessor(model_proto=model)
            for lang, model in given.items()
        }
        sizes = {lang: pieces.vocab_size() for lang, pieces in self._pieces.items() if lang}
        torch.manual_seed(seed)
        encoder = architecture.encoding(config).make(dropout)
        self.network = self.lightning = network.Network(
            *(encoder, config, sizes or self.pieces.vocab_size(), seed, head_dropout)
        )

    def prepare(self, recipe: Recipe, steps: int) -> None:
        """Make it trainable: optimizer, schedule, masks."""
        self.network.masks = recipe.get("spec_augment")
        self.network.configure = lambda: optimizer.configure(self, recipe, steps, self._width)

    @property
    def pieces(self) -> sentencepiece.SentencePieceProcessor:
        """The tokenizer of the one head."""
        return self._pieces[None]

    def pieces_of(self, lang: str | None) -> sentencepiece.SentencePieceProcessor:
        """The tokenizer of a head; of the one head for None."""
        return self._pieces[lang]

    def parts(self) -> dict[str, torch.nn.Module]:
        """The encoder, then the head, or each of the heads."""
        if not self.network.languages:
            return {"encoder": self.network.encoder, "head": self.network.head}
        heads = {heads_of.module_name(lang): lang for lang in self.network.languages}
        return {
            "encoder": self.network.encoder,
            **{name: self.network.head_of(lang) for name, lang in heads.items()},
        }

    def blocks(self) -> list[torch.nn.Module]:
        """See `Encoding.blocks`."""
        return self.network.encoding.blocks(self.network.encoder)

    def encode(self, text: str) -> list[int]:
        """SentencePiece ids, of a model with one head; others encode in `dataset`."""
        return self.pieces.encode(text)

    def tokens_of(self, text: str, lang: str | None) -> list[int]:
        """SentencePiece ids of the head of the language.

        Raises:
            UserError: there is no head for it.
        """
        if not self.network.languages:
            return self.encode(text)
        if lang not in self._pieces:
            raise UserError(
                f"no head of language {lang}; the model has heads of "
                f"{', '.join(self.network.languages)}"
            )
        return self._pieces[lang].encode(text)

    def ctc_frames(self, samples: Tensor) -> Tensor:
        """Of the encoder."""
        return self.network.encoding.frames(samples)

    def dataset(self) -> SpeechDataset:
        """Of heads a language each text is in its language's tokens."""
        if not self.network.languages:
            return super().dataset()
        return LanguageDataset({lang: self._pieces[lang].encode for lang in self.network.languages})

    def evaluate(self, batch: Batch | LanguageBatch) -> tuple[float, list[str]]:
        """CTC loss and greedy texts."""
        loss, scores, frames = self.network.loss(batch)
        langs: Sequence[str | None] = [None] * len(frames)
        if isinstance(batch, LanguageBatch):
            langs = [self.network.languages[place] for place in batch.language.tolist()]
        return float(loss), [
            self._pieces[lang].decode(greedy(rows[:count], self.network.blank_of(lang))[0])
            for rows, count, lang in zip(scores, frames.tolist(), langs, strict=True)
        ]

    def save(self, path: Path) -> None:
        """One safetensors file."""
        if isinstance(self._tokenizer, bytes):
            made = {"tokenizer": base64.b64encode(self._tokenizer).decode()}
        else:
            texts = {name: base64.b64encode(one).decode() for name, one in self._tokenizer.items()}
            # The order of heads is that of the training set; the header sorts its keys.
            made = {"tokenizers": texts, "heads": list(texts)}
        checkpoint.write(self.network.state_dict(), {"config": self.config, **made}, path)

    def save_donor(self, path: Path) -> None:
        """The encoder alone, as `checkpoint.pack` writes that of a snapshot."""
        config = {key: value for key, value in self.config.items() if key != "do_normalize"}
        config["model_type"] = config.pop("architecture")
        preprocessing = {
            "do_normalize": self.config["do_normalize"],
            "sampling_rate": self.sample_rate,
        }
        note = {"config": config, "preprocessing": preprocessing}
        checkpoint.write(self.network.encoder.state_dict(), note, path)

    def decoder(
        self, tier: Tier, encoder: EncoderFile | None = None, prompt: str | None = None
    ) -> "Wav2Vec2Decoder":
        """Of whole utterances; the context of the tier is no mask here, because attention is
        over the whole.

        An encoder file is computed by ONNX Runtime on the CPU, and on a GPU by PyTorch with its
        dequantised weights.
        """
        if encoder is None:
            return Wav2Vec2Decoder(self, tier)
        computed = OnnxNetwork(encoder.path, tier, encoder.model_sha256, encoder.threads)
        if self.network.device.type == "cpu":
            return Wav2Vec2Decoder(self, tier, computed=computed)
        quantised_weights.load(self.network, encoder.path)
        return Wav2Vec2Decoder(self, tier)

    def listener(self, tier: Tier) -> "EncoderListener":
        """Its encoder, over whole utterances."""
        return EncoderListener(self.network.encoder, self.config)

    def export_encoder(self, tier: Tier) -> EncoderGraph:
        """Encoder and head, see `onnx_export.export`."""
        if (why := settings.export_refusal(self.config)) is not None:
            raise UserError(why)
        return EncoderGraph(
            onnx_export.export(self.network),
            self.network,
            "whole",
            onnx_export.constants(self.network),
        )

    def export_parity(self, tier: Tier, path: Path) -> dict[str, Any]:
        """See `onnx_network.parity`."""
        return onnx_network.parity(self.network, tier, path)

    def write_networks(self, tier: Tier, folder: Path, quantise: Any) -> dict[str, Any]:
        """See `bundle_networks.write`."""
        return bundle_networks.write(self.network, self.pieces, tier, folder, quantise)


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
        recogniser: Wav2Vec2Recogniser,
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
        if self._computed is not None:  # a graph of encoder and the one head
            scores, frames = self._computed(inputs, lengths)
            found = [scores]
        else:
            states, frames = self._network.states(
                inputs.to(device), lengths.to(device), prepared=True
            )
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


class EncoderListener(Listener):
    """An encoder without any head.

    Args:
        encoder: of transformers, in eval mode.
        config: of it, see `settings.read`.
    """

    sample_rate = SAMPLE_RATE

    def __init__(self, encoder: torch.nn.Module, config: dict[str, Any]):
        self._network = network.Network(encoder, config, 1, 0).eval()

    @torch.inference_mode()
    def mean_states(self, waveforms: Sequence[numpy.ndarray]) -> numpy.ndarray:
        """Of the frames that an utterance has."""
        device = self._network.device
        lengths = torch.tensor([len(samples) for samples in waveforms]).to(device)
        audio = torch.nn.utils.rnn.pad_sequence(
            [torch.from_numpy(numpy.asarray(samples, numpy.float32)) for samples in waveforms],
            batch_first=True,
        ).to(device)
        states, frames = self._network.states(audio, lengths)
        inside = torch.arange(states.shape[1], device=device) < frames[:, None]
        sums = states.double().where(inside[:, :, None], 0.0).sum(1)
        return (sums / frames[:, None]).float().cpu().numpy()
