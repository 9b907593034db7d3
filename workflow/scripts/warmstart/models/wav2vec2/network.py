"""An encoder and a CTC head, such that an utterance gets the same frames alone and in a batch of
longer ones: see `architectures.base.Encoding`."""

from collections.abc import Callable
from typing import Any

import lightning.pytorch as pl
import torch
from torch import Tensor, nn

from warmstart.models import ctc
from warmstart.models.batches import Batch
from warmstart.models.recipe import Recipe, SpecAugment
from warmstart.models.wav2vec2 import settings as encoder_settings
from warmstart.models.wav2vec2.architectures.base import Encoding
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
    for name, value in tensors.items():
        if (kept := encoding.own_name(name)) is not None:
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
    """Encoder, dropout and a linear head with the blank as its last label.

    Args:
        encoder: see `Encoding.make`.
        config: of the encoder, see `settings.read`.
        labels: tokens, without the blank.
        seed: the head is drawn from it alone.
        dropout: in front of the head.
    """

    def __init__(
        self,
        encoder: nn.Module,
        config: dict[str, Any],
        labels: int,
        seed: int,
        dropout: float = 0.0,
    ):
        super().__init__()
        self.encoder = encoder
        self._dropout = nn.Dropout(dropout)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            width = encoder_settings.architecture_of(config).width(config)
            self.head = nn.Linear(width, labels + 1)
        self.encoding = encoder_settings.architecture_of(config).encoding(config)
        self.masks: SpecAugment | None = None
        self.configure: Callable[[], Any] | None = None

    @property
    def blank(self) -> int:
        """The last label."""
        return self.head.out_features - 1

    def forward(
        self, audio: Tensor, audio_len: Tensor, prepared: bool = False
    ) -> tuple[Tensor, Tensor]:
        """Log-probabilities of every frame.

        Args:
            audio: (B, T) samples, zero behind the end; or what `Encoding.inputs` made of them.
            audio_len: (B,) samples; or units.
            prepared: whether it is the latter.

        Returns:
            (B, F, V + 1), and (B,) frames of each utterance.
        """
        states, frames = self.states(audio, audio_len, prepared)
        return self.head(self._dropout(states)).float().log_softmax(-1), frames

    def states(
        self, audio: Tensor, audio_len: Tensor, prepared: bool = False
    ) -> tuple[Tensor, Tensor]:
        """(B, F, D) states of the encoder, and (B,) frames; arguments as of `forward`."""
        if not prepared:
            audio, audio_len = self.encoding.inputs(audio, audio_len)
        masks = self.masks if self.training else None
        return self.encoding.states(self.encoder, audio, audio_len, masks)

    def loss(self, batch: Batch) -> tuple[Tensor, Tensor, Tensor]:
        """CTC loss, mean over the utterances that CTC can align (`models.ctc`); 0, of which nothing
        is learnt, where there is none.

        Returns:
            Loss, log-probabilities (B, F, V + 1), frames (B,).
        """
        scores, frames = self(batch.audio, batch.audio_len)
        fits = ctc.alignable(frames, batch.tokens, batch.token_len)
        each = nn.functional.ctc_loss(
            scores.transpose(0, 1),
            batch.tokens,
            frames,
            batch.token_len,
            blank=self.blank,
            reduction="none",
            zero_infinity=True,
        )
        fitting = fits.to(each.dtype)
        return (each * fitting).sum() / fitting.sum().clamp(min=1), scores, frames

    def training_step(self, batch: Any, batch_idx: int) -> dict[str, Tensor]:
        """Lightning's."""
        return {"loss": self.loss(Batch(*batch))[0]}

    def configure_optimizers(self) -> Any:
        """As the recogniser says."""
        assert self.configure is not None
        return self.configure()


def of_recipe(recipe: Recipe) -> tuple[float | None, float]:
    """Dropout in the encoder (None: the donor's) and in front of the head."""
    return recipe["model"].get("encoder_dropout"), float(recipe["model"].get("dropout") or 0.0)
