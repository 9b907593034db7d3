"""Digests tell contents and names apart, names come after bytes, and damage is named."""

import gzip
import hashlib
import json
import logging
import os

import pandas
import pytest

from warmstart.run import files, folders
from warmstart.run.errors import Damaged


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


@pytest.fixture
def reached(monkeypatch):
    """What the disk is asked for, in order: names of what is flushed, and the rename."""
    asked = []
    flush, replace = os.fsync, os.replace

    def record(descriptor):
        asked.append(os.path.basename(os.readlink(f"/proc/self/fd/{descriptor}")))
        flush(descriptor)

    def rename(one, other):
        asked.append(f"rename to {os.path.basename(other)}")
        replace(one, other)

    monkeypatch.setattr(os, "fsync", record)
    monkeypatch.setattr(os, "replace", rename)
    return asked


def test_bytes_reach_the_disk_before_their_name_and_the_name_before_the_end(tmp_path, reached):
    files.write_json(tmp_path / "starts.json", [1])
    assert reached == [f".starts.{os.getpid()}.json", "rename to starts.json", tmp_path.name]


def test_a_folder_appears_with_all_that_is_in_it(tmp_path, reached):
    with folders.atomic_directory(tmp_path / "bundle") as folder:
        (folder / "inside").mkdir()
        (folder / "inside" / "tokens.txt").write_text("a")
    assert reached == ["inside", "tokens.txt", f".bundle.{os.getpid()}", tmp_path.name]


WHOLE = json.dumps({"lang": "it", "text": "perché"}, ensure_ascii=False).encode()


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"", "empty"),
        (WHOLE[: len(WHOLE) // 2], "Unterminated string"),
        (WHOLE[:-3], "codec can't decode byte"),  # in the middle of a letter
        (b"\0" * len(WHOLE), "Expecting value"),  # what some file systems leave of a crash
    ],
)
def test_a_damaged_document_is_named_with_what_to_do(tmp_path, content, why):
    path = tmp_path / "560ms.json"
    path.write_bytes(content)
    with pytest.raises(Damaged) as raised:
        files.read_json(path)
    said = str(raised.value)
    assert said.startswith(f"{path}: damaged ({why}"[: len(said)]) or why in said
    assert said.endswith("; delete it and run the workflow again")
    assert "\n" not in said


def test_a_key_that_is_gone_names_the_file(tmp_path):
    path = tmp_path / "run.json"
    files.write_json(path, {"hours": 1})
    read = files.read_json(path)
    assert read["hours"] == 1
    assert read.get("steps") is None
    assert read == {"hours": 1}
    with pytest.raises(Damaged, match=r"run\.json: damaged \(no 'steps' in it\); delete it"):
        read["steps"]


def test_work_goes_on_without_a_damaged_note_which_is_kept(tmp_path, caplog):
    path = tmp_path / "starts.json"
    assert files.read_if_whole(path, list, "none") is None
    assert not caplog.records
    path.write_text("[1, 2]")
    assert files.read_if_whole(path, list, "none") == [1, 2]
    path.write_text("[1, ")
    with caplog.at_level(logging.WARNING):
        assert files.read_if_whole(path, list, "hours of before are not counted") is None
    [record] = caplog.records
    assert "starts.json: damaged (Expecting value" in record.message
    assert record.message.endswith("kept as starts.json.damaged; hours of before are not counted")
    assert not path.exists()
    assert (tmp_path / "starts.json.damaged").read_text() == "[1, "
    path.write_text("{}")  # whole, and not what belongs there
    assert files.read_if_whole(path, list, "none", aside=False) is None
    assert path.exists()


def unpacked(path):
    with gzip.open(path) as stream:
        return stream.read()


def test_parsers_that_name_no_file_are_helped(tmp_path):
    packed, table, comma = (tmp_path / name for name in ("a.jsonl.gz", "a.parquet", "a.csv"))
    packed.write_bytes(gzip.compress(b"line\n" * 999)[:40])
    pandas.DataFrame({"a": range(99)}).to_parquet(table)
    table.write_bytes(table.read_bytes()[:-20])
    comma.write_text("")
    readers = {
        packed: lambda: unpacked(packed),
        table: lambda: pandas.read_parquet(table),
        comma: lambda: pandas.read_csv(comma),
    }
    for path, read in readers.items():
        with pytest.raises(Damaged) as raised, files.reading(path):
            read()
        assert str(raised.value).startswith(f"{path}: damaged (")
    # Not there, or not allowed, is no damage.
    with pytest.raises(FileNotFoundError), files.reading(path):
        (tmp_path / "nowhere").read_text()


@pytest.mark.parametrize(
    ("content", "end", "whole"),
    [
        (b"a,b\n1,2\n", b"\n", True),
        (b"a,b\r\n1,2\r\n", b"\n", True),
        (b"a,b\n1,2", b"\n", False),
        (b"", b"\n", False),
        (b"<svg></svg>\n", b"</svg>", True),
        (b"<svg></svg>", b"</svg>", True),
        (b"<svg><g>" + b" " * 99, b"</svg>", False),
    ],
)
def test_a_table_or_drawing_that_ends_in_the_middle_is_damaged(tmp_path, content, end, whole):
    path = tmp_path / "wer.csv"
    path.write_bytes(content)
    if whole:
        files.require_end(path, end)
        return
    with pytest.raises(Damaged, match=r"wer\.csv: damaged \((empty|it ends in the middle)\); "):
        files.require_end(path, end)


def test_a_bit_in_the_scores_is_seen_by_their_checksums(tmp_path):
    """Uncompressed, so that nothing but the checksum can see it; `score.py` writes them."""
    import pyarrow
    import pyarrow.parquet

    path = tmp_path / "it.parquet"
    table = pyarrow.table({"hypothesis": ["sette otto"] * 5000 + ["nove"]})
    pyarrow.parquet.write_table(
        table, path, compression="none", use_dictionary=False, write_page_checksum=True
    )
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    with pytest.raises(Damaged, match=r"it\.parquet: damaged \("), files.reading(path):
        pandas.read_parquet(path, page_checksum_verification=True)
