"""What a shared machine asks for: files that colleagues may read, names that run nothing, secrets
that stay where they are."""

import os
import stat
import uuid
from pathlib import Path

import pytest
from conftest import Checkout
from made.studies import smoke_config

pytestmark = pytest.mark.slow

MADE = ("results", "resources", "logs")


def modes(folder: Path) -> dict[str, int]:
    """Permission bits of everything that a run made."""
    return {
        str(path): stat.S_IMODE(path.stat().st_mode)
        for name in MADE
        for path in (folder / name).rglob("*")
    }


def assert_group_reads_only(found: dict[str, int]) -> None:
    assert found
    assert [path for path, mode in found.items() if not mode & stat.S_IRGRP] == []
    assert [path for path, mode in found.items() if mode & stat.S_IWGRP] == []


def test_the_group_reads_everything_and_writes_nothing(smoke: Checkout):
    # Run with umask 002, under which programs make files that the group may write.
    assert_group_reads_only(modes(smoke.folder))


def test_the_group_reads_what_a_private_umask_would_hide_and_others_do_not(
    checkout: Checkout, tmp_path
):
    study = checkout.copy(tmp_path / "warmstart")
    study.write_config(smoke_config())
    study.snakemake("--cores", "1", "results/manifests/human/it/test.jsonl.gz", umask=0o077)
    assert_group_reads_only(modes(study.folder))
    assert not any(mode & stat.S_IRWXO for mode in modes(study.folder).values())


def test_nobody_else_writes_what_a_wide_umask_would_open(checkout: Checkout, tmp_path):
    study = checkout.copy(tmp_path / "warmstart")
    study.write_config(smoke_config())
    study.snakemake("--cores", "1", "results/manifests/human/it/test.jsonl.gz", umask=0)
    assert_group_reads_only(modes(study.folder))
    assert [path for path, mode in modes(study.folder).items() if mode & stat.S_IWOTH] == []
    # Snakemake reads pickles from there.
    kept = [study.folder / ".snakemake", *(study.folder / ".snakemake").glob("*/")]
    assert len(kept) > 1
    assert [path for path in kept if path.stat().st_mode & (stat.S_IWGRP | stat.S_IWOTH)] == []


def test_a_secret_of_the_environment_is_in_no_file_of_a_run(
    checkout: Checkout, tmp_path, monkeypatch
):
    secrets = {name: uuid.uuid4().hex for name in ("HF_TOKEN", "MDC_API_KEY")}
    for name, value in secrets.items():
        monkeypatch.setenv(name, value)
    study = checkout.copy(tmp_path / "warmstart")
    study.write_config(smoke_config())
    done = study.snakemake(
        "--cores", "1", "--printshellcmds", "--verbose", "results/manifests/human/it/test.jsonl.gz"
    )
    files = [path for path in study.folder.rglob("*") if path.is_file() and not path.is_symlink()]
    assert any(".snakemake" in path.parts for path in files)
    for value in secrets.values():
        assert value not in done.stdout
        assert [path for path in files if value.encode() in path.read_bytes()] == []


def test_quoted_names_reach_programs_unchanged(checkout: Checkout, tmp_path):
    """A value with quotes, spaces and a semicolon is one argument of the program and runs
    nothing."""
    config = smoke_config()
    config["study"]["title"] = 'it\'s; touch injected "x" $(touch injected)'
    config["corpora"]["human"]["directory"] = "demo/speech/{lang}; touch injected"
    study = checkout.copy(tmp_path / "warm start")
    study.write_config(config)
    folder = study.folder / "demo/speech/it; touch injected"
    os.rename(study.folder / "demo/speech/it", folder)
    study.snakemake("--cores", "1", "results/manifests/human/it/test.jsonl.gz")
    assert (study.folder / "results/manifests/human/it/test.jsonl.gz").exists()
    assert not list(study.folder.rglob("injected"))
