"""Whether the power that the plan and the page state is the power that studies have.

Simulates utterances of two arms, estimates gaps as the tables do, and compares with the formulas:
the share of studies that find the smallest gap that is said to be seen, and the share that puts a
gap of zero inside the smallest margin that is said to be shown. Both should be the wanted power.
5,000 studies take 40 s of one core; the last rows, which resample, some more. Figures observed:
benchmarks/RESULTS.md.

    python benchmarks/power.py --studies 2000
"""

import argparse
import dataclasses
import math
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT / "workflow" / "scripts"), str(ROOT / "tests")]

from made.paired import (  # noqa: E402
    Estimates,
    Plant,
    by_tables,
    draw,
    estimates,
    guesses_of,
    noise_of,
)

from warmstart.evidence import power  # noqa: E402
from warmstart.evidence.intervals import Draws, equivalence  # noqa: E402

CONFIDENCE, POWER = 0.95, 0.8
_BATCH = 50  # studies at a time; bounds the memory

PLANTS = {
    "one language, trainings alike": Plant(),
    "6 readers of 100 utterances": Plant(blocks=6, utterances=100),
    "3 readers of 200 utterances": Plant(blocks=3, utterances=200),
    "350 sentences, 2.5 readings": Plant(blocks=350, utterances=3, words=21, block_sd=0.2),
    "numbers of words and utterances vary": Plant(vary=True),
    "trainings vary by 0.2 pp, told": Plant(run_sd_pp=0.2),
    "the same, 3 seeds in 8 languages": Plant(run_sd_pp=0.2, seeds=3, languages=8),
    "the same, 2 seeds in 3 languages": Plant(run_sd_pp=0.2, seeds=2, languages=3),
    "mean of 8, one seed, 0.2 pp": Plant(run_sd_pp=0.2, languages=8),
}


def simulated(plant: Plant, studies: int, seed: int, *, mean: bool) -> Estimates:
    """Estimates of so many studies."""
    random = np.random.default_rng([seed, 4])
    parts = [
        estimates(plant, draw(plant, random, min(_BATCH, studies - start)), mean=mean)
        for start in range(0, studies, _BATCH)
    ]
    return Estimates(*(np.concatenate(each) for each in zip(*parts, strict=True)))


def compare(name: str, plant: Plant, studies: int) -> Iterator[str]:
    """Rows of the table: of one language, or of the mean where the name says so."""
    mean = name.startswith("mean")
    one = noise_of(plant, guesses_of(plant))
    noise = power.mean_noise([one] * plant.languages, same_runs=False) if mean else one
    gap = power.smallest_gap(noise, plant.seeds, CONFIDENCE, POWER)
    margin = power.smallest_margin(noise, plant.seeds, 1 - CONFIDENCE, POWER)
    null = simulated(plant, studies, 1, mean=mean)
    found = simulated(dataclasses.replace(plant, gap_pp=gap), studies, 2, mean=mean)
    yield (
        f"| {name} | {noise.error(plant.seeds):.3f} | {null.gap_pp.std():.3f} | {gap:.2f} | "
        f"{_share(found.found(CONFIDENCE), studies)} | {margin:.2f} | "
        f"{_share(null.equivalent(margin, 1 - CONFIDENCE), studies)} | "
        f"{_share(null.found(CONFIDENCE), studies)} |"
    )


def by_intervals(name: str, plant: Plant, studies: int) -> str:
    """The same by the bootstrap intervals of the tables, which have no word on one seed's noise."""
    noise = noise_of(plant, guesses_of(plant))
    gap = power.smallest_gap(noise, 0, CONFIDENCE, POWER)
    margin = power.smallest_margin(noise, 0, 1 - CONFIDENCE, POWER)
    random = np.random.default_rng(8)

    def drawn(gap_pp: float) -> list[Draws]:
        other = dataclasses.replace(plant, gap_pp=gap_pp)
        return by_tables(draw(other, random, studies), 1000)

    def found(every: list[Draws]) -> float:
        bounds = [one.interval(CONFIDENCE) for one in every]
        return float(np.mean([not low <= 0 <= high for low, high in bounds]))

    null = drawn(0.0)
    shown = float(np.mean([equivalence(one, margin, 1 - CONFIDENCE)[0] for one in null]))
    spread = float(np.std([one.value for one in null]))
    return (
        f"| {name} | {noise.error(0):.3f} | {spread:.3f} | {gap:.2f} | "
        f"{_share(found(drawn(gap)), studies)} | {margin:.2f} | {_share(shown, studies)} | "
        f"{_share(found(null), studies)} |"
    )


def _share(share: float, studies: int) -> str:
    error = 100 * math.sqrt(max(share * (1 - share), 1e-9) / studies)
    return f"{100 * share:.1f} ({error:.1f})"


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--studies", type=int, default=2000)
    arguments = parser.parse_args()
    print(
        "| planted | sd, formula pp | sd, simulated pp | smallest gap pp | found % | smallest "
        "margin pp | shown % | false alarms % |"
    )
    print("| --- | --- | --- | --- | --- | --- | --- | --- |")
    for name, plant in PLANTS.items():
        for row in compare(name, plant, arguments.studies):
            print(row, flush=True)
    few = min(arguments.studies, 1000)
    for name in ("one language, trainings alike", "6 readers of 100 utterances"):
        print(by_intervals(f"{name}, by the tables", PLANTS[name], few), flush=True)


if __name__ == "__main__":
    main()
