"""The normaliser of training text, references and hypotheses: expected values written by hand."""

import csv
from pathlib import Path

import pytest
import yaml

from warmstart.data import text
from warmstart.run.errors import UserError

IT = {"case": "lower", "keep": "'", "hyphen": "space", "numbers": "it"}
FR = {"case": "lower", "keep": "'", "hyphen": "space", "numbers": "fr"}
DE = {"case": "lower", "keep": "", "hyphen": "space", "numbers": "de"}
PL = {"case": "lower", "keep": "", "hyphen": "space", "numbers": "pl"}
TR = {
    "case": "lower",
    "keep": "'",
    "hyphen": "space",
    "numbers": "tr",
    "replace": {"I": "ı", "İ": "i"},
}
RO = {
    "case": "lower",
    "keep": "",
    "hyphen": "space",
    "numbers": "ro",
    "replace": {"ş": "ș", "Ş": "Ș", "ţ": "ț", "\u0301": ""},
}
EN = {"case": "lower", "keep": "'", "hyphen": "space", "numbers": "en", "decimal": "."}


@pytest.mark.parametrize(
    ("raw", "settings", "wanted"),
    [
        ("Perché no? È così!", IT, "perché no è così"),
        ("L’uomo, l'Italia e un po' d'acqua.", IT, "l'uomo l'italia e un po d'acqua"),
        ("'Ciao' disse", IT, "ciao disse"),
        ("Ho 3 gatti e 21 cani", IT, "ho tre gatti e ventuno cani"),
        ("3,5 gradi", IT, "tre virgola cinque gradi"),
        ("Aujourd’hui, c'est l'été", FR, "aujourd'hui c'est l'été"),
        ("est-ce que 80 suffit", FR, "est ce que quatre vingts suffit"),
        ("Straße, Größe – und ẞ", DE, "straße größe und ß"),
        ("10 000 Einwohner", DE, "zehntausend einwohner"),
        ("10.000 Einwohner", DE, "zehntausend einwohner"),
        ("10\u202f000\u00a0000", FR, "dix millions"),
        (
            "1.234.567",
            DE,
            "eine million zweihundertvierunddreißigtausendfünfhundertsiebenundsechzig",
        ),
        ("1,234.5 miles", EN, "one thousand two hundred and thirty four point five miles"),
        ("don't stop", EN, "don't stop"),
        ("007", IT, "zero zero sette"),
        ("um 08:05 Uhr", DE, "um acht fünf uhr"),
        ("2010-2012", DE, "zweitausendzehn zweitausendzwölf"),
        ("Zażółć gęślą jaźń", PL, "zażółć gęślą jaźń"),
        ("<noise> tak [śmiech] (dobrze)", PL, "tak dobrze"),
        ("cafe\u0301 ﬁn", FR, "café fin"),
        ("co\u00adoperate", EN, "cooperate"),
        ("100 % & 5 €", IT, "cento cinque"),
        ("☃ … !!", IT, ""),
        ("", IT, ""),
        (
            "12345678901234567890",
            EN,
            "one two three four five six seven eight nine zero one two three four five six seven "
            "eight nine zero",
        ),
        ("Covid-19", IT, "covid diciannove"),
        ("\u0149 Man en 'n vrou", IT, "n man en n vrou"),
        ("A\tB\nC", IT, "a b c"),
        ("IŞIK, İzmir'in I\u0307lk 4 ili", TR, "ışık izmir'in ilk dört ili"),
        ("Şi ţara și 6 ТВ", RO, "și țara și șase тв"),
    ],
)
def test_normalize_gives_the_value_written_by_hand(raw, settings, wanted):
    assert text.normalize(raw, settings) == wanted
    assert text.normalize(wanted, settings) == wanted, "a second pass changes nothing"


@pytest.mark.parametrize(
    ("hyphen", "wanted"), [("space", "e mail"), ("keep", "e-mail"), ("join", "email")]
)
def test_hyphens_follow_the_language_block(hyphen, wanted):
    for raw in ("E-Mail", "e\u2010mail", "E\u2011Mail"):
        assert text.normalize(raw, {**DE, "hyphen": hyphen}) == wanted
    assert text.normalize("ja - nein", {**DE, "hyphen": hyphen}) == "ja nein"


def test_digits_and_case_stay_when_the_block_says_so():
    assert text.normalize("Il 3 Marzo", {**IT, "numbers": None, "case": "keep"}) == "Il 3 Marzo"


def test_wrong_examples_stop_with_the_pair_in_the_message():
    text.check_examples("it", {**IT, "examples": [["Sì, 2!", "sì due"]]})
    with pytest.raises(UserError, match=r"languages\.it\.text\.examples.*'sì due'.*'si due'"):
        text.check_examples("it", {**IT, "examples": [["Sì, 2!", "si due"]]})


def test_number_words_hold_numbers_and_not_articles_or_joining_words():
    italian, portuguese = text.number_words(IT), text.number_words({**IT, "numbers": "pt"})
    assert {"due", "ventuno", "cento", "mille", "zero"} <= italian
    assert not {"uno", "un", "e", "casa"} & italian
    assert "vinte" in portuguese
    assert "e" not in portuguese
    assert text.number_words({**IT, "numbers": None}) == frozenset()


def leaderboard_rows():
    """20 sentences a language with the outputs of the Open ASR Leaderboard's multilingual
    normaliser.

    Its rules (huggingface/open_asr_leaderboard, MultilingualNormalizer(remove_diacritics=False)
    with lang=, without joining compounds) were applied to sentences of our own; `why` says for what
    reason ours differs.
    """
    with open(
        Path(__file__).parents[1] / "fixtures" / "leaderboard.tsv", encoding="utf-8", newline=""
    ) as stream:
        return list(csv.DictReader(stream, delimiter="\t", quoting=csv.QUOTE_NONE))


@pytest.mark.parametrize("lang", ["de", "fr", "es", "it", "nl", "pl", "pt", "cs"])
def test_the_full_study_normalises_as_the_leaderboard_except_where_a_reason_is_given(lang):
    root = Path(__file__).parents[2]
    settings = yaml.safe_load((root / "config.yaml").read_text(encoding="utf-8"))["languages"][
        lang
    ]["text"]
    rows = [row for row in leaderboard_rows() if row["lang"] == lang]
    assert len(rows) == 20
    for row in rows:
        assert text.normalize(row["raw"], settings) == row["ours"]
        assert (row["leaderboard"] == row["ours"]) != bool(row["why"]), row
