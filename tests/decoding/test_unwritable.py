"""What the tokens of a published model cannot write of test texts."""

import pytest
from made.pool_material import cut, write

from warmstart.decoding.unwritable import report_of
from warmstart.run import files
from warmstart.run.errors import UserError

TEXT = {"it": {"alphabet": "abcdefghijklmnopqrstuvwxyzéò"}}


def report(tmp_path, pieces, text, tokens="bpe", most=None):
    manifest = write(tmp_path / "test.jsonl.gz", [cut("u", text), cut("v", "uno")])
    output = tmp_path / "ml.json"
    made = report_of(pieces, {"it/human": manifest}, TEXT, tokens, output, most)
    assert files.read_json(output) == made
    return made["tests"]["it/human"]


def test_a_letter_is_written_in_any_case_and_what_is_missing_is_counted(tmp_path):
    found = report(tmp_path, ["", "▁UN", "o", "é"], "Né, è: NÉ!")
    # n é è n é, and u n o; `é` is there, and N and U are capitals.
    assert found == {"characters": 8, "unwritable": {"è": 1}}


def test_bytes_write_everything(tmp_path):
    assert report(tmp_path, ["<0x00>", "<0xC3>"], "è")["unwritable"] == {}


def test_of_a_head_of_phones_phones_are_counted(tmp_path):
    found = report(tmp_path, ["u", "n", "o"], "gnu", tokens="ipa")
    assert found == {"characters": 5, "empty": 0, "unwritable": {"ɲ": 1}}


def test_more_than_the_limit_is_refused_and_nothing_is_written(tmp_path):
    with pytest.raises(UserError, match=r"^ml: test set it/human has 1 character \(25 %\)"):
        report(tmp_path, ["u", "n", "o"], "è", most=0.2)
    assert not (tmp_path / "ml.json").exists()
