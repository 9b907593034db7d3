"""Does a model run out of new sub-tokens, and by which law?"""

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from warmstart.evidence import candidates, token_estimates
from warmstart.evidence.analyses import base
from warmstart.evidence.candidates import Counted
from warmstart.evidence.cells import Shown, number_cell
from warmstart.evidence.collected import Evidence
from warmstart.evidence.columns import (
    ARM,
    HOURS,
    LANG,
    PRECISION,
    TEST_SET,
    TIER,
    TRAINING_SET,
    Column,
    estimate,
)
from warmstart.evidence.display import Display
from warmstart.evidence.keys import Cell
from warmstart.evidence.means import with_interval
from warmstart.evidence.settings import Contrast, Settings
from warmstart.evidence.sheets import Sheet, sheet
from warmstart.evidence.token_estimates import (
    EXPONENTIAL,
    HEAPS,
    NEITHER,
    UNDECIDED,
    ZIPF,
    ZIPF_MANDELBROT,
    Jackknifed,
    Tokens,
)

if TYPE_CHECKING:
    from matplotlib.figure import Figure

CANDIDATES, TAKEN = "candidates", "taken"
_KINDS = {CANDIDATES: "candidate", TAKEN: "taken"}
_AIC_RATIO = 2.0  # a difference of Akaike's criterion that says nothing (Burnham & Anderson 2002)
_REACH = 1.5  # times the audio of the test set: as far as laws are drawn

# Estimate and its unit -> what `token_estimates` calls it.
_GROWTH = {
    ("distinct", "tokens"): "distinct",
    ("limit", "tokens"): "limit",
    ("tau", "s"): "tau_s",
    ("ast50", "s"): "ast50_s",
    ("ast95", "s"): "ast95_s",
    ("heaps", "beta"): "heaps_beta",
    ("exponential_miss", "pct"): "exponential_miss_pct",
    ("heaps_miss", "pct"): "heaps_miss_pct",
}
_WHOLE = {
    ("zipf", "a"): "zipf_a",
    ("zipf_mandelbrot", "a"): "zipf_mandelbrot_a",
    ("zipf_mandelbrot", "b"): "zipf_mandelbrot_b",
    ("length", "characters"): "length",
    ("entropy", "bits"): "entropy_bits",
    ("confidence", "pct"): "confidence_pct",
    ("right_first", "pct"): "right_first_pct",
    ("right_within", "pct"): "right_within_pct",
    ("right", "rank"): "right_rank",
}


def draw(material: base.Material, display: Display, contrast: Contrast | None) -> "Figure":
    """Distinct candidates over audio and both laws, a panel for each language, a colour for each
    arm, at its most data."""
    from warmstart.evidence import plotting

    table = display.headline(material.tables["saturation"])
    table = table[(table.tokens == CANDIDATES) & (table.status == "ok")]
    panels = display.panels(table, mean=False)
    figure, axes = plotting.panels(len(panels))
    if not panels:
        plotting.note(axes[0], "No decode kept candidates from which a law follows.")
    for axis, panel in zip(axes, panels, strict=False):
        own = display.panel_rows(table, panel)
        for style, arm in enumerate(display.arms):
            rows = own[own.arm == arm]
            rows = rows[rows.hours == rows.hours.max()].sort_values("window_s")
            if not len(rows):
                continue
            name, colour = plotting.plain(display.arm(arm)), plotting.colour(style)
            axis.plot(
                rows.window_s,
                rows.distinct_tokens,
                color=colour,
                marker=plotting.MARKERS[style % 9],
                linestyle="none",
                label=name,
            )
            law = rows.iloc[-1]
            time_s = np.linspace(0, _REACH * law.window_s, 200)
            heaps = law.heaps_k * time_s**law.heaps_beta
            axis.plot(time_s, heaps, color=colour, label=f"{name}, Heaps")
            if np.isfinite(law.limit_tokens):
                found = law.limit_tokens * -np.expm1(-time_s / law.tau_s)
                label = f"{name}, exponential"
                axis.plot(time_s, found, color=colour, linestyle="--", label=label)
        axis.set_title(plotting.plain(panel.title))
        axis.set_ylim(bottom=0)
        axis.set_xlim(left=0)
    figure.supylabel("Distinct sub-tokens", fontsize=9)
    plotting.under(axes, "Audio (s)")
    plotting.shared_legend(figure, axes)
    return figure


