"""Who could have written a file: what runs code when it is read must come from this user."""

import logging
import os
import stat
import tempfile
from pathlib import Path

from warmstart.run.errors import UserError

logger = logging.getLogger(__name__)

_OTHERS_WRITE = stat.S_IWGRP | stat.S_IWOTH


def require_ours(path: Path) -> None:
    """Refuse a file that somebody else than this user (or the machine's administrator) could have
    written, or put in its place.

    Raises:
        UserError: naming the file or its folder, its owner or mode, and what to do.
    """
    for place in (path, path.parent):
        about = place.stat()
        if about.st_uid not in (os.geteuid(), 0):
            raise UserError(
                f"{place} belongs to user {about.st_uid}, not to you ({os.geteuid()}): somebody "
                "else could have written a checkpoint that runs commands; train in a folder of "
                "your own, or remove it if you do not know it"
            )
        # In a sticky folder, such as /tmp, others cannot replace a file.
        sticky = place != path and about.st_mode & stat.S_ISVTX
        if about.st_mode & _OTHERS_WRITE and not sticky and _keeps_modes(path.parent):
            raise UserError(
                f"{place} can be written by others (mode {stat.S_IMODE(about.st_mode):o}): "
                "somebody else could have written a checkpoint that runs commands; if you know "
                f"that it is yours, `chmod go-w {place}` and start again, otherwise remove it"
            )


def forbid_others(descriptor: int) -> None:
    """Take the right to write from all others, also where the folder gives it (access control
    lists do, whatever the umask)."""
    mode = stat.S_IMODE(os.fstat(descriptor).st_mode)
    if mode & _OTHERS_WRITE:
        os.fchmod(descriptor, mode & ~_OTHERS_WRITE)


def _keeps_modes(folder: Path) -> bool:
    """Whether a file system knows who may write; some of Windows and of networks show the same for
    all files."""
    try:
        with tempfile.TemporaryFile(dir=folder) as stream:
            os.fchmod(stream.fileno(), 0o600)
            kept = not os.fstat(stream.fileno()).st_mode & _OTHERS_WRITE
    except OSError:
        return True
    if not kept:
        logger.warning("%s: this file system does not say who may write a file", folder)
    return kept
