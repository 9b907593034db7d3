"""What all figures of the study share: their style, panels, axes and error bars.

Markers and line styles serve where colours (`palette`) do not. Legends stand below the axes, where
they cover nothing.
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
from matplotlib.ticker import LogLocator

from warmstart.evidence.display import Display
from warmstart.evidence.palette import COLOURS, EDGE, GRID, INK, NOTHING, PAPER
from warmstart.evidence.settings import Contrast
from warmstart.run.files import atomic_path

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
MEAN_STYLE = -9
"""Of the mean over languages: ink, the first marker, a solid line."""
_STYLE: dict[Any, Any] = {
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans"],
    "font.size": 9,
    "axes.edgecolor": EDGE,
    "axes.labelcolor": INK,
    "axes.titlesize": 10,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.facecolor": PAPER,
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
                temporary, dpi=160, bbox_inches="tight", metadata=metadata, facecolor=PAPER
            )
    plt.close(figure)


def colour(style: int) -> str:
    """Colour of a style: a number of series, or `MEAN_STYLE`."""
    return INK if style == MEAN_STYLE else COLOURS[style % 9]


def difference(display: Display, contrast: Contrast) -> str:
    """What stands beside an axis of gaps."""
    names = (plain(display.arm(name)) for name in contrast.arms)
    return f"WER {' − '.join(names)} (pp)"


def single(width: float = 4.8, height: float = 3.4) -> tuple[Figure, Axes]:
    """A figure with one axis. It is as wide as can be read on a phone without scrolling."""
    figure, axis = plt.subplots(figsize=(width, height), layout="constrained")
    return figure, axis


def panels(
    count: int, *, width: float | None = None, height: float = 2.1, sharex: bool = False
) -> tuple[Figure, list[Axes]]:
    """A figure with `count` equal panels on one scale, so that they can be compared: two in a row,
    or three where there are more than four. As wide as `single` unless a width is given (inches,
    of a panel)."""
    columns = min(max(count, 1), 3 if count > 4 else 2)
    rows = math.ceil(max(count, 1) / columns)
    figure, axes = plt.subplots(
        rows,
        columns,
        figsize=((width or (5.4 if columns == 3 else 4.8) / columns) * columns, height * rows),
        squeeze=False,
        sharex=sharex,
        sharey=True,
        layout="constrained",
    )
    flat = list(axes.flat)
    for spare in flat[max(count, 1) :]:
        spare.set_visible(False)
    return figure, flat[: max(count, 1)]


def hours_axis(axis: Axes, hours: np.ndarray, *, label: bool = True) -> None:
    """Log axis with the study's own budgets as ticks."""
    axis.set_xscale("log")
    ticks = sorted(set(map(float, hours)))
    # The ends, and between them what does not run into its neighbours.
    apart = math.log(max(ticks[-1] / ticks[0], 1.0001)) * (0.1 if label else 0.22) if ticks else 0
    shown = {*ticks[:1], *ticks[-1:]}
    for value in ticks:
        if all(abs(math.log(value / other)) >= apart for other in shown - {value}):
            shown.add(value)
    axis.set_xticks(ticks, [f"{value:g}" if value in shown else "" for value in ticks])
    axis.minorticks_off()
    if label:
        axis.set_xlabel("Training data (h, log scale)")


def sizes_axis(axis: Axes) -> None:
    """Log axis of sizes, with numbers as they are written."""
    axis.set_xscale("log")
    axis.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axis.xaxis.set_major_formatter("{x:g}")
    axis.minorticks_off()


def under(axes: list[Axes], text: str) -> None:
    """What the x axes of several panels are, once below each column."""
    lowest: dict[int, Axes] = {}
    for axis in axes:
        if (place := axis.get_subplotspec()) is not None:
            lowest[place.colspan.start] = axis
    for axis in lowest.values():
        axis.set_xlabel(text)
        # Of panels that share their axis, the last row alone has numbers, and it may be shorter.
        axis.tick_params(labelbottom=True)


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
            # As wide as the figure: long names stand in fewer columns.
            ncols=max(1, min(4, len(entries), int(70 / (max(map(len, entries)) + 6)))),
            fontsize=8,
        )


def note(axis: Axes, text: str) -> None:
    """Say inside an empty panel why it is empty."""
    axis.text(
        *(0.5, 0.5, text),
        transform=axis.transAxes,
        ha="center",
        va="center",
        wrap=True,
        gid=NOTHING,
    )
    axis.set_xticks([])
    axis.set_yticks([])


def plain(name: str) -> str:
    """A name from the configuration as it is written: matplotlib would set what stands between two
    dollars as a formula."""
    return name.replace("$", r"\$")


def errorbars(
    axis: Axes,
    x: Any,
    rows: pd.DataFrame,
    value: str,
    style: int,
    label: str,
    line: bool = True,
    heavy: bool = False,
) -> None:
    """Estimates with their intervals against `x`, in the colour and marker of a style.

    Args:
        axis: where.
        x: (n,) places.
        rows: (n) rows of a table.
        value: column of the estimate; its bounds stand beside it.
        style: number of colour, marker and line, or `MEAN_STYLE`.
        label: for the legend.
        line: whether a line joins them.
        heavy: whether it stands out.
    """
    unit = value.rsplit("_", 1)
    low, high = (rows[f"{unit[0]}_{side}_{unit[1]}"] for side in ("low", "high"))
    spread = np.vstack([(rows[value] - low).clip(lower=0), (high - rows[value]).clip(lower=0)])
    axis.errorbar(
        x,
        rows[value],
        yerr=np.nan_to_num(spread),
        label=label,
        color=colour(style),
        marker=MARKERS[style % 9],
        markersize=6 if heavy else 4.5,
        linestyle=LINES[style % 9] if line else "none",
        linewidth=2.0 if heavy else 1.3,
        capsize=2.5,
        elinewidth=1.6 if heavy else 0.9,
        zorder=3 if heavy else 2,
    )


def style() -> Any:
    """Context in which all figures are drawn."""
    return plt.rc_context(_STYLE)
