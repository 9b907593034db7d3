"""data/phone_inventory.py: which phones languages have, and how much of one others cover."""

import gzip
import json

import pytest
from made.hypotheses import TEXT
from num2words import num2words

import list_phones
from warmstart.data import phone_inventory
from warmstart.run.errors import UserError


def test_coverage_is_of_tokens_by_hand():
    target = {"a": 6, "t": 3, "ʁ": 1}
    assert phone_inventory.coverage(target, [{"a": 1}, {"t": 5, "o": 1}]) == (0.9, ["ʁ"])
    assert phone_inventory.coverage(target, []) == (0.0, ["a", "t", "ʁ"])
    assert phone_inventory.coverage(target, [target]) == (1.0, [])


def test_what_is_rarer_than_one_in_ten_thousand_is_no_phone_of_a_language():
    german = {"a": 20_000, "ð": 1}
    assert phone_inventory.used(german) == {"a"}
    assert phone_inventory.coverage({"a": 1, "ð": 1}, [german]) == (0.5, ["ð"])


def test_number_words_of_italian_and_french():
    """Characters of IPA in number words: what was found when this was planned. Italian uses six
    that English lacks, and none that the five pretraining languages lack; French lacks the ʁ and
    the nasal tilde alone."""
    numbers = [*range(0, 100, 3), 123, 456, 789, 1000]

    def characters(lang):
        words = [num2words(number, lang=lang) for number in numbers]
        return {character for phone in phone_inventory.count(words, lang) for character in phone}

    five = [characters(lang) for lang in ("en", "de", "es", "nl", "pl")]
    italian, french = characters("it"), characters("fr")
    assert italian - five[0] == set("jmorɾʃ")
    assert italian - set().union(*five) == set()
    assert french - set().union(*five) == {"ʁ", "\u0303"}


def listed(tmp_path, lang, *arguments):
    """What the program writes."""
    output = tmp_path / f"{lang}.json"
    list_phones.main(["--lang", lang, *arguments, "--output", str(output)])
    return json.loads(output.read_text(encoding="utf-8"))


def test_the_program_reads_text_or_number_words(tmp_path):
    cuts = tmp_path / "it.jsonl.gz"
    with gzip.open(cuts, "wt", encoding="utf-8") as stream:
        for place, text in enumerate(["La casa!", "la casa"]):
            stream.write(json.dumps({"id": str(place), "supervisions": [{"text": text}]}) + "\n")
    settings = ["--settings", json.dumps({"text": TEXT})]
    found = listed(tmp_path, "it", "--cuts", str(cuts), *settings)
    assert (found["source"], found["texts"], found["voice"]) == ("text", 2, "it")
    assert found["phones"] == {"a": 6, "k": 2, "l": 2, "z": 2}
    assert phone_inventory.read(tmp_path / "it.json") == found["phones"]
    numbers = listed(tmp_path, "fr")
    assert numbers["source"] == "numbers"
    assert {"ʁ", "ɔ̃", "z"} <= set(numbers["phones"])


@pytest.mark.parametrize(
    ("lang", "settings", "reason"),
    [
        ("xx", {}, "num2words does not spell its numbers"),
        ("it", {"espeak_voice": "xx"}, "no voice 'xx'"),
    ],
)
def test_a_language_that_nobody_speaks_has_a_reason_and_stops_nothing(
    tmp_path, lang, settings, reason
):
    found = listed(tmp_path, lang, "--settings", json.dumps(settings))
    assert found["phones"] == {}
    assert reason in found["reason"]


def test_damaged_text_stops_the_program(tmp_path):
    (tmp_path / "it.jsonl.gz").write_bytes(b"no gzip")
    with pytest.raises(UserError, match="damaged"):
        listed(tmp_path, "it", "--cuts", str(tmp_path / "it.jsonl.gz"))
