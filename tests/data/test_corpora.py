"""The corpora of record: fetched from a web server with the publishers' layouts, read into the
utterances that they hold."""

import gzip
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import tracemalloc
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from lhotse import CutSet
from made import releases
from made.speech import recordings, samples
from made.web import serving

import download_corpus
import prepare_manifest
from warmstart.data import cut_lines, pool, tokenizer
from warmstart.data.corpora import open_corpus
from warmstart.data.corpora.base import BadRow, Utterance
from warmstart.data.utterances import read_test_set
from warmstart.run import files
from warmstart.run.errors import UserError
from warmstart.study import slices
from warmstart.study.config import load_config, validate
from warmstart.study.grid import Study


@pytest.fixture
def site(tmp_path):
    (tmp_path / "www").mkdir()
    with serving(tmp_path / "www") as made:
        yield made


class Workspace:
    """One corpus in one language, through the two programs."""

    def __init__(self, root, name, settings, lang="it"):
        self.root, self.name, self.lang, self.settings = (
            root,
            name,
            lang,
            {"kind": name, "train_split": "train", **settings},
        )
        self.directory = root / "resources" / name / lang

    def fetch(self):
        output = self.directory / "complete.json"
        arguments = [
            "--corpus",
            self.name,
            "--lang",
            self.lang,
            "--settings",
            json.dumps(self.settings),
        ]
        download_corpus.main(
            [*arguments, "--directory", str(self.directory), "--output", str(output)]
        )
        return files.read_json(output)

    def cuts(self, split):
        output, report = (
            self.root / "out" / f"{split}.jsonl.gz",
            self.root / "out" / f"{split}.qc.json",
        )
        arguments = [
            "--corpus",
            self.name,
            "--lang",
            self.lang,
            "--split",
            split,
            "--settings",
            json.dumps(self.settings),
        ]
        paths = [
            "--directory",
            str(self.directory),
            "--output",
            str(output),
            "--report",
            str(report),
        ]
        prepare_manifest.main([*arguments, *paths])
        return list(CutSet.from_file(output)), files.read_json(report)


def same_speech(cut, source):
    """Whether a cut sounds like (T,) samples."""
    audio = cut.load_audio()[0]
    length = min(len(audio), len(source))
    return (
        abs(len(audio) - len(source)) < 1600
        and np.corrcoef(audio[:length], source[:length])[0, 1] > 0.9
    )


def test_fleurs_from_a_mirror(site, tmp_path):
    texts = releases.fleurs(site.root)
    work = Workspace(tmp_path, "fleurs", {"code": "it_it", "source": site.url})
    facts = work.fetch()
    assert len(facts["files"]) == 6
    cuts, report = work.cuts("test")
    assert len(cuts) == 6
    assert [cut.custom["block"] for cut in cuts] == ["200"] * 3 + ["201"] * 3
    assert [cut.supervisions[0].text for cut in cuts] == [texts[0]] * 3 + [texts[1]] * 3
    assert all(cut.supervisions[0].speaker is None for cut in cuts)
    assert report["kept"]["blocks"] == 2
    assert same_speech(cuts[0], samples(recordings()[12][0]))
    before = len(site.requests)
    assert work.fetch() == facts
    assert len(site.requests) == before


def test_fleurs_goes_on_after_a_broken_download(site, tmp_path):
    releases.fleurs(site.root)
    work = Workspace(tmp_path, "fleurs", {"code": "it_it", "source": site.url})
    site.faults["/data/it_it/audio/dev.tar.gz"] = [404]
    with pytest.raises(UserError, match=r"dev\.tar\.gz: HTTP 404"):
        work.fetch()
    assert not (work.directory / "complete.json").exists()
    assert len(work.fetch()["files"]) == 6
    assert len(site.asked("/data/it_it/audio/train.tar.gz")) == 1


def test_fleurs_of_another_place_replaces_what_is_there(site, tmp_path):
    for name in ("one", "two"):
        releases.fleurs(site.root / name)
    (site.root / "two" / "data" / "it_it" / "dev.tsv").write_text(
        "7\t1000.wav\tAltro.\taltro\ta\t1\tMALE\n"
    )
    for name, count in (("one", 6), ("two", 1)):
        work = Workspace(tmp_path, "fleurs", {"code": "it_it", "source": f"{site.url}/{name}"})
        assert work.fetch()["source"].endswith(name)
        assert len(work.cuts("dev")[0]) == count


