"""Numbers in words: right values of the orthographies, and faults of the converter injected."""

import time

import num2words
import pytest

from warmstart.data import numbers, text
from warmstart.run.errors import UserError

LANGUAGES = numbers.known()
WRONG = {"am", "kn", "te"}


@pytest.fixture(autouse=True)
def fresh():
    """Nothing that a test's own converter said is kept."""
    caches = (numbers.spoken, numbers._digits, numbers.check, text._number_words)
    for cache in caches:
        cache.cache_clear()
    yield
    for cache in caches:
        cache.cache_clear()


@pytest.mark.parametrize("lang", [lang for lang in LANGUAGES if lang not in WRONG])
def test_a_language_is_proven(lang):
    numbers.check(lang)


@pytest.mark.parametrize("lang", sorted(WRONG))
def test_a_language_in_which_the_converter_is_wrong_is_refused_with_the_number(lang):
    with pytest.raises(UserError, match=r"num2words is wrong: \d+ is .*right: .*write null"):
        numbers.check(lang)


@pytest.mark.parametrize("lang", LANGUAGES)
def test_two_decimals_never_have_the_same_words(lang):
    seen = {}
    for whole in ("0", "3", "25"):
        for places in [str(n) for n in range(1, 10)] + [f"{n:02}" for n in range(1, 100) if n % 10]:
            for mark in numbers.MARKS[:1]:
                words = numbers.spoken(lang, whole, mark, places)
                assert seen.setdefault(words, (whole, places)) == (whole, places), words
                assert not any(char.isdigit() for char in words)


@pytest.mark.parametrize("lang", [lang for lang in LANGUAGES if lang not in WRONG])
def test_two_large_numbers_never_have_the_same_words(lang):
    seen = {}
    for power in range(3, 15):
        for first in range(1, 10):
            words = numbers.spoken(lang, f"{first}{'0' * power}")
            assert seen.setdefault(words, (first, power)) == (first, power), words


@pytest.mark.parametrize("lang", LANGUAGES)
def test_any_number_has_words_at_once(lang):
    start = time.process_time()
    for number in ("1802", "1999", "568476685", "999999999999999", "1234567890123456", "0000"):
        assert numbers.spoken(lang, number)
    assert time.process_time() - start < 2


@pytest.mark.parametrize(
    ("lang", "number", "right"),
    [
        ("sv", "40", "fyrtio"),
        ("sv", "1042", "ettusenfyrtiotvå"),
        ("sv", "21000", "tjugoettusen"),
        ("it", "118", "centodiciotto"),
        ("it", "123", "centoventitré"),
        ("it", "23000", "ventitremila"),
        ("es", "21000", "veintiún mil"),
        ("es", "101000", "ciento un mil"),
        ("de", "101000", "einhunderteintausend"),
        ("fr_CH", "201", "deux cent un"),
        ("fr_CH", "2000000", "deux millions"),
        ("fr_BE", "1000000", "un million"),
        ("fr_BE", "80", "quatre-vingts"),
        ("hu", "102", "százkettő"),
        ("da", "1000000", "en million"),
        ("da", "50", "halvtreds"),
        ("no", "21000", "tjueett tusen"),
        ("nl", "101", "honderdeen"),
        ("nl", "1", "één"),
        ("tr", "2024", "iki bin yirmi dört"),
        ("vi", "2024", "hai nghìn không trăm hai mươi bốn"),
        ("ar", "200", "مئتان"),
        ("az", "11000", "bir bir sıfır sıfır sıfır"),
    ],
)
def test_known_faults_of_the_converter_are_corrected(lang, number, right):
    assert numbers.spoken(lang, number) == right


@pytest.mark.parametrize(
    ("lang", "mark", "places", "right"),
    [
        ("de", ",", "05", "drei Komma null fünf"),
        ("de", ".", "5", "drei Punkt fünf"),
        ("es", ",", "5", "tres coma cinco"),
        ("es", ".", "5", "tres punto cinco"),
        ("pl", ",", "14", "trzy przecinek czternaście"),
        ("cs", ",", "05", "tři celá nula pět"),
        ("ru", ",", "05", "три целых пять сотых"),
        ("hu", ",", "25", "három egész huszonöt század"),
        ("hu", ",", "1234", "három egész egy kettő három négy"),
        ("tr", ",", "29", "üç virgül iki dokuz"),
        ("th", ".", "5", "สามจุดห้า"),
        ("ja", ".", "5", "三点五"),
        ("de", ",", "50", "drei Komma fünf"),
        ("de", ",", "0", "drei Komma null"),
    ],
)
def test_the_mark_that_stands_is_read_and_the_places_behind_it(lang, mark, places, right):
    assert numbers.spoken(lang, "3", mark, places) == right


@pytest.mark.parametrize("fault", [TypeError, KeyError, RecursionError, AttributeError])
def test_whatever_the_converter_raises_a_number_is_read_digit_by_digit(monkeypatch, fault):
    real = num2words.num2words

    def broken(number, lang):
        if number > 9:
            raise fault("no words")
        return real(number, lang=lang)

    monkeypatch.setattr(num2words, "num2words", broken)
    assert text.normalize("1984 und 2,75", {"numbers": "de"}) == (
        "eins neun acht vier und zwei komma sieben fünf"
    )
    assert {"zwei", "neun"} <= text.number_words({"numbers": "de"})


def test_a_converter_that_never_ends_is_refused(monkeypatch):
    monkeypatch.setattr(num2words, "num2words", lambda number, lang: time.sleep(3600))
    monkeypatch.setattr(numbers, "_CHECK_TIME_S", 0.2)
    with pytest.raises(UserError, match=r"'de': num2words has not said .* in 0.2 s; write null"):
        numbers.check("de")


@pytest.mark.parametrize(
    ("said", "complaint"),
    [("zwölf", "both 'zwölf'"), ("1984", "is '1984'"), ("mሚሊዮን", "is 'mሚሊዮን'")],
)
def test_a_converter_that_says_another_number_is_refused(monkeypatch, said, complaint):
    real = num2words.num2words
    monkeypatch.setattr(
        num2words, "num2words", lambda n, lang: said if n == 1991 else real(n, lang=lang)
    )
    with pytest.raises(UserError, match=complaint):
        numbers.check("de")


def test_a_converter_that_spells_a_shipped_value_otherwise_is_refused(monkeypatch):
    real = num2words.num2words
    monkeypatch.setattr(
        num2words, "num2words", lambda n, lang: "viertzig" if n == 40 else real(n, lang=lang)
    )
    with pytest.raises(UserError, match="40 is 'viertzig', right: 'vierzig'"):
        numbers.check("de")


def test_an_unknown_language_is_named_when_a_number_comes():
    with pytest.raises(UserError, match="'xx'"):
        text.normalize("5", {"numbers": "xx"})
