"""The tokenizer of a language: what NeMo expects of its files, and the characters it cannot
write."""

import json

import pytest
import sentencepiece
from made.pool_material import cut, write

import train_tokenizer
from warmstart.data import tokenizer
from warmstart.run.errors import UserError

WORDS = [
    "uno",
    "due",
    "tre",
    "quattro",
    "cinque",
    "sei",
    "sette",
    "otto",
    "nove",
    "dieci",
    "venti",
    "trenta",
    "cento",
    "mille",
]
TEXTS = [f"{first} {second}" for first in WORDS for second in WORDS]


def write_cuts(path, texts):
    return write(path, [cut(f"u{n}", text) for n, text in enumerate(texts)])


@pytest.fixture
def made(tmp_path):
    pool = write_cuts(tmp_path / "pool.jsonl.gz", TEXTS)
    test = write_cuts(tmp_path / "test.jsonl.gz", ["Cento, perché?", "uno", "ñandú ñ"])
    settings = {
        "vocab_size": 48,
        "character_coverage": 1.0,
        "text": {"it": {"alphabet": "abcdefghijklmnopqrstuvwxyzé"}},
    }
    train_tokenizer.main(
        [
            "--pools",
            f"it={pool}",
            "--tests",
            f"fleurs={test}",
            "--settings",
            json.dumps(settings),
            "--output-dir",
            str(tmp_path / "it"),
        ]
    )
    return tmp_path / "it"


def test_training_text_survives_the_round_trip(made):
    processor = sentencepiece.SentencePieceProcessor(model_file=str(made / "tokenizer.model"))
    assert [processor.decode(processor.encode(text)) for text in TEXTS] == TEXTS
    assert processor.vocab_size() == 48
    assert (processor.unk_id(), processor.bos_id(), processor.eos_id(), processor.pad_id()) == (
        0,
        -1,
        -1,
        -1,
    )


def test_characters_that_no_hypothesis_can_contain_are_counted(made):
    report = json.loads((made / "coverage.json").read_text(encoding="utf-8"))
    assert report["train"]["unwritable"] == {}
    # p, h, é, ñ and ú are in none of the training words; the comma and the question mark are the
    # normaliser's.
    assert report["tests"]["fleurs"]["unwritable"] == {"ñ": 2, "p": 1, "h": 1, "é": 1, "ú": 1}


def test_the_same_text_gives_the_same_bytes(made, tmp_path):
    tokenizer.train(iter(TEXTS), tmp_path / "again", 48)
    assert (tmp_path / "again/tokenizer.model").read_bytes() != b""
    pieces = [
        line.split("\t")[0]
        for line in (made / "tokenizer.vocab").read_text(encoding="utf-8").splitlines()
    ]
    again = [
        line.split("\t")[0]
        for line in (tmp_path / "again/tokenizer.vocab").read_text(encoding="utf-8").splitlines()
    ]
    assert pieces == again


def test_nemo_loads_the_folder(made):
    from nemo.collections.common.tokenizers.sentencepiece_tokenizer import SentencePieceTokenizer

    loaded = SentencePieceTokenizer(str(made / "tokenizer.model"))
    assert loaded.ids_to_text(loaded.text_to_ids("venti otto")) == "venti otto"


def test_a_vocabulary_smaller_than_the_alphabet_is_named(tmp_path):
    with pytest.raises(UserError, match=r"3 pieces.*tokenizer\.vocab_size"):
        tokenizer.train(iter(TEXTS), tmp_path, 3)
