"""How many optimizer steps a run takes: asked for before training and by the planners. Standard
library only."""

import math

from warmstart.models.recipe import Steps
from warmstart.run.errors import UserError


def heard_hours(hours: float, replayed: float = 0.0, speeds: list[float] | None = None) -> float:
    """What an epoch sounds like: a budget, what is replayed beside it, all at the speeds of the
    recipe.

    Args:
        hours: of the budget, all languages together.
        replayed: share of a replayed language in all that is heard.
        speeds: `speed_perturb` of the recipe.
    """
    return hours / (1 - replayed) * stretch(speeds)


def stretch(speeds: list[float] | None) -> float:
    """How much longer an epoch is than its recordings, on average."""
    return sum(1 / speed for speed in speeds) / len(speeds) if speeds else 1.0


def resolve_steps(settings: Steps, hours: float, batch_duration_s: float) -> int:
    """Optimizer steps for a budget.

    Args:
        settings: `{fixed: N}`, or `{epochs: E, min: .., max: ..}`: E passes over the budget, within
            bounds (inclusive).
        hours: audio in the budget.
        batch_duration_s: audio in a batch.
    """
    fixed, epochs = settings.get("fixed"), settings.get("epochs")
    if (fixed is None) == (epochs is None):
        raise UserError(
            f"training.steps is {settings}; give either `fixed` or `epochs` (with optional `min`, "
            "`max`)"
        )
    if fixed is not None:
        return int(fixed)
    assert epochs is not None
    steps = math.ceil(epochs * hours * 3600 / batch_duration_s)
    return int(min(max(steps, settings.get("min", 1)), settings.get("max", steps)))
