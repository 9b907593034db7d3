"""Training noise: by how much a rate or a gap changes when the same training runs with another
seed. One variance for each kind of estimate, pooled over the cells of the study.

What is exchangeable. A *kind* is what is subtracted from what: an arm's rate, or a contrast's gap,
on one test set, at one precision and tier. Cells of a kind differ in language, training set and
hours, and their trainings are taken to vary alike. The noise of a gap is that of the differences
seed by seed, never the sum of two arms' noises, because both arms of a seed see the same data in
the same order. Tiers and precisions of one run are no further trainings, so each has its own pool.
Languages that a model was not made for are pooled apart.

Seeds of a cell differ by the noise of the test set too. With n seeds their variance s² estimates
sigma² + v, where v is what the blocks leave open of a difference between seeds and is known from
them (linearised ratios). sigma² is the REML estimate of all cells together (Fisher scoring;
Viechtbauer 2005, doi:10.3102/10769986030003261), its interval inverts the weighted sum of squares,
which is chi-squared (Q-profile; Viechtbauer 2007, doi:10.1002/sim.2514).

Where cells vary by more than chance, one number would be too small for some and too large for the
others. Then each is shrunk towards the common one as in Smyth 2004 (doi:10.2202/1544-6115.1027):
s² / (sigma² + v) follows F with (n - 1, d) degrees of freedom, d by maximum likelihood, and none
(complete pooling) unless a likelihood ratio test at 5 % asks for one.
"""

import dataclasses
import itertools
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np
from scipy import optimize, special, stats

from warmstart.evidence.randomness import generator

_PRIOR_DF = np.array([3.0, 4.0, 6.0, 8.0, 12.0, 16.0, 24.0, 32.0])
"""Degrees of freedom that the common variance may be worth beside a cell's own, where cells
differ."""
_RATIO_AT_5_PCT = 2.706
"""Of a likelihood ratio whose parameter lies on its bound: half chi-squared with one degree."""
_GRID = 80
_SCORING_STEPS = 60
_ROUNDING = 9  # digits at which weights count as equal


class Run(NamedTuple):
    """One seed of one budget: what its arms are trained with is common to them."""

    training_set: str
    hours: float
    seed: int


class Decode(NamedTuple):
    """What of a run was scored."""

    lang: str
    test_set: str
    arm: str
    precision: str
    tier: str


Terms = Mapping[tuple[Run, Decode], float]
"""Weights of the rates that an estimate is a sum of."""


class Kind(NamedTuple):
    """What is pooled: weights of one run's decodes, the first of them one. With one language in it
    the language has no name, and `meant` says whether training sets are for it."""

    weights: tuple[tuple[Decode, float], ...]
    meant: bool


class Cell(NamedTuple):
    """Where trainings differ by the seed alone; `lang` is empty in a kind of several languages."""

    training_set: str
    hours: float
    lang: str


@dataclasses.dataclass(frozen=True)
class Spread:
    """The seeds of one cell.

    Attributes:
        seeds: trainings.
        variance: between them, NaN of one.
        residual: what of it the blocks explain.
        share: weight of the cell, less than one where the same runs make several cells.
    """

    seeds: int
    variance: float
    residual: float
    share: float = 1.0

    @property
    def df(self) -> float:
        """Degrees of freedom that the cell gives to the pool."""
        return self.share * (self.seeds - 1)


