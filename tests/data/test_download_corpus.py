"""download_corpus: what arrives is whole and verified; what does not is named; tokens stay out of
logs and files."""

import gzip
import hashlib
import io
import itertools
import logging
import os
import shutil
import tarfile

import pytest
from made.web import serving

from warmstart.data import download
from warmstart.data.download import Digest
from warmstart.run.errors import UserError


@pytest.fixture
def site(tmp_path):
    (tmp_path / "www").mkdir()
    with serving(tmp_path / "www") as made:
        yield made


@pytest.fixture
def content(site):
    made = os.urandom(300_000)
    (site.root / "a.bin").write_bytes(made)
    return made


@pytest.fixture
def waits():
    """Collects the pauses instead of taking them."""
    return []


def get(site, tmp_path, waits, **more):
    path = tmp_path / "got" / "a.bin"
    return path, download.fetch(f"{site.url}/a.bin", path, sleep=waits.append, **more)


def leftovers(tmp_path):
    return sorted(path.name for path in (tmp_path / "got").iterdir())


def sha256(content):
    return Digest("sha256", hashlib.sha256(content).hexdigest())


def test_a_file_arrives_with_its_digest(site, tmp_path, content, waits):
    path, found = get(site, tmp_path, waits, digest=sha256(content), size=len(content))
    assert path.read_bytes() == content
    assert found == f"sha256:{sha256(content).hex}"
    assert leftovers(tmp_path) == ["a.bin"]
    assert get(site, tmp_path, waits, digest=sha256(content))[1] == found
    assert len(site.asked("/a.bin")) == 1  # the second call found it there


def test_a_cut_connection_is_continued_from_the_byte_it_reached(site, tmp_path, content, waits):
    site.faults["/a.bin"] = ["hang up", "hang up"]
    path, _ = get(site, tmp_path, waits, digest=sha256(content))
    assert path.read_bytes() == content
    starts = [int(headers.get("Range", "bytes=0-")[6:-1]) for headers in site.asked("/a.bin")]
    assert starts == [0, 150_000, 225_000]
    assert len(waits) == 2


def test_a_killed_job_is_continued_by_the_next(site, tmp_path, content, waits):
    site.faults["/a.bin"] = ["hang up"] + [503] * 20
    with pytest.raises(
        UserError, match=r"gave up after 6 tries without progress \(HTTP 503\); 150.0 kB are kept"
    ):
        get(site, tmp_path, waits)
    assert leftovers(tmp_path) == [".a.bin.part", ".a.bin.part.json"]
    site.faults.clear()
    path, _ = get(site, tmp_path, waits, digest=sha256(content))
    assert path.read_bytes() == content
    assert site.asked("/a.bin")[-1]["Range"] == "bytes=150000-"
    assert leftovers(tmp_path) == ["a.bin"]


def test_a_server_that_ignores_ranges_is_read_from_the_start(site, tmp_path, content, waits):
    site.ranges = False
    site.faults["/a.bin"] = ["hang up"]
    path, _ = get(site, tmp_path, waits, digest=sha256(content))
    assert path.read_bytes() == content


def test_two_versions_of_a_file_are_never_mixed(site, tmp_path, content, waits):
    site.faults["/a.bin"] = ["hang up"] + [503] * 20
    with pytest.raises(UserError):
        get(site, tmp_path, waits)
    site.faults.clear()
    new = os.urandom(200_000)
    (site.root / "a.bin").write_bytes(new)
    path, _ = get(site, tmp_path, waits)
    assert path.read_bytes() == new


def test_a_complete_part_needs_only_its_digest(site, tmp_path, content, waits):
    (tmp_path / "got").mkdir()
    (tmp_path / "got" / ".a.bin.part").write_bytes(content)
    path, _ = get(site, tmp_path, waits, digest=sha256(content))  # answered with 416
    assert path.read_bytes() == content


def test_a_wrong_byte_is_found_and_nothing_is_kept(site, tmp_path, content, waits):
    site.faults["/a.bin"] = ["wrong byte"]
    with pytest.raises(
        UserError, match=rf"/a.bin: sha256 is [0-9a-f]{{64}}, {sha256(content).hex} expected"
    ):
        get(site, tmp_path, waits, digest=sha256(content))
    assert leftovers(tmp_path) == []
    assert get(site, tmp_path, waits, digest=sha256(content))[0].read_bytes() == content


def test_a_wrong_size_is_named(site, tmp_path, content, waits):
    with pytest.raises(UserError, match="300000 bytes, 299000 expected"):
        get(site, tmp_path, waits, size=299_000)
    assert leftovers(tmp_path) == []


