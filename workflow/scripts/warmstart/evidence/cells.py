"""Cells of tables on the page: text, sort value and class, so that the template only places them.
Standard library only."""

import math
from dataclasses import dataclass, replace
from typing import Any

_FARTHEST_HOURS = 1e6  # more labelled speech than any corpus of today has, all languages together


@dataclass(frozen=True)
class Shown:
    """A cell as it is shown.

    Attributes:
        text: escaped by the template.
        sort: what it sorts by: a number, "" for a missing number (last), None for the text itself.
        kind: class of the cell: `n` for numbers, `wide` for text that may break, `short` for text
            that never does, or empty.
        tag: class of a coloured tag around the text, or empty.
    """

    text: str
    sort: float | str | None = None
    kind: str = ""
    tag: str = ""


def text_cell(value: Any, *, tag: str = "", wide: bool = False) -> Shown:
    """A cell of text; a dash where there is none."""
    known = not (value is None or (isinstance(value, float) and math.isnan(value)))
    return Shown((str(value) if known else "") or "–", kind="wide" if wide else "", tag=tag)


def number_cell(
    value: float | None, digits: int, *, unit: str = "", signed: bool = False, text: str = ""
) -> Shown:
    """A cell with a number; missing ones show as a dash and sort last. `text` stands for it where
    it is given."""
    if value is None or math.isnan(value):
        return Shown("–", "", "n")
    if text:
        return Shown(text, value, "n")
    number = written(value, digits, signed=signed)
    return Shown(number + unit, value, "n")


def written(value: float, digits: int, *, signed: bool = False) -> str:
    """A number with so many digits after the point; what rounds to zero has no sign."""
    if not math.isfinite(value):
        return "∞" if value > 0 else "−∞"
    rounded = round(value, digits)
    # Adding zero takes the sign from a zero.
    return f"{rounded + 0.0:{'+' if signed and rounded else ''},.{digits}f}"


def within_reach(hours: float) -> float:
    """Hours as they are, infinity where nobody will ever have so many: a law extrapolated that far
    says 'never'."""
    return math.inf if hours > _FARTHEST_HOURS else hours


def hours_cell(hours: float) -> Shown:
    """A budget with all its decimals, six at most; 0 is a donor as it is, infinity stands for all
    budgets."""
    if hours == 0:
        return replace(number_cell(0.0, 0), text="0 (as it is)")
    if math.isinf(hours):
        return Shown("all", 1e12, "n")
    return Shown(f"{hours:,.6f}".rstrip("0").rstrip("."), hours, "n")


def p_cell(p: float) -> Shown:
    """A p-value; one that rounds to nothing is no zero."""
    shown = number_cell(p, 3)
    return replace(shown, text="<0.001") if p < 0.0005 else shown


def interval_cell(low: float | None, high: float, digits: int = 2, *, signed: bool = True) -> Shown:
    """A cell with an interval, sorted by its low end."""
    if low is None or math.isnan(low):
        return Shown("not estimable", "", "n")
    return Shown(interval_text(low, high, digits, signed=signed), low, "n")


def interval_text(low: float, high: float, digits: int = 2, *, signed: bool = True) -> str:
    """`[+0.12, +0.80]`, with ∞ where a bound is infinite."""
    return f"[{', '.join(written(bound, digits, signed=signed) for bound in (low, high))}]"
