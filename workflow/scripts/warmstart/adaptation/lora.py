"""Low-rank updates of linear layers, merged into them before the model is written.

By peft, into any family: layers are found by their names, and a merged model has the tensors that
it had before, so it decodes, streams, quantises and ships as any other. The updates by themselves
lie beside it.
"""

import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import torch

from warmstart.adaptation import layers as layers_of
from warmstart.adaptation import peft_folder
from warmstart.adaptation.base import Adaptation
from warmstart.adaptation.still import StillStatistics
from warmstart.models.base import Recogniser
from warmstart.run.errors import UserError

_NAME = "warmstart"  # under which peft keeps them


class Lora(Adaptation):
    """W x becomes W x + (alpha / rank) B A x, of which A and B learn.

    Args:
        rank: rows of A.
        alpha: see above.
        dropout: of x in front of A, in training.
        layers: glob over the names of the linear layers (`linears_of`).

    Source:
        Hu et al., arXiv 2106.09685, section 4.1.
    """

    def __init__(self, rank: int, alpha: float, dropout: float, layers: str):
        self._rank, self._alpha, self._dropout, self._layers = rank, alpha, dropout, layers
        self._tuner: Any = None

    def insert(self, recogniser: Recogniser, seed: int) -> None:
        """A is drawn from `seed` alone and B is zero, so that nothing changes at first; of what is
        pretrained nothing else learns.

        Raises:
            UserError: a glob that no linear layer has, or a rank above the width of one.
        """
        module = recogniser.pretrained()
        linears = linears_of(module)
        options = {"rank": self._rank, "layers": self._layers}
        # Before peft is imported, which takes seconds.
        if (fault := layers_of.lora_fault(options, linears)) is not None:
            raise UserError(fault)
        from peft import LoraConfig
        from peft.tuners.lora import LoraModel

        config = LoraConfig(
            r=self._rank,
            lora_alpha=self._alpha,  # type: ignore[arg-type]  # multiplied, never an index
            lora_dropout=self._dropout,
            # A pattern, because of names in a list peft takes endings too.
            target_modules="|".join(map(re.escape, layers_of.chosen(self._layers, linears))),
        )
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self._tuner = LoraModel(module, config, _NAME)

    def callbacks(self, recogniser: Recogniser) -> Sequence[pl.Callback]:
        """A batch norm would move without any gradient."""
        return [StillStatistics(recogniser.pretrained())]

    def write(self, recogniser: Recogniser, folder: Path) -> None:
        """As peft keeps them; what learnt beside them, a new head, is in the model alone."""
        peft_folder.write(
            recogniser.pretrained(),
            self._tuner.peft_config[_NAME],
            _NAME,
            folder / peft_folder.FOLDER,
        )

    def finish(self, recogniser: Recogniser) -> None:
        """Add B A to W, and take A and B out."""
        self._tuner.merge_and_unload()
        self._tuner = None


def linears_of(module: torch.nn.Module) -> dict[str, tuple[int, int]]:
    """Name -> (in, out) of the linear layers of a module. Layers that share their weight with
    another one, as an output with the embeddings of its tokens, are none: a merge would change
    both."""
    held = Counter(id(value) for _, value in module.named_parameters(remove_duplicate=False))
    return {
        name: (layer.in_features, layer.out_features)
        for name, layer in module.named_modules()
        if isinstance(layer, torch.nn.Linear) and held[id(layer.weight)] == 1
    }
