"""How often the right model was chosen, and what choosing costs: rows of `routed` as estimates,
all ways to choose paired."""

import dataclasses
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
import pandas as pd

from warmstart.evidence import intervals, resampled
from warmstart.evidence.identified import HEARD, UNKNOWN
from warmstart.evidence.intervals import Draws
from warmstart.evidence.keys import Cell
from warmstart.evidence.noise import TrainingNoise
from warmstart.evidence.routed import GIVEN
from warmstart.evidence.settings import Settings


class Way(NamedTuple):
    """A way to choose a model, after so many seconds; seconds are empty where none are counted."""

    way: str
    seconds: str


@dataclasses.dataclass(frozen=True)
class Rates:
    """One test set of one cell, without the utterances whose speaker was heard while the
    identifier was made.

    Attributes:
        utterances, blocks: that are counted.
        left_out: utterances that are not.
        unknown: of those that are counted, utterances of whose speaker nobody knows whether he was
            heard.
        seeds: trainings.
        heard_s: way -> mean seconds that were heard of an utterance.
        silent: way -> utterances for which no single language was said, of one training.
        wrong: way -> share of utterances that went to another language's model, in percent.
        wer: way -> WER of what the chosen models wrote; of ways whose models were asked.
        went_to: language -> way -> share of utterances that went to its model, in percent.
    """

    utterances: int
    blocks: int
    left_out: int
    unknown: int
    seeds: int
    heard_s: Mapping[Way, float]
    silent: Mapping[Way, int]
    wrong: Mapping[Way, Draws]
    wer: Mapping[Way, Draws]
    went_to: Mapping[str, Mapping[Way, Draws]]

    def cost(self, way: Way) -> Draws | None:
        """WER of a way minus WER with the language given, in percentage points; None where other
        models were not asked."""
        given = Way(GIVEN, "")
        if way == given or way not in self.wer or given not in self.wer:
            return None
        return self.wer[way] - self.wer[given]


class Counter:
    """Estimates of a study. The noise of trainings is known once all cells are counted, so that
    rates come all at once.

    Args:
        settings: how to resample.
    """

    def __init__(self, settings: Settings):
        self._settings = settings
        # Only models that are for a language are asked of it.
        self._noise = TrainingNoise(settings.seed, settings.replicates, lambda *_: True)

    def all(self, rows: pd.DataFrame) -> dict[tuple[Cell, str, str], Rates]:
        """(cell, language, test set) -> its rates.

        Args:
            rows: of `routed.COLUMNS`.
        """
        names = [*Cell._fields, "lang", "test_set"]
        found = {}
        for key, table in rows.groupby(names, sort=True, observed=True):
            *axes, lang, test_set = key
            found[Cell(*axes), lang, test_set] = self._rates(Cell(*axes), table)
        return {key: self._trained(rates) for key, rates in found.items()}

    def _rates(self, cell: Cell, table: pd.DataFrame) -> Rates:
        """Of one cell and test set, without the noise of trainings."""
        first = table.iloc[0]
        one = table[(table.seed == first.seed) & (table.way == GIVEN)]
        counted = table[table.speaker != HEARD]
        kept = one[one.speaker != HEARD]
        seeds = table.seed.nunique()
        left_out, unknown = (int((one.speaker == what).sum()) for what in (HEARD, UNKNOWN))
        numbers = len(kept), kept.block.nunique(), left_out, unknown, seeds
        if kept.empty:
            return Rates(*numbers, {}, {}, {}, {}, {})
        of_way = counted[counted.seed == first.seed].groupby(["way", "seconds"], observed=True)
        counts = _Blocks(counted, cell)
        said = counted.said.to_numpy(object)
        languages = sorted({first.lang, *said} - {""})
        return Rates(
            *numbers,
            heard_s={Way(*key): float(part.heard_s.mean()) for key, part in of_way},
            silent={Way(*key): int((part.said == "").sum()) for key, part in of_way},
            wrong=self._estimates(counts, 1.0 - counted.right.to_numpy(), "utterances"),
            wer=self._estimates(counts, counted.errors.to_numpy(), "words"),
            went_to={
                lang: self._estimates(counts, (said == lang).astype(float), "utterances", lang)
                for lang in languages
            },
        )

    def _estimates(
        self, counts: "_Blocks", values: np.ndarray, of: str, to: str = ""
    ) -> dict[Way, Draws]:
        """Rates of all ways whose values are there.

        Args:
            counts: of the test set.
            values: (rows,) of its table.
            of: what they are counted in: `utterances` or `words`.
            to: language, of the rate at which utterances go there.
        """
        numerators, denominators = counts.grid(values), counts.sizes(of)
        known = [row for row in range(len(numerators)) if np.isfinite(numerators[row]).all()]
        ways: dict[Cell, Way] = {}
        seeds: dict[Cell, dict[int, int]] = {}
        for place, row in enumerate(known):
            way, seed = counts.systems[row]
            # Ways of one decode are told apart where tiers are, so that their noise is paired.
            cell = counts.cell._replace(tier=f"{counts.cell.tier} {way.way} {way.seconds}")
            ways[cell] = way
            seeds.setdefault(cell, {})[seed] = place
        if not known:
            return {}
        cell, lang, test_set = counts.cell, counts.lang, counts.test_set
        found = resampled.rates_pct(
            numerators[known],
            denominators,
            seeds,
            lang=lang,
            what=f"{test_set}, {of} {to} of {cell.training_set} {cell.arm} {cell.hours:g} h",
            random=intervals.generator(self._settings.seed, "blocks", lang, test_set),
            settings=self._settings,
            noise=self._noise,
            shared=counts.names
            if lang in self._settings.shared_sentences.get(test_set, ())
            else (),
        )
        return {ways[cell]: draws for cell, draws in found.items()}

    def _trained(self, rates: Rates) -> Rates:
        def known(found: Mapping[Way, Draws]) -> dict[Way, Draws]:
            return {way: draws.trained(self._noise) for way, draws in found.items()}

        return dataclasses.replace(
            rates,
            wrong=known(rates.wrong),
            wer=known(rates.wer),
            went_to={lang: known(found) for lang, found in rates.went_to.items()},
        )


class _Blocks:
    """Rows of one cell and test set, summed inside blocks.

    Args:
        table: of `routed.COLUMNS`, not empty.
        cell: of all rows.
    """

    def __init__(self, table: pd.DataFrame, cell: Cell):
        self.cell = cell
        self.lang, self.test_set = str(table.lang.iloc[0]), str(table.test_set.iloc[0])
        keys = list(zip(table.way, table.seconds, table.seed, strict=True))
        order = {key: place for place, key in enumerate(dict.fromkeys(keys))}
        self.systems = [(Way(way, seconds), int(seed)) for way, seconds, seed in order]
        self._system = np.array([order[key] for key in keys])
        self._block, names = pd.factorize(table.block, sort=True)
        self.names = [str(name) for name in names]
        self._words = table.words.to_numpy(float)

    def grid(self, values: np.ndarray) -> np.ndarray:
        """(systems, blocks) sums of (rows,) values; NaN where one is."""
        shape = len(self.systems), len(self.names)
        flat = self._system * shape[1] + self._block
        return np.bincount(flat, weights=values, minlength=shape[0] * shape[1]).reshape(shape)

    def sizes(self, of: str) -> np.ndarray:
        """(blocks,) utterances or words, of every system alike."""
        return self.grid(self._words if of == "words" else np.ones(len(self._words)))[0]