@dataclasses.dataclass(frozen=True)
class Pooled:
    """The training noise of a kind.

    Attributes:
        variance: of one training, towards which cells are shrunk.
        prior_df: degrees of freedom that it is worth beside a cell's own; infinite where cells
            differ by no more than chance.
        cells: those with several seeds.
        average: of the cells (REML); `variance` itself where they differ by no more than chance.
            Few noisy cells raise it, and `variance` is what most have.
    """

    variance: float
    prior_df: float
    cells: Mapping[Cell, Spread]
    average: float

    @property
    def df(self) -> float:
        """Degrees of freedom behind the common variance."""
        return sum(spread.df for spread in self.cells.values())

    def at(self, cell: Cell) -> tuple[float, float, float]:
        """Variance of one training of a cell, the degrees of freedom of it and of the blocks' part
        together, and the blocks' part."""
        own = self.cells.get(cell)
        residual = own.residual if own else 0.0
        whole = self.variance + residual
        # Of `whole` only the part by trainings is estimated: Satterthwaite 1946.
        information = sum(
            spread.df / max(self.variance + spread.residual, 1e-300) ** 2
            for spread in self.cells.values()
        )
        df = max(1.0, whole**2 * information)
        if math.isinf(self.prior_df):
            return self.variance, df, residual
        own_df = own.seeds - 1 if own else 0
        factor = self.prior_df
        if own and whole:
            factor += own_df * own.variance / whole
        variance = max(0.0, factor / (self.prior_df + own_df) * whole - residual)
        return variance, min(df, self.prior_df + own_df), residual

    def interval(self, confidence: float) -> tuple[float, float]:
        """Of the average variance of these cells."""
        squares = _squares(self.cells.values())

        def excess(variance: float, probability: float) -> float:
            df, observed, residual = squares
            found = float((df * observed / np.maximum(variance + residual, 1e-300)).sum())
            return found - float(stats.chi2.ppf(probability, df.sum()))

        def bound(probability: float) -> float:
            high = max(self.average, float(squares[1].max()), 1e-300)
            if excess(0.0, probability) <= 0:
                return 0.0
            while excess(high, probability) > 0:
                high *= 4
            return float(optimize.brentq(excess, 0.0, high, args=(probability,), xtol=1e-18))

        return bound(0.5 + confidence / 2), bound(0.5 - confidence / 2)


@dataclasses.dataclass(frozen=True)
class Part:
    """What trainings add to an estimate.

    Attributes:
        seed: (R,) normal deviations; zero where nothing is known of the noise.
        df: degrees of freedom of its variance and `residual` together; 0 where nothing is known.
        residual: variance that the blocks explain of what seeds differ by.
    """

    seed: np.ndarray
    df: float
    residual: float


@dataclasses.dataclass(frozen=True)
class _TestSet:
    """Rates of one language and test set."""

    rows: Mapping[Cell, Mapping[tuple[str, str, str], Mapping[int, int]]]
    rates: np.ndarray
    covariance: np.ndarray


