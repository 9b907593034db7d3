"""The encoder as a fixed extractor of features: only what is behind it learns."""

from collections.abc import Sequence

import lightning.pytorch as pl

from warmstart.adaptation.base import Adaptation
from warmstart.adaptation.still import AsInDecoding, as_in_decoding
from warmstart.models.base import Recogniser


class HeadOnly(Adaptation):
    """Weights and running statistics of the encoder stay the donor's, bit for bit.

    Nothing in the encoder asks for a gradient, so autograd keeps none of its activations: a step is
    a forward of the encoder, and forward and backward of what is behind it.
    """

    def insert(self, recogniser: Recogniser, seed: int) -> None:
        """Nothing is put in."""
        encoder = recogniser.parts()["encoder"].requires_grad_(False)
        as_in_decoding(encoder.children())

    def callbacks(self, recogniser: Recogniser) -> Sequence[pl.Callback]:
        """The one that keeps its modules as they are in decoding."""
        encoder = recogniser.parts()["encoder"]
        return [AsInDecoding(list(encoder.children()))]
