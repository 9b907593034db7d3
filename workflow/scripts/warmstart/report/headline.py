"""The headline of a study as text for the terminal."""

import itertools
from typing import Any

import pandas as pd

from warmstart.evidence import trainings
from warmstart.evidence.analyses.guideline import AHEAD
from warmstart.evidence.keys import FULL, MEAN, OWN, part_of
from warmstart.evidence.settings import headline_test_set
from warmstart.evidence.tiers import by_latency

_NARROWEST = 11  # characters of a tier's column


def lines_of(wer: pd.DataFrame, gap: pd.DataFrame, guideline: pd.DataFrame) -> list[str]:
    """WER of every arm, budget and tier, the gap of every contrast, and its interval.

    Args:
        wer, gap, guideline: tables.

    Returns:
        Lines: one block a language (and training set), a row per arm and budget, a column per tier.
    """
    if guideline.empty:
        rows = wer.assign(tier=pd.Categorical(wer.tier, by_latency(wer.tier)))
        rows = rows.sort_values(["test_set", "lang", "hours", "tier"])
        columns = ["test_set", "training_set", "lang", "arm", "hours", "precision", "tier"]
        table = rows[[*columns, "wer_pct"]].to_string(index=False, float_format="%.4g")
        return [
            "No gap: the headline test set was not decoded with both arms of a contrast at the "
            "reference tier. WER in %:",
            "",
            table,
        ]
    headline, reference = guideline.test_set.iloc[0], guideline.tier.iloc[0]
    read_from = _test_sets(wer, guideline)
    wer = wer[(wer.test_set == wer.lang.map(read_from)) & (wer.precision == FULL)]
    gap = gap[
        (gap.test_set == gap.lang.map(read_from))
        & (gap.precision == FULL)
        & (gap.languages_as != "sampled")
    ]
    contrasts = {
        name: f"{own.baseline.iloc[0]} - {own.challenger.iloc[0]}"
        for name, own in gap.groupby("contrast", sort=False)
    }
    tiers = by_latency(wer.tier)
    width = max(_NARROWEST, *(len(name) for name in tiers))
    first = max(len(name) for name in [*contrasts.values(), *wer.arm]) + 2
    out = [f"WER in % on {headline} at full precision; {_gaps(gap)} in percentage points"]
    for lang, test_set in read_from.items():
        if test_set != headline:
            out.append(f"{lang} is not scored on {headline}: its numbers are of {test_set}")

    def line(label: str, hours: float, cells: pd.Series, form: str) -> str:
        values = "".join(f"{cells.get(tier, float('nan')):>{form}}" for tier in tiers)
        return f"  {label:<{first}}{hours:>8g}  {values}"

    for title, training_set, lang in _blocks(wer):
        own = wer[(wer.training_set == training_set) & (wer.lang == lang)]
        gaps = gap[(gap.training_set == training_set) & (gap.lang == lang)]
        names = "".join(f"{name:>{width}}" for name in tiers)
        if read_from[lang] != headline:
            title += f" ({read_from[lang]})"
        out += ["", title, f"  {'arm':<{first}}{'hours':>8}  {names}"]
        for hours in sorted(own.hours.unique()):
            at, gaps_at = own[own.hours == hours], gaps[gaps.hours == hours]
            for arm in own.arm.unique():
                cells = at[at.arm == arm].set_index("tier").wer_pct
                out.append(line(arm, hours, cells, f"{width}.1f"))
            for name, label in contrasts.items():
                cells = gaps_at[gaps_at.contrast == name].set_index("tier").gap_pp
                # A language of which models forgot something has rates and no gap.
                if len(gaps) or name == next(iter(contrasts)):
                    out.append(line(label, hours, cells, f"+{width}.1f"))
    for name, label in contrasts.items():
        of = "" if len(contrasts) == 1 else f", {name}: {label}"
        rows = guideline[guideline.contrast == name]
        level = f"{100 * guideline.confidence.iloc[0]:g}"
        interval = trainings.interval_name(level, rows.training_error_pp)
        out += ["", f"Gap at {reference} with its {interval}{of}"]
        out += [_interval(row) for row in rows.itertuples()]
        out.append(f"  Verdicts are adjusted for {int(rows.rows_adjusted_for.max())} gaps (Holm).")
    return out


def _test_sets(wer: pd.DataFrame, guideline: pd.DataFrame) -> dict[str, str]:
    """Language (or `mean`) -> the test set that its numbers are of: that of its guideline, else
    the headline, else its first."""
    headline = guideline.test_set.iloc[0]
    found = dict(zip(guideline.lang, guideline.test_set, strict=True))
    for lang, own in wer.groupby("lang", sort=False):
        if lang == MEAN:
            found[MEAN] = headline
        found.setdefault(str(lang), headline_test_set(headline, list(own.test_set)))
    return found


def _gaps(gap: pd.DataFrame) -> str:
    if gap.contrast.nunique() > 1:
        return "gap = WER(baseline) - WER(challenger)"
    return f"gap = WER({gap.baseline.iloc[0]}) - WER({gap.challenger.iloc[0]})"


def _blocks(wer: pd.DataFrame) -> list[tuple[str, str, str]]:
    """(title, training set, language) of each block: languages with their own training set, their
    mean, then other training sets."""
    found = list(dict.fromkeys((row.training_set, row.lang) for row in wer.itertuples()))
    parts = {part_of(training_set, lang): None for training_set, lang in found}
    ordered = sorted(parts, key=lambda part: part != OWN)
    blocks = []
    for part, mean in itertools.product(ordered, (False, True)):
        for training_set, lang in found:
            if part_of(training_set, lang) == part and (lang == MEAN) == mean:
                title = lang if part == OWN else f"{lang}, trained on {training_set}"
                blocks.append((title, training_set, lang))
    return blocks


def _interval(row: Any) -> str:
    bounds = (
        "interval not estimable"
        if pd.isna(row.gap_low_pp)
        else f"[{row.gap_low_pp:+.1f}, {row.gap_high_pp:+.1f}]"
    )
    decision = f"{row.ahead} {row.decision}" if row.decision == AHEAD else row.decision
    # Not all reach every budget: means of two budgets may be of other languages.
    of = f" (mean of {row.languages:g})" if row.lang == MEAN else ""
    if part_of(row.training_set, row.lang) != OWN:
        of += f" (trained on {row.training_set})"
    return f"  {row.lang:<6}{row.hours:>8g} h  {row.gap_pp:>+6.1f} pp  {bounds:<18} {decision}{of}"
