"""Digests tell contents and names apart, and nothing else."""

import hashlib

from warmstart.run import files


def test_a_folder_is_what_is_in_it(tmp_path):
    (tmp_path / "a" / "inside").mkdir(parents=True)
    (tmp_path / "a" / "x.bin").write_bytes(b"1")
    (tmp_path / "a" / "inside" / "y.bin").write_bytes(b"2")
    one, two = (hashlib.sha256(value).hexdigest() for value in (b"1", b"2"))
    lines = f"{two} inside/y.bin\n{one} x.bin\n"
    before = files.digest(tmp_path / "a")
    assert before == hashlib.sha256(lines.encode()).hexdigest()
    (tmp_path / "a").rename(tmp_path / "b")
    assert files.digest(tmp_path / "b") == before
    (tmp_path / "b" / "x.bin").rename(tmp_path / "b" / "z.bin")
    assert files.digest(tmp_path / "b") != before