def test_fleurs_from_a_folder_leaves_the_folder_alone(tmp_path):
    releases.fleurs(tmp_path / "copy")
    before = sorted(tmp_path.joinpath("copy").rglob("*"))
    work = Workspace(tmp_path, "fleurs", {"code": "it_it", "source": str(tmp_path / "copy")})
    work.fetch()
    assert len(work.cuts("dev")[0]) == 6
    assert sorted(tmp_path.joinpath("copy").rglob("*")) == before


def hub(site, code="it_it", commit="c" * 40):
    """Answers of the hub for google/fleurs: the repository's state, its files with their digests,
    and the files."""
    headers = {"Content-Type": "application/json"}
    base = "/datasets/google/fleurs"
    site.routes[f"/api{base}/revision/main"] = (
        200,
        headers,
        json.dumps({"id": "google/fleurs", "sha": commit}).encode(),
    )
    entries = []
    for path in sorted((site.root / "data" / code).rglob("*.*")):
        relative, content = path.relative_to(site.root).as_posix(), path.read_bytes()
        sha = hashlib.sha256(content).hexdigest()
        entry = {
            "type": "file",
            "path": relative,
            "size": len(content),
            "oid": hashlib.sha1(content).hexdigest(),
        }
        if relative.endswith(".gz"):
            entry["lfs"] = {"oid": sha, "size": len(content), "pointerSize": 130}
        entries.append(entry)
        reply = {
            "ETag": f'"{sha}"',
            "X-Repo-Commit": commit,
            "X-Linked-Etag": f'"{sha}"',
            "X-Linked-Size": str(len(content)),
        }
        site.routes[f"{base}/resolve/{commit}/{relative}"] = (200, reply, content)
    site.routes[f"/api{base}/paths-info/{commit}"] = (200, headers, json.dumps(entries).encode())


@pytest.mark.slow
def test_fleurs_from_the_hub_is_pinned_and_verified(site, tmp_path):
    """huggingface_hub reads its endpoint at import, so the program runs in a process of its own."""
    releases.fleurs(site.root)
    hub(site)
    settings = {"kind": "fleurs", "code": "it_it", "revision": "main"}

    def run(name):
        directory = tmp_path / name
        arguments = [
            "--corpus",
            "fleurs",
            "--lang",
            "it",
            "--settings",
            json.dumps(settings),
            "--directory",
            directory,
        ]
        environment = {
            **os.environ,
            "HF_ENDPOINT": site.url,
            "HF_HUB_OFFLINE": "0",
            "HF_HOME": str(tmp_path / "hf"),
            "HF_TOKEN": "hf_secret",
        }
        environment |= {
            "HF_HUB_DISABLE_XET": "1",
            "HF_HUB_DISABLE_PROGRESS_BARS": "1",
            "HF_HUB_DISABLE_TELEMETRY": "1",
        }
        log = tmp_path / f"{name}.log"
        program = [
            sys.executable,
            download_corpus.__file__,
            *arguments,
            "--output",
            directory / "complete.json",
            "--log",
            log,
        ]
        done = subprocess.run(
            list(map(str, program)), env=environment, capture_output=True, text=True, timeout=120
        )
        assert "hf_secret" not in done.stderr + log.read_text()
        return directory, done

    directory, done = run("good")
    assert done.returncode == 0, done.stderr
    facts = files.read_json(directory / "complete.json")
    assert facts["revision"] == "c" * 40
    work = Workspace(tmp_path, "fleurs", settings)
    work.directory = directory
    assert len(work.cuts("train")[0]) == 6

    path = f"/datasets/google/fleurs/resolve/{'c' * 40}/data/it_it/audio/test.tar.gz"
    status, headers, content = site.routes[path]
    site.routes[path] = (status, headers, content[:-1] + b"?")
    directory, done = run("bad")
    assert done.returncode == 1
    assert "data/it_it/audio/test.tar.gz: sha256 is" in done.stderr
    assert "Traceback" not in done.stderr
    assert not (directory / "complete.json").exists()


