"""Linear CTC heads behind one encoder, one a language."""

import hashlib
from collections.abc import Iterator, Mapping

import torch
from torch import Tensor, nn


class LanguageHeads(nn.Module):
    """A linear head a language over the language's own tokens; the blank is the last label of each.

    Args:
        width: of the encoder's states.
        labels: language -> tokens, without the blank.
        seed: each head is drawn from it and the language's name alone, so that one more language
            changes the start of none.
    """

    def __init__(self, width: int, labels: Mapping[str, int], seed: int):
        super().__init__()
        self.languages = tuple(labels)
        for lang, count in labels.items():
            with torch.random.fork_rng(devices=[]):
                torch.manual_seed(_seed(seed, lang))
                self.add_module(module_name(lang), nn.Linear(width, count + 1))

    def of(self, lang: str) -> nn.Linear:
        """The head of a language."""
        return self.get_submodule(module_name(lang))  # type: ignore[return-value]

    def forward(self, states: Tensor, language: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
        """The utterances of each language under its head.

        A language of which a batch has none is given with no rows: its head has then gradients of
        zero and not none at all, for which processes that train together would wait.

        Args:
            states: (B, F, D).
            language: (B,) places in `languages`.

        Yields:
            Which rows of the batch, and their (N, F, V + 1) log-probabilities.
        """
        for place, lang in enumerate(self.languages):
            rows = (language == place).nonzero()[:, 0]
            yield rows, self.of(lang)(states.index_select(0, rows)).float().log_softmax(-1)


def module_name(lang: str) -> str:
    """Not the code alone, because `to` (Tongan) is a method of every module."""
    return f"head_{lang}"


def _seed(seed: int, lang: str) -> int:
    drawn = hashlib.sha256(f"{seed} {module_name(lang)}".encode()).digest()
    return int.from_bytes(drawn[:4], "big")
