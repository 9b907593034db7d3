"""How often the intervals, the exponent and the equivalence test are right, over simulated studies
with a planted truth.

Prints a table; takes about a second a study on one core. Figures observed: benchmarks/RESULTS.md.

    python benchmarks/coverage.py --studies 500 --replicates 1000
    python benchmarks/coverage.py --replicates 500 --truth '{"seeds": 3, "seed_sd_pp": 0.5, "hours":
    [100, 500, 2500]}'
"""

import argparse
import json
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT / "workflow" / "scripts"), str(ROOT / "tests")]

from made.planted import Truth, score_table  # noqa: E402

from warmstart.evidence import analyses  # noqa: E402
from warmstart.evidence.collected import Evidence, resample_all  # noqa: E402
from warmstart.evidence.intervals import Draws  # noqa: E402
from warmstart.evidence.keys import Place  # noqa: E402
from warmstart.evidence.settings import Contrast, Settings  # noqa: E402

SETTINGS = Settings(
    contrasts=(Contrast("warm_start", "en", "ml"),),
    headline_test_set="fleurs",
    reference_tier="160ms",
    replicates=1000,
    confidence=0.95,
    seed=1,
    tier_margin_pp=0.5,
    threshold_pp=0.5,
)


def study(truth: Truth, number: int, replicates: int, languages: int) -> Evidence:
    """One simulated study, resampled."""
    random = np.random.default_rng([20, number])
    settings = replace(SETTINGS, replicates=replicates, seed=number)
    tables = [
        score_table(truth, random, f"l{place}").assign(utterances=1) for place in range(languages)
    ]
    scored = resample_all(pd.concat(tables), settings)
    return Evidence(counts=tables[0], scored=scored, compared=scored)


def inside(low: float, value: float, high: float) -> bool:
    """Whether an interval holds the truth."""
    return bool(low <= value <= high)


def run(truth: Truth, studies: int, replicates: int, languages: int) -> dict[str, float]:
    """Coverage in percent, and the bias of the exponent in percent of the truth."""
    settings = replace(SETTINGS, replicates=replicates)
    (contrast,) = settings.contrasts
    tables = {name: analyses.load(name) for name in ("quantization", "gap", "fit", "gap_by_tier")}
    hits: dict[str, list[float]] = {}

    def note(name: str, value: float) -> None:
        hits.setdefault(name, []).append(value)

    # The gap between the truths at the two tiers sits on the margin in this second study: saying
    # "equivalent" is then false.
    edge = replace(truth, tier_gap_pp=(0.0, settings.tier_margin_pp))
    for number in range(studies):
        evidence = study(truth, number, replicates, languages)
        for one in evidence.scored:
            gaps = one.gaps(contrast)
            for name, hours in (("first", truth.hours[0]), ("last", truth.hours[-1])):
                place = Place("own", hours, "full", "160ms")
                note(f"gap, {name} budget", inside_of(gaps[place], truth.gap_pp(hours)))
            wer = truth.wer_floor + truth.wer_slope
            cell = Place("own", truth.hours[0], "full", "160ms").cell(one.lang, "ml")
            note("WER", inside_of(one.wer[cell], wer))
        for row in tables["quantization"].rows(evidence, settings):
            if row["languages_as"] == "one" and row["arm"] == "gap":
                note(
                    "int4: difference of differences",
                    inside(row["delta_low_pp"], truth.int4_gap_pp, row["delta_high_pp"]),
                )
        for row in tables["gap"].rows(evidence, settings):
            if (
                row["lang"] == "mean"
                and row["hours"] == truth.hours[0]
                and row["tier"] == "160ms"
                and row["precision"] == "full"
            ):
                held = inside(row["gap_low_pp"], truth.gap_pp(row["hours"]), row["gap_high_pp"])
                note(f"mean gap, languages {row['languages_as']}", held)
        for row in tables["fit"].rows(evidence, settings):
            if row["family"] == "power" and row["tier"] == "160ms":
                kind = "pooled" if row["lang"] == "pooled" else "one language"
                note(
                    f"exponent, {kind}",
                    inside(row["exponent_low_b"], truth.exponent, row["exponent_high_b"]),
                )
                note(f"bias of the exponent, {kind}", row["exponent_b"] / truth.exponent - 1)
                hours = truth.reference_hours * (truth.amplitude_pp / settings.threshold_pp) ** (
                    1 / truth.exponent
                )
                note(
                    f"hours to {settings.threshold_pp} pp, {kind}",
                    inside(row["threshold_low_hours"], hours, row["threshold_high_hours"]),
                )
        for row in tables["gap_by_tier"].rows(evidence, settings):
            if row["languages_as"] == "one" and row["hours"] == "all":
                note(
                    "tier difference",
                    inside(row["difference_low_pp"], 0.0, row["difference_high_pp"]),
                )
                note(
                    "says 'equivalent' when there is no difference", row["verdict"] == "equivalent"
                )
        at_edge = study(edge, number, replicates, 1)
        for row in tables["gap_by_tier"].rows(at_edge, settings):
            if row["hours"] in ("all", truth.hours[-1]):
                where = "all hours" if row["hours"] == "all" else "last budget"
                note(f"says 'equivalent' falsely, {where}", row["verdict"] == "equivalent")
    # An exponent that the data do not bound has no bias; the interval's coverage counts it.
    return {
        name: 100.0 * float(np.mean([value for value in values if np.isfinite(value)]))
        for name, values in hits.items()
    }


def inside_of(draws: Draws, truth: float) -> bool:
    """Whether the 95 % interval of an estimate holds the truth."""
    low, high = draws.interval(SETTINGS.confidence)
    return inside(low, truth, high)


def main() -> None:
    """Simulate and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--studies", type=int, default=500)
    parser.add_argument("--replicates", type=int, default=1000)
    parser.add_argument("--languages", type=int, default=3)
    parser.add_argument(
        "--truth",
        type=json.loads,
        default={},
        help='JSON over the defaults of planted.Truth, e.g. {"speakers": 30}',
    )
    arguments = parser.parse_args()
    start = time.perf_counter()
    result = run(
        Truth(**arguments.truth), arguments.studies, arguments.replicates, arguments.languages
    )
    width = max(map(len, result))
    for name, value in result.items():
        print(f"{name:<{width}}  {value:7.2f} %")
    took = time.perf_counter() - start
    print(
        f"{arguments.studies} studies of {arguments.languages} languages, {arguments.replicates} "
        f"replicates, {took:.0f} s"
    )


if __name__ == "__main__":
    main()
