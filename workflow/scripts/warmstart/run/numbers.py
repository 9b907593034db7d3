"""Small arithmetic that several rooms need."""

import math
from collections.abc import Sequence


def percentile(values: Sequence[float], share: float) -> float | None:
    """The value below which `share` of `values` lie (nearest rank), None of nothing."""
    if not values:
        return None
    ordered = sorted(values)
    # Less a hair: 0.95 * 20 is a little over 19 in floating point.
    return ordered[max(0, math.ceil(share * len(ordered) - 1e-9) - 1)]
