"""Models whose training sets differ in their labels alone, beside each other."""

from dataclasses import dataclass

from warmstart.evidence.collected import Scored
from warmstart.evidence.keys import FULL, Cell
from warmstart.evidence.settings import Settings


@dataclass(frozen=True)
class Series:
    """Cells of one language, arm and tier whose training sets differ in their labels alone.

    Attributes:
        clean: hours -> cell of the clean set.
        dirty: (hours, share) -> cell.
    """

    clean: dict[float, Cell]
    dirty: dict[tuple[float, float], Cell]


def counts(cell: Cell) -> bool:
    """Whether a cell is of this question: models as trained, not donors as they are."""
    return cell.precision == FULL and cell.hours > 0


def series_of(one: Scored, settings: Settings) -> dict[tuple[str, str, str, str], Series]:
    """(clean set, arm, tier, kind) -> its cells; of dirty sets without a clean one none."""
    found: dict[tuple[str, str, str, str], Series] = {}
    for cell in one.wer:
        dirty = settings.dirty.get(cell.training_set)
        if dirty is not None and dirty.clean is not None and counts(cell):
            key = dirty.clean, cell.arm, cell.tier, dirty.described
            clean = {
                other.hours: other
                for other in sorted(one.wer)
                if counts(other)
                and (other.training_set, other.arm, other.tier) == (dirty.clean, *key[1:3])
            }
            series = found.setdefault(key, Series(clean, {}))
            series.dirty[cell.hours, dirty.corrupt] = cell
    return found