class Analysis(base.Analysis):
    """Distinct sub-tokens over audio time (arXiv:2510.22492), and laws of their frequencies."""

    section = base.Section("saturation", "Sub-tokens")
    title = "Does a model run out of new sub-tokens?"
    caption = (
        "How many distinct sub-tokens are among the K best of each emission, and among those "
        "taken, as audio grows: acoustic saturation time, Heaps' law, Zipf's law, entropy, rank of "
        "the right token."
    )
    details = (
        "Made of the files that `decoding.log_candidates` keeps; empty without it. Rows with "
        "`tokens = candidates` count every one of the K best, those with `taken` the tokens of the "
        "hypotheses. Curves are means over all orders of the utterances. Each law is fitted on "
        "windows of an eighth of the audio to all of it, because what is called saturation "
        "depends on how long one looks. The miss of a law is that of its prediction for the end of "
        "a window from the first half of it; `growth_law` is the law whose miss is smaller, where "
        "the interval of the difference says so. `frequency_law` follows Akaike's criterion. What "
        "does not depend on the window stands in the rows of the longest. Intervals are over "
        "utterances (blocks), of these trainings. Tokens that are no text count nowhere."
    )
    columns = (
        *(TRAINING_SET, LANG, TEST_SET, ARM, HOURS, PRECISION, TIER),
        Column(
            "tokens", "", "`candidates`: the K best of each emission; `taken`: hypotheses", "Of"
        ),
        Column("count", "", "K", "K"),
        Column("vocabulary", "tokens", "tokens of the model that are text"),
        Column("seeds", "", "trainings in it; estimates are means over them"),
        *(Column(name, "", "in the test set") for name in ("utterances", "blocks", "emissions")),
        Column("window_s", "s", "audio that the laws are fitted to", "Audio s"),
        *estimate("distinct", "tokens", "tokens", "distinct ones in the window", "Distinct"),
        *estimate("limit", "tokens", "tokens", "D∞ of D∞ (1 − e^(−t/τ)); inf: none", "D∞"),
        *estimate("tau", "s", "s", "τ; inf: the curve does not bend", "τ s"),
        *estimate(
            "ast50",
            "s",
            "s",
            "acoustic saturation time: half of D∞ is discovered; empty where that is less than an "
            "utterance",
            "AST 50 % s",
        ),
        *estimate("ast95", "s", "s", "the same for 95 %", "AST 95 % s"),
        Column("beyond", "", "`above` where that lies beyond the window: an extrapolation"),
        *estimate("heaps", "beta", "", "β of Heaps' law K t^β", "Heaps β"),
        Column("heaps_k", "tokens", "K of it: tokens in the first second"),
        *(
            Column(f"{law}_r2", "", "share of the curve's variance that the law explains")
            for law in (EXPONENTIAL, HEAPS)
        ),
        *estimate(
            "exponential_miss",
            "pct",
            "%",
            "predicted minus found at the end of the window, of the exponential law fitted to its "
            "first half",
            "Exponential misses by %",
        ),
        *estimate("heaps_miss", "pct", "%", "the same of Heaps' law", "Heaps misses by %"),
        Column("growth_law", "", "`exponential`, `heaps` or `undecided`", "Closer law"),
        *estimate("zipf", "a", "", "a of p(r) ∝ r^(−a)", "Zipf a"),
        *estimate("zipf_mandelbrot", "a", "", "a of p(r) ∝ (r + b)^(−a); inf: exponential"),
        *estimate("zipf_mandelbrot", "b", "", "b of it", "Zipf-Mandelbrot b"),
        Column("aic_gain", "", "Akaike's criterion of Zipf minus that of Zipf-Mandelbrot"),
        Column(
            "frequency_law",
            "",
            "`zipf`, `zipf_mandelbrot`, `neither` (the limit of inf) or `undecided`",
            "Frequencies",
        ),
        *estimate("length", "characters", "characters", "mean of a token", "Characters"),
        *estimate("entropy", "bits", "bits", "of the K best, mean of an emission", "Entropy bits"),
        *estimate("confidence", "pct", "%", "mean probability of the token taken", "Confidence %"),
        *estimate(
            "right_first",
            "pct",
            "%",
            "emissions whose best token is that of the reference, of those with one beside them",
            "Right first %",
        ),
        *estimate(
            "right_within", "pct", "%", "of which it is among the K best", "Right within K %"
        ),
        *estimate("right", "rank", "", "its mean rank where it is among them", "Its rank"),
        Column("status", "", "`ok` or `not estimable: ...`"),
    )
    note = (
        "Curves are means over all orders of the utterances. AST: acoustic saturation time, of the "
        "exponential law; it depends on the audio that was looked at and on K. A law misses by "
        "what its prediction from the first half of the audio is off at the end. Intervals are "
        "over utterances, of these trainings."
    )
    figures = (
        base.Drawing(
            "saturation",
            draw,
            "Distinct sub-tokens among the K best of each emission on {test_set} at {tier}, at the "
            "most data of each arm: found (points), Heaps' law (lines) and the exponential law "
            "(dashed), both fitted to all points.",
            empty="no decode kept candidates from which a law follows",
        ),
    )

    def rows(self, evidence: Evidence, settings: Settings) -> Iterator[dict[str, Any]]:
        """Every test set and cell: candidates, then tokens taken, each over its windows."""
        for (lang, test_set, cell), seeds in _cells(evidence, settings):
            common = {"lang": lang, "test_set": test_set, **cell._asdict()}
            for tokens in _KINDS:
                for row in _rows(seeds, tokens, settings.confidence):
                    yield common | row

    def absent(self, tables: base.Tables, display: Display, contrast: Contrast | None) -> str:
        """Without candidates there is nothing to count."""
        if tables["saturation"].empty:
            return (
                "No decode kept its candidates (decoding.log_candidates), so the study does not "
                "say."
            )
        shown = display.headline(tables["saturation"])
        if (shown.status == "ok").any():
            return ""
        return f"Not stated: {base.reasons(shown) or 'nothing was decoded at this tier'}."

    def text(self, tables: base.Tables, display: Display, contrast: Contrast | None) -> str:
        """Which law is closer, and by what criterion."""
        table = _longest(display.headline(tables["saturation"]))
        said = []
        for tokens, name in ((CANDIDATES, "the K best candidates"), (TAKEN, "the tokens taken")):
            own = table[(table.tokens == tokens) & (table.status == "ok")]
            if not len(own):
                continue
            won = own.growth_law.value_counts()
            said.append(
                f"Of {name}, Heaps' law is closer in {won.get(HEAPS, 0)} of {len(own)} rows, the "
                f"exponential law in {won.get(EXPONENTIAL, 0)}, and {won.get(UNDECIDED, 0)} are "
                "undecided."
            )
        if not said:
            return ""
        beyond = table[(table.tokens == CANDIDATES) & (table.beyond == "above")]
        if len(beyond):
            said.append(
                f"In {len(beyond)} rows of candidates the saturation time of 95 % lies beyond the "
                "audio that there is: it is an extrapolation of the exponential law."
            )
        criterion = (
            "Closer is the law that, fitted to the first half of the audio, foretells the distinct "
            f"tokens of all of it with the smaller error, if the {display.settings.level} % "
            "interval of the difference leaves out zero."
        )
        return " ".join([*said, criterion])

    def sheet(
        self, tables: base.Tables, display: Display, contrast: Contrast | None
    ) -> Sheet | None:
        """The headline's rows of the longest window."""
        table = display.ordered(_longest(display.headline(tables["saturation"])))
        of = self.fields(display)
        fields = [
            of.text("lang", lambda row: display.language(row.lang)),
            *of.training_set(),
            of.arm(),
            of.hours(),
            of.text("tokens"),
            of.number("window_s", 0),
            of.number("distinct_tokens", 0),
            of.interval("distinct", "tokens", 0, signed=False),
            of.cell("ast50_s", lambda row: _time(row.ast50_s, row)),
            of.cell("ast95_s", lambda row: _time(row.ast95_s, row)),
            of.interval("ast95", "s", 0, signed=False),
            of.number("heaps_beta", 2),
            of.interval("heaps", "beta", signed=False),
            of.number("exponential_miss_pct", 1, signed=True),
            of.number("heaps_miss_pct", 1, signed=True),
            of.text("growth_law", _law("growth_law")),
            of.number("zipf_a", 2),
            of.number("zipf_mandelbrot_b", 1),
            of.text("frequency_law", _law("frequency_law")),
            of.number("length_characters", 2),
            of.number("entropy_bits", 2),
            of.number("right_first_pct", 1),
            of.number("right_within_pct", 1),
            of.number("right_rank", 2),
            of.text("status", wide=True),
        ]
        rows = table.itertuples()
        return sheet(self.sheet_name(display, contrast), fields, rows, sortable=True)


