"""Is there room on the disk for the environment? `make` asks before pip fetches anything.

It reads how large the environment is now and how much is free. It writes one line for each disk
that is too small, and then ends with status 1. Standard library only, because nothing else is
installed yet.

    .venv/bin/python tools/room_for_environment.py --venv .venv --goal demo
"""

import argparse
import os
import shutil
import sys
import tempfile
from pathlib import Path
from typing import NamedTuple

GIB = 2**30
# The environment when it is done, with a little air: 6.3 GB as measured.
ENVIRONMENT_GB = 6.5
# pip keeps the wheels that it fetched in its temporary folder until all of them are installed.
WHEELS_GB = 3.5


class Disk(NamedTuple):
    """A file system: what tells it from others, where it is mounted, and what a user may still
    write on it."""

    device: int
    mount: str
    free_gb: float


def shortages(needs: list[tuple[Disk, float]]) -> list[tuple[str, float, float]]:
    """What is missing, over needs that may fall on one disk.

    Args:
        needs: a disk, and the gigabytes that something will take of it.

    Returns:
        (mount point, gigabytes needed, gigabytes free) of every disk with less room than that.
    """
    disks = {disk.device: disk for disk, _ in needs}
    wanted = {device: sum(gb for disk, gb in needs if disk.device == device) for device in disks}
    return [
        (disk.mount, wanted[device], disk.free_gb)
        for device, disk in disks.items()
        if disk.free_gb < wanted[device]
    ]


def disk_of(folder: Path) -> Disk:
    """The disk on which a folder lies, or will lie once it is made."""
    here = folder.resolve()
    while not here.exists():
        here = here.parent
    device, free_gb = here.stat().st_dev, shutil.disk_usage(here).free / GIB
    while not os.path.ismount(here):
        here = here.parent
    return Disk(device, str(here), free_gb)


def size_gb(folder: Path) -> float:
    """Gigabytes that a folder takes on the disk, links not followed; 0 where there is none."""
    blocks = 0
    for place, _, names in os.walk(folder):
        blocks += sum(os.lstat(os.path.join(place, name)).st_blocks for name in names)
    return blocks * 512 / GIB


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--venv", type=Path, required=True, help="folder of the environment")
    parser.add_argument("--goal", default="", help="what make was asked for, for the advice")
    parser.add_argument("--environment-gb", type=float, default=ENVIRONMENT_GB, help="%(default)s")
    parser.add_argument("--wheels-gb", type=float, default=WHEELS_GB, help="%(default)s")
    chosen = parser.parse_args()
    needs = [
        (disk_of(chosen.venv), chosen.environment_gb - size_gb(chosen.venv)),
        (disk_of(Path(tempfile.gettempdir())), chosen.wheels_gb),
    ]
    missing = shortages(needs)
    for mount, needed_gb, free_gb in missing:
        print(
            f"Installing the environment takes {needed_gb:.1f} GB more of the disk at {mount}, "
            f"where {free_gb:.1f} GB are free. Make room, or name folders on other disks: "
            f"TMPDIR=/folder make VENV=/folder/venv {chosen.goal}".rstrip(),
            file=sys.stderr,
        )
    sys.exit(1 if missing else 0)


if __name__ == "__main__":
    main()
