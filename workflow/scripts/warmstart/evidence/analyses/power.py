"""How small a gap the study can see, and how small a margin it can show a gap to lie in."""

import dataclasses
import itertools
import math
from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from warmstart.evidence import intervals, power, visible
from warmstart.evidence.analyses import base
from warmstart.evidence.cells import Shown, number_cell, text_cell
from warmstart.evidence.collected import Evidence, Scored
from warmstart.evidence.columns import (
    CONTRAST,
    HOURS,
    LANG,
    LANGUAGES,
    TEST_SET,
    TIER,
    TRAINING_SET,
    Column,
)
from warmstart.evidence.display import Display
from warmstart.evidence.keys import FULL, MEAN, OWN, Place, name_of
from warmstart.evidence.power import Noise
from warmstart.evidence.settings import Contrast, Settings
from warmstart.evidence.sheets import Sheet, sheet

if TYPE_CHECKING:
    from matplotlib.figure import Figure

GAP, TIERS = "gap", "tiers"
_SEEDS = (1, 2, 3, 5)  # lines of the figure, beside the study's own


def draw(material: base.Material, display: Display, contrast: Contrast | None) -> "Figure":
    """The smallest gap against the utterances of a test set, a line for each number of seeds: in
    one language, and in the mean over most of them."""
    from warmstart.evidence import plotting

    contrast = contrast or display.contrasts[0]
    table = display.headline(material.tables["power"], contrast)
    table = table[(table.asked == GAP) & (table.status == "ok")]
    shown = [row for row in (_typical(table), _widest_mean(table)) if row is not None]
    figure, axes = plotting.panels(len(shown))
    if not shown:
        plotting.note(axes[0], "Nothing varies here that a gap could hide in.")
        return figure
    for axis, row in zip(axes, shown, strict=True):
        noise, own, place = visible.noise_of(row), int(row.seeds), float(row.utterances)
        sizes = np.geomspace(min(100.0, place / 2), 10 * max(1000.0, place), 40)
        for style, seeds in enumerate(sorted({*_SEEDS, own})):
            gaps = [
                power.smallest_gap(
                    noise.scaled(size / place), seeds, display.settings.confidence, row.power
                )
                if (noise.test_df + 1) * size / place > 2
                else math.nan
                for size in sizes
            ]
            axis.plot(
                sizes,
                gaps,
                color=plotting.colour(style),
                linestyle=plotting.LINES[style % 9],
                linewidth=2.0 if seeds == own else 1.1,
                label=f"{seeds} seed{'s' if seeds > 1 else ''}",
            )
        axis.plot(place, row.smallest_gap_pp, "o", color=plotting.INK, label="this study")
        axis.axhline(row.margin_pp, color=plotting.INK, linewidth=0.8, linestyle=":")
        axis.set_xscale("log")
        axis.set_ylim(bottom=0)
        axis.set_title(plotting.plain(_title(display, row)))
    axes[0].set_ylabel("Smallest gap seen (pp)")
    plotting.under(axes, "Utterances of a test set")
    plotting.shared_legend(figure, axes)
    return figure


def _title(display: Display, row: Any) -> str:
    return display.language_of(row) if row.lang == MEAN else f"{display.language(row.lang)}"


