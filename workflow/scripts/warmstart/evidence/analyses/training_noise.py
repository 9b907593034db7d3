"""By how much a rate or a gap changes when the same training runs with another seed."""

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from warmstart.evidence.analyses import base
from warmstart.evidence.collected import Evidence, Scored
from warmstart.evidence.columns import ARM, CONTRAST, PRECISION, TEST_SET, TIER, Column, estimate
from warmstart.evidence.display import Display
from warmstart.evidence.keys import FULL, GAP, Cell
from warmstart.evidence.means import with_interval
from warmstart.evidence.noise import Decode, Pooled, Run
from warmstart.evidence.settings import Contrast, Settings
from warmstart.evidence.sheets import Sheet, sheet


class Analysis(base.Analysis):
    """One variance for each kind of estimate, pooled over languages and hours."""

    section = base.TRAINING
    title = "How much does chance in training move?"
    caption = (
        "Noise of training: standard deviation of a rate, and of a gap, when the same training "
        "runs with another seed. Pooled over languages and hours, with intervals."
    )
    details = (
        "What seeds differ by because each errs on other words of the test set is taken off. With "
        "`arm = gap` both arms have the seed in common: this noise decides how far a gap can be "
        "trusted. Where cells vary by more than chance, the number is their average, each cell is "
        "shrunk towards what most of them have, and `prior_df` says how strongly."
    )
    columns = (
        *(CONTRAST, TEST_SET, ARM, PRECISION, TIER),
        Column("cells", "", "combinations of language and hours with several seeds"),
        Column("trainings", "", "seeds of these cells, all together"),
        *estimate("noise", "pp", "pp", "standard deviation between trainings", "SD pp"),
        Column("df", "", "degrees of freedom behind it"),
        Column(
            "prior_df",
            "",
            "degrees of freedom that it is worth beside a cell's own; inf: cells vary alike",
        ),
        Column("status", "", "`ok` or `not estimable: ...`"),
    )
    note = (
        "Standard deviation of one training, pooled over languages and hours. That of a gap is of "
        "pairs with the same seed."
    )

    def rows(self, evidence: Evidence, settings: Settings) -> Iterator[dict[str, Any]]:
        """Arms, then contrasts, on every test set."""
        for test_set, members in evidence.by_test_set().items():
            for about, weights in _asked(members, settings):
                for precision, tier in _places(members, weights, settings):
                    at = {"test_set": test_set, "precision": precision, "tier": tier}
                    pooled = _pooled(members, weights, precision, tier)
                    yield about | at | _row(pooled, settings.confidence)

    def absent(self, tables: base.Tables, display: Display, contrast: Contrast | None) -> str:
        """With one seed nothing is known of it."""
        table = tables["training_noise"]
        if (table.status == "ok").any():
            return ""
        return f"Not known: {base.reasons(table) or 'nothing was trained'}."

    def sheet(
        self, tables: base.Tables, display: Display, contrast: Contrast | None
    ) -> Sheet | None:
        """The headline's rows."""
        table, chosen = tables["training_noise"], display.settings
        at = (table.test_set == chosen.headline_test_set) & (table.precision == FULL)
        table = table[at & (table.tier == chosen.reference_tier)]
        of = self.fields(display)
        fields = [
            of.text("arm", lambda row: _about(display, row)),
            of.number("noise_pp", 2),
            of.interval("noise", "pp", signed=False),
            *(of.number(name, 0) for name in ("cells", "trainings", "df")),
            of.text("status", wide=True),
        ]
        return sheet(self.sheet_name(display, contrast), fields, table.itertuples(), sortable=True)


def _about(display: Display, row: Any) -> str:
    if row.arm != GAP:
        return display.arm(row.arm)
    contrast = next(each for each in display.contrasts if each.name == row.contrast)
    return f"{display.arm(contrast.baseline)} − {display.arm(contrast.challenger)}"


def _asked(
    members: Sequence[Scored], settings: Settings
) -> Iterator[tuple[dict[str, str], dict[str, float]]]:
    """Columns of what is asked, and the weight of each arm in it."""
    for arm in dict.fromkeys(cell.arm for one in members for cell in one.wer):
        yield {"arm": arm}, {arm: 1.0}
    for contrast in settings.contrasts:
        weights = {contrast.baseline: 1.0, contrast.challenger: -1.0}
        yield {"contrast": contrast.name, "arm": GAP}, weights


def _places(
    members: Sequence[Scored], arms: Iterable[str], settings: Settings
) -> list[tuple[str, str]]:
    """Precisions and tiers at which every arm was decoded after training."""
    found = [
        {(cell.precision, cell.tier) for one in members for cell in one.wer if _trained(cell, arm)}
        for arm in arms
    ]
    return sorted(set.intersection(*found), key=lambda at: (at[0], settings.tier_place(at[1])))


def _trained(cell: Cell, arm: str) -> bool:
    return cell.arm == arm and cell.hours > 0


def _pooled(
    members: Sequence[Scored], weights: Mapping[str, float], precision: str, tier: str
) -> Pooled | None:
    """The noise of a weighted sum of arms. Any run asks for it: it is common to all."""
    for one in members:
        for cell, draws in one.wer.items():
            if cell.hours > 0 and draws.noise is not None:
                run = Run(cell.training_set, cell.hours, 0)
                return draws.noise.pooled(
                    {
                        (run, Decode(one.lang, one.test_set, arm, precision, tier)): weight
                        for arm, weight in weights.items()
                    }
                )
    return None


def _row(pooled: Pooled | None, confidence: float) -> dict[str, Any]:
    if pooled is None:
        return {"status": "not estimable: one seed of every language and budget"}
    low, high = pooled.interval(confidence)
    noise, low, high = (100 * math.sqrt(each) for each in (pooled.average, low, high))
    return {
        "cells": len(pooled.cells),
        "trainings": sum(spread.seeds for spread in pooled.cells.values()),
        **with_interval("noise", "pp", noise, (low, high)),
        "df": pooled.df,
        "prior_df": pooled.prior_df,
        "status": "ok",
    }
