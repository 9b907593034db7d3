"""Laws of sub-tokens: planted laws come back, curves are means over all orders, and what cannot be
known is not said."""

import itertools
import json
import math
from types import SimpleNamespace

import numpy as np
import pytest
from made import candidates as made
from made.planted import Truth, score_table
from made.report import SHOWN, rows_of
from made.tables import make_tables

import count_candidates
from warmstart.evidence import candidates, token_estimates, token_laws
from warmstart.evidence.analyses import load
from warmstart.evidence.analyses.base import Material
from warmstart.evidence.candidates import Counted, Counter
from warmstart.evidence.token_estimates import Jackknifed, Tokens
from warmstart.run.errors import UserError

TEXT = {"text": {"alphabet": "abcdefghijklmnopqrstuvwxyz", "numbers": "it"}}


# ---- the laws


def test_a_curve_is_the_mean_over_all_orders_of_the_utterances():
    heard = [{0, 1}, {1, 2}, {1}, {0, 3, 4}, {4}]
    frequencies = np.bincount([token for one in heard for token in one], minlength=7)
    means = [
        np.mean([len(set().union(*order[:count])) for order in itertools.permutations(heard)])
        for count in range(1, 6)
    ]
    found = token_laws.rarefied(frequencies, 5, np.arange(1, 6))
    np.testing.assert_allclose(found, means, rtol=1e-12)
    between = token_laws.rarefied(frequencies, 5, np.linspace(0, 5, 41))
    assert between[0] == pytest.approx(0, abs=1e-9)
    assert (np.diff(between) > -1e-9).all(), "a time inside an utterance has no jump"


def test_laws_without_noise_come_back():
    time_s = np.linspace(10, 600, 60)
    rows = np.array([900 * (1 - np.exp(-time_s / 150)), 12 * time_s**0.55])
    exponential, heaps = token_laws.exponential(time_s, rows), token_laws.heaps(time_s, rows)
    assert exponential.scale[0] == pytest.approx(900, rel=1e-6)
    assert exponential.shape[0] == pytest.approx(150, rel=1e-6)
    assert heaps.scale[1] == pytest.approx(12, rel=1e-6)
    assert heaps.shape[1] == pytest.approx(0.55, rel=1e-6)
    assert exponential.r2[0] == heaps.r2[1] == pytest.approx(1)
    assert exponential.r2[1] < 0.999
    assert heaps.r2[0] < 0.999


@pytest.mark.parametrize(("a", "b"), [(1.0, 0.0), (1.4, 0.0), (1.5, 4.0)])
def test_exponents_of_frequencies_come_back(a, b):
    shares = (np.arange(1, 1001) + b) ** -a
    counts = np.random.default_rng(5).multinomial(100_000, shares / shares.sum())
    plain, shifted = token_laws.zipf(counts), token_laws.zipf(counts, shifted=True)
    assert shifted.a == pytest.approx(a, abs=0.03)
    assert shifted.b == pytest.approx(b, abs=0.3)
    gain = 2 * (shifted.log_likelihood - plain.log_likelihood)
    assert gain >= -1e-6, "the law with one parameter more is never less likely"
    if b:
        assert gain > 1000
        assert plain.a < a - 0.2
    else:
        assert plain.a == pytest.approx(a, abs=0.03)


def test_frequencies_that_fall_exponentially_have_no_exponent():
    shares = np.exp(-np.arange(60) / 12)
    counts = np.random.default_rng(6).multinomial(5000, shares / shares.sum())
    shifted = token_laws.zipf(counts, shifted=True)
    assert shifted.a == shifted.b == math.inf
    assert shifted.log_likelihood > token_laws.zipf(counts).log_likelihood + 100


def test_the_likelihood_by_hand():
    # p = 1/2, 1/3, 1/6 would be r^-a only for other a; with a = 0 all are 1/3.
    flat = token_laws.zipf(np.array([5, 5, 5, 0]))
    assert flat.a == pytest.approx(0, abs=1e-6)
    assert flat.log_likelihood == pytest.approx(15 * math.log(1 / 3))