def _typical(table: Any) -> Any:
    """The row of one language whose smallest gap is in the middle, at the budget with most
    languages; None: there is none."""
    one = table[table.lang != MEAN]
    if one.empty:
        return None
    counts = one.groupby("hours").lang.nunique()
    at = one[one.hours == counts.idxmax()].sort_values("smallest_gap_pp", kind="stable")
    return at.iloc[(len(at) - 1) // 2]


def _widest_mean(table: Any) -> Any:
    """The row of the mean over most languages; None: there is none."""
    means = table[table.lang == MEAN].sort_values("languages", kind="stable")
    return None if means.empty else means.iloc[-1]


class Analysis(base.Analysis):
    """What the noise of test sets and trainings leaves to be seen."""

    section = base.Section("power", "Power")
    title = "How small a gap can this study see?"
    caption = (
        "The smallest gap that each contrast finds with the wanted power, at the size of its test "
        "sets and with its seeds; the seeds at which trainings stop to be the larger noise; and "
        "the margins in which a gap of zero can be shown to lie."
    )
    details = (
        "The noise of a test set is that of the gap in resampled blocks. The noise of trainings is "
        "one variance over all cells of a contrast and test set with two seeds or more, without "
        "what seeds differ by because each erred in other blocks; where no cell has two, it is "
        "`statistics.training_sd_pp`, and `training` says `guessed`. Rows with `asked = tiers` are "
        "about the gap at a tier minus the gap at the reference tier, and `tier_margin_pp`. A "
        "margin is shown by two one-sided tests, each at 1 − `confidence`, as in gap_by_tier.csv. "
        "Numbers are for one test; where verdicts are adjusted for many, less is seen. Before "
        "anything is scored, `make plan` says the same from guesses."
    )
    columns = (
        *(CONTRAST, TRAINING_SET, LANG, LANGUAGES, TEST_SET, HOURS, TIER),
        Column("asked", "", "`gap`, or `tiers`: its change from the reference tier"),
        Column("seeds", "", "trainings of each arm"),
        Column("utterances", "", "of the test set; in a mean, of an average language"),
        Column("test_sd_pp", "pp", "standard deviation of the gap by the test set", "Test set ±"),
        Column("test_df", "", "its degrees of freedom: blocks − 1"),
        Column(
            "training_sd_pp",
            "pp",
            "standard deviation of the gap by its trainings, one of each arm",
            "Trainings ±",
        ),
        Column("training_df", "", "its degrees of freedom; infinite where it is guessed"),
        Column("training_cells", "", "cells with trainings of their own that it is the same for"),
        Column("training", "", "where that is from: `measured` or `guessed`"),
        Column("power", "", "`statistics.power`"),
        Column(
            "smallest_gap_pp",
            "pp",
            "the smallest true gap that is found with that power, whichever trainings are drawn",
            "Smallest gap seen",
        ),
        Column(
            "smallest_gap_of_trainings_pp",
            "pp",
            "the same, said of these very trainings only",
            "Of these trainings",
        ),
        Column(
            "seeds_until_test_dominates",
            "",
            "fewest seeds with which trainings add no more variance than the test set",
            "Seeds until the test set is the larger noise",
        ),
        Column(
            "margin_pp", "pp", "`statistics.threshold_pp`; for tiers `statistics.tier_margin_pp`"
        ),
        Column(
            "margin_power",
            "",
            "chance to show that a gap of zero lies inside the margin",
            "Power of “equivalent”",
        ),
        Column(
            "smallest_margin_pp",
            "pp",
            "the smallest margin that is shown with the wanted power",
            "Smallest margin shown",
        ),
        Column(
            "fewest_seeds",
            "",
            "with which this test set finds a gap as large as the margin; empty: with no number",
        ),
        Column(
            "utterances_needed",
            "",
            "that find such a gap with these seeds; `inf`: no test set does, because trainings "
            "alone differ by too much",
        ),
        Column("status", "", "`ok`, or `not estimable: ...`"),
    )
    note = (
        "A gap that is smaller may be there and be missed. The noise of trainings is in these "
        "numbers also where the study has one seed, and so cannot show it."
    )
    by_contrast = True
    figures = (
        base.Drawing(
            "power",
            draw,
            "The smallest gap between {baseline_name} and {challenger_name} that would be seen, "
            "against the size of the test set, a line for each number of seeds; on {test_set} at "
            "{tier}. The dot is this study. The dotted line is the gap below which the choice "
            "stops to matter. More utterances do not help against the noise of trainings, where a "
            "line turns flat.",
            empty="nothing varies that a gap could hide in",
        ),
    )

    def rows(self, evidence: Evidence, settings: Settings) -> Iterator[dict[str, Any]]:
        """Every contrast, test set and budget, at full precision: the gap at the reference tier,
        and its change to every other tier."""
        for contrast, (test_set, members) in itertools.product(
            settings.contrasts, evidence.by_test_set().items()
        ):
            for tier in settings.tiers or _tiers(members):
                common = {"contrast": contrast.name, "test_set": test_set, "tier": tier}
                asked = {one.lang: _asked(one, contrast, settings, tier) for one in members}
                training = _trainings(asked)
                for place in sorted({place for own in asked.values() for place in own}):
                    have = [
                        (one, asked[one.lang][place]) for one in members if place in asked[one.lang]
                    ]
                    for row in _rows(place, have, contrast, training, tier, settings):
                        yield common | row

    def text(self, tables: base.Tables, display: Display, contrast: Contrast | None) -> str:
        """The answer in sentences, budget by budget."""
        contrast = contrast or display.contrasts[0]
        table = display.headline(tables["power"], contrast)
        gaps = table[table.asked == GAP]
        names = {name: each.title for name, each in display.training_sets.items()}
        names |= {**display.other_languages, **display.languages}
        said = visible.sentences(gaps, display.settings.level, names)
        return " ".join(said)

    def absent(self, tables: base.Tables, display: Display, contrast: Contrast | None) -> str:
        """Without a pair of runs there is nothing to see."""
        contrast = contrast or display.contrasts[0]
        table = display.headline(tables["power"], contrast, all_tiers=True)
        if (table.status == "ok").any():
            return ""
        return f"Not stated: {base.reasons(table) or 'nothing was decoded with both sides'}."

    def sheet(
        self, tables: base.Tables, display: Display, contrast: Contrast | None
    ) -> Sheet | None:
        """Gaps at the reference tier, then changes to the other tiers, on the headline."""
        contrast = contrast or display.contrasts[0]
        table = display.headline(tables["power"], contrast, all_tiers=True)
        of = self.fields(display)

        def needed(row: Any) -> Shown:
            if math.isinf(row.utterances_needed):
                return text_cell(f"impossible with {visible.seeds_words(row.seeds)}")
            return number_cell(row.utterances_needed, 0)

        fields = [
            of.language(),
            *of.training_set(),
            of.hours(),
            of.tier(),
            of.text("asked"),
            of.number("smallest_gap_pp", 2),
            of.number("smallest_gap_of_trainings_pp", 2),
            of.number("test_sd_pp", 2),
            of.number("training_sd_pp", 2),
            of.text("training"),
            of.number("seeds_until_test_dominates", 0),
            of.number("margin_pp", 2),
            of.number("margin_power", 0, unit=" %", scale=lambda share: 100 * share),
            of.number("smallest_margin_pp", 2),
            of.cell("utterances_needed", needed, head="Utterances to see the margin"),
            of.text("status", wide=True),
        ]
        rows = display.ordered(table).itertuples()
        return sheet(self.sheet_name(display, contrast), fields, rows, sortable=True)


def _tiers(members: Iterable[Scored]) -> list[str]:
    """Tiers of a study that has not said which there are."""
    return list(dict.fromkeys(cell.tier for one in members for cell in one.wer))


@dataclasses.dataclass(frozen=True)
class _Asked:
    """An estimate whose power is asked for.

    Attributes:
        draws: a gap, or its change from the reference tier.
        share: its variance over that of the gap, by the test set.
    """

    draws: intervals.Draws
    share: float = 1.0


def _asked(one: Scored, contrast: Contrast, settings: Settings, tier: str) -> dict[Place, _Asked]:
    """Gaps of a language at the reference tier, or what they are more at another, by the place at
    the reference tier. Donors as they are, at zero hours, were not trained here."""
    gaps = {
        place: gap
        for place, gap in one.gaps(contrast).items()
        if place.precision == FULL and place.hours > 0
    }
    found = {}
    for place, gap in gaps.items():
        at_reference = place._replace(tier=settings.reference_tier)
        if place == at_reference and tier == place.tier:
            found[place] = _Asked(gap)
        elif tier == place.tier and at_reference in gaps:
            before = gaps[at_reference]
            change = gap - before
            variance = before.block.var()
            found[at_reference] = _Asked(
                change, float(change.block.var() / variance) if variance else 0.0
            )
    return found


@dataclasses.dataclass(frozen=True)
class _Trainings:
    """How far trainings differ.

    Attributes:
        variance_pp2: of an estimate by one training of each arm; None: no cell has two seeds.
        df: its degrees of freedom.
        cells: that told it, or would.
    """

    variance_pp2: float | None
    df: float
    cells: float


def _trainings(asked: Mapping[str, Mapping[Place, _Asked]]) -> _Trainings:
    """How far trainings differ: the study's own pooled figure (`noise.TrainingNoise`), in which a
    gap is 100 times a difference of rates.

    Args:
        asked: language -> place -> estimate.
    """
    cells = set()
    for lang, own in asked.items():
        for place, one in own.items():
            cells.add((name_of(place.training_set, lang), place.hours))
            draws = one.draws
            if draws.noise is not None and (pooled := draws.noise.pooled(draws.terms)) is not None:
                return _Trainings(100.0**2 * pooled.variance, pooled.df, len(pooled.cells))
    return _Trainings(None, math.inf, len(cells))


def _rows(
    place: Place,
    have: list[tuple[Scored, _Asked]],
    contrast: Contrast,
    training: _Trainings,
    tier: str,
    settings: Settings,
) -> Iterator[dict[str, Any]]:
    """Rows of one budget: the languages, and their mean where there are several."""
    at_reference = tier == settings.reference_tier
    guess_pp2 = power.training_variance_pp2(settings.training_sd_pp)
    margin_pp = settings.threshold_pp if at_reference else settings.tier_margin_pp
    common = {
        "hours": place.hours,
        "asked": GAP if at_reference else TIERS,
        "training": visible.GUESSED if training.variance_pp2 is None else visible.MEASURED,
    }

    def answered(noise: Noise, utterances: float, seeds: int) -> dict[str, Any]:
        return visible.answers(
            noise,
            utterances,
            seeds,
            margin_pp,
            confidence=settings.confidence,
            power_wanted=settings.power,
        )

    noises: dict[str, Noise] = {}
    utterances, seeds = [], []
    for one, asked in have:
        # What a training changes at all tiers alike is no change, as with the test set.
        variance_pp2 = training.variance_pp2
        if variance_pp2 is None:
            variance_pp2 = guess_pp2 * asked.share
        noise = noises[one.lang] = Noise(
            float(asked.draws.block.var()),
            asked.draws.block_df,
            variance_pp2,
            training.df,
            training.cells,
        )
        counts = [one.totals[place.cell(one.lang, arm)] for arm in contrast.arms]
        seeds.append(min(each["seeds"] for each in counts))
        # Counts are over all seeds.
        utterances.append(counts[0]["spoken"] / counts[0]["seeds"])
        yield common | {
            "training_set": name_of(place.training_set, one.lang),
            "lang": one.lang,
            "languages": 1,
            **answered(noise, utterances[-1], seeds[-1]),
        }
    if len(have) < 2:
        return
    row = common | {"training_set": place.training_set, "lang": MEAN, "languages": len(have)}
    if faults := {lang: noise.fault for lang, noise in noises.items() if noise.fault}:
        # A language of which nothing is known would count as known exactly.
        why = next(iter(faults.values()))
        yield row | {"status": f"{why} in {', '.join(faults)}"}
        return
    same_runs = place.training_set != OWN
    mean = power.mean_noise(list(noises.values()), same_runs=same_runs)
    draws = intervals.mean_of([asked.draws for _, asked in have])
    # Languages may share sentences, which their replicates know.
    mean = dataclasses.replace(mean, test_pp2=float(draws.block.var()), test_df=draws.block_df)
    yield row | answered(mean, sum(utterances) / len(utterances), min(seeds))
