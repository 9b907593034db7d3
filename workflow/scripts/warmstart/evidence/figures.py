"""The figures of the study, in one style.

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
FULL, MEAN, POOLED = "full", "mean", "pooled"
_STYLE = {
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


def _errorbars(
    axis: Axes, x: Any, rows: pd.DataFrame, value: str, style: int, label: str, line: bool = True
) -> None:
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


def gap_by_hours(gap: pd.DataFrame, fit: pd.DataFrame, settings: dict[str, Any]) -> Figure:
    """The gap against hours on the headline test set and tier: a panel per language, the mean,
    intervals and the fitted law."""
    wanted = settings["statistics"]
    at = (
        (gap.test_set == wanted["headline_test_set"])
        & (gap.tier == wanted["reference_tier"])
        & (gap.precision == FULL)
    )
    rows = gap[at & (gap.languages_as != "sampled") & gap.gap_pp.notna() & (gap.hours > 0)]
    langs = [lang for lang in settings["languages"] if lang in set(rows.lang)] + (
        [MEAN] if MEAN in set(rows.lang) else []
    )
    figure, axes = panels(len(langs))
    if not langs:
        note(axes[0], "No budget was decoded with both warm starts.")
    for axis, lang in zip(axes, langs, strict=False):
        own = rows[rows.lang == lang].sort_values("hours")
        axis.axhline(0, color=INK, linewidth=0.8)
        _errorbars(
            axis,
            own.hours,
            own,
            "gap_pp",
            0,
            "gap, 95 % interval" if wanted.get("confidence", 0.95) == 0.95 else "gap",
            line=False,
        )
        law = fit[
            (fit.lang == (POOLED if lang == MEAN else lang))
            & (fit.test_set == wanted["headline_test_set"])
            & (fit.tier == wanted["reference_tier"])
            & (fit.family == "power")
        ]
        if (
            len(law)
            and "gap_at_reference_pp" in law
            and np.isfinite(law.exponent_b.iloc[0])
            and len(own) > 1
        ):
            one = law.iloc[0]
            grid = np.geomspace(own.hours.min(), own.hours.max(), 100)
            label = (
                rf"${one.gap_at_reference_pp:.2f}\,(h/{one.reference_hours:g})^{{{-one.exponent_b:.2f}}}$"
                + ("" if one.status == "ok" else ", not bounded")
            )
            axis.plot(
                grid,
                one.gap_at_reference_pp * (grid / one.reference_hours) ** -one.exponent_b,
                color=COLOURS[1],
                linestyle="--",
                linewidth=1.4,
                label=label,
            )
        if own.languages.nunique() > 1:
            # The mean of fewer languages is no later point of the same curve.
            for row in own.itertuples():
                axis.annotate(
                    f"n={row.languages}",
                    (row.hours, row.gap_pp),
                    (5, 5),
                    textcoords="offset points",
                    fontsize=7.5,
                )
        axis.set_title("Mean of languages" if lang == MEAN else settings["languages"][lang])
        axis.set_ylabel(f"WER {wanted['baseline']} − {wanted['challenger']} (pp)")
        hours_axis(axis, own.hours)
        axis.legend(loc="best", fontsize=7.5)
    return figure


def wer_by_hours(wer: pd.DataFrame, settings: dict[str, Any]) -> Figure:
    """WER against hours per warm start on the headline test set and tier."""
    wanted = settings["statistics"]
    at = (
        (wer.test_set == wanted["headline_test_set"])
        & (wer.tier == wanted["reference_tier"])
        & (wer.precision == FULL)
    )
    rows = wer[at & (wer.hours > 0)]
    untrained = wer[at & (wer.hours == 0)]
    langs = [lang for lang in settings["languages"] if lang in set(rows.lang)]
    figure, axes = panels(len(langs))
    if not langs:
        note(axes[0], "Nothing was decoded at the reference tier.")
    for axis, lang in zip(axes, langs, strict=False):
        own = rows[rows.lang == lang]
        for style, init in enumerate(settings["inits"]):
            series = own[own.init == init].sort_values("hours")
            if len(series):
                _errorbars(
                    axis, series.hours, series, "wer_pct", style, settings["inits"][init]["name"]
                )
            for row in untrained[(untrained.lang == lang) & (untrained.init == init)].itertuples():
                name = f"{settings['inits'][init]['name']}, not fine-tuned"
                axis.axhline(
                    row.wer_pct,
                    color=COLOURS[style % 9],
                    linestyle=LINES[style % 9],
                    linewidth=0.8,
                    label=name,
                )
        axis.set_title(settings["languages"][lang])
        axis.set_ylabel("WER (%)")
        axis.set_ylim(bottom=0)
        hours_axis(axis, own.hours)
    shared_legend(figure, axes)
    return figure


def gap_by_tier(gap: pd.DataFrame, settings: dict[str, Any]) -> Figure:
    """The gap at every tier, a line per budget."""
    wanted = settings["statistics"]
    # The donors as they are, at zero hours, are another question than that of fine-tuned models.
    at = (gap.test_set == wanted["headline_test_set"]) & (gap.precision == FULL) & (gap.hours > 0)
    rows = gap[at & (gap.languages_as != "sampled")]
    rows = rows[rows.gap_pp.notna()]
    langs = [lang for lang in settings["languages"] if lang in set(rows.lang)] + (
        [MEAN] if MEAN in set(rows.lang) else []
    )
    tiers = list(settings["tiers"])
    figure, axes = panels(len(langs))
    if not langs:
        note(axes[0], "No tier was decoded with both warm starts.")
    for axis, lang in zip(axes, langs, strict=False):
        own = rows[rows.lang == lang]
        budgets = sorted(own.hours.unique())
        axis.axhline(0, color=INK, linewidth=0.8)
        for style, hours in enumerate(budgets):
            series = (
                own[own.hours == hours]
                .set_index("tier")
                .reindex([t for t in tiers if t in set(own.tier)])
                .reset_index()
            )
            x = (
                np.array([tiers.index(tier) for tier in series.tier])
                + (style - (len(budgets) - 1) / 2) * 0.08
            )
            _errorbars(axis, x, series, "gap_pp", style, f"{hours:g} h")
        axis.set_xticks(range(len(tiers)), tiers)
        axis.set_xlabel("Latency tier")
        axis.set_title("Mean of languages" if lang == MEAN else settings["languages"][lang])
        axis.set_ylabel(f"WER {wanted['baseline']} − {wanted['challenger']} (pp)")
    shared_legend(figure, axes)
    return figure


def quantization(table: pd.DataFrame, settings: dict[str, Any]) -> Figure:
    """What quantising costs each warm start and the gap, against PyTorch, at the tier of the
    quantised encoder."""
    rows = table
    if len(table):
        rows = table[
            table.delta_pp.notna()
            & (table.languages_as != "sampled")
            & (table.baseline_precision == "full")
        ]
    test_sets = [name for name in settings["test_sets"] if len(rows) and name in set(rows.test_set)]
    figure, axes = panels(len(test_sets), height=3.0)
    if not test_sets:
        note(axes[0], "No quantised encoder was decoded.")
    for axis, test_set in zip(axes, test_sets, strict=False):
        own = rows[rows.test_set == test_set]
        kinds = [kind for kind in (*settings["inits"], "gap") if kind in set(own.init)]
        groups = list(dict.fromkeys(zip(own.lang, own.hours, own.precision, own.tier, strict=True)))
        axis.axvline(0, color=INK, linewidth=0.8)
        for style, kind in enumerate(kinds):
            series = own[own.init == kind]
            places = [
                groups.index(key)
                for key in zip(
                    series.lang, series.hours, series.precision, series.tier, strict=True
                )
            ]
            spread = np.vstack(
                [
                    (series.delta_pp - series.delta_low_pp).clip(lower=0),
                    (series.delta_high_pp - series.delta_pp).clip(lower=0),
                ]
            )
            label = "change of the gap" if kind == "gap" else settings["inits"][kind]["name"]
            axis.errorbar(
                series.delta_pp,
                np.array(places) + (style - (len(kinds) - 1) / 2) * 0.2,
                xerr=np.nan_to_num(spread),
                label=label,
                color=COLOURS[style % 9],
                marker=MARKERS[style % 9],
                markersize=5,
                linestyle="none",
                capsize=2.5,
                elinewidth=1,
            )
        axis.set_yticks(
            range(len(groups)),
            [f"{lang} {hours:g} h\n{precision} {tier}" for lang, hours, precision, tier in groups],
            fontsize=7.5,
        )
        axis.set_ylim(len(groups) - 0.5, -0.5)
        axis.set_xlabel("WER change against full precision (pp)")
        axis.set_title(test_set)
    shared_legend(figure, axes)
    return figure


def training(curves: dict[tuple, pd.DataFrame], settings: dict[str, Any]) -> Figure:
    """Training loss against hours of audio seen: a panel per language, a line per run.

    Args:
        curves: (lang, init, hours, seed) -> train.csv.
        settings: display settings.
    """
    return _curves(curves, settings, "loss", "Training loss", 1.0)


def validation(curves: dict[tuple, pd.DataFrame], settings: dict[str, Any]) -> Figure:
    """WER on the validation cuts against hours of audio seen, as `training`."""
    return _curves(curves, settings, "dev_wer", "Validation WER (%)", 100.0)


def _curves(
    curves: dict[tuple, pd.DataFrame],
    settings: dict[str, Any],
    column: str,
    label: str,
    factor: float,
) -> Figure:
    # Rows that logged the column: validation is rarer than the loss, and a run without validation
    # has none.
    logged = {
        key: rows
        for key, curve in curves.items()
        if {column, "hours_seen"} <= set(curve.columns)
        and not (
            rows := curve[
                pd.to_numeric(curve[column], errors="coerce").notna() & (curve.hours_seen > 0)
            ]
        ).empty
    }
    langs = [lang for lang in settings["languages"] if any(key[0] == lang for key in logged)]
    figure, axes = panels(len(langs))
    if not langs:
        note(axes[0], f"No run logged: {label}.")
    for axis, lang in zip(axes, langs, strict=False):
        budgets = sorted({float(key[2]) for key in logged if key[0] == lang})
        for (own, init, hours, seed), rows in sorted(logged.items()):
            if own != lang:
                continue
            style = list(settings["inits"]).index(init) if init in settings["inits"] else 8
            axis.plot(
                rows.hours_seen,
                factor * pd.to_numeric(rows[column]),
                color=COLOURS[style],
                linestyle=LINES[budgets.index(float(hours)) % 9],
                # A run validated once is a point, and a line through one point is nothing.
                marker=MARKERS[style] if len(rows) < 20 else None,
                markersize=3.5,
                linewidth=1.1,
                label=f"{init} {hours} h"
                + (f" seed {seed}" if len({k[3] for k in logged}) > 1 else ""),
            )
        axis.set_title(settings["languages"][lang])
        axis.set_xlabel("Audio seen (h)")
        axis.set_ylabel(label)
        axis.set_ylim(bottom=0)
    shared_legend(figure, axes)
    return figure


def style() -> Any:
    """Context in which all figures are drawn."""
    return plt.rc_context(_STYLE)