# ---- estimates of a decode


def counted(utterances, size, count, duration_s=1.0, groups=20):
    """Counts of utterances given as arrays of tokens (n, K), each a block of its own."""
    total = min(groups, len(utterances))
    group = np.arange(len(utterances)) % total
    tally = candidates._Tally(size, count, group, total)
    places = np.repeat(np.arange(len(utterances)), [len(one) for one in utterances])
    tokens = np.concatenate([np.asarray(one, dtype=int).reshape(-1, count) for one in utterances])
    tally.add(places, tokens[:, 0], tokens, np.full(tokens.shape, 1 / count), None)
    utterances_of = np.bincount(group)
    return Counted(
        key={},
        count=count,
        lengths=np.ones(size, dtype=int),
        duration_s=duration_s * utterances_of,
        tokens=tally.tokens,
        sums=tally.sums,
        counts=tally.counts | {"blocks": utterances_of, "utterances": utterances_of},
        knows_right=False,
    )


def zipf_utterances(random, utterances, a=1.0, size=5000, words=15):
    shares = np.arange(1, size + 1.0) ** -a
    drawn = random.choice(size, (utterances, words), p=shares / shares.sum())
    return counted(list(drawn[:, :, None]), size, 1)


def even_utterances(random, utterances, size=800, words=3):
    """All tokens are equally likely: with m tokens a second, D = V (1 - e^(-m t / V))."""
    drawn = random.integers(size, size=(utterances, words))
    return counted(list(drawn[:, :, None]), size, 1)


def test_equally_likely_tokens_saturate_exponentially():
    one = even_utterances(np.random.default_rng(1), 600)
    window_s, last = list(Tokens(one, "taken").growths())[-1]
    assert window_s == 600
    assert last["tau_s"].value == pytest.approx(800 / 3, rel=0.06)
    assert last["limit"].value == pytest.approx(800, rel=0.06)
    assert last["ast95_s"].value == pytest.approx(-math.log(0.05) * last["tau_s"].value)
    assert last["exponential_r2"].value > 0.9999
    assert abs(last["exponential_miss_pct"].value) < 1.5
    assert last["heaps_miss_pct"].value > 15
    _, high = last["heaps_closer_pp"].interval(0.95)
    assert high < 0, "the exponential law is closer"


def test_tokens_by_zipfs_law_grow_by_heaps_law():
    one = zipf_utterances(np.random.default_rng(2), 600, size=20_000)
    growths = list(Tokens(one, "taken").growths())
    last = growths[-1][1]
    assert abs(last["heaps_miss_pct"].value) < abs(last["exponential_miss_pct"].value) / 2
    low, _ = last["heaps_closer_pp"].interval(0.95)
    assert low > 0
    assert last["heaps_r2"].value > last["exponential_r2"].value
    # What is called saturation grows with the audio that was looked at.
    times = [estimates["ast95_s"].value for _, estimates in growths]
    assert times == sorted(times)
    assert times[-1] > 4 * times[0]


def test_interval_of_a_mean_is_students():
    """Over 20 groups of one block each the jackknife of a mean is the plain standard error."""
    values = np.random.default_rng(0).normal(5, 2, 20)
    rows = token_estimates._ratio(
        token_estimates._samples(values), token_estimates._samples(np.ones(20))
    )
    error = values.std(ddof=1) / math.sqrt(20)
    low, high = rows.interval(0.95)
    assert rows.value == pytest.approx(values.mean())
    assert (high - low) / 2 == pytest.approx(2.093 * error, rel=1e-3)  # t of 19, 97.5 %


def test_two_groups_have_no_interval_and_infinity_neither():
    assert np.isnan(Jackknifed(1.0, np.array([1.0, 1.1])).interval(0.95)).all()
    assert np.isnan(Jackknifed(math.inf, np.array([1.0, 1.1, 1.2])).interval(0.95)).all()
    assert np.isnan(Jackknifed(0.0, np.array([0.0, 0.0, 0.0]), True).interval(0.95)).all()


