"""Print the headline of a study to the terminal: WER per init, budget and tier, the gap with its
interval, the report's path.

Reads wer.csv, gap.csv and guideline.csv. Writes to standard output only.

    python workflow/scripts/print_headline.py --tables results/tables --report results/report.html
"""

from pathlib import Path

import pandas as pd

from warmstart.run import cli
from warmstart.run.errors import UserError

FULL = "full"


def lines_of(wer: pd.DataFrame, gap: pd.DataFrame, guideline: pd.DataFrame) -> list[str]:
    """The text, line by line: one block a language, a row per init and budget, a column per
    tier."""
    if guideline.empty:
        rows = wer.sort_values(["test_set", "lang", "hours", "tier"])
        table = rows[
            ["test_set", "lang", "init", "hours", "precision", "tier", "wer_pct"]
        ].to_string(index=False, float_format="%.4g")
        return [
            "No gap: the headline test set was not decoded with both inits at the reference tier. "
            "WER in %:",
            "",
            table,
        ]
    test_set, reference = guideline.test_set.iloc[0], guideline.tier.iloc[0]
    wer = wer[(wer.test_set == test_set) & (wer.precision == FULL)]
    gap = gap[
        (gap.test_set == test_set) & (gap.precision == FULL) & (gap.languages_as != "sampled")
    ]
    tiers = sorted(
        wer.tier.unique(),
        key=lambda name: (
            not name[0].isdigit(),
            int(name.removesuffix("ms")) if name[0].isdigit() else 0,
        ),
    )
    baseline, challenger = gap.baseline.iloc[0], gap.challenger.iloc[0]
    label = f"{baseline} - {challenger}"
    width = max(11, *(len(name) for name in tiers))
    first = max(len(label), *(len(name) for name in wer.init)) + 2
    out = [
        f"WER in % on {test_set} at full precision; gap = WER({baseline}) - WER({challenger}) in "
        "percentage points"
    ]
    for lang in [
        *(name for name in wer.lang.unique() if name != "mean"),
        *(["mean"] if (wer.lang == "mean").any() else []),
    ]:
        own = wer[wer.lang == lang]
        out += [
            "",
            f"{lang}",
            f"  {'init':<{first}}{'hours':>8}  " + "".join(f"{name:>{width}}" for name in tiers),
        ]
        for hours in sorted(own.hours.unique()):
            for init in own.init.unique():
                cells = own[(own.hours == hours) & (own.init == init)].set_index("tier").wer_pct
                values = "".join(f"{cells.get(name, float('nan')):>{width}.1f}" for name in tiers)
                out.append(f"  {init:<{first}}{hours:>8g}  {values}")
            cells = gap[(gap.lang == lang) & (gap.hours == hours)].set_index("tier").gap_pp
            values = "".join(f"{cells.get(name, float('nan')):>+{width}.1f}" for name in tiers)
            out.append(f"  {label:<{first}}{hours:>8g}  {values}")
    out += ["", f"Gap at {reference} with its interval"]
    rows = gap[gap.tier == reference]
    decisions = guideline.set_index(["lang", "hours"]).decision
    for row in rows.itertuples():
        bounds = (
            "interval not estimable"
            if pd.isna(row.gap_low_pp)
            else f"[{row.gap_low_pp:+.1f}, {row.gap_high_pp:+.1f}]"
        )
        decision = decisions.get((row.lang, row.hours), "")
        # Not all reach every budget: means of two budgets may be of other languages.
        decision += f" (mean of {row.languages:g})" if row.lang == "mean" else ""
        out.append(
            f"  {row.lang:<6}{row.hours:>8g} h  {row.gap_pp:>+6.1f} pp  {bounds:<18} {decision}"
        )
    return out


def main(argv: list[str] | None = None) -> None:
    """Print the headline."""
    parser = cli.parser(__doc__)
    parser.add_argument("--tables", type=Path, required=True)
    parser.add_argument("--report", type=Path, default=None)
    arguments = parser.parse_args(argv)
    tables = []
    for name in ("wer", "gap", "guideline"):
        path = arguments.tables / f"{name}.csv"
        if not path.exists():
            raise UserError(f"{path} is not there; run the study first (make demo)")
        tables.append(pd.read_csv(path, dtype={"lang": str}, keep_default_na=True, na_values=[""]))
    print("\n".join(lines_of(*tables)))
    if arguments.report is not None:
        print(f"\nReport: {arguments.report}")


if __name__ == "__main__":
    cli.run(main)
