"""Weights of a trained model in one that is to be trained on: how a round goes on from the one
before, whatever the family and the adaptation."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from warmstart.adaptation.base import Adaptation
from warmstart.models.base import Family, Recogniser
from warmstart.run.errors import UserError

_LISTED = 4


@dataclass(frozen=True)
class Weights:
    """Of a model.

    Attributes:
        path: of its file, for messages.
        tensors: all that it is trained by, by name: what an adaptation left in it (adapters,
            prompts) is no part of every family's.
    """

    path: Path
    tensors: dict[str, torch.Tensor]

    def give(self, recogniser: Recogniser, otherwise: Sequence[str] = ()) -> None:
        """Put them into a model, all of them.

        Args:
            otherwise: how the model differed from them before its adaptation: what is fewer is
                said.

        Raises:
            UserError: it has others.
        """
        if found := self.differences(recogniser):
            found = min(found, list(otherwise) or found, key=len)
            raise UserError(
                f"{self.path}: {len(found)} of its tensors are other ones than those of the model "
                f"that would go on from it: {', '.join(found[:_LISTED])}; rounds share family, "
                "adaptation and tokenizer: remove the model and run the workflow again"
            )
        recogniser.lightning.load_state_dict(self.tensors, strict=True)

    def differences(self, recogniser: Recogniser) -> list[str]:
        """Names of the tensors that a model has otherwise, or not, or beside them."""
        own = {name: value.shape for name, value in recogniser.lightning.state_dict().items()}
        given = {name: value.shape for name, value in self.tensors.items()}
        return [name for name in dict.fromkeys([*own, *given]) if own.get(name) != given.get(name)]


def insert(adaptation: Adaptation, recogniser: Recogniser, seed: int, before: Weights) -> None:
    """Put in what an adaptation brings, and the weights of a model before it.

    What an adaptation merges is in the layers that were there without it, so weights come first;
    what it leaves in the model (adapters) has its place once it is inserted.

    Raises:
        UserError: the model fits the weights neither way, or see `Adaptation.insert`.
    """
    unlike = before.differences(recogniser)
    if not unlike:
        before.give(recogniser)
    adaptation.insert(recogniser, seed)
    if unlike:
        before.give(recogniser, unlike)


def weights(family: Family, path: Path) -> Weights:
    """Of a trained model of a family, as its decoder has them.

    Raises:
        UserError: see `Family.load`.
    """
    # A model that is loaded to decode turns off what costs precision; training has it as the
    # first round had.
    before = _switches()
    loaded = family.load(path)
    _switch(before)
    return Weights(path, loaded.lightning.state_dict())


def _switches() -> dict[str, Any]:
    return {
        "cudnn": torch.backends.cudnn.allow_tf32,
        "matmul": torch.backends.cuda.matmul.allow_tf32,
    }


def _switch(switches: dict[str, Any]) -> None:
    torch.backends.cudnn.allow_tf32 = switches["cudnn"]
    torch.backends.cuda.matmul.allow_tf32 = switches["matmul"]
