"""The check for a GPU, benchmarks/gpu.py, in its small form on a CPU: every section runs."""

import json
import subprocess
import sys

import pytest

pytestmark = pytest.mark.slow


def run(*arguments):
    done = subprocess.run(
        [sys.executable, "benchmarks/gpu.py", *map(str, arguments)], capture_output=True, text=True
    )
    return done.returncode, done.stdout, done.stderr


def test_every_section_has_its_rows(tmp_path):
    output = tmp_path / "gpu.json"
    status, printed, said = run("--tiny", "--device", "cpu", "--minutes", 60, "--json", output)
    assert status == 0, said
    report = json.loads(output.read_text(encoding="utf-8"))
    assert report["about"]["device"] == "CPU"
    assert report["about"]["versions"]["torch"]
    rows = {
        name: made["rows"]
        for name, made in report.items()
        if isinstance(made, dict) and "rows" in made
    }
    assert list(rows) == ["losses", "learn", "profile", "speed", "decode", "int4"]
    assert all(f"## {name}" in printed for name in rows)
    # On a CPU every training is float32, so that all of these are the same numbers.
    assert [row["relative_difference"] for row in rows["losses"]] == [0, 0, 0, 0]
    assert all(row["falls"] and row["finite"] for row in rows["learn"])
    # 12 s a batch and no longer, where there is no GPU to be filled.
    assert [(row["1 s"], row["2 s"]) for row in rows["profile"]] == [(12, 6)] * 3
    assert [row["settings"] for row in rows["speed"]] == [
        *("config.yaml", "joint_mb", "bf16-true", "profile")
    ]
    assert all(row["hours_per_hour"] > 0 for row in rows["speed"])
    exact = [row for row in rows["decode"] if row["arithmetic"] == "float32"]
    assert exact
    assert all(row["same_tokens"] == row["of"] and row["tokens"] for row in exact)
    graph = {row["arithmetic"]: row for row in rows["int4"]}
    assert graph["float32"]["same_labels"] == 1
    assert graph["float32"]["largest_difference"] < 1e-4


def test_what_there_is_no_time_for_is_said(tmp_path):
    output = tmp_path / "gpu.json"
    status, printed, said = run(
        *("--tiny", "--device", "cpu", "--minutes", 0, "--sections", "learn", "--json", output)
    )
    assert status == 0, said
    assert "not begun: 0 minutes were over" in printed
    assert json.loads(output.read_text(encoding="utf-8"))["learn"]["rows"] == []
