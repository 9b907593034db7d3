"""A Whisper as what Lightning trains: windows, the prefix of the task, the loss over the text.

An utterance is heard in a window that silence fills up, as every published Whisper was trained:
`window_s`, or 30 s where it is longer than that. Of a shorter window the encoder has the first
positions. Every frame of a window is heard, those of the silence too, so an utterance has the same
states alone and in any batch.
"""

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any

import lightning.pytorch as pl
import torch
from torch import Tensor, nn

from warmstart.models.base import IGNORED
from warmstart.models.batches import LanguageBatch
from warmstart.models.gated_lora import Gates
from warmstart.models.recipe import SpecAugment
from warmstart.models.wav2vec2.architectures.base import SAMPLE_RATE
from warmstart.models.whisper import settings
from warmstart.models.whisper.prompts import Front, Prompts
from warmstart.models.whisper.snapshot import Read, whole_name
from warmstart.run.errors import UserError

UNLEARNT = IGNORED
"""Of a target: a position that is no part of the loss."""

LONGER_THAN_WINDOW = "longer_than_window"
TEXT_LONGER_THAN_POSITIONS = "text_longer_than_positions"
"""Why nothing is learnt of an utterance, in records."""

_TIED = "proj_out.weight"
_TABLE = "model.decoder.embed_tokens.weight"


