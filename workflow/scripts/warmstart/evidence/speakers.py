"""Errors by speaker, gender and accent: how they are read from score files, and how far speakers of
a test set lie apart."""

import dataclasses
import math
from collections.abc import Mapping

import numpy as np
import pandas as pd
from scipy import stats

from warmstart.evidence import intervals
from warmstart.evidence.intervals import Draws
from warmstart.evidence.keys import Cell
from warmstart.evidence.settings import Resampling

FEWEST_WORDS = 30
"""Reference words of a speaker who is ranked: some three read sentences. The reliability of fewer
is so small that the rank says what was said, not who said it."""
FEWEST_SPEAKERS = 20
"""Speakers whose spread is stated. Of ten the worst tenth is one person, and 95 % intervals of it
held the truth in 85 of 100 simulated test sets (the model of benchmarks/speakers.py)."""
_REPLICATES = 1000  # the first of the study's: ranks cost more to make than ratios of sums

TRAITS = ("speaker", "gender", "accent")
"""Columns of a score file; empty where nobody knows."""
_UNIT = ("block", *TRAITS)
_SUMS = ("utterances", "words", "errors", "spoken", "spoken_errors", "squares")


@dataclasses.dataclass(frozen=True)
class Voices:
    """Errors of every decode of one test set, by unit: the utterances of one block, speaker, gender
    and accent.

    Attributes:
        lang, test_set: of the test set.
        units: (U rows) `block`, `speaker`, `gender`, `accent`, each "" where nobody knows.
        cells: cell -> rows of the arrays below that are its seeds, by seed.
        utterances, words, spoken: (U,) utterances, their reference words, and those utterances that
            have some.
        errors: (S, U) word errors.
        spoken_errors, squares: (S, U) of the utterances with reference words: errors, and the sum
            of errors² / words.
    """

    lang: str
    test_set: str
    units: pd.DataFrame
    cells: dict[Cell, dict[int, int]]
    utterances: np.ndarray
    words: np.ndarray
    spoken: np.ndarray
    errors: np.ndarray
    spoken_errors: np.ndarray
    squares: np.ndarray

    def blocks(self) -> tuple[np.ndarray, int]:
        """(U,) number of each unit's block, in the order in which all tables draw blocks; and how
        many there are."""
        numbers, found = pd.factorize(self.units.block, sort=True)
        return numbers, len(found)


class Reader:
    """Takes rows of score files, and sums them by unit."""

    def __init__(self) -> None:
        self._units: dict[tuple[str, str], dict[tuple[str, ...], int]] = {}
        self._parts: dict[tuple[str, str], dict[tuple, list[tuple[list[int], np.ndarray]]]] = {}

    def add(self, table: pd.DataFrame) -> None:
        """Add rows with the columns of a score file; of `TRAITS` some may be missing."""
        words = table.ref_words.to_numpy(float)
        errors = table[["substitutions", "deletions", "insertions"]].sum(axis=1).to_numpy(float)
        said = words > 0
        columns = {
            "utterances": 1.0,
            "words": words,
            "errors": errors,
            "spoken": said.astype(float),
            "spoken_errors": errors * said,
            "squares": np.divide(errors**2, words, out=np.zeros_like(words), where=said),
        }
        unit = {name: table[name].fillna("") if name in table else "" for name in _UNIT}
        table = table[["lang", "test_set", *Cell._fields, "seed"]].assign(**unit, **columns)
        for key, rows in table.groupby(["lang", "test_set", *Cell._fields, "seed"], sort=False):
            summed = rows.groupby(list(_UNIT), sort=False)[list(_SUMS)].sum()
            test, system = key[:2], key[2:]
            units = self._units.setdefault(test, {})
            places = [units.setdefault(unit, len(units)) for unit in summed.index]
            parts = self._parts.setdefault(test, {}).setdefault(system, [])
            parts.append((places, summed.to_numpy()))

    def voices(self) -> list[Voices]:
        """What was read, a test set each; the reader is empty afterwards."""
        return [self._voices(test, self._parts.pop(test)) for test in list(self._parts)]

    def _voices(self, test: tuple[str, str], parts: Mapping[tuple, list]) -> Voices:
        units = self._units.pop(test)
        systems = sorted(parts)
        sums = np.zeros((len(_SUMS), len(systems), len(units)))
        for row, system in enumerate(systems):
            for places, values in parts[system]:
                sums[:, row, places] += values.T  # no unit stands twice in a part
        by_name = dict(zip(_SUMS, sums, strict=True))
        cells: dict[Cell, dict[int, int]] = {}
        for row, system in enumerate(systems):
            cells.setdefault(Cell(*system[:-1]), {})[system[-1]] = row
        return Voices(
            *test,
            pd.DataFrame(list(units), columns=list(_UNIT)),
            cells,
            # Those of the references, the same in all decodes.
            **{name: by_name[name][0] for name in ("utterances", "words", "spoken")},
            **{name: by_name[name] for name in ("errors", "spoken_errors", "squares")},
        )


