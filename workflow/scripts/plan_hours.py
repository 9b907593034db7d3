"""Print what a study's data will take before anything is downloaded: hours, the budgets that fit,
disk, licences.

Reads a configuration and the pinned statistics in workflow/data/. Writes to the terminal only;
imports the standard library and PyYAML.

    python workflow/scripts/plan_hours.py --config config.yaml
"""

import argparse

from warmstart.run import cli
from warmstart.study import data_plan, overlays
from warmstart.study.grid import Study


def main(argv: list[str] | None = None) -> None:
    """Program entry; see the module docstring."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--config",
        nargs="+",
        default=["config.yaml"],
        help="the study's configuration: a file, or JSON; of several each is laid over those "
        "before it",
    )
    arguments = parser.parse_args(argv)
    # Not checked: what asks for too much is what this shows.
    print(data_plan.plan(Study(overlays.read_validated(arguments.config))), end="")


if __name__ == "__main__":
    cli.run(main)
