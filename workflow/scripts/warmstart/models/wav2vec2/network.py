"""An encoder and a CTC head, such that an utterance gets the same frames alone and in a batch of
longer ones: see `architectures.base.Encoding`."""

from collections.abc import Callable, Mapping
from typing import Any

import lightning.pytorch as pl
import torch
from torch import Tensor, nn

from warmstart.models import ctc
from warmstart.models.batches import Batch, LanguageBatch
from warmstart.models.recipe import Recipe, SpecAugment
from warmstart.models.wav2vec2 import settings as encoder_settings
from warmstart.models.wav2vec2.architectures.base import Encoding
from warmstart.models.wav2vec2.heads import LanguageHeads
from warmstart.run.errors import UserError


def take_weights(
    encoding: Encoding, encoder: nn.Module, tensors: dict[str, Tensor], where: str
) -> int:
    """Load a donor's tensors, every one of the encoder accounted for.

    Args:
        encoding: of the donor's settings.
        encoder: see `Encoding.make`.
        tensors: of the donor, heads, quantisers and decoders among them.
        where: the init, for messages.

    Returns:
        How many tensors were taken.

    Raises:
        UserError: one is missing, has another shape, or belongs to nothing that is known.
    """
    own: dict[str, Tensor] = {}
    architecture = encoder_settings.architecture_of(encoding.config)
    for name, value in tensors.items():
        if (kept := architecture.own_name(name)) is not None:
            own[kept] = value
    wanted = encoder.state_dict()
    own = encoding.stand_ins(encoder) | own
    missing = sorted(set(wanted) - set(own))
    surplus = sorted(set(own) - set(wanted))
    if missing or surplus:
        raise UserError(
            f"{where}: {len(missing)} tensors of the encoder are missing ({_some(missing)}) and "
            f"{len(surplus)} belong to none ({_some(surplus)}); config.json and weights are of "
            "different models, or the snapshot is not whole: fetch it again"
        )
    for name, value in own.items():
        if value.shape != wanted[name].shape:
            raise UserError(
                f"{where}: {name} is {tuple(value.shape)}, and config.json makes it "
                f"{tuple(wanted[name].shape)}; fetch both from one revision"
            )
    encoder.load_state_dict({name: value.to(wanted[name].dtype) for name, value in own.items()})
    return len(own)


def _some(names: list[str]) -> str:
    return ", ".join(names[:3]) + (", ..." if len(names) > 3 else "") if names else "none"


