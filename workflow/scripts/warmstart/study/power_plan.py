"""How small a gap a study could see, before any of it is spent: the part of `make plan` that needs
the arithmetic of power. No dry run reads it, because that loads SciPy."""

import functools
import math
import textwrap
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd

from warmstart.evidence import power, visible
from warmstart.evidence.keys import MEAN, OWN, part_of
from warmstart.evidence.power import Guesses, Noise, TestDesign
from warmstart.evidence.settings import Contrast
from warmstart.evidence.tables import read_table
from warmstart.study import slices
from warmstart.study.grid import TestSet
from warmstart.study.planning import Planner, aligned

_WIDTH = 100


class Cell(NamedTuple):
    """A gap of one language that the study would measure."""

    contrast: str
    test_set: str
    training_set: str
    lang: str
    hours: float


def text(planner: Planner) -> str:
    """The whole part: sentences about the headline test set, all test sets, what it rests on."""
    plan = _Plan(planner)
    rows = pd.DataFrame(list(plan.rows()))
    if rows.empty:
        return ""
    statistics = planner.study.config["statistics"]
    level = f"{100 * statistics['confidence']:g}"
    parts = [
        "How small a gap the study could see, with what it would decode",
        *_sentences(rows, plan, statistics["headline_test_set"], level),
        _table(rows),
        "This rests on\n" + "".join(f"  {line}\n" for line in plan.assumptions()),
    ]
    return "\n\n".join(parts)


def _sentences(rows: pd.DataFrame, plan: "_Plan", headline: str, level: str) -> Iterator[str]:
    """A paragraph for each contrast, or for several of which the same is true."""
    said: dict[str, list[str]] = {}
    for name in plan.contrasts:
        own = rows[rows.contrast == name]
        sets = list(dict.fromkeys(own.test_set))
        if not sets:
            continue
        # The headline's languages may have other test sets: then the first that there is.
        at = headline if headline in sets else sets[0]
        lines = [at, *visible.sentences(own[own.test_set == at], level)]
        said.setdefault("\n".join(lines), []).append(name)
    for words, names in said.items():
        at, *lines = words.splitlines()
        filled = (
            textwrap.fill(line, _WIDTH, initial_indent="  ", subsequent_indent="  ")
            for line in lines
        )
        yield "\n".join([f"{', '.join(names)}, on {at}:", *filled])


def _table(rows: pd.DataFrame) -> str:
    """All test sets and budgets."""
    found = [
        ["test set", "h", "languages", "utterances", "blocks", "one language, pp", "mean, pp", ""]
    ]
    several = rows.contrast.nunique() > 1
    for (contrast, test_set), group in rows.groupby(["contrast", "test_set"], sort=False):
        for hours, own in group.groupby("hours"):
            one, mean = own[own.lang != MEAN], own[(own.lang == MEAN) & (own.status == "ok")]
            ok = one[one.status == "ok"]
            why = "; ".join(dict.fromkeys(one.status[one.status != "ok"]))
            blocks = [f"{each + 1:.0f}" for each in (one.test_df.min(), one.test_df.max())]
            row = [
                str(test_set),
                f"{hours:g}",
                str(one.lang.nunique()),
                _span([visible.about(each) for each in _ends(one.utterances)]),
                _span(blocks),
                _span([f"{each:.2f}" for each in _ends(ok.smallest_gap_pp)]) if len(ok) else "-",
                ", ".join(f"{each:.2f}" for each in mean.smallest_gap_pp) or "-",
                " ".join(filter(None, [str(contrast) if several else "", why])),
            ]
            # A budget of which the same is true as of the one before.
            if found[-1][:1] + found[-1][2:] == row[:1] + row[2:]:
                row[1] = f"{found.pop()[1]}, {row[1]}"
            found.append(row)
    return "Smallest gap seen, by test set and budget\n" + aligned(found)


def _ends(values: pd.Series) -> list[float]:
    return [float(values.min()), float(values.max())]


def _span(words: list[str]) -> str:
    return words[0] if words[0] == words[-1] else f"{words[0]}-{words[-1]}"


