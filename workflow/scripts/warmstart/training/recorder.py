"""What is counted and watched during training: hours, train.csv, validation, signals, losses that
are no number."""

import logging
import math
import signal
import time
from pathlib import Path
from typing import Any

import lightning.pytorch as pl

from warmstart.models.recipe import Recipe
from warmstart.run.errors import UserError
from warmstart.training import checkpoints
from warmstart.training.distributed import Ranks
from warmstart.training.interruption import Interruption
from warmstart.training.order import EndlessSampler, seed_step
from warmstart.training.progress import Progress
from warmstart.training.record import Starts
from warmstart.training.validation import Validation

logger = logging.getLogger(__name__)


class Recorder(pl.Callback):
    """Counts, logs, validates, guards: a row of `train.csv` per interval, a log line a minute, the
    position for a resume."""

    def __init__(
        self,
        run_dir: Path,
        sampler: EndlessSampler,
        total_hours: float,
        steps: int,
        seed: int,
        settings: Recipe,
        validate: Validation | None,
        ranks: Ranks,
        sample_rate: int,
    ):
        self._sampler, self._total_hours, self._steps, self._seed, self._settings = (
            sampler,
            total_hours,
            steps,
            seed,
            settings,
        )
        self._validate, self._sample_rate = validate, sample_rate
        self._every = settings["log_every_steps"]
        self._validate_every = settings["validate_every_steps"]
        self._ranks = ranks
        self._progress = Progress(run_dir, steps, shown=ranks.first)
        self._directory = run_dir / checkpoints.FOLDER
        self.starts = Starts(self._directory / "starts.json", ranks.world, shown=ranks.first)
        self.interruption = Interruption()
        self._window = {"loss": [], "padded_s": 0.0, "audio_s": 0.0}
        self.state = {
            "hours_seen": 0.0,
            "elapsed_s": 0.0,
            "epoch": 0,
            "index": 0,
            "epoch_s": 0.0,
            "undecodable": 0,
            "step": 0,
        }
        # Hours heard of the budget, were each cut heard as recorded; and hours heard of a replayed
        # language.
        self.state |= {"budget_hours": 0.0, "replay_hours": 0.0}
        self.padding = {"audio_s": 0.0, "padded_s": 0.0}
        self.averaged_steps: list[
            int
        ] = []  # of the checkpoints whose mean the model is; none: its last weights
        self._clock = time.monotonic()

    # What a checkpoint carries.

    def state_dict(self) -> dict[str, Any]:
        """Position in the data, hours and seconds so far."""
        return {
            **self.state,
            "elapsed_s": self.elapsed_s,
            **self.padding,
            "rows": self._progress.rows,
            # Steps since the last row, which the next one is about too.
            "window": {**self._window, "loss": list(self._window["loss"])},
        }

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Continue where the checkpoint was made."""
        self.state = {name: state_dict.get(name, value) for name, value in self.state.items()}
        self.padding = {name: state_dict[name] for name in self.padding}
        self._progress.rows = state_dict["rows"]
        self._window = state_dict.get("window", self._window)
        self._sampler.start = (self.state["epoch"], self.state["index"])
        self._sampler.first_step = self.state["step"]

    def on_train_start(self, trainer: pl.Trainer, pl_module: Any) -> None:
        """Begin or continue the table, and listen to the signals of a scheduler."""
        self._clock = time.monotonic()
        self._progress.start(self.state["step"])
        self.starts.begin(self.state["step"])
        self.interruption.listen()
        if self._validation_due and self._window["loss"]:
            # A signal came before it; otherwise the row of such a step is there, and no step waits
            # for a row.
            validated = self._validation(trainer)
            if not validated:
                self._leave(trainer, self.interruption.received)
            self._row(trainer, validated)

    def show(self) -> None:
        """Write train.csv anew."""
        self._progress.write_table()

    def close(self) -> None:
        """However training ended: close what is shown, give the signals back."""
        self._progress.close()
        self.interruption.restore()

    def on_train_batch_start(
        self, trainer: pl.Trainer, pl_module: Any, batch: Any, batch_idx: int
    ) -> None:
        """Random numbers of this step from (seed, step)."""
        seed_step(self._seed, trainer.global_step, self._ranks.rank)

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: Any, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Count the finished step; stop on a loss that is no number, or on a signal."""
        step = trainer.global_step
        trained = self._sampler.recent[step - 1]
        loss = float(outputs["loss"])
        lengths = batch[1]
        missing = len(trained["ids"]) - len(lengths)
        if missing:
            logger.warning(
                "step %d: %d of %d cuts could not be decoded and were left out",
                step,
                missing,
                len(trained["ids"]),
            )
        audio_s = float(lengths.sum()) / self._sample_rate
        declared_s = sum(trained["durations_s"])
        # Of cuts that could not be decoded it is not known which: a replayed one and one of the
        # budget count alike.
        replay_s = audio_s * (trained["replay_s"] / declared_s)
        budget_s = audio_s * (trained["budget_s"] / declared_s)
        padded_s = batch[0].shape[0] * batch[0].shape[1] / self._sample_rate
        bad, loss_sum, audio_s, replay_s, budget_s, padded_s, missing, *signals = self._ranks.sum(
            *(not math.isfinite(loss), loss, audio_s, replay_s, budget_s, padded_s, missing),
            *(self.interruption.received == number for number in self.interruption.SIGNALS),
        )
        if bad:
            raise UserError(self._bad_loss(loss, step, trained))
        loss = loss_sum / self._ranks.world
        self.state.update(
            step=step,
            hours_seen=self.state["hours_seen"] + (audio_s - replay_s) / 3600,
            budget_hours=self.state["budget_hours"] + budget_s / 3600,
            replay_hours=self.state["replay_hours"] + replay_s / 3600,
            epoch=trained["epoch"],
            index=trained["index"],
            epoch_s=trained["epoch_s"],
            undecodable=self.state["undecodable"] + int(missing),
        )
        self.padding["audio_s"] += audio_s
        self.padding["padded_s"] += padded_s
        self._window["loss"].append(loss)
        self._window["audio_s"] += audio_s
        self._window["padded_s"] += padded_s

        last = step == self._steps
        leaving = any(signals) and not last
        validated = {} if leaving else self._validation(trainer)
        if self._validation_due and not validated and not leaving:
            leaving, signals = (
                True,
                [self.interruption.received == number for number in self.interruption.SIGNALS],
            )
        lr = trainer.optimizers[0].param_groups[0]["lr"]
        self._progress.step(loss, lr, self.padding["audio_s"] / self.elapsed_s)
        due = self._progress.due()
        if due or validated:
            seen, heard = self.state["hours_seen"], self.padding["audio_s"] / 3600
            mean_loss = sum(self._window["loss"]) / len(self._window["loss"])
            self._progress.say(
                step, mean_loss, lr, seen, heard, self.elapsed_s, validated.get("dev_wer")
            )
        postponed = self._validation_due and not validated
        if not postponed and (last or validated or step % self._every == 0):
            self._row(trainer, validated)
            due = True
        if due:
            self.starts.note(step)
        if leaving:
            self._leave(
                trainer,
                max(
                    number
                    for number, sent in zip(self.interruption.SIGNALS, signals, strict=True)
                    if sent
                ),
            )

    @property
    def _validation_due(self) -> bool:
        step = self.state["step"]
        return (
            self._validate is not None
            and step > 0
            and (step == self._steps or step % self._validate_every == 0)
        )

    def _validation(self, trainer: pl.Trainer) -> dict[str, float]:
        """Empty where none is due, or a signal broke it off: it may take longer than a scheduler
        waits."""
        if self._validate is None or not self._validation_due:
            return {}
        # Several processes must agree, and do not hear of a signal at the same time: theirs is
        # finished first.
        breaks_off = self._ranks.world == 1 and self.state["step"] != self._steps
        with trainer.precision_plugin.val_step_context():
            return self._validate(
                self._ranks, (lambda: self.interruption.received) if breaks_off else None
            )

    def _leave(self, trainer: pl.Trainer, number: int) -> None:
        """Write a checkpoint and end, so that the scheduler starts the same command again."""
        step = self.state["step"]
        path = checkpoints.path_at(self._directory, step)
        if not trainer.strategy.broadcast(path.exists()):
            trainer.save_checkpoint(path)
        self.starts.note(step)
        if self._ranks.first:
            logger.warning(
                "stopped by %s: checkpoint at step %d of %d; start again to resume (%s)",
                *(signal.Signals(number).name, step, self._steps, path),
            )
        raise SystemExit(self.interruption.status(number))

    @staticmethod
    def _bad_loss(loss: float, step: int, trained: dict[str, Any]) -> str:
        if math.isfinite(loss):
            return f"loss of another process is not finite at step {step}; its log names the cuts"
        worst = sorted(zip(trained["durations_s"], trained["ids"], strict=True), reverse=True)[:8]
        listed = ", ".join(f"{cut_id} ({duration:.2f} s)" for duration, cut_id in worst)
        return (
            f"loss is {loss} at step {step}; {len(trained['ids'])} cuts in the batch: {listed}; "
            "lower "
            "training.optimizer.lr or training.gradient_clip, or look at these recordings"
        )

    @property
    def last_row(self) -> dict[str, Any]:
        """The newest row of train.csv, empty before the first."""
        return self._progress.last_row

    @property
    def unique_hours(self) -> float:
        """Hours of different audio seen: the whole set once an epoch is over."""
        return self._total_hours if self.state["epoch"] > 0 else self.state["epoch_s"] / 3600

    @property
    def epochs(self) -> float:
        """Passes over the set, by hours as recorded."""
        return self.state["budget_hours"] / self._total_hours

    @property
    def elapsed_s(self) -> float:
        """Seconds in the training loop, over all starts of the run, up to the checkpoints they
        left."""
        return self.state["elapsed_s"] + time.monotonic() - self._clock

    @property
    def final(self) -> dict[str, Any]:
        """The last losses and the last word error rate."""
        return {name: self.last_row.get(name) for name in ("loss", "dev_loss", "dev_wer")}

    @property
    def totals(self) -> dict[str, Any]:
        """What was counted in a finished run, for its record."""
        audio_s, padded_s = self.padding["audio_s"], self.padding["padded_s"]
        return {
            "steps": self.state["step"],
            "averaged_steps": self.averaged_steps,
            "hours_seen": round(self.state["hours_seen"], 6),
            "replay_hours_seen": round(self.state["replay_hours"], 6),
            "unique_hours": round(self.unique_hours, 6),
            "epochs": round(self.epochs, 4),
            "padding_share": round(1 - audio_s / padded_s, 4),
            "undecodable_cuts": self.state["undecodable"],
            "final": self.final,
            "train_s": round(self.elapsed_s, 2),
            "audio_hours_per_hour": round(audio_s / self.elapsed_s, 2),
            "wall_s": self.starts.wall_s,
            "gpu_hours": self.starts.gpu_hours,
            "starts": self.starts.entries,
        }

    def _row(self, trainer: pl.Trainer, validated: dict[str, float]) -> None:
        groups = trainer.optimizers[0].param_groups
        elapsed_s, padded_s = self.elapsed_s, self._window["padded_s"]
        self._progress.row(
            {
                "step": self.state["step"],
                "loss": round(sum(self._window["loss"]) / len(self._window["loss"]), 5),
                "lr": float(f"{groups[0]['lr']:.4g}"),
                "lr_encoder": float(f"{groups[-1]['lr']:.4g}"),
                "hours_seen": round(self.state["hours_seen"], 6),
                "unique_hours": round(self.unique_hours, 6),
                "epochs": round(self.epochs, 4),
                "padding_share": round(1 - self._window["audio_s"] / padded_s, 4)
                if padded_s
                else "",
                "hours_per_hour": round(self.padding["audio_s"] / elapsed_s, 2),
                "elapsed_s": round(elapsed_s, 2),
                "replay_hours": round(self.state["replay_hours"], 6),
                **{name: round(value, 5) for name, value in validated.items()},
            }
        )
        self._window = {"loss": [], "padded_s": 0.0, "audio_s": 0.0}
