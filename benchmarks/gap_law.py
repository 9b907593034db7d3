"""How often the law of the gap is right, over simulated studies whose truth is planted.

Asked are the exponent of a language and of the population, the hours to 0.5 pp of a language and of
the mean, the gap of a language that is not in the study, what is said of other curves, and how
often hours are called `never`.

Plants what the law is not told: noise of training, exponents that differ, plateaus, gaps of both
signs, a gap that falls with the logarithm of the hours. Prints one line a scenario; figures
observed: benchmarks/RESULTS.md.

    python benchmarks/gap_law.py --studies 100
"""

import argparse
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT / "workflow" / "scripts")]

from warmstart.evidence.analyses import fit  # noqa: E402
from warmstart.evidence.intervals import Draws  # noqa: E402
from warmstart.evidence.keys import POOLED  # noqa: E402
from warmstart.evidence.settings import Contrast, Settings  # noqa: E402

HOURS = (100.0, 250.0, 500.0, 1000.0, 2500.0)
EIGHT = [HOURS, HOURS[:4], HOURS[:4], HOURS[:4], HOURS[:3], HOURS[:2], HOURS[:2], HOURS[:1]]
"""Budgets of eight languages, as those of config.yaml fall off."""
TEST_SD_PP = 0.28
"""Standard error of a gap on 875 utterances; 0.3 of its variance is common to a language's
budgets."""
BLOCKS = 350
_NEW = 40  # languages that are not in a study
_ASKED = (100.0, 300.0, 1000.0, 2500.0)


@dataclass(frozen=True)
class Planted:
    """A truth.

    Attributes:
        exponent_sd: between languages, around 0.947.
        floor_pp: of the size of every gap.
        training_pp: standard deviation of a run.
        signs: of the languages' gaps, repeated.
        log_linear: the gap falls with log h instead, to nothing at 4000 h.
    """

    exponent_sd: float = 0.0
    floor_pp: float = 0.0
    training_pp: float = 0.0
    signs: tuple[int, ...] = (1,)
    log_linear: bool = False

    @property
    def one_exponent(self) -> bool:
        """Whether the gaps of all languages follow one power law."""
        return not (self.exponent_sd or self.floor_pp or self.log_linear)

    def language(self, random: np.random.Generator, place: int) -> Callable[..., np.ndarray]:
        """The law of a language: hours -> gap in pp."""
        size = random.normal(4.2, 0.8) * self.signs[place % len(self.signs)]
        exponent = max(random.normal(0.947, self.exponent_sd), 0.05)

        def gap(hours: np.ndarray) -> np.ndarray:
            relative = np.asarray(hours, float) / HOURS[0]
            if self.log_linear:
                return size * (1 - np.log(relative) / np.log(40))
            return size * relative**-exponent + np.sign(size) * self.floor_pp

        return gap


def measured(
    truth: np.ndarray, hours: tuple[float, ...], planted: Planted, settings: Settings, random
) -> dict[float, Draws]:
    """What a study measures of a language, one training of each arm."""
    count = len(hours)
    covariance = TEST_SD_PP**2 * (0.3 + 0.7 * np.eye(count))
    root = np.linalg.cholesky(covariance)
    seen = truth + root @ random.standard_normal(count)
    seen = seen + planted.training_pp * np.sqrt(2) * random.standard_normal(count)
    draws = random.standard_normal((settings.replicates, count)) @ root.T
    none = np.zeros(settings.replicates)
    return {
        h: Draws(float(seen[at]), draws[:, at], none, BLOCKS - 1, 0) for at, h in enumerate(hours)
    }


def hours_needed(sizes: np.ndarray, hours: np.ndarray, threshold_pp: float) -> float:
    """The last hours at which a planted size is above the threshold."""
    above = np.flatnonzero(sizes >= threshold_pp)
    if not len(above):
        return 0.0
    return float("inf") if above[-1] == len(hours) - 1 else float(hours[above[-1]])


