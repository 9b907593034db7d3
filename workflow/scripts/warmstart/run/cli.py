"""What every program's command line shares."""

import argparse
import json
import logging
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

from warmstart.run import disk, launchers
from warmstart.run.errors import UserError
from warmstart.run.logs import configure_logging, log_uncaught
from warmstart.run.secrets import redact


class _Parser(argparse.ArgumentParser):
    """Its errors quote arguments."""

    def error(self, message: str) -> NoReturn:
        super().error(redact(message))


def parser(description: str | None) -> argparse.ArgumentParser:
    """A parser with `--log`, which every rule passes."""
    made = _Parser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    made.add_argument(
        "--log", type=Path, default=None, help="also write all log records to this file"
    )
    return made


def json_value(text: str) -> Any:
    """Argument type: inline JSON, or `@FILE` with JSON or YAML in it.

    Raises:
        argparse.ArgumentTypeError: neither parses.
    """
    try:
        if text.startswith("@"):
            import yaml

            return yaml.safe_load(Path(text[1:]).read_text(encoding="utf-8"))
        return json.loads(text)
    except (ValueError, OSError) as error:
        raise argparse.ArgumentTypeError(
            f"not JSON, nor @FILE with JSON or YAML: {error}"
        ) from error


def named_path(text: str) -> tuple[str, Path]:
    """Argument type: `name=path`, e.g. `fleurs=results/manifests/fleurs/de/test.jsonl.gz`.

    Raises:
        argparse.ArgumentTypeError: no name before `=`.
    """
    name, equals, path = text.partition("=")
    if not equals or not name or not path:
        raise argparse.ArgumentTypeError(f"{text!r} is not NAME=PATH")
    return name, Path(path)


def version(parser: argparse.ArgumentParser, number: int) -> None:
    """Add the option by which a rule passes its stage's version.

    Args:
        parser: of the stage's program.
        number: of `study.versions`, for a program that is run by hand.
    """
    parser.add_argument(
        "--version",
        type=int,
        default=number,
        help="of the stage; nothing that another one made is continued or believed",
    )


class Paths(argparse.Action):
    """Argument action: paths; `@FILE` stands for those in FILE, one a line: a study has more than a
    command holds."""

    def __call__(self, parser, namespace, values, option_string=None):
        paths = []
        for value in values:
            if value.startswith("@"):
                try:
                    paths += [
                        Path(line)
                        for line in Path(value[1:]).read_text(encoding="utf-8").splitlines()
                        if line
                    ]
                except OSError as error:
                    parser.error(f"{option_string} {value}: {error.strerror}")
            else:
                paths.append(Path(value))
        setattr(namespace, self.dest, paths)


def start(arguments: argparse.Namespace, processes: int = 1) -> logging.Logger:
    """Set up logging, write every resolved setting to the log, return the program's logger.

    What the program makes nobody else may change, whatever the shell's umask.

    Args:
        arguments: of the command line.
        processes: of the run that this process is one of.
    """
    os.umask(os.umask(0) | 0o022)
    forgotten = launchers.forget(processes)
    disk.writes_into(_folders(arguments))
    configure_logging(arguments.log)
    if forgotten:
        logging.getLogger("settings").info(
            "variables of another launcher are not used: %s", ", ".join(forgotten)
        )
    logger = logging.getLogger("warmstart." + Path(sys.argv[0]).stem)
    for name, value in sorted(vars(arguments).items()):
        if isinstance(value, list) and len(value) > 20:
            value = f"{value[0]} ... {value[-1]} ({len(value)})"
        # DEBUG would vanish from the file, INFO would fill the terminal: this logger is not one of
        # ours.
        logging.getLogger("settings").info("%s = %s", name, value)
    return logger


# Arguments by which programs are told what to write.
_WRITTEN = ("output", "output_dir", "report", "run_dir", "work_dir", "directory", "log")


def _folders(arguments: argparse.Namespace) -> list[Path]:
    """Where a program writes, by its arguments."""
    found: list[Path] = []
    for name in _WRITTEN:
        value = getattr(arguments, name, None)
        for one in value if isinstance(value, list) else [value]:
            path = one[1] if isinstance(one, tuple) else one
            if isinstance(path, Path):
                found.append(path if name.endswith("dir") else path.parent)
    return found


def run(main: Callable[[], None]) -> None:
    """Run a program: what a person can mend becomes one line and exit status 1; anything else keeps
    its traceback.

    That is a `UserError`, and whatever the program was doing, a disk that is full or that refuses.
    """
    sys.excepthook = log_uncaught
    try:
        main()
    except Exception as error:
        message = disk.no_room(error) or disk.refused(error)
        if message is None and not isinstance(error, UserError):
            raise
        if logging.getLogger().handlers:
            if message is not None:
                # For the log file: where it came from.
                logging.getLogger("traceback").info("", exc_info=error)
            logging.getLogger("warmstart").error("%s", message or error)
        else:
            print(f"error: {message or error}", file=sys.stderr)
        raise SystemExit(1) from None
