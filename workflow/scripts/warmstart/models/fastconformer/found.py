"""What a search finds, and what a decoder needs of one."""

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from torch import Tensor

FRAME_S = 0.08  # of the encoder: 10 ms hop x 8-fold subsampling


@dataclass
class Found:
    """Greedy tokens of one utterance and the encoder frames that emitted them; of a search that
    keeps candidates, those of each token (ids and probabilities, (K,)); of one that says how sure
    it is, the confidence of each position whose best label is a token (`models.confidence`)."""

    tokens: list[int] = field(default_factory=list)
    frames: list[int] = field(default_factory=list)
    encoder_frames: int = 0
    candidates: list[tuple["Tensor", "Tensor"]] = field(default_factory=list, compare=False)
    confidences: list[float] = field(default_factory=list, compare=False)


class Search(Protocol):
    """Encoder frames to tokens, step by step. Its state has `narrow(n)`: the first n utterances.

    Attributes:
        candidates: how many of the best tokens are kept at each emission; 0 = none.
        confident: whether it says how sure it is.
    """

    candidates: int
    confident: bool

    def start(self, batch: int) -> Any:
        """The state before the first frame."""
        ...

    def first_logits(self, encoded: "Tensor") -> "Tensor":
        """(B, T, V) scores at every frame (B, T, D), given that nothing was emitted yet."""
        ...

    def extend(self, found: list[Found], encoded: "Tensor", lengths: "Tensor", state: Any) -> None:
        """Search on, append to `found`, move `state` (in place).

        Args:
            found: one an utterance.
            encoded: (B, T, D) encoder frames.
            lengths: (B,) how many of them count.
        """
        ...
