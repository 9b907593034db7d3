"""Scoring: counts by hand, ids that must match, delays, whole program on small files."""

import collections
import gzip
import hashlib
import json

import pandas as pd
import pytest
from made.hypotheses import TEXT, references, write_hypotheses, write_manifest

import score
from warmstart.evidence import scoring
from warmstart.evidence.score_columns import SCORES
from warmstart.run.errors import UserError

OFFLINE = {"left": 70, "right": 13, "offline": True}


def test_scores_hold_the_counts_made_by_hand(tmp_path):
    manifest = write_manifest(
        tmp_path / "m.jsonl.gz", ["Ho 2 gatti!", "la casa rossa", "Sì", "ciao"]
    )
    pool = tmp_path / "pool.jsonl.gz"
    with gzip.open(pool, "wt", encoding="utf-8") as stream:
        stream.write(
            json.dumps({"id": "p", "supervisions": [{"text": "ho due la casa la casa ciao ho ho"}]})
            + "\n"
        )
    stream_tier = write_hypotheses(
        tmp_path / "560ms" / "h.jsonl", ["ho tre gatti", "casa rossa", "", "Ciao."], times=0.5
    )
    offline = write_hypotheses(
        tmp_path / "off" / "h.jsonl",
        ["ho due gatti", "la casa rossa", "sì", "ciao"],
        tier="offline",
        **OFFLINE,
    )
    output = tmp_path / "it.parquet"
    files = [
        "--hypotheses",
        str(stream_tier),
        str(offline),
        "--tests",
        f"human={manifest}",
        "--train-text",
        str(pool),
    ]
    settings = json.dumps({"text": TEXT, "rare_below": 2})
    score.main(["--lang", "it", *files, "--settings", settings, "--output", str(output)])
    table = pd.read_parquet(output)
    assert list(table.columns) == [column.name for column, _ in SCORES]
    rows = table[table.tier == "560ms"].set_index("id")
    assert rows.loc["u0", ["hits", "substitutions", "deletions", "insertions"]].tolist() == [
        2,
        1,
        0,
        0,
    ]
    assert rows.loc["u0", ["number_words", "number_errors"]].tolist() == [1, 1]
    assert rows.loc["u0", ["rare_words", "rare_errors"]].tolist() == [2, 1], (
        "due once and gatti never in the pool"
    )
    assert rows.loc["u1", ["hits", "substitutions", "deletions", "insertions"]].tolist() == [
        2,
        0,
        1,
        0,
    ]
    assert rows.loc["u2", "empty"]
    assert rows.loc["u2", "deletions"] == 1
    assert rows.loc["u3", ["hits", "ref_chars", "char_hits"]].tolist() == [1, 4, 4]
    assert rows.loc["u0", "emission_delay_ms"] == pytest.approx(500)
    assert rows.loc["u2":"u3", "emission_delay_ms"].isna().all(), (
        "no token in common with the offline decode"
    )
    assert rows.loc["u0", "hours"] == 0.02
    assert (table[table.tier == "offline"].substitutions == 0).all()


def test_delays_are_against_the_offline_tier_that_hears_most_whatever_its_name():
    def header(tier, precision="full", right=6, offline=False):
        keys = {
            "training_set": "it",
            "lang": "it",
            "arm": "en",
            "hours": "1",
            "seed": 1,
            "test_set": "t",
            "tier": tier,
            "precision": precision,
        }
        return keys | {"left": 70, "right": right, "offline": offline}

    headers = {
        "stream": header("560ms"),
        "misnamed": header("offline", right=13),
        "most": header("whole", right=13, offline=True),
        "less": header("some", right=6, offline=True),
        "int4": header("560ms", "int4"),
    }
    assert scoring.find_anchors(headers) == dict.fromkeys(headers, "most")
    assert scoring.find_anchors({name: headers[name] for name in ("stream", "misnamed")}) == {}
    other = headers["most"] | {"training_set": "it+fr"}
    assert scoring.find_anchors({"stream": headers["stream"], "most": other}) == {"most": "most"}


@pytest.mark.parametrize(
    ("segment", "words", "rare"), [(None, 11, 1), ("characters", 11, 1), ("spaces", 1, 1)]
)
def test_a_language_without_spaces_is_scored_in_letters_unless_segment_says_otherwise(
    tmp_path, segment, words, rare
):
    """今日は2024年です has 11 letters once it is spoken, of which the hypothesis has one wrong."""
    manifest = write_manifest(tmp_path / "m.jsonl.gz", ["今日は2024年です"])
    path = write_hypotheses(tmp_path / "h.jsonl", ["今日は二千二十五年です"], lang="ja")
    tests = {"human": manifest}
    block = {"alphabet": "今日は年です", "numbers": "ja", "segment": segment}
    pool = collections.Counter({"今日は二千二十年です": 9})
    scorer = scoring.Scorer("ja", {"text": block}, tests, pool)
    rows = scorer.score(path, scorer.header(path), None)
    assert rows["ref_words"] == [words]
    assert rows["substitutions"] == [1]
    assert rows["ref_chars"] == [11]
    assert rows["char_substitutions"] == [1]
    assert rows["rare_words"] == [rare], "the sentence; or 四, which the pool lacks"


