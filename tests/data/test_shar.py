"""Shards: the samples that files give, a few large files, damage that is named and mended."""

import json
import logging
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from lhotse import CutSet
from lhotse.shar.readers import TarIterator
from made import packed as material

import pack_pool
from warmstart.data import budgets, cut_lines, packing, shar
from warmstart.run.errors import Damaged, UserError

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def pool(tmp_path_factory) -> Path:
    return material.pool(tmp_path_factory.mktemp("audio"))


def pack(pool: Path, folder: Path, **options) -> dict:
    options = {"version": 1, "shard_cuts": 5} | options
    return packing.pack(pool, folder / shar.INDEX, folder / "report.json", **options)


def opened(monkeypatch) -> list[str]:
    """Paths that are opened from now on by libsndfile."""
    import soundfile

    seen, before = [], soundfile.SoundFile.__init__

    def noting(self, file, *arguments, **options):
        if isinstance(file, (str, Path)):
            seen.append(str(file))
        before(self, file, *arguments, **options)

    monkeypatch.setattr(soundfile.SoundFile, "__init__", noting)
    return seen


@pytest.mark.parametrize("speed", [1.0, 0.9, 1.1])
@pytest.mark.parametrize("rate", [16000, 8000])
def test_samples_are_those_of_the_files(pool, tmp_path, monkeypatch, speed, rate):
    report = pack(pool, tmp_path)
    assert report["left_in_files"] == {}
    assert set(report["packed_as"]) == {"flac", "wav", "mp3", "ogg", "opus", "au"}
    cuts = CutSet.from_file(pool).resample(rate)
    cuts = CutSet.from_cuts(
        [cut if speed == 1.0 else cut.perturb_speed(speed, affix_id=False) for cut in cuts]
    )
    expected = [cut.load_audio() for cut in cuts]
    seen = opened(monkeypatch)
    given = shar.Packed([tmp_path]).cuts(cuts)
    assert [cut.id for cut in given] == [cut.id for cut in cuts]
    for cut, samples in zip(given, expected, strict=True):
        assert np.array_equal(cut.load_audio(), samples), cut.id
    assert seen == []  # no recording was opened


def test_a_budget_is_a_prefix_of_the_shards(pool, tmp_path):
    pack(pool, tmp_path / "all")
    lines = list(cut_lines.read(pool))
    hours = sum(map(cut_lines.duration_s, lines[:10])) / 3600
    budgets.subset(pool, hours, tmp_path / "budget.jsonl.gz", tmp_path / "budget.json")
    assert len(list(cut_lines.read(tmp_path / "budget.jsonl.gz"))) == 10
    for number in range(2, 5):
        (tmp_path / "all" / shar.shard_name(number)).unlink()
    cuts = CutSet.from_file(tmp_path / "budget.jsonl.gz")
    for cut, own in zip(shar.Packed([tmp_path / "all"]).cuts(cuts), cuts, strict=True):
        assert np.array_equal(cut.load_audio(), own.load_audio())


def test_lhotse_reads_the_shards(pool, tmp_path):
    pack(pool, tmp_path)
    found = [one for path in sorted(tmp_path.glob("*.tar")) for one in TarIterator(path)]
    by_id = {cut.id: cut for cut in CutSet.from_file(pool)}
    whole = [recording for recording, _ in found if recording.id.startswith("whole")]
    assert len(whole) == 12
    for recording in whole:
        assert np.array_equal(recording.load_audio(), by_id[recording.id].load_audio())


def test_the_same_pool_gives_the_same_bytes(pool, tmp_path):
    pack(pool, tmp_path / "one")
    pack(pool, tmp_path / "two", threads=2)
    names = sorted(path.name for path in (tmp_path / "one").iterdir())
    assert names == sorted(path.name for path in (tmp_path / "two").iterdir())
    for name in names:
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()


