"""The two families of NeMo's cache-aware FastConformer. A dry run imports this module: NeMo is
imported inside functions."""

from abc import abstractmethod
from pathlib import Path
from typing import TYPE_CHECKING, Any

from warmstart.models.base import Donor, Family, Listener, Recogniser
from warmstart.models.fastconformer.donor import NemoDonor, read_config
from warmstart.models.recipe import Architecture, Recipe
from warmstart.models.tier import Tier
from warmstart.run.errors import UserError

if TYPE_CHECKING:
    from warmstart.models.fastconformer.recogniser import FastConformer


class _FastConformer(Family):
    """What both heads share: the encoder, how it streams, and where its weights come from."""

    def read_donor(self, path: str | Path) -> NemoDonor:
        """Of the configuration in a `.nemo`; see `donor.read_config`."""
        return NemoDonor(path, read_config(path))

    def check_settings(self, settings: Recipe) -> None:
        """Contexts and their probabilities."""
        model = settings["model"]
        contexts, probabilities = model["contexts"], model["context_probs"]
        if len(contexts) != len(probabilities):
            raise UserError(
                f"training.model.context_probs has {len(probabilities)} numbers for "
                f"{len(contexts)} contexts; give one each"
            )
        # NeMo compares with == (conformer_encoder.py), an hour into the job: [0.7, 0.2, 0.1] is
        # refused there.
        if sum(probabilities) != 1:
            raise UserError(
                f"training.model.context_probs sums to {sum(probabilities)!r}; the sum in floating "
                "point must be exactly 1: use halves, quarters, eighths"
            )

    def check_tier(self, tier: Tier, settings: Recipe) -> None:
        """Its context must be whole chunks, and one that the models are trained with."""
        here = f"tiers.{tier.name}.context is [{tier.left}, {tier.right}]"
        if tier.left % (tier.right + 1):
            # conformer_encoder.py raises the same, an hour into the job.
            fits = [right for right in range(tier.left) if tier.left % (right + 1) == 0]
            raise UserError(
                f"{here}: the left context must be a multiple of the chunk "
                f"(right + 1 = {tier.right + 1}); right contexts that fit left {tier.left}: "
                f"{fits}; another left context has to stand in training.model.contexts, and an "
                "edit of that trains every run again"
            )
        contexts = [list(context) for context in settings["model"]["contexts"]]
        if tier.context not in contexts:
            raise UserError(
                f"{here}, a context the models are not trained with; add it to "
                f"training.model.contexts ({contexts}), which trains every run again, or take one "
                "of those"
            )
        probabilities = settings["model"]["context_probs"]
        drawn = zip(contexts, probabilities, strict=True)
        if not any(share for context, share in drawn if context == tier.context):
            raise UserError(
                f"{here}, which training.model.context_probs ({probabilities}) never draws, so the "
                "models would not be trained with it; give it a share"
            )

    def check_export(self, tier: Tier) -> None:
        """See `onnx_export.require_exportable`."""
        from warmstart.models.fastconformer.onnx_export import require_exportable

        require_exportable(tier)

    def build(
        self,
        donor: Donor | None,
        settings: Recipe,
        *,
        tokenizer: Path | None,
        seed: int,
        steps: int,
        take_weights: bool = True,
        adaptable: bool = False,
    ) -> Recogniser:
        """Around the donor's encoder; nothing but encoder and preprocessor is taken over."""
        import lightning.pytorch as pl

        from warmstart.models.fastconformer import adapters, build, optimizer
        from warmstart.run.logs import route_nemo_logs

        if tokenizer is None:
            raise UserError("a FastConformer needs a tokenizer; make it with train_tokenizer.py")
        if donor is not None and not isinstance(donor, NemoDonor):
            raise UserError(f"{donor.path}: no .nemo file, which a FastConformer starts from")
        model = settings["model"]
        given = build.fresh_encoder(model) if donor is None else donor.config
        config = self._config(given, model, tokenizer)
        if adaptable:
            config["encoder"] = adapters.adaptable(config["encoder"])
        config |= optimizer.optimizer_config(settings, steps, config["encoder"]["d_model"])
        config |= optimizer.spec_augment_config(settings.get("spec_augment"))
        if donor is not None and take_weights:
            build.require_size(donor.path, config["encoder"])
        pl.seed_everything(seed, verbose=False)
        made = self._make(config)
        route_nemo_logs()
        if donor is not None:  # otherwise all of it is new, and drawn in one go
            if take_weights:
                made.loaded_tensors = build.load_encoder(made.model, donor.path)
            build.reset_new_modules(made.model, made.heads, seed)
        self._finish(made, settings)
        return made

    def listen(
        self, donor: Donor, tier: Tier, device: str = "cpu", *, random_seed: int | None = None
    ) -> Listener:
        """See `listener.DonorListener`; the encoder serves both heads."""
        from warmstart.models.fastconformer import listener

        if not isinstance(donor, NemoDonor):
            raise UserError(f"{donor.path}: no .nemo file, which a FastConformer starts from")
        return listener.DonorListener(donor, tier, device, random_seed)

    @abstractmethod
    def _config(
        self, donor: dict[str, Any], model: Architecture, tokenizer: Path
    ) -> dict[str, Any]:
        """NeMo's settings of a model around an encoder."""

    @abstractmethod
    def _make(self, config: dict[str, Any]) -> "FastConformer":
        """A model of these settings."""

    def _finish(self, made: "FastConformer", settings: Recipe) -> None:
        """What is to be done to a model before it trains."""


