"""How many hours for which WER: the law of the error rate in the hours, language by language."""

import math
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from warmstart.evidence import intervals, learning_curves
from warmstart.evidence.analyses import base
from warmstart.evidence.cells import Shown, interval_text, number_cell, within_reach, written
from warmstart.evidence.collected import Evidence, Scored
from warmstart.evidence.columns import (
    ARM,
    LANG,
    LANGUAGES,
    TEST_SET,
    TIER,
    TRAINING_SET,
    Column,
    estimate,
)
from warmstart.evidence.display import Display
from warmstart.evidence.keys import FULL, POOLED, Cell, name_of
from warmstart.evidence.learning_curves import Law, Points
from warmstart.evidence.means import NAN, with_interval
from warmstart.evidence.settings import Contrast, Settings
from warmstart.evidence.sheets import Sheet, field, sheet

if TYPE_CHECKING:
    from matplotlib.figure import Figure

LAW, WER_AT, HOURS_FOR = "law", "wer_at_hours", "hours_for_wer"
_CURVE_POINTS = 13  # of a figure's line and of what the planner interpolates between
_REACH = 4.0  # times the largest budget: as far as a curve is drawn


def draw(material: base.Material, display: Display, contrast: Contrast | None) -> "Figure":
    """Measured WERs and the law with its band, a panel for each language, a colour for each arm."""
    from warmstart.evidence import plotting

    table = display.headline(material.tables["wer_law"])
    curves = table[table.asked == WER_AT]
    measured = display.headline(material.tables["wer"])
    measured = measured[measured.hours > 0]
    panels = display.panels(curves[curves.lang != POOLED], mean=False)
    figure, axes = plotting.panels(len(panels))
    if not panels:
        plotting.note(axes[0], "No language has enough budgets for a law.")
    for axis, panel in zip(axes, panels, strict=False):
        own, points = display.panel_rows(curves, panel), display.panel_rows(measured, panel)
        for style, arm in enumerate(display.arms):
            line = own[own.arm == arm].sort_values("asked_hours")
            dots = points[points.arm == arm].sort_values("hours")
            name, colour = plotting.plain(display.arm(arm)), plotting.colour(style)
            if len(line):
                axis.plot(line.asked_hours, line.wer_pct, color=colour, label=name)
                axis.fill_between(
                    line.asked_hours,
                    line.wer_low_pct,
                    line.wer_high_pct,
                    color=colour,
                    alpha=0.15,
                    linewidth=0,
                )
            if len(dots):
                axis.plot(
                    dots.hours,
                    dots.wer_pct,
                    color=colour,
                    marker=plotting.MARKERS[style % 9],
                    linestyle="none",
                    label=f"{name}, measured",
                )
        axis.set_title(plotting.plain(panel.title))
        axis.set_ylim(bottom=0)
        ticks = np.array(sorted({*points.hours, own.asked_hours.max()}))
        plotting.hours_axis(axis, ticks, label=False)
    figure.supylabel("WER (%)", fontsize=9)
    plotting.under(axes, "Training data (h)")
    plotting.shared_legend(figure, axes)
    return figure


