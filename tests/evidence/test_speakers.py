"""Which speakers and groups of speakers lose: by hand, and from planted studies."""

import numpy as np
import pandas as pd
import pytest
from made.planted import Truth, score_table
from made.report import SHOWN
from made.tables import make_tables

from warmstart.evidence import analyses, groups, speakers
from warmstart.evidence.analyses.base import Material
from warmstart.evidence.intervals import Draws
from warmstart.evidence.keys import Cell
from warmstart.evidence.plotting import style
from warmstart.evidence.settings import Resampling

RESAMPLING = Resampling(replicates=300, confidence=0.95, seed=1)
EN, ML = (Cell("it", arm, 1.0, "full", "160ms") for arm in ("en", "ml"))


def rows(arm, people, *, words=50, seed=1, block=None, **known):
    """Rows of a score file.

    Args:
        people: speaker -> errors of each utterance.
    """
    said = [(name, errors) for name, each in people.items() for errors in each]
    table = pd.DataFrame(said, columns=["speaker", "substitutions"])
    keys = {"training_set": "it", "hours": 1.0, "precision": "full", "tier": "160ms"}
    table = table.assign(lang="it", test_set="human", arm=arm, seed=seed, ref_words=words, **keys)
    table["block"] = table.speaker if block is None else block
    return table.assign(deletions=0, insertions=0, **{"gender": None, "accent": None, **known})


def voices_of(*tables):
    reader = speakers.Reader()
    for table in tables:
        reader.add(table)
    (voices,) = reader.voices()
    return voices


def people(*kinds):
    """(how many speakers, errors of each of their utterances) -> speakers."""
    errors = [each for count, each in kinds for _ in range(count)]
    return {f"s{place:03}": each for place, each in enumerate(errors)}


def values(*kinds):
    spread = speakers.Spread(voices_of(rows("en", people(*kinds))), RESAMPLING)
    return {name: draws.value for name, draws in spread.of(EN).items()}


def test_speakers_whose_utterances_are_alike_differ_by_what_is_seen():
    # 20 speakers of 100 words: half make 10 errors, half 30; ranks lie between the halves.
    found = values((10, (5, 5)), (10, (15, 15)))
    assert found["sd"] == pytest.approx(np.std([10] * 10 + [30] * 10, ddof=1))
    assert (found["median"], found["worst_decile"]) == pytest.approx((20, 30))
    assert found["above_twice"] == 0, "30 is not more than twice 20"
    # Five of 20 have 25 %, the others 5 %.
    found = values((15, (2, 3)), (5, (12, 13)))
    assert found["above_twice"] == pytest.approx(25)


def test_what_speakers_differ_by_because_each_said_little_is_taken_out():
    # Noise by hand: utterances of 50 words have 0 and 10, or 10 and 20 errors, so that the sum of
    # errors² / words less that of the speaker is 2 - 1 or 10 - 9: 1 for each degree of freedom.
    # Between: 10 · 1 + 10 · 9 - 400² / 2000 - 19 · 1 = 1, over 2000 - 20 · 100² / 2000 = 1900.
    found = values((10, (0, 10)), (10, (10, 20)))
    between = 1 / 1900
    assert found["sd"] == pytest.approx(100 * between**0.5)
    # WERs of 10 and 30 % are drawn towards 20 % by the root of the reliability.
    drawn = 10 * (between / (between + 1 / 100)) ** 0.5
    assert (found["median"], found["worst_decile"]) == pytest.approx((20, 20 + drawn))
    # With more noise than difference nothing is left, and all are the mean speaker.
    found = values((10, (0, 12)), (10, (0, 16)))
    assert found == pytest.approx({"sd": 0, "median": 14, "worst_decile": 14, "above_twice": 0})


def test_few_words_are_no_rank_but_count_for_the_spread():
    table = rows("en", people((10, (1, 1)), (12, (3, 3))), words=14)
    spread = speakers.Spread(voices_of(table), RESAMPLING)
    assert (spread.speakers, spread.measured) == (22, 0)
    assert set(spread.of(EN)) == {"sd"}


