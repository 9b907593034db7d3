"""The tokenizer of a language: what NeMo expects of its files, and the characters it cannot
write."""

import json

import pytest
import sentencepiece
from made.pool_material import cut, write
from made.small_disk import small_disk  # noqa: F401 (a fixture)

import train_tokenizer
from warmstart.data import coverage, tokenizer
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


def test_a_pool_alone_is_named_by_its_file(made, tmp_path):
    pool = write_cuts(tmp_path / "it.jsonl.gz", TEXTS)
    settings = {
        "vocab_size": 48,
        "character_coverage": 1.0,
        "text": {"it": {"alphabet": "abcdefghijklmnopqrstuvwxyzé"}},
    }
    arguments = ["--settings", json.dumps(settings), "--output-dir", str(tmp_path / "alone")]
    train_tokenizer.main(["--pools", str(pool), *arguments])
    name = "tokenizer.vocab"
    assert (tmp_path / "alone" / name).read_bytes() == (made / name).read_bytes()


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


@pytest.mark.parametrize("share", [0.0, 0.5])
def test_a_tokenizer_that_was_cut_is_named(tmp_path, share):
    tokenizer.train(["uno due tre", "quattro cinque sei"] * 9, tmp_path, 24)
    model = tmp_path / "tokenizer.model"
    tokenizer.require_whole(model)
    content = model.read_bytes()
    model.write_bytes(content[: int(share * len(content))])
    with pytest.raises(UserError, match=r"tokenizer\.model: damaged \(.*; delete it and run"):
        tokenizer.require_whole(model)


def test_what_was_wrong_with_the_text_is_not_put_down_to_the_vocabulary(tmp_path):
    def texts():
        yield "uno due tre"
        raise UserError("it.jsonl.gz: damaged; delete it")

    with pytest.raises(UserError, match=r"^it\.jsonl\.gz: damaged; delete it$"):
        tokenizer.train(texts(), tmp_path, 24)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("room_kb", [8, 16, 241])
def test_a_full_disk_leaves_no_half_of_a_tokenizer(small_disk, room_kb):
    """SentencePiece looks at no result of its writes; its model has 240 kB, of other tables."""
    folder = small_disk(1)
    (folder / "fill").write_bytes(b"0" * (2**20 - 1024 * room_kb))
    with pytest.raises(OSError, match="No space left on device"):
        tokenizer.train(["uno due tre", "quattro cinque sei"] * 9, folder / "it", 24)
    left = list((folder / "it").iterdir())
    assert all(path.stat().st_size for path in left)
    assert not (folder / "it" / "tokenizer.model").exists()


def test_letters_without_a_piece_are_counted_and_the_key_is_raised(tmp_path):
    letters = "".join(map(chr, range(0x4E00, 0x4E00 + 62)))  # and <unk>, and the mark of a word
    with pytest.raises(
        UserError, match=r"it needs 64, one for each .*raise tokenizer\.vocab_size to 64 or more"
    ):
        tokenizer.train([letters] * 3, tmp_path, 63)
    tokenizer.train([letters] * 3, tmp_path, 64)


def test_a_text_of_nothing_names_the_filters(tmp_path):
    with pytest.raises(UserError, match=r"it is empty; look into results/pools/.*text\.alphabet"):
        tokenizer.train(["", ""], tmp_path, 64)


def test_a_sentence_beyond_sentencepieces_limit_is_read(tmp_path):
    """Left out in silence, its letters could not be written."""
    words = " ".join(f"{word}ñ" for word in WORDS)
    long = " ".join([words] * 80)
    assert len(long.encode()) > 2 * 4192
    tokenizer.train([*TEXTS, long], tmp_path / "long", 48)
    assert coverage.coverage(tmp_path / "long/tokenizer.model", [words])["unwritable"] == {}
    # As if its words stood in short sentences: pieces never reach over a blank.
    tokenizer.train([*TEXTS, *([words] * 80)], tmp_path / "short", 48)
    made = [(tmp_path / name / "tokenizer.vocab").read_text() for name in ("long", "short")]
    assert made[0] == made[1]
    # Alone, and without a blank in it.
    tokenizer.train(["一二三四五六七八九十" * 500], tmp_path / "alone", 16)
    found = coverage.coverage(tmp_path / "alone/tokenizer.model", ["十 一"])
    assert found["unwritable"] == {}
