"""Print what running a study now would do: jobs, GPU hours, core hours and disk of every stage.

Asks Snakemake which outputs are missing or stale, so it is run in the folder of the study. Writes
to the terminal only.

    python workflow/scripts/plan_study.py --config config.yaml
"""

import argparse
import subprocess
import sys
from pathlib import Path

from warmstart.run import cli
from warmstart.run.errors import UserError
from warmstart.study import planning
from warmstart.study.checks import open_study


def pending_outputs(config: str) -> list[tuple[str, str]]:
    """(output file, rule) of everything that Snakemake would make now.

    Raises:
        UserError: Snakemake refuses the configuration; its own words.
    """
    # Without the lock: a plan may be asked for while the study runs.
    command = [sys.executable, "-m", "snakemake", "--summary", "--nolock", "--configfile", config]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise UserError((done.stderr.strip() or done.stdout.strip()).splitlines()[-1])
    rows = [line.split("\t") for line in done.stdout.splitlines() if "\t" in line]
    return [(row[0], row[2]) for row in rows[1:] if row[-1] == "update pending"]


def main(argv: list[str] | None = None) -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--config", default="config.yaml", help="the study's configuration file")
    parser.add_argument(
        "--results",
        type=Path,
        default=Path("results"),
        help="the study's results, as far as there are any",
    )
    arguments = parser.parse_args(argv)
    planner = planning.Planner(open_study(arguments.config), arguments.results)
    print(planning.per_stage(planner, pending_outputs(arguments.config)), end="")


if __name__ == "__main__":
    cli.run(main)
