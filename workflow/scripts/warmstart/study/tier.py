"""A latency tier: how much an encoder sees of what comes next. Standard library only: the DAG needs
it."""

import json
from dataclasses import dataclass
from typing import Any

from warmstart.run.errors import UserError

Seconds = float

FRAME_S: Seconds = 0.08  # 10 ms hop x 8-fold subsampling of the FastConformer encoder


@dataclass(frozen=True)
class Tier:
    """Attention context of the encoder, in frames of 80 ms.

    Attributes:
        left: frames of the past that a frame attends to.
        right: frames of the future; a chunk is right + 1 frames.
        offline: the whole utterance in one forward, with this context as mask.
    """

    name: str
    left: int
    right: int
    offline: bool = False

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> "Tier":
        """Read what `as_json` gives.

        Raises:
            UserError: a key is missing or unknown.
        """
        try:
            return cls(**value)
        except TypeError as error:
            raise UserError(
                f"--tier {json.dumps(value)}: {error}; needed: name, left, right, offline"
            ) from None

    def as_json(self) -> dict[str, Any]:
        """The form in which programs receive a tier."""
        return {"name": self.name, "left": self.left, "right": self.right, "offline": self.offline}

    @property
    def context(self) -> list[int]:
        """`[left, right]`, NeMo's `att_context_size`."""
        return [self.left, self.right]

    @property
    def exportable(self) -> bool:
        """Whether a streaming step can be an ONNX graph.

        Windows repeat two frames of the one before; a stream's first one, which has none, is known
        by a cache that holds fewer.
        """
        return self.left >= 2

    @property
    def lookahead_ms(self) -> int:
        """Algorithmic latency of a chunk: (right + 1) * 80 ms, as the public models' cards count
        it."""
        return (self.right + 1) * round(FRAME_S * 1000)
