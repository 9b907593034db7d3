"""What an interval is of, in words: where every run was trained once, noise between trainings is
not in it, and no sentence may sound as if it were. Standard library only."""

import math
from collections.abc import Iterable

THESE = "these trainings"
RECIPE = "the recipe"


def interval_of(training_error: float) -> str:
    """What the interval of a row is of: `these trainings`, or `the recipe` where the noise of
    training is in it.

    Args:
        training_error: standard error by trainings alone; NaN where nothing is known of it.
    """
    return THESE if math.isnan(training_error) else RECIPE


def of_trainings(training_errors: Iterable[float]) -> str:
    """What stands behind a confidence, from the errors by trainings of all that it is about:
    nothing where they are in it."""
    known = {interval_of(one) for one in training_errors} or {THESE}
    if known == {RECIPE}:
        return ""
    if known == {THESE}:
        return f" of {THESE}"
    return f" (of {THESE} where each was done once)"


def interval_name(level: str, training_errors: Iterable[float], *, plural: bool = False) -> str:
    """`95 % interval of these trainings`.

    Args:
        level: confidence in percent, as it is written.
        training_errors: see `interval_of`, of all intervals that are meant.
        plural: `95 % intervals ...`.
    """
    return f"{level} % interval{'s' if plural else ''}{of_trainings(training_errors)}"