def _longest(table: Any) -> Any:
    """Rows of the longest windows; those of which nothing is estimable have one."""
    keys = ["training_set", "lang", "test_set", "arm", "hours", "precision", "tier", "tokens"]
    return table[table.window_s == table.groupby(keys).window_s.transform("max")]


def _time(time_s: float, row: Any) -> Shown:
    """A saturation time; in brackets where it lies beyond the audio."""
    shown = number_cell(time_s, 0)
    return number_cell(time_s, 0, text=f"({shown.text})") if time_s > row.window_s else shown


def _law(name: str) -> Any:
    names = {ZIPF_MANDELBROT: "Zipf-Mandelbrot", ZIPF: "Zipf", HEAPS: "Heaps"}

    def shown(row: Any) -> str:
        value = getattr(row, name)
        return names.get(value, str(value)) if value == value else ""

    return shown


def _cells(
    evidence: Evidence, settings: Settings
) -> Iterator[tuple[tuple[str, str, Cell], list[Counted]]]:
    """Language, test set and cell, and its seeds: a language after the other, and within a test set
    as other tables stand."""
    for path in evidence.candidates:
        file = candidates.File(path)
        found: dict[tuple[str, str, Cell], list[int]] = {}
        for number, key in enumerate(file.keys):
            cell = Cell(*(key[name] for name in Cell._fields))
            found.setdefault((key["lang"], key["test_set"], cell), []).append(number)
        for key in sorted(found, key=lambda key: (key[1], settings.order_of(key[2]))):
            yield key, [file.read(number) for number in found[key]]


