"""How often the law of the WER is right, over simulated studies whose truth is planted.

Asked are the WER at the largest budget, at twice and four times it, the next doubling, one more
training, the hours for a WER, the exponent, the floor, and a language that is not in the study.

Plants what the fit is not told: noise of training beside that of the test set, few speakers, few
budgets, plateaus, laws without a floor, exponents and floors of languages from other distributions
than its own. Prints one line a scenario; figures observed: benchmarks/RESULTS.md.

    python benchmarks/wer_law.py --studies 200
"""

import argparse
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT / "workflow" / "scripts")]

from warmstart.evidence import learning_curves  # noqa: E402
from warmstart.evidence.learning_curves import Points  # noqa: E402

HOURS = (100.0, 250.0, 500.0, 1000.0, 2500.0)
EIGHT = [HOURS, HOURS[:4], HOURS[:4], HOURS[:4], HOURS[:3], HOURS[:2], HOURS[:2], HOURS[:2]]
"""Budgets of eight languages, as those of config.yaml fall off."""
_REFERENCE = 100.0

Truth = tuple[float, float, float]
"""WER at 100 h in percent, share that stays, exponent."""


def population(random: np.random.Generator) -> Truth:
    """A language of a population: skewed shares, exponents around a half."""
    return (
        float(np.exp(random.normal(np.log(12), 0.3))),
        float(random.beta(3, 5)),
        float(np.exp(random.normal(np.log(0.5), 0.25))),
    )


def wer_pct(truth: Truth, hours: np.ndarray | float) -> np.ndarray:
    """The planted law."""
    level, share, exponent = truth
    return level * (share + (1 - share) * (np.asarray(hours) / _REFERENCE) ** -exponent)


def measured(
    truth: Truth,
    hours: Sequence[float],
    random: np.random.Generator,
    *,
    noise: float,
    seeds: int,
    blocks: int,
    common_pp: float = 0.25,
    private_pp: float = 0.15,
) -> Points:
    """What a study measures of a language. At a WER of 10 % the test set has a standard error of
    `common_pp` that all budgets share and `private_pp` that they do not; its covariance is known
    from so many blocks only."""
    at = np.array(hours)
    exact = wer_pct(truth, at)
    scale = np.sqrt(np.outer(exact, exact)) / 10
    size = (len(at), len(at))
    covariance = (np.full(size, common_pp**2) + np.eye(len(at)) * private_pp**2) * scale
    root = np.linalg.cholesky(covariance)
    sample = root @ random.standard_normal((len(at), blocks - 1))
    runs = exact[:, None] * (1 + noise * random.standard_normal((len(at), seeds)))
    return Points(
        hours=at,
        wer_pct=runs.mean(axis=1) + root @ random.standard_normal(len(at)),
        covariance=sample @ sample.T / (blocks - 1),
        block_df=blocks - 1,
        seeds=np.full(len(at), seeds),
        seed_variance=runs.var(axis=1, ddof=1) if seeds > 1 else np.zeros(len(at)),
        seed_residual=np.zeros(len(at)),
    )


