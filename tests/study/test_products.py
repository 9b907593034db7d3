"""What was deleted of a finished study is asked for again; nothing else is."""

from pathlib import Path

import pytest
from made.studies import smoke_config

from warmstart.study import paths, products
from warmstart.study.config import validate
from warmstart.study.grid import Study


@pytest.fixture
def study(tmp_path, monkeypatch):
    """A study of which every file that README lists is there, empty."""
    monkeypatch.chdir(tmp_path)
    config = smoke_config()
    validate(config)
    made = Study(config)
    listed = ["results/report.html", "results/scores/it.parquet", "results/pools/it.qc.json"]
    hypotheses = paths.hypotheses(made)
    listed += [*hypotheses, *map(paths.header, hypotheses)]
    listed += [path for run in made.runs() for path in paths.run_files(made, run)]
    for path in map(Path, listed):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    return made


RUN = "results/runs/it/en/0.02h/seed1"
HYPOTHESES = "results/hypotheses/it/en/0.02h/seed1/full/560ms/human"


@pytest.mark.parametrize(
    "path",
    [
        f"{RUN}/model.nemo",
        f"{RUN}/train.csv",
        f"{RUN}/run.json",
        f"{HYPOTHESES}.jsonl",
        f"{HYPOTHESES}.json",
        "results/pools/it.qc.json",
        "results/scores/it.parquet",
    ],
)
def test_what_was_deleted_is_asked_for(study, path):
    assert products.deleted(study) == []
    Path(path).unlink()
    assert products.deleted(study) == [path]


def test_the_folder_of_a_run_is_asked_for_once_there_is_a_page(study):
    for path in Path(RUN).iterdir():
        path.unlink()
    assert products.deleted(study) == [
        f"{RUN}/{name}" for name in ("model.nemo", "train.csv", "run.json")
    ]
    products.PAGE.unlink()
    assert products.deleted(study) == []


def test_of_a_study_that_has_not_begun_few_files_are_asked_for(study, tmp_path, monkeypatch):
    """A dry run of thousands of jobs must not become slower by thousands of targets."""
    (tmp_path / "empty").mkdir()
    monkeypatch.chdir(tmp_path / "empty")
    assert products.deleted(study) == ["results/scores/it.parquet", "results/pools/it.qc.json"]
