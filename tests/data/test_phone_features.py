"""data/phone_features.py: distances of phones, against values by hand and panphon's own."""

import random

import pytest

from warmstart.data import phone_features as features


def test_distance_is_the_share_of_features_that_differ() -> None:
    # p and b differ in voice alone, one of the 24 features of panphon's table.
    assert features.distance("p", "b") == pytest.approx(1 / 24)
    assert features.distance("p", "p") == 0
    assert features.distance("p", "a") > features.distance("p", "t") > 0


def test_marks_that_are_not_known_together_are_left_out_from_the_end() -> None:
    assert features.distance("r̝̊", "r̝") == 0
    assert features.distance("ɚ", "ə") == features.distance("ə˞", "ə") < 0.2


def test_what_is_no_phone_differs_from_all_but_itself() -> None:
    assert features.distance("ʲ", "p") == 1
    assert features.distance("ʲ", "ʲ") == 0


def test_edit_distance_by_hand() -> None:
    assert features.edit_distance([], []) == 0
    assert features.edit_distance(list("pa"), []) == 2
    assert features.edit_distance([], list("pa")) == 2
    assert features.edit_distance(list("pa"), list("ba")) == pytest.approx(1 / 24)
    # An insertion is a whole phone; the substitution beside it a part of one.
    assert features.edit_distance(list("pa"), list("sba")) == pytest.approx(1 + 1 / 24)


def test_edit_distance_is_that_of_panphon() -> None:
    from panphon.distance import Distance

    theirs = Distance.__new__(Distance)  # without the classes of Dolgopolsky, which take a second
    theirs.fm = features._table()
    draw = random.Random(1)
    for _ in range(10):
        one, other = (draw.choices("ptbdkaeiouʃŋɲʁ", k=draw.randint(0, 9)) for _ in range(2))
        assert features.edit_distance(one, other) == pytest.approx(
            theirs.min_edit_distance(
                lambda _: 1,
                lambda _: 1,
                theirs.hamming_substitution_cost,
                [[]],
                *(
                    theirs.fm.word_to_vector_list("".join(each), numeric=True)
                    for each in (one, other)
                ),
            )
        )


def test_a_phone_goes_to_the_nearest_of_an_unseen_language() -> None:
    # What Italian lacks of English goes to a fricative and to a vowel.
    assert features.mapping(["p", "θ", "æ"], "pbtdkɡmnɲszfvʃaeiou") == {
        "p": "p",
        "θ": "s",
        "æ": "a",
    }
    assert features.nearest("ʁ", ["a", "p", "ɣ", "m"]) == "ɣ"
    with pytest.raises(ValueError, match="no phone"):
        features.nearest("p", [])