class TrainingNoise:
    """The noise of all trainings of a study, asked by linear combinations of their rates."""

    def __init__(
        self,
        seed: int,
        replicates: int,
        is_for: Callable[[str, str], bool] = lambda training_set, lang: training_set == lang,
    ):
        """
        Args:
            seed: of the study's random numbers.
            replicates: R.
            is_for: training set, language -> whether it was made for the language.
        """
        self._seed, self._replicates, self._is_for = seed, replicates, is_for
        self._sets: dict[tuple[str, str], _TestSet] = {}
        self._pools: dict[Kind, Pooled | None] = {}
        self._normal: dict[Run, np.ndarray] = {}

    def add(
        self,
        lang: str,
        test_set: str,
        systems: Sequence[tuple[Run, Decode]],
        errors: np.ndarray,
        words: np.ndarray,
    ) -> None:
        """What was measured on a test set.

        Args:
            lang, test_set: of it.
            systems: S of them.
            errors: (S, K) in K blocks.
            words: (K,) of the references.
        """
        rows: dict[Cell, dict[tuple[str, str, str], dict[int, int]]] = {}
        for row, (run, decode) in enumerate(systems):
            cell = Cell(run.training_set, run.hours, lang)
            rows.setdefault(cell, {}).setdefault(decode[2:], {})[run.seed] = row
        total, blocks = words.sum(), np.count_nonzero(words)
        several = any(len(seeds) > 1 for own in rows.values() for seeds in own.values())
        if not total or blocks < 2 or not several:
            rates, covariance = np.zeros(0), np.zeros((0, 0))
            rows = {}
        else:
            rates = errors.sum(axis=1) / total
            influence = (errors - rates[:, None] * words) / total
            covariance = influence @ influence.T * (blocks / (blocks - 1))
        self._sets[lang, test_set] = _TestSet(rows, rates, covariance)
        self._pools.clear()

    def part(self, terms: Terms) -> Part:
        """What trainings add to an estimate. Runs are independent of each other; an estimate of
        which one run's noise is not known has none at all, so that an interval either holds the
        noise or does not."""
        nothing = Part(np.zeros(self._replicates), 0.0, 0.0)
        seed, residual = np.zeros(self._replicates), 0.0
        of_kind: dict[Kind, tuple[float, float]] = {}
        for run, cell, kind, factor in self._parts(terms):
            pooled = self._pool(kind)
            if pooled is None:
                return nothing
            variance, df, own = pooled.at(cell)
            seed = seed + factor * math.sqrt(variance) * self._deviates(run)
            residual += factor**2 * own
            whole, least = of_kind.get(kind, (0.0, math.inf))
            # Runs of a kind share the estimate of its variance: their degrees do not add up.
            of_kind[kind] = whole + factor**2 * (variance + own), min(least, df)
        if not of_kind:
            return nothing
        whole = sum(variance for variance, _ in of_kind.values())
        uncertain = sum(variance**2 / df for variance, df in of_kind.values())
        df = whole**2 / uncertain if uncertain else min(df for _, df in of_kind.values())
        return Part(seed, df, residual)

    def pooled(self, terms: Terms) -> Pooled | None:
        """The noise of an estimate's kind, in the unit of the rates; None where no cell of it has
        several seeds, or it is no estimate of one kind."""
        kinds = {kind for _, _, kind, _ in self._parts(terms)}
        return self._pool(kinds.pop()) if len(kinds) == 1 else None

    def own(self, terms: Terms) -> tuple[float, float]:
        """Variance between an estimate's own seeds, and what of it the blocks explain; zeros where
        it has one."""
        found = [(cell, kind, factor) for _, cell, kind, factor in self._parts(terms)]
        if len({one[:2] for one in found}) != 1:
            return 0.0, 0.0
        cell, kind, factor = found[0]
        pooled = self._pool(kind)
        spread = pooled.cells.get(cell) if pooled else None
        if spread is None:
            return 0.0, 0.0
        scale = (factor * spread.seeds) ** 2
        return scale * spread.variance, scale * spread.residual

    def _deviates(self, run: Run) -> np.ndarray:
        """(R,) standard normal numbers of a run, the same for all that it was scored on."""
        if run not in self._normal:
            random = generator(self._seed, "training", *run)
            drawn = random.standard_normal(self._replicates)
            # So that a cell of one training has just the common variance.
            self._normal[run] = (drawn - drawn.mean()) / drawn.std()
        return self._normal[run]

    def _parts(self, terms: Terms) -> Iterator[tuple[Run, Cell, Kind, float]]:
        """The runs of an estimate: the cell and kind of each, and what its kind is multiplied by.
        A donor at zero hours was not trained by the study."""
        by_run: dict[Run, dict[Decode, float]] = {}
        for (run, decode), weight in terms.items():
            if run.hours > 0 and abs(weight) > 10.0**-_ROUNDING:
                by_run.setdefault(run, {})[decode] = weight
        for run, weights in by_run.items():
            langs = sorted({decode.lang for decode in weights})
            lang = langs[0] if len(langs) == 1 else ""
            factor = weights[min(weights)]
            named = {
                decode._replace(lang="") if lang else decode: round(weight / factor, _ROUNDING)
                for decode, weight in weights.items()
            }
            meant = all(self._is_for(run.training_set, each) for each in langs)
            kind = Kind(tuple(sorted(named.items())), meant)
            yield run, Cell(run.training_set, run.hours, lang), kind, factor

    def _pool(self, kind: Kind) -> Pooled | None:
        if kind not in self._pools:
            self._pools[kind] = pool(self._spreads(kind))
        return self._pools[kind]

    def _spreads(self, kind: Kind) -> dict[Cell, Spread]:
        """The cells of a kind that have several seeds."""
        named = sorted({decode.lang for decode, _ in kind.weights if decode.lang})
        found: dict[Cell, Spread] = {}
        for lang in named[:1] or sorted({lang for lang, _ in self._sets}):
            decodes = [
                (decode if named else decode._replace(lang=lang), weight)
                for decode, weight in kind.weights
            ]
            sets = [self._sets.get((decode.lang, decode.test_set)) for decode, _ in decodes]
            for cell in sets[0].rows if sets[0] else ():
                langs = named or [lang]
                meant = all(self._is_for(cell.training_set, each) for each in langs)
                spread = self._spread(cell, decodes) if meant == kind.meant else None
                if spread:
                    found[cell._replace(lang="") if named else cell] = spread
        runs: dict[tuple[str, float], int] = {}
        for cell in found:
            runs[cell[:2]] = runs.get(cell[:2], 0) + 1
        return {
            cell: dataclasses.replace(spread, share=1 / runs[cell[:2]])
            for cell, spread in found.items()
        }

    def _spread(self, cell: Cell, decodes: Sequence[tuple[Decode, float]]) -> Spread | None:
        """How the seeds of a cell differ in a weighted sum of decodes, of seeds that have all of
        them; None with fewer than two."""
        by_set: dict[tuple[str, str], list[tuple[Mapping[int, int], float]]] = {}
        for decode, weight in decodes:
            known = self._sets.get((decode.lang, decode.test_set))
            own = known.rows.get(cell._replace(lang=decode.lang), {}) if known else {}
            if decode[2:] not in own:
                return None
            by_set.setdefault((decode.lang, decode.test_set), []).append((own[decode[2:]], weight))
        every = [set(rows) for parts in by_set.values() for rows, _ in parts]
        seeds = sorted(set.intersection(*every))
        if len(seeds) < 2:
            return None
        values, noise = np.zeros(len(seeds)), np.zeros((len(seeds), len(seeds)))
        for key, parts in by_set.items():
            known = self._sets[key]
            for (rows, weight), (others, other) in itertools.product(parts, parts):
                first, second = ([each[seed] for seed in seeds] for each in (rows, others))
                noise += weight * other * known.covariance[np.ix_(first, second)]
            for rows, weight in parts:
                values += weight * known.rates[[rows[seed] for seed in seeds]]
        residual = (np.trace(noise) - noise.sum() / len(seeds)) / (len(seeds) - 1)
        return Spread(len(seeds), float(values.var(ddof=1)), max(0.0, float(residual)))


