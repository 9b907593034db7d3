"""A value among those that there are."""

from collections.abc import Iterable

from warmstart.run.errors import UserError, did_you_mean


def require(place: str, value: str, allowed: Iterable[str]) -> None:
    """Refuse a value that is not among `allowed`.

    Raises:
        UserError: with the nearest allowed one, and all of them.
    """
    known = list(allowed)
    if value not in known:
        raise UserError(
            f"config: {place} has {value!r}{did_you_mean(value, known)}; allowed: "
            f"{', '.join(sorted(known)) or 'none'}"
        )
