"""How often intervals of rates and gaps are right, over simulated test sets and trainings whose
truth is planted: noise of training with one to three seeds, few readers, sentences that languages
share, readers beside sentences.

Eight languages have the budgets of config.yaml, 25 pairs of arms without any gap; 350 sentences of
53 words each, of which some are hard for everyone and some for one model. Prints a line for each
scenario; figures observed: benchmarks/RESULTS.md.

    python benchmarks/intervals.py --studies 200
"""

import argparse
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT / "workflow" / "scripts")]

from warmstart.evidence import intervals  # noqa: E402
from warmstart.evidence.intervals import Draws, Readers  # noqa: E402
from warmstart.evidence.noise import Decode, Run, TrainingNoise  # noqa: E402

BUDGETS = {"de": 5, "fr": 4, "es": 4, "nl": 4, "it": 3, "pl": 2, "pt": 2, "cs": 1}
HOURS = (100.0, 250.0, 500.0, 1000.0, 2500.0)
REPLICATES = 1000
ARMS = ("en", "ml")


@dataclass(frozen=True)
class Truth:
    """What is planted; rates are fractions.

    Attributes:
        seeds: language, hours, arm -> seeds that were trained.
        noise: standard deviation of a training, at an error rate of `wer`.
        uneven: log-sd of the noise between cells.
        blocks: of a test set.
        words: of a block, on average.
        common, private: log-sd of a block's difficulty for everyone, and for one model.
        shared: whether half of what is common of a block's difficulty is so in all languages.
        readers: who read the blocks, each two of them; 0: nobody in particular.
        reader_sd, reader_private: log-sd of a reader, for everyone and for an arm.
    """

    seeds: Callable[[str, float, str], Sequence[int]]
    noise: float = 0.002
    uneven: float = 0.0
    wer: float = 0.12
    blocks: int = 350
    words: int = 53
    common: float = 0.5
    private: float = 0.15
    shared: bool = False
    readers: int = 0
    reader_sd: float = 0.0
    reader_private: float = 0.0
    languages: Sequence[str] = tuple(BUDGETS)


def factor(random: np.random.Generator, sd: float, *shape: int) -> np.ndarray:
    """Log-normal numbers around one."""
    return np.exp(random.normal(-(sd**2) / 2, sd, shape))


Rates = dict[tuple[str, float, str], Draws]


def study(truth: Truth, number: int) -> tuple[Rates, dict[tuple[str, float, str], float]]:
    """A study, resampled: language, hours, arm -> rate in percent; and the same of the very models
    that were drawn, over test sets."""
    random = np.random.default_rng([47, number])
    noise, found = TrainingNoise(number, REPLICATES), {}
    drawn: dict[tuple[str, float, str], list[float]] = {}
    everywhere = factor(random, truth.common / np.sqrt(2), truth.blocks)
    for lang in truth.languages:
        runs, own_rates = [], []
        for hours in HOURS[: BUDGETS[lang]]:
            sd = truth.noise * float(factor(random, truth.uneven))
            for arm in ARMS:
                for seed in truth.seeds(lang, hours, arm):
                    at = Run(lang, hours, seed), Decode(lang, "fleurs", arm, "full", "160ms")
                    runs.append(at)
                    own_rates.append(truth.wer + random.normal(0, sd))
                    drawn.setdefault((lang, hours, arm), []).append(100 * own_rates[-1])
        sd = truth.common / np.sqrt(2) if truth.shared else truth.common
        hard = factor(random, sd, truth.blocks) * (everywhere if truth.shared else 1)
        hard = hard * factor(random, truth.private, len(runs), truth.blocks)
        readings = 2 if truth.readers else 1
        words = 1 + random.poisson(truth.words / readings - 1, (readings, truth.blocks))
        rates = np.array(own_rates)[:, None, None] * hard[:, None, :]
        who = np.zeros(words.shape, int)
        if truth.readers:
            who = random.integers(0, truth.readers, words.shape)
            arms = np.array([ARMS.index(decode.arm) for _, decode in runs])
            voice = factor(random, truth.reader_sd, truth.readers)
            voice = voice * factor(random, truth.reader_private, len(ARMS), truth.readers)
            rates = rates * voice[arms][:, who]
        errors = random.binomial(words, np.clip(rates, 0, 0.95)).astype(float)
        found |= resampled(truth, noise, number, lang, runs, errors, words, who)
    rates = {key: draws.trained(noise) for key, draws in found.items()}
    return rates, {key: float(np.mean(own)) for key, own in drawn.items()}


