"""Bottleneck adapters in an encoder that stays the donor's."""

from collections.abc import Sequence

import lightning.pytorch as pl

from warmstart.adaptation.base import Adaptation
from warmstart.adaptation.still import StillStatistics
from warmstart.models.base import Recogniser


class Adapter(Adaptation):
    """The family puts one behind each layer of its encoder.

    Args:
        dim: width of the bottleneck.

    Source:
        Houlsby et al., arXiv 1902.00751.
    """

    adds_modules = True

    def __init__(self, dim: int):
        self._dim = dim

    def insert(self, recogniser: Recogniser, seed: int) -> None:
        """New adapters change nothing at first."""
        recogniser.add_adapters(self._dim, seed)

    def callbacks(self, recogniser: Recogniser) -> Sequence[pl.Callback]:
        """A batch norm would move without any gradient."""
        return [StillStatistics(recogniser.parts()["encoder"])]
