"""Cells and tables of the page: text, sort value and class, so that the template only places
them."""

import math
from typing import Any

_FARTHEST_HOURS = 1e6  # more labelled speech than any corpus of today has, all languages together


def cell(
    value: Any,
    digits: int | None = None,
    *,
    unit: str = "",
    tag: str = "",
    wide: bool = False,
    signed: bool = False,
) -> dict:
    """A table cell: text, what it sorts by, and its class. Missing numbers show as a dash and sort
    last."""
    if digits is None:
        text = (
            "" if value is None or (isinstance(value, float) and math.isnan(value)) else str(value)
        )
        return {"text": text or "–", "sort": None, "kind": "wide" if wide else "", "tag": tag}
    known = value is not None and not (isinstance(value, float) and math.isnan(value))
    number = (
        f"{value:{'+' if signed else ''},.{digits}f}"
        if known and math.isfinite(value)
        else "∞"
        if known
        else "–"
    )
    return {
        "text": number + (unit if known else ""),
        "sort": value if known else "",
        "kind": "n",
        "tag": "",
    }


def within_reach(hours: float) -> float:
    """Hours as they are, infinity where nobody will ever have so many: a law extrapolated that far
    says 'never'."""
    return math.inf if hours > _FARTHEST_HOURS else hours


def hours_cell(hours: float) -> dict:
    """A budget: whole hours, or hundredths below one hour; 0 is a donor as it is, infinity stands
    for all budgets."""
    if hours == 0:
        return cell(0.0, 0) | {"text": "0 (as it is)"}
    if math.isinf(hours):
        return cell(hours, 0) | {"text": "all", "sort": 1e12}
    return cell(hours, 2 if hours < 1 else 0)


def p_cell(p: float) -> dict:
    """A p-value; one that rounds to nothing is no zero."""
    return cell(p, 3) | ({"text": "<0.001"} if p < 0.0005 else {})


def interval_cell(low: float, high: float, digits: int = 2, *, signed: bool = True) -> dict:
    """A cell with an interval, sorted by its low end."""
    if low is None or math.isnan(low):
        return {"text": "not estimable", "sort": "", "kind": "n", "tag": ""}
    return {
        "text": interval_text(low, high, digits, signed=signed),
        "sort": low,
        "kind": "n",
        "tag": "",
    }


def interval_text(low: float, high: float, digits: int = 2, *, signed: bool = True) -> str:
    """`[+0.12, +0.80]`, with ∞ where a bound is infinite."""
    sign = "+" if signed else ""
    return (
        "["
        + ", ".join(
            f"{x:{sign},.{digits}f}" if math.isfinite(x) else ("∞" if x > 0 else "−∞")
            for x in (low, high)
        )
        + "]"
    )


def sheet(
    name: str,
    heads: list[str],
    rows: list[list[dict]],
    *,
    sortable: bool = False,
    filters: list[dict] | None = None,
) -> dict:
    """A table for the template; a column is numeric when its cells are."""
    numeric = [any(row[place]["kind"] == "n" for row in rows) for place in range(len(heads))]
    heads = [
        {"label": label, "numeric": number} for label, number in zip(heads, numeric, strict=True)
    ]
    return {
        "id": f"table-{name}",
        "heads": heads,
        "rows": rows,
        "sortable": sortable,
        "filters": filters or [],
    }