class Transducer(_FastConformer):
    """With an LSTM predictor and a joint."""

    def _config(
        self, donor: dict[str, Any], model: Architecture, tokenizer: Path
    ) -> dict[str, Any]:
        from warmstart.models.fastconformer import build

        return build.transducer_config(donor, model, tokenizer)

    def _make(self, config: dict[str, Any]) -> "FastConformer":
        from nemo.collections.asr.models import EncDecRNNTBPEModel
        from omegaconf import OmegaConf

        from warmstart.models.fastconformer.recogniser import TransducerModel

        return TransducerModel(EncDecRNNTBPEModel(cfg=OmegaConf.create(config)))

    def _finish(self, made: "FastConformer", settings: Recipe) -> None:
        from warmstart.models.fastconformer import loss

        loss.use_fast_loss(made.model, settings.get("joint_mb"))

    def load(self, path: str | Path, device: str = "cpu") -> Recogniser:
        """A transducer, of a hybrid model too."""
        from warmstart.models.fastconformer import load
        from warmstart.models.fastconformer.recogniser import TransducerModel

        return TransducerModel(load.load_model(path, device, "transducer"))


class Ctc(_FastConformer):
    """With a CTC head."""

    def _config(
        self, donor: dict[str, Any], model: Architecture, tokenizer: Path
    ) -> dict[str, Any]:
        from warmstart.models.fastconformer import build

        return build.ctc_config(donor, model, tokenizer)

    def _make(self, config: dict[str, Any]) -> "FastConformer":
        from nemo.collections.asr.models import EncDecCTCModelBPE
        from omegaconf import OmegaConf

        from warmstart.models.fastconformer.recogniser import CtcModel

        return CtcModel(EncDecCTCModelBPE(cfg=OmegaConf.create(config)))

    def _finish(self, made: "FastConformer", settings: Recipe) -> None:
        from warmstart.models.ctc import MeanOfAlignable

        made.model.loss = MeanOfAlignable(made.model.loss)

    def load(self, path: str | Path, device: str = "cpu") -> Recogniser:
        """A CTC model, or the CTC head of a hybrid one."""
        from warmstart.models.fastconformer import load
        from warmstart.models.fastconformer.recogniser import CtcModel

        return CtcModel(load.load_model(path, device, "ctc"))
