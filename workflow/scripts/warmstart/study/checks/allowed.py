"""A value among those that there are, a path that can be an input."""

import re
from collections.abc import Iterable
from pathlib import Path

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


def require_input(place: str, path: str | Path) -> None:
    """Refuse a path that Snakemake cannot have as an input, because it takes a word in braces for a
    wildcard and knows no way around it (snakemake.io.WILDCARD_REGEX).

    Raises:
        UserError: with the key and the path.
    """
    if found := re.search(r"\{\s*\w+\s*(,[^{}]*)?\}", str(path)):
        raise UserError(
            f"{place} leads to {str(path)!r}, and Snakemake takes {found[0]} for a wildcard: "
            "rename the file or folder, or make a link to it without braces"
        )
