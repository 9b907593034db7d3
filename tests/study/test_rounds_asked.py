"""Rounds as they are asked for: their runs, files, settings and cost, their faults, and nothing
unless asked."""

import copy
import dataclasses
import functools
import math

import pytest
from conftest import ROOT

from warmstart import models
from warmstart.run.errors import UserError
from warmstart.study import (
    checks,
    config,
    data_plan,
    experts,
    notes,
    paths,
    planning,
    round_files,
    rounds,
    slices,
    stages,
)
from warmstart.study.grid import Run, Study

EACH = [
    {"data": "labelled", "steps_weight": 2},
    {"data": "pseudo", "keep": 0.7},
    {"data": "clean", "keep": 0.5, "lr_scale": 0.5},
]
RUN = Run("it_rounds", "ml", "0.08", 1)


@functools.cache
def _demo() -> dict:
    return config.load_config(ROOT / "demo.yaml")


def asked(each=None, arms=None, **block) -> dict:
    """The demo, its Italian runs at once and in rounds."""
    made = copy.deepcopy(_demo())
    made["training_sets"] = {
        "it": {"languages": {"it": 1}},
        "fr": {"languages": {"fr": 1}},
        "it_rounds": {
            "languages": {"it": 1},
            "budgets_hours": [0.02, 0.08],
            "rounds": {"total_hours": 0.32, "each": each or copy.deepcopy(EACH), **block},
        },
    }
    if arms:
        made["arms"] = arms
    return made


def make(made: dict) -> Study:
    config.validate(made)
    study = Study(made, ROOT)
    checks.check(study)
    return study


@functools.cache
def make_once() -> Study:
    """As asked; tests only read it."""
    return make(asked())


def test_shares_of_steps_sum_to_those_of_the_run_whatever_they_are():
    each = tuple(rounds.Round("labelled", 1.0, 0.0, weight, 1.0) for weight in (2, 1, 1, 0.3))
    shares = rounds.Rounds(None, None, each).shares()
    assert shares[0] == (0.0, pytest.approx(2 / 4.3))
    assert shares[-1][1] == 1.0
    for steps in (1, 7, 480, 12_345):
        assert sum(rounds.steps_between(steps, share) for share in shares) == steps


def test_names_of_rounds_are_no_precisions():
    assert rounds.number_of(rounds.name_of(3)) == 3
    assert [rounds.number_of(name) for name in ("full", "round", "round0", "rounds1")] == [None] * 4


def test_a_study_that_does_not_ask_has_none_of_it():
    study = make(copy.deepcopy(_demo()))
    assert round_files.sets(study) == round_files.choices(study) == round_files.scores(study) == []
    assert "rounds" not in slices.statistics(study)


def test_of_a_run_each_round_has_its_cuts_start_and_settings():
    study = make_once()
    folder = "results/runs/it_rounds/ml/0.08h/seed1"
    assert [round_files.cuts(study, RUN, number) for number in (1, 2, 3)] == [
        "results/budgets/it/0.08h.jsonl.gz",
        f"{folder}/labels2/cuts.jsonl.gz",
        f"{folder}/labels3/cuts.jsonl.gz",
    ]
    assert round_files.models(study, RUN) == [
        f"{folder}/round{number}/model.nemo" for number in (1, 2, 3)
    ]
    assert paths.model(study, RUN) == f"{folder}/model.nemo"
    assert round_files.heard(study, "it_rounds") == {"it": "results/budgets/it/0.32h.jsonl.gz"}
    first, second, last = (round_files.training(study, RUN, number) for number in (1, 2, 3))
    plain = slices.training(study, "ml")
    assert {key: value for key, value in first.items() if key != "round"} == plain
    assert [one["round"]["number"] for one in (first, second, last)] == [1, 2, 3]
    assert [one["round"]["share"] for one in (first, second, last)] == [
        [0.0, 0.5],
        [0.5, 0.75],
        [0.75, 1.0],
    ]
    assert last["optimizer"]["lr"] == plain["optimizer"]["lr"] / 2
    assert plain["optimizer"] == second["optimizer"], "the study's own recipe is as it was"
    assert stages.canonical("train", first)["round"] == first["round"]
    assert len(round_files.choices(study)) == 2 * 2 * 2  # arms, budgets, rounds


