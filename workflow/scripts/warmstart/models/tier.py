"""A latency tier: how much an encoder sees of what comes next. Standard library only: the DAG needs
it."""

from dataclasses import dataclass
from typing import Any

from warmstart.run.errors import UserError

Seconds = float

# What a tier counts in, whatever the family: tiers are an axis of the study, and arms of two
# families share them. A family with other frames converts.
UNIT_MS = 80


@dataclass(frozen=True)
class Tier:
    """How much an encoder may hear, in units of 80 ms (`UNIT_MS`).

    Attributes:
        left: units of the past that each one attends to.
        right: units of the future; a chunk is right + 1.
        offline: the whole utterance in one forward, with this context as mask.
    """

    name: str
    left: int
    right: int
    offline: bool = False

    @classmethod
    def of_text(cls, text: str) -> "Tier":
        """Read what `as_text` gives: `560ms:70:6`, or `offline:70:13:offline`.

        Raises:
            UserError: another form.
        """
        name, *rest = text.split(":")
        sizes, marks = rest[:2], rest[2:]
        whole = len(sizes) == 2 and all(size.isdigit() for size in sizes)
        if not (name and whole) or marks not in ([], ["offline"]):
            raise UserError(
                f"tier {text!r} is not NAME:LEFT:RIGHT or NAME:LEFT:RIGHT:offline, e.g. 560ms:70:6"
            )
        return cls(name, int(sizes[0]), int(sizes[1]), bool(marks))

    def as_text(self) -> str:
        """The form in which programs receive a tier."""
        return f"{self.name}:{self.left}:{self.right}{':offline' if self.offline else ''}"

    def as_json(self) -> dict[str, Any]:
        """The form in which files hold a tier."""
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
        return (self.right + 1) * UNIT_MS
