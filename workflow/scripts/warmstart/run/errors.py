"""The one exception a user is meant to read."""


class UserError(Exception):
    """Input that a person can mend: the message names the thing, the value and the remedy.

    Programs print it as one line without a traceback and exit with status 1 (`cli.run`).
    """


class Damaged(UserError):
    """A file that this workflow wrote and that is no longer whole."""
