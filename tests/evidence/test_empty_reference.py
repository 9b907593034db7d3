"""Edge cases of scoring: empty references, empty hypotheses, empty files."""

import json

import numpy as np
import pytest
from made.hypotheses import TEXT, references, write_hypotheses, write_manifest
from made.planted import Truth, score_table
from made.tables import make_tables

from warmstart.data.utterances import read_test_set
from warmstart.evidence import scoring
from warmstart.run.errors import UserError


def test_words_said_over_an_empty_reference_are_insertions():
    words, wrong, characters = scoring.align_counts(["", "a b"], ["x y", ""])
    assert words[0] == {"hits": 0, "substitutions": 0, "deletions": 0, "insertions": 2}
    assert words[1] == {"hits": 0, "substitutions": 0, "deletions": 2, "insertions": 0}
    assert wrong == [set(), {0, 1}]
    assert characters[0]["insertions"] == 3


def test_both_empty_count_nothing():
    words, _, characters = scoring.align_counts([""], [""])
    assert set(words[0].values()) == {0}
    assert set(characters[0].values()) == {0}


def test_a_reference_of_symbols_only_is_scored_as_empty(tmp_path):
    manifest = write_manifest(tmp_path / "m.jsonl.gz", ["...", "ciao"])
    path = write_hypotheses(tmp_path / "h.jsonl", ["eh", "ciao"])
    scorer = scoring.Scorer("it", {"text": TEXT}, {"human": manifest}, None)
    rows = scorer.score(path, scorer.header(path), None)
    assert rows["ref_words"] == [0, 1]
    assert rows["insertions"] == [1, 0]
    assert rows["rare_words"] == [0, 0]


def test_an_empty_manifest_and_an_empty_hypothesis_file_stop_scoring(tmp_path):
    with pytest.raises(UserError, match="no utterances; a test set needs at least one"):
        read_test_set(write_manifest(tmp_path / "m.jsonl.gz", []))
    empty = tmp_path / "h.jsonl"
    empty.write_text("")
    with pytest.raises(UserError, match="1 missing: u0"):
        scoring.read_hypotheses(empty, references(tmp_path, ["a"]))


def test_a_hypothesis_file_without_its_header_is_refused(tmp_path):
    manifest = write_manifest(tmp_path / "m.jsonl.gz", ["a"])
    path = tmp_path / "h.jsonl"
    path.write_text(json.dumps({"id": "u0", "hyp": "a"}) + "\n")
    with pytest.raises(UserError, match=r"header h\.json is not beside it"):
        scoring.Scorer("it", {"text": TEXT}, {"human": manifest}, None).header(path)


def without_words(table, speakers):
    """Scores in which some speakers' references have no word, and models write five over each."""
    quiet = table.block.isin([f"speaker{number}" for number in speakers])
    counts = {name: table[name].where(~quiet, 0) for name in ("ref_words", "ref_chars", "hits")}
    errors = table.substitutions.where(~quiet, 0)
    return table.assign(**counts, substitutions=errors, insertions=np.where(quiet, 5, 0))


@pytest.mark.parametrize("seeds", [1, 2])
def test_blocks_without_words_leave_an_interval(tmp_path, seeds):
    """Of three blocks one has no word: one replicate in 27 has none at all."""
    table = score_table(Truth(speakers=3, seeds=seeds), np.random.default_rng(0), "it")
    tables = make_tables(tmp_path, {"it": without_words(table, [1])})
    wer = tables["wer"]
    assert np.isfinite(wer[["wer_pct", "wer_low_pct", "wer_high_pct"]]).all().all()
    assert (wer.wer_low_pct <= wer.wer_pct).all()
    assert (wer.wordless == seeds).all()
    gap = tables["gap"].query("languages_as == 'one'")
    assert (gap.status == "ok").all()
    assert gap.gap_low_pp.notna().all()


def test_one_block_with_words_is_one_block(tmp_path):
    table = score_table(Truth(speakers=3), np.random.default_rng(0), "it")
    tables = make_tables(tmp_path, {"it": without_words(table, [0, 2])})
    gap = tables["gap"].query("languages_as == 'one'")
    assert (gap.status == "not estimable: fewer than two blocks").all()
    assert tables["wer"].wer_low_pct.isna().all()


def test_no_words_at_all_is_said(tmp_path):
    table = score_table(Truth(speakers=3), np.random.default_rng(0), "it")
    tables = make_tables(tmp_path, {"it": without_words(table, [0, 1, 2])})
    gap = tables["gap"].query("languages_as == 'one'")
    assert (gap.status == "not estimable: no words in the references").all()
    assert gap.gap_pp.isna().all()
    assert (tables["guideline"].decision == "not decided by this study").all()
    assert tables["fit"].exponent_b.isna().all()
