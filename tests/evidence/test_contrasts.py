"""Several contrasts, and models of several languages: every gap is of two arms and one training
set."""

import numpy as np
import pandas as pd
import pytest
from made.planted import CONTRASTS, SEVERAL, TARGETS, score_table, several
from made.tables import make_tables

from warmstart.evidence.settings import Settings
from warmstart.report.headline import lines_of
from warmstart.run.errors import UserError
from warmstart.study.stages import filled


@pytest.fixture(scope="module")
def planted(tmp_path_factory):
    """Tables of three languages with their own models, and of one model for two of them."""
    folder = tmp_path_factory.mktemp("contrasts")
    scores = several(np.random.default_rng(11))
    return make_tables(folder, scores, contrasts=CONTRASTS, targets=TARGETS, replicates=400)


def test_planted_gaps_of_every_contrast_come_back(planted):
    gap = planted["gap"].query(
        "languages_as == 'fixed' and precision == 'full' and tier == '160ms'"
    )
    own = gap[gap.training_set == "own"]
    for contrast, share in (("warm_start", 1.0), ("adapter", -0.4)):
        rows = own[own.contrast == contrast]
        assert len(rows) == len(SEVERAL.hours)
        assert rows.gap_pp.to_numpy() == pytest.approx(
            [share * SEVERAL.gap_pp(hours) for hours in rows.hours], abs=0.6
        )


def test_contrasts_stand_in_the_order_of_the_configuration(planted):
    for name in ("gap", "gap_by_tier", "fit", "guideline"):
        assert planted[name].columns[0] == "contrast"
        assert list(dict.fromkeys(planted[name].contrast)) == list(CONTRASTS), name
    arms = {
        contrast: (rows.baseline.iloc[0], rows.challenger.iloc[0])
        for contrast, rows in planted["gap"].groupby("contrast")
    }
    assert arms == {"warm_start": ("en", "ml"), "adapter": ("ml", "ml_adapter")}


@pytest.mark.slow
def test_one_more_contrast_changes_no_row_of_the_others(planted, tmp_path):
    random = np.random.default_rng(11)
    scores = {lang: score_table(SEVERAL, random, lang) for lang in ("de", "it", "fr")}
    one = make_tables(tmp_path, scores, baseline="en", challenger="ml", replicates=400)
    (tmp_path / "two").mkdir()
    two = make_tables(tmp_path / "two", scores, contrasts=CONTRASTS, replicates=400)
    for name, table in one.items():
        if "contrast" in table:
            rows = two[name][two[name].contrast.isna() | (two[name].contrast == "warm_start")]
            # A number that is missing in some other row makes floats of a column.
            pd.testing.assert_frame_equal(rows.reset_index(drop=True), table, check_dtype=False)
        else:
            pd.testing.assert_frame_equal(two[name], table)


def test_gaps_are_between_models_of_one_training_set(planted):
    wer = (
        planted["wer"]
        .set_index(["training_set", "lang", "arm", "hours", "precision", "tier"])
        .wer_pct
    )
    rows = planted["gap"].query("languages_as == 'one'")
    assert set(zip(rows.training_set, rows.lang, strict=True)) == {
        ("de", "de"),
        ("it", "it"),
        ("fr", "fr"),
        ("it+fr", "it"),
        ("it+fr", "fr"),
    }
    for row in rows.itertuples():
        cell = (row.hours, row.precision, row.tier)
        sides = [
            wer[(row.training_set, row.lang, arm, *cell)] for arm in (row.baseline, row.challenger)
        ]
        assert row.gap_pp == pytest.approx(sides[0] - sides[1], abs=1e-3)


def test_means_are_over_languages_that_stand_alike_to_their_training_set(planted):
    for name in ("wer", "gap", "gap_by_tier", "quantization", "guideline"):
        table = planted[name]
        means = table[(table.lang == "mean") & ~table.get("languages_as", table.lang).eq("sampled")]
        counts = {part: set(rows.languages) for part, rows in means.groupby("training_set")}
        assert counts == {"own": {3}, "it+fr": {2}}, name
    pooled = planted["fit"].query("lang == 'pooled' and family == 'power'")
    assert set(zip(pooled.training_set, pooled.languages, strict=True)) == {
        ("own", 3),
        ("it+fr", 2),
    }


def test_what_quantising_does_to_each_gap_is_the_difference_of_its_arms(planted):
    rows = planted["quantization"].query("languages_as == 'one'")
    keys = ["training_set", "lang", "hours", "tier"]
    cost = rows.set_index([*keys, "arm"]).delta_pp
    gaps = rows[rows.arm == "gap"]
    assert set(gaps.contrast) == set(CONTRASTS)
    for row in gaps.itertuples():
        arms = CONTRASTS[row.contrast]
        sides = [cost[(*(getattr(row, key) for key in keys), arm)] for arm in arms.values()]
        assert row.delta_pp == pytest.approx(sides[0] - sides[1], abs=1e-3)


def test_the_terminal_shows_every_contrast_and_training_set(planted):
    text = "\n".join(lines_of(planted["wer"], planted["gap"], planted["guideline"]))
    assert "gap = WER(baseline) - WER(challenger) in percentage points" in text
    assert "\nit, trained on it+fr\n" in text
    assert "\nmean, trained on it+fr\n" in text
    for name, label in (("warm_start", "en - ml"), ("adapter", "ml - ml_adapter")):
        # Italian and French together were trained twice, and tell the noise of all trainings.
        assert f"Gap at 160ms with its 95 % interval, {name}: {label}" in text
        assert text.count(f"  {label} ") >= len(SEVERAL.hours)


def test_settings_without_arms_to_compare_say_what_to_give():
    common = filled("statistics", {"headline_test_set": "fleurs", "reference_tier": "160ms"})
    with pytest.raises(UserError, match="contrast 'warm_start' has no challenger"):
        Settings.of(common | {"baseline": "en"})
    with pytest.raises(UserError, match="contrast 'lora' has no baseline"):
        Settings.of(common | {"contrasts": {"lora": {"challenger": "ml"}}})
    with pytest.raises(UserError, match="statistics lacks replicates, confidence"):
        Settings.of({"headline_test_set": "fleurs", "contrasts": CONTRASTS})
