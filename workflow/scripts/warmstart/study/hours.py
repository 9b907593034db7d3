"""Arithmetic of budgets that paths, checks and planners share. Standard library only."""


def format_hours(hours: float) -> str:
    """A budget as it stands in paths: `100`, `0.02`; never an exponent, never trailing zeros."""
    return f"{hours:.6f}".rstrip("0").rstrip(".")


def replayed_hours(budget_hours: float, fraction: float) -> float:
    """Hours of another language that lie beside a budget when they are `fraction` of both
    together."""
    return budget_hours * fraction / (1 - fraction)
