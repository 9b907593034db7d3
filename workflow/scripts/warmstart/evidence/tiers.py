"""The order of latency tiers. Standard library only."""

import re
from collections.abc import Iterable, Mapping, Sequence

_MS = re.compile(r"(\d+)ms")


def by_latency(
    tiers: Iterable[str], lookahead_ms: Mapping[str, float | None] | None = None
) -> list[str]:
    """Tiers from the quickest to the slowest; those that wait for the whole utterance come last.

    Args:
        tiers: names.
        lookahead_ms: name -> audio that is waited for, None of an offline tier. A tier that is not
            in it is taken at its name (`160ms`); one without a number in its name stands behind
            those with one, where it stood among its like.
    """
    known = lookahead_ms or {}

    def latency(tier: str) -> float:
        if tier in known:
            return float("inf") if (waits := known[tier]) is None else float(waits)
        named = _MS.fullmatch(tier)
        return float(named[1]) if named else float("inf")

    return sorted(dict.fromkeys(tiers), key=latency)


def place_of(tier: str, order: Sequence[str]) -> tuple[int, float, str]:
    """What a tier is sorted by.

    Args:
        tier: its name.
        order: tiers as `by_latency` gives them; one that is not among them stands behind all, by
            its name.
    """
    if tier in order:
        return order.index(tier), 0.0, tier
    named = _MS.fullmatch(tier)
    return len(order), float(named[1]) if named else float("inf"), tier
