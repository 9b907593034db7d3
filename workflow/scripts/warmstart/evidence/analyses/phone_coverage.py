"""Whether a start gains because its pretraining languages have the phones of the target: coverage
beside the gap, and the rank correlation of the two over languages."""

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from scipy import stats

from warmstart.data import phone_inventory
from warmstart.evidence.analyses import base, gap
from warmstart.evidence.cells import interval_cell
from warmstart.evidence.collected import Evidence
from warmstart.evidence.columns import (
    CONTRAST,
    HOURS,
    LANG,
    LANGUAGES,
    RECOGNITION,
    TEST_SET,
    TIER,
    TRAINING_SET,
    Column,
    estimate,
)
from warmstart.evidence.display import Display
from warmstart.evidence.keys import FULL, MEAN, POOLED
from warmstart.evidence.means import NAN, with_interval
from warmstart.evidence.recognition import OK
from warmstart.evidence.settings import Contrast, Settings
from warmstart.evidence.sheets import Sheet, sheet

if TYPE_CHECKING:
    from matplotlib.figure import Figure

FEWEST = 5
"""Languages from which on a rank correlation is stated: with four its Fisher transform has a
standard error of one or more, so that nearly every interval holds zero."""


def draw(material: base.Material, display: Display, contrast: Contrast | None) -> "Figure":
    """The gap against what coverage differs by, a point a language, a style a budget."""
    from warmstart.evidence import plotting

    contrast = contrast or display.contrasts[0]
    table = material.tables["phone_coverage"]
    rows = table[(table.contrast == contrast.name) & (table.lang != POOLED)]
    rows = rows[rows.coverage_gain_pp.notna() & rows.gap_pp.notna()]
    figure, axis = plotting.single()
    if not len(rows):
        plotting.note(axis, "Of no language both the coverage and the gap are known.")
        return figure
    axis.axhline(0, color=plotting.INK, linewidth=0.8)
    for style, (hours, own) in enumerate(rows.groupby("hours")):
        plotting.errorbars(
            *(axis, own.coverage_gain_pp, own, "gap_pp", style, f"{hours:g} h"), line=False
        )
    for lang, own in rows.groupby("lang", sort=False):
        top = own.loc[own.gap_pp.idxmax()]
        axis.annotate(
            plotting.plain(display.language(str(lang))),
            (top.coverage_gain_pp, top.gap_pp),
            (5, 5),
            textcoords="offset points",
            fontsize=7.5,
        )
    names = " − ".join(display.arm(name) for name in reversed(contrast.arms))
    axis.set_xlabel(plotting.plain(f"Phones covered, {names} (pp)"))
    axis.set_ylabel(plotting.difference(display, contrast))
    plotting.shared_legend(figure, [axis])
    return figure


