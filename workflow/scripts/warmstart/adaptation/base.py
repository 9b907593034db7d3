"""What an adaptation may do to a run, in the order in which it is asked."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from warmstart.models.base import Recogniser

if TYPE_CHECKING:
    import lightning.pytorch as pl


class Adaptation:
    """How the weights of a model may change. Made with its options by name; all methods may be left
    as they are.

    Attributes:
        adds_modules: whether new modules go into the encoder: the family then builds one that
            takes them.
    """

    adds_modules: bool = False

    def take_experts(self, folders: Mapping[str, Path]) -> None:
        """Called first, of kinds with `made_of`: language -> folder of the updates of a LoRA run
        (`peft_folder`)."""

    def hears(self, languages: Sequence[str], replayed: Sequence[str]) -> None:
        """Called once, before `insert`: what the training cuts are in, sorted.

        Args:
            languages: that the model is made for.
            replayed: that are heard beside them.

        Raises:
            UserError: the adaptation cannot have it so.
        """

    def insert(self, recogniser: Recogniser, seed: int) -> None:
        """Called once, with the donor's weights in place: put in new modules, drawn from `seed`
        alone, and say by `requires_grad` what learns.

        Raises:
            UserError: the model cannot have it.
        """

    def callbacks(self, recogniser: Recogniser) -> "Sequence[pl.Callback]":
        """What goes along with the training loop. Each decides by the step and its options alone,
        so that it holds for both arms of a pair and across a resume."""
        return ()

    def write(self, recogniser: Recogniser, folder: Path) -> None:
        """Called once, before `finish`: write what learnt by itself, the files of `Kind.writes`.

        Args:
            folder: of the run.
        """

    def finish(self, recogniser: Recogniser) -> None:
        """Called once, before the trained model is written: merge what can be merged."""
