"""What models learn to write: characters or phones, each a token, and what cannot be written."""

import json

import pytest
import sentencepiece
from made.pool_material import cut, write

import train_tokenizer
from warmstart.data import coverage, tokenizer, unwritable
from warmstart.data.targets import IPA, MOST_UNITS, PLAIN, Targets
from warmstart.run.errors import UserError

VOICES = {"it": {"espeak_voice": "it"}, "fr": {}}


def pieces_of(folder):
    return sentencepiece.SentencePieceProcessor(model_file=str(folder / "tokenizer.model"))


def test_phones_are_of_the_language_of_a_text_and_other_tokens_leave_it():
    spoken = Targets(IPA, VOICES)
    assert spoken.of("sei stato", "it") == spoken.of("sei stato", None) == "sɛi stato"
    assert spoken.of("bon", "fr") == "bɔ\u0303"
    assert spoken.units("bɔ\u0303 sʲ") == ["b", "ɔ\u0303", "sʲ"]
    assert PLAIN.of("sei stato", "xx") == "sei stato"
    assert PLAIN.units("e stà") == list("està")
    assert PLAIN.about() == {}
    about = spoken.about()
    assert about["voices"] == {"it": "it", "fr": "fr"}
    assert about["espeak_ng"][0].isdigit()
    with pytest.raises(UserError, match=r"phones are asked for in de.*voices for it, fr"):
        spoken.of("eins", "de")
    with pytest.raises(UserError, match=r"no voice 'zh'.*espeak_voice"):
        Targets(IPA, {"zh": {}})


def test_each_character_is_a_token_whatever_nfkc_would_make_of_it(tmp_path):
    texts = ["l'été ª", "ﬁn ʰ", "çà"]
    tokenizer.train_units((unit for text in texts for unit in PLAIN.units(text)), tmp_path / "a")
    pieces = pieces_of(tmp_path / "a")
    assert [pieces.decode(pieces.encode(text)) for text in texts] == texts
    letters = set("".join(texts)) - {" "}
    known = {pieces.id_to_piece(number) for number in range(pieces.vocab_size())}
    assert known == letters | {"<unk>", "▁"}
    assert (pieces.unk_id(), pieces.bos_id(), pieces.eos_id(), pieces.pad_id()) == (0, -1, -1, -1)
    found = coverage.coverage(tmp_path / "a/tokenizer.model", [*texts, "çx x"])
    assert found["unwritable"] == {"x": 2}
    assert found["characters"] == 6 + 3 + 2 + 3


def test_a_vocabulary_follows_from_the_set_of_units_alone(tmp_path):
    for name, units in (("a", "banana"), ("b", "nab")):
        tokenizer.train_units(iter(units), tmp_path / name)
    made = [(tmp_path / name / "tokenizer.vocab").read_bytes() for name in "ab"]
    assert made[0] == made[1]
    (tmp_path / "a" / "vocab.txt").unlink()
    before = (tmp_path / "a" / "tokenizer.model").read_bytes()
    tokenizer.train_units(iter("nab"), tmp_path / "a")
    assert (tmp_path / "a" / "tokenizer.model").read_bytes() == before
    assert (tmp_path / "a" / "vocab.txt").exists()


def test_a_phone_of_several_characters_is_one_token_and_its_letter_another(tmp_path):
    """A mark that follows a letter in the list of all phones is not taken for a part of it."""
    spoken = Targets(IPA, VOICES)
    tokenizer.train_units(["b", "ɔ", "ɔ\u0303", "z", "\u0303", "z\u0303"], tmp_path / "x")
    pieces = pieces_of(tmp_path / "x")
    text = "bɔ\u0303 zz\u0303ɔ"
    split = ["▁", "b", "ɔ\u0303", "▁", "z", "z\u0303", "ɔ"]
    assert pieces.encode(text, out_type=str) == split
    assert pieces.decode(pieces.encode(text)) == text
    found = coverage.coverage(tmp_path / "x/tokenizer.model", ["bɑ\u0303ɔ\u0303", ""], spoken)
    assert found["unwritable"] == {"ɑ\u0303": 1}
    assert (found["characters"], found["empty"]) == (3, 1)


def test_scripts_with_too_many_letters_and_texts_without_any_are_named(tmp_path):
    with pytest.raises(UserError, match=rf"more than {MOST_UNITS} .*tokens: bpe with"):
        tokenizer.train_units(map(chr, range(0x4E00, 0x4E00 + MOST_UNITS + 1)), tmp_path)
    with pytest.raises(UserError, match=r"it is empty; look into results/pools/"):
        tokenizer.train_units([], tmp_path)


@pytest.mark.parametrize(
    ("tokens", "spoken", "missing"),
    [("char", "Duzé l", {"z": 1, "é": 1, "l": 1}), ("ipa", "gatto, due gru", {"ɡ": 2})],
)
def test_the_program_makes_each_kind_of_pools_in_several_languages(
    tmp_path, tokens, spoken, missing
):
    pools = {
        lang: write(
            tmp_path / f"{lang}.jsonl.gz", [cut(f"{lang}{n}", text) for n, text in enumerate(texts)]
        )
        for lang, texts in {"it": ["uno due", "tre sei"], "fr": ["trois", "un"]}.items()
    }
    test = write(tmp_path / "test.jsonl.gz", [cut("t", spoken), cut("u", "due")])
    text = {"alphabet": "abcdefghijklmnopqrstuvwxyzé'", "keep": "'"}
    settings = {
        "tokens": tokens,
        "text": {lang: {**text, "espeak_voice": lang} for lang in ("it", "fr")},
        "languages": {"it": 1, "fr": 0.5},
        "replay": {"lang": "fr", "fraction": 0.1},
    }
    arguments = [
        *("--pools", *(f"{lang}={path}" for lang, path in pools.items())),
        *("--tests", f"fleurs={test}", "--settings", json.dumps(settings)),
    ]
    folder = tmp_path / "made"
    train_tokenizer.main([*arguments, "--output-dir", str(folder)])
    made = json.loads((folder / "coverage.json").read_text(encoding="utf-8"))
    assert made["train"]["unwritable"] == {}
    assert made["tests"]["fleurs"]["unwritable"] == missing
    assert made.get("phonemiser", {}).get("voices") == (
        {"it": "it", "fr": "fr"} if tokens == "ipa" else None
    )


REPORT = {
    "train": {"characters": 40, "unwritable": {}},
    "tests": {
        "fleurs": {"characters": 50, "unwritable": {"é": 3, "ñ": 1}},
        "old": {"unwritable": {"é": 30}},
    },
}


def test_what_cannot_be_written_is_said_with_its_share_and_refused_above_a_limit():
    assert unwritable.sentences(REPORT) == [
        "test set fleurs has 4 characters (8 %) that no hypothesis can contain: é 3, ñ 1",
        "test set old has 30 characters that no hypothesis can contain: é 30",
    ]
    for most in (None, 0.08):
        unwritable.require(REPORT, most, "it (bpe)")
    says = r"^it \(bpe\): test set fleurs has 4 characters \(8 %\).*unwritable_share_max = 0\.07"
    with pytest.raises(UserError, match=says):
        unwritable.require(REPORT, 0.07, "it (bpe)")
