"""What the intervals, verdicts and laws say where the truth is not what they assume: readers beside
sentences, trainings that vary, heavy tails, few readers, exponents that differ, plateaus, sentences
shared by languages.

Prints a row a scenario (`tests/made/planted_readings.py` plants them; score files, tables and
verdicts are the workflow's own). A study takes some two seconds on one core. Figures observed:
benchmarks/RESULTS.md.

    python benchmarks/audit.py --studies 60
    python benchmarks/audit.py --studies 200 --only "one seed" "two seeds"
"""

import argparse
import dataclasses
import math
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT / "workflow" / "scripts"), str(ROOT / "tests")]

from made.planted_readings import Planted, Truth, plant  # noqa: E402

from warmstart.evidence import analyses, collected  # noqa: E402
from warmstart.evidence.settings import Contrast, Settings  # noqa: E402

NAN = float("nan")
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
NOISE = Truth(training_sd_pp=0.2)
NULL = dataclasses.replace(NOISE, amplitude_pp=0.0)
AUDIOBOOKS = Truth(block="speaker", sentences=875, readings=1.0, budgets=(4, 4, 4, 4))
SCENARIOS = {
    "as assumed": Truth(),
    "one seed": NOISE,
    "two seeds": dataclasses.replace(NOISE, seeds=2),
    "three seeds": dataclasses.replace(NOISE, seeds=3),
    "one seed, 0.4 pp": Truth(training_sd_pp=0.4),
    "no gap, one seed": NULL,
    "no gap, two seeds": dataclasses.replace(NULL, seeds=2),
    "no gap, three seeds": dataclasses.replace(NULL, seeds=3),
    "gap of 0.3 pp everywhere": Truth(amplitude_pp=0.3, exponent=0.0),
    "20 readers": Truth(readers=20, private_sd=0.10),
    "60 readers": Truth(readers=60, private_sd=0.10),
    "heavy tails": Truth(loop_share=0.01),
    "2 readers are the blocks": dataclasses.replace(AUDIOBOOKS, readers=2, private_sd=0.1),
    "3 readers are the blocks": dataclasses.replace(AUDIOBOOKS, readers=3, private_sd=0.1),
    "4 readers are the blocks": dataclasses.replace(AUDIOBOOKS, readers=4, private_sd=0.1),
    "8 readers are the blocks": dataclasses.replace(AUDIOBOOKS, readers=8, private_sd=0.1),
    "exponents vary by 0.25": Truth(exponent_sd=0.25),
    "plateau of 0.3 pp": Truth(plateau_pp=0.3),
    "plateau of 0.8 pp": Truth(plateau_pp=0.8),
    "half of the languages reversed": Truth(signs=(1, -1, 1, -1, 1, -1, 1, -1)),
    "half of a sentence is shared": Truth(shared_sentence=0.5),
}


class Hits:
    """Shares of what was said rightly, in percent, and medians of widths."""

    def __init__(self) -> None:
        self._shares: dict[str, list[float]] = {}
        self._widths: dict[str, list[float]] = {}

    def note(self, name: str, hit: bool) -> None:
        """One case of a share."""
        self._shares.setdefault(name, []).append(float(hit))

    def covers(self, name: str, low: float, truth: float, high: float) -> None:
        """An interval; one that is not estimable counts apart."""
        self.note(f"{name}: estimable", not math.isnan(low))
        if not math.isnan(low):
            self.note(name, low <= truth <= high)
            if math.isfinite(high - low):
                self._widths.setdefault(f"{name}: half-width", []).append((high - low) / 2)

    def result(self) -> dict[str, tuple[float, int]]:
        """Name -> value and number of cases."""
        found = {
            name: (100.0 * float(np.mean(values)), len(values))
            for name, values in self._shares.items()
        }
        return found | {
            name: (float(np.median(values)), len(values)) for name, values in self._widths.items()
        }


def tables(study: Planted, settings: Settings, folder: Path) -> dict[str, list[dict[str, Any]]]:
    """Rows of the tables that a study gets, through its score files."""
    import pyarrow
    import pyarrow.parquet

    paths = []
    for lang, frame in study.scores.items():
        paths.append(folder / f"{lang}.parquet")
        pyarrow.parquet.write_table(
            pyarrow.Table.from_pandas(frame, preserve_index=False), paths[-1]
        )
    evidence = collected.collect(paths, settings)
    return {
        name: list(analyses.load(name).rows(evidence, settings))
        for name in ("gap", "wer", "fit", "guideline")
    }


