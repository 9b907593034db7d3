"""How often the intervals of `evidence.speakers` hold the spread of the speakers, over test sets
with a planted one.

Speakers' WERs are log-normal with a mean of 10 %; utterances have some ten words, and errors that
vary more than binomial ones. Prints a row for each statistic; takes seconds. Figures observed:
benchmarks/RESULTS.md.

    python benchmarks/speakers.py --speakers 20 60 200 --utterances 20 --spread 0.3 0.6
"""

import argparse
import itertools
import sys
from pathlib import Path

import numpy as np
import pandas as pd

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT / "workflow" / "scripts")]

from warmstart.evidence import speakers  # noqa: E402
from warmstart.evidence.keys import Cell  # noqa: E402
from warmstart.evidence.settings import Resampling  # noqa: E402

CELL = Cell("it", "en", 1.0, "full", "160ms")
MEAN_PCT = 10.0
_PRECISION = 8.0  # of the beta distribution of an utterance's rate; endless: binomial errors


def voices(random: np.random.Generator, rates: np.ndarray, utterances: int) -> speakers.Voices:
    """A test set of speakers with these WERs, as fractions."""
    count = len(rates)
    said = 1 + random.poisson(utterances - 1, count)
    of = np.repeat(np.arange(count), said)
    words = 1 + random.poisson(9, len(of))
    rate = np.minimum(rates[of], 0.95)
    errors = random.binomial(words, random.beta(rate * _PRECISION, (1 - rate) * _PRECISION))

    def by_speaker(values: np.ndarray) -> np.ndarray:
        return np.bincount(of, values, count)

    names = [f"s{place}" for place in range(count)]
    units = pd.DataFrame({"block": names, "speaker": names, "gender": "", "accent": ""})
    wrong, squares = by_speaker(errors)[None], by_speaker(errors**2 / words)[None]
    name = f"test{random.integers(1 << 30)}"
    return speakers.Voices(
        *("it", name, units, {CELL: {1: 0}}),
        *(said.astype(float), by_speaker(words), said.astype(float), wrong, wrong, squares),
    )


def main() -> None:
    """Print coverage and bias."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--speakers", type=int, nargs="+", default=[20, 60, 200])
    parser.add_argument("--utterances", type=int, nargs="+", default=[20])
    parser.add_argument("--spread", type=float, nargs="+", default=[0.3, 0.6])
    parser.add_argument("--studies", type=int, default=200)
    arguments = parser.parse_args()
    settings = Resampling(replicates=1000, confidence=0.95, seed=1)
    print("speakers  utterances  spread  statistic     truth   mean  coverage")
    for count, utterances, sd in itertools.product(
        arguments.speakers, arguments.utterances, arguments.spread
    ):
        random = np.random.default_rng(7)

        def draw(size: int, sd: float = sd, random: np.random.Generator = random) -> np.ndarray:
            return MEAN_PCT / 100 * random.lognormal(-(sd**2) / 2, sd, size)

        all_speakers = 100 * draw(1_000_000)
        median = np.median(all_speakers)
        truth = {
            speakers.SD: all_speakers.std(),
            speakers.MEDIAN: median,
            speakers.WORST: np.quantile(all_speakers, 0.9),
            speakers.ABOVE: 100 * (all_speakers > 2 * median).mean(),
        }
        found: dict[str, list[tuple[float, bool]]] = {name: [] for name in truth}
        for _ in range(arguments.studies):
            spread = speakers.Spread(voices(random, draw(count), utterances), settings)
            for name, draws in spread.of(CELL).items():
                low, high = speakers.bounds(name, draws, settings.confidence, spread.measured)
                found[name].append((draws.value, bool(low <= truth[name] <= high)))
        for name, each in found.items():
            if each:
                mean, coverage = np.mean(each, axis=0)
                print(
                    f"{count:8}  {utterances:10}  {sd:6}  {name:12}  {truth[name]:5.2f}  "
                    f"{mean:5.2f}  {100 * coverage:7.1f} %",
                    flush=True,
                )


if __name__ == "__main__":
    main()
