"""Values of a `config.json`, each with its type and range. Standard library only."""

from collections.abc import Callable, Mapping
from typing import Any

from warmstart.run.errors import UserError

ACTIVATIONS = ("gelu", "gelu_new", "relu", "silu", "swish")

NO_POSITIONS = "none"
"""Where `position_embeddings_type` is null, which is another encoder than one that is silent."""

Key = tuple[Callable[[Any], Any], Any]
"""Check of a value, and what a configuration that is silent means."""


class NotFit(ValueError):
    """A value that no encoder has; says what it must be."""


def read_keys(known: Mapping[str, Key], given: Mapping[str, Any], where: str) -> dict[str, Any]:
    """Checked values of all known keys.

    Args:
        known: key -> its check and default.
        given: of a file of settings; other keys are left where they are, null means the default.
        where: the init, for messages.

    Raises:
        UserError: with the first key that does not fit, its value and what it must be.
    """
    made = {}
    for key, (check, default) in known.items():
        value = given.get(key)
        try:
            made[key] = default if value is None else check(value)
        except NotFit as error:
            raise UserError(f"{where}: {key} is {value!r}; it must be {error}") from None
    return made


def count(most: int) -> Callable[[Any], int]:
    """A whole number from 1 to `most`."""

    def check(value: Any) -> int:
        if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= most:
            raise NotFit(f"a whole number from 1 to {most}")
        return value

    return check


def counts(most: int) -> Callable[[Any], list[int]]:
    """A list of 1 to 16 whole numbers."""
    one = count(most)

    def check(value: Any) -> list[int]:
        if not isinstance(value, list) or not 1 <= len(value) <= 16:
            raise NotFit("a list of 1 to 16 whole numbers")
        return [one(each) for each in value]

    return check


def share(value: Any) -> float:
    """A part of one, never the whole."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < 1:
        raise NotFit("a number from 0 up to, but not, 1")
    return float(value)


def small(value: Any) -> float:
    """What keeps a division from zero."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < 0.1:
        raise NotFit("a number above 0 and below 0.1")
    return float(value)


def flag(value: Any) -> bool:
    """True or false."""
    if not isinstance(value, bool):
        raise NotFit("true or false")
    return value


def one_of(*names: str) -> Callable[[Any], str]:
    """One of some names."""

    def check(value: Any) -> str:
        if value not in names:
            raise NotFit(f"one of {', '.join(names)}")
        return str(value)

    return check


def exactly(only: int, why: str) -> Callable[[Any], int]:
    """One number, because no other has been published."""

    def check(value: Any) -> int:
        if isinstance(value, bool) or value != only:
            raise NotFit(f"{only}, {why}")
        return only

    return check
