"""Vectors in front of a model that learn while nothing else does."""

from collections.abc import Sequence

from warmstart.adaptation.base import Adaptation
from warmstart.models.base import Recogniser
from warmstart.run.errors import UserError


class SoftPrompt(Adaptation):
    """One prompt for all languages of the training set. Other languages are heard without it, as
    before.

    Args:
        length: vectors in front of each side.
        where: `encoder`, `decoder` or `both`.

    Source:
        arXiv 2104.08691, section 2; in front of both sides `Entire SPT` of arXiv 2506.21577.
    """

    def __init__(self, length: int, where: str):
        self._length = length
        self._sides = ("encoder", "decoder") if where == "both" else (where,)
        self._languages: tuple[str, ...] = ()

    def hears(self, languages: Sequence[str], replayed: Sequence[str]) -> None:
        """Each gets the prompt.

        Raises:
            UserError: a replayed language, which has none and teaches nothing.
        """
        if replayed:
            raise UserError(
                f"the training set replays {', '.join(replayed)}, and a prompt leaves all other "
                "languages as they were, so there is nothing to keep: take replay away"
            )
        self._languages = tuple(languages)

    def insert(self, recogniser: Recogniser, seed: int) -> None:
        """Drawn from `seed` alone; of what is pretrained nothing learns."""
        recogniser.pretrained().requires_grad_(False)
        recogniser.add_prompts(self._languages, self._length, self._sides, seed)
