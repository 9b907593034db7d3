"""Arguments that every program which decodes test sets has."""

import argparse
from pathlib import Path

from warmstart.models import DEFAULT_FAMILY
from warmstart.models.tier import Tier
from warmstart.run import cli
from warmstart.study import stages
from warmstart.study.grid import Run
from warmstart.study.versions import VERSIONS

SETTINGS = ("batch_size", "batch_duration_s", "device", "threads")
"""Keys of `--settings` that each of them takes."""


def declare(
    parser: argparse.ArgumentParser, stage: str, output: str, settings: tuple[str, ...] = SETTINGS
) -> None:
    """Add them.

    Args:
        parser: of the program.
        stage: in `study.versions`.
        output: what an argument of `--output` looks like.
        settings: keys of `--settings` that the program takes.
    """
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument(
        "--run", type=Run.of_path, required=True, help="training set, arm, hours and seed"
    )
    parser.add_argument(
        "--tier",
        type=Tier.of_text,
        required=True,
        help="NAME:LEFT:RIGHT or NAME:LEFT:RIGHT:offline",
    )
    parser.add_argument(
        "--cuts", type=cli.named_path, nargs="+", required=True, metavar="LANG/TEST_SET=MANIFEST"
    )
    parser.add_argument("--output", type=cli.named_path, nargs="+", required=True, metavar=output)
    parser.add_argument(
        "--settings",
        type=stages.argument("decode"),
        required=True,
        help=f"@FILE or JSON: {', '.join(settings)}; the others are as in the schema",
    )
    parser.add_argument(
        "--family", default=DEFAULT_FAMILY, help="of the model, a name or module:OBJECT"
    )
    cli.version(parser, VERSIONS[stage])


def check(parser: argparse.ArgumentParser, arguments: argparse.Namespace) -> None:
    """Stop the program with a message where a name is no test set, or an output belongs to another
    run."""
    for _, path in arguments.output:
        arguments.run.require_own(path)
    if wrong := [name for name, _ in arguments.cuts if "/" not in name]:
        parser.error(f"--cuts has {wrong[0]!r}, which is not LANG/TEST_SET")
