"""What planned hours cost in money and in energy, where the configuration says what an hour costs.
Standard library only."""

from collections.abc import Mapping
from typing import Any


def lines(planning: Mapping[str, Any], gpu_h: float, core_h: float) -> list[str]:
    """A line for money and one for energy; none of what the configuration does not price.

    Args:
        planning: the block `planning` of a validated configuration.
        gpu_h, core_h: GPU and core hours.
    """
    found, currency = [], planning["currency"]
    priced = ((gpu_h, "gpu_hour_price", "GPU"), (core_h, "core_hour_price", "core"))
    parts = [
        (hours, price, f"{hours:,.1f} {what} h at {price:g} (planning.{key})")
        for hours, key, what in priced
        if (price := planning[key]) is not None
    ]
    if parts:
        total = sum(hours * price for hours, price, _ in parts)
        said = " + ".join(words for _, _, words in parts)
        found.append(f"{total:,.2f} {currency}: {said}")
    if (watts := planning["gpu_watts"]) is not None:
        found.append(
            f"{gpu_h * watts / 1000:,.1f} kWh: {gpu_h:,.1f} GPU h at {watts:g} W "
            "(planning.gpu_watts), without cooling and hosts"
        )
    return found


def text(planning: Mapping[str, Any], gpu_h: float, core_h: float) -> str:
    """The same as lines of a plan, after an empty one; empty where nothing is priced."""
    found = lines(planning, gpu_h, core_h)
    return "".join(f"\n{line}" for line in ["", *found]) if found else ""
