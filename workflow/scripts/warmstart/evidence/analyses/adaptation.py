"""What each way of adapting costs, in weights, storage and time, beside its error rate."""

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from warmstart.evidence.analyses import base
from warmstart.evidence.analyses.wer import rates_of
from warmstart.evidence.collected import Evidence
from warmstart.evidence.columns import (
    ARM,
    HOURS,
    LANG,
    RECOGNITION,
    TEST_SET,
    TIER,
    TRAINING_SET,
    Column,
    estimate,
)
from warmstart.evidence.display import Display
from warmstart.evidence.keys import FULL
from warmstart.evidence.means import NAN
from warmstart.evidence.settings import Contrast, Settings
from warmstart.evidence.sheets import Sheet, sheet

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_WHOLE = "full"  # the adaptation in which all weights learn
_NONE = "none"  # a donor as it is


def draw(material: base.Material, display: Display, contrast: Contrast | None) -> "Figure":
    """WER against the megabytes that a language adds, a panel for each language, a mark for each
    arm at its most data."""
    from warmstart.evidence import plotting

    table = display.headline(material.tables["adaptation"])
    panels = display.panels(table[table.mb_per_language > 0], mean=False)
    figure, axes = plotting.panels(len(panels))
    if not panels:
        plotting.note(axes[0], "No record of a training says what it stored.")
    for axis, panel in zip(axes, panels, strict=False):
        own = display.panel_rows(table, panel)
        for style, arm in enumerate(display.arms):
            name, rows = plotting.plain(display.arm(arm)), own[own.arm == arm]
            for row in rows[rows.hours == 0].itertuples():
                axis.axhline(
                    row.wer_pct,
                    color=plotting.colour(style),
                    linestyle=plotting.LINES[style % 9],
                    linewidth=0.8,
                    label=f"{name}, not fine-tuned",
                )
            most = rows[(rows.hours == rows.hours.max()) & (rows.mb_per_language > 0)]
            if len(most):
                plotting.errorbars(
                    axis, most.mb_per_language, most, "wer_pct", style, name, line=False
                )
        plotting.sizes_axis(axis)
        axis.set_ylim(bottom=0)
        axis.set_title(plotting.plain(panel.title))
    figure.supylabel("WER (%)", fontsize=9)
    plotting.under(axes, "Stored for each language (MB, log scale)")
    plotting.shared_legend(figure, axes)
    return figure


