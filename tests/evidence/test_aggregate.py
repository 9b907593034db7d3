"""Tables: planted studies come back, tiny studies give rows that say what is not estimable."""

import json
import math

import numpy as np
import pandas as pd
import pytest
from made.planted import Truth, score_table
from made.tables import SETTINGS, make_tables

import aggregate
from warmstart.evidence import analyses
from warmstart.evidence.analyses import latency
from warmstart.report.headline import lines_of
from warmstart.run.errors import UserError

CHECKED = {
    "test_set": "fleurs",
    "utterances": 8,
    "differing_utterances": 1,
    "max_logit_difference": 1e-5,
    "chunk_ms_median": 20.5,
    "chunk_ms_p95": 31.0,
}


@pytest.fixture(scope="module")
def tables(tmp_path_factory):
    """Tables of a planted study of three languages."""
    folder = tmp_path_factory.mktemp("planted")
    random = np.random.default_rng(3)
    truth = Truth(speakers=200)
    return make_tables(
        folder, {lang: score_table(truth, random, lang) for lang in ("de", "fr", "it")}
    ) | {"folder": folder}


def test_the_planted_gaps_come_back_inside_their_intervals(tables):
    gap = tables["gap"]
    rows = gap[(gap.languages_as == "fixed") & (gap.precision == "full") & (gap.tier == "160ms")]
    truth = [Truth().gap_pp(hours) for hours in rows.hours]
    assert rows.gap_pp.to_numpy() == pytest.approx(truth, abs=0.5)
    # Five intervals of 95 %: at least four hold.
    assert ((rows.gap_low_pp <= truth) & (truth <= rows.gap_high_pp)).sum() >= 4


def test_the_planted_exponent_comes_back(tables):
    fit = tables["fit"].query("lang == 'pooled' and family == 'power' and tier == '560ms'").iloc[0]
    assert fit.exponent_low_b <= 0.947 <= fit.exponent_high_b
    assert fit.status == "ok"
    assert fit.factor_per_doubling == pytest.approx(2**-fit.exponent_b, rel=1e-4)


def test_gap_is_the_difference_of_the_rates_in_wer_csv(tables):
    wer = tables["wer"].set_index(["lang", "test_set", "arm", "hours", "precision", "tier"]).wer_pct
    for row in tables["gap"].query("languages_as == 'one'").itertuples():
        cell = (row.hours, row.precision, row.tier)
        assert row.gap_pp == pytest.approx(
            wer[(row.lang, "fleurs", "en", *cell)] - wer[(row.lang, "fleurs", "ml", *cell)],
            abs=1e-3,
        )


def test_int4_has_a_row_per_arm_and_one_for_the_gap(tables):
    rows = tables["quantization"].query("languages_as == 'one' and lang == 'de'")
    assert set(zip(rows.arm, rows.contrast.fillna(""), strict=True)) == {
        ("en", ""),
        ("ml", ""),
        ("gap", "warm_start"),
    }
    change = rows.set_index("arm").delta_pp
    assert change["gap"] == pytest.approx(change["en"] - change["ml"], abs=1e-4)


def test_a_decoded_export_is_a_second_baseline(tmp_path):
    table = score_table(Truth(speakers=20), np.random.default_rng(5), "de")
    # As if the export made one error more in every row, which is a speaker with 15 utterances of 18
    # words.
    export = table[table.precision == "full"].assign(precision="onnx")
    export = export.assign(insertions=export.insertions + 1)
    rows = make_tables(tmp_path, {"de": pd.concat([table, export])}, exports=["onnx"])[
        "quantization"
    ].query("languages_as == 'one'")
    assert set(zip(rows.precision, rows.baseline_precision, strict=True)) == {
        ("int4", "full"),
        ("onnx", "full"),
        ("int4", "onnx"),
    }
    for _, cell in rows[rows.arm != "gap"].groupby(["arm", "hours", "tier", "test_set"]):
        delta = cell.set_index(["precision", "baseline_precision"]).delta_pp
        if len(delta) == 3:
            assert delta["int4", "onnx"] == pytest.approx(
                delta["int4", "full"] - delta["onnx", "full"], abs=1e-3
            )
            assert delta["onnx", "full"] == pytest.approx(100 / (15 * 18), rel=0.05)


def test_a_tier_without_effect_is_not_called_different_in_the_mean(tables):
    row = tables["gap_by_tier"].query("lang == 'mean' and hours == 'all'").iloc[0]
    assert row.verdict == "equivalent"
    assert (tables["gap_by_tier"].p_holm >= tables["gap_by_tier"].p_value - 1e-9).all()


