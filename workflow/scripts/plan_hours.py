"""Print what a study's data will take before anything is downloaded: hours, the budgets that fit,
disk, licences.

Reads a configuration and the pinned statistics in workflow/data/. Writes to the terminal only;
imports the standard library and PyYAML.

    python workflow/scripts/plan_hours.py --config config.yaml
"""

import argparse

from warmstart.run import cli
from warmstart.study import data_plan
from warmstart.study.config import read_config, validate
from warmstart.study.grid import Study


def main(argv: list[str] | None = None) -> None:
    """Program entry; see the module docstring."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--config", default="config.yaml", help="the study's configuration: a file, or JSON"
    )
    arguments = parser.parse_args(argv)
    config = read_config(arguments.config)
    # Not checked: what asks for too much is what this shows.
    validate(config)
    print(data_plan.plan(Study(config)), end="")


if __name__ == "__main__":
    cli.run(main)
