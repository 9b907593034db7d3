"""Controls of low-resource transfer, all off by default: freezing, adapters, early stop.

Each is decided by the step and the settings alone, so that it holds for both inits of a pair and across a resume.
"""

import logging
import math
from typing import Any

import lightning.pytorch as pl
import torch

from warmstart import recipe
from warmstart.errors import UserError

logger = logging.getLogger(__name__)

ADAPTER = "warmstart"
ADAPTER_ENCODER = "nemo.collections.asr.modules.conformer_encoder.ConformerEncoderAdapter"
DEFAULT_ADAPTER_DIM = 64


class Freeze(pl.Callback):
    """The subsampling and the first layers of the encoder do not learn before some step.

    Their gradients are dropped before they are clipped and applied: an optimizer leaves a weight without gradient alone, weight
    decay included. `requires_grad` stays as it is, because DDP would wait for gradients that never come.

    Args:
        encoder_layers: how many layers, from the input on; 0 = the subsampling only.
        steps: first step that trains them; they stay as they are for `steps` steps.
    """

    def __init__(self, encoder_layers: int, steps: int):
        self._layers, self._steps = encoder_layers, steps

    def on_train_batch_start(self, trainer: pl.Trainer, pl_module: Any, batch: Any, batch_idx: int) -> None:
        """Hold running statistics too: a batch norm would move without any gradient."""
        for module in self._modules(pl_module):
            _train_statistics(module, trainer.global_step >= self._steps)

    def on_before_optimizer_step(self, trainer: pl.Trainer, pl_module: Any, optimizer: Any) -> None:
        """Drop the gradients of what is frozen."""
        if trainer.global_step >= self._steps:
            return
        for module in self._modules(pl_module):
            for parameter in module.parameters():
                parameter.grad = None

    def _modules(self, model: Any) -> list[torch.nn.Module]:
        return [model.encoder.pre_encode, *model.encoder.layers[: self._layers]]


class StillStatistics(pl.Callback):
    """Running statistics of the encoder stay the donor's: beside adapters nothing of it learns."""

    def on_train_batch_start(self, trainer: pl.Trainer, pl_module: Any, batch: Any, batch_idx: int) -> None:
        """Anew in each step: a validation leaves the whole model in training mode."""
        _train_statistics(pl_module.encoder, False)


def _train_statistics(module: torch.nn.Module, learn: bool) -> None:
    for part in module.modules():
        if isinstance(part, torch.nn.modules.batchnorm._BatchNorm):
            part.train(learn)


class EarlyStop(pl.Callback):
    """Ends training when a validation metric has not become better for some validations in a row.

    The weights are those of the step at which it ended, not of the best validation: what is tested must not be chosen by more
    than the number of steps.

    Args:
        recorder: has `last_row`, the latest row of train.csv.
        every: steps from one validation to the next.
        metric: a column of train.csv that validation fills; lower is better.
        patience: validations without improvement until the end.
    """

    def __init__(self, recorder: Any, every: int, metric: str, patience: int):
        self._recorder, self._every, self._metric, self._patience = recorder, every, metric, patience
        self._best, self._waited, self._seen = math.inf, 0, 0
        self.stopped = False

    def state_dict(self) -> dict[str, Any]:
        """What a resumed run must know."""
        return {"best": self._best, "waited": self._waited, "seen": self._seen, "stopped": self.stopped}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Continue to wait where the checkpoint was made."""
        self._best, self._waited, self._seen = (state_dict[name] for name in ("best", "waited", "seen"))
        self.stopped = state_dict["stopped"]

    def on_train_start(self, trainer: pl.Trainer, pl_module: Any) -> None:
        """A run that had ended, and was killed while its model was written, ends again.

        The checkpoint of a signal is written by the recorder, with a validation of its step that nobody has looked at.
        """
        self._look(trainer.global_step)
        trainer.should_stop = trainer.should_stop or trainer.strategy.broadcast(self.stopped)

    def on_train_batch_end(self, trainer: pl.Trainer, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        """Look at each validation once."""
        if trainer.global_step % self._every:
            return
        self._look(trainer.global_step)
        # The table is written by one process; all must leave the loop at the same step.
        if trainer.strategy.broadcast(self.stopped):
            self.stopped = trainer.should_stop = True

    def _look(self, step: int) -> None:
        row = self._recorder.last_row
        if step % self._every or row.get("step") != step or self._metric not in row or step == self._seen:
            return
        value, self._seen = float(row[self._metric]), step
        if value < self._best:
            self._best, self._waited = value, 0
        else:
            self._waited += 1
        if self._waited >= self._patience:
            self.stopped = True
            logger.info("step %d: %s no better than %g for %d validations", step, self._metric, self._best, self._waited)


def callbacks(settings: dict[str, Any], recorder: Any) -> list[pl.Callback]:
    """The callbacks that the settings ask for, to be placed after the recorder."""
    made: list[pl.Callback] = []
    if settings.get("freeze"):
        made.append(Freeze(**settings["freeze"]))
    if adapts(settings):
        made.append(StillStatistics())
    if settings.get("early_stop"):
        made.append(EarlyStop(recorder, settings.get("validate_every_steps", 1000), **settings["early_stop"]))
    return made


def check(settings: dict[str, Any], encoder: dict[str, Any]) -> None:
    """Refuse controls that this encoder or these settings cannot have.

    Args:
        settings: block `training`.
        encoder: encoder block of the donor's configuration.

    Raises:
        UserError: with the key, its value and what is allowed.
    """
    recipe.check_controls(settings)
    layers = (settings.get("freeze") or {}).get("encoder_layers", 0)
    if layers > encoder["n_layers"]:
        raise UserError(f"training.freeze.encoder_layers is {layers}; the encoder has {encoder['n_layers']} layers")


def adapts(settings: dict[str, Any]) -> bool:
    """Whether only adapters of the encoder are trained."""
    return settings.get("adaptation", "full") == "adapter"


def adaptable(encoder: dict[str, Any]) -> dict[str, Any]:
    """Encoder settings under which NeMo builds an encoder that takes adapters; its weights have the same names."""
    return encoder | {"_target_": ADAPTER_ENCODER}


def add_adapters(model: Any, dim: int, seed: int) -> int:
    """Put a bottleneck adapter behind each layer of the encoder and freeze the rest of the encoder.

    A new adapter changes nothing (its last layer is zero); the others of its weights are drawn from `seed` alone.

    Args:
        model: built from `adaptable` encoder settings, donor loaded.
        dim: width of the bottleneck.

    Returns:
        How many weights of the encoder are trained.

    Source:
        Houlsby et al., arXiv 1902.00751; NeMo's LinearAdapter (nemo/collections/common/parts/adapter_modules.py).
    """
    from nemo.collections.common.parts.adapter_modules import LinearAdapterConfig

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model.add_adapter(name=f"encoder:{ADAPTER}", cfg=LinearAdapterConfig(in_features=model.cfg.encoder.d_model, dim=dim))
    model.set_enabled_adapters(enabled=True)
    for parameter in model.encoder.parameters():
        parameter.requires_grad_(False)
    trained = 0
    for layer in model.encoder.layers:
        for parameter in layer.adapter_layer.parameters():
            parameter.requires_grad_(True)
            trained += parameter.numel()
    return trained
