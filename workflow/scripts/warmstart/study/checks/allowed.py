"""A value among those that there are."""

import difflib
from collections.abc import Iterable

from warmstart.run.errors import UserError


def require(place: str, value: str, allowed: Iterable[str]) -> None:
    """Refuse a value that is not among `allowed`.

    Raises:
        UserError: with the nearest allowed one, and all of them.
    """
    known = list(allowed)
    if value not in known:
        near = difflib.get_close_matches(value, known, n=1)
        hint = f" (did you mean {near[0]!r}?)" if near else ""
        raise UserError(
            f"config: {place} has {value!r}{hint}; allowed: {', '.join(sorted(known)) or 'none'}"
        )
