"""Rates of other things than all words of a test set, resampled as those are: errors of a group of
speakers, topics told right."""

from collections.abc import Collection, Mapping, Sequence

import numpy as np

from warmstart.evidence import intervals
from warmstart.evidence.intervals import Draws
from warmstart.evidence.keys import Cell
from warmstart.evidence.noise import Decode, Run, TrainingNoise
from warmstart.evidence.settings import Resampling


def rates_pct(
    numerators: np.ndarray,
    denominators: np.ndarray,
    seeds: Mapping[Cell, Mapping[int, int]],
    *,
    lang: str,
    what: str,
    random: np.random.Generator,
    settings: Resampling,
    noise: TrainingNoise,
    faults: Collection[Cell] = (),
    shared: Sequence[str] = (),
) -> dict[Cell, Draws]:
    """Rates in percent, of cells that share blocks. `noise` is told of them; `Draws.trained` adds
    it once it knows all.

    Args:
        numerators: (S, K) per system and block; a system is one trained model in one decode.
        denominators: (K,) per block.
        seeds: cell -> seed -> its row of `numerators`.
        lang: of the test set.
        what: is counted, in words that no other rate of the study has.
        random: source of the blocks; equal sources draw equal blocks.
        settings: how.
        noise: of the trainings.
        faults: cells that recognise nothing; how they vary says nothing of other trainings.
        shared: names of the K blocks, where a block of one name is the same sentence in other
            languages; `random` is not asked then.
    """
    runs = {
        row: (
            Run(cell.training_set, float(cell.hours), int(seed)),
            Decode(lang, what, cell.arm, cell.precision, cell.tier),
        )
        for cell, own in seeds.items()
        for seed, row in own.items()
    }
    sound = [row for cell, own in seeds.items() if cell not in faults for row in own.values()]
    noise.add(lang, what, [runs[row] for row in sound], numerators[sound], denominators)
    rows = [list(own.values()) for own in seeds.values()]
    if shared:
        replicates = intervals.resample_named(
            numerators,
            denominators,
            settings.replicates,
            lambda name: intervals.generator(settings.seed, "blocks", what, name),
            shared,
        )
    else:
        replicates = intervals.resample_rates(numerators, denominators, settings.replicates, random)
    draws = intervals.cell_draws(
        numerators,
        denominators,
        rows,
        replicates,
        what if shared else f"{what} {lang}",
        [{runs[row]: 1 / len(own) for row in own} for own in rows],
    )
    return {cell: draw.scaled(100.0) for cell, draw in zip(seeds, draws, strict=True)}
