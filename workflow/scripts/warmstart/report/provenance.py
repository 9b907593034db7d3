"""How each run went, and what it was made with: tables from `run.json`."""

from collections.abc import Mapping, Sequence
from typing import Any

from warmstart.evidence.cells import Shown, hours_cell, number_cell, text_cell
from warmstart.evidence.display import Display
from warmstart.evidence.sheets import Field, Sheet, field, sheet
from warmstart.report.fairness import Run
from warmstart.study import grid

_COUNTED = {"cpus": ("CPU", "CPUs"), "threads": ("thread", "threads"), "gpus": ("GPU", "GPUs")}
"""Numbers of the hardware that a run records -> what they count, one and several."""


def runs_sheet(runs: Sequence[Run], display: Display) -> Sheet:
    """Steps, audio, loss and cost of every run."""

    def number(name: str, digits: int) -> Any:
        return lambda run: number_cell(run.get(name), digits)

    fields = [
        field("Trained on", lambda run: text_cell(display.training_set(run["training_set"]))),
        field("Arm", lambda run: text_cell(display.arm(run["arm"]))),
        field("Hours", lambda run: hours_cell(float(run["hours"]))),
        field("Seed", number("seed", 0)),
        field("Steps", number("steps", 0)),
        field("Audio seen h", number("hours_seen", 2), "With repetition"),
        field("Audio asked h", number("hours_asked", 2), "Seen, had all of it been readable"),
        field("Epochs", number("epochs", 1)),
        field("Final loss", lambda run: number_cell((run.get("final") or {}).get("loss"), 3)),
        field("Wall s", number("wall_s", 0), "Of all starts"),
        field("Peak MB", number("peak_mb", 0), "Memory of the process"),
    ]
    return sheet("runs", fields, runs, sortable=True)


def _facts() -> list[Field]:
    """Code, machine, files and versions of a run."""
    return [
        field("Commit", lambda run: text_cell((run.get("git_commit") or "not recorded")[:12])),
        field("Hardware", lambda run: text_cell(hardware(run), wide=True)),
        field("GPU hours", _gpu_hours),
        field("Starts", lambda run: number_cell(len(run.get("starts") or [None]), 0)),
        field("Encoder tensors", _tensors, "Loaded from the init, of those that there are"),
        field("Model sha256", lambda run: text_cell((run.get("model_sha256") or "")[:16])),
        field("Init", lambda run: text_cell(origin(run.get("init_source")), wide=True)),
        field("Init sha256", _init_digest),
        field("Versions", _versions),
    ]


def common_facts(runs: Sequence[Run]) -> list[str]:
    """A line for each fact that is the same for all runs, where there are several."""
    if len(runs) < 2:
        return []
    return [
        f"{fact.head.label}: {fact.cell(runs[0]).text}" for fact in _facts() if _same(fact, runs)
    ]


def provenance_sheet(runs: Sequence[Run]) -> Sheet:
    """What differs between runs; what does not, `common_facts` says."""
    differing = [fact for fact in _facts() if len(runs) < 2 or not _same(fact, runs)]
    fields = [field("Run", lambda run: text_cell(run_name(run))), *differing]
    return sheet("provenance", fields, runs)


def _same(fact: Field, runs: Sequence[Run]) -> bool:
    return len({fact.cell(run).text for run in runs}) == 1


def run_name(run: Run) -> str:
    """A run as its folder is named."""
    return grid.Run(run["training_set"], run["arm"], str(run["hours"]), int(run["seed"])).path


def hardware(run: Run) -> str:
    """The machine in words: `NVIDIA H100, 16 CPUs`, or `x86_64, 2 CPUs, 1 thread, no GPU`."""
    found = dict(run.get("hardware") or {})
    if not found:
        return "not recorded"
    gpu = found.pop("gpu", None)
    said = [str(gpu)] if gpu else []
    for key, value in found.items():
        if key in _COUNTED:
            said.append(f"{value} {_COUNTED[key][value != 1]}")
        elif value and not isinstance(value, (dict, list)):
            said.append(str(value))
    return ", ".join([*said, *([] if gpu else ["no GPU"])])


def _gpu_hours(run: Run) -> Shown:
    hours = run.get("gpu_hours")
    return text_cell("none") if hours == 0 else number_cell(hours, 2)


def _tensors(run: Run) -> Shown:
    loaded, there = run.get("encoder_tensors_loaded"), run.get("encoder_tensors")
    return text_cell(None if loaded is None else f"{loaded} of {there}")


def _init_digest(run: Run) -> Shown:
    return text_cell(((run.get("input_digests") or {}).get("init") or "random")[:16])


def _versions(run: Run) -> Shown:
    found = run.get("versions") or {}
    return text_cell(", ".join(f"{name} {value}" for name, value in found.items()), wide=True)


def origin(source: Mapping[str, Any] | None) -> str:
    """Where a donor came from: repository and commit, or the name of a file; folders of the machine
    stay out of the page."""
    if source is None:
        return "not recorded"
    name, revision = source["source"], source.get("revision")
    return f"{name}@{revision[:12]}" if revision else name.rsplit("/", 1)[-1]


def commit_of(runs: Sequence[Run]) -> str | None:
    """Commit of the code that trained the first run that knows its own."""
    return next((run["git_commit"] for run in runs if run.get("git_commit")), None)
