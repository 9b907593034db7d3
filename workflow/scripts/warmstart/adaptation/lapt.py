"""A prompt of a part that languages share and a low-rank part of each, learnt together."""

from warmstart.adaptation.soft_prompt import SoftPrompt
from warmstart.models.base import Recogniser


class Lapt(SoftPrompt):
    """Of each language of the training set.

    Args:
        length, where: see `SoftPrompt`.
        rank: of a language's part.
        similarity: `tokens` = languages take of each other's parts what their tokens are alike;
            `none` = each has its own alone.

    Source:
        The idea is that of arXiv 2506.21577; the formula is ours, see the family's `prompts`.
    """

    def __init__(self, length: int, where: str, rank: int, similarity: str):
        super().__init__(length, where)
        self._rank, self._alike = rank, similarity == "tokens"

    def insert(self, recogniser: Recogniser, seed: int) -> None:
        """Drawn from `seed` alone, so that languages begin with one prompt; of what is pretrained
        nothing learns."""
        recogniser.pretrained().requires_grad_(False)
        recogniser.add_prompts(
            *(self._languages, self._length, self._sides, seed),
            rank=self._rank,
            alike=self._alike,
        )
