"""Dirty labels: which cuts are hit, what becomes of their texts, what the record says, and what is
refused."""

import json
import random
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st
from made.pool_material import cut, write

import corrupt_labels
import train_tokenizer
from warmstart.data import cut_lines, labels
from warmstart.data.labels import Labels, Said
from warmstart.run import files
from warmstart.run.errors import UserError

ITALIAN = {"alphabet": "abcdefghijklmnopqrstuvwxyz"}
CHINESE = {"alphabet": "一二三四五六", "segment": "characters"}
NUMBERS = ["uno", "due", "tre", "quattro", "cinque", "sei", "sette", "otto", "nove", "dieci"]
TEXTS = [f"{first} {second} {third}" for first in NUMBERS for second in NUMBERS for third in "ab"]
SWAP, WORDS = Labels(0.5, "swap"), Labels(0.5, "words", 0.5)


def said(texts):
    return [Said(f"c{n}", text) for n, text in enumerate(texts)]


def corrupted(tmp_path, texts, how, text=ITALIAN, tests=(), name="made"):
    """What the program makes of a budget of these texts: its cuts and its report."""
    budget = write(
        tmp_path / f"{name}.budget.jsonl.gz", [cut(f"c{n}", t) for n, t in enumerate(texts)]
    )
    made, report = tmp_path / f"{name}.jsonl.gz", tmp_path / f"{name}.json"
    guard = write(
        tmp_path / f"{name}.tests.jsonl.gz", [cut(f"t{n}", t) for n, t in enumerate(tests)]
    )
    settings = {"text": text, "labels": {"word_error_rate": None, "guard": True, **how}}
    arguments = ["--training-set", "it_dirty", "--lang", "it", "--hours", "0.5"]
    arguments += ["--budget", budget, *(("--tests", f"fleurs={guard}") if tests else ())]
    arguments += ["--settings", json.dumps(settings), "--output", made, "--report", report]
    corrupt_labels.main(list(map(str, arguments)))
    return list(cut_lines.read(made)), files.read_json(report)


def texts_of(cuts):
    return [cut_lines.supervision(one)["text"] for one in cuts]


def test_cuts_that_are_hit_are_nested_in_the_share():
    ids = [f"c{n}" for n in range(4000)]
    hit = {share: {one for one in ids if labels.is_dirty(one, share)} for share in (0.25, 0.5, 1)}
    assert hit[0.25] < hit[0.5] < hit[1] == set(ids)
    assert not [one for one in ids if labels.is_dirty(one, 0)]
    # Four standard deviations of a binomial of 4000.
    for share in (0.25, 0.5):
        assert len(hit[share]) / 4000 == pytest.approx(share, abs=0.032)
    # Another hash would make every study's dirty sets others.
    assert [one for one in ids[:20] if labels.is_dirty(one, 0.25)] == ["c9", "c12", "c13"]


@pytest.mark.parametrize(
    ("texts", "expected"),
    [
        ("x y", "y x"),
        # The last one makes a ring of three with the last pair: c2 <- c3 <- c4 <- c2.
        ("v w x y z", "w v y z x"),
        # c0 and c1 are of one text; each goes with the next that differs.
        ("x x y z", "y z x x"),
        # Two that are left over take the pair apart.
        ("x y z z", "z z x y"),
        # A ring is only made with a pair that has not the same text.
        ("v w x y x", "w x y x v"),
        # More than half have one text: one keeps it.
        ("x z z", "z x z"),
        ("z z z", "z z z"),
        ("z", "z"),
        ("", ""),
    ],
)
def test_texts_change_places_by_the_rule(texts, expected):
    found = labels.swapped(said(texts.split()))
    assert " ".join(found.values()) == expected


@given(st.lists(st.sampled_from("abcdef"), max_size=30))
def test_no_text_stays_where_it_was_unless_more_than_half_are_one(texts):
    found = labels.swapped(said(texts))
    assert Counter(found.values()) == Counter(texts)
    stayed = sum(found[one.id] == one.text for one in said(texts))
    most = max(Counter(texts).values(), default=0)
    assert stayed == max(0, 2 * most - len(texts))


def test_a_larger_budget_swaps_the_same_pairs_but_for_the_last():
    small, large = labels.swapped(said(TEXTS[:50])), labels.swapped(said(TEXTS))
    assert {key: large[key] for key in small} == small
    odd = labels.swapped(said(TEXTS[:51]))
    assert sum(large[key] != text for key, text in odd.items()) == 2


