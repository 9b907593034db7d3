"""Scoring: counts by hand, ids that must match, delays, whole program on small files."""

import gzip
import json

import pandas as pd
import pytest

import score
from warmstart.evidence import scoring
from warmstart.run.errors import UserError

TEXT = {"alphabet": "abc", "numbers": "it", "keep": "'"}
KEYS = {
    "lang": "it",
    "init": "en",
    "hours": "0.02",
    "seed": 1,
    "precision": "full",
    "tier": "560ms",
    "test_set": "human",
}
CONTEXT = {"left": 70, "right": 6, "offline": False}
OFFLINE = {"left": 70, "right": 13, "offline": True}


def write_manifest(path, texts, block=None):
    """A test manifest with the fields that scoring reads."""
    with gzip.open(path, "wt", encoding="utf-8") as stream:
        for place, text in enumerate(texts):
            cut = {
                "id": f"u{place}",
                "duration": 1.5,
                "supervisions": [{"text": text}],
                "custom": {"block": block or f"b{place // 2}"},
            }
            stream.write(json.dumps(cut) + "\n")
    return path


def write_hypotheses(path, hypotheses, *, times=None, ids=None, **keys):
    """A hypothesis file and its header."""
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = []
    for place, hypothesis in enumerate(hypotheses):
        tokens = [
            {"piece": piece, "time_s": (times or 0.0) + 0.1 * n}
            for n, piece in enumerate(hypothesis.split())
        ]
        lines.append(
            json.dumps(
                {"id": ids[place] if ids else f"u{place}", "hyp": hypothesis, "tokens": tokens}
            )
        )
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    path.with_suffix(".json").write_text(json.dumps({**KEYS, **CONTEXT, **keys}), encoding="utf-8")
    return path


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
    assert list(table.columns) == [name for name, _ in score.SCHEMA]
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
            "init": "en",
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
    assert score.find_anchors(headers) == dict.fromkeys(headers, "most")
    assert score.find_anchors({name: headers[name] for name in ("stream", "misnamed")}) == {}


def test_a_replayed_test_set_is_scored_with_its_own_language(tmp_path):
    """Digits of an English reference become English words, though the study is of Italian; rare
    words are not counted."""
    manifest = write_manifest(tmp_path / "m.jsonl.gz", ["I have 2 cats"])
    pool = tmp_path / "pool.jsonl.gz"
    with gzip.open(pool, "wt", encoding="utf-8") as stream:
        stream.write(json.dumps({"id": "p", "supervisions": [{"text": "ho due gatti"}]}) + "\n")
    paths = [
        write_hypotheses(tmp_path / name / "h.jsonl", ["i have two cats"], test_set=name)
        for name in ("human", "en_numbers")
    ]
    english = {"alphabet": "abc", "numbers": "en"}
    settings = json.dumps({"text": TEXT, "rare_below": 2, "test_set_text": {"en_numbers": english}})
    tests = [f"human={manifest}", f"en_numbers={manifest}"]
    output = tmp_path / "it.parquet"
    arguments = [
        "--lang",
        "it",
        "--hypotheses",
        *map(str, paths),
        "--tests",
        *tests,
        "--train-text",
        str(pool),
    ]
    score.main([*arguments, "--settings", settings, "--output", str(output)])
    rows = pd.read_parquet(output).set_index("test_set")
    assert rows.loc["human", "reference"] == "i have due cats"
    assert (
        rows.loc["en_numbers", "reference"]
        == rows.loc["en_numbers", "hypothesis"]
        == "i have two cats"
    )
    assert rows.loc["en_numbers", ["hits", "number_words", "rare_words"]].tolist() == [4, 1, 0]
    assert rows.loc["human", "rare_words"] == 4


@pytest.mark.parametrize(
    ("ids", "message"),
    [
        (["u0", "u1"], r"1 missing: u2"),
        (["u0", "u1", "u2", "x9"], r"1 not in the test manifest: x9"),
        (["u0", "u1", "u2", "u1"], r"1 doubled: u1"),
    ],
)
def test_ids_that_do_not_match_the_manifest_stop_scoring_and_are_listed(tmp_path, ids, message):
    references = scoring.read_references(write_manifest(tmp_path / "m.jsonl.gz", ["a", "b", "c"]))
    path = write_hypotheses(tmp_path / "h.jsonl", ["a"] * len(ids), ids=ids)
    with pytest.raises(UserError, match=message):
        scoring.read_hypotheses(path, references)


def test_a_hypothesis_file_with_another_reference_than_the_manifest_is_refused(tmp_path):
    references = scoring.read_references(write_manifest(tmp_path / "m.jsonl.gz", ["a"]))
    path = tmp_path / "h.jsonl"
    path.write_text(json.dumps({"id": "u0", "ref": "older text", "hyp": "a"}) + "\n")
    with pytest.raises(UserError, match="another reference than the manifest's: u0"):
        scoring.read_hypotheses(path, references)


def test_a_broken_line_is_named(tmp_path):
    path = tmp_path / "h.jsonl"
    path.write_text('{"id": "u0", "hyp": "a"}\n{"id": \n')
    with pytest.raises(UserError, match="line 2"):
        scoring.read_hypotheses(path, {"u0": {"text": "a"}})


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
    with pytest.raises(UserError, match="are both it/en"):
        score.main(["--lang", "it", *files, "--settings", json.dumps({"text": TEXT})])
    assert not (tmp_path / "o.parquet").exists()
