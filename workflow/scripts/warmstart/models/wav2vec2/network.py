"""An encoder of raw audio and a CTC head, such that an utterance gets the same frames alone and in
a batch of longer ones.

transformers gives what padding does to a batch to the caller. Here samples and frames behind the
end of an utterance have no influence: the group norm of the first layer takes its statistics over
the utterance's own frames, attention is masked, and the positional convolution sees zeros there, as
it does beyond the end of an utterance that is alone.
"""

import logging
from collections.abc import Callable
from typing import Any

import lightning.pytorch as pl
import torch
from torch import Tensor, nn

from warmstart.models.batches import Batch
from warmstart.models.recipe import Recipe, SpecAugment
from warmstart.models.wav2vec2 import settings as encoder_settings
from warmstart.run.errors import UserError

logger = logging.getLogger(__name__)

# What Wav2Vec2FeatureExtractor adds to a variance.
_LEAST_VARIANCE = 1e-7


class MaskedGroupNorm(nn.GroupNorm):
    """Group norm of one channel a group, over the frames that an utterance has.

    The statistics are those of the utterance alone, whatever it is padded to.

    Attributes:
        frames: (B,) of the batch at hand.
    """

    frames: Tensor

    def forward(self, input: Tensor) -> Tensor:
        """(B, C, T) to the same shape."""
        inside = torch.arange(input.shape[2], device=input.device) < self.frames[:, None]
        inside = inside[:, None].to(input.dtype)
        count = self.frames.clamp(min=1)[:, None, None].to(input.dtype)
        mean = (input * inside).sum(2, keepdim=True) / count
        variance = ((input - mean).square() * inside).sum(2, keepdim=True) / count
        normal = (input - mean) * torch.rsqrt(variance + self.eps)
        return normal * self.weight[None, :, None] + self.bias[None, :, None]


def make_encoder(config: dict[str, Any], dropout: float | None) -> nn.Module:
    """An encoder of transformers with random weights.

    Args:
        config: see `settings.read`.
        dropout: in place of those of the configuration; None keeps them.
    """
    from transformers import HubertConfig, HubertModel, Wav2Vec2Config, Wav2Vec2Model

    kinds = {"wav2vec2": (Wav2Vec2Config, Wav2Vec2Model), "hubert": (HubertConfig, HubertModel)}
    made_of, model = kinds[config["architecture"]]
    given = {
        key: value for key, value in config.items() if key not in ("architecture", "do_normalize")
    }
    if dropout is not None:
        given |= dict.fromkeys(encoder_settings.DROPOUTS, dropout)
    # No layer is left out: the recipe of transformers for fine-tuning (examples/pytorch/
    # speech-recognition) has layerdrop 0, and processes that train together must not differ.
    # mask_time_prob above 0 is what makes the model have `masked_spec_embed`.
    made = model(made_of(**given, layerdrop=0.0, mask_time_prob=0.05, apply_spec_augment=False))
    first = made.feature_extractor.conv_layers[0]
    if isinstance(getattr(first, "layer_norm", None), nn.GroupNorm):
        norm = first.layer_norm
        first.layer_norm = MaskedGroupNorm(norm.num_groups, norm.num_channels, eps=norm.eps)
    return made


def take_weights(encoder: nn.Module, tensors: dict[str, Tensor], where: str) -> int:
    """Load a donor's tensors, every one of the encoder accounted for.

    Args:
        encoder: see `make_encoder`.
        tensors: of the donor, heads and quantisers among them.
        where: the init, for messages.

    Returns:
        How many tensors were taken.

    Raises:
        UserError: one is missing, has another shape, or belongs to nothing that is known.
    """
    own: dict[str, Tensor] = {}
    for name, value in tensors.items():
        if (kept := _own_name(name)) is not None:
            own[kept] = value
    wanted = encoder.state_dict()
    # The vector under masks is learned anew where a donor has none: most heads drop it.
    own.setdefault("masked_spec_embed", torch.zeros_like(wanted["masked_spec_embed"]))
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


# Modules beside the encoder that published checkpoints have, and that start anew here.
_HEADS = (
    *("lm_head.", "quantizer.", "project_hid.", "project_q.", "dropout_features."),
    *("final_proj.", "label_embs_concat", "classifier.", "projector."),
)
_PREFIXES = ("wav2vec2.", "hubert.")
# As torch named the two halves of a weight norm before 2.1, and as it does now.
_RENAMED = {
    ".conv.weight_g": ".conv.parametrizations.weight.original0",
    ".conv.weight_v": ".conv.parametrizations.weight.original1",
}


def _own_name(name: str) -> str | None:
    """A tensor's name in our encoder; None for one of a head."""
    if name.startswith(_HEADS):
        return None
    for prefix in _PREFIXES:
        name = name.removeprefix(prefix)
    for old, new in _RENAMED.items():
        if name.endswith(old):
            return name.removesuffix(old) + new
    return name


def _some(names: list[str]) -> str:
    return ", ".join(names[:3]) + (", ..." if len(names) > 3 else "") if names else "none"


