"""What is recorded of a file is compared when the file is used."""

import hashlib
import json

import pytest

from warmstart.run.errors import UserError
from warmstart.run.vouchers import verified


def sha256(content):
    return hashlib.sha256(content).hexdigest()


@pytest.mark.parametrize(
    ("name", "record", "key", "rule"),
    [
        ("runs/it/model.nemo", "runs/it/run.json", "model_sha256", "train"),
        ("runs/it/model.pt", "runs/it/run.json", "model_sha256", "train"),
        ("int4/560ms/encoder.onnx", "int4/560ms/quantize.json", "encoder_sha256", "quantize"),
        ("inits/en.nemo", "inits/en.json", "sha256", "download_init"),
        ("pretrained/en.nemo", "pretrained/en.json", "sha256", "pretrain_init"),
        ("full/fleurs.jsonl", "full/fleurs.json", "hypotheses_sha256", "decode"),
    ],
)
def test_a_file_that_is_not_what_its_record_says_is_refused(tmp_path, name, record, key, rule):
    path = tmp_path / name
    path.parent.mkdir(parents=True)
    path.write_bytes(b"as it was made")
    assert verified(path) == sha256(b"as it was made")  # nobody vouches for it yet
    (tmp_path / record).write_text(json.dumps({key: sha256(b"as it was made")}))
    assert verified(path) == sha256(b"as it was made")
    path.write_bytes(b"as it was made!")
    with pytest.raises(UserError) as found:
        verified(path)
    said = str(found.value)
    assert said.startswith(f"{path}: its SHA-256 is {sha256(b'as it was made!')[:12]}")
    assert sha256(b"as it was made")[:12] in said
    assert f"remove it and run the workflow again, which makes it anew (rule {rule})" in said
    (tmp_path / record).write_text('{"cut')
    with pytest.raises(UserError, match=rf"{(tmp_path / record).name}: damaged"):
        verified(path)
    (tmp_path / record).write_text("{}")
    assert verified(path, "known") == "known"