def run(planted: Planted, studies: int, replicates: int) -> dict[str, float]:
    """Shares in percent: intervals that hold the truth, and what was said."""
    settings = Settings(
        contrasts=(Contrast("warm_start", "en", "ml"),),
        headline_test_set="fleurs",
        reference_tier="160ms",
        replicates=replicates,
        confidence=0.95,
        seed=1,
        tier_margin_pp=0.5,
        threshold_pp=0.5,
    )
    grid = np.geomspace(HOURS[0], 1e6, 4001)
    said: dict[str, list[float]] = {}

    def note(name: str, value: float) -> None:
        said.setdefault(name, []).append(float(value))

    def inside(row: dict, name: str, unit: str, value: float) -> bool:
        return bool(row[f"{name}_low_{unit}"] <= value <= row[f"{name}_high_{unit}"])

    for number in range(studies):
        random = np.random.default_rng([17, number])
        truths = {f"l{at}": planted.language(random, at) for at in range(len(EIGHT))}
        series = {
            lang: measured(gap(np.array(hours)), hours, planted, settings, random)
            for (lang, gap), hours in zip(truths.items(), EIGHT, strict=True)
        }
        sizes = {lang: np.abs(gap(grid)) for lang, gap in truths.items()}
        sizes[POOLED] = np.mean(list(sizes.values()), axis=0)
        rows = list(fit.law_rows(series, series, settings, random))
        power = {row["lang"]: row for row in rows if row["family"] == "power"}
        pooled = power[POOLED]
        note("ok", pooled["status"] == "ok")
        if not planted.log_linear and not planted.floor_pp and pooled["status"] == "ok":
            note("b population", inside(pooled, "exponent", "b", 0.947))
        for lang, row in power.items():
            if "threshold_says" in row:
                where = POOLED if lang == POOLED else "one"
                needed = hours_needed(sizes[lang], grid, settings.threshold_pp)
                note(f"hours {where}", inside(row, "threshold", "hours", needed))
                if lang == POOLED:
                    note("never", row["threshold_says"] == fit.NEVER)
                    note("at least", row["threshold_says"] == fit.AT_LEAST)
                    note("other curve", bool(row["better_family"]))
                    note("misfit x100", row["misfit_inflation"])
                    note("Q rejects", row["q_p"] < 0.05)
                elif row["points"] > 2 and planted.one_exponent:
                    note("b one", inside(row, "exponent", "b", 0.947))
        asked = [row for row in rows if row["asked"] == fit.GAP_AT and row["status"] == "ok"]
        if asked and len(planted.signs) == 1:
            x = np.log([row["asked_hours"] for row in asked])
            for _ in range(_NEW):
                new = planted.language(random, 0)
                for h in _ASKED:
                    reached = np.log(h) <= x[-1] + 1e-9
                    note(f"told {h:g}", reached)
                    if not reached:
                        continue
                    low, high = (
                        np.interp(np.log(h), x, [row[f"forecast_{side}_pp"] for row in asked])
                        for side in ("low", "high")
                    )
                    note(f"new {h:g}", low <= new(np.array(h)) <= high)
    return {name: 100 * float(np.mean(values)) for name, values in said.items()}


SCENARIOS = {
    "equal exponents": Planted(),
    "exponents sd 0.25": Planted(exponent_sd=0.25),
    "trainings sd 0.2 pp": Planted(training_pp=0.2),
    "both": Planted(exponent_sd=0.25, training_pp=0.2),
    "plateau 0.3 pp": Planted(floor_pp=0.3),
    "plateau 0.8 pp": Planted(floor_pp=0.8),
    "signs ++--": Planted(signs=(1, 1, -1, -1)),
    "log-linear": Planted(log_linear=True),
}


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--studies", type=int, default=100)
    parser.add_argument("--replicates", type=int, default=400)
    parser.add_argument("--only", choices=SCENARIOS, nargs="*", default=list(SCENARIOS))
    arguments = parser.parse_args()
    for title in arguments.only:
        begun = time.process_time()
        found = run(SCENARIOS[title], arguments.studies, arguments.replicates)
        took = 1000 * (time.process_time() - begun) / arguments.studies
        print(f"{title}, {arguments.studies} studies, {took:.0f} ms of CPU each")
        print("   " + ", ".join(f"{name} {value:.1f}" for name, value in found.items()), flush=True)


if __name__ == "__main__":
    main()
