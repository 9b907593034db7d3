"""What the tokens of a published model cannot write of test texts."""

import json

import pytest
from conftest import ROOT
from made.pool_material import cut, write

import list_unwritable
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


@pytest.mark.slow
def test_the_program_reads_the_tokens_of_the_demos_english_donor(tmp_path):
    """It was pretrained on English numbers: it has no `q`, and no accents."""
    manifest = write(tmp_path / "test.jsonl.gz", [cut("u", "quattro però"), cut("v", "due")])
    list_unwritable.main(
        [
            *("--init", str(ROOT / "demo/inits/en.nemo"), "--family", "fastconformer_ctc"),
            *("--tier", "1120ms:70:13", "--tests", f"it/human={manifest}"),
            *("--settings", json.dumps(TEXT), "--output", str(tmp_path / "en.json")),
        ]
    )
    found = files.read_json(tmp_path / "en.json")["tests"]["it/human"]
    # quattro 7, però 4, due 3.
    assert found["characters"] == 14
    assert {"q", "ò"} <= set(found["unwritable"])
    assert "t" not in found["unwritable"]