def test_seeds_are_averaged():
    parts = [Jackknifed(value, value + np.arange(3.0)) for value in (1.0, 3.0)]
    assert token_estimates.over_seeds(parts).value == 2.0
    assert token_estimates.over_seeds(parts).without.tolist() == [2.0, 3.0, 4.0]
    positive = [Jackknifed(value, np.full(3, value), True) for value in (1.0, 4.0)]
    assert token_estimates.over_seeds(positive).value == pytest.approx(2.0)


@pytest.mark.slow
def test_intervals_hold_the_truth_that_often():
    """Distinct tokens in 300 s, and beta, of new samples of one population."""
    found = []
    for seed in range(150):
        last = list(Tokens(zipf_utterances(np.random.default_rng(seed), 300), "taken").growths())
        found.append(last[-1][1])
    for name in ("distinct", "heaps_beta", "ast95_s", "limit"):
        truth = np.exp(np.mean([math.log(one[name].value) for one in found]))
        inside = [low <= truth <= high for low, high in (one[name].interval(0.95) for one in found)]
        assert 0.90 <= np.mean(inside) <= 0.995, (name, np.mean(inside))


@pytest.mark.parametrize(
    ("one", "status"),
    [
        (counted([[[0, 1]]] * 5, 9, 2), "5 utterances, a curve needs 10"),
        (counted([[[0]]] * 30, 9, 1), "1 distinct tokens, a law needs three"),
        (counted([[[0, 1, 2, 3]]] * 30, 4, 4), "one utterance has 100 % of all distinct tokens"),
    ],
)
def test_what_cannot_be_known_is_not_said(one, status):
    assert status in Tokens(one, "candidate").unfit()


def test_a_straight_curve_does_not_saturate():
    """Every utterance brings a token of its own: no acoustic saturation time, not a large one."""
    utterances = [[[number]] for number in range(100)]
    last = list(Tokens(counted(utterances, 100, 1), "taken").growths())[-1][1]
    assert last["tau_s"].value == last["limit"].value == last["ast95_s"].value == math.inf
    assert last["heaps_beta"].value == pytest.approx(1)


@pytest.mark.filterwarnings("error")
def test_without_the_only_speaker_there_is_nothing_and_so_no_interval():
    one = counted([[[0], [1], [2], [3]], *[np.zeros((0, 1))] * 29], 9, 1)
    tokens = Tokens(one, "taken")
    assert tokens.unfit() == ""
    found = list(tokens.growths())[-1][1] | tokens.frequencies() | {"length": tokens.length()}
    assert found["distinct"].value == 4
    assert found["zipf_a"].value == pytest.approx(0, abs=1e-6)
    for name in ("distinct", "heaps_closer_pp", "zipf_a", "length"):
        assert np.isnan(found[name].interval(0.95)).all(), name


# ---- from files to the table


PIECES = ["", "▁a", "b", "▁cd", "e", "<0xE2>"]


