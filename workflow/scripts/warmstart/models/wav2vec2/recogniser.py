"""A model of this family in memory."""

import base64
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import sentencepiece
import torch
from torch import Tensor

from warmstart.models import optimizer, quantised_weights
from warmstart.models.base import EncoderFile, EncoderGraph, Recogniser
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
from warmstart.models.wav2vec2.decoder import Wav2Vec2Decoder, greedy
from warmstart.models.wav2vec2.listener import EncoderListener
from warmstart.models.wav2vec2.onnx_network import OnnxNetwork
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

    def head_of(self, lang: str) -> torch.nn.Module:
        """See `base.Recogniser`."""
        return self.network.head_of(lang)

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
        """The encoder alone, as a donor is that was packed from a snapshot."""
        config = {key: value for key, value in self.config.items() if key != "do_normalize"}
        config["model_type"] = config.pop("architecture")
        preprocessing = {
            "do_normalize": self.config["do_normalize"],
            "sampling_rate": self.sample_rate,
        }
        checkpoint.write_snapshot(self.network.encoder.state_dict(), config, preprocessing, path)

    def decoder(
        self, tier: Tier, encoder: EncoderFile | None = None, prompt: str | None = None
    ) -> Wav2Vec2Decoder:
        """Of whole utterances; the context of the tier is no mask here, because attention is
        over the whole.

        An encoder file is computed by ONNX Runtime on the CPU, and on a GPU by PyTorch with its
        dequantised weights.
        """
        if encoder is None:
            return Wav2Vec2Decoder(self, tier)
        form = onnx_export.form(self.network)
        computed = OnnxNetwork(encoder.path, tier, encoder.model_sha256, encoder.threads, form)
        if self.network.device.type == "cpu":
            return Wav2Vec2Decoder(self, tier, computed=computed)
        quantised_weights.load(self.network, encoder.path)
        return Wav2Vec2Decoder(self, tier)

    def listener(self, tier: Tier) -> EncoderListener:
        """Its encoder, over whole utterances."""
        return EncoderListener(self.network.encoder, self.config)

    def export_encoder(self, tier: Tier) -> EncoderGraph:
        """Encoder and head, or the encoder alone in front of a head a language, see
        `onnx_export.export`."""
        if (why := settings.export_refusal(self.config)) is not None:
            raise UserError(why)
        return EncoderGraph(
            onnx_export.export(self.network),
            self.network,
            onnx_export.form(self.network),
            onnx_export.constants(self.network),
        )

    def export_parity(self, tier: Tier, path: Path) -> dict[str, Any]:
        """See `onnx_network.parity`."""
        return onnx_network.parity(self.network, tier, path)

    def write_networks(
        self, tier: Tier, folder: Path, quantise: Any, identifier: Any = None
    ) -> dict[str, Any]:
        """See `bundle_networks`."""
        if not self.network.languages:
            return bundle_networks.write(self.network, self.pieces, tier, folder, quantise)
        return bundle_networks.write_heads(
            self.network, self.pieces_of, tier, folder, quantise, identifier
        )
