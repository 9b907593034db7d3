"""Say what gap to expect for a language that is not in the study, from the pooled law of those that
are.

Reads fit.csv and gap.csv of a finished study. Prints the expected gap at each number of hours with
a prediction interval. Where the study has no such law (yet), `--published` prints why, and what the
paper's two endpoints give, which have no interval.

    python workflow/scripts/plan_gap.py --tables results/tables --hours 50 200 --test-set fleurs
    --tier 160ms
"""

import math
from pathlib import Path

import numpy as np
import pandas as pd
from scipy import stats

from warmstart.run import cli
from warmstart.run.errors import UserError

DRAWS = 100_000
PUBLISHED = {100.0: 4.21, 2500.0: 0.20}
"""Mean gap at two budgets, pp: FLEURS at 160 ms, abstract of arXiv 2606.24169."""


def pooled_law(fit: pd.DataFrame, test_set: str, tier: str) -> pd.Series:
    """The pooled row of fit.csv.

    Raises:
        UserError: no such row, fewer than three languages, or an exponent without a finite
            interval.
    """
    rows = fit[
        (fit.lang == "pooled")
        & (fit.family == "power")
        & (fit.test_set == test_set)
        & (fit.tier == tier)
    ]
    if rows.empty:
        known = (
            ", ".join(
                sorted(
                    {f"{row.test_set}/{row.tier}" for row in fit[fit.lang == "pooled"].itertuples()}
                )
            )
            or "none"
        )
        raise UserError(
            f"fit.csv has no pooled law for {test_set} at {tier}; it has: {known}; two languages "
            "or more are needed"
        )
    law = rows.iloc[0]
    if law.languages < 3:
        raise UserError(
            f"the pooled law rests on {law.languages} languages; a prediction for another one "
            "needs at least 3"
        )
    if law.status != "ok":
        raise UserError(f"the pooled law for {test_set} at {tier} predicts nothing: {law.status}")
    return law


def predict(
    law: pd.Series, hours: float, confidence: float, seed: int = 1
) -> tuple[float, float, float]:
    """Expected gap in percentage points for one new language, with a prediction interval.

    The new language's amplitude is drawn around the languages' mean by Student's t with their
    spread (which holds measurement noise too, so the interval is rather too wide than too narrow),
    the exponent from the width of its interval.
    """
    random = np.random.default_rng(seed)
    count = int(law.languages)
    spread = law.amplitude_sd_pp * math.sqrt(1 + 1 / count)
    amplitude = law.gap_at_reference_pp + spread * random.standard_t(count - 1, DRAWS)
    half = stats.norm.ppf(0.5 + confidence / 2)
    exponent = random.normal(
        law.exponent_b, (law.exponent_high_b - law.exponent_low_b) / (2 * half), DRAWS
    )
    ratio = hours / law.reference_hours
    low, high = np.quantile(
        amplitude * ratio**-exponent, [0.5 - confidence / 2, 0.5 + confidence / 2]
    )
    return float(law.gap_at_reference_pp * ratio**-law.exponent_b), float(low), float(high)


def published_gap(hours: float) -> float:
    """Gap in percentage points on the power law through the two published endpoints (b = 0.947)."""
    (first, high), (last, low) = PUBLISHED.items()
    exponent = math.log(high / low) / math.log(last / first)
    return high * (hours / first) ** -exponent


def _tables(folder: Path) -> tuple[pd.DataFrame, pd.DataFrame]:
    for name in ("fit", "gap"):
        if not (folder / f"{name}.csv").exists():
            raise UserError(
                f"{folder / name}.csv is not there; the study has to come to its tables first"
            )
    return pd.read_csv(folder / "fit.csv"), pd.read_csv(folder / "gap.csv")


def main(argv: list[str] | None = None) -> None:
    """Print the expectation."""
    parser = cli.parser(__doc__)
    parser.add_argument("--tables", type=Path, required=True)
    parser.add_argument("--hours", type=float, nargs="+", required=True)
    parser.add_argument("--test-set", required=True)
    parser.add_argument("--tier", required=True)
    parser.add_argument(
        "--confidence",
        type=float,
        default=0.95,
        help="of the intervals in fit.csv and of the prediction",
    )
    parser.add_argument(
        "--published",
        action="store_true",
        help="without a law of this study, use the paper's endpoints",
    )
    arguments = parser.parse_args(argv)
    if wrong := [hours for hours in arguments.hours if not hours > 0]:
        raise UserError(f"--hours {wrong[0]:g}: give hours above zero")
    try:
        fit, gap = _tables(arguments.tables)
        law = pooled_law(fit, arguments.test_set, arguments.tier)
    except UserError as error:
        if not arguments.published:
            raise
        print(f"No prediction from this study: {error}.")
        print(
            "From the endpoints published in arXiv 2606.24169 (FLEURS, 160 ms, mean of its "
            "languages), without an interval:"
        )
        for hours in sorted(arguments.hours):
            outside = (
                ""
                if min(PUBLISHED) <= hours <= max(PUBLISHED)
                else "  (outside the published budgets)"
            )
            print(f"{hours:>9g} h  {published_gap(hours):+6.2f} pp{outside}")
        return
    print(
        f"Gap of a new language, {arguments.test_set} at {arguments.tier}; {law.languages} "
        f"languages, b = {law.exponent_b:.2f};"
        f" {100 * arguments.confidence:g} % prediction intervals"
    )
    for hours in sorted(arguments.hours):
        value, low, high = predict(law, hours, arguments.confidence)
        outside = (
            "" if gap.hours.min() <= hours <= gap.hours.max() else "  (outside the budgets studied)"
        )
        decided = "" if low > 0 or high < 0 else "  (sign open)"
        print(f"{hours:>9g} h  {value:+6.2f} pp  [{low:+.2f}, {high:+.2f}]{decided}{outside}")


if __name__ == "__main__":
    cli.run(main)