@pytest.mark.slow
@pytest.mark.parametrize("suffix", ["opus", "flac"])
def test_mls_from_a_mirror(site, tmp_path, suffix):
    texts = releases.mls(site.root, suffix=suffix)
    work = Workspace(tmp_path, "mls", {"code": "italian", "format": suffix, "source": site.url})
    facts = work.fetch()
    assert all(digest.startswith("md5:") for digest in facts["files"].values())
    cuts, _ = work.cuts("train")
    assert {cut.id.removeprefix("mls-it-train-"): cut.supervisions[0].text for cut in cuts} == texts
    assert [cut.supervisions[0].speaker for cut in cuts] == ["100", "100", "101", "101"]
    assert same_speech(cuts[0], samples(recordings()[0][0]))
    assert not list(work.directory.glob("*.tar.gz"))  # unpacked, so the archive is gone
    assert work.fetch()["files"] == facts["files"]


@pytest.mark.slow
def test_mls_in_two_formats_lie_side_by_side(site, tmp_path):
    for suffix in ("opus", "flac"):
        releases.mls(site.root, suffix=suffix)
    for suffix in ("opus", "flac", "opus"):
        work = Workspace(tmp_path, "mls", {"code": "italian", "format": suffix, "source": site.url})
        work.fetch()
        (cut, *_), _ = work.cuts("dev")
        assert cut.recording.sources[0].source.endswith(suffix)


@pytest.mark.slow
def test_mls_unpacked_elsewhere_is_used_in_place(tmp_path):
    releases.mls(tmp_path / "www")
    shutil.unpack_archive(tmp_path / "www" / "mls_italian_opus.tar.gz", tmp_path / "copy")
    work = Workspace(tmp_path, "mls", {"code": "italian", "source": str(tmp_path / "copy")})
    work.fetch()
    assert [path.name for path in work.directory.iterdir()] == ["complete.json"]
    assert len(work.cuts("test")[0]) == 4


def test_mls_with_a_wrong_byte_or_an_evil_archive_leaves_nothing(site, tmp_path):
    releases.mls(site.root)
    work = Workspace(tmp_path, "mls", {"code": "italian", "source": site.url})
    site.faults["/mls_italian_opus.tar.gz"] = ["wrong byte"]
    with pytest.raises(
        UserError, match=r"mls_italian_opus\.tar\.gz: md5 is [0-9a-f]{32}, [0-9a-f]{32} expected"
    ):
        work.fetch()
    assert [path.name for path in work.directory.iterdir()] == ["md5sum.txt"]
    # The list is asked for anew, so that the publisher's correction is seen.
    evil = releases.evil_tar(site.root / "mls_italian_opus.tar.gz")
    (site.root / "md5sum.txt").write_text(
        f"{hashlib.md5(evil.read_bytes()).hexdigest()}  ./{evil.name}\n"
    )
    with pytest.raises(UserError, match=r"'\.\./\.\./evil' points outside the archive"):
        work.fetch()
    assert not list(tmp_path.rglob("evil"))
    assert not list((work.directory / "files").iterdir())


def test_mls_names_a_language_it_does_not_have(site, tmp_path):
    releases.mls(site.root)
    with pytest.raises(
        UserError,
        match=r"md5sum.txt does not list mls_swedish_opus.tar.gz; check the corpus's code",
    ):
        Workspace(tmp_path, "mls", {"code": "swedish", "source": site.url}, "sv").fetch()


def test_voxpopuli_joins_the_speech_intervals_as_the_official_script_does(site, tmp_path):
    segments = [item for item in releases.voxpopuli(site.root) if item["split"] == "train"]
    work = Workspace(tmp_path, "voxpopuli", {"source": site.url})
    work.fetch()
    cuts, report = work.cuts("train")
    assert [cut.supervisions[0].text for cut in cuts] == [item["text"].lower() for item in segments]
    assert [cut.supervisions[0].speaker for cut in cuts] == [item["speaker"] for item in segments]
    assert report["kept"]["speakers"] == 2
    sessions = {
        path.name.removesuffix("_original.ogg"): samples(path)
        for path in (work.directory.parent / "_shared").rglob("*.ogg")
    }
    for cut, item in zip(cuts, segments, strict=True):
        official = np.concatenate(
            [sessions[item["session"]][int(s * 16000) : int(e * 16000)] for s, e in item["vad"]]
        )
        assert cut.custom == {"block": item["speaker"], "corpus": "voxpopuli"}
        audio = cut.load_audio()[0]
        assert cut.num_samples == len(audio) == len(official)
        np.testing.assert_allclose(audio, official, atol=1e-3)
        (supervision,) = cut.supervisions
        assert supervision.duration == pytest.approx(cut.duration)


