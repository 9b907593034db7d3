"""Arguments that all programs share."""

from pathlib import Path

import pytest

from warmstart import cli


def paths_of(arguments: list[str]) -> list[Path]:
    parser = cli.parser(None)
    parser.add_argument("--runs", action=cli.Paths, nargs="*", default=[])
    return parser.parse_args(arguments).runs


def test_paths_are_taken_from_the_line_and_from_lists(tmp_path):
    listed = tmp_path / "runs.txt"
    listed.write_text("a b.json\nc.json\n")
    assert paths_of(["--runs", "first.json", f"@{listed}"]) == [Path("first.json"), Path("a b.json"), Path("c.json")]
    assert paths_of(["--runs"]) == []


def test_a_list_that_is_not_there_is_named(capsys):
    with pytest.raises(SystemExit):
        paths_of(["--runs", "@nowhere.txt"])
    assert "--runs @nowhere.txt: No such file" in capsys.readouterr().err
