"""A Whisper in memory."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from warmstart.data import mixing
from warmstart.models import optimizer
from warmstart.models.base import EncoderFile, Recogniser
from warmstart.models.batches import Batch, LanguageBatch, SpeechDataset
from warmstart.models.gated_lora import Gates
from warmstart.models.recipe import Recipe
from warmstart.models.tier import Tier
from warmstart.models.wav2vec2.architectures.base import SAMPLE_RATE
from warmstart.models.whisper import bundle_networks, settings, snapshot
from warmstart.models.whisper.decoder import FRAME_S, WhisperDecoder, WhisperListener
from warmstart.models.whisper.network import (
    LONGER_THAN_WINDOW,
    TEXT_LONGER_THAN_POSITIONS,
    Network,
)
from warmstart.models.whisper.prompts import Prompts, of_about
from warmstart.models.whisper.search import greedy
from warmstart.models.whisper.snapshot import Read
from warmstart.models.whisper.text import Text
from warmstart.run.errors import UserError

EXPERTS = "experts"
"""Key of language experts in what a model's file says."""
_PROMPTS = "prompts."  # of names of their tensors


class WhisperRecogniser(Recogniser):
    """Encoder, decoder and tokenizer.

    Args:
        said: settings, tokenizer, window and borrowed languages.
        seed: of weights that no donor brings.
        dropout: in place of those of the settings; None keeps them.

    Attributes:
        more: JSON values that `save` keeps.
        more_tensors: tensors beside those of the Whisper that `save` keeps, by name.
    """

    sample_rate, frame_s = SAMPLE_RATE, FRAME_S
    pretrained_parts = ("encoder", "decoder")

    def __init__(self, said: Read, seed: int = 0, dropout: float | None = None):
        self.said = said
        self.text = Text(said.tokenizer, said.tokens)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.network = self.lightning = Network(said, dropout)
        self.more: dict[str, Any] = dict(said.more)
        self.more_tensors: dict[str, Tensor] = {}

    def prepare(self, recipe: Recipe, steps: int) -> None:
        """Make it trainable: optimizer, schedule, masks."""
        self.network.masks = recipe.get("spec_augment")
        width = self.said.config["d_model"]
        self.network.configure = lambda: optimizer.configure(self, recipe, steps, width)

    # ---- its inside

    @property
    def gates(self) -> Gates | None:
        """Language experts, which the network weights."""
        return self.network.gates

    @gates.setter
    def gates(self, gates: Gates | None) -> None:
        self.network.gates = gates

    def parts(self) -> dict[str, torch.nn.Module]:
        """A donor gives both."""
        return {
            "encoder": self.network.whisper.model.encoder,
            "decoder": self.network.whisper.model.decoder,
        }

    def pretrained(self) -> torch.nn.Module:
        """The model of transformers, whose modules have the names of published files."""
        return self.network.whisper

    def blocks(self) -> list[torch.nn.Module]:
        """Of the encoder: its convolutions, then its layers."""
        return self.network.encoding.blocks(self.network.whisper.model.encoder)

    def add_prompts(
        self,
        languages: Sequence[str],
        length: int,
        sides: Sequence[str],
        seed: int,
        *,
        rank: int = 0,
        alike: bool = False,
    ) -> None:
        """See `prompts`; likeness is that of the donor's vectors of the languages' tokens."""
        made = Prompts(languages, self.said.config["d_model"], length, sides, rank)
        made.draw(seed)
        if alike:
            table: Any = self.network.whisper.model.decoder.embed_tokens
            tokens = [self.network.language_token(lang) for lang in languages]
            made.mix(table.weight[tokens].detach())
        self.network.take_prompts(made)

    def take_prompts(self, where: str) -> None:
        """Those that a model has beside its Whisper.

        Args:
            where: the model, for messages.

        Raises:
            UserError: they do not fit.
        """
        if (about := self.more.pop("prompts", None)) is None:
            return
        own = {name: one for name, one in self.more_tensors.items() if name.startswith(_PROMPTS)}
        self.more_tensors = {
            name: one for name, one in self.more_tensors.items() if name not in own
        }
        try:
            made = of_about(about, self.said.config["d_model"])
            made.load_state_dict({name.removeprefix(_PROMPTS): one for name, one in own.items()})
        except (RuntimeError, KeyError, TypeError) as error:
            raise UserError(
                f"{where}: its prompts do not fit its settings ({error}); train it again"
            ) from None
        self.network.take_prompts(made)

    # ---- training

    def encode(self, text: str) -> list[int]:
        """Ids of the text alone, without the prefix of the task and the end."""
        return self.text.encode(text)

    def unlearnable(
        self, samples: Tensor, tokens: Tensor, token_len: Tensor
    ) -> dict[str, Tensor] | None:
        """What does not fit a window, and texts that do not fit the positions."""
        return self.network.unlearnable(samples, token_len)

    def unlearnable_because(self) -> dict[str, tuple[str, str]]:
        """See `base.Recogniser`."""
        room = self.network.positions - self.network.prefix_tokens
        return {
            LONGER_THAN_WINDOW: (
                f"are longer than {settings.WINDOW_S:g} s, which is all that a Whisper hears at "
                "once",
                "cut them into shorter ones, and take filters.max_duration_s at or below it",
            ),
            TEXT_LONGER_THAN_POSITIONS: (
                f"have texts of more than {room} tokens, for which the decoder has no positions",
                "look whether texts and recordings belong together, and take a lower "
                "filters.max_duration_s",
            ),
        }

    def dataset(self) -> "LanguageTokenDataset":
        """Each text, and the token of its language."""
        return LanguageTokenDataset(self.encode, self.network.language_token)

    def evaluate(self, batch: Batch | LanguageBatch) -> tuple[float, list[str]]:
        """Mean cross entropy of the texts, and greedy texts of utterances whose language is told,
        of what is longer than 30 s those of the first 30 s."""
        assert isinstance(batch, LanguageBatch)
        texts = [""] * len(batch.audio)
        for rows, states, front in self.network.heard(batch.audio, batch.audio_len, batch.language):
            found = greedy(self.network, states, batch.language[rows], front=front)
            for row, one in zip(rows.tolist(), found, strict=True):
                texts[row] = self.text.decode(one.tokens)
        return float(self.network.loss(batch)), texts

    def token_logits(self, batch: LanguageBatch) -> tuple[Tensor, Tensor]:
        """See `Network.token_logits`."""
        return self.network.token_logits(batch)

    def languages_of(self, batch: LanguageBatch) -> list[str]:
        """Of each utterance of a batch, as the study calls it; of a borrowed token the language
        that borrows it."""
        names = {token: code for code, token in self.said.tokens.languages.items()}
        names |= {self.network.language_token(lang): lang for lang in self.said.language_tokens}
        return [names.get(token, "en") for token in batch.language.tolist()]

    def language_probabilities(
        self, audio: Tensor, audio_len: Tensor, languages: Sequence[str]
    ) -> Tensor:
        """See `Network.language_probabilities`."""
        return self.network.language_probabilities(audio, audio_len, languages)

    def save(self, path: Path) -> None:
        """One safetensors file."""
        more, tensors = dict(self.more), self.network.tensors() | self.more_tensors
        if (prompts := self.network.prompts) is not None:
            more["prompts"] = prompts.about()
            tensors |= {f"{_PROMPTS}{name}": value for name, value in prompts.state_dict().items()}
        if self.gates is not None:
            more[EXPERTS] = self.gates.about()
            tensors |= self.gates.tensors()
        said = Read(
            *(self.said.config, self.said.tokens, self.said.tokenizer),
            *(self.said.window_s, self.said.language_tokens, more),
        )
        snapshot.write(tensors, said, path)

    # ---- decoding

    def decoder(
        self, tier: Tier, encoder: EncoderFile | None = None, prompt: str | None = None
    ) -> WhisperDecoder:
        """Of whole utterances; the context of the tier is no mask here, because attention is over
        the whole window."""
        if encoder is not None:
            raise UserError(
                f"{encoder.path}: models of this family are not decoded with an exported encoder; "
                "take the precision `full`"
            )
        return WhisperDecoder(self.network, self.text, tier, prompt)

    def write_networks(
        self, tier: Tier, folder: Path, quantise: Any, identifier: Any = None
    ) -> dict[str, Any]:
        """See `bundle_networks.write`.

        Raises:
            UserError: the model has something beside its weights that no network computes.
        """
        beside = list(self.more)
        beside += ["prompts"] if self.network.prompts is not None else []
        beside += [EXPERTS] if self.gates is not None else []
        if beside:
            raise UserError(
                f"this Whisper has {', '.join(beside)} beside its weights, which no bundle holds; "
                "bundle an arm of another adaptation"
            )
        return bundle_networks.write(self.network, self.text, tier, folder, quantise)

    def decoder_of_bundle(self, tier: Tier, folder: Path) -> WhisperDecoder:
        """See `base.Recogniser`."""
        bundle_networks.take(self.network, folder)
        return WhisperDecoder(self.network, self.text, tier)

    def listener(self, tier: Tier) -> WhisperListener:
        """Its encoder, over windows."""
        return WhisperListener(self.network)


class LanguageTokenDataset(SpeechDataset):
    """Lhotse cuts -> `LanguageBatch`, whose `language` has the id of each language's token.

    Args:
        encode: normalised text -> ids.
        token_of: language -> id of its token.
    """

    def __init__(self, encode: Callable[[str], list[int]], token_of: Callable[[str], int]):
        super().__init__(encode)
        self._token_of = token_of

    def _batch(self, audio: Tensor, audio_len: Tensor, tokens: list[Tensor], cuts: Any) -> Any:
        languages = [self._token_of(self._language(cut)) for cut in cuts]
        made: Batch = super()._batch(audio, audio_len, tokens, cuts)
        return LanguageBatch(*made, language=torch.tensor(languages))

    def _language(self, cut: Any) -> str:
        """Of a cut.

        Raises:
            UserError: nobody says.
        """
        lang = mixing.replayed_language(cut) or cut.supervisions[0].language
        if not lang:
            raise UserError(
                f"cut {cut.id} says no language, and a Whisper is told one in front of each text; "
                "state it in the manifest"
            )
        return lang
