"""Studies with a known truth that the analysis does not assume: utterance by utterance, sentences
read by people, trainings that vary, loops, exponents that differ, plateaus.

`tests/made/planted.py` plants what the analysis does assume: blocks that are the unit of
resampling, one law, no training noise. `benchmarks/audit.py` asks the statistics for what is
planted here.
"""

import dataclasses

import numpy as np
import pandas as pd

from warmstart.evidence.score_columns import SCORES

BUDGETS = (100.0, 300.0, 1000.0, 2500.0, 50.0)
"""Hours; a language with n budgets has the first n."""


@dataclasses.dataclass(frozen=True)
class Truth:
    """What is planted. Rates in percent, gaps in percentage points.

    Attributes:
        budgets: of each language, how many.
        amplitude_pp, exponent, plateau_pp: gap(h) = plateau + amplitude · (h / 100)^−exponent.
        exponent_sd: over languages.
        signs: of each language's gap; the first ones, the others are +1.
        sentences, readings: FLEURS has some 350 sentences, read by two or three people.
        readers: people of a language who read all of it; 0: nobody reads twice.
        reader_sd: log-normal factor of a reader's error rate, in every system.
        private_sd: the same, of a reader in one arm.
        sentence_sd: log-normal factor of a sentence's error rate.
        shared_sentence: share of that (in variance) that is common to all languages.
        utterance_sd: log-normal factor of an utterance, in every system.
        words: of a sentence, on average.
        training_sd_pp: by which a training's WER varies.
        seeds: trainings of a cell.
        loop_share, loop_words: share of utterances in which a system writes so many words too many.
        block: `sentence`, or `speaker` as in corpora of audiobooks.
    """

    budgets: tuple[int, ...] = (5, 4, 4, 4, 3, 2, 2, 1)
    amplitude_pp: float = 4.21
    exponent: float = 0.947
    exponent_sd: float = 0.0
    plateau_pp: float = 0.0
    signs: tuple[int, ...] = ()
    sentences: int = 350
    readings: float = 2.5
    readers: int = 0
    reader_sd: float = 0.3
    private_sd: float = 0.0
    sentence_sd: float = 0.5
    shared_sentence: float = 0.0
    utterance_sd: float = 0.3
    words: float = 21.0
    training_sd_pp: float = 0.0
    seeds: int = 1
    loop_share: float = 0.0
    loop_words: int = 40
    block: str = "sentence"


@dataclasses.dataclass(frozen=True)
class Planted:
    """One study.

    Attributes:
        scores: language -> its rows in the columns of a score file.
        recipe_gap_pp: (language, hours) -> the gap of the recipe, over trainings.
        runs_gap_pp: the same of the very models drawn, over sentences and readers.
        recipe_wer: (language, arm, hours) -> WER of the recipe.
        runs_wer: the same of the very models drawn, mean over seeds.
        exponents: language -> its exponent.
    """

    scores: dict[str, pd.DataFrame]
    recipe_gap_pp: dict[tuple[str, float], float]
    runs_gap_pp: dict[tuple[str, float], float]
    recipe_wer: dict[tuple[str, str, float], float]
    runs_wer: dict[tuple[str, str, float], float]
    exponents: dict[str, float]


ARMS = ("en", "ml")


def plant(truth: Truth, random: np.random.Generator) -> Planted:
    """Draw a study."""
    common = random.normal(size=truth.sentences)
    studies = Planted({}, {}, {}, {}, {}, {})
    for place, count in enumerate(truth.budgets):
        _plant_language(truth, random, f"l{place}", place, sorted(BUDGETS[:count]), common, studies)
    return studies


def _plant_language(
    truth: Truth,
    random: np.random.Generator,
    lang: str,
    place: int,
    hours: list[float],
    common: np.ndarray,
    into: Planted,
) -> None:
    """Draw the scores of one language."""
    exponent = truth.exponent + truth.exponent_sd * random.normal()
    sign = truth.signs[place] if place < len(truth.signs) else 1
    floor, slope = random.uniform(6.0, 9.0), random.uniform(3.0, 8.0)
    into.exponents[lang] = exponent
    material = _Material(truth, random, common)
    frames = []
    for budget in hours:
        low = floor + slope * (budget / 100.0) ** -0.4
        gap = sign * (truth.plateau_pp + truth.amplitude_pp * (budget / 100.0) ** -exponent)
        # The better arm has the base rate, so that no rate is below it.
        rates = {"en": low + max(gap, 0.0), "ml": low - min(gap, 0.0)}
        drawn = {arm: [] for arm in ARMS}
        for arm in ARMS:
            into.recipe_wer[lang, arm, budget] = rates[arm]
            for seed in range(1, truth.seeds + 1):
                rate = max(0.5, rates[arm] + truth.training_sd_pp * random.normal())
                drawn[arm].append(rate)
                frames.append(material.frame(rate, lang, arm, budget, seed, random))
            into.runs_wer[lang, arm, budget] = float(np.mean(drawn[arm]))
        into.recipe_gap_pp[lang, budget] = rates["en"] - rates["ml"]
        into.runs_gap_pp[lang, budget] = float(np.mean(drawn["en"]) - np.mean(drawn["ml"]))
    into.scores[lang] = pd.concat(frames, ignore_index=True)


