"""What is counted and watched during training: hours, train.csv, validation, signals, losses that
are no number."""

import logging
import math
import signal
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import torch

from warmstart.models.recipe import Recipe
from warmstart.run.errors import UserError
from warmstart.training import checkpoints
from warmstart.training.distributed import Ranks
from warmstart.training.interruption import Interruption
from warmstart.training.order import EndlessSampler, seed_step
from warmstart.training.progress import Progress
from warmstart.training.record import Starts
from warmstart.training.unreadable import FEWEST_UNREADABLE, described
from warmstart.training.validation import Validation

logger = logging.getLogger(__name__)


_WATCHED = ("loss", "dev_loss", "dev_wer")
_LISTED_FILES = 8


@dataclass(frozen=True)
class Asked:
    """Seconds of a batch, as its cuts declare them.

    Attributes:
        declared_s: all, as heard.
        budget_s: of the budget, as recorded.
        replay_s: of a replayed language, as heard.
    """

    declared_s: float
    budget_s: float
    replay_s: float

    @classmethod
    def of(cls, trained: dict[str, Any], heard: list[bool] | None = None) -> "Asked":
        """Of all cuts of a step, or of those that were heard."""
        if heard is None:
            return cls(sum(trained["durations_s"]), trained["budget_s"], trained["replay_s"])
        each = zip(trained["durations_s"], trained["each_budget_s"], heard, strict=True)
        kept = [(duration_s, budget_s) for duration_s, budget_s, one in each if one]
        return cls(
            sum(duration_s for duration_s, _ in kept),
            sum(budget_s for _, budget_s in kept),
            # A cut that is not of the budget is replayed.
            sum(duration_s for duration_s, budget_s in kept if not budget_s),
        )


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values) if values else math.nan