class Analysis(base.Analysis):
    """WER = A·(r + (1 − r)·(h / h₀)^(−b), fitted to all languages together."""

    section = base.ERROR_RATES
    title = "How many hours for which WER?"
    caption = (
        "The law WER = floor + a·h^(−b) of every arm, test set and tier: the WER at hours that "
        "nobody trained, and the hours that a WER needs."
    )
    details = (
        "Languages share what is common to their exponents and floors, so that one with two "
        "budgets borrows from those with more. Rows with `lang = pooled` are of a language that is "
        "not in the study. `asked` says what a row answers: `law` (the law and what doubling the "
        "largest budget would do), `wer_at_hours` (one more training at `asked_hours`: the "
        "interval holds the noise of training too), `hours_for_wer` (`asked_wer_pct`). Models that "
        "do not recognise enter no law. Akaike weights need more points than parameters."
    )
    columns = (
        *(TRAINING_SET, LANG, LANGUAGES, TEST_SET, ARM, TIER),
        Column("budgets", "", "different budgets of the language that were fitted"),
        Column("largest_hours", "h", "its largest budget"),
        Column("asked", "", "`law`, `wer_at_hours` or `hours_for_wer`"),
        Column("asked_hours", "h", "hours of a row `wer_at_hours`"),
        Column("asked_wer_pct", "%", "WER of a row `hours_for_wer`"),
        Column(
            "beyond",
            "",
            "`above` or `below` the budgets that were trained: an extrapolation; else empty",
        ),
        *estimate("wer", "pct", "%", "WER that one more training would have", "WER %"),
        *estimate("needed", "hours", "h", "hours that the WER needs; inf: never", "Hours"),
        *estimate("exponent", "b", "", "b", "Exponent b"),
        *estimate("floor", "pct", "%", "WER that no amount of data removes", "Floor %"),
        Column(
            "floor_bayes_factor",
            "",
            "how much likelier the WERs are if languages have floors than if none has",
        ),
        Column(
            "floor_says",
            "",
            "`ok`, or `not estimable: ...` where the Bayes factor lies between "
            f"{1 / learning_curves.DECIDED:g} and {learning_curves.DECIDED:g}: exponent and floor "
            "are then left out, because a small exponent without a floor and a large one above a "
            "floor fit alike",
            "Floor told?",
        ),
        *estimate(
            "doubling",
            "pp",
            "pp",
            "change of the law's WER when the largest budget is doubled",
            "Next doubling pp",
        ),
        Column(
            "training_noise_pct",
            "%",
            "standard deviation of a training, in percent of its WER; with one seed only from how "
            "far the points lie from a curve",
        ),
        *(
            Column(
                f"weight_{name}",
                "",
                "Akaike weight of a·h^(−b) + c, a·h^(−b), a·e^(−kh) + c and a − s·ln h",
            )
            for name in learning_curves.FAMILIES
        ),
        Column("status", "", "`ok` or `not estimable: ...`"),
    )
    note = (
        "Law WER = floor + a·h^(−b), all languages fitted together. Intervals hold what the test "
        "set leaves open and what a training leaves open. ∞: the data do not bound it, or never."
    )
    figures = (
        base.Drawing(
            "wer_law",
            draw,
            "WER on {test_set} at {tier} as measured, and the law up to four times the largest "
            "budget. Bands: {level} % intervals of one more training.",
            empty="a law needs three budgets of some language",
        ),
    )

    def rows(self, evidence: Evidence, settings: Settings) -> Iterator[dict[str, Any]]:
        """Every training set, arm, test set and tier."""
        for test_set, members in evidence.by_test_set().items():
            series = sorted(
                _series(members).items(),
                key=lambda one: (one[0][:2], settings.tier_place(one[0][2])),
            )
            for (part, arm, tier), cells in series:
                common = {"test_set": test_set, "arm": arm, "tier": tier}
                names = part, test_set, arm, tier
                random = intervals.generator(settings.seed, "wer_law", *names)
                for row in _rows(cells, settings, random):
                    pooled = row["lang"] == POOLED
                    name = part if pooled else name_of(part, row["lang"])
                    yield {"training_set": name} | common | row

    def absent(self, tables: base.Tables, display: Display, contrast: Contrast | None) -> str:
        """Without three budgets there is no law."""
        table = display.headline(tables["wer_law"])
        if (table.status == "ok").any():
            return ""
        return f"No law of the WER: {base.reasons(table) or 'nothing was trained'}."

    def text(self, tables: base.Tables, display: Display, contrast: Contrast | None) -> str:
        """What the next doubling of the data is worth, in the challenger of the first contrast."""
        arm = display.contrasts[0].challenger
        table = display.headline(tables["wer_law"])
        found = table[(table.asked == LAW) & (table.arm == arm) & (table.lang != POOLED)]
        parts = [
            f"{display.language(row.lang)}: {row.largest_hours:g} more hours change the WER by "
            f"{written(row.doubling_pp, 1, signed=True)} points "
            f"{interval_text(row.doubling_low_pp, row.doubling_high_pp, 1)}"
            for row in display.ordered(found).itertuples()
            if row.status == "ok"
        ]
        if not parts:
            return ""
        return (
            f"What doubling the data would do with {display.arm(arm)} at "
            f"{display.tier(display.settings.reference_tier)}. {'. '.join(parts)}."
        )

    def sheet(
        self, tables: base.Tables, display: Display, contrast: Contrast | None
    ) -> Sheet | None:
        """The headline's hours for each WER that was asked, and the laws' own numbers."""
        table = display.ordered(display.headline(tables["wer_law"]))
        targets = sorted(table.asked_wer_pct.dropna().unique(), reverse=True)
        rows = []
        for _, group in table.groupby(["training_set", "lang", "arm"], sort=False):
            asked = group[group.asked == HOURS_FOR].set_index("asked_wer_pct")
            rows.append((group[group.asked == LAW].iloc[0], asked))

        def needed(target: float) -> Any:
            def cell(row: Any) -> Shown:
                law, asked = row
                if law.status != "ok" or target not in asked.index:
                    return number_cell(NAN, 0)
                return _hours_needed(asked.loc[target])

            return cell

        of = self.fields(display)
        head = f"{display.settings.level} % interval, with training noise"

        def law(made: Any) -> Any:
            return type(made)(made.head, lambda row: made.cell(row[0]))

        fields = [
            law(of.text("lang", lambda row: _language(display, row.lang))),
            *map(law, of.training_set()),
            law(of.arm()),
            *(
                field(
                    f"Hours to {target:g} %", needed(target), "At least so many hours, by the law"
                )
                for target in targets
            ),
            law(of.number("doubling_pp", 2, signed=True)),
            law(of.interval("doubling", "pp", head=head)),
            law(of.number("floor_pct", 1)),
            law(of.interval("floor", "pct", 1, signed=False, head=head)),
            law(of.number("exponent_b", 2)),
            law(of.interval("exponent", "b", signed=False, head=head)),
            law(of.text("floor_says", wide=True)),
            law(of.text("status", wide=True)),
        ]
        return sheet(self.sheet_name(display, contrast), fields, rows)


