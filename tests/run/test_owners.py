"""A checkpoint that somebody else could have written is not read."""

import os

import pytest

from warmstart.run import owners
from warmstart.run.errors import UserError


@pytest.fixture
def checkpoint(tmp_path):
    folder = tmp_path / "checkpoints"
    folder.mkdir(mode=0o755)
    path = folder / "step-00000001.ckpt"
    path.write_bytes(b"x")
    path.chmod(0o644)
    return path


def test_a_file_of_ones_own_is_accepted(checkpoint):
    owners.require_ours(checkpoint)


@pytest.mark.parametrize("mode", [0o664, 0o646, 0o666])
def test_a_file_that_others_may_write_is_refused_with_the_remedy(checkpoint, mode):
    checkpoint.chmod(mode)
    with pytest.raises(
        UserError, match=rf"ckpt can be written by others \(mode {mode:o}\)"
    ) as found:
        owners.require_ours(checkpoint)
    assert f"chmod go-w {checkpoint}`" in str(found.value)
    checkpoint.chmod(mode & ~0o022)
    owners.require_ours(checkpoint)


@pytest.mark.parametrize("mode", [0o775, 0o757, 0o777])
def test_a_folder_in_which_others_may_put_files_is_refused(checkpoint, mode):
    checkpoint.parent.chmod(mode)
    with pytest.raises(UserError, match=r"checkpoints can be written by others"):
        owners.require_ours(checkpoint)


def test_in_a_sticky_folder_others_cannot_replace_a_file(checkpoint):
    checkpoint.parent.chmod(0o1777)
    owners.require_ours(checkpoint)


def test_what_belongs_to_another_user_is_refused(checkpoint, monkeypatch):
    owner = checkpoint.stat().st_uid
    monkeypatch.setattr(os, "geteuid", lambda: owner + 1)
    if owner == 0:  # the administrator's files are nobody else's
        owners.require_ours(checkpoint)
        os.chown(checkpoint, 12345, -1)
        owner = 12345
    with pytest.raises(UserError, match=rf"belongs to user {owner}, not to you"):
        owners.require_ours(checkpoint)


def test_where_a_file_system_keeps_no_modes_nothing_is_refused(checkpoint, monkeypatch):
    checkpoint.chmod(0o666)
    monkeypatch.setattr(os, "fchmod", lambda descriptor, mode: None)
    monkeypatch.setattr(owners.tempfile, "TemporaryFile", lambda dir: checkpoint.open("rb"))
    owners.require_ours(checkpoint)


def test_others_lose_the_right_to_write(checkpoint):
    checkpoint.chmod(0o666)
    with open(checkpoint, "r+b") as stream:
        owners.forbid_others(stream.fileno())
    assert checkpoint.stat().st_mode & 0o777 == 0o644
