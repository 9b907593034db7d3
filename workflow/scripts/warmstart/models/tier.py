"""A latency tier: how much an encoder sees of what comes next. Standard library only: the DAG needs
it."""

import re
from dataclasses import dataclass
from typing import Any

from warmstart.run.errors import UserError

Seconds = float

# What a tier counts in, whatever the family: tiers are an axis of the study, and arms of two
# families share them. A family with other frames converts.
UNIT_MS = 80

GIVEN, DETECTED = "given", "detected"
"""Whether a model that knows languages is told that of an utterance, or tells it itself."""

_TEXT = re.compile(
    r"(?P<name>[^:]+):(?P<left>\d+):(?P<right>\d+)"
    rf"(?P<offline>:offline(?P<detected>:{DETECTED})?(:window=(?P<window_s>\d+(\.\d+)?))?)?"
)


@dataclass(frozen=True)
class Tier:
    """How much an encoder may hear, in units of 80 ms (`UNIT_MS`).

    Attributes:
        left: units of the past that each one attends to.
        right: units of the future; a chunk is right + 1.
        offline: the whole utterance in one forward, with this context as mask.
        language: `GIVEN` or `DETECTED`, of models that know languages.
        window_s: what models that hear in windows hear at once; None: each model's own.
    """

    name: str
    left: int
    right: int
    offline: bool = False
    language: str = GIVEN
    window_s: Seconds | None = None

    @classmethod
    def of_text(cls, text: str) -> "Tier":
        """Read what `as_text` gives: `560ms:70:6`, or `offline:70:13:offline`, and behind the
        latter `:detected` and `:window=8`.

        Raises:
            UserError: another form.
        """
        found = _TEXT.fullmatch(text)
        if found is None:
            raise UserError(
                f"tier {text!r} is not NAME:LEFT:RIGHT or NAME:LEFT:RIGHT:offline, e.g. "
                f"560ms:70:6; behind offline may stand :{DETECTED} and :window=SECONDS"
            )
        return cls(
            found["name"],
            int(found["left"]),
            int(found["right"]),
            found["offline"] is not None,
            DETECTED if found["detected"] else GIVEN,
            float(found["window_s"]) if found["window_s"] else None,
        )

    def as_text(self) -> str:
        """The form in which programs receive a tier."""
        marks = ["offline"] if self.offline else []
        marks += [DETECTED] if self.language == DETECTED else []
        marks += [] if self.window_s is None else [f"window={self.window_s:g}"]
        return ":".join([self.name, str(self.left), str(self.right), *marks])

    def as_json(self) -> dict[str, Any]:
        """The form in which files hold a tier."""
        return {
            "name": self.name,
            "left": self.left,
            "right": self.right,
            "offline": self.offline,
            **self.of_languages(),
        }

    def of_languages(self) -> dict[str, Any]:
        """What it asks of models that know languages and hear in windows, as far as it asks."""
        asked: dict[str, Any] = {} if self.language == GIVEN else {"language": self.language}
        return asked if self.window_s is None else asked | {"window_s": self.window_s}

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