def test_whom_each_arm_serves_better_is_counted():
    baseline = people((12, (5, 5)), (5, (1, 1)), (3, (2, 4)))
    challenger = people((12, (4, 5)), (5, (2, 1)), (3, (4, 2)))
    voices = voices_of(rows("en", baseline), rows("ml", challenger))
    spread = speakers.Spread(voices, RESAMPLING)
    found = spread.served_better(EN, ML)
    assert {name: draws.value for name, draws in found.items()} == {
        "challenger": pytest.approx(60),
        "baseline": pytest.approx(25),
    }
    # The standard error of a share of 20.
    assert found["challenger"].error == pytest.approx(100 * (0.6 * 0.4 / 19) ** 0.5, rel=0.15)
    other = voices_of(rows("en", baseline), rows("ml", challenger, seed=2))
    assert speakers.Spread(other, RESAMPLING).served_better(EN, ML) == {}, "no seed of both"


def test_several_seeds_are_their_mean():
    one = rows("en", people((10, (5, 5)), (10, (15, 15))))
    other = rows("en", people((20, (5, 5))), seed=2)
    found = speakers.Spread(voices_of(one, other), RESAMPLING).of(EN)
    assert found["median"].value == pytest.approx((20 + 10) / 2)


def test_the_planted_spread_comes_back_where_each_said_little():
    random = np.random.default_rng(3)
    factors = 0.1 * np.exp(random.normal(-0.08, 0.4, 300))
    table = rows(
        "en", {f"s{n}": random.binomial(10, f, 6) for n, f in enumerate(factors)}, words=10
    )
    spread = speakers.Spread(voices_of(table), RESAMPLING)
    found = spread.of(EN)
    raw = 100 * table.groupby("speaker").substitutions.sum() / 60
    assert raw.std() > 1.2 * 100 * factors.std(), "what is seen is wider"
    low, high = speakers.positive_interval(found["sd"], 0.95)
    assert low < 100 * factors.std() < high
    for name, true in (
        ("median", 100 * np.median(factors)),
        ("worst_decile", 100 * np.quantile(factors, 0.9)),
    ):
        low, high = found[name].interval(0.95)
        assert low < true < high, name


def test_where_speakers_share_blocks_they_are_drawn_by_themselves():
    said = people((10, (5, 5)), (10, (15, 15)))
    own, shared = (
        speakers.Spread(voices_of(rows("en", said, block=block)), RESAMPLING)
        for block in (None, ["a", "b"] * 20)
    )
    assert shared.of(EN)["sd"].value == own.of(EN)["sd"].value
    assert shared.of(EN)["sd"].error == pytest.approx(own.of(EN)["sd"].error, rel=0.3)


def test_nobody_and_everybody_are_no_certainty():
    nothing = Draws(0.0, np.zeros(300), np.zeros(300), 19, 0)
    # Wilson: z² / (n + z²).
    assert speakers.share_interval(nothing, 0.95, 20) == pytest.approx((0, 16.11), abs=0.01)
    assert np.isnan(speakers.positive_interval(nothing, 0.95)).all(), "not even that it is none"


@pytest.mark.parametrize(
    ("said", "status"),
    [
        ({"": (5, 5)}, "speakers are not known"),
        (people((1, (5, 5))), "1 speaker(s), a spread needs 20"),
        (people((19, (5, 5))), "19 speaker(s), a spread needs 20"),
        (people((30, (5,))), "one utterance of each speaker"),
    ],
)
def test_what_cannot_be_known_of_speakers_is_not_said(said, status):
    spread = speakers.Spread(voices_of(rows("en", said)), RESAMPLING)
    assert spread.status == f"not estimable: {status}"


def test_unknown_speakers_and_empty_references_are_left_out_and_counted():
    table = rows("en", {**people((20, (5, 5))), "": (40, 40, 40)})
    spread = speakers.Spread(voices_of(table, rows("en", {"s000": (9,)}, words=0)), RESAMPLING)
    assert (spread.speakers, spread.unknown) == (20, 3)
    assert spread.of(EN)["median"].value == pytest.approx(10)


# ---- groups


def by_gender(*kinds, **known):
    """(gender, speakers, errors) -> voices of one arm."""
    tables = []
    for place, (gender, count, errors) in enumerate(kinds):
        said = {f"{place}-{name}": each for name, each in people((count, errors)).items()}
        tables.append(rows("en", said, gender=gender, **known))
    return voices_of(pd.concat(tables))