def _rows(seeds: Sequence[Counted], kind: str, confidence: float) -> Iterator[dict[str, Any]]:
    """Rows of one cell, a window each."""
    parts = [Tokens(one, _KINDS[kind]) for one in seeds]
    first = seeds[0]
    common = {
        "tokens": kind,
        "count": first.count,
        "vocabulary": parts[0].vocabulary,
        "seeds": len(seeds),
        "utterances": int(first.counts["utterances"].sum()),
        "blocks": int(first.counts["blocks"].sum()),
        "emissions": int(sum(one.counts["emissions"].sum() for one in seeds)),
    }
    if unfit := [why for part in parts if (why := part.unfit())]:
        yield common | {"window_s": parts[0].duration_s, "status": unfit[0]}
        return
    windows = [list(part.growths()) for part in parts]
    for number, (window_s, _) in enumerate(windows[0]):
        growth = _together([own[number][1] for own in windows])
        row = common | {"window_s": window_s, "status": "ok"}
        row |= _estimates(growth, _GROWTH, confidence)
        row |= {
            name: growth[name].value
            for name in ("heaps_k", "exponential_r2", "heaps_r2")
            if name in growth
        }
        if "limit" in growth:
            row["beyond"] = "above" if growth["ast95_s"].value > window_s else ""
            row["growth_law"] = _closer(growth["heaps_closer_pp"], confidence)
        else:
            row["status"] = "not estimable: too few utterances in the window"
        if number == len(windows[0]) - 1:
            row |= _whole(seeds, parts, kind, confidence)
        yield row


def _whole(
    seeds: Sequence[Counted], parts: Sequence[Tokens], kind: str, confidence: float
) -> dict[str, Any]:
    """What does not depend on a window; what single emissions are like stands beside the
    candidates."""
    alike = _together(
        [
            part.frequencies()
            | {"length": part.length()}
            | (token_estimates.emissions(one) if kind == CANDIDATES else {})
            for part, one in zip(parts, seeds, strict=True)
        ]
    )
    gain = alike["aic_gain"].value
    law = UNDECIDED if abs(gain) < _AIC_RATIO else ZIPF_MANDELBROT if gain > 0 else ZIPF
    if law == ZIPF_MANDELBROT and not np.isfinite(alike["zipf_mandelbrot_a"].value):
        law = NEITHER
    return _estimates(alike, _WHOLE, confidence) | {"aic_gain": gain, "frequency_law": law}


def _together(parts: Sequence[Mapping[str, Jackknifed]]) -> dict[str, Jackknifed]:
    """Estimates of several seeds, as their mean; what one of them lacks is left out."""
    common = [name for name in parts[0] if all(name in part for part in parts)]
    return {name: token_estimates.over_seeds([part[name] for part in parts]) for name in common}


def _estimates(
    found: Mapping[str, Jackknifed], names: Mapping[tuple[str, str], str], confidence: float
) -> dict[str, float]:
    row: dict[str, float] = {}
    for (name, unit), own in names.items():
        if own in found:
            row |= with_interval(name, unit, found[own].value, found[own].interval(confidence))
    return row


def _closer(heaps_closer: Jackknifed, confidence: float) -> str:
    """The law that misses by less, where the interval says so."""
    low, high = heaps_closer.interval(confidence)
    return HEAPS if low > 0 else EXPONENTIAL if high < 0 else UNDECIDED
