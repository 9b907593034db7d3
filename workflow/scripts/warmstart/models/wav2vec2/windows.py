"""Long recordings in overlapping windows."""

from collections.abc import Iterator
from typing import NamedTuple

WINDOW_S = 30.0
"""Longer recordings are heard in windows of so many seconds."""

EDGE_S = 4.0
"""Of a window: what it hears beside the frames that are taken from it, on each side."""


class Window(NamedTuple):
    """A piece of a recording.

    Attributes:
        start, end: what it hears, in units of what the encoder is given.
        first, last: its frames that are taken, from the one to before the other; None: to its end.
    """

    start: int
    end: int
    first: int
    last: int | None


def windows(length: int, window: int, edge: int, stride: int) -> Iterator[Window]:
    """A recording in one piece, or in windows.

    A window begins at a whole frame. Its frames count from `edge` after its start (the first one's
    from its start) to `edge` before its end (the last one's to its end), so that each frame of the
    recording is taken once, with at least so much on both sides.

    Args:
        length: of the recording, in units.
        window: of a window, in frames.
        edge: in frames.
        stride: units from one frame to the next.
    """
    start, units = 0, window * stride
    while True:
        first = 0 if start == 0 else edge
        if start + units >= length:
            yield Window(start, length, first, None)
            return
        yield Window(start, start + units, first, window - edge)
        start += units - 2 * edge * stride