def test_guideline_claims_no_more_than_the_interval(tables):
    rows = tables["guideline"]
    assert {"ml", "not decided by this study"} <= set(rows.decision)
    for row in rows.itertuples():
        if row.decision == "ml":
            assert row.gap_low_pp > row.threshold_pp
        elif row.decision.startswith("ahead"):
            assert row.ahead == "ml"
            assert row.gap_low_pp > 0
        elif row.decision == "either":
            assert abs(row.gap_pp) < row.threshold_pp
    # Of one contrast, all rows are one family.
    assert set(rows.rows_adjusted_for) == {len(rows)}
    assert (rows.p_holm >= rows.p_value).all()
    assert set(rows.interval_of) == {"these trainings"}


@pytest.mark.slow
def test_the_same_scores_give_the_same_bytes(tables, tmp_path):
    for path in tables["folder"].glob("*.parquet"):
        (tmp_path / path.name).write_bytes(path.read_bytes())
    scores = [str(tmp_path / f"{lang}.parquet") for lang in ("de", "fr", "it")]
    aggregate.main(
        [
            "--scores",
            *scores,
            "--settings",
            json.dumps(SETTINGS),
            "--output-dir",
            str(tmp_path / "again"),
        ]
    )
    for name in analyses.tables():
        assert (tmp_path / "again" / f"{name}.csv").read_bytes() == (
            tables["folder"] / "tables" / f"{name}.csv"
        ).read_bytes()


def test_another_language_does_not_change_the_rows_of_this_one(tables, tmp_path):
    alone = make_tables(tmp_path, {"de": pd.read_parquet(tables["folder"] / "de.parquet")})
    columns = ["hours", "tier", "gap_pp", "gap_low_pp", "gap_high_pp"]
    before = tables["gap"].query("lang == 'de'")[columns].reset_index(drop=True)
    pd.testing.assert_frame_equal(
        alone["gap"].query("lang == 'de'")[columns].reset_index(drop=True), before
    )


def test_one_budget_and_one_language_say_what_is_not_estimable(tmp_path):
    truth = Truth(hours=(0.02,), tiers=("160ms",), tier_gap_pp=(0.0,), speakers=12)
    tables = make_tables(tmp_path, {"it": score_table(truth, np.random.default_rng(0), "it")})
    assert tables["fit"].status.tolist() == ["not estimable: 1 budget(s), a law needs two"]
    assert tables["gap_by_tier"].empty
    sampled = tables["gap"].query("languages_as == 'sampled'")
    assert sampled.status.str.startswith("not estimable: 1 of at least 3").all()
    lines = lines_of(tables["wer"], tables["gap"], tables["guideline"])
    assert any("0.02 h" in line for line in lines)


def test_the_headline_in_the_terminal_says_of_how_many_languages_a_mean_is(tmp_path):
    truth = Truth(hours=(100.0, 400.0), tiers=("160ms",), tier_gap_pp=(0.0,), speakers=12)
    made = {
        lang: score_table(truth, np.random.default_rng(seed), lang)
        for seed, lang in enumerate(("de", "fr", "it"))
    }
    made["it"] = made["it"][made["it"].hours == 100]
    tables = make_tables(tmp_path, made)
    lines = lines_of(tables["wer"], tables["gap"], tables["guideline"])
    means = [line for line in lines if line.startswith("  mean")]
    assert [(line.split()[1], line.split("(")[-1]) for line in means] == [
        ("100", "mean of 3)"),
        ("400", "mean of 2)"),
    ]
    assert list(tables["guideline"].query("lang == 'mean'").languages) == [3, 2]


def test_one_block_and_one_arm_do_not_crash(tmp_path):
    table = score_table(Truth(speakers=1), np.random.default_rng(0), "it")
    tables = make_tables(tmp_path, {"it": table})
    assert (
        tables["gap"]
        .query("languages_as == 'one'")
        .status.eq("not estimable: fewer than two blocks")
        .all()
    )
    assert tables["guideline"].decision.eq("not decided by this study").all()
    (tmp_path / "b").mkdir()
    only = make_tables(tmp_path / "b", {"it": table[table.arm == "ml"]})
    assert only["gap"].empty
    assert only["guideline"].empty
    assert "No gap" in lines_of(only["wer"], only["gap"], only["guideline"])[0]


