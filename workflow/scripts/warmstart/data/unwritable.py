"""What the coverage report of a tokenizer says, in sentences and as a refusal.

Standard library only, because a dry run reads the reports that are there.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from warmstart.run.errors import UserError

_SHOWN = 12  # characters in a message


def parts(made: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """(what it is of, coverage) of a report: the training text, then each test set. That of an init
    as published has no training text."""
    if "train" in made:
        yield "the training text", made["train"]
    for name, found in made["tests"].items():
        yield f"test set {name}", found


def share(found: Mapping[str, Any]) -> float | None:
    """Of the characters or phones of a text those that cannot be written; None of a report that was
    written before they were counted."""
    if "characters" not in found:
        return None
    return sum(found["unwritable"].values()) / max(1, found["characters"])


def sentences(made: Mapping[str, Any]) -> list[str]:
    """A sentence for each text with something that no hypothesis can contain."""
    return [
        f"{name} has {_counted(found)} that no hypothesis can contain: {_listed(found)}"
        for name, found in parts(made)
        if found["unwritable"]
    ]


def require(made: Mapping[str, Any], most: float | None, of: str) -> None:
    """Refuse tokens that cannot write too much.

    Args:
        most: `tokenizer.unwritable_share_max`; None = nothing is too much.
        of: whose tokens they are, for the message.

    Raises:
        UserError: with the text, the share, what it is and the remedies.
    """
    for name, found in parts(made):
        missing = share(found)
        if most is not None and missing is not None and missing > most:
            raise UserError(
                f"{of}: {name} has {_counted(found)} that its tokens cannot write ({_listed(found)}"
                f"), more than tokenizer.unwritable_share_max = {most:g}: take other tokens (arms."
                "NAME.tokens), write these letters as others (text.replace), give the languages "
                "more text, or raise the limit"
            )


def _counted(found: Mapping[str, Any]) -> str:
    times, missing = sum(found["unwritable"].values()), share(found)
    what = ("phone" if "empty" in found else "character") + ("s" if times != 1 else "")
    return f"{times} {what}" + (f" ({100 * missing:.2g} %)" if missing is not None else "")


def _listed(found: Mapping[str, Any]) -> str:
    named = [f"{unit} {times}" for unit, times in found["unwritable"].items()]
    more = f", and {len(named) - _SHOWN} more" if len(named) > _SHOWN else ""
    return ", ".join(named[:_SHOWN]) + more