def test_steps_of_epochs_follow_from_all_that_is_heard():
    study = make_once()
    assert round_files.hours_of_steps(study, "it_rounds", "0.08") == pytest.approx(0.32)
    alone = make(asked([{"data": "labelled"}, {"data": "hardest"}], total_hours=None))
    assert round_files.hours_of_steps(alone, "it_rounds", "0.08") == pytest.approx(0.08)
    assert round_files.heard(alone, "it_rounds") == {}


def test_more_speech_to_hear_leaves_a_first_round_of_fixed_steps_as_it_is():
    settings = {}
    for hours in (0.2, 0.32):
        for steps in ({"fixed": 480}, {"epochs": 10}):
            made = asked(total_hours=hours)
            made["training"]["steps"] = steps
            config.validate(made)
            settings[hours, next(iter(steps))] = round_files.training(Study(made, ROOT), RUN, 1)
    assert settings[0.2, "fixed"] == settings[0.32, "fixed"]
    assert [settings[hours, "epochs"]["round"]["hours"] for hours in (0.2, 0.32)] == [0.2, 0.32]


def test_earlier_rounds_are_decoded_at_one_tier_and_are_in_no_other_table():
    study = make_once()
    found = round_files.hypotheses(study, "it")
    assert len(found) == 2 * 2 * 2 * len(study.language("it")["test_sets"])
    assert not set(found) & set(paths.hypotheses(study))
    tier = study.config["statistics"]["reference_tier"]
    assert all(f"/{tier}/" in path for path in found)
    assert all("/round1/" in path or "/round2/" in path for path in found)
    assert round_files.hypotheses(study, "fr") == []
    assert round_files.scores(study) == ["results/round_scores/it.parquet"]


def test_labels_are_made_at_the_tier_that_hears_most_or_at_the_one_that_is_asked_for():
    study = make_once()
    assert round_files.label_tier(study, study.arms["ml"], "it_rounds") == "offline"
    study = make(asked(tier="560ms"))
    assert round_files.label_tier(study, study.arms["ml"], "it_rounds") == "560ms"


@pytest.mark.slow
def test_controls_are_found_the_same_texts_all_texts_and_the_same_rank():
    lora = {"kind": "lora", "rank": 8, "alpha": 16}
    arms = {
        "ml": {"init": "ml"},
        "lora": {"init": "ml", "adaptation": lora},
        "wide": {"init": "ml", "adaptation": {**lora, "rank": 24, "alpha": 48}},
    }
    made = asked(arms=arms)
    made["contrasts"] = {"lora": {"baseline": "ml", "challenger": "lora"}}
    made["statistics"] |= {"baseline": None, "challenger": None}
    made["bundle"]["arm"] = "ml"
    made["bundle"].pop("init", None)
    found = slices.statistics(make(made))["rounds"]["it_rounds"]
    assert found == {
        "total_hours": 0.32,
        "data": ["labelled", "pseudo", "clean"],
        "at_once": ["it"],
        "rank": {"lora": "wide"},
    }


def test_a_dry_run_says_where_there_is_nothing_to_compare_rounds_with():
    assert notes.without_controls(make_once()) == []
    made = asked()
    made["training_sets"]["it"]["budgets_hours"] = [0.02]
    said = "training_sets.it_rounds.rounds: it has no budget of 0.08, 0.32 h to compare them with"
    assert notes.without_controls(make(made))[0].startswith(said)
    del made["training_sets"]["it"]
    assert (
        "no training set of the same languages is without rounds"
        in (notes.without_controls(make(made))[0])
    )


