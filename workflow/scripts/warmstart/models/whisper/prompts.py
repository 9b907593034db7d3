"""Vectors that learn in front of a Whisper, of which nothing else does.

L vectors stand in front of the states that the first layer of the encoder hears, behind the
convolutions and without positions; and L others in front of the embeddings of the task and the
text, whose positions begin behind them. The decoder hears what the encoder makes of its own. An
utterance of a language without a prompt has none of either, so it is computed as without them.

Sources:
    Prompts in front of the inputs of both: `Entire SPT` of arXiv 2506.21577; of a decoder alone
    arXiv 2104.08691, section 2. A prompt of a shared part and a low-rank part of each language is
    the idea of `LAPT` (arXiv 2506.21577), whose formula and sizes are not published. Ours is

        P_l = S + sum over m of a_lm U_m V_m

    with S (L, D), U_m (L, R), V_m (R, D). A sum in place of the product of arXiv 2303.02861, eq. 1,
    because it is S alone where V is zero, as it is at first. a_l is the softmax over the languages
    of their cosines with l, divided by a temperature of 0.1 (ours), of the vectors that the donor's
    decoder has for the tokens of the languages; or 1 for l and 0 for all others.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

SIDES = ("encoder", "decoder")
_TEMPERATURE = 0.1
_SD = 0.02  # of what is drawn: as of Whisper's own weights (`init_std` of transformers)


@dataclass(frozen=True)
class Front:
    """Vectors in front of B utterances.

    Attributes:
        encoder: (B, L, D) in front of what the encoder's layers hear; None: nothing.
        decoder: (B, L, D) in front of the embeddings of task and text; None: nothing.
    """

    encoder: Tensor | None
    decoder: Tensor | None

    def rows(self, rows: Tensor) -> "Front":
        """Those of some of the utterances."""
        return Front(*(None if one is None else one[rows] for one in (self.encoder, self.decoder)))


class Prompts(nn.Module):
    """One prompt for each of N languages.

    Args:
        languages: their codes in the study.
        width: D.
        length: L.
        sides: of `SIDES`.
        rank: R; 0 = one prompt that all share.
    """

    similarity: Tensor

    def __init__(
        self,
        languages: Sequence[str],
        width: int,
        length: int,
        sides: Sequence[str] = SIDES,
        rank: int = 0,
    ):
        super().__init__()
        self.languages, self.length, self.rank = tuple(languages), length, rank
        self.sides = tuple(side for side in SIDES if side in sides)
        count = len(self.languages)
        self.register_buffer("similarity", torch.eye(count))
        for side in self.sides:
            setattr(self, f"{side}_shared", nn.Parameter(torch.zeros(length, width)))
            if rank:
                rows, columns = torch.zeros(count, length, rank), torch.zeros(count, rank, width)
                setattr(self, f"{side}_rows", nn.Parameter(rows))
                setattr(self, f"{side}_columns", nn.Parameter(columns))

    def draw(self, seed: int) -> None:
        """S and U from `seed` alone; V stays zero, so that languages begin alike."""
        random = torch.Generator().manual_seed(seed)
        with torch.no_grad():
            for name, value in self.named_parameters():
                if not name.endswith("_columns"):
                    value.copy_(_SD * torch.randn(value.shape, generator=random))

    def mix(self, vectors: Tensor) -> None:
        """Let languages share their parts by the likeness of (N, D) vectors."""
        alike = nn.functional.normalize(vectors.float(), dim=1)
        self.similarity.copy_((alike @ alike.T / _TEMPERATURE).softmax(1))

    def of(self, side: str) -> Tensor | None:
        """(N, L, D), a prompt each; None on a side that has none."""
        if side not in self.sides:
            return None
        shared = getattr(self, f"{side}_shared").expand(len(self.languages), -1, -1)
        if not self.rank:
            return shared
        parts = getattr(self, f"{side}_rows") @ getattr(self, f"{side}_columns")
        return shared + torch.einsum("lm,mtd->ltd", self.similarity, parts)

    def forward(self, places: Tensor) -> Front:
        """Of (B,) places in `languages`."""
        return Front(*(None if (all_ := self.of(side)) is None else all_[places] for side in SIDES))

    def tokens(self) -> int:
        """How many positions of the decoder a prompt takes."""
        return self.length if "decoder" in self.sides else 0

    def about(self) -> dict[str, Any]:
        """What a prompt is, JSON values; `of_about` makes one again."""
        return {
            "languages": list(self.languages),
            "length": self.length,
            "sides": list(self.sides),
            "rank": self.rank,
        }


def of_about(about: Mapping[str, Any], width: int) -> Prompts:
    """Prompts as `about` says, their weights zero."""
    return Prompts(about["languages"], width, about["length"], about["sides"], about["rank"])