def _language(display: Display, lang: str) -> str:
    return "A new language" if lang == POOLED else display.language(lang)


def _hours_needed(row: Any) -> Shown:
    """The interval; only a lower bound where nothing bounds it above, or where it lies beyond what
    the curve is drawn to."""
    low, high = row.needed_low_hours, row.needed_high_hours
    reach = _REACH * row.largest_hours
    if math.isinf(low):
        return number_cell(math.inf, 0, text="never")
    if low > reach or math.isinf(within_reach(high)):
        return number_cell(low, 0, text=f"over {_hours(min(low, reach))}")
    return number_cell(low, 0, text=f"{_hours(low)} to {_hours(high)}")


def _hours(hours: float) -> str:
    """Hours with two digits that count."""
    return f"{hours:,.0f}" if hours >= 100 else f"{hours:.2g}"


Series = dict[str, list[tuple[Scored, Cell]]]
"""Language -> its cells, by hours."""


def _series(members: list[Scored]) -> dict[tuple[str, str, str], Series]:
    """(part of the training set, arm, tier) -> its cells at full precision."""
    found: dict[tuple[str, str, str], Series] = {}
    for one in members:
        for cell in sorted(one.wer, key=lambda cell: cell.hours):
            # A donor as it is, at zero hours, is no point of a law in the hours.
            if cell.precision == FULL and cell.hours > 0:
                own = found.setdefault((cell.place(one.lang).training_set, cell.arm, cell.tier), {})
                own.setdefault(one.lang, []).append((one, cell))
    return found


def points_of(cells: list[tuple[Scored, Cell]]) -> Points:
    """What a law is fitted to, of one language."""
    draws = [one.wer[cell] for one, cell in cells]
    seeds = np.array([one.totals[cell]["seeds"] for one, cell in cells])
    # The law has a noise of its own, relative to the WER, and pools the points' own variances.
    between = [each.noise.own(each.terms) if each.noise else (0.0, 0.0) for each in draws]
    return Points(
        hours=np.array([cell.hours for _, cell in cells]),
        wer_pct=np.array([each.value for each in draws]),
        covariance=np.atleast_2d(np.cov(np.stack([each.tested for each in draws]))),
        block_df=draws[0].block_df,
        seeds=seeds,
        seed_variance=np.array([variance for variance, _ in between]),
        seed_residual=np.array([residual for _, residual in between]),
    )