def run(
    budgets: Sequence[Sequence[float]],
    draw: Callable[[np.random.Generator], Truth],
    studies: int,
    *,
    key: int = 31,
    noise: float = 0.02,
    seeds: int = 1,
    blocks: int = 350,
) -> dict[str, float]:
    """Of the random numbers of `key`: coverage of 95 % intervals in percent, that of exponent and
    floor where they are told; share of studies that tell them; median width of the WER at twice the
    hours."""
    held: dict[str, list[bool]] = {}
    widths, told = [], []

    def note(name: str, draws: np.ndarray, value: float) -> float:
        low, high = np.quantile(draws, [0.025, 0.975], method="nearest")
        held.setdefault(name, []).append(bool(low <= value <= high))
        return float(high - low) if np.isfinite(high) else float("inf")

    for number in range(studies):
        random = np.random.default_rng([key, number])
        truths = {f"l{place}": draw(random) for place in range(len(budgets))}
        series = {
            lang: measured(truth, own, random, noise=noise, seeds=seeds, blocks=blocks)
            for (lang, truth), own in zip(truths.items(), budgets, strict=True)
        }
        law = learning_curves.fit(series, random)
        told.append(law.floor_is_told)
        for lang, truth in truths.items():
            most = float(series[lang].hours[-1])
            last, next_, far = (float(wer_pct(truth, most * times)) for times in (1, 2, 4))
            note("largest", law.wer_pct(lang, most), last)
            widths.append(note("x2", law.wer_pct(lang, 2 * most), next_))
            note("x4", law.wer_pct(lang, 4 * most), far)
            doubling = law.wer_pct(lang, 2 * most) - law.wer_pct(lang, most)
            note("doubling", doubling, next_ - last)
            note("hours", law.hours_to(lang, float(wer_pct(truth, 3 * most))), 3 * most)
            if law.floor_is_told:
                note("exponent", law.exponent[lang], truth[2])
                note("floor", law.floor_pct(lang), truth[0] * truth[1])
            one_more = float(wer_pct(truth, 2 * most)) * (1 + noise * random.standard_normal())
            note("training", law.foretold_pct(lang, 2 * most), one_more)
        if len(budgets) >= 3:
            note("new", law.wer_pct(None, 300.0), float(wer_pct(draw(random), 300.0)))
    found = {name: 100 * float(np.mean(each)) for name, each in held.items()}
    return found | {"told": 100 * float(np.mean(told)), "width_pp": float(np.median(widths))}


def fixed(*truths: Truth) -> Callable[[np.random.Generator], Truth]:
    """A truth of a few, at random."""
    return lambda random: truths[random.integers(len(truths))]


SCENARIOS = {
    "eight languages": (EIGHT, population, {}),
    "without training noise": (EIGHT, population, {"noise": 0.0}),
    "three seeds": (EIGHT, population, {"seeds": 3}),
    "heavy training noise, 5 %": (EIGHT, population, {"noise": 0.05}),
    "eight speakers": (EIGHT, population, {"blocks": 8}),
    "plateaus": (EIGHT, fixed((12, 0.8, 0.9), (9, 0.75, 0.8), (15, 0.85, 1.0)), {}),
    "no floor": (EIGHT, fixed((12, 0.0, 0.4), (9, 0.0, 0.5), (15, 0.0, 0.3)), {}),
    "one language, five budgets": ([HOURS], fixed((12, 0.3, 0.5)), {}),
    "one language, three budgets": ([HOURS[:3]], fixed((12, 0.3, 0.5)), {}),
}


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--studies", type=int, default=200)
    parser.add_argument(
        "--key", type=int, default=31, help="of the random numbers; the priors were chosen on 31"
    )
    parser.add_argument("--only", default="", help="scenarios with this in their names")
    arguments = parser.parse_args()
    names = ["largest", "x2", "x4", "doubling", "training", "hours", "exponent", "floor", "new"]
    print(f"coverage of 95 % intervals, {arguments.studies} studies each")
    head = [*names, "told", "width_pp", "ms"]
    print(f"{'':30s}" + "".join(f"{name:>10s}" for name in head), flush=True)
    for title, (budgets, draw, options) in SCENARIOS.items():
        if arguments.only not in title:
            continue
        begun = time.process_time()
        found = run(budgets, draw, arguments.studies, key=arguments.key, **options)
        found["ms"] = 1000 * (time.process_time() - begun) / arguments.studies
        cells = [f"{found[name]:10.1f}" if name in found else f"{'-':>10s}" for name in head[:-2]]
        print(
            f"{title:30s}{''.join(cells)}{found['width_pp']:10.2f}{found['ms']:10.0f}", flush=True
        )


if __name__ == "__main__":
    main()