def look(truth: Truth, study: Planted, found: dict[str, list[dict[str, Any]]], hits: Hits) -> None:
    """Hold the rows of a study against its truth."""
    threshold = SETTINGS.threshold_pp
    for row in found["gap"]:
        if row["languages_as"] == "one":
            _look_at_gap(row, study, hits)
        elif row["languages_as"] == "fixed":
            langs = [lang for lang, hours in study.recipe_gap_pp if hours == row["hours"]]
            gaps = [study.recipe_gap_pp[lang, row["hours"]] for lang in langs]
            hits.covers("mean gap", row["gap_low_pp"], float(np.mean(gaps)), row["gap_high_pp"])
    for row in found["wer"]:
        if row["lang"] in study.scores and row.get("seed") in (None, "all", ""):
            key = row["lang"], row["arm"], row["hours"]
            low, high = row["wer_low_pct"], row["wer_high_pct"]
            hits.covers("WER", low, study.recipe_wer[key], high)
            hits.covers("WER of these trainings", low, study.runs_wer[key], high)
        elif row["lang"] == "mean":
            wers = [
                value
                for (_, arm, hours), value in study.recipe_wer.items()
                if (arm, hours) == (row["arm"], row["hours"])
            ]
            hits.covers("mean WER", row["wer_low_pct"], float(np.mean(wers)), row["wer_high_pct"])
    taken = False
    for row in found["guideline"]:
        gap = study.recipe_gap_pp.get((row["lang"], row["hours"]))
        if gap is None:
            continue
        verdict = row["decision"]
        if abs(gap) < threshold:
            hits.note("takes a side where it does not matter", verdict in ("en", "ml"))
            taken |= verdict in ("en", "ml")
        else:
            hits.note("takes the right side", verdict == ("ml" if gap > 0 else "en"))
            hits.note("takes the wrong side", verdict == ("en" if gap > 0 else "ml"))
            hits.note("either, falsely", verdict == "either")
    if all(abs(gap) < threshold for gap in study.recipe_gap_pp.values()):
        hits.note("takes a side somewhere where it matters nowhere", taken)
    for row in found["fit"]:
        if row["family"] == "power":
            _look_at_law(row, truth, study, hits)


def _look_at_gap(row: dict[str, Any], study: Planted, hits: Hits) -> None:
    """A gap of one language."""
    key = row["lang"], row["hours"]
    low, high = row["gap_low_pp"], row["gap_high_pp"]
    hits.covers("gap of the recipe", low, study.recipe_gap_pp[key], high)
    hits.covers("gap of these trainings", low, study.runs_gap_pp[key], high)
    p = row.get("p_value", row.get("p"))
    if p is not None and not math.isnan(p) and not math.isnan(low):
        hits.note("p and interval disagree", (p < 0.05) != (low > 0 or high < 0))


def _look_at_law(row: dict[str, Any], truth: Truth, study: Planted, hits: Hits) -> None:
    """A power law, of one language or of all."""
    if truth.amplitude_pp == 0:
        return
    pooled = row["lang"] == "pooled"
    kind = "pooled" if pooled else "one language"
    if not truth.plateau_pp and not truth.signs:
        exponent = truth.exponent if pooled else study.exponents[row["lang"]]
        hits.covers(
            f"exponent, {kind}",
            row.get("exponent_low_b", NAN),
            exponent,
            row.get("exponent_high_b", NAN),
        )
    # The pooled row is about the mean size of the gaps of these languages.
    exponents = list(study.exponents.values()) if pooled else [study.exponents[row["lang"]]]
    hits.covers(
        f"hours to {SETTINGS.threshold_pp} pp, {kind}",
        row.get("threshold_low_hours", NAN),
        _threshold_hours(truth, exponents),
        row.get("threshold_high_hours", NAN),
    )


def _threshold_hours(truth: Truth, exponents: Sequence[float]) -> float:
    """Hours from which the mean size of gaps stays under the threshold; 0: always, infinite:
    never."""

    def above(hours: float) -> bool:
        sizes = [truth.amplitude_pp * (hours / 100.0) ** -one for one in exponents]
        return truth.plateau_pp + float(np.mean(sizes)) > SETTINGS.threshold_pp

    low, high = 1e-3, 1e7
    if above(high):
        return math.inf
    if not above(low):
        return 0.0
    for _ in range(100):
        middle = math.sqrt(low * high)
        low, high = (middle, high) if above(middle) else (low, middle)
    return high


def run(truth: Truth, studies: int, replicates: int) -> dict[str, tuple[float, int]]:
    """One scenario."""
    hits, by_sentence = Hits(), truth.block == "sentence"
    with tempfile.TemporaryDirectory() as folder:
        for number in range(studies):
            study = plant(truth, np.random.default_rng([40, number]))
            settings = dataclasses.replace(
                SETTINGS,
                replicates=replicates,
                seed=number,
                # As a study says it of FLEURS: a block's name is a sentence in every language.
                shared_sentences={"fleurs": tuple(study.scores)} if by_sentence else {},
            )
            look(truth, study, tables(study, settings, Path(folder)), hits)
    return hits.result()


def main() -> None:
    """Simulate and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--studies", type=int, default=60)
    parser.add_argument("--replicates", type=int, default=1000)
    parser.add_argument("--only", nargs="+", choices=SCENARIOS, default=list(SCENARIOS))
    arguments = parser.parse_args()
    for name in arguments.only:
        start = time.process_time()
        result = run(SCENARIOS[name], arguments.studies, arguments.replicates)
        took = time.process_time() - start
        print(f"\n{name} ({arguments.studies} studies, {took:.0f} CPU s)", flush=True)
        width = max(map(len, result))
        for what, (value, cases) in result.items():
            if what.endswith(": estimable") and value == 100:
                continue
            unit = "pp or h" if what.endswith("width") else "%"
            print(f"  {what:<{width}}  {value:8.2f} {unit}  of {cases}", flush=True)


if __name__ == "__main__":
    main()
