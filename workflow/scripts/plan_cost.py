"""Print what each run of a study costs in hours of GPU and cores: measured where runs are finished,
predicted otherwise.

Reads a configuration and what there is of the study's results. Writes to the terminal only.

    python workflow/scripts/plan_cost.py --config config.yaml
"""

import argparse
from pathlib import Path

from warmstart.run import cli
from warmstart.study import checks, overlays, owner, planning
from warmstart.study.grid import Study


def main(argv: list[str] | None = None) -> None:
    """Print the table."""
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
    parser.add_argument(
        "--results",
        type=Path,
        default=Path("results"),
        help="the study's results, as far as there are any",
    )
    arguments = parser.parse_args(argv)
    study = Study(overlays.read_validated(arguments.config))
    checks.check(study)
    planner = planning.Planner(study, arguments.results)
    if planner.foreign:
        print(owner.banner(planner.foreign))
    print(planning.per_run(planner), end="")


if __name__ == "__main__":
    cli.run(main)
