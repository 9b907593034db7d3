"""AdamW and the learning rates of a study, for families without an optimizer of their own.

Rates are NeMo's step by step (the tests hold both together), so that arms of different families
follow one recipe.
"""

import math
from typing import Any

import torch
from lightning.pytorch.utilities.types import OptimizerLRScheduler

from warmstart.models.base import Recogniser
from warmstart.models.recipe import Recipe
from warmstart.run.errors import UserError

_OPTIMIZERS = {"adamw": torch.optim.AdamW, "adam": torch.optim.Adam}


def configure(
    recogniser: Recogniser, settings: Recipe, steps: int, width: int
) -> OptimizerLRScheduler:
    """What `configure_optimizers` of a LightningModule returns.

    Args:
        recogniser: its part `encoder` learns at `encoder_lr_scale` times the rate of the others.
        settings: `optimizer` {name, lr, encoder_lr_scale, betas, weight_decay}, `schedule` {name,
            warmup_steps, min_lr}. With `cosine`, lr is the peak; with `noam` a factor: the peak is
            lr * (width * warmup_steps) ** -0.5.
        steps: of the whole run.
        width: of the encoder.

    Raises:
        UserError: an optimizer or a schedule that is not here.
    """
    optimizer, schedule = settings["optimizer"], settings["schedule"]
    if optimizer["name"] not in _OPTIMIZERS:
        raise UserError(
            f"training.optimizer.name is {optimizer['name']!r}; allowed: {', '.join(_OPTIMIZERS)}"
        )
    lr = float(optimizer["lr"])  # YAML reads 1e-5, without a point, as text
    encoder = list(recogniser.parts()["encoder"].parameters())
    known = {id(parameter) for parameter in encoder}
    others = [value for value in recogniser.lightning.parameters() if id(value) not in known]
    scale = optimizer["encoder_lr_scale"]
    made = _OPTIMIZERS[optimizer["name"]](
        [{"params": others}, {"params": encoder, "lr": lr * scale}],
        lr=lr,
        betas=tuple(optimizer["betas"]),
        weight_decay=float(optimizer["weight_decay"]),
    )
    rates = Rates(
        schedule["name"], schedule["warmup_steps"], steps, float(schedule["min_lr"]), width
    )
    return {
        "optimizer": made,
        "lr_scheduler": {"scheduler": _Schedule(made, rates), "interval": "step"},
    }


class Rates:
    """The learning rate of a step.

    Args:
        name: cosine or noam.
        warmup_steps: until the peak.
        steps: of the run.
        min_lr: the rate never falls below it.
        width: of the encoder, for noam.

    Source:
        arXiv 1608.03983, eq. 5, without restarts; arXiv 1706.03762, eq. 3.
    """

    def __init__(self, name: str, warmup_steps: int, steps: int, min_lr: float, width: int):
        if name not in ("cosine", "noam"):
            raise UserError(f"training.schedule.name is {name!r}; allowed: cosine, noam")
        self._name, self._warmup, self._steps = name, warmup_steps, steps
        self._least, self._width = min_lr, width

    def at(self, step: int, lr: float) -> float:
        """The rate after `step` steps.

        Args:
            lr: that of the settings, for this group of weights.
        """
        if self._name == "noam":
            step = max(1, step)
            rate = lr * (self._width**-0.5 * min(step**-0.5, step * self._warmup**-1.5))
            return max(rate, self._least) if step > self._warmup else rate
        if self._warmup > 0 and step <= self._warmup:
            return lr * ((step + 1) / (self._warmup + 1))
        if step > self._steps:
            return self._least
        past, left = step - self._warmup, self._steps - self._warmup
        share = 0.5 * (1 + math.cos(math.pi * past / left)) if left else 0.0
        return (lr - self._least) * share + self._least


class _Schedule(torch.optim.lr_scheduler.LRScheduler):
    """Sets the rate of every group."""

    def __init__(self, optimizer: torch.optim.Optimizer, rates: Rates):
        self._rates = rates
        super().__init__(optimizer)

    def get_lr(self) -> list[float]:
        """Of the next step, a group."""
        return [self._rates.at(self.last_epoch, float(lr)) for lr in self.base_lrs]

    def state_dict(self) -> dict[str, Any]:
        """Without the rates, which follow from the settings."""
        return {name: value for name, value in super().state_dict().items() if name != "_rates"}