def pool(cells: Mapping[Cell, Spread]) -> Pooled | None:
    """The common variance of trainings, and how much it is worth beside each cell's own; None of
    no cells."""
    if not cells:
        return None
    df, observed, residual = _squares(cells.values())
    variance = _reml(df, observed, residual)
    shared = _log_likelihood(np.array([variance]), math.inf, df, observed, residual)[0]
    # A grid of variances, from a hundredth of what is there at all.
    highest = float(max(observed.max(), residual.max(), variance))
    grid = np.concatenate([[0.0], np.geomspace(1e-4, 4.0, _GRID) * highest])
    best = (shared + _RATIO_AT_5_PCT / 2, variance, math.inf)
    for prior in _PRIOR_DF if len(cells) > 2 and highest else ():
        found = _log_likelihood(grid, float(prior), df, observed, residual)
        place = int(found.argmax())
        if found[place] > best[0]:
            best = float(found[place]), float(grid[place]), float(prior)
    return Pooled(best[1], best[2], dict(cells), variance)


def _squares(cells: Iterable[Spread]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Degrees of freedom, variances and the blocks' part of cells."""
    listed = list(cells)
    return (
        np.array([each.df for each in listed]),
        np.array([each.variance for each in listed]),
        np.array([each.residual for each in listed]),
    )


def _reml(df: np.ndarray, observed: np.ndarray, residual: np.ndarray) -> float:
    """REML estimate of the variance that all cells have in common, at least zero."""
    variance = max(0.0, float((df * (observed - residual)).sum() / df.sum()))
    for _ in range(_SCORING_STEPS):
        weights = df / np.maximum(variance + residual, 1e-300) ** 2
        found = max(0.0, float((weights * (observed - residual)).sum() / weights.sum()))
        if abs(found - variance) <= 1e-9 * max(found, variance):
            break
        variance = found
    return variance


def _log_likelihood(
    variances: np.ndarray,
    prior_df: float,
    df: np.ndarray,
    observed: np.ndarray,
    residual: np.ndarray,
) -> np.ndarray:
    """(V,) of common variances, up to a constant: each cell's variance is a multiple of F, or with
    infinite `prior_df` of chi-squared."""
    whole = np.maximum(variances[:, None] + residual, 1e-300)
    scaled = df * observed / whole
    if math.isinf(prior_df):
        terms = -df / 2 * math.log(2) - df / 2 * np.log(whole) - scaled / 2
    else:
        terms = (
            special.gammaln((df + prior_df) / 2)
            - special.gammaln(prior_df / 2)
            - df / 2 * math.log(prior_df)
            - df / 2 * np.log(whole)
            - (df + prior_df) / 2 * np.log1p(scaled / prior_df)
        )
    return terms.sum(axis=1)
