"""Print what running a study now would do: jobs, GPU hours, core hours and disk of every stage; and
how small a gap the study could see.

Asks Snakemake which outputs are missing or stale, so it is run in the folder of the study. Writes
to the terminal only.

    python workflow/scripts/plan_study.py --config config.yaml
"""

import argparse
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from warmstart.run import cli
from warmstart.run.errors import UserError
from warmstart.study import checks, notes, overlays, owner, planning, power_plan
from warmstart.study.grid import Study

ROOT = Path(__file__).resolve().parents[2]


def pending_outputs(configs: list[str], folder: str | None = None) -> list[tuple[str, str]]:
    """(output file, rule) of everything that Snakemake would make now.

    Args:
        configs: configuration files, each laid over those before it.
        folder: of the study; None: the one that this runs in.

    Raises:
        UserError: Snakemake refuses the configuration; its own words.
    """
    # Without the lock: a plan may be asked for while the study runs.
    command = [sys.executable, "-m", "snakemake", "--summary", "--nolock"]
    command += ["--snakefile", str(ROOT / "Snakefile")]
    command += ["--directory", folder] if folder else []
    command += ["--configfile", *(str(Path(config).resolve()) for config in configs)]
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
    parser.add_argument(
        "--config",
        nargs="+",
        default=["config.yaml"],
        help="the study's configuration file; of several each is laid over those before it",
    )
    parser.add_argument(
        "--cores",
        type=int,
        default=os.cpu_count() or 1,
        help="of one machine, for the wall time; default: this one's",
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
    if planner.foreign is None:
        outputs = pending_outputs(arguments.config)
    else:
        print(owner.banner(f"{planner.foreign}. What follows is for such a folder, empty."))
        with tempfile.TemporaryDirectory() as empty:
            outputs = pending_outputs(arguments.config, empty)
    print(planning.per_stage(planner, outputs, max(1, arguments.cores)))
    print(power_plan.text(planner), end="")
    if planner.foreign is None:
        for line in notes.not_writable(study, arguments.results):
            print(line)


if __name__ == "__main__":
    cli.run(main)