MEDIAN, WORST, ABOVE, SD = "median", "worst_decile", "above_twice", "sd"


class Spread:
    """How far the speakers of a test set lie apart, for all its decodes.

    Speakers are a sample of speakers: they are drawn anew in every replicate, with the blocks of
    the test set where each has all utterances in one of them, else by themselves. The trainings
    are these trainings. Utterances without reference words are left out.

    What speakers differ by because each said little is taken out. The variance between speakers is
    that of a one-way layout with unequal groups (Searle, Casella & McCulloch 1992, Variance
    Components, chapter 3): an utterance of w words is taken to have errors with a variance of
    noise · w, so that a speaker of W words has a WER with one of noise / W. Ranks and shares are of
    WERs drawn towards their mean by the root of each speaker's reliability, between / (between +
    noise / W), so that they vary as much as the speakers do (Louis 1984,
    doi:10.1080/01621459.1984.10478062).

    Attributes:
        speakers: those who are known.
        measured: those of them with `FEWEST_WORDS`, whose ranks and shares are stated.
        unknown: utterances of nobody knows whom.
        status: `ok`, or why nothing can be said.
    """

    def __init__(self, voices: Voices, settings: Resampling):
        self._voices = voices
        named = (voices.units.speaker != "").to_numpy()
        self.unknown = int(voices.utterances[~named].sum())
        self._units = named & (voices.spoken > 0)
        of, names = pd.factorize(voices.units.speaker[self._units])
        self.speakers = len(names)
        self._of = of
        self._words, self._utterances = map(self._by_speaker, (voices.words, voices.spoken))
        self._enough = self._words >= FEWEST_WORDS
        self.measured = int(self._enough.sum())
        self.status = self._unfit()
        if self.status == "ok":
            self._drawn = self._draw(settings)

    def _by_speaker(self, values: np.ndarray) -> np.ndarray:
        """(..., U) -> (..., speakers)."""
        known = np.atleast_2d(values)[:, self._units]
        sums = [np.bincount(self._of, row, self.speakers) for row in known]
        return np.reshape(sums, (*values.shape[:-1], self.speakers))

    def _unfit(self) -> str:
        if not self.speakers:
            return "not estimable: speakers are not known"
        if self.speakers < FEWEST_SPEAKERS:
            return f"not estimable: {self.speakers} speaker(s), a spread needs {FEWEST_SPEAKERS}"
        if self._utterances.sum() == self.speakers:
            return "not estimable: one utterance of each speaker"
        return "ok"

    def _draw(self, settings: Resampling) -> np.ndarray:
        """(R, speakers) how often each is drawn."""
        voices = self._voices
        blocks, count = voices.blocks()
        block_of = pd.Series(blocks[self._units]).groupby(self._of).agg(["first", "nunique"])
        place, name = block_of["first"].to_numpy(), "blocks"
        if (block_of["nunique"] > 1).any():  # blocks are sentences, which speakers share
            place, name, count = np.arange(self.speakers), "speakers", self.speakers
        random = intervals.generator(settings.seed, name, voices.lang, voices.test_set)
        drawn = intervals.block_counts(count, min(settings.replicates, _REPLICATES), random)
        return drawn[:, place].astype(float)

    def of(self, cell: Cell) -> dict[str, Draws]:
        """Of a cell: `SD` between speakers in percentage points; and where enough of them were
        measured their `MEDIAN` WER, the one that a tenth exceeds (`WORST`) and the share with more
        than twice the median (`ABOVE`), in percent. The mean over its seeds."""
        rows = list(self._voices.cells[cell].values())
        found: dict[str, list[tuple[float, np.ndarray]]] = {}
        for errors, squares in zip(
            self._by_speaker(self._voices.spoken_errors[rows]),
            self._by_speaker(self._voices.squares[rows]),
            strict=True,
        ):
            own = self._statistics(np.ones((1, self.speakers)), errors, squares)
            drawn = self._statistics(self._drawn, errors, squares)
            for name, value in own.items():
                found.setdefault(name, []).append((float(value[0]), drawn[name]))
        return {name: self._estimate(seeds) for name, seeds in found.items()}

    def _statistics(
        self, counts: np.ndarray, errors: np.ndarray, squares: np.ndarray
    ) -> dict[str, np.ndarray]:
        """Name -> (R,) values, where each speaker counts so many times (R, speakers)."""
        between, noise = self._variances(counts, errors, squares)
        found = {SD: 100 * np.sqrt(between)}
        if self.measured < FEWEST_SPEAKERS:
            return found
        counts, words = counts[:, self._enough], self._words[self._enough]
        rates = errors[self._enough] / words
        order = np.argsort(rates, kind="stable")
        counts, words, rates = counts[:, order], words[order], rates[order]
        own = between[:, None]
        shown = np.divide(own, own + noise[:, None] / words, where=own > 0, out=0.0 * counts)
        # The mean is that of the same weights; without a difference between speakers it is theirs.
        weights = counts * np.where(own > 0, shown, words)
        mean = ((weights @ rates) / weights.sum(axis=1))[:, None]
        rates = mean + np.sqrt(shown) * (rates - mean)
        sums = counts.cumsum(axis=1)
        median, worst = (_quantile(rates, sums, share) for share in (0.5, 0.9))
        above = (counts * (rates > 2 * median[:, None])).sum(axis=1) / sums[:, -1]
        return found | {MEDIAN: 100 * median, WORST: 100 * worst, ABOVE: 100 * above}

    def _variances(
        self, counts: np.ndarray, errors: np.ndarray, squares: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """(R,) variance of WER between speakers, and `noise`, as fractions squared."""
        words = self._words
        total, groups = counts @ words, counts.sum(axis=1)
        of_rates = errors**2 / words
        free = np.maximum(counts @ (self._utterances - 1), 1)
        noise = np.maximum(counts @ (squares - of_rates), 0.0) / free
        between = counts @ of_rates - (counts @ errors) ** 2 / total - (groups - 1) * noise
        return np.maximum(between / (total - counts @ words**2 / total), 0.0), noise

    def served_better(self, baseline: Cell, challenger: Cell) -> dict[str, Draws]:
        """`baseline` and `challenger`: shares of the speakers, in percent, whose WER is lower with
        it; the rest have equal ones. Nothing where no seed was trained of both."""
        of_baseline, of_challenger = (self._voices.cells[cell] for cell in (baseline, challenger))
        both = sorted(of_baseline.keys() & of_challenger.keys())
        if not both:
            return {}
        one, other = (
            self._by_speaker(self._voices.spoken_errors[[rows[seed] for seed in both]])
            for rows in (of_baseline, of_challenger)
        )
        return {"baseline": self._share(one < other), "challenger": self._share(one > other)}

    def _share(self, who: np.ndarray) -> Draws:
        """Share in percent of the speakers for whom something is true, (seeds, speakers)."""
        drawn = self._drawn @ who.T / self._drawn.sum(axis=1)[:, None]
        return self._estimate(
            [(100 * float(own.mean()), 100 * each) for own, each in zip(who, drawn.T, strict=True)]
        )

    def _estimate(self, seeds: list[tuple[float, np.ndarray]]) -> Draws:
        """The mean over seeds of a value and its (R,) replicates."""
        value = float(np.mean([value for value, _ in seeds]))
        drawn = np.mean([drawn for _, drawn in seeds], axis=0)
        return Draws(value, drawn - drawn.mean(), np.zeros(len(drawn)), self.speakers - 1, 0)


def _quantile(values: np.ndarray, sums: np.ndarray, share: float) -> np.ndarray:
    """(R,) quantiles of values (R, N), nearly in order.

    Between two values it is their mean (type 2 of Hyndman & Fan 1996): the median as it is taught.
    Drawn towards the mean, speakers of few words may have changed places with their neighbours.

    Args:
        sums: (R, N) how many times each of them and those before it count.
    """
    wanted = np.round(share * sums[:, -1:], 6)  # rounding of the product must not decide
    rows, last = np.arange(len(values)), values.shape[1] - 1
    places = ((sums < wanted).sum(axis=1), (sums <= wanted).sum(axis=1))
    low, high = (values[rows, np.minimum(place, last)] for place in places)
    return (low + high) / 2


def fewest_for_worst(confidence: float) -> int:
    """Speakers from which the worst tenth has an interval: so many that all of them lie below it
    with no more than half of 1 - `confidence`, 0.9^n. Below, no order statistic bounds it (David &
    Nagaraja 2003, Order Statistics, section 7.1)."""
    return math.ceil(math.log((1 - confidence) / 2) / math.log(0.9))


def bounds(name: str, draws: Draws, confidence: float, speakers: int) -> tuple[float, float]:
    """Interval of a statistic of `Spread.of` among so many speakers."""
    if name == ABOVE:
        return share_interval(draws, confidence, speakers)
    return positive_interval(draws, confidence)


def positive_interval(draws: Draws, confidence: float) -> tuple[float, float]:
    """Interval of a WER or a spread, symmetric in its logarithm, by Student's t: percentile
    intervals miss high ones, because few speakers seldom hold the odd one. One that reaches zero
    is the replicates'; (NaN, NaN) where nothing varies."""
    if not draws.estimable:
        return math.nan, math.nan
    reach = stats.t.ppf(0.5 + confidence / 2, draws.df) * draws.error
    if draws.value <= reach:
        low, high = draws.interval(confidence)
        return max(0.0, low), max(0.0, high)
    factor = math.exp(reach / draws.value)
    return draws.value / factor, draws.value * factor


def share_interval(draws: Draws, confidence: float, speakers: int) -> tuple[float, float]:
    """Interval of a share of speakers in percent: what replicates and the score interval (Wilson
    1927, doi:10.1080/01621459.1927.10502953) hold together. Replicates alone are certain of a
    share of which nobody, or everybody, is."""
    z, share = stats.norm.ppf(0.5 + confidence / 2), draws.value / 100
    middle = (share + z**2 / (2 * speakers)) / (1 + z**2 / speakers)
    half = math.sqrt(share * (1 - share) / speakers + (z / (2 * speakers)) ** 2)
    half *= z / (1 + z**2 / speakers)
    low, high = draws.interval(confidence) if draws.estimable else (draws.value, draws.value)
    return max(0.0, min(low, 100 * (middle - half))), min(100.0, max(high, 100 * (middle + half)))
