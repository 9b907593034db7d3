"""What Snakemake's own process takes of a core while one job runs and another waits for its core,
after many have finished: with its default limit of started jobs, and with that of profiles/demo.

While jobs wait, Snakemake 9.27.1 looks at them again when the time of `max-jobs-per-timespan` (100
a second) is over, and each look plans the next one (`JobScheduler._schedule_reevalutation`). Every
job that finishes adds such a chain, so that there are as many looks in a second as finished jobs.

    python benchmarks/waiting.py
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import yaml

PROFILE = Path(__file__).resolve().parents[1] / "profiles/demo/config.yaml"
SNAKEFILE = """
rule all:
    input: "long0.txt", "long1.txt"

rule long:
    input: expand("{{number}}.txt", number=range({jobs}))
    output: "long{{number}}.txt"
    shell: "touch begun; sleep {wait_s}"

rule short:
    output: "{{number}}.txt"
    shell: "touch {{output}}"

ruleorder: long > short
"""


def cpu_s(process: int) -> float:
    """Seconds of processor that a process has taken, its children left out."""
    fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def waited(jobs: int, wait_s: int, options: list[str]) -> float:
    """Share of a core while a job sleeps and another one waits for its core."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "Snakefile").write_text(SNAKEFILE.format(jobs=jobs, wait_s=wait_s + 5))
        command = [sys.executable, "-m", "snakemake", "--cores", "1", "--quiet", "all", *options]
        command += ["--", "all"]
        with subprocess.Popen(command, cwd=folder) as process:
            while not Path(folder, "begun").exists():
                if process.poll() is not None:
                    raise SystemExit(f"{' '.join(command)} ended with {process.returncode}")
                time.sleep(0.1)
            before, begun = cpu_s(process.pid), time.monotonic()
            time.sleep(wait_s)
            share = (cpu_s(process.pid) - before) / (time.monotonic() - begun)
            process.terminate()
            return share


def main() -> None:
    """Measure both."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--jobs", type=int, default=100, help="that finish first")
    parser.add_argument("--wait-s", type=int, default=20)
    arguments = parser.parse_args()
    limit = yaml.safe_load(PROFILE.read_text())["max-jobs-per-timespan"]
    print(f"share of a core of Snakemake's process, after {arguments.jobs} jobs")
    found = {}
    for name, options in (("default", []), (limit, ["--max-jobs-per-timespan", limit])):
        found[name] = waited(arguments.jobs, arguments.wait_s, options)
        print(f"{name:>12s} {100 * found[name]:6.1f} %", flush=True)
    default, ours = found.values()
    print(f"{'ratio':>12s} {ours / default:8.2f}")


if __name__ == "__main__":
    main()