def _rows(
    cells: Series, settings: Settings, random: np.random.Generator
) -> Iterator[dict[str, Any]]:
    """Rows of one law, fitted to all languages together."""
    series, why = {}, {}
    for lang, own in cells.items():
        fit = [(one, cell) for one, cell in own if cell not in one.faults]
        if reason := _unfit(own, fit):
            why[lang] = reason
        else:
            series[lang] = points_of(fit)
    # A shape is only borrowed from languages that show one.
    if not any(len(points.hours) > 2 for points in series.values()):
        why |= dict.fromkeys(series, "not estimable: no language has three budgets")
        series = {}
    weights = {lang: learning_curves.akaike_weights({lang: own}) for lang, own in series.items()}
    law = learning_curves.fit(series, random) if series else None
    for lang, own in cells.items():
        common = {
            "lang": lang,
            "languages": 1,
            "budgets": len(series[lang].hours) if lang in series else len(own),
            "largest_hours": own[-1][1].hours,
        }
        if law is None or lang in why:
            yield common | {"asked": LAW, "status": why[lang]}
        else:
            for row in _answers(law, lang, series[lang].hours, weights[lang], settings):
                yield common | row
    if len(cells) > 1:
        all_hours = sorted({hours for each in series.values() for hours in each.hours})
        common = {
            "lang": POOLED,
            "languages": len(series),
            "budgets": len(all_hours),
            "largest_hours": max(own[-1][1].hours for own in cells.values()),
        }
        if law is None or len(series) < 3:
            status = f"not estimable: laws of {len(series)} language(s), another one needs three"
            yield common | {"asked": LAW, "status": status}
        else:
            together = learning_curves.akaike_weights(series)
            for row in _answers(law, None, np.array(all_hours), together, settings):
                yield common | row


def _unfit(own: list[tuple[Scored, Cell]], fit: list[tuple[Scored, Cell]]) -> str:
    """Why a language has no law; empty where it has one."""
    if own[0][0].wer[own[0][1]].block_df < 1:
        return "not estimable: fewer than two blocks"
    if len(own) < 2:
        return "not estimable: one budget, a law needs two"
    if len(fit) < 2:
        return (
            f"not estimable: models do not recognise at {len(own) - len(fit)} of {len(own)} budgets"
        )
    first, last = (one.wer[cell].value for one, cell in (fit[0], fit[-1]))
    if last >= first:
        return "not estimable: WER does not fall from the smallest budget to the largest"
    if not last:
        return "not estimable: no errors at the largest budget"
    return ""


def _answers(
    law: Law, lang: str | None, hours: np.ndarray, weights: Mapping[str, float], settings: Settings
) -> Iterator[dict[str, Any]]:
    """The law of a language, WERs that it foretells, hours that it asks for."""
    low, high, ok = float(hours[0]), float(hours[-1]), {"status": "ok"}
    doubling = law.wer_pct(lang, 2 * high) - law.wer_pct(lang, high)
    yield (
        ok
        | {"asked": LAW, "training_noise_pct": float(100 * np.median(law.noise))}
        | _shape(law, lang, settings)
        | _estimate("doubling", "pp", doubling, settings)
        | {f"weight_{name}": weight for name, weight in weights.items()}
    )
    curve = np.geomspace(low, _REACH * high, _CURVE_POINTS)
    for asked in sorted({*map(float, hours), *settings.forecast_hours, *curve}):
        yield (
            ok
            | {"asked": WER_AT, "asked_hours": asked, "beyond": _beyond(asked, asked, low, high)}
            | _estimate("wer", "pct", law.foretold_pct(lang, asked), settings)
        )
    for target in settings.wer_targets_pct:
        needed = _estimate("needed", "hours", law.hours_to(lang, target), settings)
        reach = needed["needed_low_hours"], needed["needed_high_hours"]
        beyond = _beyond(*reach, low, high)
        yield ok | {"asked": HOURS_FOR, "asked_wer_pct": target, "beyond": beyond} | needed


def _shape(law: Law, lang: str | None, settings: Settings) -> dict[str, Any]:
    """Exponent and floor, where the data tell them apart. WERs and hours need no such choice."""
    if not law.floor_is_told:
        return {
            "floor_bayes_factor": law.for_a_floor,
            "floor_says": "not estimable: the WERs do not say whether there is a floor",
        }
    return (
        {"floor_bayes_factor": law.for_a_floor, "floor_says": "ok"}
        | _estimate("exponent", "b", law.of(lang)[2], settings)
        | _estimate("floor", "pct", law.floor_pct(lang), settings)
    )


def _estimate(name: str, unit: str, draws: np.ndarray, settings: Settings) -> dict[str, float]:
    """Median and equal-tailed interval of draws, of which some may be infinite."""
    tail = (1 - settings.confidence) / 2
    low, middle, high = np.quantile(draws, [tail, 0.5, 1 - tail], method="nearest")
    return with_interval(name, unit, float(middle), (float(low), float(high)))


def _beyond(at_least: float, at_most: float, low: float, high: float) -> str:
    """Where hours lie that are not among those that were trained."""
    if at_most > high * (1 + 1e-9):
        return "above"
    return "below" if at_least < low * (1 - 1e-9) else ""