@pytest.mark.parametrize(
    ("status", "remedy"),
    [
        (401, "wants a token"),
        (403, "accept the data set's terms"),
        (404, "no such file"),
        (418, "check the source"),
    ],
)
def test_refusals_stop_at_once_with_a_remedy(site, tmp_path, content, waits, status, remedy):
    site.faults["/a.bin"] = [status]
    with pytest.raises(UserError, match=f"HTTP {status}; .*{remedy}"):
        get(site, tmp_path, waits)
    assert waits == []
    assert leftovers(tmp_path) == []


def test_busy_servers_are_asked_again_after_the_pause_they_ask_for(site, tmp_path, content, waits):
    site.faults["/a.bin"] = [
        (429, {"Retry-After": "7"}),
        503,
        (503, {"Retry-After": "Wed, 21 Oct 2015 07:28:00 GMT"}),
    ]
    path, _ = get(site, tmp_path, waits)
    assert path.read_bytes() == content
    assert waits == [7.0, 4.0, 0.0]


def test_an_absent_server_is_named(tmp_path, waits):
    with pytest.raises(UserError, match=r"127\.0\.0\.1:9/a\.bin: gave up after 6 tries"):
        download.fetch("http://127.0.0.1:9/a.bin", tmp_path / "a.bin", sleep=waits.append)


def test_a_full_disk_is_noticed_before_the_first_byte(site, tmp_path, waits):
    site.routes["/a.bin"] = (200, {"Content-Length": str(1 << 60)}, b"")
    with pytest.raises(UserError, match=r"to come, .* free on disk; make room"):
        get(site, tmp_path, waits)


def test_tokens_and_signed_links_stay_out_of_logs_messages_and_files(
    site, tmp_path, content, waits, caplog
):
    caplog.set_level(logging.DEBUG)
    secret = "very-secret-token"
    with serving(site.root) as elsewhere:
        elsewhere.faults["/a.bin"] = ["hang up"]
        site.routes["/signed"] = (
            302,
            {"Location": f"{elsewhere.url}/a.bin?signature={secret}"},
            b"",
        )
        url = f"{site.url}/signed?key={secret}"
        download.fetch(url, tmp_path / "got" / "a.bin", token=secret, sleep=waits.append)
        # The first host gets the token; the storage behind the redirect does not.
        assert any(secret in str(headers) for _, _, headers in site.requests)
        assert all("Authorization" not in headers for _, _, headers in elsewhere.requests)
    site.faults["/signed"] = [403]
    with pytest.raises(UserError) as raised:
        download.fetch(url, tmp_path / "got" / "b.bin", token=secret)
    records = [
        record.getMessage() for record in caplog.records if record.name.startswith("warmstart")
    ]
    assert records
    assert all(secret not in text for text in [*records, str(raised.value)])
    assert all(secret.encode() not in path.read_bytes() for path in (tmp_path / "got").iterdir())


PAGE = b"  <!DOCTYPE html>\n<html><body>Please log in</body></html>"


@pytest.mark.parametrize(
    ("name", "body", "said"),
    [
        ("a.bin", PAGE, "sent a web page instead of the file"),
        ("a.tar.gz", PAGE, "sent a web page instead of the file"),
        ("a.tsv", b"\xef\xbb\xbf<html></html>", "sent a web page instead of the file"),
        ("a.tar", b'<?xml version="1.0"?><Error><Code>AccessDenied</Code></Error>', "a web page"),
        ("a.tar.gz", b"Service unavailable", "begins with b'Service unavaila' instead"),
        ("a.parquet", b'{"error": 1}', "instead of the file"),
        ("a.tsv", b"", "sent nothing instead of the file"),
    ],
)
def test_a_page_in_place_of_a_file_is_refused_and_the_next_try_is_right(
    site, tmp_path, waits, name, body, said
):
    site.routes[f"/{name}"] = (200, {}, body)
    path = tmp_path / "got" / name
    with pytest.raises(UserError, match=rf"{site.url}/{name}: the server .*{said}"):
        download.fetch(f"{site.url}/{name}", path, sleep=waits.append)
    assert leftovers(tmp_path) == []
    good = {"a.tar.gz": b"\x1f\x8b x", "a.parquet": b"PAR1"}.get(name, b"id\ttext\n")
    site.routes[f"/{name}"] = (200, {}, good)
    download.fetch(f"{site.url}/{name}", path, sleep=waits.append)
    assert path.read_bytes() == good