def test_what_they_cost_is_planned():
    study = make_once()
    planner = planning.Planner(study, ROOT / "nowhere")
    one, plain = RUN, Run("it", "ml", "0.08", 1)
    assert planner.training_audio_h(one) == planner.training_audio_h(plain)  # steps are fixed
    parts = [planner.training_round(one, number) for number in (1, 2, 3)]
    whole = planner.training(one)
    assert sum(each.wall_h for each in parts) == pytest.approx(whole.wall_h)
    assert sum(each.disk_gb for each in parts) == pytest.approx(whole.disk_gb)
    assert whole.disk_gb == pytest.approx(3 * planner.training(plain).disk_gb)
    start_h = study.config["planning"]["job_start_min"] / 60
    rtfx = study.config["planning"]["decode_rtfx"]
    # The second round asks about what lies beyond the budget, the third about the budget.
    assert planner.labelling(one, 2).wall_h == pytest.approx((0.32 - 0.08) / rtfx + start_h)
    assert planner.labelling(one, 3).wall_h == pytest.approx(0.08 / rtfx + start_h)
    early = planner.decoding(one, "round1", study.tiers["560ms"])
    assert early.wall_h == planner.decoding(one, "full", study.tiers["560ms"]).wall_h
    more = planner.decoding_of(one).wall_h - sum(
        planner.decoding(one, *each).wall_h for each in study.precisions(one)
    )
    labelled = sum(planner.labelling(one, number).wall_h for number in (2, 3))
    assert more == pytest.approx(labelled + 2 * early.wall_h)
    outputs = [
        ("results/runs/it_rounds/ml/0.08h/seed1/round2/model.nemo", "train_round"),
        ("results/runs/it_rounds/ml/0.08h/seed1/round2/run.json", "train_round"),
        ("results/runs/it_rounds/ml/0.08h/seed1/labels2/cuts.jsonl.gz", "label_pool"),
        ("results/runs/it_rounds/ml/0.08h/seed1/model.nemo", "join_rounds_nemo"),
        ("results/hypotheses/it_rounds/ml/0.08h/seed1/round1/560ms/x.jsonl", "decode_it_rounds"),
    ]
    jobs = planning.jobs_of(outputs)
    assert [stage for stage, _ in jobs] == ["train_round", "label_pool", "join_rounds", "decode"]
    for (stage, _), keys in jobs.items():
        assert planning.cost_of(planner, stage, keys).wall_h > 0
    assert "heard in rounds: 0.32" in data_plan.plan(study)


@pytest.mark.slow
def test_epochs_are_planned_for_all_that_is_heard():
    made = asked()
    made["training"]["steps"] = {"epochs": 10}
    made["training"]["schedule"]["warmup_steps"] = 0
    planner = planning.Planner(make(made), ROOT / "nowhere")
    all_texts = planner.training_audio_h(Run("it", "ml", "0.32", 1))
    assert planner.training_audio_h(RUN) == all_texts
    batch_h = made["training"]["batch_duration_s"] / 3600
    assert all_texts == pytest.approx(math.ceil(10 * 0.32 / batch_h) * batch_h)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("each", "block", "says"),
    [
        ([{"data": "pseudo"}, {"data": "clean"}], {}, r"each\[0\].data is 'pseudo', and no model"),
        ([{"data": "labelled", "keep": 0.5}, {"data": "pseudo"}], {}, r"each\[0\].keep is 0.5"),
        (
            [{"data": "labelled"}, {"data": "clean", "min_confidence": 0.5}],
            {"total_hours": None},
            r"each\[1\].min_confidence is 0.5, and data clean is chosen by no confidence",
        ),
        (None, {"total_hours": None}, "total_hours is null, and a round has data: pseudo"),
        (
            [{"data": "labelled"}, {"data": "hardest", "keep": 0.5}],
            {},
            "total_hours is 0.32, and no round has data: pseudo",
        ),
        (None, {"total_hours": 0.08}, "total_hours is 0.08, and 0.08 h of it have texts"),
        (None, {"total_hours": 9}, r"total_hours is 9, 9 h of it: .* h available"),
        (None, {"tier": "560"}, "rounds.tier has '560'"),
        ([{"data": "labelled"}], {}, "a list of at least 2"),
        ([{"data": "labelled"}, {"data": "labeled"}], {}, "did you mean 'labelled'"),
        ([{"data": "labelled"}, {"data": "pseudo", "keep": 0}], {}, "more than 0"),
        (
            [{"data": "labelled", "steps_weight": 1000}, {"data": "pseudo"}],
            {},
            r"each\[1\], arm en: it has none of the run's 480 steps",
        ),
        (
            [{"data": "labelled", "steps_weight": 30}, {"data": "pseudo"}],
            {},
            r"each\[1\], arm en: training.schedule.warmup_steps is 30, but a run has 15 steps",
        ),
    ],
)
def test_what_cannot_be_is_refused_in_the_dry_run(each, block, says):
    with pytest.raises(UserError, match=says):
        make(asked(each, **block))