class _Plan:
    """Noise of every gap that a study would measure: measured where its table is there, else
    guessed.

    Args:
        planner: of the study.
    """

    def __init__(self, planner: Planner):
        self._planner, self._study = planner, planner.study
        self.contrasts = planner.study.word_contrasts
        self._statistics = planner.study.config["statistics"]
        self._seeds = len(planner.study.config["seeds"])
        self._measured, self._trainings = _measured(planner, self._statistics["reference_tier"])
        self._cells = list(dict.fromkeys(self._all_cells()))
        # Contrast and test set -> pairs of runs; one model may be for several languages.
        self._runs = Counter(
            key[:2]
            for key in {
                (one.contrast, one.test_set, one.training_set, one.hours) for one in self._cells
            }
        )
        self._assumed_sizes: dict[str, None] = {}
        self._assumed_blocks: dict[str, None] = {}

    def _all_cells(self) -> Iterator[Cell]:
        for contrast in self.contrasts.values():
            for name, training_set in self._study.training_sets.items():
                tests = [
                    test
                    for test in self._study.test_sets(name)
                    if test.lang in training_set.languages
                ]
                for hours in self._budgets(contrast, name):
                    for test in tests:
                        yield Cell(contrast.name, test.name, name, test.lang, float(hours))

    def _budgets(self, contrast: Contrast, training_set: str) -> list[str]:
        """Budgets at which both arms are trained."""
        arms = [self._study.arms[name] for name in contrast.arms]
        if any(arm.training_sets and training_set not in arm.training_sets for arm in arms):
            return []
        one, other = (self._study.budgets(training_set, arm.name) for arm in arms)
        return [hours for hours in one if hours in other]

    def rows(self) -> Iterator[dict[str, Any]]:
        """Rows as power.csv has them, of gaps at the reference tier."""
        groups: dict[tuple[str, str, str, float], dict[str, tuple[Noise, float, str]]] = {}
        for cell in self._cells:
            key = cell.contrast, cell.test_set, part_of(cell.training_set, cell.lang), cell.hours
            groups.setdefault(key, {})[cell.lang] = self._noise(cell)
        for (contrast, test_set, part, hours), own in groups.items():
            common = {"contrast": contrast, "test_set": test_set, "hours": hours}
            for lang, (noise, utterances, training) in own.items():
                yield common | {
                    "training_set": lang if part == OWN else part,
                    "lang": lang,
                    "languages": 1,
                    "training": training,
                    **self._answers(noise, utterances),
                }
            noises = [noise for noise, _, _ in own.values()]
            if len(own) > 1 and not any(noise.fault for noise in noises):
                yield common | {
                    "training_set": part,
                    "lang": MEAN,
                    "languages": len(own),
                    "training": next(iter(own.values()))[2],
                    **self._answers(
                        power.mean_noise(noises, same_runs=part != OWN),
                        sum(utterances for _, utterances, _ in own.values()) / len(own),
                    ),
                }

    @functools.cache  # noqa: B019 (many cells of a plan are alike, and it lives no longer)
    def _answers(self, noise: Noise, utterances: float) -> dict[str, Any]:
        return visible.answers(
            noise,
            utterances,
            self._seeds,
            self._statistics["threshold_pp"],
            confidence=self._statistics["confidence"],
            power_wanted=self._statistics["power"],
        )

    def _noise(self, cell: Cell) -> tuple[Noise, float, str]:
        """(noise, utterances, where the noise of trainings is from)."""
        known = self._trainings.get((cell.contrast, cell.test_set))
        source = visible.MEASURED if known else visible.GUESSED
        training = known or (
            power.training_variance_pp2(self._statistics["training_sd_pp"]),
            math.inf,
            self._runs[cell.contrast, cell.test_set],
        )
        if (row := self._measured.get(cell)) is not None:
            noise = Noise(row.test_sd_pp**2, float(row.test_df), *training)
            return noise, float(row.utterances), source
        design = self._design(TestSet(cell.lang, cell.test_set))
        test_pp2 = power.test_variance_pp2(design, self._guesses)
        return Noise(test_pp2, design.blocks - 1, *training), design.utterances, source

    @property
    def _guesses(self) -> Guesses:
        assumed = self._planner.assumed
        return Guesses(
            assumed["test_wer_pct"],
            assumed["error_clustering"],
            assumed["system_correlation"],
            assumed["block_correlation"],
        )

    def _design(self, test: TestSet) -> TestDesign:
        """Size of a test set: of its manifest, as published, or assumed."""
        assumed = self._planner.assumed
        source = self._study.config["test_sets"][test.name]
        split = source["corpus"], test.lang, source["split"]
        hours, count = self._planner.known_audio_h(*split), self._planner.known_count(*split)
        if count is None:
            self._assumed_sizes[test.name] = None
            audio_s = 3600 * (hours or assumed["test_hours"])
            utterances = max(1.0, audio_s / assumed["utterance_s"])
        else:
            utterances = float(count.utterances)
            audio_s = 3600 * hours if hours else utterances * assumed["utterance_s"]
        words = max(1.0, audio_s * assumed["words_per_s"] / max(1.0, utterances))
        blocks = count.blocks if count else None
        if blocks is None:
            blocks = self._blocks(test, source["corpus"], utterances)
        return TestDesign(max(1.0, utterances), max(1.0, float(blocks)), words)

    def _blocks(self, test: TestSet, corpus: str, utterances: float) -> float:
        """What would be resampled of a test set of which nobody says it."""
        if slices.reader(self._study, corpus, test.lang).block_unit() == "utterance":
            return utterances
        self._assumed_blocks[test.name] = None
        assumed = self._planner.assumed
        speakers = assumed["speakers"].get(test.name)
        return min(utterances, speakers or utterances / assumed["utterances_per_speaker"])

    def assumptions(self) -> Iterator[str]:
        """What the figures rest on, a line each; asked for after the rows."""
        assumed, count = self._planner.assumed, len(self._cells)
        have = sum(cell in self._measured for cell in self._cells)
        if have:
            yield f"test sets measured at {have} of {count} gaps (results/tables/power.csv)"
        if have < count:
            guesses = self._guesses
            yield (
                f"WER of {guesses.wer_pct:g} % (planning.test_wer_pct), {assumed['words_per_s']:g} "
                "words a second (words_per_s)"
            )
            yield (
                f"errors that cluster by {guesses.error_clustering:g} (error_clustering); "
                f"correlations of {guesses.system_correlation:g} between arms "
                f"(system_correlation) and {guesses.block_correlation:g} inside a speaker or "
                "sentence (block_correlation)"
            )
        if self._assumed_sizes:
            yield (
                f"{', '.join(self._assumed_sizes)}: utterances of {assumed['utterance_s']:g} s "
                f"(utterance_s) in {assumed['test_hours']:g} h where hours are not known "
                "(test_hours)"
            )
        for name in self._assumed_blocks:
            known = assumed["speakers"].get(name)
            key = "speakers" if known else "utterances_per_speaker"
            size = f"{known} speakers a language" if known else f"{assumed[key]:g} utterances each"
            yield f"{name}: {size} (planning.{key})"
        measured = {key for key in self._trainings if key[0] in self.contrasts}
        guess = f"{self._statistics['training_sd_pp']:g} pp (statistics.training_sd_pp)"
        if not measured:
            once = "; one seed cannot show it" if self._seeds == 1 else ""
            yield f"trainings whose WER varies by {guess}, a guess{once}"
        else:
            yield "trainings as they varied between the seeds of this study, one figure a test set"
        yield "one test at a time: verdicts that are adjusted for many see less"


def _measured(
    planner: Planner, reference_tier: str
) -> tuple[dict[Cell, Any], dict[tuple[str, str], tuple[float, float, float]]]:
    """What the table of this study's power has: rows of gaps in one language, and the variance of
    trainings with its degrees of freedom and cells, by contrast and test set."""
    path: Path = planner.results / "tables/power.csv"
    if planner.foreign or not path.exists():
        return {}, {}
    table = read_table(path)
    table = table[(table.asked == "gap") & (table.tier == reference_tier) & (table.status == "ok")]
    rows: dict[Cell, Any] = {}
    trainings: dict[tuple[str, str], tuple[float, float, float]] = {}
    for row in table[table.lang != MEAN].itertuples():
        rows[Cell(row.contrast, row.test_set, row.training_set, row.lang, float(row.hours))] = row
        if row.training == visible.MEASURED:
            trainings[row.contrast, row.test_set] = (
                float(row.training_sd_pp) ** 2,
                float(row.training_df),
                float(row.training_cells),
            )
    return rows, trainings