@pytest.mark.parametrize(
    ("vad", "wanted"),
    [
        ("[[0.5, 1.0], [1.5, 1.5], [2.0, 1.9], [2.5, 3.0]]", ((0.5, 1.0), (2.5, 3.0))),
        ("[[1.5, 1.5]]", ((1.5, 1.5),)),  # nothing left: for the manifest to drop and count
        ("[]", ((0.5, 3.0),)),
    ],
)
def test_voxpopuli_segments_lose_their_empty_intervals_and_nothing_else(tmp_path, vad, wanted):
    row = f"20091111-0900-PLENARY-3-it|1|Uno|uno|90000|train|male|True|None|0.5|3.0|{vad}"
    (tmp_path / "asr_it.tsv.gz").write_bytes(
        gzip.compress(f"{releases.VOXPOPULI_HEADER}\n{row}\n".encode())
    )
    (utterance,) = open_corpus("voxpopuli", "it", {"kind": "voxpopuli"}).read(tmp_path, "train")
    assert utterance.intervals == wanted


def test_voxpopuli_contiguous_takes_the_whole_stretch(site, tmp_path):
    segments = [item for item in releases.voxpopuli(site.root) if item["split"] == "test"]
    work = Workspace(tmp_path, "voxpopuli", {"source": site.url, "segments": "contiguous"})
    work.fetch()
    cuts, _ = work.cuts("test")
    for cut, item in zip(cuts, segments, strict=True):
        assert type(cut).__name__ == "MonoCut"
        assert cut.duration == pytest.approx(item["vad"][-1][1] - item["vad"][0][0], abs=1e-3)
        assert cut.start == pytest.approx(item["vad"][0][0], abs=1e-3)


def test_voxpopuli_years_are_fetched_once_for_all_languages(site, tmp_path):
    releases.voxpopuli(site.root, "it")
    releases.voxpopuli(site.root, "de")
    one = Workspace(tmp_path, "voxpopuli", {"source": site.url, "code": "it"}, "it").fetch()
    two = Workspace(tmp_path, "voxpopuli", {"source": site.url, "code": "de"}, "de").fetch()
    assert len(site.asked("/audios/original_2009.tar")) == 1
    assert one["files"]["original_2009.tar"] == two["files"]["original_2009.tar"]
    assert "original_2011.tar" not in one["files"]  # only a segment outside the splits needs it


def test_voxpopuli_as_the_official_scripts_leave_it_is_used_in_place(tmp_path):
    releases.voxpopuli(tmp_path / "copy")
    for year in ("2009", "2010"):
        shutil.unpack_archive(
            tmp_path / "copy" / "audios" / f"original_{year}.tar", tmp_path / "copy" / "raw_audios"
        )
    work = Workspace(tmp_path, "voxpopuli", {"source": str(tmp_path / "copy")})
    work.fetch()
    assert len(work.cuts("dev")[0]) == 4
    assert not (work.directory.parent / "_shared").exists()


@pytest.mark.slow
def test_a_session_of_hours_is_checked_in_little_memory(site, tmp_path):
    """Half an hour here; ten in the release. Peak memory is measured in a process of its own."""
    releases.voxpopuli(site.root, hours=0.5)
    work = Workspace(tmp_path, "voxpopuli", {"source": site.url})
    work.fetch()
    program = (
        "import resource, sys; from pathlib import Path; from warmstart.data import manifests\n"
        "before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "found = manifests.probe(Path(sys.argv[1]))\n"
        "assert found.problem is None and found.duration_s > 1800, found\n"
        "print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024)\n"
    )
    session = next((work.directory.parent / "_shared").rglob("2009*.ogg"))
    environment = {**os.environ, "PYTHONPATH": os.path.dirname(prepare_manifest.__file__)}
    done = subprocess.run(
        [sys.executable, "-c", program, session],
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )
    assert int(done.stdout) < 40  # MB; the whole session as float32 is 115


