"""What a study can see, as numbers of a row and as sentences: of noise that was measured, for the
page, and of noise that is guessed, for `make plan`."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from warmstart.evidence import power
from warmstart.evidence.keys import MEAN, OWN
from warmstart.evidence.power import Noise

MEASURED, GUESSED = "measured", "guessed"
_ANSWERS = (
    *("smallest_gap_pp", "smallest_gap_of_trainings_pp", "seeds_until_test_dominates"),
    *("margin_power", "smallest_margin_pp", "fewest_seeds", "utterances_needed"),
)
_OTHER_SEEDS = (3, 5, 10)  # told of where the study's own are too few


def answers(
    noise: Noise,
    utterances: float,
    seeds: int,
    margin_pp: float,
    *,
    confidence: float,
    power_wanted: float,
) -> dict[str, Any]:
    """What follows from some noise, by column of power.csv; of noise that says nothing, why.

    Args:
        noise: of a gap.
        utterances: of the test set; in a mean, of an average language.
        seeds: trainings of each arm.
        margin_pp: inside which a gap does not matter.
        confidence: of the interval; equivalence is tested on both sides at 1 - confidence.
        power_wanted: chance to find what is there.
    """
    found: dict[str, Any] = {
        "seeds": seeds,
        "utterances": utterances,
        "test_sd_pp": math.sqrt(noise.test_pp2),
        "test_df": noise.test_df,
        "training_sd_pp": math.sqrt(noise.training_pp2),
        "training_df": noise.training_df,
        "training_cells": noise.cells,
        "power": power_wanted,
        "margin_pp": margin_pp,
    }
    if noise.fault:
        return found | dict.fromkeys(_ANSWERS, math.nan) | {"status": noise.fault}
    alpha, asked = 1 - confidence, (confidence, power_wanted)
    return found | {
        "smallest_gap_pp": power.smallest_gap(noise, seeds, *asked),
        "smallest_gap_of_trainings_pp": power.smallest_gap(noise, 0, *asked),
        "seeds_until_test_dominates": power.seeds_until_test_dominates(noise),
        "margin_power": power.power_of_equivalence(
            margin_pp, noise.error(seeds), noise.df(seeds), alpha
        ),
        "smallest_margin_pp": power.smallest_margin(noise, seeds, alpha, power_wanted),
        "fewest_seeds": power.fewest_seeds(noise, margin_pp, *asked),
        "utterances_needed": power.utterances_needed(noise, utterances, seeds, margin_pp, *asked),
        "status": "ok",
    }


def noise_of(row: Any) -> Noise:
    """The noise that a row was made from."""
    return Noise(
        row.test_sd_pp**2,
        float(row.test_df),
        row.training_sd_pp**2,
        float(row.training_df),
        float(row.training_cells),
    )


# ---- words


def seeds_words(seeds: float) -> str:
    """`one seed`, `3 seeds`."""
    return "one seed" if seeds == 1 else f"{seeds:g} seeds"


def sentences(rows: pd.DataFrame, level: str, names: Mapping[str, str] | None = None) -> list[str]:
    """What a contrast can see on one test set, a sentence for each group of budgets of which the
    same is true.

    Args:
        rows: of power.csv, all of one contrast and test set, about gaps.
        level: of confidence, percent.
        names: language or training set -> its name for readers; None: they stand as they are.
    """
    readable = rows.replace({key: dict(names or {}) for key in ("lang", "training_set")})
    one = readable[(readable.status == "ok") & (readable.lang != MEAN)]
    # What trainings are taken to do -> what is seen -> at which budgets.
    said: dict[str, dict[str, list[float]]] = {}
    for hours, own in readable.groupby("hours"):
        assumed, seen = _assumed(own, level), _seen(own)
        said.setdefault(assumed, {}).setdefault(seen, []).append(float(hours))  # pyright: ignore[reportArgumentType]
    found = []
    for assumed, parts in said.items():
        found += [assumed] if assumed else []
        found += [
            f"At {', '.join(f'{each:g}' for each in hours)} h: {seen}"
            for seen, hours in parts.items()
        ]
    return [*found, *_dominance(one), *_impossible(one, float(level) / 100)]


def _assumed(rows: pd.DataFrame, level: str) -> str:
    """The seeds, and the noise of trainings that is taken for granted; empty where nothing
    follows."""
    ok = rows[rows.status == "ok"]
    if ok.empty:
        return ""
    first = ok[ok.lang != MEAN].iloc[0] if (ok.lang != MEAN).any() else ok.iloc[0]
    # Of one arm: the gap has that of two.
    run_sd_pp = first.training_sd_pp / math.sqrt(2)
    return (
        f"With {seeds_words(first.seeds)} and trainings whose WER varies by {run_sd_pp:.2g} pp "
        f"({first.training}), these are the smallest gaps seen with {100 * first.power:g} % power "
        f"at {level} % confidence."
    )


def _seen(rows: pd.DataFrame) -> str:
    ok = rows[rows.status == "ok"]
    why = "; ".join(dict.fromkeys(rows.status[rows.status != "ok"]))
    if ok.empty:
        return f"{why}."
    one, means = ok[ok.lang != MEAN], ok[ok.lang == MEAN]
    found = [
        *([f"{_span(one.smallest_gap_pp)} pp in one language"] if len(one) else []),
        *(f"{row.smallest_gap_pp:.2f} pp {_mean(row)}" for row in means.itertuples()),
    ]
    words = f"{', '.join(found)}; {_margin(one, means)}."
    return f"{words} Elsewhere {why}." if why else words


def _dominance(one: pd.DataFrame) -> list[str]:
    """From how many seeds on more of them are no longer what helps most."""
    if one.empty:
        return []
    low, high = (
        int(end)
        for end in (one.seeds_until_test_dominates.min(), one.seeds_until_test_dominates.max())
    )
    if high == 1:
        return ["Already with one seed the test set is the larger noise in one language."]
    span = f"{high}" if low == high else f"{low} to {high}"
    return [f"In one language the test set is the larger noise from {span} seeds on."]


def _mean(row: Any) -> str:
    trained = "" if row.training_set == OWN else f", trained on {row.training_set}"
    return f"in the mean of {row.languages:g}{trained}"


def _span(values: pd.Series) -> str:
    low, high = f"{values.min():.2f}", f"{values.max():.2f}"
    return low if low == high else f"{low} to {high}"


def _margin(one: pd.DataFrame, means: pd.DataFrame) -> str:
    """Where a gap of zero would be shown to lie inside the margin."""
    every = [row for part in (one, means) for row in part.itertuples()]
    margin = f"a margin of {every[0].margin_pp:g} pp"
    shown = [row for row in every if row.margin_power >= row.power]
    if not shown:
        best = min(every, key=lambda row: row.smallest_margin_pp)
        where = "the mean" if best.lang == MEAN else "one language"
        return (
            f"{margin} cannot be shown (the smallest that can is {best.smallest_margin_pp:.2f} pp, "
            f"in {where})"
        )
    if len(shown) == len(every):
        return f"{margin} can be shown" + (" everywhere" if len(every) > 1 else "")
    languages = [row.lang for row in shown if row.lang != MEAN]
    if not languages:
        return f"{margin} can be shown only in the mean"
    mean = " and in the mean" if any(row.lang == MEAN for row in shown) else ""
    return f"{margin} can be shown only in {', '.join(languages)}{mean}"


def _impossible(one: pd.DataFrame, confidence: float) -> list[str]:
    """What it would take where in one language no test set helps; nothing where one does."""
    stuck = one[np.isinf(one.utterances_needed)] if len(one) else one
    if not len(stuck):
        return []
    # The language in the middle stands for those that are stuck.
    row = stuck.sort_values("test_sd_pp", kind="stable").iloc[(len(stuck) - 1) // 2]
    return [to_see(row, [seeds for seeds in _OTHER_SEEDS if seeds > row.seeds], confidence)]


def to_see(row: Any, seeds: Sequence[int], confidence: float) -> str:
    """Which test sets would find a gap as large as the margin with more seeds, where none does with
    those of a row."""
    noise = noise_of(row)
    parts = []
    for count in seeds:
        needed = power.utterances_needed(
            noise, row.utterances, count, row.margin_pp, confidence, row.power
        )
        size = "impossible" if math.isinf(needed) else f"{about(needed)} utterances"
        parts.append(f"{size} with {count}")
    more = f". With more seeds a test set needs: {', '.join(parts)} seeds" if parts else ""
    return (
        f"A gap of {row.margin_pp:g} pp in one language is impossible to see with "
        f"{seeds_words(row.seeds)}, whatever the test set{more}."
    )


def about(number: float) -> str:
    """Three digits that count."""
    digits = max(0, math.floor(math.log10(number)) - 2)
    return f"{round(number, -digits):,.0f}"
