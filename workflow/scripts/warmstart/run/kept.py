"""Second names for finished outputs, which survive that Snakemake clears a job's outputs away.

Snakemake removes the outputs of a job before it starts it. A job whose inputs were made anew and
turned out the same would then do weeks of work for the bytes that were there. A second name (a hard
link) costs no room, and the program gives the first name back where nothing that matters differs.
"""

import json
import logging
import os
import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from warmstart.run import files

FOLDER = ".kept"

logger = logging.getLogger(__name__)


def path_of(output: str | Path) -> Path:
    """The second name of an output, in a hidden folder beside it."""
    output = Path(output)
    return output.parent / FOLDER / output.name


def keep(outputs: Iterable[str | Path]) -> None:
    """Give finished outputs a second name; where the file system has no hard links, do nothing."""
    for output in map(Path, outputs):
        second = path_of(output)
        try:
            second.parent.mkdir(exist_ok=True)
            second.unlink(missing_ok=True)
            os.link(output, second)
        except OSError as error:
            logger.info("%s is not kept under a second name: %s", output, error)


def give_back(outputs: Iterable[str | Path]) -> None:
    """Give outputs that were removed their first name back; none where one has no second name.

    Whether they are the ones that are wanted is for the caller to see.
    """
    missing = [output for output in map(Path, outputs) if not output.exists()]
    if not all(path_of(output).is_file() for output in missing):
        return
    for output in missing:
        _name(path_of(output), output)


def vouch(folder: str | Path, identity: dict[str, Any], outputs: Iterable[str | Path]) -> None:
    """Keep the outputs of a job and write down what they were made of.

    Args:
        folder: of the outputs.
        identity: everything they depend on, as JSON values.
        outputs: finished files in that folder.
    """
    outputs = [Path(output) for output in outputs]
    keep(outputs)
    digests = {output.name: files.digest(output) for output in outputs}
    files.write_json(_record(folder), {"identity": identity, "digests": digests})


def take_back(
    folder: str | Path,
    identity: dict[str, Any],
    outputs: Iterable[str | Path],
    give: bool = True,
) -> bool:
    """Give back what was made of exactly this, and is whole.

    Args:
        folder, identity, outputs: see `vouch`.
        give: False in all processes of a job but the first: they look, and change nothing.

    Returns:
        Whether all outputs are there now; if not, none was touched.
    """
    outputs = [Path(output) for output in outputs]
    record = files.read_if_whole(_record(folder), dict, "the outputs are made again", aside=give)
    # As it is read back: a tuple is a list by then.
    if record is None or record.get("identity") != json.loads(json.dumps(identity)):
        return False
    seconds = {output: path_of(output) for output in outputs}
    digests = record.get("digests", {})
    for output, second in seconds.items():
        if not second.is_file() or files.digest(second) != digests.get(output.name):
            logger.warning("%s is not what %s says; not used", second, _record(folder))
            return False
    for output, second in seconds.items() if give else ():
        output.unlink(missing_ok=True)
        _name(second, output)
        # It was compared with its inputs now, and Snakemake looks at times first.
        os.utime(output)
    return True


def _name(second: Path, output: Path) -> None:
    """Give a file its first name back; a copy where the file system has no hard links."""
    try:
        os.link(second, output)
    except OSError:
        with files.atomic_path(output) as temporary:
            shutil.copyfile(second, temporary)


def _record(folder: str | Path) -> Path:
    return Path(folder) / FOLDER / "made_of.json"