@pytest.mark.slow
def test_a_profile_of_batches_does_not_know_the_cuts_beyond_the_budgets():
    made = asked()
    made["training"]["batch_profile"] = True
    with pytest.raises(UserError, match=r"total_hours is 0.32, and training.batch_profile"):
        make(made)
    # Rounds on parts of the budget hear what was measured.
    alone = asked([{"data": "labelled"}, {"data": "clean"}], total_hours=None)
    alone["training"]["batch_profile"] = True
    make(alone)


@pytest.mark.slow
def test_a_rate_below_the_lowest_of_the_schedule_is_refused():
    made = asked([{"data": "labelled"}, {"data": "pseudo", "lr_scale": 1e-6}])
    made["training"]["schedule"]["min_lr"] = 1e-5
    with pytest.raises(UserError, match=r"each\[1\], arm en: training.schedule.min_lr is 1e-05"):
        make(made)


@pytest.mark.slow
def test_what_an_adaptation_waits_for_has_to_come_in_each_round():
    made = asked()
    made["training"]["adaptation"] = {"kind": "freeze", "encoder_layers": 1, "steps": 200}
    with pytest.raises(UserError, match=r"each\[1\], arm en: adaptation.steps is 200, and the ro"):
        make(made)


@pytest.mark.slow
def test_arms_that_cannot_label_are_refused():
    phones = {"init": "ml", "tokens": "ipa"}
    made = asked(arms={"en": {"init": "en"}, "ml": {"init": "ml"}, "phones": phones})
    with pytest.raises(UserError, match=r"arms.phones writes phones .*take it_rounds out of arms"):
        make(made)
    made["arms"]["phones"]["training_sets"] = ["it"]
    make(made)


@pytest.mark.slow
def test_a_family_that_says_nothing_of_its_confidence_is_refused(monkeypatch):
    silent = dataclasses.replace(models.kind_of("fastconformer_rnnt"), confidence=False)
    monkeypatch.setitem(models.KINDS, "fastconformer_rnnt", silent)
    with pytest.raises(UserError, match="do not say how sure they are; families that do: fastc"):
        make(asked())
    make(asked([{"data": "labelled"}, {"data": "hardest", "keep": 0.5}], total_hours=None))


@pytest.mark.slow
@pytest.mark.parametrize("which", ["expert", "made"])
def test_a_round_is_no_expert_and_is_not_made_of_any(monkeypatch, which):
    at_once, in_rounds = Run("it", "ml", "0.08", 1), RUN
    made, expert = (at_once, in_rounds) if which == "expert" else (in_rounds, at_once)
    monkeypatch.setattr(experts, "fused", lambda _, run: {"it": expert} if run == made else {})
    says = {"expert": "is one of its experts", "made": "is made of experts"}[which]
    with pytest.raises(UserError, match=rf"it_rounds.rounds, and it_rounds/.* {says}"):
        make(asked())


def test_an_update_lies_beside_the_model_of_its_round_and_not_of_the_run():
    lora = {"kind": "lora", "rank": 8, "alpha": 16}
    made = asked(arms={"en": {"init": "en"}, "ml": {"init": "ml", "adaptation": lora}})
    study = make(made)
    assert paths.beside(study, RUN) == []
    assert len(paths.beside(study, Run("it", "ml", "0.08", 1))) > 0


@pytest.mark.slow
def test_a_precision_may_not_have_the_name_of_a_round():
    made = asked()
    made["precisions"]["round1"] = {"scheme": "k_quant"}
    with pytest.raises(UserError, match=r"precisions.round1: .* the name of a round"):
        make(made)


@pytest.mark.slow
def test_a_set_with_rounds_is_another_than_the_same_without():
    make(asked())
    made = asked()
    made["training_sets"]["again"] = copy.deepcopy(made["training_sets"]["it_rounds"])
    with pytest.raises(UserError, match=r"it_rounds and training_sets\.again are equal"):
        make(made)
