"""Length buckets: cuts of like length make a batch, so that little of it is padding."""

import itertools
from collections.abc import Sequence
from pathlib import Path

from warmstart.data import cut_lines
from warmstart.models.recipe import Recipe

Seconds = float


def inner_bounds(cuts_path: str | Path, settings: Recipe) -> list[Seconds]:
    """Bounds between the buckets of a training, rising; none = one bucket.

    Args:
        cuts_path: training cuts.
        settings: block `training`: `bucket_bins_s`, the bounds, or how many buckets; speed_perturb.
    """
    asked = settings["bucket_bins_s"]
    if isinstance(asked, int):
        return bounds(lengths(cuts_path, settings["speed_perturb"]), asked)
    return list(asked or [])


def lengths(cuts_path: str | Path, speeds: Sequence[float] = ()) -> list[Seconds]:
    """Of all cuts, at each speed at which they are heard, rising."""
    recorded = [cut_lines.duration_s(cut) for cut in cut_lines.read(cuts_path)]
    return sorted(length / speed for speed in speeds or [1.0] for length in recorded)


def bounds(rising: Sequence[Seconds], count: int) -> list[Seconds]:
    """Bounds of so many buckets that each holds as much audio: `count - 1` of them, or fewer where
    the cuts of one length fill several. A bound is the longest cut of its bucket.

    Args:
        rising: lengths of cuts, in order.
        count: of buckets.

    Source:
        Lhotse, `estimate_duration_buckets`. There the audio beyond a share is forgotten, which
        leaves too little for the last bucket.
    """
    total, heard, full, found = sum(rising), 0.0, 0, list[Seconds]()
    for shorter, longer in itertools.pairwise(rising):
        heard += shorter
        # Rounding must not split what is equal.
        shares = int(heard * count / total + 1e-9)
        if longer > shorter and shares > full:
            found.append(shorter)
            full = shares
    return found
