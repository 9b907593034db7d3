"""data/phones.py: phones of texts, and how they are cut."""

import random
import threading

import pytest

from warmstart.data import phones
from warmstart.run.errors import UserError


@pytest.mark.parametrize(
    ("voice", "text", "expected"),
    [
        # Stress and length go; espeak-ng writes `sˌɛi stˈato` and `pˈitsːa`.
        ("it", "sei stato", [["s", "ɛ", "i"], ["s", "t", "a", "t", "o"]]),
        ("it", "pizza", [["p", "i", "t", "s", "a"]]),
        # The hyphen of a liaison: `le-z amˈi`.
        ("fr", "les amis", [["l", "e", "z"], ["a", "m", "i"]]),
        # A language switch: `(en)ðə(de) vˈeːkənt`.
        ("de", "the weekend", [["ð", "ə"], ["v", "e", "k", "ə", "n", "t"]]),
        # A syllabic consonant: `tʃtˈr̩naːtst`. A tie bar: `ʈ͡ʂ`.
        ("cs", "čtrnáct", [["t", "ʃ", "t", "r", "n", "a", "t", "s", "t"]]),
        ("be", "чатыр", [["ʈ", "ʂ", "a", "t", "ɨ", "r"]]),
        # A tone: `bˈoɜn` and `2`. A palatal mark stays with its letter. Words may grow together.
        ("vi", "mười", [["m", "y", "ə", "j"]]),
        ("pl", "dziewięć", [["d", "ʑ", "ɛ", "vʲ", "ɛ", "ɲ", "t", "ɕ"]]),
        ("en", "of the", [["ɒ", "v", "ð", "ə"]]),
        # Several clauses; nothing to say; what would end a string of C.
        ("it", "sei, sei. sei", [["s", "ɛ", "i"]] * 3),
        ("it", "", []),
        ("it", "...", []),
        ("it", "sei\0sei", [["s", "ɛ", "i"]] * 2),
    ],
)
def test_phones_of_a_text(voice: str, text: str, expected: phones.Words) -> None:
    assert phones.Phonemiser(voice).phones(text) == expected


@pytest.mark.parametrize(
    ("string", "expected"),
    [
        ("t͡ʃˈaːo", [["t", "ʃ", "a", "o"]]),
        ("ã \u00e7 c\u0327", [["a\u0303"], ["\u00e7"], ["\u00e7"]]),
        ("ɡɛ ɡε gɛ", [["ɡ", "ɛ"]] * 3),
        ("tr̝̊i", [["t", "r̝̊", "i"]]),
        ("ʲa", [["ʲ", "a"]]),
        (" ˈ a  1-? ", [["a"]]),
    ],
)
def test_any_string_is_cut(string: str, expected: phones.Words) -> None:
    assert phones.read(string) == expected


def test_written_phones_are_read_back() -> None:
    for voice, text in (("fr", "vingt et un garçons"), ("cs", "třicet"), ("da", "fem og tredive")):
        words = phones.Phonemiser(voice).phones(text)
        assert words
        assert phones.read(phones.written(words)) == words
    assert phones.flat([["a", "b"], ["c"]]) == ["a", "b", "c"]


def test_phones_depend_on_no_earlier_text_and_no_other_thread() -> None:
    texts = [("it", "sei stato"), ("fr", "les amis"), ("de", "the weekend"), ("pl", "cześć")] * 20
    alone = {pair: phones.Phonemiser(pair[0]).phones(pair[1]) for pair in texts}
    said: list[tuple[tuple[str, str], phones.Words]] = []

    def say(seed: int) -> None:
        voices = {voice: phones.Phonemiser(voice) for voice, _ in texts}
        for pair in random.Random(seed).sample(texts, len(texts)):
            said.append((pair, voices[pair[0]].phones(pair[1])))

    threads = [threading.Thread(target=say, args=(seed,)) for seed in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(said) == 3 * len(texts)
    assert all(alone[pair] == words for pair, words in said)


def test_a_language_without_a_voice_is_refused() -> None:
    with pytest.raises(UserError, match=r"no voice .zh..*espeak_voice"):
        phones.Phonemiser("zh")