@pytest.mark.slow
def test_a_ten_hour_session_is_cut_lazily_into_its_segments(tmp_path):
    """1500 segments of one file: it is decoded once to be checked, never written again, and a cut
    reads its own second only."""
    segments = releases.voxpopuli_day(tmp_path / "copy")
    session = next((tmp_path / "copy").rglob("*.ogg"))
    before = session.stat().st_mtime_ns
    work = Workspace(tmp_path, "voxpopuli", {"source": str(tmp_path / "copy")})
    work.fetch()
    made, report = work.cuts("train")
    assert len(made) == len(segments) == 1500
    assert session.stat().st_mtime_ns == before
    assert sum(path.stat().st_size for path in (tmp_path / "out").iterdir()) < 300_000
    tracemalloc.start()
    for number in (0, 1, 748, 1498, 1499):
        audio = made[number].load_audio()[0]
        assert len(audio) == (
            12800 if number % 2 else 16000
        )  # every second segment has a pause, which is left out
        loudest = np.abs(np.fft.rfft(audio[:6400])).argmax() * 16000 / 6400
        assert loudest == pytest.approx(segments[number][1], abs=2.6)
    assert tracemalloc.get_traced_memory()[1] < 5e6  # the whole session is 1.15 GB
    tracemalloc.stop()
    # A third of the speakers is unknown: each such segment is a block of its own, and none of them
    # is a speaker.
    assert report["kept"]["speakers"] == 50
    unknown = [cut for cut in made if cut.supervisions[0].speaker is None]
    assert len({cut.custom["block"] for cut in unknown}) == len(unknown) == 500


def test_commonvoice_from_a_mirror(site, tmp_path):
    statistics = releases.commonvoice(site.root)
    work = Workspace(tmp_path, "commonvoice", {"source": site.url, "statistics": str(statistics)})
    facts = work.fetch()
    assert facts["files"]["cv-corpus-25.0-2026-03-09-it.tar.gz"].startswith("sha256:")
    cuts, _ = work.cuts("train")
    assert [cut.supervisions[0].text for cut in cuts] == ['"Ciao, disse', recordings()[1][1]]
    assert (
        cuts[0].supervisions[0].speaker
        == cuts[1].supervisions[0].speaker
        == hashlib.sha512(b"person 0").hexdigest()[:32]
    )
    assert same_speech(cuts[1], samples(recordings()[1][0]))
    validated, report = work.cuts("validated")
    # A stray tab, and the clips of dev and test.
    assert report["rows"] == {
        "read": 9,
        "kept": 4,
        "dropped": 1,
        "other_splits": {"dev": 2, "test": 2},
    }
    assert [cut.id[-4:] for cut in validated] == [
        "4000",
        "4001",
        "4002",
        "4003",
    ]  # dev and test are left out
    assert len(work.cuts("other")[0]) == 1  # CRLF


def test_commonvoice_tables_may_lack_newer_columns(tmp_path):
    header = "client_id\tpath\tsentence\tup_votes\tdown_votes\tage\tgender\taccent"
    statistics = releases.commonvoice(tmp_path / "www", header=header)
    work = Workspace(
        tmp_path, "commonvoice", {"source": str(tmp_path / "www"), "statistics": str(statistics)}
    )
    work.fetch()
    assert len(work.cuts("test")[0]) == 2
    assert (tmp_path / "www" / "cv-corpus-25.0-2026-03-09-it.tar.gz").exists()


def test_commonvoice_tarballs_are_checked_against_the_published_figures(tmp_path):
    releases.commonvoice(tmp_path / "www")
    tarball = tmp_path / "www" / "cv-corpus-25.0-2026-03-09-it.tar.gz"
    # The real figures of version 25: this is not that file.
    with pytest.raises(UserError, match=rf"{tarball.name}: \d+ bytes, 10424613036 expected"):
        Workspace(tmp_path, "commonvoice", {"source": str(tarball)}).fetch()
    assert tarball.exists()  # the user's file is never deleted
    with pytest.raises(UserError, match="has no locale 'xx'; locales: "):
        Workspace(tmp_path, "commonvoice", {"source": str(tarball), "code": "xx"}).fetch()


def test_commonvoice_without_a_key_says_what_to_do(tmp_path, monkeypatch):
    monkeypatch.delenv("MDC_API_KEY", raising=False)
    with pytest.raises(
        UserError,
        match=r"MDC_API_KEY is not in the environment; .*the data set's terms.*or set `source`",
    ):
        Workspace(tmp_path, "commonvoice", {}).fetch()