def test_rates_of_groups_by_hand():
    voices = by_gender(("male", 8, (5, 7)), ("female", 6, (10, 10)), (None, 9, (1, 1)))
    found = groups.grouping(voices, "gender")
    assert [(one.name, one.speakers, one.utterances, one.words) for one in found.groups] == [
        ("male", 8, 16, 800),
        ("female", 6, 12, 600),
        ("unknown", 9, 18, 900),
    ]
    assert found.against == "male"
    rates = groups.rates(voices, found.groups, [EN], RESAMPLING)
    assert [rates[one.name][EN].value for one in found.groups] == pytest.approx([12, 20, 2])


def test_small_groups_are_taken_together():
    kinds = (("a", 8, (5, 7)), ("b", 4, (5, 7)), ("c", 1, (5, 7)))
    tables = [
        rows("en", {f"{name}{n}": each for n in range(count)}, accent=name)
        for name, count, each in kinds
    ]
    found = groups.grouping(voices_of(pd.concat(tables)), "accent")
    assert [(one.name, one.speakers, one.status) for one in found.groups] == [
        ("a", 8, "ok"),
        ("other", 5, "ok"),
    ]


def test_without_speakers_sentences_are_counted():
    # FLEURS: the sentence is the block, and the table has the reader's gender.
    sentences = [f"q{n // 2}" for n in range(12)]
    table = rows("en", {None: range(12)}, gender=["male", "female"] * 6, block=sentences)
    found = groups.grouping(voices_of(table), "gender")
    assert [(one.name, one.speakers, one.blocks) for one in found.groups] == [
        ("male", None, 6),
        ("female", None, 6),
    ]


@pytest.mark.parametrize(
    ("kinds", "status"),
    [
        ([(None, 30, (5, 5))], "no gender is known"),
        ([("male", 30, (5, 5))], "one group (male) with 5 speakers or more, two are compared"),
        (
            [("male", 30, (5, 5)), ("female", 4, (5, 5)), (None, 9, (5, 5))],
            "one group (male) with 5 speakers or more, two are compared",
        ),
        (
            [("male", 2, (5, 5)), ("female", 2, (5, 5))],
            "no group with 5 speakers or more, two are compared",
        ),
    ],
)
def test_what_cannot_be_compared_is_not(kinds, status):
    found = groups.grouping(by_gender(*kinds), "gender")
    assert (found.groups, found.status) == ((), f"not estimable: {status}")


# ---- tables


