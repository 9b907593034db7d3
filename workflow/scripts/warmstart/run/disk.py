"""What a disk may do to a file: run full, lose what was not flushed, refuse to be written. Standard
library only."""

import errno
import os
import shutil
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path

# A full file system, a quota, the limit of a file's size (`ulimit -f`).
NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
# Libraries in C++ pass the words on and not the number.
_NO_ROOM_SAID = tuple(os.strerror(number) for number in NO_ROOM)
_HARDLY_BYTES = 16 << 20
_REFUSED = {
    errno.EACCES: "allow this user to read and write there",
    errno.EPERM: "allow this user to read and write there",
    errno.EROFS: "the file system is mounted read-only: take another folder, or mount it anew",
    errno.EIO: "the disk or its server fails: look at `dmesg`, or ask who runs it",
    errno.ESTALE: "the file server has lost the file: start again, or mount the folder anew",
    errno.EMFILE: "raise the limit of open files (`ulimit -n`)",
}


# Folders that this program writes into, for errors that name no file.
_written: list[Path] = []


def writes_into(folders: Iterable[Path]) -> None:
    """Tell which folders this program writes into."""
    _written[:] = folders


def flush(path: str | Path) -> None:
    """Bring a file, or the names in a folder, to the disk (fsync(2)). A file system that cannot do
    it for a folder is left alone."""
    try:
        descriptor = os.open(path, os.O_RDONLY)
    except PermissionError:  # a folder that may be written and not listed
        return
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP, errno.ENOSYS):
            error.filename = str(path)
            raise
    finally:
        os.close(descriptor)


def flush_all(folder: Path) -> None:
    """Bring everything under a folder to the disk."""
    for path in sorted(folder.rglob("*")):
        flush(path)
    flush(folder)


def name_file(error: BaseException, path: str | Path, temporary: Path | None = None) -> None:
    """Tell the cause of `error`, where it is a full disk without a name, which file was written.

    Not where the folder of temporary files has less room: something in it was written then.

    Args:
        path: that was being written.
        temporary: the name that it had meanwhile.
    """
    cause = _cause(error)
    if not isinstance(cause, OSError):
        return
    folder, scratch = Path(path).parent, Path(tempfile.gettempdir())
    if temporary is not None and cause.filename is not None:
        # A copy names its source first.
        named = cause.filename2 if cause.filename2 is not None else cause.filename
        if Path(os.fsdecode(named)) == temporary:
            cause.filename = str(path)
    elif cause.filename is None and _free(folder) <= _free(scratch):
        cause.filename = str(path)


def no_room(error: BaseException) -> str | None:
    """One line for an error whose cause is that a disk, a quota or a file-size limit is full: file,
    room that is left, remedy. None where the cause is another one."""
    cause = _cause(error)
    if cause is None:
        return None
    said = getattr(cause, "strerror", None) or next(
        words for words in _NO_ROOM_SAID if words in str(cause)
    )
    scratch = Path(tempfile.gettempdir())
    name = getattr(cause, "filename", None)
    if name is None:
        folders = _fullest([scratch, *_written, Path.cwd()])
        what = "no room to write a file"
    else:
        name = os.fsdecode(name)
        folders = [_existing(Path(name).parent)]
        what = f"{name}: no room to write it"
    if getattr(cause, "errno", None) == errno.EFBIG:
        return f"{what} ({said}); raise the limit (`ulimit -f`), then the same command goes on"
    rooms = ", ".join(f"{_free(folder) / 1e6:.0f} MB free in {folder}" for folder in folders)
    remedy = "free or raise the space"
    if any(_of_temporary_files(folder, scratch) for folder in folders):
        remedy += ", or set TMPDIR to a folder with room"
    return f"{what} ({said}; {rooms}); {remedy}, then the same command goes on from what is there"


def refused(error: BaseException) -> str | None:
    """One line for a file that the operating system does not let us read or write; None of any
    other error."""
    if not isinstance(error, OSError) or error.filename is None or error.errno not in _REFUSED:
        return None
    return f"{os.fsdecode(error.filename)}: {error.strerror}; {_REFUSED[error.errno]}"


def _cause(error: BaseException) -> BaseException | None:
    """What among an error and those behind it says that there is no room."""
    for one in _behind(error):
        if isinstance(one, OSError) and one.errno in NO_ROOM:
            return one
    for one in _behind(error):
        if any(words in str(one) for words in _NO_ROOM_SAID):
            return one
    return None


def _behind(error: BaseException) -> Iterator[BaseException]:
    """The error, then what it was raised from or during, in turn."""
    one: BaseException | None = error
    seen: set[int] = set()
    while one is not None and id(one) not in seen:
        seen.add(id(one))
        yield one
        # torch says that its archive is cut short; the reason is the exception behind that one.
        one = one.__cause__ or one.__context__


def _fullest(folders: Iterable[Path]) -> list[Path]:
    """Of some folders those with hardly any room, by file system; all of them where none is so: a
    quota is not seen."""
    by_device = {}
    for folder in map(_existing, folders):
        by_device.setdefault(folder.stat().st_dev, folder)
    found = list(by_device.values())
    return [folder for folder in found if _free(folder) < _HARDLY_BYTES] or found


def _of_temporary_files(folder: Path, scratch: Path) -> bool:
    inside = folder == scratch or scratch in folder.parents
    return inside and folder.stat().st_dev == scratch.stat().st_dev


def _free(folder: Path) -> int:
    return shutil.disk_usage(_existing(folder)).free


def _existing(folder: Path) -> Path:
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent
    return folder