class Network(pl.LightningModule):
    """Encoder, dropout and a linear head with the blank as its last label.

    Args:
        encoder: of transformers.
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
            self.head = nn.Linear(config["hidden_size"], labels + 1)
        self._config = config
        self.masks: SpecAugment | None = None
        self.configure: Callable[[], Any] | None = None

    @property
    def blank(self) -> int:
        """The last label."""
        return self.head.out_features - 1

    def frames(self, samples: Tensor) -> Tensor:
        """Frames of utterances, from their samples; 0 for those that are shorter than one frame
        hears."""
        for kernel, stride in zip(
            self._config["conv_kernel"], self._config["conv_stride"], strict=True
        ):
            samples = torch.div(samples - kernel, stride, rounding_mode="floor") + 1
        return samples.clamp(min=0)

    def normalised(self, audio: Tensor, audio_len: Tensor) -> Tensor:
        """(B, T) samples as the encoder was pretrained on them; zero behind the end."""
        inside = torch.arange(audio.shape[1], device=audio.device) < audio_len[:, None]
        if not self._config["do_normalize"]:
            return audio * inside
        count = audio_len.clamp(min=1)[:, None].to(audio.dtype)
        mean = (audio * inside).sum(1, keepdim=True) / count
        centred = (audio - mean) * inside
        variance = centred.square().sum(1, keepdim=True) / count
        return centred * torch.rsqrt(variance + _LEAST_VARIANCE)

    def forward(
        self, audio: Tensor, audio_len: Tensor, normalised: bool = False
    ) -> tuple[Tensor, Tensor]:
        """Log-probabilities of every frame.

        Args:
            audio: (B, T) samples, zero behind the end.
            audio_len: (B,) samples.
            normalised: whether `normalised` was called.

        Returns:
            (B, F, V + 1), and (B,) frames of each utterance.
        """
        states, frames = self.states(audio, audio_len, normalised)
        return self.head(self._dropout(states)).float().log_softmax(-1), frames

    def states(
        self, audio: Tensor, audio_len: Tensor, normalised: bool = False
    ) -> tuple[Tensor, Tensor]:
        """(B, F, D) states of the encoder, and (B,) frames; arguments as of `forward`."""
        if not normalised:
            audio = self.normalised(audio, audio_len)
        short = encoder_settings.fewest_samples(self._config) - audio.shape[1]
        if short > 0:
            audio = nn.functional.pad(audio, (0, short))
        frames = self.frames(audio_len)
        encoder: Any = self.encoder
        self._tell_norm(audio_len)
        features = encoder.feature_extractor(audio).transpose(1, 2)
        features = features[:, : max(1, int(frames.max()))]
        hidden = encoder.feature_projection(features)
        hidden = hidden[0] if isinstance(hidden, tuple) else hidden
        if self.training and self.masks is not None:
            hidden = self._masked(hidden, frames)
        inside = torch.arange(hidden.shape[1], device=hidden.device) < frames.clamp(min=1)[:, None]
        # The encoder writes zeros behind the end into what it is given.
        return encoder.encoder(hidden.clone(), attention_mask=inside)[0], frames

    def _tell_norm(self, audio_len: Tensor) -> None:
        first: Any = self.encoder.feature_extractor.conv_layers[0]  # type: ignore[union-attr]
        if isinstance(getattr(first, "layer_norm", None), MaskedGroupNorm):
            kernel, stride = self._config["conv_kernel"][0], self._config["conv_stride"][0]
            frames = torch.div(audio_len - kernel, stride, rounding_mode="floor") + 1
            first.layer_norm.frames = frames.clamp(min=0)

    def _masked(self, hidden: Tensor, frames: Tensor) -> Tensor:
        """Time masks of the study's `spec_augment`, as arXiv 1904.08779 draws them: a width up to
        the share of the utterance, a place where it fits. Its masks over mel bins have no
        counterpart in raw audio. A mask is never longer than the utterance."""
        masks = self.masks
        assert masks is not None
        count = masks["time_masks"]
        longest = (frames.cpu() * masks["time_width"]).floor()
        # Drawn on the CPU, so that a GPU sees the same.
        drawn = torch.rand(len(frames), max(1, count), 2)[:, :count]
        width = (drawn[..., 0] * (longest[:, None] + 1)).floor()
        start = (drawn[..., 1] * (frames.cpu()[:, None] - width + 1)).floor()
        place = torch.arange(hidden.shape[1])[None, None]
        covered = (place >= start[..., None]) & (place < (start + width)[..., None])
        under = covered.any(1).to(hidden.device)
        vector: Any = self.encoder.masked_spec_embed
        return torch.where(under[..., None], vector.to(hidden.dtype), hidden)

    def loss(self, batch: Batch) -> tuple[Tensor, Tensor, Tensor]:
        """CTC loss, mean over the utterances that CTC can align.

        An utterance needs a frame a token, and one more between equal neighbours; one that has
        fewer would give infinity. It is left out, and warned of.

        Returns:
            Loss, log-probabilities (B, F, V + 1), frames (B,).
        """
        scores, frames = self(batch.audio, batch.audio_len)
        fits = frames >= self.needed(batch.tokens, batch.token_len)
        each = nn.functional.ctc_loss(
            scores.transpose(0, 1),
            batch.tokens,
            frames,
            batch.token_len,
            blank=self.blank,
            reduction="none",
            zero_infinity=True,
        )
        if not bool(fits.all()):
            logger.warning(
                "%d of %d utterances have fewer frames than CTC needs for their text, and are left "
                "out of the batch",
                int((~fits).sum()),
                len(fits),
            )
        fitting = fits.to(each.dtype)
        return (each * fitting).sum() / fitting.sum().clamp(min=1), scores, frames

    @staticmethod
    def needed(tokens: Tensor, token_len: Tensor) -> Tensor:
        """(B,) frames that CTC needs (Graves et al. 2006): a token each, and a blank between equal
        neighbours."""
        inside = torch.arange(1, tokens.shape[1], device=tokens.device) < token_len[:, None]
        return token_len + ((tokens[:, 1:] == tokens[:, :-1]) & inside).sum(1)

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
