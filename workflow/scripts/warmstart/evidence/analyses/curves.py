"""How training went: loss and validation WER against hours of audio seen."""

from typing import TYPE_CHECKING

import pandas as pd

from warmstart.evidence import training_logs
from warmstart.evidence.analyses import base
from warmstart.evidence.display import Display
from warmstart.evidence.settings import Contrast

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def draw_loss(material: base.Material, display: Display, contrast: Contrast | None) -> "Figure":
    """Training loss: a panel for each training set, a line for each run."""
    return _draw(material, display, "loss", "Training loss", 1.0)


def draw_validation(
    material: base.Material, display: Display, contrast: Contrast | None
) -> "Figure":
    """WER on the validation cuts, as `draw_loss`."""
    return _draw(material, display, "dev_wer", "Validation WER (%)", 100.0)


def _draw(
    material: base.Material, display: Display, column: str, label: str, factor: float
) -> "Figure":
    from warmstart.evidence import plotting

    logged = {
        run: training_logs.thinned(_logged(curve, column), column)
        for run, curve in material.curves.items()
    }
    logged = {run: rows for run, rows in logged.items() if len(rows)}
    several_seeds = len({run.seed for run in logged}) > 1
    arms = list(display.arms)
    wanted = [name for name in display.training_sets if any(name == r.training_set for r in logged)]
    figure, axes = plotting.panels(len(wanted))
    if not wanted:
        plotting.note(axes[0], f"No run logged: {label}.")
    for axis, name in zip(axes, wanted, strict=False):
        runs = {run: rows for run, rows in sorted(logged.items()) if run.training_set == name}
        budgets = sorted({float(run.hours) for run in runs})
        for run, rows in runs.items():
            style = arms.index(run.arm) if run.arm in arms else 8
            axis.plot(
                rows.hours_seen,
                factor * pd.to_numeric(rows[column]),
                color=plotting.COLOURS[style % 9],
                linestyle=plotting.LINES[budgets.index(float(run.hours)) % 9],
                # A run validated once is a point, and a line through one point is nothing.
                # Budgets are told apart by size too, because one point has no line.
                marker=plotting.MARKERS[style % 9] if len(rows) < 20 else None,
                markersize=3.0 + 1.5 * budgets.index(float(run.hours)),
                markerfacecolor="none" if len(rows) == 1 else None,
                linewidth=1.1,
                label=plotting.plain(f"{display.arm(run.arm)} {run.hours} h")
                + (f" seed {run.seed}" if several_seeds else ""),
            )
        axis.set_title(plotting.plain(display.training_set(name)))
        axis.set_ylim(bottom=0)
    figure.supylabel(label, fontsize=9)
    plotting.under(axes, "Audio seen (h)")
    plotting.shared_legend(figure, axes)
    return figure


def _logged(curve: pd.DataFrame, column: str) -> pd.DataFrame:
    """Rows that logged a column: validation is rarer than the loss, and a run without validation
    has none."""
    if not {column, "hours_seen"} <= set(curve.columns):
        return curve[:0]
    known = pd.to_numeric(curve[column], errors="coerce").notna()
    return curve[known & (curve.hours_seen > 0)]


class Analysis(base.Analysis):
    """Figures only; the table of runs beside them is made from `run.json`."""

    section = base.TRAINING
    title = "Training"
    figures = (
        base.Drawing(
            "training",
            draw_loss,
            "Training loss against hours of audio seen, counted with repetition.",
            empty="no run logged its loss",
        ),
        base.Drawing(
            "validation",
            draw_validation,
            "WER on the validation cuts against hours of audio seen. Nothing is chosen by it.",
            empty="no run was validated",
        ),
    )