def test_commonvoice_through_its_own_client(site, tmp_path, monkeypatch):
    statistics = releases.commonvoice(site.root)
    tarball = "cv-corpus-25.0-2026-03-09-it.tar.gz"
    content = (site.root / tarball).read_bytes()
    item = {
        "id": "cv25it",
        "name": "Common Voice Scripted Speech 25.0 - Italian",
        "slug": "cv-25-it",
        "filename": tarball,
    }
    other = {
        "id": "cv24it",
        "name": "Common Voice Scripted Speech 24.0 - Italian",
        "slug": "cv-24-it",
        "filename": tarball,
    }
    plan = {
        "downloadUrl": f"{site.url}/{tarball}",
        "sizeBytes": str(len(content)),
        "checksum": hashlib.sha256(content).hexdigest(),
    }
    json_headers = {"Content-Type": "application/json"}
    site.routes["/api/datasets"] = (
        200,
        json_headers,
        json.dumps({"items": [other, item], "data": [other, item], "total": 2}).encode(),
    )
    site.routes["/api/datasets/cv25it"] = (200, json_headers, json.dumps(item).encode())
    site.routes["/api/datasets/cv25it/download"] = (200, json_headers, json.dumps(plan).encode())
    monkeypatch.setenv("MDC_API_URL", f"{site.url}/api")
    monkeypatch.setenv("MDC_API_KEY", "mdc-secret")
    work = Workspace(tmp_path, "commonvoice", {"statistics": str(statistics)})
    site.faults[f"/{tarball}"] = ["wrong byte"]
    with pytest.raises(UserError, match="sha256 is"):
        work.fetch()
    assert work.fetch()["source"] == "Mozilla Data Collective"
    assert len(work.cuts("validated")[0]) == 4
    site.faults["/api/datasets/cv25it"] = [403]
    (tmp_path / "again").mkdir()
    with pytest.raises(UserError, match="refuses cv25it; accept the data set's terms"):
        Workspace(tmp_path / "again", "commonvoice", {"statistics": str(statistics)}).fetch()
    assert all(b"mdc-secret" not in path.read_bytes() for path in work.directory.rglob("*.json"))


def test_granary_manifests_over_own_audio(tmp_path):
    audio = releases.granary(tmp_path)
    work = Workspace(tmp_path, "granary", {"directory": str(audio)})
    assert len(work.fetch()["files"]) == 2
    cuts, _ = work.cuts("train")
    rows = recordings()
    assert [cut.supervisions[0].text for cut in cuts] == [rows[number][1] for number in range(5)]
    for cut, (path, _, seconds) in zip(cuts, rows, strict=False):
        assert cut.duration == pytest.approx(
            seconds, abs=0.01
        )  # probed where the manifest says 'None'
        assert same_speech(cut, samples(path))
    assert cuts[3].custom["block"] == cuts[4].custom["block"] == "it/yodas/video"


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("{", "Expecting property name"),
        ("[" * 100_000, "recursion"),
        ("[1]", "is no object"),
        ('{"text": "a"}', "no 'audio_filepath'"),
        ('{"audio_filepath": "a.wav", "text": 1984}', "text is 1984, not a text"),
        ('{"audio_filepath": "a.wav", "text": ["a"]}', "text is .*, not a text"),
        ('{"audio_filepath": 7, "text": "a"}', "audio_filepath is 7, not a text"),
        ('{"audio_filepath": "", "text": "a"}', "audio_filepath is ''"),
        ('{"audio_filepath": "a.wav", "text": "a", "duration": NaN}', "duration is NaN"),
        ('{"audio_filepath": "a.wav", "text": "a", "duration": 1e400}', "duration is Infinity"),
        ('{"audio_filepath": "a.wav", "text": "a", "duration": "long"}', 'duration is "long"'),
        ('{"audio_filepath": "a.wav", "text": "a", "offset": -Infinity}', "offset is -Infinity"),
        ('{"audio_filepath": "a.wav", "text": "a", "offset": true}', "offset is true"),
        (
            '{"audio_filepath": "a.wav", "text": "a", "offset": 1.0, "duration": "None"}',
            "offset without a duration",
        ),
    ],
)
def test_granary_names_a_bad_line(tmp_path, line, problem):
    audio = releases.granary(tmp_path)
    path = audio / "it" / "yodas" / "it_asr_000.jsonl"
    path.write_text(line + "\n", encoding="utf-8")
    corpus = open_corpus("granary", "it", {"kind": "granary", "directory": str(audio)})
    *good, bad = corpus.read(tmp_path, "train")
    assert [type(row) for row in good] == [Utterance] * 3
    assert isinstance(bad, BadRow)
    assert bad.id == f"{path}:1"
    assert re.search(problem, bad.detail)