class Analysis(base.Analysis):
    """Coverage is of text alone: it asks what the pretraining languages have, not what the model
    learnt of it."""

    section = base.GAP
    title = "Does the start know the sounds?"
    caption = (
        "Share of the phones of each language's training text that the pretraining languages of "
        "the baseline and of the challenger have, beside the gap; and the rank correlation of the "
        "difference with the gap over languages."
    )
    details = (
        "Phones are espeak-ng's pronunciation of text. Those of a language are counted in its "
        "pool; those of a pretraining language in its pool, or in the text that an init is "
        "pretrained on here, or, where the study has neither, in its number words, which "
        "`from_numbers` names. Number words lack phones that their language has, so coverage is a "
        "lower bound then. A language has a phone that is one in 10,000 of its phones or more. "
        "results/phones/{lang}.json has the counts. Gaps are those of gap.csv on the headline test "
        "set, at the reference tier and full precision. In rows with `lang = pooled` the "
        "correlation is Spearman's over the languages whose coverage and gap are known and whose "
        "systems recognise, with the interval of Bonett and Wright 2000 "
        "(doi:10.1007/BF02294183); with fewer than five languages none is stated. A correlation "
        "over languages is no proof that phones are the reason."
    )
    columns = (
        *(CONTRAST, TRAINING_SET, LANG, LANGUAGES, TEST_SET, HOURS, TIER),
        Column("phone_types", "", "different phones that the language has", "Phones"),
        Column("coverage_baseline_pct", "%", "share of its phone tokens that they cover"),
        Column("coverage_challenger_pct", "%", "share of its phone tokens that they cover"),
        Column(
            "coverage_gain_pp", "pp", "challenger's share less the baseline's", "Coverage gain pp"
        ),
        Column("missing_baseline", "", "its phones that they lack, the commonest first"),
        Column("missing_challenger", "", "its phones that they lack, the commonest first"),
        Column("from_numbers", "", "pretraining languages of which number words alone were read"),
        *estimate("gap", "pp", "pp", "the gap, as in gap.csv", "Gap pp"),
        *(
            Column(name, "", "rank correlation of gain and gap over languages, and its interval")
            for name in ("spearman", "spearman_low", "spearman_high")
        ),
        Column("status", "", "`ok`, or `not estimable: ...`"),
        RECOGNITION,
    )
    by_contrast = True
    note = (
        "Coverage is of text: what the pretraining languages have, by espeak-ng's pronunciation. A "
        "correlation over languages is no proof that phones are the reason."
    )
    figures = (
        base.Drawing(
            "phone_coverage",
            draw,
            "The gap WER({baseline_name}) − WER({challenger_name}) on {test_set} at {tier} against "
            "what share of the language's phones the pretraining of the {challenger_name} {noun} "
            "covers more, a point for each language and budget. Bars: {intervals}.",
            empty="pretraining languages are not known, or nothing was decoded with both",
        ),
    )

    def rows(self, evidence: Evidence, settings: Settings) -> Iterator[dict[str, Any]]:
        """Languages, then the correlation over them, for each contrast and budget."""
        for contrast in settings.contrasts:
            found = list(_languages(evidence, contrast, settings))
            yield from (row for _, row in found)
            for part, hours in sorted({(part, row["hours"]) for part, row in found}):
                at = [row for of, row in found if (of, row["hours"]) == (part, hours)]
                yield {
                    "contrast": contrast.name,
                    "training_set": part,
                    "lang": POOLED,
                    "test_set": settings.headline_test_set,
                    "hours": hours,
                    "tier": settings.reference_tier,
                    **_correlation(at, settings.confidence),
                }

    def absent(self, tables: base.Tables, display: Display, contrast: Contrast | None) -> str:
        """Of no language the coverage of both is known."""
        table = tables["phone_coverage"]
        if contrast is not None:
            table = table[table.contrast == contrast.name]
        if table.coverage_gain_pp.notna().any():
            return ""
        return f"Not stated: {base.reasons(table) or 'nothing was decoded with both'}."

    def sheet(
        self, tables: base.Tables, display: Display, contrast: Contrast | None
    ) -> Sheet | None:
        """All rows of the contrast."""
        table = tables["phone_coverage"]
        if contrast is not None:
            table = table[table.contrast == contrast.name]
        of = self.fields(display)
        fields = [
            of.language(),
            *of.training_set(),
            of.hours(),
            of.number("coverage_baseline_pct", 1),
            of.number("coverage_challenger_pct", 1),
            of.text("missing_baseline", wide=True),
            of.text("missing_challenger", wide=True),
            of.number("gap_pp", 2, signed=True),
            of.number("spearman", 2, signed=True),
            of.cell(
                "spearman_low",
                lambda row: interval_cell(row.spearman_low, row.spearman_high),
                head="Interval of it",
            ),
            of.text("status", wide=True),
        ]
        return sheet(self.sheet_name(display, contrast), fields, table.itertuples(), sortable=True)