@pytest.mark.parametrize(
    ("location", "said"),
    [
        ("/a.bin", "redirects in a circle"),
        ("file:///etc/passwd", "no address of the web"),
        ("ftp://host/x", "no address of the web"),
        ("http://[::1/x", "no address of the web"),
        ("mailto:me@host", "no address of the web"),
        ("http://ho st:port/x", "no address of the web"),
    ],
)
def test_redirects_that_lead_nowhere_are_one_line(site, tmp_path, waits, location, said):
    site.routes["/a.bin"] = (302, {"Location": location}, b"")
    with pytest.raises(UserError, match=rf"{site.url}/a\.bin: .*{said}") as found:
        get(site, tmp_path, waits)
    assert "\n" not in str(found.value)
    assert leftovers(tmp_path) == []


def test_a_body_without_end_does_not_fill_the_disk(site, tmp_path, waits, monkeypatch):
    site.routes["/a.bin"] = (200, {}, lambda: itertools.repeat(b"x" * (1 << 20)))
    part = tmp_path / "got" / ".a.bin.part"

    def room(_):
        used = part.stat().st_size if part.exists() else 0
        return shutil._ntuple_diskusage(1 << 40, used, download._SPARE_BYTES + (8 << 20) - used)

    monkeypatch.setattr(download.shutil, "disk_usage", room)
    monkeypatch.setattr(download, "_LOOK_BYTES", 1 << 20)
    with pytest.raises(UserError, match=r"/a\.bin: no room .*there may be no end to it"):
        get(site, tmp_path, waits)
    assert leftovers(tmp_path) == []
    monkeypatch.undo()
    with pytest.raises(UserError, match=r"more than 3\.0 MB came"):
        get(site, tmp_path, waits, most_bytes=3_000_000)
    assert leftovers(tmp_path) == []


def test_what_came_of_a_file_of_known_length_is_kept_when_the_disk_is_full(
    site, tmp_path, content, waits, monkeypatch
):
    monkeypatch.setattr(download, "_LOOK_BYTES", 1)
    rooms = iter([download._SPARE_BYTES + (1 << 30), 0, 0])
    monkeypatch.setattr(
        download.shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(1, 1, next(rooms))
    )
    with pytest.raises(UserError, match=r"no room on the disk after .*kept: the same command"):
        get(site, tmp_path, waits)
    monkeypatch.undo()
    path, _ = get(site, tmp_path, waits)
    assert path.read_bytes() == content


def test_a_bomb_of_the_way_is_refused_before_it_fills_memory_or_disk(site, tmp_path, waits):
    packed = gzip.compress(bytes(40 << 20))
    site.routes["/a.bin"] = (200, {"Content-Encoding": "gzip"}, packed)
    with pytest.raises(UserError, match=r"unpack to more than .*no speech corpus"):
        get(site, tmp_path, waits)
    assert leftovers(tmp_path) == []


def test_what_a_server_compresses_on_the_way_arrives_as_it_was(site, tmp_path, waits):
    text = b"id\ttext\n" * 1000
    for body in (gzip.compress(text), lambda: [gzip.compress(text)]):
        site.routes["/a.tsv"] = (200, {"Content-Encoding": "gzip"}, body)
        path = tmp_path / "got" / "a.tsv"
        path.unlink(missing_ok=True)
        download.fetch(f"{site.url}/a.tsv", path, sleep=waits.append)
        assert path.read_bytes() == text
    # Of a file that is compressed itself, the header speaks of the file.
    site.routes["/a.tar.gz"] = (200, {"Content-Encoding": "gzip"}, gzip.compress(text))
    path = tmp_path / "got" / "a.tar.gz"
    download.fetch(f"{site.url}/a.tar.gz", path, sleep=waits.append)
    assert gzip.decompress(path.read_bytes()) == text
    site.routes["/b.tsv"] = (200, {"Content-Encoding": "gzip"}, gzip.compress(text)[:-20])
    with pytest.raises(UserError, match=r"gave up after .* closed before the end"):
        download.fetch(f"{site.url}/b.tsv", tmp_path / "got" / "b.tsv", sleep=waits.append)
    assert leftovers(tmp_path) == ["a.tar.gz", "a.tsv"]


def test_archives_that_grow_without_measure_are_refused(tmp_path, monkeypatch):
    made = archive(tmp_path / "a.tar.gz", [("x/1.bin", bytes(20 << 20))])
    monkeypatch.setattr(download, "_SPARE_BYTES", 1 << 20)
    with pytest.raises(UserError, match=r"a\.tar\.gz: .* unpack to more than 21\.0 MB"):
        download.unpack(made, tmp_path / "out")
    monkeypatch.undo()
    monkeypatch.setattr(
        download.shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(1, 1, 1 << 20)
    )
    with pytest.raises(UserError, match=r"a\.tar\.gz: no room to unpack it \(1\.0 MB free"):
        download.unpack(made, tmp_path / "out")
    assert [path.name for path in tmp_path.iterdir()] == ["a.tar.gz"]