def test_counts_by_hand(tmp_path):
    manifest = made.write_manifest(tmp_path / "m.jsonl.gz", ["u", "v", "w"], text="a")
    path = made.write(
        tmp_path / "h.jsonl",
        {
            "u": ([[1, 2], [3, 1]], [[0.5, 0.25], [0.8, 0.1]]),
            "v": ([[0, 1], [2, 4], [2, 1]], [[0.9, 0.1], [0.5, 0.5], [0.6, 0.0]]),
            "w": (np.zeros((0, 2)), np.zeros((0, 2))),
        },
        PIECES,
    )
    one = Counter("it", TEXT["text"], {"fleurs": manifest}).count(path)
    assert one.lengths.tolist() == [-1, 1, 1, 2, 1, 0]
    assert one.counts["utterances"].tolist() == [1, 1, 1]
    total = {name: counts.sum(axis=0).tolist() for name, counts in one.tokens.items()}
    assert total["candidate_counts"] == [1, 4, 3, 1, 1, 0]
    assert total["candidate_utterances"] == [1, 2, 2, 1, 1, 0]
    assert total["taken_counts"] == [1, 1, 2, 1, 0, 0]
    assert total["taken_utterances"] == [1, 1, 1, 1, 0, 0]
    assert one.counts["emissions"].sum() == 5
    assert not one.knows_right
    # Of two candidates: H(2/3), H(8/9), H(0.9), one bit, nothing.
    entropies = [-(p * math.log2(p) + (1 - p) * math.log2(1 - p)) for p in (2 / 3, 8 / 9, 0.9, 0.5)]
    assert one.sums["entropy_bits"].sum() == pytest.approx(sum(entropies), rel=1e-6)
    assert one.sums["confidence"].sum() == pytest.approx(0.5 + 0.8 + 0.9 + 0.5 + 0.6, rel=1e-6)
    # Characters: a b b cd taken, the piece without text aside.
    assert Tokens(one, "taken").length().value == pytest.approx(5 / 4)
    file = tmp_path / "counted.parquet"
    assert candidates.write(file, iter([one])) == 1
    assert candidates.File(file).keys == [one.key]
    back = candidates.File(file).read(0)
    assert back.key == one.key
    for name, counts in one.tokens.items():
        assert (back.tokens[name] == counts).all()


def test_the_rank_of_the_right_token_by_hand():
    """Reference 7 8 9; taken 7 5 9 1: right, substituted by 5, right, inserted."""
    tally = candidates._Tally(10, 3, np.zeros(1, dtype=int), 1)
    tokens = np.array([[7, 1, 2], [5, 0, 8], [9, 1, 2], [1, 2, 3]])
    probabilities = np.full((4, 3), 0.2)
    tally.add(np.zeros(4, dtype=int), tokens[:, 0], tokens, probabilities, [[7, 8, 9]])
    found = {name: counts[0] for name, counts in tally.counts.items()}
    assert found == {"emissions": 4, "aligned": 3, "right_first": 2, "right_within": 3}
    assert tally.sums["right_rank"][0] == 1 + 3 + 1


def test_blocks_are_dealt_out_and_all_decodes_of_a_test_set_share_the_groups():
    utterances = [SimpleNamespace(block=f"b{number % 50}") for number in range(200)]
    group = candidates.groups_of(utterances)
    assert sorted(set(group)) == list(range(20))
    assert (group[:50] == group[50:100]).all(), "a block is in one group"
    assert (candidates.groups_of(utterances[::-1]) == group[::-1]).all()


def test_other_files_are_refused(tmp_path):
    manifest = made.write_manifest(tmp_path / "m.jsonl.gz", ["u"])
    counter = Counter("it", TEXT["text"], {"fleurs": manifest})
    path = made.write(tmp_path / "h.jsonl", {"u": [[1, 2]]}, PIECES)
    with pytest.raises(UserError, match="asked to count fleurs in fr"):
        Counter("fr", TEXT["text"], {"fleurs": manifest}).count(path)
    whole = path.with_suffix(".candidates.parquet").read_bytes()
    path.with_suffix(".candidates.parquet").write_bytes(whole[:-1])
    with pytest.raises(UserError, match="not the file that its header describes"):
        counter.count(path)
    path.with_suffix(".candidates.parquet").unlink()
    with pytest.raises(UserError, match=r"no h.candidates.parquet beside it; set decoding"):
        counter.count(path)


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    """The table of a study of two arms: tokens of one by Zipf's law, of the other equally likely;
    a third decode has ten utterances of nothing."""
    folder = tmp_path_factory.mktemp("saturation")
    random, size = np.random.default_rng(3), 2000
    names = [f"u{number}" for number in range(300)]
    manifest = made.write_manifest(folder / "m.jsonl.gz", names)
    shares = {"en": np.arange(1, size + 1.0) ** -1.1, "ml": np.ones(size)}
    pieces = [f"▁{'x' * (1 + number % 3)}{number}" for number in range(size)]
    paths = []
    for arm, share in shares.items():
        share = share / share.sum()
        heard = {name: random.choice(size, (6, 2), p=share) for name in names}
        paths.append(made.write(folder / arm / "h.jsonl", heard, pieces, arm=arm))
    silent = {name: np.zeros((0, 2)) for name in names}
    paths.append(made.write(folder / "s" / "h.jsonl", silent, pieces, arm="ml", tier="560ms"))
    counted_file = folder / "it-candidates.parquet"
    count_candidates.main(
        [
            *("--lang", "it", "--hypotheses", *map(str, paths)),
            *("--tests", f"fleurs={manifest}", "--settings", json.dumps(TEXT)),
            *("--output", str(counted_file)),
        ]
    )
    truth = Truth(hours=(1.0,), speakers=8)
    scores = {"it": score_table(truth, random, "it")}
    return make_tables(folder, scores, ["--candidates", str(counted_file)])["saturation"]