class _Material:
    """The utterances of one language, and how hard they are."""

    def __init__(self, truth: Truth, random: np.random.Generator, common: np.ndarray):
        self._truth = truth
        count = np.maximum(
            1, random.binomial(1, truth.readings % 1, truth.sentences) + int(truth.readings)
        )
        self.sentence = np.repeat(np.arange(truth.sentences), count)
        total = len(self.sentence)
        self.reader = (
            random.integers(truth.readers, size=total) if truth.readers else np.arange(total)
        )
        self.words = np.maximum(3, random.poisson(truth.words, truth.sentences))[self.sentence]
        own = random.normal(size=truth.sentences)
        shared = truth.shared_sentence
        sentence = np.sqrt(shared) * common + np.sqrt(1 - shared) * own
        hard = _factor(truth.sentence_sd, sentence)[self.sentence]
        hard = hard * _factor(truth.utterance_sd, random.normal(size=total))
        if truth.readers:
            hard = hard * _factor(truth.reader_sd, random.normal(size=truth.readers))[self.reader]
        self._hard = hard
        self._private = {
            arm: _factor(truth.private_sd, random.normal(size=truth.readers))[self.reader]
            if truth.readers
            else np.ones(total)
            for arm in ARMS
        }
        # Words that are hard are hard in every system: a draw of each word that systems share.
        self._starts = np.concatenate([[0], np.cumsum(self.words)[:-1]])
        self._luck = random.random(int(self.words.sum()))

    def frame(
        self,
        rate: float,
        lang: str,
        arm: str,
        hours: float,
        seed: int,
        random: np.random.Generator,
    ) -> pd.DataFrame:
        """Rows of one decode; its WER over all sentences and readers is `rate`."""
        truth = self._truth
        looping = random.random(len(self.words)) < truth.loop_share
        loops = truth.loop_share * truth.loop_words / truth.words * 100.0
        expected = np.clip((rate - loops) / 100.0 * self._hard * self._private[arm], 0.0, 0.95)
        # Of a third of the words the luck is that of all systems; of the others it is its own.
        own = random.random(len(self._luck))
        luck = np.where(random.random(len(own)) < 1 / 3, self._luck, own)
        wrong = luck < np.repeat(expected, self.words)
        errors = np.add.reduceat(wrong.astype(int), self._starts)
        total = len(errors)
        insertions = looping * truth.loop_words
        values = {
            "training_set": lang,
            "lang": lang,
            "arm": arm,
            "hours": hours,
            "seed": seed,
            "precision": "full",
            "tier": "160ms",
            "test_set": "fleurs",
            "id": [f"{lang}-{number}" for number in range(total)],
            "block": [f"s{number}" for number in self.sentence]
            if truth.block == "sentence"
            else [f"r{number}" for number in self.reader],
            "speaker": [f"r{number}" for number in self.reader] if truth.readers else None,
            "duration_s": self.words / 2.5,
            "ref_words": self.words,
            "hits": self.words - errors,
            "substitutions": errors,
            "insertions": insertions,
            "ref_chars": self.words * 5,
            "char_hits": self.words * 5 - errors * 2,
            "char_substitutions": errors * 2,
            "char_insertions": insertions * 5,
            "looping": looping,
            "emission_delay_ms": 100.0,
            "normaliser_version": 1,
        }
        blank = {"string": "", "bool": False}
        return pd.DataFrame(
            {column.name: values.get(column.name, blank.get(kind, 0)) for column, kind in SCORES}
        )


def _factor(sd: float, normal: np.ndarray) -> np.ndarray:
    """Log-normal factors of mean one."""
    return np.exp(sd * normal - sd**2 / 2)