def test_wrong_words_by_hand():
    """What the hashes of c5 draw for its places: insert p, delete, insert q, replace by p, replace
    by r, delete; hit below 0.464, 0.103, 0.502, 0.217, 0.801 and 0.010. Of c3: delete, six times,
    the last by p where it must not."""
    words, recent = list("abcdef"), list("pqr")
    kinds = [int(3 * how) for _, how, _ in (labels.drawn("c5", place) for place in range(6))]
    assert kinds == [2, 1, 2, 0, 0, 1]
    assert labels.wrong_words("c5", words, 0.0, recent) == words
    # Deletions behind insertions are replacements, by p both times.
    assert "".join(labels.wrong_words("c5", words, 1.0, recent)) == "appcqprp"
    # The right words c and e stand between: the last deletion is one.
    assert "".join(labels.wrong_words("c5", words, 0.5, recent)) == "appcpe"
    assert "".join(labels.wrong_words("c3", words, 1.0, recent)) == "p"
    assert "".join(labels.wrong_words("c3", words, 0.5, recent)) == "bde"


def test_every_word_is_wrong_at_a_rate_of_one_and_no_text_is_empty():
    others = [f"other{n}" for n in range(50)]
    for number in range(300):
        words = NUMBERS[: 1 + number % 8]
        made = labels.wrong_words(f"c{number}", words, 1.0, others)
        assert made
        assert labels._errors(words, made) == len(words)
    # Nothing else was ever heard: one more of it.
    assert labels.wrong_words("c0", ["uno"], 1.0, ["uno"]) == ["uno", "uno"]


@pytest.mark.parametrize("rate", [0.2, 0.5, 0.9])
def test_the_labels_have_the_word_error_rate_that_is_stated(tmp_path, rate):
    draw = random.Random(1)
    texts = [" ".join(f"w{draw.randrange(2000)}" for _ in range(8)) for _ in range(1500)]
    how = {"corrupt": 0.5, "kind": "words", "word_error_rate": rate}
    _, report = corrupted(tmp_path, texts, how)
    assert report["dirty_wer"] == pytest.approx(rate, abs=0.02)
    assert report["label_wer"] == report["word_errors"] / report["words"]
    assert report["words"] == 8 * 1500


def test_wrong_words_of_a_budget_are_those_of_a_larger_one(tmp_path):
    how = {"corrupt": 0.5, "kind": "words", "word_error_rate": 0.5}
    small, _ = corrupted(tmp_path, TEXTS[:60], how, name="small")
    large, _ = corrupted(tmp_path, TEXTS, how, name="large")
    assert texts_of(large)[:60] == texts_of(small) != TEXTS[:60]


def test_the_record_counts_what_was_done(tmp_path):
    """Of four cuts at a share of one, two pairs of texts of two words each change places: uno due
    with tre due is one word, tre quattro with cinque sei are two."""
    texts = ["uno due", "tre due", "tre quattro", "cinque sei"]
    cuts, report = corrupted(tmp_path, texts, {"corrupt": 1.0, "kind": "swap"})
    assert texts_of(cuts) == ["tre due", "uno due", "cinque sei", "tre quattro"]
    assert [cut_lines.supervision(one)["custom"]["true_text"] for one in cuts] == texts
    hours = sum(map(cut_lines.duration_s, cuts)) / 3600
    assert report == {
        "training_set": "it_dirty",
        "lang": "it",
        "budget_hours": 0.5,
        "kind": "swap",
        "corrupt": 1.0,
        "word_error_rate": None,
        **{"cuts": 4, "words": 8, "dirty_cuts": 4, "dirty_words": 8, "unchanged_cuts": 0},
        "word_errors": 6,
        "hours": pytest.approx(hours),
        "dirty_hours": pytest.approx(hours),
        **{"label_wer": 0.75, "dirty_wer": 0.75},
    }


def test_cuts_that_are_not_hit_are_as_they_were(tmp_path):
    cuts, report = corrupted(tmp_path, TEXTS, {"corrupt": 0.25, "kind": "swap"})
    hit = [labels.is_dirty(one["id"], 0.25) for one in cuts]
    changed = [new != old for new, old in zip(texts_of(cuts), TEXTS, strict=True)]
    assert changed == hit
    marked = ["true_text" in (cut_lines.supervision(one).get("custom") or {}) for one in cuts]
    assert marked == hit
    assert report["dirty_cuts"] == sum(hit)
    assert Counter(texts_of(cuts)) == Counter(TEXTS)