def longest(table, arm, tokens, tier="160ms"):
    rows = table[(table.arm == arm) & (table.tokens == tokens) & (table.tier == tier)]
    return rows.sort_values("window_s").iloc[-1]


def test_the_table_says_which_law_won(table):
    assert longest(table, "en", "taken").growth_law == "heaps"
    assert longest(table, "ml", "taken").growth_law == "exponential"
    zipf = longest(table, "en", "taken")
    assert zipf.zipf_low_a < zipf.zipf_a < zipf.zipf_high_a
    assert zipf.zipf_a == pytest.approx(1.1, abs=0.12)
    assert zipf.beyond == "above"
    assert len(table[(table.arm == "en") & (table.tokens == "taken")]) == token_estimates.WINDOWS
    flat = longest(table, "ml", "candidates")
    # 12 candidates a second of 2000 equally likely tokens.
    assert flat.tau_s == pytest.approx(2000 / 12, rel=0.1)
    assert flat.tau_low_s < flat.tau_s < flat.tau_high_s
    assert flat.entropy_bits == pytest.approx(1)
    assert (flat["count"], flat.vocabulary, flat.seeds, flat.blocks) == (2, 2000, 1, 300)


def test_the_page_says_which_law_won_and_by_what_criterion(table):
    analysis, tables = load("saturation"), {"saturation": table}
    assert analysis.absent(tables, SHOWN, None) == ""
    text = analysis.text(tables, SHOWN, None)
    assert "Of the tokens taken, Heaps' law is closer in 1 of 2 rows, the exponential law in 1" in (
        text
    )
    assert "fitted to the first half of the audio" in text
    rows = rows_of(analysis.sheet(tables, SHOWN, None))
    assert len(rows) == 4, "two arms, candidates and tokens taken, the longest window alone"
    assert {row[1] for row in rows} == {"English only", "Multilingual"}
    figure = analysis.figures[0].draw(Material(tables), SHOWN, None)
    (axis,) = figure.axes
    # Points, Heaps' law and the exponential law of two arms.
    assert len(axis.lines) == 6
    only_silent = {"saturation": table[table.tier == "560ms"].assign(tier="160ms")}
    assert "no token was taken" in analysis.absent(only_silent, SHOWN, None)


def test_a_decode_without_a_token_says_so_and_has_no_number(table):
    row = longest(table, "ml", "taken", "560ms")
    assert row.status == "not estimable: no token was taken"
    assert row[["distinct_tokens", "tau_s", "heaps_beta", "zipf_a", "entropy_bits"]].isna().all()


def test_without_candidates_the_page_says_that_nobody_asked(tmp_path):
    random = np.random.default_rng(4)
    scores = {"it": score_table(Truth(hours=(1.0,), speakers=8), random, "it")}
    tables = make_tables(tmp_path, scores)
    assert tables["saturation"].empty
    said = load("saturation").absent(tables, None, None)
    assert "decoding.log_candidates" in said
