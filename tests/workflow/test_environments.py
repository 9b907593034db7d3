"""One set of pins, wherever it is written; nothing that names a registry or a machine."""

import json
import os
import re
import shutil
import subprocess

import pytest
import yaml
from conftest import ROOT


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
    ("mounts", "free_gb", "told"),
    [
        (("/", "/"), (11, 11), None),
        (("/", "/"), (7.3, 7.3), "takes 10.0 GB more of the disk at /, where 7.3 GB are free"),
        (("/", "/tmp"), (7, 4), None),
        (("/", "/tmp"), (7, 1), "takes 3.5 GB more of the disk at /tmp, where 1.0 GB are free"),
        (("/", "/tmp"), (2, 4), "takes 6.5 GB more of the disk at /, where 2.0 GB are free"),
    ],
)
def test_a_full_disk_is_told_before_anything_is_fetched(tmp_path, mounts, free_gb, told):
    """`df` and `pip` are programs that say what is given here; make and its recipe are real."""
    lines = [
        f"/dev/vda 1 1 {int(free * 2**20)} 1% {mount}"
        for mount, free in zip(mounts, free_gb, strict=True)
    ]
    said = {"programs/df": "\n".join(["Filesystem ...", *lines]), ".venv/bin/pip": "pip was called"}
    for name, text in said.items():
        program = tmp_path / name
        program.parent.mkdir(parents=True)
        program.write_text(f"#!/bin/sh\ncat <<'end'\n{text}\nend\n")
        program.chmod(0o755)
    (tmp_path / "requirements.lock").touch()
    (tmp_path / ".venv/.python").touch()
    command = ["make", "-f", ROOT / "Makefile", "VENV=.venv", ".venv/.installed"]
    environment = os.environ | {"PATH": f"{tmp_path / 'programs'}:{os.environ['PATH']}"}
    done = subprocess.run(
        command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
    )
    assert ("pip was called" in done.stdout) is (done.returncode == 0) is (told is None)
    assert told is None or told in done.stderr


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