def study(random, **known):
    """Three utterances of each of 60 speakers, two arms; the score file of Italian."""
    table = score_table(Truth(hours=(100.0,), tiers=("160ms",), tier_gap_pp=(0.0,)), random, "it")
    parts = []
    for part in range(3):
        errors = table.substitutions // 3 + (table.substitutions % 3 > part)
        parts.append(table.assign(id=table.id + f"-{part}", ref_words=table.ref_words // 3))
        parts[-1]["substitutions"] = np.minimum(errors, parts[-1].ref_words)
    table = pd.concat(parts, ignore_index=True)
    return table.assign(**{name: make(table) for name, make in known.items()})


KNOWN = {
    "speaker": lambda table: table.block,
    # Odd speakers are women, of 60; every tenth did not say.
    "gender": lambda table: [
        None if int(name[7:]) % 10 == 0 else ("male", "female")[int(name[7:]) % 2]
        for name in table.block
    ],
}


@pytest.fixture(scope="module")
def tables(tmp_path_factory):
    table = study(np.random.default_rng(4), **KNOWN)
    # Women have twice the errors with English alone.
    worse = (table.gender == "female") & (table.arm == "en")
    table.loc[worse, "substitutions"] = np.minimum(2 * table.substitutions, table.ref_words)[
        worse
    ].astype(int)
    return make_tables(tmp_path_factory.mktemp("speakers"), {"it": table}, replicates=300)


def test_the_table_of_speakers_says_who_is_served_better(tables):
    table = tables["speakers"].query("hours == 100 and precision == 'full'").set_index("arm")
    assert (table.speakers == 60).all()
    assert (table.status == "ok").all()
    assert (table.recognition == "ok").all()
    en, ml, gap = (table.loc[arm] for arm in ("en", "ml", "gap"))
    assert en.sd_pp > 0
    assert "sd_low_pp" not in table, "of a few speakers it has no interval that holds"
    assert gap.sd_pp == pytest.approx(en.sd_pp - ml.sd_pp, rel=1e-4)
    assert gap.median_low_pct < gap.median_pct < gap.median_high_pct
    assert gap.challenger_better_low_pct > 80, "the women at least, and most of the men"
    assert gap.challenger_better_pct + gap.baseline_better_pct <= 100


def test_the_worst_tenth_needs_speakers_enough_that_one_is_beyond_it(tmp_path):
    assert 0.9**36 < 0.025 < 0.9**35
    assert speakers.fewest_for_worst(0.95) == 36
    table = study(np.random.default_rng(4), **KNOWN)
    table = table[table.block.isin(sorted(table.block.unique())[:30])]
    found = make_tables(tmp_path, {"it": table}, replicates=200)["speakers"]
    assert set(found.status) == {"not estimable: the worst tenth of 30 speakers, which needs 36"}
    assert found.filter(like="worst_decile").isna().all(axis=None)
    assert found[["median_pct", "median_low_pct", "sd_pp"]].notna().all(axis=None)


def test_the_table_of_groups_finds_the_planted_difference(tables):
    table = tables["groups"].query("trait == 'gender' and hours == 100 and precision == 'full'")
    table = table.set_index(["arm", "group"])
    assert list(table.loc["en"].index) == ["female", "male", "unknown"]
    assert table.loc["en"].speakers.to_list() == [30, 24, 6]
    # The largest group is the women, so that the men have a negative difference: of 16 of 100.
    men = table.loc[("en", "male")]
    assert men.against == "female"
    assert men.apart_low_pp < men.apart_pp < men.apart_high_pp < 0
    same = table.loc[("ml", "male")]
    assert same.apart_low_pp < 0 < same.apart_high_pp, "the other arm serves both alike"
    gap = table.loc[("gap", "male")]
    assert gap.contrast == "warm_start"
    assert gap.apart_pp == pytest.approx(men.apart_pp - same.apart_pp, rel=1e-3)
    accent = tables["groups"].query("trait == 'accent'")
    assert accent.status.to_list() == ["not estimable: no accent is known"]


def test_groups_make_up_the_whole(tables):
    wer = tables["wer"].query(
        "arm == 'en' and hours == 100 and precision == 'full' and lang == 'it'"
    )
    parts = tables["groups"].query("arm == 'en' and hours == 100 and precision == 'full'")
    whole = (parts.wer_pct * parts.words).sum() / parts.words.sum()
    assert whole == pytest.approx(wer.wer_pct.iloc[0], rel=1e-4)


def test_no_speaker_is_named_in_a_table(tables):
    for name in ("speakers", "groups"):
        assert "speaker1" not in tables[name].to_csv()


def test_the_page_and_the_figure_show_them(tables):
    # Two arms and their gap; three groups of each.
    for name, count in (("speakers", 3), ("groups", 9)):
        analysis = analyses.load(name)
        assert not analysis.absent(tables, SHOWN, None)
        assert len(analysis.sheet(tables, SHOWN, None).rows) == count
    with style():
        (drawing,) = analyses.load("speakers").figures
        (axis,) = drawing.draw(Material(tables), SHOWN, None).axes
    labels = axis.get_legend_handles_labels()[1]
    assert len(labels) == 2, "a marker for each arm"


def test_scores_without_the_columns_say_that_nobody_knows(tmp_path):
    made = make_tables(tmp_path, {"it": study(np.random.default_rng(4))}, replicates=100)
    assert made["speakers"].status.to_list() == ["not estimable: speakers are not known"]
    assert made["groups"].status.to_list() == [
        "not estimable: no gender is known",
        "not estimable: no accent is known",
    ]
    for name in ("speakers", "groups"):
        assert analyses.load(name).absent(made, SHOWN, None).startswith("Not stated: ")
    with style():
        (drawing,) = analyses.load("speakers").figures
        drawing.draw(Material(made), SHOWN, None)
