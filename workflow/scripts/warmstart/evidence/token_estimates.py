"""What is estimated of the tokens of one cell of the experiment, with intervals over utterances.

Intervals leave out one group of blocks at a time (delete-a-group jackknife; Kott 2001, Journal of
Official Statistics 17:521). A bootstrap would not do: of N blocks drawn with replacement 37 % are
missing, so every resample has fewer distinct tokens than the data, and its laws are of a shorter
window. A law depends on its window, so all samples that lack a group are fitted on one window, as
long as the shortest of them; with groups of a twentieth that is nearly the whole.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

from warmstart.evidence import token_laws
from warmstart.evidence.candidates import Counted

WINDOWS = 8
"""Windows that laws are fitted on: an eighth of the audio, two eighths, all of it."""

_POINTS = 64  # of a curve over the whole window; a multiple of WINDOWS
_FEWEST = 10  # utterances: fewer have no curve
_FEWEST_GROUPS = 3  # of blocks: fewer have no interval
_AT_ONCE = 0.95  # of all tokens in one utterance: nothing is left to be discovered
_DISCOVERED = 0.5, 0.95  # shares whose times are asked

EXPONENTIAL, HEAPS, ZIPF, ZIPF_MANDELBROT = "exponential", "heaps", "zipf", "zipf_mandelbrot"
UNDECIDED, NEITHER = "undecided", "neither"


@dataclass(frozen=True)
class Jackknifed:
    """An estimate and what it is without each group.

    Attributes:
        value: the estimate.
        without: (G,) estimates without a group, on a scale of their own: only their differences
            count.
        positive: whether it is a positive quantity, whose interval is made of its logarithm.
    """

    value: float
    without: np.ndarray
    positive: bool = False

    def interval(self, confidence: float) -> tuple[float, float]:
        """Student's t over the groups; (NaN, NaN) with fewer than three, or where the estimate or
        one without a group is not finite."""
        groups = len(self.without)
        if groups < _FEWEST_GROUPS or not np.isfinite([self.value, *self.without]).all():
            return math.nan, math.nan
        if self.positive and min(self.value, *self.without) <= 0:
            return math.nan, math.nan
        without = np.log(self.without) if self.positive else self.without
        error = math.sqrt((groups - 1) / groups * ((without - without.mean()) ** 2).sum())
        reach = float(stats.t.ppf((1 + confidence) / 2, groups - 1)) * error
        if self.positive:
            return self.value * math.exp(-reach), self.value * math.exp(reach)
        return self.value - reach, self.value + reach


def over_seeds(parts: Sequence[Jackknifed]) -> Jackknifed:
    """The mean over seeds, which share their groups; of positive quantities the geometric one."""
    if len(parts) == 1:
        return parts[0]
    values, without = np.array([part.value for part in parts]), [part.without for part in parts]
    if not parts[0].positive:
        return Jackknifed(float(values.mean()), np.mean(without, axis=0))
    with np.errstate(divide="ignore", invalid="ignore"):
        mean = math.exp(np.log(values).mean()) if (values > 0).all() else math.nan
        return Jackknifed(mean, np.exp(np.mean(np.log(without), axis=0)), True)


class Tokens:
    """Candidates, or the tokens that were taken, of one decode.

    Args:
        counted: of the decode.
        kind: `candidate` or `taken`.
    """

    def __init__(self, counted: Counted, kind: str):
        self._one = counted
        text = counted.lengths >= 0
        self._lengths = counted.lengths[text]
        self._utterances = _samples(counted.tokens[f"{kind}_utterances"][:, text])
        self._counts = _samples(counted.tokens[f"{kind}_counts"][:, text])
        self._number = _samples(counted.counts["utterances"])
        self._duration_s = _samples(counted.duration_s)

    @property
    def vocabulary(self) -> int:
        """Tokens that are text."""
        return len(self._lengths)

    @property
    def duration_s(self) -> float:
        """Of all utterances."""
        return float(self._duration_s[0])

    def unfit(self) -> str:
        """Why nothing can be said; empty where something can."""
        if self._number[0] < _FEWEST:
            return f"not estimable: {self._number[0]} utterances, a curve needs {_FEWEST}"
        if not self._counts[0].any():
            return "not estimable: no token was taken"
        if (distinct := int((self._utterances[0] > 0).sum())) < 3:
            return f"not estimable: {distinct} distinct tokens, a law needs three"
        one = self._rarefied(0, np.array([1.0]))[0] / distinct
        if one >= _AT_ONCE:
            return (
                f"not estimable: one utterance has {100 * one:.0f} % of all distinct tokens "
                f"(K = {self._one.count} of {self.vocabulary} tokens), so nothing is discovered"
            )
        return ""

    def _rarefied(self, sample: int, drawn: np.ndarray) -> np.ndarray:
        return token_laws.rarefied(self._utterances[sample], int(self._number[sample]), drawn)

    def growths(self) -> Iterator[tuple[float, dict[str, Jackknifed]]]:
        """Each window in seconds, and what is estimated on it."""
        with_all = self._curves([0], self.duration_s)
        others = range(1, len(self._number))
        # Three groups are needed for an interval, and one must not be all of the audio.
        shortest = min((self._duration_s[sample] for sample in others), default=0.0)
        without = self._curves(others, shortest) if shortest > 0 else None
        for number in range(1, WINDOWS + 1):
            points = number * _POINTS // WINDOWS
            own = _laws(*_window(with_all, points), self._resolution_s)
            rest = {} if without is None else _laws(*_window(without, points), self._resolution_s)
            yield (
                self.duration_s * number / WINDOWS,
                {
                    name: Jackknifed(
                        float(value[0]), rest.get(name, np.zeros(0)), name in _POSITIVE
                    )
                    for name, value in own.items()
                },
            )

    @property
    def _resolution_s(self) -> float:
        """Length of an utterance: less audio than that was never looked at."""
        return self.duration_s / float(self._number[0])

    def _curves(self, samples: Sequence[int], window_s: float) -> "Curves":
        """Distinct tokens of some samples at times up to a window."""
        time_s = window_s * np.arange(1, _POINTS + 1) / _POINTS
        drawn = [self._number[one] * time_s / self._duration_s[one] for one in samples]
        curves = [self._rarefied(one, n) for one, n in zip(samples, drawn, strict=True)]
        return Curves(time_s, np.array(curves), np.min(drawn, axis=0) >= 1 - 1e-9)

    def frequencies(self) -> dict[str, Jackknifed]:
        """Exponents of Zipf's law and Zipf-Mandelbrot's, and by how much Akaike's criterion prefers
        the second."""
        fits = [
            (token_laws.zipf(counts), token_laws.zipf(counts, shifted=True))
            for counts in self._counts
        ]
        found = {
            "zipf_a": np.array([plain.a for plain, _ in fits]),
            "zipf_mandelbrot_a": np.array([shifted.a for _, shifted in fits]),
            "zipf_mandelbrot_b": np.array([shifted.b for _, shifted in fits]),
            # Two for each parameter, of which the second law has one more.
            "aic_gain": np.array(
                [2 * (shifted.log_likelihood - plain.log_likelihood) - 2 for plain, shifted in fits]
            ),
        }
        return {name: Jackknifed(float(value[0]), value[1:]) for name, value in found.items()}

    def length(self) -> Jackknifed:
        """Mean characters of a token, each as often as it occurs."""
        return _ratio(self._counts @ self._lengths, self._counts.sum(axis=1))


@dataclass(frozen=True)
class Curves:
    """Distinct tokens (S, P) at times (P,), of which some hold a whole utterance or more."""

    time_s: np.ndarray
    distinct: np.ndarray
    whole: np.ndarray


_POSITIVE = frozenset({"distinct", "limit", "tau_s", "ast50_s", "ast95_s", "heaps_k", "heaps_beta"})


def _window(curves: Curves, points: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    return curves.time_s[:points], curves.distinct[:, :points], curves.whole[:points]


def _laws(
    time_s: np.ndarray, distinct: np.ndarray, whole: np.ndarray, resolution_s: float
) -> dict[str, np.ndarray]:
    """Both laws of some curves, (S,) each; NaN where there are too few points."""
    window_s, last = float(time_s[-1]), distinct[:, -1]
    found = {"distinct": last}
    # A half of which no point holds a whole utterance tells nothing of the other.
    half = whole & (time_s <= window_s / 2 + 1e-9)
    if half.sum() < 3:
        return found
    laws = {EXPONENTIAL: token_laws.exponential, HEAPS: token_laws.heaps}
    fits = {name: fit(time_s[whole], distinct[:, whole]) for name, fit in laws.items()}
    halves = {name: fit(time_s[half], distinct[:, half]) for name, fit in laws.items()}
    exponential, heaps = fits[EXPONENTIAL], fits[HEAPS]
    # At the bound the curve is straight as far as it goes: nothing saturates.
    straight = exponential.shape > 0.98 * token_laws.TAU_BOUNDS[1] * window_s
    tau = np.where(straight, np.inf, exponential.shape)
    found |= {
        "limit": np.where(straight, np.inf, exponential.scale),
        "tau_s": tau,
        "exponential_r2": exponential.r2,
        "heaps_k": heaps.scale,
        "heaps_beta": heaps.shape,
        "heaps_r2": heaps.r2,
    }
    for share in _DISCOVERED:
        times = -tau * math.log1p(-share)
        name = f"ast{100 * share:.0f}_s"
        found[name] = np.where(times < resolution_s, np.nan, times)
    for name, fit in halves.items():
        with np.errstate(invalid="ignore", divide="ignore"):
            found[f"{name}_miss_pct"] = 100 * (fit.at(window_s) / last - 1)
    found["heaps_closer_pp"] = np.abs(found["exponential_miss_pct"]) - np.abs(
        found["heaps_miss_pct"]
    )
    return found


def emissions(one: Counted) -> dict[str, Jackknifed]:
    """What single emissions are like: entropy of the candidates, probability of the token taken,
    and where the right token stands among them."""
    number = _samples(one.counts["emissions"])
    found = {
        "entropy_bits": _ratio(_samples(one.sums["entropy_bits"]), number),
        "confidence_pct": _ratio(100 * _samples(one.sums["confidence"]), number),
    }
    if one.knows_right:
        aligned, within = (_samples(one.counts[name]) for name in ("aligned", "right_within"))
        found |= {
            "right_first_pct": _ratio(100 * _samples(one.counts["right_first"]), aligned),
            "right_within_pct": _ratio(100 * within, aligned),
            "right_rank": _ratio(_samples(one.sums["right_rank"]), within),
        }
    return found


def _ratio(over: np.ndarray, under: np.ndarray) -> Jackknifed:
    with np.errstate(invalid="ignore", divide="ignore"):
        ratio = np.asarray(over, float) / np.asarray(under, float)
    return Jackknifed(float(ratio[0]), ratio[1:])


def _samples(groups: np.ndarray) -> np.ndarray:
    """Sums of (G, ...) over all groups, then over all but each: (1 + G, ...)."""
    whole = groups.sum(axis=0, keepdims=True)
    return np.concatenate([whole, whole - groups])
