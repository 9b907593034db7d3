"""Rounds of a run as one run: the last round's model, one curve, one record."""

import csv
import logging
import os
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from warmstart.run import files, vouchers
from warmstart.run.errors import UserError
from warmstart.study.grid import Run

logger = logging.getLogger(__name__)

Record = dict[str, Any]

# What goes on from round to round in a curve.
_RUNNING = (*("step", "hours_seen", "epochs", "elapsed_s", "replay_hours", "hours_asked"),)
# What is summed in a record.
_SUMMED = (
    *("steps_planned", "steps", "hours_seen", "hours_asked", "replay_hours_seen"),
    *("replay_hours_asked", "epochs", "undecodable_cuts", "train_s", "wall_s", "gpu_hours"),
    *("cpu_s", "steps_s", "timed_steps"),
)
# What a run is when its last round has ended; all else is as its first round began.
_LAST = (
    *("averaged_steps", "padding_share", "validation_cuts_unreadable", "final"),
    *("audio_hours_per_hour", "model_sha256", "git_commit", "versions", "hardware", "slurm_job"),
    *("never_heard_cuts", "unreadable_files"),
)
_MOST = ("peak_mb", "unique_hours")
_OF_ROUND = (
    *("steps", "cuts", "hours_budget", "replay_hours", "hours_seen", "train_s", "wall_s"),
    *("model_sha256", "trained_parameters"),
)


def join(
    run: Run, rounds: Sequence[Path], output: Path, about: Sequence[Mapping[str, Any]]
) -> None:
    """Write a run's model, train.csv and run.json.

    Args:
        run: the run.
        rounds: models of its rounds, in their order, each with its curve and record beside it.
        output: the run's model; a second name of the last round's, because copies of large models
            fill disks.
        about: what is to be known of each round: `data`, and of one whose cuts a model chose the
            report of that choice.

    Raises:
        UserError: a round of another run, one out of order, or a model that is not what its record
            says.
    """
    records = [_record(run, model, number) for number, model in enumerate(rounds, 1)]
    for before, model, record in zip(rounds, rounds[1:], records[1:], strict=False):
        if record["input_digests"].get("start") != vouchers.verified(before):
            raise UserError(
                f"{model} did not begin with {before}; remove it and run the workflow again"
            )
    vouchers.verified(rounds[-1])
    folder = output.parent
    _name(rounds[-1], output)
    _write_curve([model.with_name("train.csv") for model in rounds], folder / "train.csv")
    files.write_json(folder / "run.json", _joined(records, about))
    logger.info(
        "%s: %d rounds, %d steps", run.path, len(rounds), sum(one["steps"] for one in records)
    )


def _record(run: Run, model: Path, number: int) -> Record:
    record = files.read_json(model.with_name("run.json"))
    said = Run(*(record[name] for name in ("training_set", "arm", "hours", "seed")))
    found = (record["settings"].get("round") or {}).get("number")
    if said != run or found != number:
        raise UserError(
            f"{model}: round {found} of {said.path}, and round {number} of {run.path} is asked for"
        )
    return record


def _name(model: Path, output: Path) -> None:
    """A second name for a file; a copy where the file system has no hard links. Its time is now,
    because Snakemake compares it with that of the records beside the rounds' models."""
    with files.explaining_full_disk(output), files.atomic_path(output) as temporary:
        temporary.unlink(missing_ok=True)
        try:
            os.link(model, temporary)
        except OSError:
            shutil.copyfile(model, temporary)
    os.utime(output)


def _write_curve(curves: Sequence[Path], output: Path) -> None:
    """Rows of all rounds, counted on from one to the next."""
    rows: list[dict[str, str]] = []
    columns: list[str] = []
    offsets = dict.fromkeys(_RUNNING, 0.0)
    for path in curves:
        files.require_end(path)
        with files.reading(path), open(path, encoding="utf-8", newline="") as stream:
            reader = csv.DictReader(stream)
            columns = list(reader.fieldnames or columns)
            own = [
                {name: _shifted(value, offsets.get(name)) for name, value in row.items()}
                for row in reader
            ]
        if own:
            offsets = {name: float(own[-1].get(name) or 0) for name in _RUNNING}
        rows += own
    with (
        files.atomic_path(output) as temporary,
        open(temporary, "w", encoding="utf-8", newline="") as stream,
    ):
        writer = csv.DictWriter(stream, columns, restval="")
        writer.writeheader()
        writer.writerows(rows)


def _shifted(value: str, offset: float | None) -> str:
    """A number of a curve, counted on; other texts as they are."""
    if not offset or not value:
        return value
    if value.isdigit() and offset.is_integer():
        return str(int(value) + int(offset))
    return f"{float(value) + offset:.6f}".rstrip("0").rstrip(".")


def _joined(records: Sequence[Record], about: Sequence[Mapping[str, Any]]) -> Record:
    """The record of the run, as of one that was trained at once, and `rounds`."""
    first, last = records[0], records[-1]
    settings = {key: value for key, value in first["settings"].items() if key != "round"}
    found: Record = {
        # What an adaptation wrote beside a round's model is that round's.
        **{key: value for key, value in first.items() if key != "beside_sha256"},
        **{name: last[name] for name in _LAST if name in last},
        **{
            name: round(sum(one.get(name) or 0 for one in records), 6)
            for name in _SUMMED
            if name in first
        },
        **{name: max(one.get(name) or 0 for one in records) for name in _MOST},
        "starts": [entry for one in records for entry in one.get("starts", [])],
        "settings": settings,
        "rounds": [
            {
                "number": number,
                **what,
                **{name: one[name] for name in _OF_ROUND if name in one},
                "train_cuts_sha256": one["input_digests"]["train_cuts"],
            }
            for number, (one, what) in enumerate(zip(records, about, strict=True), 1)
        ],
    }
    return found
