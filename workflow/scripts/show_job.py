"""Print the command of one job, or run it under the debugger.

Asks Snakemake for the job that makes a file, whether it is there or not. The settings that the
command names are written.

    python workflow/scripts/show_job.py results/pools/it.jsonl.gz --config demo.yaml
    python workflow/scripts/show_job.py results/pools/it.jsonl.gz --config demo.yaml --debug
"""

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

from warmstart.run import cli
from warmstart.run.errors import UserError

ROOT = Path(__file__).resolve().parents[2]
_ASKED = re.compile(r"^Job 0: |^ +jobid: 0$", re.MULTILINE)
_COMMAND = re.compile(r"^Shell command: (.*?)$", re.MULTILINE)


def command_of(path: str, config: list[str]) -> list[str]:
    """The arguments of the job that makes `path`, without the shell's own `exec`.

    Raises:
        UserError: Snakemake refuses, or no program makes this file.
    """
    asked = ["--snakefile", str(ROOT / "Snakefile"), "--configfile", *config]
    asked += ["--dry-run", "--printshellcmds", "--force", "--", path]
    done = subprocess.run(
        [sys.executable, "-m", "snakemake", *asked],
        env={**os.environ, "WARMSTART_WRITE_SETTINGS": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    if done.returncode:
        said = done.stdout.rpartition("Building DAG of jobs...")[2].split()
        raise UserError(f"Snakemake has no job for {path}: {' '.join(said)}")
    # What was asked for is job 0; a rule says so in its message, or in a list without one.
    jobs = [said for said in done.stdout.split("\n\n") if _ASKED.search(said)]
    found = _COMMAND.search(jobs[0]) if jobs else None
    if found is None or found[1] == "None":
        raise UserError(f"{path} is made by Snakemake itself: no program, so no command")
    arguments = shlex.split(found[1])
    return arguments[1:] if arguments[0] == "exec" else arguments


def in_lines(arguments: list[str]) -> str:
    """A command as one types it, an argument with its values a line."""
    lines, first = [], True
    for argument in arguments:
        if first or argument.startswith("--"):
            lines.append(shlex.quote(argument))
        else:
            lines[-1] += " " + shlex.quote(argument)
        first = False
    return " \\\n    ".join(lines)


def main(argv: list[str] | None = None) -> None:
    """Entry point."""
    parser = cli.parser(__doc__)
    parser.add_argument("job", help="a file that the job makes")
    parser.add_argument(
        "--config", nargs="+", default=["config.yaml"], help="of the study, one over another"
    )
    parser.add_argument("--debug", action="store_true", help="run it under pdb")
    arguments = parser.parse_args(argv)
    command = command_of(arguments.job, arguments.config)
    if not arguments.debug:
        print(in_lines(command))
        return
    program = command[command.index("python") + 1 :]
    os.execv(sys.executable, [sys.executable, "-m", "pdb", "-c", "continue", *program])


if __name__ == "__main__":
    cli.run(main)
