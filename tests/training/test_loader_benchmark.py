"""benchmarks/loader.py: what it counts."""

import importlib.util
import json

import pytest
from conftest import ROOT


@pytest.mark.slow
def test_files_are_opened_once_a_cut_and_shards_once_a_shard(tmp_path, capsys):
    spec = importlib.util.spec_from_file_location("loader", ROOT / "benchmarks" / "loader.py")
    assert spec is not None
    assert spec.loader is not None
    loader = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(loader)
    told = tmp_path / "rows.json"
    sizes = ["--pools", "commonvoice", "--sizes", "30", "--different", "2"]
    loader.main([*sizes, "--folder", str(tmp_path), "--output", str(told)])
    rows = json.loads(told.read_text(encoding="utf-8"))
    assert [(row["storage"], row["cache"]) for row in rows] == [
        ("files", "cold"),
        ("files", "warm"),
        ("shar", "cold"),
        ("shar", "warm"),
    ]
    assert [row["opens"] for row in rows] == [30, 30, 1, 1]
    assert {(row["cuts"], row["audio_s"]) for row in rows} == {(30, 150)}
    assert capsys.readouterr().out.count("\n| commonvoice | 30 |") == 4
    assert [path.name for path in tmp_path.iterdir()] == ["rows.json"]