def test_no_label_becomes_a_sentence_of_a_test_set(tmp_path):
    how = {"corrupt": 1.0, "kind": "words", "word_error_rate": 0.5}
    free, _ = corrupted(tmp_path, TEXTS, how, name="free")
    # As test sets write it: the normaliser makes the label of it.
    tests = [f"{text.capitalize()}!" for text in texts_of(free)[:100]]
    guarded, report = corrupted(tmp_path, TEXTS, how, tests=tests, name="guarded")
    refused = set(texts_of(free)[:100])
    changed = [new for new, old in zip(texts_of(guarded), TEXTS, strict=True) if new != old]
    assert changed
    assert not refused & set(changed)
    assert report["unchanged_cuts"] >= 60
    # A pool that is not guarded by sentences has them anyway.
    same, _ = corrupted(tmp_path, TEXTS, {**how, "guard": False}, tests=tests, name="unguarded")
    assert texts_of(same) == texts_of(free)


def test_letters_are_words_where_nothing_separates_words(tmp_path):
    texts = ["一二三四", "二三四五", "四五六一"] * 20
    how = {"corrupt": 1.0, "kind": "words", "word_error_rate": 0.5}
    cuts, report = corrupted(tmp_path, texts, how, CHINESE)
    assert report["words"] == 240
    assert report["label_wer"] == pytest.approx(0.5, abs=0.15)
    assert not [text for text in texts_of(cuts) if " " in text]


@pytest.mark.parametrize(
    ("texts", "how", "expected"),
    [
        (["uno"], {"corrupt": 1.0, "kind": "swap"}, r"chooses 1 of 1 cuts, and two different"),
        (["uno"] * 5, {"corrupt": 1.0, "kind": "swap"}, r"chooses 5 of 5 cuts, and two different"),
        (["uno"] * 5, {"corrupt": 1e-9, "kind": "words"}, r"chooses 0 of 5 cuts, and no text"),
    ],
)
def test_a_budget_that_is_too_small_is_refused(tmp_path, texts, how, expected):
    with pytest.raises(UserError, match=expected):
        corrupted(tmp_path, texts, {"word_error_rate": 0.5, **how})
    assert not (tmp_path / "made.jsonl.gz").exists()
    assert not (tmp_path / "made.json").exists()


def tokenizer(tmp_path, name, how=None, **changes):
    pool = write(tmp_path / "pool.jsonl.gz", [cut(f"c{n}", text) for n, text in enumerate(TEXTS)])
    settings = {"vocab_size": 40, "text": {"it": ITALIAN}, **changes}
    if how:
        settings["labels"] = {"word_error_rate": None, "guard": True, **how}
    folder = tmp_path / name
    train_tokenizer.main(
        [
            *("--pools", f"it={pool}", "--settings", json.dumps(settings)),
            *("--output-dir", str(folder)),
        ]
    )
    # Not the model's own bytes, in which its path is.
    return (folder / "tokenizer.vocab").read_text(encoding="utf-8")


def test_the_tokenizer_learns_what_the_recogniser_is_shown(tmp_path):
    clean = tokenizer(tmp_path, "clean")
    assert tokenizer(tmp_path, "swap", {"corrupt": 0.5, "kind": "swap"}) == clean
    words = {"corrupt": 1.0, "kind": "words", "word_error_rate": 0.9}
    dirty = tokenizer(tmp_path, "words", words)
    assert dirty != clean
    # It is the tokenizer of the very texts.
    cuts, _ = corrupted(tmp_path, TEXTS, words)
    shown = write(tmp_path / "shown.jsonl.gz", cuts)
    train_tokenizer.main(
        [
            *("--pools", f"it={shown}", "--output-dir", str(tmp_path / "shown")),
            *("--settings", json.dumps({"vocab_size": 40, "text": {"it": ITALIAN}})),
        ]
    )
    assert (tmp_path / "shown/tokenizer.vocab").read_text(encoding="utf-8") == dirty
    letters = tokenizer(tmp_path, "letters", words, tokens="char")
    assert len(letters.splitlines()) == 2 + len(set("".join(TEXTS)) - {" "})
