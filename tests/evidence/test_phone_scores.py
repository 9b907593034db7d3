"""Models that write phones: counts by hand, rates in per.csv, and nothing of them anywhere else."""

import json

import pandas as pd
import pytest
from made.hypotheses import TEXT, write_hypotheses, write_manifest

import aggregate
import score
import score_phones
from warmstart.evidence import analyses
from warmstart.evidence.phone_columns import PHONE_SCORES
from warmstart.evidence.phone_scoring import PhoneScorer
from warmstart.evidence.tables import read_tables
from warmstart.run.errors import UserError

TEXTS = ["sei", "la casa", "due", "tre", "ciao", "sette"]
# Of `sei` (sɛi), `la casa` (la kaza), `due`, `tre`, `ciao` (tʃao), `sette` (length is no phone).
RIGHT = ["sɛi", "la kaza", "due", "tre", "tʃao", "sɛte"]


@pytest.fixture
def folder(tmp_path):
    write_manifest(tmp_path / "m.jsonl.gz", TEXTS)
    return tmp_path


def scored(folder, files, inventory=None):
    """Rows of the real program."""
    if inventory is not None:
        (folder / "it.json").write_text(json.dumps({"phones": inventory}), encoding="utf-8")
    score_phones.main(
        [
            *("--lang", "it", "--hypotheses", *map(str, files)),
            *("--tests", f"human={folder / 'm.jsonl.gz'}"),
            *(["--inventory", str(folder / "it.json")] if inventory is not None else []),
            *("--settings", json.dumps({"text": TEXT})),
            *("--output", str(folder / "phones.parquet")),
        ]
    )
    return pd.read_parquet(folder / "phones.parquet")


def test_references_are_phones_and_errors_are_of_phones(folder):
    # One phone is another (d, t: the voice alone), one is missing, one too many; stress is none.
    file = write_hypotheses(
        folder / "h.jsonl", ["sˈɛi", "la kaz", "tue", "tree", *RIGHT[4:]], arm="ipa"
    )
    table = scored(folder, [file])
    assert list(table.columns) == [column.name for column, _ in PHONE_SCORES]
    assert table.reference.tolist() == RIGHT
    assert table.phones.tolist() == [3, 6, 3, 3, 4, 4]
    assert table.substitutions.tolist() == [0, 0, 1, 0, 0, 0]
    assert table.deletions.tolist() == [0, 1, 0, 0, 0, 0]
    assert table.insertions.tolist() == [0, 0, 0, 1, 0, 0]
    assert table.feature_errors.tolist() == pytest.approx([0, 1, 1 / 24, 1, 0, 0])
    assert table.mapped_substitutions.isna().all()


def test_phones_of_an_untrained_model_go_to_the_nearest_of_the_language(folder):
    # θ and æ are English; Italian text has s and a, the nearest.
    file = write_hypotheses(folder / "h.jsonl", ["θɛi", "læ kaza", *RIGHT[2:]], arm="en", hours="0")
    table = scored(folder, [file], dict.fromkeys("aeiouɛɔptkbdɡszfvmnlrʃj", 9))
    assert table.substitutions.tolist() == [1, 1, 0, 0, 0, 0]
    assert table.mapped_substitutions.tolist() == [0, 0, 0, 0, 0, 0]


def test_a_language_without_a_voice_is_refused(folder):
    with pytest.raises(UserError, match="no voice 'xx'"):
        PhoneScorer("it", {"text": TEXT, "espeak_voice": "xx"}, {})


@pytest.mark.slow
def test_rates_and_contrasts_of_phones_stand_in_their_own_table(folder):
    words = [
        write_hypotheses(folder / arm / "h.jsonl", said, arm=arm)
        for arm, said in (("en", ["x", *TEXTS[1:]]), ("ml", TEXTS))
    ]
    score.main(
        [
            *("--lang", "it", "--hypotheses", *map(str, words)),
            *("--tests", f"human={folder / 'm.jsonl.gz'}"),
            *("--settings", json.dumps({"text": TEXT}), "--output", str(folder / "it.parquet")),
        ]
    )
    phones = [
        write_hypotheses(folder / arm / "h.jsonl", said, arm=arm)
        for arm, said in (
            ("en_ipa", ["tɛi", "la kaz", "tue", *RIGHT[3:]]),
            ("ml_ipa", ["sɛi", "la kaza", "tue", *RIGHT[3:]]),
        )
    ]
    untrained = ["θɛi", "læ kaza", *RIGHT[2:]]
    phones.append(write_hypotheses(folder / "zero" / "h.jsonl", untrained, arm="ml_ipa", hours="0"))
    scored(folder, phones, dict.fromkeys("aeiouɛɔptkbdɡszfvmnlrʃj", 9))
    statistics = {
        "contrasts": {"warm_start": {"baseline": "en", "challenger": "ml"}},
        "phone_contrasts": {"of_phones": {"baseline": "en_ipa", "challenger": "ml_ipa"}},
        "headline_test_set": "human",
        "reference_tier": "560ms",
        "replicates": 200,
    }
    aggregate.main(
        [
            *("--scores", str(folder / "it.parquet")),
            *("--phone-scores", str(folder / "phones.parquet")),
            *("--settings", json.dumps(statistics), "--output-dir", str(folder / "tables")),
        ]
    )
    tables = read_tables(folder / "tables", analyses.tables())
    per = tables["per"].set_index(["arm", "languages_as", "hours"]).sort_index()
    # 23 phones; s for t differs in more features than the voice of d.
    assert per.loc[("en_ipa", "one", 0.02), "per_pct"] == pytest.approx(100 * 3 / 23, abs=1e-4)
    assert per.loc[("ml_ipa", "one", 0.02), "per_pct"] == pytest.approx(100 * 1 / 23, abs=1e-4)
    assert per.loc[("ml_ipa", "one", 0.02), "pfer_pct"] == pytest.approx(100 / 24 / 23, abs=1e-4)
    # Two phones that Italian lacks, and both go to the right one.
    as_it_is = per.loc[("ml_ipa", "one", 0.0)]
    assert as_it_is.per_pct == pytest.approx(100 * 2 / 23, abs=1e-4)
    assert as_it_is.mapped_per_pct == 0
    assert per.mapped_per_pct.notna().sum() == 1
    gap = per.loc[("gap", "one", 0.02)]
    assert gap.contrast == "of_phones"
    assert gap.gap_pp == pytest.approx(100 * 2 / 23, abs=1e-4)
    assert gap.gap_low_pp < gap.gap_pp < gap.gap_high_pp
    assert gap.pfer_gap_pp < gap.gap_pp
    for name, table in tables.items():
        for column in ("arm", "contrast"):
            if name != "per" and column in table:
                assert not table[column].isin(["en_ipa", "ml_ipa", "of_phones"]).any(), name