def listing(site, tmp_path):
    return download.listing(
        site.url, "md5sum.txt", tmp_path / "got", lambda text: "a.tar.gz" in text, "a.tar.gz"
    )


@pytest.mark.parametrize(
    "answer",
    [
        (200, {}, PAGE),
        (200, {"Content-Type": "application/json"}, b'{"error": "try again"}'),
        (200, {}, b""),
        (200, {"Content-Encoding": "br"}, b"\x0b\x02\x80"),
        (200, {}, b"\xff\xfe\x00 no text"),
        (200, {}, lambda: itertools.repeat(b"x" * (1 << 20))),
        (404, {}, b""),
    ],
    ids=["page", "other text", "nothing", "encoding", "bytes", "endless", "absent"],
)
def test_what_is_no_list_of_digests_is_refused_and_not_kept(site, tmp_path, answer):
    site.routes["/md5sum.txt"] = answer
    with pytest.raises(UserError, match=rf"{site.url}/md5sum\.txt"):
        listing(site, tmp_path)
    assert leftovers(tmp_path) == []
    good = b"0123  ./a.tar.gz\n"
    site.routes["/md5sum.txt"] = (200, {}, good)
    assert listing(site, tmp_path) == good.decode()
    # A later fault costs nothing that was known; a later list is the one that counts.
    site.routes["/md5sum.txt"] = answer
    assert listing(site, tmp_path) == good.decode()
    site.routes["/md5sum.txt"] = (200, {"Content-Encoding": "gzip"}, gzip.compress(b"4 " + good))
    assert listing(site, tmp_path) == "4 0123  ./a.tar.gz\n"


def test_shown_addresses_hold_no_credentials():
    assert (
        download.shown("https://me:pass@host.org:8080/x/y.tar?sig=abc#frag")
        == "https://host.org:8080/x/y.tar"
    )


def archive(path, members, mode="w:gz"):
    """A tar archive of (TarInfo or name, content)."""
    with tarfile.open(path, mode) as stream:
        for info, data in members:
            if isinstance(info, str):
                info = tarfile.TarInfo(info)
                info.size = len(data)
            stream.addfile(info, io.BytesIO(data))
    return path


@pytest.mark.parametrize("mode", ["w", "w:gz", "w:xz"])
def test_archives_are_unpacked_whole(tmp_path, mode):
    made = archive(tmp_path / "a.tar", [("x/1.txt", b"one"), ("x/y/2.txt", b"two")], mode)
    download.unpack(made, tmp_path / "out")
    assert (tmp_path / "out" / "x" / "y" / "2.txt").read_bytes() == b"two"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.tar", "out"]


def link(kind, name, target):
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, target
    return info


@pytest.mark.parametrize(
    "member",
    [
        "../evil",
        "x/../../evil",
        "/tmp/warmstart-evil",
        "x\\..\\evil",
        link(tarfile.SYMTYPE, "x/l", "../../evil"),
        link(tarfile.SYMTYPE, "x/l", "1.txt"),
        link(tarfile.LNKTYPE, "x/l", "/etc/passwd"),
        link(tarfile.FIFOTYPE, "x/pipe", ""),
        link(tarfile.CHRTYPE, "x/null", ""),
    ],
    ids=[
        "up",
        "down and up",
        "absolute",
        "backslashes",
        "link out",
        "link inside",
        "hard link",
        "pipe",
        "device",
    ],
)
def test_archives_that_reach_outside_are_refused_and_leave_nothing(tmp_path, member):
    inner = tmp_path / "in"
    inner.mkdir()
    made = archive(inner / "a.tar.gz", [("x/1.txt", b"one"), (member, b"")])
    with pytest.raises(UserError, match=r"a\.tar\.gz: member .* refused"):
        download.unpack(made, inner / "out")
    assert [path.name for path in inner.iterdir()] == ["a.tar.gz"]
    assert [path.name for path in tmp_path.iterdir()] == ["in"]


@pytest.mark.parametrize("keep", [0, 10, 0.5, -20])
def test_damaged_archives_leave_nothing(tmp_path, keep):
    made = archive(tmp_path / "a.tar.gz", [(f"x/{n}.bin", os.urandom(5000)) for n in range(20)])
    whole = made.read_bytes()
    made.write_bytes(whole[: int(len(whole) * keep) if isinstance(keep, float) else keep])
    with pytest.raises(UserError, match=r"a\.tar\.gz: (damaged|the archive is empty)"):
        download.unpack(made, tmp_path / "out")
    assert [path.name for path in tmp_path.iterdir()] == ["a.tar.gz"]
