"""Encoder donors come whole and verified, or not at all."""

import hashlib
import json

import pytest

import download_init
from warmstart.run.errors import UserError


def call(tmp_path, sha256, *more):
    download_init.main(
        [
            *(["--sha256", sha256] if sha256 else []),
            "--output",
            str(tmp_path / "en.nemo"),
            "--report",
            str(tmp_path / "en.json"),
            *more,
        ]
    )


@pytest.fixture
def donor(tmp_path):
    path = tmp_path / "given.nemo"
    path.write_bytes(b"weights")
    return path


def test_a_given_file_is_copied_with_its_digest(tmp_path, donor):
    sha256 = hashlib.sha256(b"weights").hexdigest()
    call(tmp_path, sha256, "--source", str(donor))
    assert (tmp_path / "en.nemo").read_bytes() == b"weights"
    report = json.loads((tmp_path / "en.json").read_text())
    assert report == {"source": str(donor), "sha256": sha256, "size_bytes": 7}


def test_a_wrong_digest_is_named_and_nothing_is_kept(tmp_path, donor):
    with pytest.raises(UserError, match=r"given\.nemo: sha256 is [0-9a-f]{64}, expected 0{64}"):
        call(tmp_path, "0" * 64, "--source", str(donor))
    assert not (tmp_path / "en.nemo").exists()


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(UserError, match=r"nowhere\.nemo: no such init; correct inits"):
        call(tmp_path, None, "--source", str(tmp_path / "nowhere.nemo"))


def test_a_hub_that_cannot_be_reached_is_said_with_the_way_out(tmp_path, monkeypatch):
    # A closed port of this machine: a real refusal, quickly.
    monkeypatch.setenv("HF_HUB_OFFLINE", "0")
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", "http://127.0.0.1:9")
    hub = {"repo": "someone/model", "revision": "main", "file": "model.nemo"}
    with pytest.raises(
        UserError, match=r"someone/model@main: model\.nemo cannot be downloaded .*HF_TOKEN.*path"
    ):
        call(tmp_path, None, "--hub", json.dumps(hub))
    assert not (tmp_path / "en.nemo").exists()
