"""A finished run is taken back where nothing differs that decides it, and nowhere else."""

import dataclasses

import pytest
import yaml
from conftest import ROOT

from warmstart.study import config, slices, stages
from warmstart.study.grid import Run, Study
from warmstart.training.job import Job

pytestmark = pytest.mark.slow  # imports NeMo


@pytest.fixture
def job(tmp_path) -> Job:
    """Files with their names in them, and the demo's recipe."""
    (tmp_path / "tokenizer").mkdir()
    for name in ("cuts", "dev", "en.nemo", "tokenizer/tokenizer.model"):
        (tmp_path / name).write_text(name)
    made = yaml.safe_load((ROOT / "demo.yaml").read_text(encoding="utf-8"))
    config.validate(made)
    study = Study(made, ROOT)
    return Job(
        run=Run("it", "en", "0.02", 1),
        train_cuts=tmp_path / "cuts",
        donor=tmp_path / "en.nemo",
        run_dir=tmp_path / "run",
        output=tmp_path / "run/model.nemo",
        settings=stages.filled("train", slices.training(study, "en") | slices.pace(study, "en")),
        tokenizer=tmp_path / "tokenizer",
        dev_cuts={"it": tmp_path / "dev"},
        text={"it": {"alphabet": "abc"}},
        version=1,
    )


def made_of(job: Job, processes: int = 1):
    from warmstart.training import fine_tune

    return fine_tune.everything(job, fine_tune.input_digests(job), processes)


def test_what_changes_no_output_changes_nothing(job, tmp_path):
    before = made_of(job)
    (tmp_path / "cuts").touch()
    pace = job.settings | {"log_every_steps": 3, "num_workers": 5}
    assert made_of(dataclasses.replace(job, settings=pace)) == before
    assert made_of(dataclasses.replace(job, donor=job.donor.rename(tmp_path / "b.nemo"))) == before


@pytest.mark.parametrize("name", ["cuts", "dev", "en.nemo", "tokenizer/tokenizer.model"])
@pytest.mark.parametrize("scratch", [False, True])
def test_every_file_that_is_read_counts(job, tmp_path, name, scratch):
    job = dataclasses.replace(job, from_scratch=scratch)
    before = made_of(job)
    (tmp_path / name).write_text("another")
    assert made_of(job) != before


@pytest.mark.parametrize(
    "other",
    [
        {"version": 2},
        {"run": Run("it", "en", "0.02", 2)},
        {"from_scratch": True},
        {"text": {"it": {"alphabet": "ab"}}},
        {"family": "fastconformer_ctc"},
    ],
)
def test_what_the_job_is_counts(job, other):
    assert made_of(dataclasses.replace(job, **other)) != made_of(job)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("optimizer", {"lr": 1e-4}),
        ("batch_duration_s", 7),
        ("steps", {"fixed": 7}),
        ("average_last", 2),
        ("adaptation", {"kind": "freeze", "encoder_layers": 1, "steps": 2}),
    ],
)
def test_the_recipe_counts(job, key, value):
    before = job.settings.get(key)
    new = {**before, **value} if key == "optimizer" else value
    changed = dataclasses.replace(job, settings=job.settings | {key: new})
    assert made_of(changed) != made_of(job)


def test_the_number_of_processes_counts(job):
    assert made_of(job, 2) != made_of(job)
