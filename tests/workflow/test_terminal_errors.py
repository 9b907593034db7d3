"""Jobs that fail under real Snakemake: the terminal ends with messages and rules, whichever way it
was started."""

import pytest
from conftest import Checkout
from made.studies import smoke_config

pytestmark = pytest.mark.slow

FAILING = """
import argparse
import sys
from pathlib import Path

from warmstart.run import cli
from warmstart.run.errors import UserError


def main():
    parser = cli.parser(None)
    arguments, _ = parser.parse_known_args()
    cli.start(arguments)
    {fault}


cli.run(main)
"""
MESSAGE = "the corpus has no audio; name its folder"


@pytest.fixture
def broken(checkout: Checkout, tmp_path) -> Checkout:
    """A study of which donors fail with a message of ours, and corpora with a traceback."""
    copy = checkout.copy(tmp_path / "warmstart")
    copy.write_config(smoke_config())
    for program, fault in {
        "download_corpus": f"raise UserError({MESSAGE!r})",
        "download_init": "raise ValueError('unforeseen')",
    }.items():
        path = copy.folder / f"workflow/scripts/{program}.py"
        path.write_text(FAILING.format(fault=fault), encoding="utf-8")
    return copy


TARGETS = [f"resources/corpora/{name}/it/complete.json" for name in ("human", "spoken")]
TARGETS += ["resources/inits/en.nemo"]


@pytest.mark.parametrize("how", [("--keep-going",), ("--workflow-profile", "profiles/demo")])
def test_a_run_that_keeps_going_ends_with_all_that_failed(broken, how):
    done = broken.snakemake("--cores", "1", *how, *TARGETS, check=False)
    assert done.returncode == 1
    told = done.stdout
    listed = told[told.index("3 jobs failed:") :].splitlines()
    for target, rule, message in (
        (TARGETS[0], "download_corpus", MESSAGE),
        (TARGETS[1], "download_corpus", MESSAGE),
        (TARGETS[2], "download_init", "ValueError: unforeseen"),
    ):
        place = listed.index(f"  {rule}: {target}")
        assert listed[place + 1] == f"    {message}"
        log = listed[place + 2].removeprefix("    log: ")
        assert message in (broken.folder / log).read_text(encoding="utf-8")
    for noise in ("CalledProcessError", "set -euo pipefail", "At least one job did not"):
        assert noise not in told
    # What the terminal leaves out is not lost.
    logs = "".join(path.read_text() for path in broken.folder.glob(".snakemake/log/*.log"))
    assert "--corpus human --lang it" in logs


def test_a_failure_is_said_once_where_it_happens_and_once_at_the_end(broken):
    done = broken.snakemake("--cores", "1", TARGETS[0], check=False)
    assert done.stdout.count(MESSAGE) == 2
    assert done.stdout.count(f"Error in rule download_corpus: {TARGETS[0]}") == 1
    assert "1 job failed:" in done.stdout


def test_a_fault_of_the_configuration_is_its_message_alone(checkout, tmp_path):
    copy = checkout.copy(tmp_path / "warmstart")
    config = smoke_config()
    config["seedz"] = config.pop("seeds")
    copy.write_config(config)
    done = copy.snakemake("--dry-run", check=False)
    assert done.returncode == 1
    lines = [line for line in done.stdout.splitlines() if line.strip()]
    assert len(lines) == 1
    assert lines[0].startswith(
        "config: unknown key 'seedz' at the top level (did you mean 'seeds'?)"
    )


def test_a_target_of_an_unknown_language_ends_with_the_message(checkout, tmp_path):
    copy = checkout.copy(tmp_path / "warmstart")
    copy.write_config(smoke_config())
    done = copy.snakemake("--dry-run", "results/scores/xx.parquet", check=False)
    assert done.returncode == 1
    assert done.stdout.rstrip().splitlines()[-1].startswith("language 'xx' has no block")


@pytest.mark.parametrize("target", [(), ("hours",), ("cost",)])
def test_results_of_another_study_are_named_where_one_looks(checkout, tmp_path, target):
    copy = checkout.copy(tmp_path / "warmstart")
    copy.write_config(smoke_config())
    (copy.folder / "results").mkdir()
    (copy.folder / "results/study.json").write_text('{"name": "full"}')
    told = copy.snakemake("--dry-run", *target).stdout
    end = " ".join(told[-600:].replace("!", "").split())
    assert "belong to the study 'full', not to 'smoke'" in end
    assert "upper bound" not in told


def test_a_damaged_note_of_the_owner_is_named_once(checkout, tmp_path):
    copy = checkout.copy(tmp_path / "warmstart")
    copy.write_config(smoke_config())
    (copy.folder / "results").mkdir()
    (copy.folder / "results/study.json").write_text("")
    assert copy.snakemake("--dry-run", "all_pools").stdout.count("study.json: damaged (empty)") == 1


def test_jobs_that_a_profile_does_not_list_are_said_to_be_counted_only(checkout, tmp_path):
    copy = checkout.copy(tmp_path / "warmstart")
    copy.write_config(smoke_config())
    profile = ("--dry-run", "--workflow-profile", "profiles/demo")
    quiet = copy.snakemake(*profile).stdout
    assert "`--quiet reason` lists them" in quiet
    listed = copy.snakemake(*profile, "--quiet", "reason").stdout
    assert "`--quiet reason` lists them" not in listed
    assert len(listed.splitlines()) > len(quiet.splitlines()) + 41