@pytest.mark.parametrize(
    ("kind", "settings", "problem"),
    [
        ("mls", {"format": "wav"}, "corpus mls: format is 'wav'; allowed: opus, flac"),
        ("voxpopuli", {"segments": "words"}, "segments is 'words'; allowed: vad, contiguous"),
        ("local", {"verify": "ears"}, "verify is 'ears'; allowed: decode, header"),
        ("fleurs", {"format": "wav"}, "unknown key 'format'; keys of this kind: code, hours"),
        ("mls", {"formt": "flac"}, r"unknown key 'formt' \(did you mean 'format'\?\)"),
    ],
)
def test_wrong_keys_are_named(kind, settings, problem):
    with pytest.raises(UserError, match=problem):
        open_corpus(kind, "it", {"kind": kind, **settings})


@pytest.mark.parametrize("kind", ["fleurs", "voxpopuli", "commonvoice"])
def test_a_split_that_does_not_exist_is_named(kind, tmp_path):
    with pytest.raises(UserError, match="no split 'tset'; splits: train, dev, test"):
        list(open_corpus(kind, "it", {"kind": kind}).read(tmp_path, "tset"))


def test_joined_segments_go_through_pool_tokenizer_text_and_scoring(site, tmp_path):
    """A `MixedCut` has no supervisions of its own in JSON: every reader of manifests must look into
    its first part."""
    releases.voxpopuli(site.root)
    work = Workspace(tmp_path, "voxpopuli", {"source": site.url})
    work.fetch()
    for split in ("train", "test"):
        work.cuts(split)
    train, test = tmp_path / "out" / "train.jsonl.gz", tmp_path / "out" / "test.jsonl.gz"
    text = {"alphabet": "abcdefghijklmnopqrstuvwxyzàèéìíîòóùú", "numbers": "it"}
    made = tmp_path / "pool" / "it.jsonl.gz"
    report = pool.build(
        "it",
        [("voxpopuli", train)],
        [("voxpopuli", test)],
        {"text": text},
        made,
        made.with_suffix(".json"),
    )
    assert report["total"]["cuts"] > 4
    mixed = [cut for cut in cut_lines.read(made) if "tracks" in cut]
    assert mixed
    assert all("raw_text" in cut_lines.supervision(cut)["custom"] for cut in mixed)
    assert len(list(tokenizer.supervision_texts(made))) == report["total"]["cuts"]
    references = {utterance.id: utterance for utterance in read_test_set(test)}
    assert {reference.block for reference in references.values()} == {"90003"}
    for cut in CutSet.from_file(test):
        assert references[cut.id].duration_s == pytest.approx(cut.duration)


def test_two_jobs_at_once_fetch_the_shared_recordings_once(site, tmp_path):
    for code in ("it", "de"):
        releases.voxpopuli(site.root, code)
    with ThreadPoolExecutor(2) as threads:
        jobs = [
            threads.submit(
                Workspace(tmp_path, "voxpopuli", {"source": site.url, "code": c}, c).fetch
            )
            for c in ("it", "de")
        ]
        facts = [job.result() for job in jobs]
    assert facts[0]["files"]["original_2009.tar"] == facts[1]["files"]["original_2009.tar"]
    assert len(site.asked("/audios/original_2009.tar")) == 1


@pytest.mark.parametrize("name", ["config.yaml", "demo.yaml"])
def test_every_corpus_of_the_shipped_configurations_has_a_reader_that_knows_its_keys(name):
    root = Path(__file__).resolve().parents[2]
    config = load_config(root / name)
    validate(config)
    made = Study(config)
    for lang, block in config["languages"].items():
        for corpus in block["corpora"]:
            reader = open_corpus(corpus, lang, slices.corpus(made, corpus, lang))
            assert reader.code == block["corpora"][corpus]
