"""Arguments that all programs share."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import ROOT

from warmstart.run import cli


def paths_of(arguments: list[str]) -> list[Path]:
    parser = cli.parser(None)
    parser.add_argument("--runs", action=cli.Paths, nargs="*", default=[])
    return parser.parse_args(arguments).runs


def test_paths_are_taken_from_the_line_and_from_lists(tmp_path):
    listed = tmp_path / "runs.txt"
    listed.write_text("a b.json\nc.json\n")
    assert paths_of(["--runs", "first.json", f"@{listed}"]) == [
        Path("first.json"),
        Path("a b.json"),
        Path("c.json"),
    ]
    assert paths_of(["--runs"]) == []


def test_a_list_that_is_not_there_is_named(capsys):
    with pytest.raises(SystemExit):
        paths_of(["--runs", "@nowhere.txt"])
    assert "--runs @nowhere.txt: No such file" in capsys.readouterr().err


def test_a_fault_before_there_is_a_log_is_said_once():
    program = (
        "from warmstart.run import cli, errors\ndef main():\n    raise errors.UserError('x is 1; "
        "make it 2')\ncli.run(main)\n"
    )
    environment = os.environ | {"PYTHONPATH": str(ROOT / "workflow/scripts")}
    done = subprocess.run(
        [sys.executable, "-c", program],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout, done.stderr) == (1, "", "error: x is 1; make it 2\n")
