"""Controls of low-resource transfer, all off by default: freezing, adapters, early stop.

Each is decided by the step and the settings alone, so that it holds for both inits of a pair and
across a resume.
"""

import logging
import math
from typing import Any

import lightning.pytorch as pl

from warmstart.models.recipe import Recipe

logger = logging.getLogger(__name__)


class EarlyStop(pl.Callback):
    """Ends training when a validation metric has not become better for some validations in a row.

    The weights are those of the step at which it ended, not of the best validation: what is tested
    must not be chosen by more than the number of steps.

    Args:
        recorder: has `last_row`, the latest row of train.csv.
        every: steps from one validation to the next.
        metric: a column of train.csv that validation fills; lower is better.
        patience: validations without improvement until the end.
    """

    def __init__(self, recorder: Any, every: int, metric: str, patience: int):
        self._recorder, self._every, self._metric, self._patience = (
            recorder,
            every,
            metric,
            patience,
        )
        self._best, self._waited, self._seen = math.inf, 0, 0
        self.stopped = False

    def state_dict(self) -> dict[str, Any]:
        """What a resumed run must know."""
        return {
            "best": self._best,
            "waited": self._waited,
            "seen": self._seen,
            "stopped": self.stopped,
        }

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Continue to wait where the checkpoint was made."""
        self._best, self._waited, self._seen = (
            state_dict[name] for name in ("best", "waited", "seen")
        )
        self.stopped = state_dict["stopped"]

    def on_train_start(self, trainer: pl.Trainer, pl_module: Any) -> None:
        """A run that had ended, and was killed while its model was written, ends again.

        The checkpoint of a signal is written by the recorder, with a validation of its step that
        nobody has looked at.
        """
        self._look(trainer.global_step)
        trainer.should_stop = trainer.should_stop or trainer.strategy.broadcast(self.stopped)

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: Any, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Look at each validation once."""
        if trainer.global_step % self._every:
            return
        self._look(trainer.global_step)
        # The table is written by one process; all must leave the loop at the same step.
        if trainer.strategy.broadcast(self.stopped):
            self.stopped = trainer.should_stop = True

    def _look(self, step: int) -> None:
        row = self._recorder.last_row
        if (
            step % self._every
            or row.get("step") != step
            or self._metric not in row
            or step == self._seen
        ):
            return
        value, self._seen = float(row[self._metric]), step
        if value < self._best:
            self._best, self._waited = value, 0
        else:
            self._waited += 1
        if self._waited >= self._patience:
            self.stopped = True
            logger.info(
                "step %d: %s no better than %g for %d validations",
                step,
                self._metric,
                self._best,
                self._waited,
            )


def callbacks(settings: Recipe, recorder: Any) -> list[pl.Callback]:
    """An `EarlyStop` where the settings ask for one."""
    if not settings["early_stop"]:
        return []
    return [EarlyStop(recorder, settings["validate_every_steps"], **settings["early_stop"])]