def _given(row: dict[str, Any], name: str) -> bool:
    value = row.get(name)
    # The rate of no words is no number, and JSON has none for it.
    return isinstance(value, int | float) and math.isfinite(value)


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
        alive: Callable[[str], None] = lambda what: None,
        learns_of: Callable[[Any], bool] = lambda batch: True,
    ):
        self._sampler, self._total_hours, self._steps, self._seed, self._settings = (
            sampler,
            total_hours,
            steps,
            seed,
            settings,
        )
        self._validate, self._sample_rate = validate, sample_rate
        self._alive, self._learns_of = alive, learns_of
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
        # Hours of both that were asked for and could not be read; cuts of the budget that never
        # could so far, with their seconds as recorded; the first files.
        self.state |= {"unread_hours": 0.0, "unread_replay_hours": 0.0}
        self.state |= {"never_heard": {}, "unreadable_files": []}
        # Seconds of steps, without data, validations and checkpoints, and of how many: a run that
        # began before they were counted goes on.
        self.state |= {"steps_s": 0.0, "timed_steps": 0}
        # The last step until which little enough was missing: checkpoints of later ones go when a
        # run stops for it.
        self.state |= {"heard_enough_until": 0}
        self._learns = True  # from the batch at hand
        self.padding = {"audio_s": 0.0, "padded_s": 0.0}
        self.averaged_steps: list[
            int
        ] = []  # of the checkpoints whose mean the model is; none: its last weights
        self._clock = self._began = time.monotonic()
        # When the row before was made, and how long the loader had been waited for by then.
        self._row_began = self._clock, 0.0

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
        self._row_began = self._clock, self._sampler.waited_s
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
        self._began = time.monotonic()
        seed_step(self._seed, trainer.global_step, self._ranks.rank)
        self._learns = any(self._heard(trainer.global_step)) and self._learns_of(batch)

    def on_before_backward(self, trainer: pl.Trainer, pl_module: Any, loss: Any) -> None:
        """Nothing is learned from what stands in for a batch of which no cut can be read, or no
        text can be aligned."""
        if not self._learns:
            loss.register_hook(torch.zeros_like)

    def _heard(self, index: int) -> list[bool]:
        """Which cuts of a batch could be read."""
        trained = self._sampler.recent[index]
        return trained.get("heard") or [True] * len(trained["ids"])

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: Any, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Count the finished step; stop on a loss that is no number, or on a signal."""
        step = trainer.global_step
        self._alive(f"step {step}")
        trained = self._sampler.recent[step - 1]
        heard = self._heard(step - 1)
        read, missing = any(heard), heard.count(False)
        learns = self._learns
        loss = float(outputs["loss"]) if learns else 0.0  # which waits for a GPU
        self.state["steps_s"] += time.monotonic() - self._began
        self.state["timed_steps"] += 1
        if missing:
            logger.warning(
                "step %d: %d of %d cuts could not be read and were left out",
                step,
                missing,
                len(trained["ids"]),
            )
        asked = Asked.of(trained)
        got = Asked.of(trained, heard) if missing else asked
        audio_s = float(batch[1].sum()) / self._sample_rate if read else 0.0
        replay_s = audio_s * (got.replay_s / got.declared_s) if read else 0.0
        budget_s = audio_s * (got.budget_s / got.declared_s) if read else 0.0
        padded_s = batch[0].shape[0] * batch[0].shape[1] / self._sample_rate if read else 0.0
        unread_replay_s = asked.replay_s - got.replay_s
        unread_s = asked.declared_s - got.declared_s - unread_replay_s
        bad, loss_sum, learning, audio_s, replay_s, budget_s, padded_s, *rest = self._ranks.sum(
            *(not math.isfinite(loss), loss, learns, audio_s, replay_s, budget_s, padded_s),
            *(missing, unread_s, unread_replay_s),
            *(self.interruption.received == number for number in self.interruption.SIGNALS),
        )
        missing, unread_s, unread_replay_s, *signals = rest
        if bad:
            raise UserError(self._bad_loss(loss, step, trained))
        loss = loss_sum / learning if learning else math.nan
        self.state.update(
            step=step,
            hours_seen=self.state["hours_seen"] + (audio_s - replay_s) / 3600,
            budget_hours=self.state["budget_hours"] + budget_s / 3600,
            replay_hours=self.state["replay_hours"] + replay_s / 3600,
            epoch=trained["epoch"],
            index=trained["index"],
            epoch_s=trained["epoch_s"],
            undecodable=self.state["undecodable"] + int(missing),
            unread_hours=self.state["unread_hours"] + unread_s / 3600,
            unread_replay_hours=self.state["unread_replay_hours"] + unread_replay_s / 3600,
        )
        self._note_unread(trained, heard, missing)
        self._require_readable(step, missing)
        self.padding["audio_s"] += audio_s
        self.padding["padded_s"] += padded_s
        if learning:
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
            mean_loss = _mean(self._window["loss"])
            self._progress.say(
                step, mean_loss, lr, seen, heard, self.elapsed_s, validated.get("dev_wer")
            )
        postponed = self._validation_due and not validated
        if not postponed and (last or validated or step % self._every == 0):
            self._row(trainer, validated)
            self._require_words()
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

    def _note_unread(self, trained: dict[str, Any], heard: list[bool], missing: float) -> None:
        """Keep the list of cuts that no epoch has heard, the same in all processes."""
        never = self.state["never_heard"]
        # Both are the same in all processes.
        if not missing and not never:
            return
        each = list(zip(trained["ids"], trained["each_budget_s"], heard, strict=True))
        own_lost = {
            name: seconds
            for name, seconds, one in each
            # In a later epoch one may be lost that was heard before.
            if not one and seconds and (trained["epoch_of_cuts"] == 0 or name in never)
        }
        own_found = [name for name, _, one in each if one and name in never]
        own_files = [file for file, one in zip(trained["files"], heard, strict=True) if not one]
        (changes,) = self._ranks.sum(len(own_lost) + len(own_found) + len(own_files))
        if not changes:
            return
        for lost, found, files in self._ranks.gather((own_lost, own_found, own_files)):
            never |= lost
            for name in found:
                never.pop(name, None)
            known = self.state["unreadable_files"]
            new = [file for file in dict.fromkeys(files) if file not in known]
            known += new[: _LISTED_FILES - len(known)]

    def _require_readable(self, step: int, missing: float) -> None:
        """Stop a run that hears too little of what it asks for.

        Only at a step where a cut was missing, so that a run goes on once its audio is there again.

        Raises:
            UserError: with counts, hours, files and remedy.
        """
        cuts = self.state["undecodable"]
        limit = self._settings["max_unreadable_fraction"] if cuts else 0.0
        unread = self.state["unread_hours"] + self.state["unread_replay_hours"]
        asked = unread + self.state["hours_seen"] + self.state["replay_hours"]
        if unread <= limit * asked:
            self.state["heard_enough_until"] = step
        elif missing and cuts >= FEWEST_UNREADABLE:
            for path in checkpoints.listed(self._directory) if self._ranks.first else ():
                if checkpoints.step_of(path) > self.state["heard_enough_until"]:
                    path.unlink()
            files = described(self.state["unreadable_files"])
            raise UserError(
                f"{cuts} training cuts cannot be read, {unread:.4f} h of the {asked:.4f} h that "
                f"were asked for until step {step}, more than "
                f"training.max_unreadable_fraction = {limit:g}; first: {files}. Bring the files "
                "back, or mount their disk: then the same command goes on from the last "
                "checkpoint that heard enough. Or raise training.max_unreadable_fraction if you "
                "know why"
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

        def broken_off() -> int:
            self._alive(f"a batch of the validation after step {self.state['step']}")
            return self.interruption.received if breaks_off else 0

        with trainer.precision_plugin.val_step_context():
            return self._validate(self._ranks, broken_off)

    def _require_words(self) -> None:
        """Stop a run whose decoder has said nothing but blank in some validations in a row, after
        the warm-up and before its end: it would go on so for days.

        Raises:
            UserError: with the likely causes.
        """
        asked, step = self._settings["blank_validations"], self.state["step"]
        warm = self._settings["schedule"]["warmup_steps"]
        seen = [row for row in self._progress.rows if _given(row, "dev_empty")]
        last = [row for row in seen if row["step"] > warm][-asked:] if asked else []
        if len(last) < max(1, asked) or step == self._steps or last[-1]["step"] != step:
            return
        if all(row["dev_empty"] == 1 for row in last):
            rates = self._settings["optimizer"]
            raise UserError(
                f"the decoder says nothing but blank in {asked} validations in a row, the last of "
                f"them after step {step} of {self._steps}. Likely causes: a learning rate that is "
                f"too high or too low (training.optimizer.lr {rates['lr']:g}, encoder_lr_scale "
                f"{rates['encoder_lr_scale']:g}, warmup_steps {warm}); texts that the tokenizer "
                "cannot write; recordings that do not say their texts; a start from scratch, "
                "which says blank for long. The checkpoints are kept: with "
                "training.blank_validations raised, or 0 for never, the same command goes on"
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
        """Hours of different audio heard: once an epoch is over the whole set, but for cuts that
        could never be read."""
        met = self._total_hours if self.state["epoch"] > 0 else self.state["epoch_s"] / 3600
        return met - sum(self.state["never_heard"].values()) / 3600

    @property
    def hours_asked(self) -> float:
        """Hours of the budget that would have been seen, could all of it be read."""
        return self.state["hours_seen"] + self.state["unread_hours"]

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
        """The last losses and the last word error rate; None where there was none."""
        row = self.last_row
        return {name: row[name] if _given(row, name) else None for name in _WATCHED}

    @property
    def first(self) -> dict[str, Any]:
        """The first ones, each with the step of its row: what has not fallen since was not
        learned."""
        rows = self._progress.rows
        found = {name: next((row for row in rows if _given(row, name)), {}) for name in _WATCHED}
        return {
            name: {"step": row.get("step"), "value": row.get(name)} for name, row in found.items()
        }

    @property
    def totals(self) -> dict[str, Any]:
        """What was counted in a finished run, for its record."""
        audio_s, padded_s = self.padding["audio_s"], self.padding["padded_s"]
        return {
            "steps": self.state["step"],
            "averaged_steps": self.averaged_steps,
            "hours_seen": round(self.state["hours_seen"], 6),
            "hours_asked": round(self.hours_asked, 6),
            "replay_hours_seen": round(self.state["replay_hours"], 6),
            "replay_hours_asked": round(
                self.state["replay_hours"] + self.state["unread_replay_hours"], 6
            ),
            "unique_hours": round(self.unique_hours, 6),
            "epochs": round(self.epochs, 4),
            "padding_share": round(1 - audio_s / padded_s, 4) if padded_s else None,
            "undecodable_cuts": self.state["undecodable"],
            "never_heard_cuts": len(self.state["never_heard"]),
            "unreadable_files": self.state["unreadable_files"],
            "validation_cuts_unreadable": self._validate.unreadable if self._validate else 0,
            "first": self.first,
            "final": self.final,
            "train_s": round(self.elapsed_s, 2),
            "steps_s": round(self.state["steps_s"], 3),
            "timed_steps": self.state["timed_steps"],
            "audio_hours_per_hour": round(audio_s / self.elapsed_s, 2),
            "wall_s": self.starts.wall_s,
            "gpu_hours": self.starts.gpu_hours,
            "starts": self.starts.entries,
        }

    def _row(self, trainer: pl.Trainer, validated: dict[str, float]) -> None:
        groups = trainer.optimizers[0].param_groups
        elapsed_s, padded_s = self.elapsed_s, self._window["padded_s"]
        (began, waited_before_s), now = self._row_began, time.monotonic()
        waited_s = self._sampler.waited_s - waited_before_s
        self._row_began = now, self._sampler.waited_s
        self._progress.row(
            {
                "step": self.state["step"],
                "loss": round(_mean(self._window["loss"]), 5) if self._window["loss"] else "",
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
                "hours_asked": round(self.hours_asked, 6),
                "loader_wait_share": round(min(1.0, waited_s / max(now - began, 1e-9)), 4),
                **{name: round(value, 5) for name, value in validated.items()},
            }
        )
        self._window = {"loss": [], "padded_s": 0.0, "audio_s": 0.0}