def test_a_language_that_a_model_is_not_for_has_rates_and_no_gap(tmp_path):
    truth = Truth(hours=(0.02, 0.08), tiers=("160ms", "560ms"), tier_gap_pp=(0.0, 0.0), speakers=12)
    own = score_table(truth, np.random.default_rng(0), "it")
    foreign = score_table(truth, np.random.default_rng(1), "en", training_set="it")
    tables = make_tables(tmp_path, {"it": own, "en": foreign})
    for name in ("gap", "gap_by_tier", "quantization", "fit", "guideline"):
        assert set(tables[name].lang) <= {"it", "mean"}, name
        assert len(tables[name])
    wer = tables["wer"]
    assert len(wer[wer.lang == "en"]) == len(wer[wer.lang == "it"])
    assert set(wer[wer.lang == "en"].training_set) == {"it"}
    assert "mean" not in set(wer.lang), "a mean of what is learnt and what is forgotten"


@pytest.mark.slow
def test_seeds_widen_the_interval_of_the_gap(tmp_path):
    random = np.random.default_rng(1)
    quiet = make_tables(tmp_path, {"de": score_table(Truth(seeds=3), random, "de")})
    (tmp_path / "b").mkdir()
    studies = {
        lang: score_table(Truth(seeds=3, seed_sd_pp=2.0), random, lang) for lang in ("de", "fr")
    }
    noisy = make_tables(tmp_path / "b", studies)
    width = [(t["gap"].gap_high_pp - t["gap"].gap_low_pp).median() for t in (quiet, noisy)]
    assert width[1] > 2 * width[0]
    assert (noisy["wer"].seeds.dropna() == 3).all()
    # Trainings per arm, also in the mean over languages, whose degrees of freedom are more.
    assert (noisy["gap"].query("languages_as != 'sampled'").seeds == 3).all()


def test_sizes_and_speed_come_from_reports_and_headers(tmp_path):
    folder = tmp_path / "it" / "en" / "2500h" / "seed1" / "int4" / "560ms"
    folder.mkdir(parents=True)
    sizes = {"pytorch_fp32": 800, "onnx_fp32": 820, "fp16": 410, "encoder": 200}
    run = {"training_set": "it", "arm": "en", "hours": "2500", "seed": 1}
    report = {**run, "precision": "int4", "tier": "560ms", "bytes": sizes}
    (folder / "quantize.json").write_text(json.dumps(report))
    header = {**run, "lang": "it", "precision": "int4", "tier": "560ms", "test_set": "fleurs"}
    (folder / "fleurs.json").write_text(
        json.dumps(header | {"rtfx": 12.5, "lookahead_ms": 560, "batch_check": CHECKED})
    )
    extra = ["--quantize", str(folder / "quantize.json"), "--headers", str(folder / "fleurs.json")]
    tables = make_tables(
        tmp_path, {"it": score_table(Truth(), np.random.default_rng(0), "it")}, extra
    )
    row = tables["quantization"].query("arm == 'en' and languages_as == 'one'").iloc[0]
    assert (
        row.bytes_encoder,
        row.times_smaller_than_pytorch_fp32,
        row.times_smaller_than_fp16,
    ) == (200, 4.0, 2.05)
    assert tables["latency"].rtfx.tolist() == [12.5]
    assert tables["latency"].emission_delay_ms.tolist() == [100.0]
    assert tables["latency"].chunk_ms_median.tolist() == [20.5]
    assert tables["latency"].checked_differing_utterances.tolist() == [1]
    # A chunk of 560 ms takes 20.5 ms: at once, after half a chunk, after 1.2 s of silence as well.
    assert tables["latency"].final_closed_ms.tolist() == [20.5]
    assert tables["latency"].final_open_ms.tolist() == [300.5]
    assert tables["latency"].final_endpoint_ms.tolist() == [1500.5]


def test_an_offline_decode_has_no_time_to_the_final_text():
    assert latency._final(None, None) == {}


def test_wrong_input_is_named(tmp_path):
    table = score_table(Truth(), np.random.default_rng(0), "it")
    with pytest.raises(UserError, match=r"headline_test_set is 'mls'; scored test sets: fleurs"):
        make_tables(tmp_path, {"it": table}, headline_test_set="mls")
    other = score_table(Truth(), np.random.default_rng(0), "fr").assign(normaliser_version=2)
    with pytest.raises(UserError, match="different normaliser versions"):
        make_tables(tmp_path, {"it": table, "fr": other})
    cut = table.drop(table.index[5])
    with pytest.raises(UserError, match="other reference words"):
        make_tables(tmp_path, {"it": cut})
    with pytest.raises(UserError, match="no rows"):
        make_tables(tmp_path, {"it": table[:0]})


def test_no_infinite_or_missing_headline_number(tables):
    rows = tables["gap"].query("languages_as != 'sampled'")
    assert np.isfinite(rows[["gap_pp", "gap_low_pp", "gap_high_pp"]].to_numpy()).all()
    assert not math.isnan(tables["wer"].wer_pct.sum())