class Network(pl.LightningModule):
    """The model of transformers and how it hears.

    Args:
        said: settings, tokens and window.
        dropout: in place of those of the settings; None keeps them.

    Attributes:
        whisper: WhisperForConditionalGeneration; its tensors have the names of published files.
        masks: of the study, to learn under.
        prompts: vectors in front of utterances of some languages; None: of none.
        gates: language experts beside its layers; None: there are none.
    """

    def __init__(self, said: Read, dropout: float | None = None):
        super().__init__()
        from transformers import WhisperConfig, WhisperForConditionalGeneration

        self.said, self.tokens = said, said.tokens
        self.encoding = settings.ENCODER.encoding(said.config)
        given = _of_transformers(said)
        if dropout is not None:
            given |= dict.fromkeys(settings.DROPOUTS, dropout)
        self.whisper = WhisperForConditionalGeneration(WhisperConfig(**given))
        self.masks: SpecAugment | None = None
        self.prompts: Prompts | None = None
        self._prompted: dict[int, int] = {}
        self.gates: Gates | None = None
        self.configure: Callable[[], Any] | None = None

    # ---- experts

    def weighted(self, weights: Tensor | None) -> AbstractContextManager[None]:
        """Language experts count as (B, L) `weights` say, inside; None: the donor alone."""
        if self.gates is None or weights is None:
            return contextlib.nullcontext()
        return self.gates.weighted(weights)

    def of_rows(self, rows: Tensor) -> AbstractContextManager[None]:
        """Some utterances of the batch are heard, inside."""
        return contextlib.nullcontext() if self.gates is None else self.gates.of_rows(rows)

    # ---- the encoder

    @property
    def positions(self) -> int:
        """Of the decoder for prefix and text, of utterances with a prompt where there are such."""
        prompt = 0 if self.prompts is None else self.prompts.tokens()
        return self.said.config["max_target_positions"] - prompt

    def window_samples(self, samples: Tensor, window_s: float | None = None) -> Tensor:
        """(N,) samples of the window in which each utterance is heard: `window_s`, by default the
        model's own, or 30 s."""
        short = round((window_s or self.said.window_s) * SAMPLE_RATE)
        whole = round(settings.WINDOW_S * SAMPLE_RATE)
        return torch.where(samples <= short, short, whole)

    def states(
        self, audio: Tensor, audio_len: Tensor, front: Front | None = None
    ) -> list[tuple[Tensor, Tensor]]:
        """States of the encoder, of utterances of up to 30 s; what is longer is cut off.

        Args:
            audio: (B, T) samples, zero behind the end.
            audio_len: (B,) samples.
            front: of all of them.

        Returns:
            A window length each: the (N,) utterances that have it, and their (N, F, D) states.
        """
        found = []
        windows = self.window_samples(audio_len)
        for samples in windows.unique().tolist():
            rows = (windows == samples).nonzero()[:, 0]
            lengths = audio_len[rows].clamp(max=samples)
            own = None if front is None else front.rows(rows)
            with self.of_rows(rows):
                made = self.states_of_window(audio[rows, :samples], lengths, samples, own)
            found.append((rows, made))
        return found

    def states_of_window(
        self, audio: Tensor, audio_len: Tensor, samples: int, front: Front | None = None
    ) -> Tensor:
        """(B, F, D) states of (B, T) utterances of (B,) samples in windows of `samples`; of a
        prompt of the encoder (B, L + F, D)."""
        whole = torch.full_like(audio_len, samples)
        features, lengths = self.encoding.inputs(audio, whole)
        if self.training and self.masks is not None:
            own = torch.div(audio_len, samples // int(lengths[0]), rounding_mode="floor")
            features = self.encoding.under_masks(features, own.clamp(min=1), self.masks)
        before = None if front is None else front.encoder
        return self.encoding.states(self.whisper.model.encoder, features, lengths, front=before)[0]

    # ---- prompts

    def take_prompts(self, prompts: Prompts) -> None:
        """Put prompts in front of utterances of their languages.

        Raises:
            UserError: two of the languages have one token, or the decoder has no room for them.
        """
        tokens = [self.language_token(lang) for lang in prompts.languages]
        if len(set(tokens)) < len(tokens):
            raise UserError(
                f"languages {', '.join(prompts.languages)}: two of them are told by one token, so "
                "that their prompts could not be told apart; let them borrow different ones "
                "(training.model.language_tokens)"
            )
        room = self.said.config["max_target_positions"] - self.prefix_tokens
        if prompts.tokens() >= room:
            raise UserError(
                f"a prompt of {prompts.length} vectors leaves no room for a text: behind the "
                f"prefix the decoder has {room} positions; lower length, or take where: encoder"
            )
        self.prompts = prompts.to(self.device)
        self._prompted = dict(zip(tokens, range(len(tokens)), strict=True))

    def prompt_places(self, languages: Tensor) -> list[int | None]:
        """Of (B,) ids of languages' tokens: the place of each prompt, None where there is none."""
        return [self._prompted.get(token) for token in languages.tolist()]

    def fronts(self, places: Sequence[int | None]) -> list[tuple[Tensor, Front | None]]:
        """Utterances with prompts at these places, and those without: rows of each, and what is in
        front of them."""
        at = torch.tensor([-1 if place is None else place for place in places], device=self.device)
        found: list[tuple[Tensor, Front | None]] = []
        if len(rows := (at < 0).nonzero()[:, 0]):
            found.append((rows, None))
        if len(rows := (at >= 0).nonzero()[:, 0]):
            assert self.prompts is not None
            found.append((rows, self.prompts(at[rows])))
        return found

    def heard(
        self, audio: Tensor, audio_len: Tensor, languages: Tensor
    ) -> Iterator[tuple[Tensor, Tensor, Front | None]]:
        """As `states` gives them, of utterances that are told their languages by (B,) ids: rows,
        states, and what is in front."""
        for rows, front in self.fronts(self.prompt_places(languages)):
            with self.of_rows(rows):
                made = self.states(audio[rows], audio_len[rows], front)
            for inside, states in made:
                yield rows[inside], states, None if front is None else front.rows(inside)

    def read(self, tokens: Tensor, front: Front | None) -> dict[str, Tensor]:
        """(B, U) tokens as the decoder takes them, behind a prompt where it has one."""
        if front is None or front.decoder is None:
            return {"input_ids": tokens}
        table: Any = self.whisper.model.decoder.embed_tokens
        return {"inputs_embeds": torch.cat([front.decoder, table(tokens)], 1)}

    # ---- the decoder

    def prefix(self, languages: Tensor) -> Tensor:
        """(B, P) tokens in front of a text, of (B,) ids of the language's token: start, language,
        task, no marks of time. Of a model of English alone start and no marks of time."""
        task = languages.new_tensor(self.tokens.transcribe).expand_as(languages)
        rows = [languages, task] if self.tokens.languages else []
        start, last = (
            languages.new_tensor(token).expand_as(languages)
            for token in (self.tokens.start, self.tokens.no_timestamps)
        )
        return torch.stack([start, *rows, last], 1)

    @property
    def prefix_tokens(self) -> int:
        """P of `prefix`."""
        return 4 if self.tokens.languages else 2

    def unlearnable(self, audio_len: Tensor, token_len: Tensor) -> dict[str, Tensor]:
        """Reason -> (B,) bool, of utterances of (B,) samples and (B,) tokens of text: they do not
        fit a window of 30 s, or prefix and text do not fit the positions of the decoder."""
        return {
            LONGER_THAN_WINDOW: audio_len > round(settings.WINDOW_S * SAMPLE_RATE),
            TEXT_LONGER_THAN_POSITIONS: token_len + self.prefix_tokens > self.positions,
        }

    def token_logits(self, batch: LanguageBatch) -> tuple[Tensor, Tensor]:
        """Logits of what follows each token of prefix and text, under teacher forcing.

        Args:
            batch: texts without prefix and end; `language` has the ids of the languages' tokens.

        Returns:
            (B, P + U, V) logits, and (B, P + U) targets: the text and its end, `UNLEARNT` in the
            prefix, behind the end, and everywhere of what is `unlearnable`.
        """
        prefix = self.prefix(batch.language)
        room = self.positions - prefix.shape[1]
        texts, lengths = batch.tokens[:, :room], batch.token_len
        given = torch.cat([prefix, texts], 1)
        place = torch.arange(texts.shape[1] + 1, device=texts.device)[None]
        targets = nn.functional.pad(texts, (0, 1))
        targets = torch.where(place == lengths[:, None], self.tokens.end, targets)
        lost = torch.stack(list(self.unlearnable(batch.audio_len, lengths).values())).any(0)
        counted = (place <= lengths[:, None]) & ~lost[:, None]
        targets = torch.where(counted, targets, UNLEARNT)
        targets = nn.functional.pad(targets, (prefix.shape[1] - 1, 0), value=UNLEARNT)
        found: list[Any] = [None] * len(given)
        for rows, states, front in self.heard(batch.audio, batch.audio_len, batch.language):
            with self.of_rows(rows):
                hidden = self.whisper.model.decoder(
                    **self.read(given[rows], front), encoder_hidden_states=states, use_cache=False
                ).last_hidden_state[:, -given.shape[1] :]
            for row, logits in zip(rows.tolist(), self.whisper.proj_out(hidden), strict=True):
                found[row] = logits
        return torch.stack(found).float(), targets

    def loss(self, batch: LanguageBatch) -> Tensor:
        """Mean cross entropy over the tokens of all learnable texts and their ends; 0, of which
        nothing is learnt, where there is none."""
        logits, targets = self.token_logits(batch)
        each = nn.functional.cross_entropy(
            logits.flatten(0, 1), targets.flatten(), ignore_index=UNLEARNT, reduction="sum"
        )
        return each / (targets != UNLEARNT).sum().clamp(min=1)

    def training_step(self, batch: Any, batch_idx: int) -> dict[str, Tensor]:
        """Lightning's."""
        return {"loss": self.loss(LanguageBatch(*batch))}

    def configure_optimizers(self) -> Any:
        """As the recogniser says."""
        assert self.configure is not None
        return self.configure()

    # ---- languages

    def language_token(self, lang: str) -> int:
        """Id of the token of a study's language, or of the one whose token it borrows; of a model
        of English alone that of no language.

        Raises:
            UserError: it has none.
        """
        code = self.said.language_tokens.get(lang, lang)
        if not self.tokens.languages and code == "en":
            return self.tokens.start
        if code not in self.tokens.languages:
            there = ", ".join(self.tokens.languages) or "en"
            raise UserError(
                f"language {code} has no token in this Whisper; name one that is near, as "
                f"training.model.language_tokens: {{{lang}: CODE}}, or of a published model as "
                f"inits.<name>.zero_shot.prompts: {{{lang}: CODE}}; it has {there}"
            )
        return self.tokens.languages[code]

    def language_probabilities(
        self, audio: Tensor, audio_len: Tensor, languages: Sequence[str]
    ) -> Tensor:
        """What the model itself says of the language, after the token of the start
        (arXiv 2212.04356, section 2.3).

        Args:
            audio: (B, T) samples, zero behind the end.
            audio_len: (B,) samples.
            languages: L codes of a study, or of Whisper.

        Returns:
            (B, L) float32, a softmax over the tokens of these languages alone.

        Raises:
            UserError: a language without a token.
        """
        tokens = [self.language_token(lang) for lang in languages]
        found = torch.zeros(len(audio), len(tokens), device=audio.device)
        for rows, states in self.states(audio, audio_len):
            found[rows] = self.probabilities_of_states(states, tokens)
        return found

    def probabilities_of_states(self, states: Tensor, tokens: Sequence[int]) -> Tensor:
        """The same of (B, F, D) states, over L tokens: (B, L)."""
        start = torch.full((len(states), 1), self.tokens.start, device=states.device)
        hidden = self.whisper.model.decoder(
            input_ids=start, encoder_hidden_states=states, use_cache=False
        ).last_hidden_state
        return self.whisper.proj_out(hidden)[:, 0, list(tokens)].float().softmax(-1)

    # ---- weights

    def tensors(self) -> dict[str, Tensor]:
        """As published files have them: the table of tokens once."""
        return {name: value for name, value in self.whisper.state_dict().items() if name != _TIED}

    def take(self, given: Mapping[str, Tensor], where: str) -> int:
        """Load tensors, every one of them accounted for.

        Args:
            given: of a donor or a model.
            where: the init or the model, for messages.

        Returns:
            How many were taken.

        Raises:
            UserError: one is missing, has another shape, or belongs to nothing that is known.
        """
        own = {whole_name(name): value for name, value in given.items()}
        wanted = self.tensors()
        if (tied := own.pop(_TIED, None)) is not None and not (
            _TABLE in own and torch.equal(tied, own[_TABLE])
        ):
            raise UserError(
                f"{where}: {_TIED} is not {_TABLE}, and a Whisper reads and writes with one table: "
                "take another checkpoint"
            )
        missing, surplus = sorted(set(wanted) - set(own)), sorted(set(own) - set(wanted))
        if missing or surplus:
            raise UserError(
                f"{where}: {len(missing)} tensors of the Whisper are missing ({_some(missing)}) "
                f"and {len(surplus)} belong to none ({_some(surplus)}); config.json and weights "
                "are of different models, or the snapshot is not whole: fetch it again"
            )
        for name, value in own.items():
            if value.shape != wanted[name].shape:
                raise UserError(
                    f"{where}: {name} is {tuple(value.shape)}, and config.json makes it "
                    f"{tuple(wanted[name].shape)}; fetch both from one revision"
                )
        exact = {name: value.to(wanted[name].dtype) for name, value in own.items()}
        # The other name of the table of tokens is the same tensor.
        self.whisper.load_state_dict(exact | {_TIED: exact[_TABLE]})
        return len(own)


def _of_transformers(said: Read) -> dict[str, Any]:
    """Arguments of WhisperConfig."""
    lists = ("suppress_tokens", "begin_suppress_tokens", "is_multilingual", "architecture")
    given = {key: value for key, value in said.config.items() if key not in lists}
    return given | {
        "bos_token_id": said.tokens.end,
        "eos_token_id": said.tokens.end,
        "decoder_start_token_id": said.tokens.start,
        "encoder_layerdrop": 0.0,
        "decoder_layerdrop": 0.0,
        "suppress_tokens": None,
        "begin_suppress_tokens": None,
    }


def _some(names: list[str]) -> str:
    return ", ".join(names[:3]) + (", ..." if len(names) > 3 else "") if names else "none"