class Network(pl.LightningModule):
    """Encoder, dropout and a linear head with the blank as its last label; or a head a language.

    Args:
        encoder: see `Encoding.make`.
        config: of the encoder, see `settings.read`.
        labels: tokens, without the blank; of heads a language, language -> tokens.
        seed: the head is drawn from it alone.
        dropout: in front of the head.
    """

    def __init__(
        self,
        encoder: nn.Module,
        config: dict[str, Any],
        labels: int | Mapping[str, int],
        seed: int,
        dropout: float = 0.0,
    ):
        super().__init__()
        self.encoder = encoder
        self._dropout = nn.Dropout(dropout)
        width = encoder_settings.architecture_of(config).width(config)
        self.head: nn.Linear | LanguageHeads
        if isinstance(labels, int):
            with torch.random.fork_rng(devices=[]):
                torch.manual_seed(seed)
                self.head = nn.Linear(width, labels + 1)
        else:
            self.head = LanguageHeads(width, labels, seed)
        self.encoding = encoder_settings.architecture_of(config).encoding(config)
        self.masks: SpecAugment | None = None
        self.configure: Callable[[], Any] | None = None

    @property
    def languages(self) -> tuple[str, ...]:
        """Those with a head of their own; none where one head serves all."""
        return self.head.languages if isinstance(self.head, LanguageHeads) else ()

    def head_of(self, lang: str | None) -> nn.Linear:
        """The head of a language; the one that there is where one serves all."""
        if isinstance(self.head, nn.Linear):
            return self.head
        assert lang is not None
        return self.head.of(lang)

    @property
    def blank(self) -> int:
        """The last label of the one head."""
        return self.blank_of(None)

    def blank_of(self, lang: str | None) -> int:
        """The last label of a head."""
        return self.head_of(lang).out_features - 1

    def forward(
        self,
        audio: Tensor,
        audio_len: Tensor,
        prepared: bool = False,
        lang: str | None = None,
    ) -> tuple[Tensor, Tensor]:
        """Log-probabilities of every frame.

        Args:
            audio: (B, T) samples, zero behind the end; or what `Encoding.inputs` made of them.
            audio_len: (B,) samples; or units.
            prepared: whether it is the latter.
            lang: whose head.

        Returns:
            (B, F, V + 1), and (B,) frames of each utterance.
        """
        states, frames = self.states(audio, audio_len, prepared)
        return self.scores(states, lang), frames

    def scores(self, states: Tensor, lang: str | None = None) -> Tensor:
        """(B, F, D) states to (B, F, V + 1) log-probabilities of a head."""
        return self.head_of(lang)(self._dropout(states)).float().log_softmax(-1)

    def states(
        self, audio: Tensor, audio_len: Tensor, prepared: bool = False
    ) -> tuple[Tensor, Tensor]:
        """(B, F, D) states of the encoder, and (B,) frames; arguments as of `forward`."""
        if not prepared:
            audio, audio_len = self.encoding.inputs(audio, audio_len)
        masks = self.masks if self.training else None
        return self.encoding.states(self.encoder, audio, audio_len, masks)

    def loss(self, batch: Batch | LanguageBatch) -> tuple[Tensor, Any, Tensor]:
        """CTC loss, mean over the utterances that CTC can align (`models.ctc`); 0, of which nothing
        is learnt, where there is none.

        Returns:
            Loss, log-probabilities (B, F, V + 1), frames (B,). With a head a language the
            log-probabilities are B tensors (F, V + 1), each of its own head.
        """
        states, frames = self.states(batch.audio, batch.audio_len)
        fits = ctc.alignable(frames, batch.tokens, batch.token_len)
        scores: Any
        if isinstance(batch, LanguageBatch):
            each, scores = self._under_own_heads(states, frames, batch)
        else:
            scores = self.scores(states)
            each = _ctc(scores, frames, batch.tokens, batch.token_len)
        fitting = fits.to(each.dtype)
        return (each * fitting).sum() / fitting.sum().clamp(min=1), scores, frames

    def _under_own_heads(
        self, states: Tensor, frames: Tensor, batch: LanguageBatch
    ) -> tuple[Tensor, list[Tensor]]:
        """(B,) losses and B log-probabilities, each of the head of its language."""
        assert isinstance(self.head, LanguageHeads)
        each = states.new_zeros(len(states), dtype=torch.float32)
        scores: list[Tensor] = [each] * len(states)
        for rows, own in self.head(self._dropout(states), batch.language):
            if not len(rows):
                each = each + own.sum()
                continue
            losses = _ctc(own, frames[rows], batch.tokens[rows], batch.token_len[rows])
            each = each.index_add(0, rows, losses)
            for row, found in zip(rows.tolist(), own, strict=True):
                scores[row] = found
        return each, scores

    def training_step(self, batch: Any, batch_idx: int) -> dict[str, Tensor]:
        """Lightning's."""
        made = LanguageBatch(*batch) if self.languages else Batch(*batch)
        return {"loss": self.loss(made)[0]}

    def configure_optimizers(self) -> Any:
        """As the recogniser says."""
        assert self.configure is not None
        return self.configure()


def _ctc(scores: Tensor, frames: Tensor, tokens: Tensor, token_len: Tensor) -> Tensor:
    """(B,) CTC losses of log-probabilities (B, F, V + 1) whose last label is the blank."""
    return nn.functional.ctc_loss(
        scores.transpose(0, 1),
        tokens,
        frames,
        token_len,
        blank=scores.shape[-1] - 1,
        reduction="none",
        zero_infinity=True,
    )


def of_recipe(recipe: Recipe) -> tuple[float | None, float]:
    """Dropout in the encoder (None: the donor's) and in front of the head."""
    return recipe["model"].get("encoder_dropout"), float(recipe["model"].get("dropout") or 0.0)
