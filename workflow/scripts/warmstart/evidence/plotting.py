"""What all figures of the study share: their style, panels, axes and error bars.

Colours are Okabe and Ito's, which colour-blind readers tell apart; markers and line styles serve in
greyscale.
"""

import math
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")

import numpy as np
import pandas as pd
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from warmstart.run.files import atomic_path

COLOURS = [
    "#0072B2",
    "#D55E00",
    "#009E73",
    "#CC79A7",
    "#E69F00",
    "#56B4E9",
    "#7F7F7F",
    "#000000",
    "#8C564B",
]
MARKERS = ["o", "s", "^", "D", "v", "P", "X", "*", "<"]
LINES = [
    "-",
    "--",
    "-.",
    ":",
    (0, (5, 1)),
    (0, (3, 1, 1, 1)),
    (0, (1, 1)),
    (0, (7, 3)),
    (0, (2, 4)),
]
INK, GRID = "#1f2933", "#d9dee4"
_STYLE: dict[Any, Any] = {
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans"],
    "font.size": 9,
    "axes.edgecolor": "#8a94a0",
    "axes.labelcolor": INK,
    "axes.titlesize": 10,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": GRID,
    "grid.linewidth": 0.6,
    "axes.axisbelow": True,
    "text.color": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    "legend.frameon": False,
    "svg.fonttype": "path",
    # A fixed salt and no date: the same tables give the same bytes.
    "svg.hashsalt": "warmstart",
    "figure.dpi": 100,
}


def save(figure: Figure, directory: Path, name: str) -> None:
    """Write a figure as SVG and PNG."""
    for ending, metadata in (("svg", {"Date": None}), ("png", {"Software": None})):
        with atomic_path(directory / f"{name}.{ending}") as temporary:
            figure.savefig(
                temporary, dpi=160, bbox_inches="tight", metadata=metadata, facecolor="white"
            )
    plt.close(figure)


def panels(
    count: int, *, width: float = 3.4, height: float = 2.7, across: int = 3
) -> tuple[Figure, list[Axes]]:
    """A figure with `count` equal panels, at most `across` in a row."""
    columns = 2 if count == 4 else min(max(count, 1), across)  # four panels look better two by two
    rows = math.ceil(max(count, 1) / columns)
    figure, axes = plt.subplots(
        rows, columns, figsize=(width * columns, height * rows), squeeze=False, layout="constrained"
    )
    flat = list(axes.flat)
    for spare in flat[max(count, 1) :]:
        spare.set_visible(False)
    return figure, flat[: max(count, 1)]


def hours_axis(axis: Axes, hours: np.ndarray) -> None:
    """Log axis with the study's own budgets as ticks."""
    axis.set_xscale("log")
    ticks = sorted(set(map(float, hours)))
    axis.set_xticks(ticks, [f"{value:g}" for value in ticks])
    axis.minorticks_off()
    axis.set_xlabel("Training data (h, log scale)")


def shared_legend(figure: Figure, axes: list[Axes]) -> None:
    """One legend under the panels, of all their entries."""
    entries: dict[str, Any] = {}
    for axis in axes:
        for handle, label in zip(*axis.get_legend_handles_labels(), strict=True):
            entries.setdefault(label, handle)
    if entries:
        figure.legend(
            entries.values(),
            entries,
            loc="outside lower center",
            ncols=min(6, len(entries)),
            fontsize=8,
        )


def note(axis: Axes, text: str) -> None:
    """Say inside an empty panel why it is empty."""
    axis.text(0.5, 0.5, text, transform=axis.transAxes, ha="center", va="center", wrap=True)
    axis.set_xticks([])
    axis.set_yticks([])


def plain(name: str) -> str:
    """A name from the configuration as it is written: matplotlib would set what stands between two
    dollars as a formula."""
    return name.replace("$", r"\$")


def errorbars(
    axis: Axes, x: Any, rows: pd.DataFrame, value: str, style: int, label: str, line: bool = True
) -> None:
    """Estimates with their intervals against `x`, in the colour and marker of a style.

    Args:
        axis: where.
        x: (n,) places.
        rows: (n) rows of a table.
        value: column of the estimate; its bounds stand beside it.
        style: number of colour, marker and line.
        label: for the legend.
        line: whether a line joins them.
    """
    unit = value.rsplit("_", 1)
    low, high = (rows[f"{unit[0]}_{side}_{unit[1]}"] for side in ("low", "high"))
    spread = np.vstack([(rows[value] - low).clip(lower=0), (high - rows[value]).clip(lower=0)])
    axis.errorbar(
        x,
        rows[value],
        yerr=np.nan_to_num(spread),
        label=label,
        color=COLOURS[style % 9],
        marker=MARKERS[style % 9],
        markersize=5,
        linestyle=LINES[style % 9] if line else "none",
        linewidth=1.4,
        capsize=2.5,
        elinewidth=1,
    )


def style() -> Any:
    """Context in which all figures are drawn."""
    return plt.rc_context(_STYLE)
