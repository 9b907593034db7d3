"""Recordings that are longer than a window, cut where it is quiet."""

from collections.abc import Iterator

import numpy

LOOKED_S = 5.0
"""Before the end of a window: where a cut is looked for. Ours, because a pause between words is
found in five seconds of speech."""

QUIET_S = 0.2
"""How long a cut is quiet at best. Ours: a pause, and no closure of a stop (about 0.1 s)."""

_STEP_S = 0.02


def pieces(samples: numpy.ndarray, rate: int, window_s: float) -> Iterator[numpy.ndarray]:
    """A recording whole, or in pieces of at most a window.

    A cut lies in the middle of the quietest `QUIET_S` of a window's last `LOOKED_S`, the earliest
    of equally quiet ones.

    Args:
        samples: float32 (samples,).
        rate: Hz.
        window_s: of a piece at most.
    """
    most, looked = round(window_s * rate), round(LOOKED_S * rate)
    quiet, step = round(QUIET_S * rate), round(_STEP_S * rate)
    while len(samples) > most:
        tail = samples[most - looked : most].astype(numpy.float64)
        energy = numpy.concatenate([[0.0], numpy.cumsum(tail**2)])
        starts = numpy.arange(0, looked - quiet + 1, step)
        cut = most - looked + int(starts[numpy.argmin(energy[starts + quiet] - energy[starts])])
        cut += quiet // 2
        yield samples[:cut]
        samples = samples[cut:]
    yield samples
