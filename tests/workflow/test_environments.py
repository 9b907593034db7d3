"""One set of pins, wherever it is written; nothing that names a registry or a machine."""

import json
import os
import re
import shutil
import subprocess
import sys

import pytest
import room_for_environment as room
import yaml
from conftest import ROOT

import warmstart


def pins(path: str) -> dict[str, str]:
    """name -> version of every `name==version` at the start of a line; names as PyPI normalises
    them, extras left out."""
    found = re.findall(
        r"^([A-Za-z0-9_.\-]+)(?:\[\w+\])?==([^\s\\]+)",
        (ROOT / path).read_text(encoding="utf-8"),
        re.MULTILINE,
    )
    return {re.sub(r"[-_.]+", "-", name).lower(): version for name, version in found}


def test_the_lock_holds_every_pin_with_a_hash():
    lock, asked = pins("requirements.lock"), pins("requirements.in")
    assert asked.items() <= lock.items()
    blocks = re.split(r"\n(?=\S)", (ROOT / "requirements.lock").read_text(encoding="utf-8").strip())
    assert all("--hash=sha256:" in block for block in blocks)


def test_the_development_lock_does_not_contradict_the_other():
    lock, development = pins("requirements.lock"), pins("requirements-dev.lock")
    assert all(lock[name] == version for name, version in development.items() if name in lock)
    assert pins("requirements-dev.in").items() <= development.items()


def test_the_hooks_before_a_commit_have_the_pins_of_make_lint():
    hooks = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text(encoding="utf-8"))
    asked = [
        pin.split("==")
        for source in hooks["repos"]
        for hook in source["hooks"]
        for pin in hook["additional_dependencies"]
    ]
    development = pins("requirements-dev.lock")
    assert {"ruff", "snakefmt", "codespell"} <= {name for name, _ in asked}
    assert [
        (name, version) for name, version in asked if development.get(name, version) != version
    ] == []


def test_one_version_number_stands_everywhere():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert citation["version"] == warmstart.__version__
    changes = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    released = re.findall(r"^## (\d\S*)", changes, re.MULTILINE)
    assert released[0] == warmstart.__version__


def test_a_run_says_which_version_trained_it():
    from warmstart.training import record

    assert record.versions()["warmstart"] == warmstart.__version__


def test_the_conda_environment_has_the_same_pins():
    environment = yaml.safe_load((ROOT / "envs/warmstart.yaml").read_text(encoding="utf-8"))
    [pip] = [entry["pip"] for entry in environment["dependencies"] if isinstance(entry, dict)]
    asked = [
        line
        for line in (ROOT / "requirements.in").read_text(encoding="utf-8").splitlines()
        if line and line[0] != "#"
    ]
    assert pip == asked


def test_the_container_has_the_python_and_the_lock_of_everything_else():
    definition = (ROOT / "envs/warmstart.def").read_text(encoding="utf-8")
    header, *sections = re.split(r"^%(?=\w+$)", definition, flags=re.MULTILINE)
    fields = dict(line.split(": ", 1) for line in header.splitlines() if line and line[0] != "#")
    assert fields == {"Bootstrap": "docker", "From": "python:3.11-slim-bookworm"}
    body = dict(section.split("\n", 1) for section in sections)
    assert body.keys() == {"files", "post", "environment", "test"}
    source, target = body["files"].split()
    assert (ROOT / source).exists()
    assert f"pip install --no-cache-dir --require-hashes -r {target}" in body["post"]
    for name in ("post", "environment", "test"):
        subprocess.run(["sh", "-n"], input=body[name], text=True, check=True)


@pytest.mark.parametrize("method", ["conda", "apptainer"])
def test_a_dry_run_accepts_software_from(checkout, method):
    if shutil.which(method) is None:
        pytest.skip(f"{method} is not on this machine, and Snakemake asks for it even in a dry run")
    assert checkout.planned("--sdm", method, config=None)["train"] == 50


@pytest.mark.parametrize(
    ("mounts", "free_gb", "missing"),
    [
        (("/", "/"), (11, 11), []),
        (("/", "/"), (7.3, 7.3), [("/", 10.0, 7.3)]),
        (("/", "/tmp"), (7, 4), []),
        (("/", "/tmp"), (7, 1), [("/tmp", 3.5, 1)]),
        (("/", "/tmp"), (2, 1), [("/", 6.5, 2), ("/tmp", 3.5, 1)]),
    ],
)
def test_room_is_counted_for_each_disk(mounts, free_gb, missing):
    disks = [
        room.Disk(len(mount), mount, free) for mount, free in zip(mounts, free_gb, strict=True)
    ]
    assert room.shortages(list(zip(disks, (6.5, 3.5), strict=True))) == missing


def test_what_is_installed_already_is_not_asked_for_again(tmp_path):
    assert room.size_gb(tmp_path / ".venv") == 0
    (tmp_path / ".venv/lib").mkdir(parents=True)
    (tmp_path / ".venv/lib/module").write_bytes(os.urandom(2**20))
    assert room.size_gb(tmp_path / ".venv") == pytest.approx(2**-10, rel=0.05)
    there, not_yet = (room.disk_of(tmp_path / name) for name in (".venv", "not made yet"))
    assert there.device == not_yet.device


@pytest.mark.parametrize("wheels_gb", ["0", "1e9"])
def test_a_full_disk_is_told_before_anything_is_fetched(tmp_path, wheels_gb):
    """make and its recipe are real; the wheels take nothing, or more than any disk has; `pip` only
    says that it was called."""
    shutil.copy(ROOT / "Makefile", tmp_path)
    program = (ROOT / "tools/room_for_environment.py").read_text(encoding="utf-8")
    program = program.replace("ENVIRONMENT_GB = 6.5", "ENVIRONMENT_GB = 0")
    program = program.replace("WHEELS_GB = 3.5", f"WHEELS_GB = {wheels_gb}")
    for folder in ("tools", ".venv/bin"):
        (tmp_path / folder).mkdir(parents=True)
    (tmp_path / "tools/room_for_environment.py").write_text(program)
    (tmp_path / ".venv/bin/python").symlink_to(sys.executable)
    (tmp_path / ".venv/bin/pip").write_text("#!/bin/sh\necho pip was called\n")
    (tmp_path / ".venv/bin/pip").chmod(0o755)
    (tmp_path / "requirements.lock").touch()
    (tmp_path / ".venv/.python").touch()
    done = subprocess.run(
        ["make", "VENV=.venv", ".venv/.installed"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    full = wheels_gb != "0"
    assert (done.returncode != 0) is full
    assert ("pip was called" in done.stdout) is not full
    assert ("takes 1000000000.0 GB more of the disk at" in done.stderr) is full
    assert ("make VENV=/folder/venv .venv/.installed" in done.stderr) is full


def test_no_tracked_file_names_a_registry():
    # Written in two halves, so that this file does not name one either.
    hosts = [
        "py" + "pi.org",
        "python" + "hosted.org",
        "deb." + "debian.org",
        "registry." + "npmjs.org",
    ]
    command = ["git", "grep", "-lIE", "|".join(host.replace(".", r"\.") for host in hosts)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.stdout == ""


def test_make_clean_removes_the_demo_and_no_other_study(tmp_path):
    results = tmp_path / "results"
    results.mkdir()
    for name, remains in (("full", True), ("demo", False)):
        (results / "study.json").write_text(json.dumps({"name": name, "title": ""}))
        subprocess.run(
            ["make", "-f", ROOT / "Makefile", "clean"],
            cwd=tmp_path,
            capture_output=True,
            check=False,
        )
        assert results.exists() is remains
