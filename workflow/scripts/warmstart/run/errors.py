"""The one exception a user is meant to read, and the name that was meant by a misspelt one."""

import difflib
from collections.abc import Iterable

from warmstart.run.secrets import redact


class UserError(Exception):
    """Input that a person can mend: the message names the thing, the value and the remedy.

    Programs print it as one line without a traceback and exit with status 1 (`cli.run`). It often
    quotes what a library or a server said, so credentials are taken out here.
    """

    def __init__(self, *arguments: object):
        super().__init__(
            *(redact(given) if isinstance(given, str) else given for given in arguments)
        )


class Damaged(UserError):
    """A file that this workflow wrote and that is no longer whole."""


def first_line(error: BaseException) -> str:
    """What an exception says, without the advice that some libraries go on with; the name of its
    class where it says nothing."""
    return (str(error).splitlines() or [type(error).__name__])[0]


# Above difflib's own 0.6, at which `ears` is near `header`; `owm` and `own` are at 0.67.
_ALIKE = 0.65
_PART = 4  # letters that a part has at least: `layers` of `encoder_layers`


def did_you_mean(value: object, known: Iterable[str]) -> str:
    """The nearest of the names that there are, for a message about one that there is not.

    Capitals, and - for _, are no difference; of longer names a part will do. A name is never
    answered with itself.

    Args:
        value: what was written.
        known: what could have been.

    Returns:
        " (did you mean 'own'?)" with a blank in front, or the empty string where nothing is near.
    """
    forms: dict[str, str] = {}
    for name in known:
        if name != value:
            forms.setdefault(_form(name), name)
    meant = _form(str(value))
    near = difflib.get_close_matches(meant, forms, n=1, cutoff=_ALIKE)
    if not near and len(meant) >= _PART:
        near = sorted((form for form in forms if meant in form), key=len)[:1]
    return f" (did you mean {forms[near[0]]!r}?)" if near else ""


def _form(name: str) -> str:
    return name.strip().casefold().replace("-", "_")