def test_models_of_several_training_sets_are_scored_with_the_language_of_the_test_set(tmp_path):
    """Digits of an English reference become English words, whatever the model was trained on."""
    manifest = write_manifest(tmp_path / "m.jsonl.gz", ["I have 2 cats"])
    paths = [
        write_hypotheses(
            tmp_path / name / "h.jsonl", ["i have two cats"], lang="en", training_set=name
        )
        for name in ("en", "it", "it+en")
    ]
    output = tmp_path / "en.parquet"
    files = ["--hypotheses", *map(str, paths), "--tests", f"human={manifest}"]
    settings = json.dumps({"text": {"alphabet": "abc", "numbers": "en"}})
    score.main(["--lang", "en", *files, "--settings", settings, "--output", str(output)])
    rows = pd.read_parquet(output)
    assert rows.training_set.tolist() == ["en", "it", "it+en"]
    assert set(rows.lang) == {"en"}
    assert set(rows.reference) == set(rows.hypothesis) == {"i have two cats"}
    assert set(rows.number_words) == {1}
    foreign = write_hypotheses(tmp_path / "f" / "h.jsonl", ["ciao"], lang="it")
    files = ["--hypotheses", str(foreign), "--tests", f"human={manifest}"]
    with pytest.raises(UserError, match="language 'it', asked to score 'en'"):
        score.main(["--lang", "en", *files, "--settings", settings, "--output", str(output)])


@pytest.mark.parametrize(
    ("ids", "message"),
    [
        (["u0", "u1"], r"1 missing: u2"),
        (["u0", "u1", "u2", "x9"], r"1 not in the test manifest: x9"),
        (["u0", "u1", "u2", "u1"], r"1 doubled: u1"),
    ],
)
def test_ids_that_do_not_match_the_manifest_stop_scoring_and_are_listed(tmp_path, ids, message):
    path = write_hypotheses(tmp_path / "h.jsonl", ["a"] * len(ids), ids=ids)
    with pytest.raises(UserError, match=message):
        scoring.read_hypotheses(path, references(tmp_path, ["a", "b", "c"]))


def test_a_hypothesis_file_with_another_reference_than_the_manifest_is_refused(tmp_path):
    path = tmp_path / "h.jsonl"
    path.write_text(json.dumps({"id": "u0", "ref": "older text", "hyp": "a"}) + "\n")
    with pytest.raises(UserError, match="another reference than the manifest's: u0"):
        scoring.read_hypotheses(path, references(tmp_path, ["a"]))


def test_a_broken_line_is_named(tmp_path):
    path = tmp_path / "h.jsonl"
    path.write_text('{"id": "u0", "hyp": "a"}\n{"id": \n')
    with pytest.raises(UserError, match="line 2"):
        scoring.read_hypotheses(path, references(tmp_path, ["a"]))


@pytest.mark.parametrize(
    ("hypothesis", "reference", "looping"),
    [
        ("due due due due", "due due due due", False),
        ("due due due due due", "due", True),
        ("il gatto il gatto il gatto il gatto", "il gatto", True),
        ("il gatto il gatto il gatto", "il gatto", False),
        ("a b c d", "x", False),
        ("", "x", False),
    ],
)
def test_looping_means_four_repeats_that_the_reference_does_not_have(
    hypothesis, reference, looping
):
    assert scoring.is_looping(hypothesis, reference) is looping


def test_two_files_of_one_cell_are_refused(tmp_path):
    manifest = write_manifest(tmp_path / "m.jsonl.gz", ["a"])
    one, two = (write_hypotheses(tmp_path / name / "h.jsonl", ["a"]) for name in "xy")
    files = [
        "--hypotheses",
        str(one),
        str(two),
        "--tests",
        f"human={manifest}",
        "--output",
        str(tmp_path / "o.parquet"),
    ]
    with pytest.raises(UserError, match="are both it/it/en"):
        score.main(["--lang", "it", *files, "--settings", json.dumps({"text": TEXT})])
    assert not (tmp_path / "o.parquet").exists()


def test_hypotheses_that_are_not_those_of_their_header_are_refused(tmp_path):
    manifest = write_manifest(tmp_path / "m.jsonl.gz", ["uno due"])
    path = write_hypotheses(tmp_path / "h.jsonl", ["uno"])
    header = json.loads(path.with_suffix(".json").read_text())
    header["hypotheses_sha256"] = hashlib.sha256(path.read_bytes()).hexdigest()
    path.with_suffix(".json").write_text(json.dumps(header))
    arguments = ["--lang", "it", "--hypotheses", str(path), "--tests", f"human={manifest}"]
    arguments += ["--settings", json.dumps({"text": TEXT}), "--output", str(tmp_path / "o.parquet")]
    score.main(arguments)
    assert pd.read_parquet(tmp_path / "o.parquet").deletions.tolist() == [1]
    path.write_text(path.read_text().replace("uno", "uno due"))
    (tmp_path / "o.parquet").unlink()
    with pytest.raises(UserError, match=r"h\.jsonl: its SHA-256 .* \(rule decode\)"):
        score.main(arguments)
    assert not (tmp_path / "o.parquet").exists()