def resampled(
    truth: Truth,
    noise: TrainingNoise,
    number: int,
    lang: str,
    runs: list[tuple[Run, Decode]],
    errors: np.ndarray,
    words: np.ndarray,
    who: np.ndarray,
) -> Rates:
    """The rates of one language, from (systems, readings, blocks) errors."""
    by_block, words_of = errors.sum(axis=1), words.sum(axis=0)
    cells: dict[tuple[str, float, str], list[int]] = {}
    for row, (run, decode) in enumerate(runs):
        cells.setdefault((lang, run.hours, decode.arm), []).append(row)
    rows = list(cells.values())
    if truth.shared:
        rates = intervals.resample_named(
            by_block,
            words_of,
            REPLICATES,
            lambda name: intervals.generator(number, name),
            list(map(str, range(truth.blocks))),
        )
    else:
        random = intervals.generator(number, lang)
        rates = intervals.resample_rates(by_block, words_of, REPLICATES, random)
    noise.add(lang, "fleurs", runs, by_block, words_of)
    readers = None
    if truth.readers:
        parts = []
        for place in (who.ravel(), np.arange(who.size)):
            total = np.bincount(place, words.ravel())
            own = np.array([np.bincount(place, each.ravel()) for each in errors])
            random = intervals.generator(number, lang, place.max())
            drawn = intervals.resample_rates(own, total, REPLICATES, random)
            parts.append(intervals.deviations(own, total, rows, drawn))
        df = len(np.unique(who)) - 1
        readers = [Readers(across, inside, df) for across, inside in zip(*parts, strict=True)]
    name = "fleurs" if truth.shared else lang
    terms = [{runs[row]: 1 / len(own) for row in own} for own in rows]
    draws = intervals.cell_draws(by_block, words_of, rows, rates, name, terms, readers)
    return {key: each.scaled(100.0) for key, each in zip(cells, draws, strict=True)}


def run(truth: Truth, studies: int) -> dict[str, float]:
    """Coverage of the recipe and of these trainings in percent, and the median half-width of a
    gap's interval."""
    held: dict[str, list[float]] = {}

    def note(name: str, draws: Draws, value: float, rate: bool = False) -> None:
        low, high = intervals.log_interval(draws, 0.95, 100.0) if rate else draws.interval(0.95)
        held.setdefault(name, []).append(low <= value <= high)
        if name == "gap":
            held.setdefault("half-width", []).append((high - low) / 2)
            if (low > 0 or high < 0) != (draws.p_value() < 0.05):
                raise AssertionError("interval and p disagree")

    for number in range(studies):
        rates, of_runs = study(truth, number)
        gaps = {key[:2]: rates[key] - rates[*key[:2], "ml"] for key in rates if key[2] == "en"}
        for key, draws in gaps.items():
            note("gap", draws, 0.0)
            own = of_runs[*key, "en"] - of_runs[*key, "ml"]
            note("gap of these trainings", draws, own)
        for key, draws in rates.items():
            note("WER", draws, 100 * truth.wer, rate=True)
            note("WER of these trainings", draws, of_runs[key], rate=True)
        first = [draws for (_, hours), draws in gaps.items() if hours == HOURS[0]]
        if len(first) > 1:
            note("mean gap", intervals.mean_of(first), 0.0)
            every = [rates[lang, HOURS[0], "ml"] for lang in truth.languages]
            note("mean WER", intervals.mean_of(every), 100 * truth.wer, rate=True)
    return {
        name: float(np.nanmedian(values) if name == "half-width" else 100 * np.mean(values))
        for name, values in held.items()
    }


def number_of_seeds(count: int) -> Callable[[str, float, str], range]:
    """The same seeds everywhere."""
    return lambda lang, hours, arm: range(1, count + 1)


def some(lang: str, hours: float, arm: str) -> range:
    """Three seeds at 100 hours, one elsewhere."""
    return range(1, 4 if hours == HOURS[0] else 2)


def unequal(lang: str, hours: float, arm: str) -> range:
    """Three seeds of one arm and two of the other."""
    return range(1, 4 if arm == "en" else 3)


SCENARIOS = {
    "no training noise, one seed": Truth(number_of_seeds(1), noise=0.0),
    "one seed": Truth(number_of_seeds(1)),
    "two seeds": Truth(number_of_seeds(2)),
    "three seeds": Truth(number_of_seeds(3)),
    "two seeds, noise 0.4": Truth(number_of_seeds(2), noise=0.004),
    "two seeds, no noise": Truth(number_of_seeds(2), noise=0.0),
    "two seeds, uneven noise": Truth(number_of_seeds(2), noise=0.004, uneven=0.7),
    "two seeds, one language": Truth(number_of_seeds(2), languages=("de",)),
    "two seeds, one pair": Truth(number_of_seeds(2), languages=("cs",)),
    "three seeds at 100 h, else one": Truth(some),
    "en three seeds, ml two": Truth(unequal),
    **{
        f"{blocks} blocks": Truth(
            number_of_seeds(1), noise=0.0, blocks=blocks, words=1000, private=0.1, common=0.35
        )
        for blocks in (2, 3, 4, 6)
    },
    "sentences shared": Truth(number_of_seeds(1), noise=0.0, shared=True),
    "20 readers": Truth(
        number_of_seeds(1), noise=0.0, readers=20, reader_sd=0.3, reader_private=0.1
    ),
    "60 readers": Truth(
        number_of_seeds(1), noise=0.0, readers=60, reader_sd=0.3, reader_private=0.1
    ),
}


def main() -> None:
    """Simulate and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--studies", type=int, default=200)
    parser.add_argument("--only", default="", help="scenarios with this in their names")
    arguments = parser.parse_args()
    for name, truth in SCENARIOS.items():
        if arguments.only in name:
            start = time.perf_counter()
            found = run(truth, arguments.studies)
            shown = "  ".join(f"{key} {value:.2f}" for key, value in found.items())
            took = time.perf_counter() - start
            print(f"{name:32} {shown}  ({took:.0f} s)", flush=True)


if __name__ == "__main__":
    main()