class Analysis(base.Analysis):
    """A row for each cell at full precision, with what the records of its trainings say."""

    section = base.TRAINING
    title = "What does an adaptation cost?"
    caption = (
        "Weights that learn, megabytes for each language and seconds for each step, of every arm "
        "and budget, beside its error rate."
    )
    details = (
        "From `run.json` of each training, a mean over seeds. Rows with 0 h are donors as they "
        "are, of which nothing is stored. Times can be compared between rows of one `device` only, "
        "and only if nothing else ran beside the trainings."
    )
    columns = (
        *(TRAINING_SET, LANG, TEST_SET, ARM, HOURS, TIER),
        Column("adaptation", "", "its kind; `none`: a donor as it is"),
        Column("options", "", "of the adaptation, as `name=value`", "Options"),
        Column("seeds", "", "trainings whose records are in the row"),
        Column("trained_parameters", "", "weights that learn", "Weights that learn"),
        Column("trained_share_pct", "%", "of all weights, those that learn", "Learn %"),
        Column(
            "mb_per_language",
            "MB",
            "10^6 bytes of the weights that learn, divided by the languages of the training set: "
            "what a language adds where the donor is stored once",
            "MB per language",
        ),
        Column(
            "step_s",
            "s",
            "of a step, from its batch in memory to its update; without data, validations and "
            "checkpoints; empty where no record says it",
            "s per step",
        ),
        Column(
            "loop_step_s",
            "s",
            "the whole loop, validations and checkpoints too, divided by its steps",
            "s per step, with validations",
        ),
        Column("device", "", "the GPU, or the threads of the CPU, of the trainings"),
        *estimate("wer", "pct", "%", "word error rate", "WER %"),
        RECOGNITION,
    )
    note = (
        "MB per language: 10^6 bytes of the weights that learn, because all others are stored once "
        "with the donor."
    )
    figures = (
        base.Drawing(
            "adaptation",
            draw,
            "WER on {test_set} at {tier}, each arm at its most data, against what a language adds "
            "to the storage, with {intervals}.",
            "no record of a training says what it stored",
        ),
    )

    def rows(self, evidence: Evidence, settings: Settings) -> Iterator[dict[str, Any]]:
        """Test sets in their order, cells by training set, arm, hours and tier."""
        records: dict[tuple[str, str, float], list[Mapping[str, Any]]] = {}
        for record in evidence.runs:
            key = record["training_set"], record["arm"], float(record["hours"])
            records.setdefault(key, []).append(record)
        for one in evidence.compared:
            for rates in rates_of(one, settings.confidence, settings.order_of):
                if rates["precision"] != FULL:
                    continue
                hours = float(rates["hours"])
                own = records.get((rates["training_set"], rates["arm"], hours), [])
                languages = settings.targets.get(rates["training_set"], (rates["training_set"],))
                shown = {
                    name: rates[name]
                    for name in ("training_set", "arm", "hours", "tier", "lang", "test_set")
                }
                wer = {name: value for name, value in rates.items() if name.startswith("wer_")}
                yield {
                    **shown,
                    **(costs(own, len(languages)) if hours else _NOTHING),
                    **wer,
                    "recognition": rates["recognition"],
                }

    def absent(self, tables: base.Tables, display: Display, contrast: Contrast | None) -> str:
        """Where all weights of all arms learn, there is nothing to weigh."""
        kinds = set(tables["adaptation"].adaptation.dropna()) - {_NONE, ""}
        if kinds - {_WHOLE}:
            return ""
        return (
            "All weights of every arm learn, so there are no ways of adapting to compare; "
            "`arms.NAME.adaptation` asks for others."
            if kinds
            else "Not known: no record of a training says what it adapted."
        )

    def sheet(
        self, tables: base.Tables, display: Display, contrast: Contrast | None
    ) -> Sheet | None:
        """Rows of the headline."""
        table = display.headline(tables["adaptation"])
        of = self.fields(display)
        fields = [
            of.language(),
            *of.training_set(),
            of.arm(),
            of.hours(),
            of.text("adaptation"),
            of.number("wer_pct", 2),
            of.interval("wer", "pct", signed=False),
            of.number("mb_per_language", 3),
            of.number("trained_share_pct", 3),
            of.number("trained_parameters", 0),
            of.number("step_s", 3),
            of.number("loop_step_s", 3),
            of.text("device", wide=True),
            *of.recognition(tables["adaptation"]),
            of.text("options", wide=True),
        ]
        filters = [column.label for column in (LANG, ARM, HOURS)]
        return sheet(
            self.sheet_name(display, contrast),
            fields,
            table.itertuples(),
            sortable=True,
            filters=filters,
        )


_NOTHING: dict[str, Any] = {
    "adaptation": _NONE,
    "seeds": 0,
    "trained_parameters": 0,
    "trained_share_pct": 0.0,
    "mb_per_language": 0.0,
}


def costs(records: Sequence[Mapping[str, Any]], languages: int) -> dict[str, Any]:
    """What the records of the seeds of a run say together.

    Args:
        records: of `run.json`; those of earlier releases lack some of what is asked.
        languages: of the training set.
    """
    if not records:
        return {"seeds": 0}
    block = dict(records[0].get("adaptation") or {})
    kind = block.pop("kind", "")
    devices = [device_of(record) for record in records]
    return {
        "adaptation": kind,
        "options": " ".join(f"{name}={value}" for name, value in block.items()),
        "seeds": len(records),
        "trained_parameters": _mean(record.get("trained_parameters") for record in records),
        "trained_share_pct": 100 * _mean(record.get("trained_share") for record in records),
        "mb_per_language": _mean(record.get("trained_mb") for record in records) / languages,
        "step_s": _mean(_ratio(record, "steps_s", "timed_steps") for record in records),
        "loop_step_s": _mean(_ratio(record, "train_s", "steps") for record in records),
        "device": "; ".join(dict.fromkeys(filter(None, devices))),
    }


def device_of(record: Mapping[str, Any]) -> str:
    """What a training ran on; nothing where its record does not say."""
    hardware = record.get("hardware") or {}
    if hardware.get("gpu"):
        return str(hardware["gpu"])
    return f"CPU, threads: {hardware['threads']}" if "threads" in hardware else ""


def _ratio(record: Mapping[str, Any], over: str, under: str) -> float | None:
    total, count = record.get(over), record.get(under)
    return total / count if total is not None and count else None


def _mean(values: Iterable[float | None]) -> float:
    """Of those that are known; NaN where one is not, because seeds are of one kind."""
    listed = [NAN if value is None else float(value) for value in values]
    return math.fsum(listed) / len(listed)
