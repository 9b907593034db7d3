"""subset_budget: budgets are nested, exact within one cut, and keep every corpus's share."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from made.pool_material import TEXT, cut, write

import subset_budget
from warmstart.data import cut_lines, pool
from warmstart.run import files
from warmstart.run.errors import UserError


def make_pool(tmp_path, sizes, filters=None):
    """A pool with so many 3.6 s (0.001 h) cuts per corpus; returns its path."""
    manifests = []
    for name, count in sizes.items():
        made = [
            cut(f"{name}-{n}", duration_s=3.6, corpus=name, speaker=f"{n}") for n in range(count)
        ]
        manifests.append((name, write(tmp_path / f"{name}.jsonl.gz", made)))
    path = tmp_path / "it.jsonl.gz"
    pool.build(
        "it", manifests, [], {"text": TEXT, "filters": filters or {}}, path, tmp_path / "it.qc.json"
    )
    return path


def subset(pool_path, hours):
    """Run the program; returns (cut ids, report)."""
    output, report = pool_path.parent / f"b{hours}.jsonl.gz", pool_path.parent / f"b{hours}.json"
    arguments = ["--pool", pool_path, "--hours", hours, "--output", output, "--report", report]
    subset_budget.main([str(argument) for argument in arguments])
    return [item["id"] for item in cut_lines.read(output)], files.read_json(report)


def test_a_budget_is_a_prefix_of_the_pool_and_keeps_shares(tmp_path):
    path = make_pool(tmp_path, {"mls": 900, "cv": 90, "vp": 10})
    whole = [item["id"] for item in cut_lines.read(path)]
    ids, report = subset(path, "0.1")
    assert ids == whole[:100]
    assert report["hours"] == pytest.approx(0.1)
    assert {name: entry["cuts"] for name, entry in report["corpora"].items()} == {
        "cv": 9,
        "mls": 90,
        "vp": 1,
    }
    assert sum(entry["share"] for entry in report["corpora"].values()) == pytest.approx(1)


def test_the_whole_pool_is_a_budget_and_a_second_more_is_not(tmp_path):
    path = make_pool(tmp_path, {"mls": 100})
    ids, _ = subset(path, "0.1")
    assert len(ids) == 100
    with pytest.raises(
        UserError,
        match=r"it: 0\.2 h asked, 0\.1 h available in .*; lower the budget or add a corpus",
    ):
        subset(path, "0.2")
    assert not (tmp_path / "b0.2.jsonl.gz").exists()


def test_a_budget_below_one_cut_is_refused(tmp_path):
    with pytest.raises(UserError, match="shorter than one cut"):
        subset(make_pool(tmp_path, {"mls": 3}), "0.0005")


@pytest.mark.parametrize("hours", ["0", "-1", "nan", "viel"])
def test_a_budget_is_a_positive_number(tmp_path, hours, capsys):
    with pytest.raises(SystemExit):
        subset(tmp_path / "absent.jsonl.gz", hours)


pools = st.lists(
    st.tuples(st.integers(0, 3), st.integers(1600, 300_000)), min_size=1, max_size=200
)  # (corpus, samples of a cut of 0.1 to 19 s)


def ordered(rows, prefix="c"):
    """(corpus, seconds, id) in budget order."""
    ids = [f"{prefix}{n}" for n in range(len(rows))]
    keys = np.array([pool.order_key(name) for name in ids], dtype=np.uint64)
    lengths = np.array([samples / 16000 for _, samples in rows])
    corpora = np.array([corpus for corpus, _ in rows], dtype=np.uint8)
    return [
        (int(corpora[i]), float(lengths[i]), ids[i])
        for i in pool.budget_order(keys, lengths, corpora)
    ]


@settings(max_examples=150, deadline=None)
@given(pools)
def test_every_prefix_keeps_every_share_to_within_one_cut(rows):
    """So every budget is nested in the next, and stratified, for any pool."""
    order = ordered(rows)
    assert sorted(name for _, _, name in order) == sorted(f"c{n}" for n in range(len(rows)))
    totals = {corpus: sum(s for c, s, _ in order if c == corpus) for corpus, _ in rows}
    longest = {corpus: max(s for c, s, _ in order if c == corpus) for corpus in totals}
    taken = dict.fromkeys(totals, 0.0)
    for corpus, seconds, _ in order:
        taken[corpus] += seconds
        for one, other in itertools.combinations(totals, 2):
            difference = abs(taken[one] / totals[one] - taken[other] / totals[other])
            assert (
                difference
                <= (longest[one] / totals[one] + longest[other] / totals[other]) / 2 + 1e-9
            )


@settings(max_examples=60, deadline=None)
@given(pools, st.floats(0.01, 1.0))
def test_a_budget_is_exact_to_within_one_cut(tmp_path_factory, rows, fraction):
    order = ordered(rows)
    path = tmp_path_factory.mktemp("p") / "it.jsonl.gz"
    write(
        path,
        [cut(name, duration_s=seconds, corpus=f"k{corpus}") for corpus, seconds, name in order],
    )
    total = sum(seconds for _, seconds, _ in order)
    asked = float(f"{fraction * total / 3600:.12f}")  # as it is handed over
    if order[0][1] > asked * 3600 + 1e-6:  # the tolerance of the cutter
        with pytest.raises(UserError, match="shorter than one cut"):
            subset(path, f"{asked:.12f}")
        return
    ids, report = subset(path, f"{asked:.12f}")
    assert ids == [name for _, _, name in order[: len(ids)]]
    missing_s = (asked - report["hours"]) * 3600
    assert missing_s >= -1e-5
    if len(ids) < len(order):
        assert missing_s < order[len(ids)][1] + 1e-5


@settings(max_examples=40, deadline=None)
@given(st.integers(200, 1000), st.integers(1, 50), st.integers(0, 10_000))
def test_a_corpus_that_grows_moves_few_cuts_of_a_budget(size, added, salt):
    """A tenth of the pool as budget, before and after adding to one corpus: as many cuts change as
    new ones belong in."""
    before = [(0, 48000)] * size + [(1, 48000)] * size
    after = before + [(0, 48000)] * added
    half = 0.1 * size * 2 * 3.0

    def prefix(rows):
        taken, total = set(), 0.0
        for _, seconds, name in ordered(rows, prefix=f"{salt}-"):
            total += seconds
            if total > half:
                return taken
            taken.add(name)
        return taken

    old, new = prefix(before), prefix(after)
    # Cuts of corpus 0 give way to new ones in proportion; ties at the edge add a few.
    assert len(old - new) <= 0.1 * added * 2 + 12
