"""Training from shards: the batches of `files`, bit for bit."""

import json
import multiprocessing
from collections import Counter
from types import SimpleNamespace

import pytest
import torch
from made import packed as material
from made.small_speech import SETTINGS

from warmstart.data import cut_lines, mixing, packing, shar
from warmstart.models.batches import SpeechDataset
from warmstart.run.errors import Damaged

STEPS = 30


@pytest.fixture(scope="module")
def pools(tmp_path_factory):
    """Language -> its pool."""
    directory = tmp_path_factory.mktemp("pools")
    return {
        lang: material.pool(directory, lang=lang, seed=seed)
        for lang, seed in (("it", 0), ("fr", 100), ("de", 200))
    }


@pytest.fixture(scope="module")
def folders(pools, tmp_path_factory):
    """Language -> the shards of its pool."""
    directory = tmp_path_factory.mktemp("shar")
    for lang, pool in pools.items():
        index = directory / lang / shar.INDEX
        packing.pack(pool, index, directory / lang / "report.json", 1, shard_cuts=5)
    return {lang: directory / lang for lang in pools}


@pytest.fixture(scope="module")
def mixture(pools, tmp_path_factory):
    """Italian and French, and German replayed; of one id in several languages each has its own."""
    directory = tmp_path_factory.mktemp("mixture")
    parts = [mixing.Part("it", pools["it"]), mixing.Part("fr", pools["fr"])]
    path = directory / "mixed.jsonl.gz"
    mixing.mix(parts, path, directory / "mixed.json", mixing.Replay("de", pools["de"], 0.2))
    return path


@pytest.fixture(scope="module")
def noise(tmp_path_factory):
    """A manifest of two recordings."""
    directory = tmp_path_factory.mktemp("noise")
    path = directory / "noise.jsonl.gz"
    with cut_lines.writing(path) as stream:
        for number in range(2):
            file = material.encode(
                material.audio(5, 16000, 500 + number), directory / f"{number}.wav"
            )
            stream.write(cut_lines.line(material.cut(file, f"noise-{number}")))
    return path


def batches(path, settings, packed=None, start=(0, 0), steps=STEPS):
    from warmstart.training import order

    model = SimpleNamespace(
        sample_rate=16000, dataset=lambda: SpeechDataset(lambda text: list(map(ord, text)))
    )
    loader, sampler = order.dataloader(model, path, settings, seed=3, packed=packed)
    sampler.start = start
    return [
        (batch, sampler.recent[step]["ids"], sampler.recent[step]["heard"])
        for step, batch in zip(range(steps), loader, strict=False)
    ]


def require_equal(ours, theirs):
    assert len(ours) == len(theirs)
    for (batch, ids, heard), (other, other_ids, other_heard) in zip(ours, theirs, strict=True):
        assert (ids, heard) == (other_ids, other_heard)
        assert all(heard)
        for tensor, reference in zip(batch, other, strict=True):
            assert torch.equal(tensor, reference)


@pytest.mark.slow
@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("bins", [[], [1.5, 2.0]], ids=["one bucket", "three buckets"])
def test_batches_are_those_of_the_files(mixture, folders, pools, noise, tmp_path, workers, bins):
    """Two languages and a replayed one, at three speeds, under noise, over several epochs."""
    settings = SETTINGS | {
        "batch_duration_s": 20,
        "bucket_bins_s": bins,
        "speed_perturb": [0.9, 1.0, 1.1],
        "noise": {"manifest": str(noise), "snr_db": [5, 15], "probability": 0.5},
    }
    theirs = batches(mixture, settings)
    heard = Counter(name for _, ids, _ in theirs for name in ids)
    assert {name.partition("-")[0] for name in heard} == {"whole", "part", "fr", "replay"}
    assert min(heard.values()) >= 2  # epochs, each with other speeds and noise
    packed = shar.Packed(list(folders.values()))
    packed.require(mixture)
    # Without the recordings, batches are made from the shards alone.
    hidden = pools["it"].parent.rename(tmp_path / "hidden")
    try:
        require_equal(batches(mixture, settings | {"num_workers": workers}, packed), theirs)
        resumed = batches(mixture, settings | {"num_workers": workers}, packed, (0, 2), 10)
        require_equal(resumed, theirs[2:12])
    finally:
        hidden.rename(pools["it"].parent)


@pytest.mark.slow
@pytest.mark.parametrize("workers", [0, 1])
def test_a_shard_altered_under_way_is_named_in_one_line(pools, tmp_path, workers):
    packing.pack(pools["it"], tmp_path / shar.INDEX, tmp_path / "report.json", 1, shard_cuts=5)
    packed = shar.Packed([tmp_path])
    data = bytearray((tmp_path / shar.shard_name(2)).read_bytes())
    data[1000] ^= 1
    (tmp_path / shar.shard_name(2)).write_bytes(data)
    packed.require(pools["it"])
    with pytest.raises(Damaged) as caught:
        batches(pools["it"], SETTINGS | {"num_workers": workers}, packed)
    assert "000002.tar is not what was packed" in str(caught.value).replace(":", "")
    assert "\n" not in str(caught.value)


def fork() -> None:
    """Start loaders as a program that was started from a shell does."""
    multiprocessing.set_start_method("fork", force=True)


@pytest.mark.slow
def test_a_run_from_shards_has_the_weights_of_a_run_from_files(speech, donors, tmp_path):
    from made.programs import Program
    from test_train import arguments, same, weights

    from warmstart.run import files

    shards = tmp_path / "shar"
    packing.pack(speech["train"], shards / shar.INDEX, shards / "report.json", 1, shard_cuts=7)

    def run(name, pace, *more):
        given = arguments(speech, donors["en"], tmp_path / name)
        given += ["--pace", json.dumps(pace), *more]
        program = Program("train", given, tmp_path / f"{name}.txt", prepare=fork)
        return program.wait(), program.said, tmp_path / name

    status, said, plain = run("plain", {})
    assert status == 0, said
    packed = ["--packed", f"it={shards}"]
    status, said, other = run("packed", {"storage": "shar", "num_workers": 1}, *packed)
    assert status == 0, said
    assert same(weights(plain / "model.nemo"), weights(other / "model.nemo"))
    records = [files.read_json(folder / "run.json") for folder in (plain, other)]
    assert records[0]["hours_seen"] == records[1]["hours_seen"]
    status, said, _ = run("forgotten", {"storage": "shar"})
    assert (status, "storage is shar, and --packed is missing" in said) == (1, True)
    status, said, _ = run("needless", {}, *packed)
    assert (status, "--packed is given" in said) == (1, True)
    # A shard that was cut: named, before the first step.
    shard = shards / shar.shard_name(1)
    shard.write_bytes(shard.read_bytes()[:3000])
    status, said, _ = run("cut", {"storage": "shar"}, *packed)
    assert (status, "Traceback" in said) == (1, False)
    assert f"{shard}: was cut short; delete {shards / shar.INDEX}" in said