def _languages(
    evidence: Evidence, contrast: Contrast, settings: Settings
) -> Iterator[tuple[str, dict[str, Any]]]:
    """A row for each language, training set and budget, after the part that the training set plays
    (`keys.part_of`)."""
    for test_set, members in evidence.by_test_set().items():
        read_here = [one for one in members if settings.headline_in(one.lang) == test_set]
        rates = {one.lang: one for one in read_here}
        for one in gap.estimates(test_set, read_here, contrast, settings):
            place = one.place
            at = place.tier == settings.reference_tier and place.precision == FULL
            if one.lang == MEAN or not at:
                continue
            covered = _covered(one.lang, contrast, settings, evidence.inventories)
            yield (
                place.training_set,
                {
                    "contrast": contrast.name,
                    **{key: value for key, value in one.axes().items() if key != "languages_as"},
                    "hours": place.hours,
                    "tier": place.tier,
                    **with_interval("gap", "pp", one.value, (one.low, one.high)),
                    "recognition": gap.recognition_of(one, rates, contrast),
                    **covered,
                },
            )


def _covered(
    lang: str,
    contrast: Contrast,
    settings: Settings,
    inventories: Mapping[str, Mapping[str, Any]],
) -> dict[str, Any]:
    """What the two arms' pretraining covers of a language, or why nobody knows."""
    target = inventories.get(lang, {})
    if not target.get("phones"):
        return {"status": f"not estimable: {_reason(lang, target)}"}
    row: dict[str, Any] = {"phone_types": len(phone_inventory.used(target["phones"]))}
    reasons, numbers = [], {}
    for side, arm in (("baseline", contrast.baseline), ("challenger", contrast.challenger)):
        heard = settings.heard.get(arm)
        if heard is None:
            reasons.append(f"nobody has said which languages {arm} was pretrained on")
            continue
        known = {each: inventories.get(each, {}) for each in heard}
        if lacking := [each for each, about in known.items() if not about.get("phones")]:
            reasons += [_reason(each, known[each]) for each in lacking]
            continue
        share, missing = phone_inventory.coverage(
            target["phones"], [about["phones"] for about in known.values()]
        )
        row |= {f"coverage_{side}_pct": 100 * share, f"missing_{side}": " ".join(missing)}
        numbers |= {each: 1 for each, about in known.items() if about.get("source") == "numbers"}
    row["from_numbers"] = " ".join(numbers)
    if reasons:
        return {**row, "status": f"not estimable: {'; '.join(dict.fromkeys(reasons))}"}
    gain = row["coverage_challenger_pct"] - row["coverage_baseline_pct"]
    return {**row, "coverage_gain_pp": gain, "status": OK}


def _reason(lang: str, about: Mapping[str, Any]) -> str:
    """Why a language has no inventory."""
    return about.get("reason") or f"nobody has counted phones of {lang}"


def _correlation(rows: Sequence[Mapping[str, Any]], confidence: float) -> dict[str, Any]:
    """Spearman's rank correlation of gain and gap over languages.

    The interval is Fisher's with the standard error sqrt((1 + r^2 / 2) / (n - 3)) (Bonett & Wright
    2000, doi:10.1007/BF02294183).
    """
    known = [row for row in rows if row["status"] == OK and math.isfinite(row["gap_pp"])]
    sound = [row for row in known if row["recognition"] == OK]
    count = len(sound)
    found: dict[str, Any] = {"languages": count, "recognition": OK, "spearman": NAN}
    if count < FEWEST:
        but = f", and {len(known) - count} more do not recognise" if len(known) > count else ""
        why = f"{count} of at least {FEWEST} languages{but}"
        return {**found, "status": f"not estimable: {why}"}
    gains, gaps = ([row[name] for row in sound] for name in ("coverage_gain_pp", "gap_pp"))
    if len(set(gains)) == 1 or len(set(gaps)) == 1:
        return {**found, "status": "not estimable: the same in all languages"}
    found["spearman"] = rank = float(stats.spearmanr(gains, gaps).statistic)
    if abs(rank) > 1 - 1e-12:
        return {**found, "status": "not estimable: all ranks agree, so there is no interval"}
    half = stats.norm.ppf(0.5 + confidence / 2) * math.sqrt((1 + rank**2 / 2) / (count - 3))
    low, high = (math.tanh(math.atanh(rank) + side * half) for side in (-1, 1))
    return {**found, "spearman_low": low, "spearman_high": high, "status": OK}