@pytest.mark.parametrize("harm", ["cut", "altered", "gone"])
def test_a_damaged_shard_is_named_and_only_that_is_packed_again(pool, tmp_path, caplog, harm):
    pack(pool, tmp_path)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    others = {path: path.stat().st_ino for path in tmp_path.glob("*.tar")}
    shard = tmp_path / shar.shard_name(1)
    data = bytearray(shard.read_bytes())
    if harm == "cut":
        shard.write_bytes(data[: len(data) // 2])
    elif harm == "altered":
        data[700] ^= 1
        shard.write_bytes(data)
    else:
        shard.unlink()
    del others[shard]
    reader, cuts = shar.Packed([tmp_path]), CutSet.from_file(pool)
    with pytest.raises(Damaged, match=r"000001\.tar.*delete .*index\.npy and run"):
        reader.cuts(cuts)
    if harm != "altered":
        with pytest.raises(Damaged, match=r"000001\.tar"):
            reader.require(pool)
    (tmp_path / shar.INDEX).unlink()
    with caplog.at_level(logging.WARNING):
        pack(pool, tmp_path)
    assert "000001.tar" in caplog.text
    assert "packed again" in caplog.text
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before
    assert {path: path.stat().st_ino for path in others} == others


def test_other_cuts_and_another_version_are_packed_again(pool, tmp_path):
    pack(pool, tmp_path)
    inodes = {path.name: path.stat().st_ino for path in tmp_path.glob("*.tar")}
    lines = list(cut_lines.read(pool))
    fewer = tmp_path / "fewer.jsonl.gz"
    with cut_lines.writing(fewer) as stream:
        for line in lines[:12]:
            stream.write(cut_lines.line(line))
    pack(fewer, tmp_path)
    kept = {path.name: path.stat().st_ino for path in tmp_path.glob("*.tar")}
    assert sorted(kept) == ["000000.tar", "000001.tar", "000002.tar"]
    assert [kept[name] == inodes[name] for name in sorted(kept)] == [True, True, False]
    pack(fewer, tmp_path, version=2)
    again = {path.name: path.stat().st_ino for path in tmp_path.glob("*.tar")}
    assert not any(again[name] == kept[name] for name in kept)


def test_a_cut_that_is_in_no_shard_is_named(pool, tmp_path):
    pack(pool, tmp_path)
    other = material.pool(tmp_path / "other", count=1)
    with pytest.raises(UserError, match=r"whole-0 .*in no packed pool; run rule pack_pool"):
        shar.Packed([tmp_path]).require(other)


def test_what_cannot_be_read_is_counted_and_left(pool, tmp_path):
    lines = [dict(line) for line in cut_lines.read(pool)][:4]
    text = json.dumps(lines[0]).replace("0.flac", "lost.flac")
    manifest = tmp_path / "pool.jsonl.gz"
    with cut_lines.writing(manifest) as stream:
        for line in [json.loads(text), *lines[1:]]:
            stream.write(cut_lines.line(line))
    report = pack(manifest, tmp_path / "shar")
    assert report["left_in_files"] == {"unreadable": 1}
    reader = shar.Packed([tmp_path / "shar"])
    reader.require(manifest)
    first = next(iter(reader.cuts(CutSet.from_file(manifest))))
    assert first.recording.sources[0].type == "file"  # fails as it does without shards


def test_a_decoder_that_starts_elsewhere_with_other_samples_is_not_believed(
    pool, tmp_path, monkeypatch
):
    import soundfile

    seek = soundfile.SoundFile.seek

    def coarse(self, frames, *where):
        exact = not isinstance(self.name, (str, Path))
        return seek(self, frames if exact else frames - frames % 1000, *where)

    monkeypatch.setattr(soundfile.SoundFile, "seek", coarse)
    report = pack(pool, tmp_path)
    assert report["left_in_files"]["seek_not_exact"] >= 6


@pytest.mark.parametrize("suffix", [".mp3", ".opus"])
def test_parts_of_recordings_whose_seeks_are_not_exact_stay_in_files(tmp_path, suffix):
    """With them in shards, some samples would be others than Lhotse reads."""
    path = material.encode(material.audio(60, 48000, 3), tmp_path / f"session{suffix}", 48000)
    with cut_lines.writing(tmp_path / "pool.jsonl.gz") as stream:
        for number in range(12):
            span = (1.3 + 3.71 * number, 3.2 + 3.71 * number)
            stream.write(cut_lines.line(material.cut(path, f"part-{number}", (span,))))
    report = pack(tmp_path / "pool.jsonl.gz", tmp_path / "shar")
    assert (report["packed_as"], report["left_in_files"]) == ({}, {"seek_not_exact": 12})
    cuts = CutSet.from_file(tmp_path / "pool.jsonl.gz")
    for cut, own in zip(shar.Packed([tmp_path / "shar"]).cuts(cuts), cuts, strict=True):
        assert np.array_equal(cut.load_audio(), own.load_audio())


def test_a_file_that_the_decoder_knows_by_its_name_alone_stays_where_it_is(
    pool, tmp_path, monkeypatch
):
    import soundfile

    info = soundfile.info

    def by_name(file, *arguments):
        if not isinstance(file, (str, Path)) and file.read(4) == b"fLaC":
            raise soundfile.LibsndfileError(1)
        if not isinstance(file, (str, Path)):
            file.seek(0)
        return info(file, *arguments)

    monkeypatch.setattr(soundfile, "info", by_name)
    report = pack(pool, tmp_path)
    assert report["left_in_files"] == {"needs_its_name": 3}  # whole-0, whole-5, whole-10


def test_few_shards_are_open_at_a_time(pool, tmp_path, monkeypatch):
    pack(pool, tmp_path)
    monkeypatch.setattr(shar, "_OPEN_SHARDS", 2)
    before = len(os.listdir("/proc/self/fd"))
    reader = shar.Packed([tmp_path])
    cuts = CutSet.from_file(pool)
    for cut, own in zip(reader.cuts(cuts), cuts, strict=True):
        assert np.array_equal(cut.load_audio(), own.load_audio())
    # One is the map of the index.
    assert len(os.listdir("/proc/self/fd")) <= before + 3


def test_an_index_that_is_none_is_named(pool, tmp_path):
    pack(pool, tmp_path)
    index = tmp_path / shar.INDEX
    index.write_bytes(index.read_bytes()[:200])
    with pytest.raises(Damaged, match=r"index\.npy: cannot be read .*run rule pack_pool again"):
        shar.Packed([tmp_path]).require(pool)
    with open(index, "wb") as stream:
        np.save(stream, np.zeros(3))
    with pytest.raises(Damaged, match="not an index of shards"):
        shar.Packed([tmp_path]).require(pool)


def test_a_killed_packing_goes_on(pool, tmp_path):
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    pack(pool, whole, shard_cuts=2)
    script = (
        "import sys; from pathlib import Path; from warmstart.data import packing;"
        "f = Path(sys.argv[2]);"
        "packing.pack(Path(sys.argv[1]), f / 'index.npy', f / 'report.json', 1, shard_cuts=2)"
    )
    environment = os.environ | {"PYTHONPATH": str(Path(pack_pool.__file__).parent)}
    child = subprocess.Popen([sys.executable, "-c", script, pool, killed], env=environment)
    while len(list(killed.glob("0*.json"))) < 3:
        assert child.poll() is None
    child.send_signal(signal.SIGKILL)
    child.wait()
    assert not (killed / shar.INDEX).exists()
    kept = {path: path.stat().st_ino for path in sorted(killed.glob("0*.tar"))[:3]}
    pack(pool, killed, shard_cuts=2)
    assert {path: path.stat().st_ino for path in kept} == kept
    for path in whole.iterdir():
        assert (killed / path.name).read_bytes() == path.read_bytes()


def test_the_program_writes_index_and_report(pool, tmp_path):
    arguments = ["--pool", pool, "--output", tmp_path / "index.npy"]
    pack_pool.main([*map(str, arguments), "--report", str(tmp_path / "report.json")])
    report = json.loads((tmp_path / "report.json").read_text())
    assert (report["cuts"], report["shards"]) == (24, 1)
    assert len(shar.read_index(tmp_path / "index.npy")) == 30
