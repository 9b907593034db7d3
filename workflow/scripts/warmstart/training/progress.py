"""A run seen while it runs: `train.csv`, TensorBoard files, a log line a minute, and a bar where a
terminal is looked at."""

import csv
import logging
import sys
from pathlib import Path
from typing import Any

from warmstart.run.files import atomic_path, explaining_full_disk
from warmstart.run.logs import MinuteTicker

logger = logging.getLogger(__name__)

COLUMNS = (
    *("step", "loss", "lr", "lr_encoder", "hours_seen", "unique_hours", "epochs", "padding_share"),
    *("hours_per_hour", "elapsed_s", "dev_loss", "dev_wer", "replay_hours", "hours_asked"),
    *("dev_empty", "loader_wait_share"),
)


class Progress:
    """What is shown of a run.

    Args:
        run_dir: gets `train.csv` and `tensorboard/`.
        steps: where the run ends.
        shown: False in all processes of a run but the first.
    """

    def __init__(self, run_dir: Path, steps: int, shown: bool = True):
        self._run_dir, self._steps, self._shown = run_dir, steps, shown
        self._ticker = MinuteTicker()
        self._bar = self._writer = None
        # Kept in the checkpoint too: Snakemake removes train.csv, a declared output, when the job
        # is cut off.
        self.rows: list[dict[str, Any]] = []

    @property
    def last_row(self) -> dict[str, Any]:
        """The newest row, empty before the first."""
        return self.rows[-1] if self.rows else {}

    def start(self, step: int) -> None:
        """Begin, or go on after `step`; what was shown of later steps is taken back."""
        if not self._shown:
            return
        # Both are here with NeMo, and a dry run of the Snakefile must not need them.
        from torch.utils.tensorboard import SummaryWriter
        from tqdm import tqdm

        self.write_table()
        self._writer = SummaryWriter(str(self._run_dir / "tensorboard"), purge_step=step + 1)
        self._bar = tqdm(
            total=self._steps,
            initial=step,
            unit="step",
            disable=not sys.stderr.isatty(),
            dynamic_ncols=True,
        )

    def write_table(self) -> None:
        """The whole of train.csv anew: rows after the checkpoint belong to work that is done
        again."""
        if not self._shown:
            return
        with (
            atomic_path(self._run_dir / "train.csv") as temporary,
            open(temporary, "w", encoding="utf-8", newline="") as stream,
        ):
            writer = csv.DictWriter(stream, COLUMNS, restval="")
            writer.writeheader()
            writer.writerows(self.rows)

    def step(self, loss: float, lr: float, hours_per_hour: float) -> None:
        """A step is done; once a minute a line for the log."""
        if self._bar is None:
            return
        self._bar.set_postfix_str(
            f"loss {loss:.3g}, lr {lr:.2g}, {hours_per_hour:.0f} h/h", refresh=False
        )
        self._bar.update()

    def row(self, row: dict[str, Any]) -> None:
        """Keep a row of the table."""
        self.rows.append(row)
        if self._writer is None:
            return
        path = self._run_dir / "train.csv"
        with explaining_full_disk(path):
            with open(path, "a", encoding="utf-8", newline="") as stream:
                csv.DictWriter(stream, COLUMNS, restval="").writerow(row)
            for name in COLUMNS[1:]:
                if isinstance(row.get(name), int | float):
                    self._writer.add_scalar(name, row[name], row["step"])
            self._writer.flush()

    def due(self) -> bool:
        """Whether a minute has passed since the last line."""
        return self._shown and self._ticker.due()

    def say(
        self,
        step: int,
        loss: float,
        lr: float,
        seen: float,
        heard: float,
        elapsed_s: float,
        dev_wer: float | None = None,
    ) -> None:
        """One line: where the run stands and how long it will take.

        Args:
            step, loss, lr: of the step that is done.
            seen: hours of the budget so far.
            heard: hours of all audio so far.
            elapsed_s: seconds so far.
            dev_wer: where there was a validation.
        """
        if not self._shown:
            return
        left_s = elapsed_s / step * (self._steps - step)
        if self._bar is not None:
            self._bar.clear()
        logger.info(
            "step %d of %d, loss %.4g, lr %.3g, %.2f audio hours seen, %.0f audio hours per hour, "
            "%s%s to go",
            *(step, self._steps, loss, lr, seen, heard / (elapsed_s / 3600)),
            f"dev WER {100 * dev_wer:.1f} %, " if dev_wer is not None else "",
            f"{left_s // 3600:.0f} h {left_s % 3600 // 60:.0f} min"
            if left_s >= 60
            else f"{left_s:.0f} s",
        )
        if self._bar is not None:
            self._bar.refresh()

    def close(self) -> None:
        """End bar and files."""
        for part in (self._bar, self._writer):
            if part is not None:
                part.close()
        self._bar = self._writer = None
