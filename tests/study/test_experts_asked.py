"""Arms that are made of experts: which runs they are made of, and what is refused."""

import pytest
from test_arms import demo, make

from warmstart.run.errors import UserError
from warmstart.study import experts, slices, stages
from warmstart.study.grid import Run

BOTH = ["it+fr"]
LORA = {"kind": "lora", "rank": 8, "alpha": 16, "layers": "*_proj"}
SETS = {
    "it": {"languages": {"it": 1}},
    "fr": {"languages": {"fr": 1}},
    "it+fr": {"languages": {"it": 1, "fr": 1}},
}


def arm(family="made.own_tokens:KIND", **block):
    base = {"init": "w", "family": family, "tiers": ["offline"], "precisions": ["full"]}
    return {**base, **block}


def fused(**options):
    block = {"kind": "experts", "of": ["lora"], "fuse": "cat", **options}
    return arm(adaptation=block, training_sets=BOTH)


def student(**options):
    block = {"teachers": ["lora"], **options}
    return arm(adaptation=LORA, distil=block, training_sets=BOTH)


def with_experts(arms=None, **changes):
    """The demo with a family of its own tokens: experts, their fusion, a student."""
    made = demo(training_sets={name: dict(block) for name, block in SETS.items()})
    made["inits"] = {"w": {"name": "W", "path": "/donors/w"}}
    made["arms"] = {
        "full": arm(),
        "lora": arm(adaptation=LORA),
        "fused": fused(),
        "student": student(),
        **(arms or {}),
    }
    made["contrasts"] = {"lora": {"baseline": "full", "challenger": "lora"}}
    made["statistics"]["reference_tier"] = "offline"
    made["bundle"] = None
    budgets = made["languages"]["it"]["budgets_hours"]
    made["languages"]["fr"]["budgets_hours"] = budgets
    return made | changes


def test_an_arm_stands_for_its_runs_on_each_language_alone():
    study = make(with_experts())
    run = Run("it+fr", "fused", "0.08", 1)
    wanted = {"it": Run("it", "lora", "0.08", 1), "fr": Run("fr", "lora", "0.08", 1)}
    assert experts.fused(study, run) == wanted
    assert experts.teachers(study, run) == {}
    taught = Run("it+fr", "student", "0.08", 1)
    assert (experts.fused(study, taught), experts.teachers(study, taught)) == ({}, wanted)
    assert experts.fused(study, Run("it+fr", "full", "0.08", 1)) == {}
    assert experts.folder(wanted["it"]) == "results/runs/it/lora/0.08h/seed1/adapter"


@pytest.mark.slow
@pytest.mark.parametrize(("name", "key"), [("fused", "adaptation.of"), ("student", "teachers")])
def test_batches_are_not_measured_of_a_model_that_is_made_of_experts(name, key):
    made = with_experts()
    made["training"]["batch_profile"] = True
    for other in ("fused", "student"):
        if other != name:
            made["contrasts"][other] = {"baseline": "full", "challenger": other}
    with pytest.raises(UserError, match=rf"batch_profile measures arms.{name}, .*{key}"):
        make(made)
    made["contrasts"][name] = {"baseline": "full", "challenger": name}
    make(made)


@pytest.mark.slow
def test_experts_that_are_apart_are_in_no_bundle():
    made = with_experts({"by_language": fused(fuse="lid")})
    for block in made["arms"].values():
        block["family"] = "whisper"
    made["bundle"] = {"arm": "by_language", "precision": "full", "tier": "offline"}
    with pytest.raises(UserError, match=r"arms.by_language.adaptation.fuse is lid, and bundle.arm"):
        make(made)
    made["bundle"]["arm"] = "fused"
    make(made)


def test_a_language_of_half_the_weight_has_the_expert_of_half_the_hours():
    made = with_experts()
    made["training_sets"]["it+fr"] = {"languages": {"it": 1, "fr": 0.25}, "budgets_hours": [0.08]}
    study = make(made)
    found = experts.fused(study, Run("it+fr", "fused", "0.08", 1))
    assert found["fr"] == Run("fr", "lora", "0.02", 1)


def test_runs_are_named_by_their_training_set_or_whole():
    made = with_experts({"fused": fused(of=["fr/lora/0.32h/seed1", "slow_it/lora"])})
    made["training_sets"]["slow_it"] = {"languages": {"it": 1}, "budgets_hours": [0.02, 0.08, 0.32]}
    made["training_sets"]["it"]["budgets_hours"] = [0.02, 0.08]
    made["training_sets"]["slow_it"]["budgets_hours"] = [0.32]
    made["training_sets"]["it+fr"]["budgets_hours"] = [0.32]
    made["arms"]["student"]["distil"]["teachers"] = ["lora"]
    study = make(made)
    run = Run("it+fr", "fused", "0.32", 1)
    assert experts.fused(study, run) == {
        "it": Run("slow_it", "lora", "0.32", 1),
        "fr": Run("fr", "lora", "0.32", 1),
    }
    # The one training set of Italian alone that has these hours.
    taught = experts.teachers(study, Run("it+fr", "student", "0.32", 1))
    assert taught["it"] == Run("slow_it", "lora", "0.32", 1)


def test_a_fusion_has_the_steps_of_its_tuning_and_no_other_recipe_changes():
    made = with_experts({"tuned": fused(tune_steps=40)})
    plain = with_experts()
    del plain["arms"]["fused"], plain["arms"]["student"]
    study, before = make(made), make(plain)
    steps = {name: slices.recipe_of(study, name)["steps"] for name in study.arms}
    assert (steps["fused"], steps["tuned"]) == ({"fixed": 0}, {"fixed": 40})
    for name in ("full", "lora"):
        settings = [
            stages.canonical("train", slices.training(one, name)) for one in (study, before)
        ]
        assert settings[0] == settings[1]
    taught = slices.training(study, "student")["distil"]
    assert taught == {"teachers": ["lora"], "alpha": 0.5, "temperature": 2}


REFUSED = {
    "teachers of whom nothing is learnt": (
        {"fused": {**fused(), "distil": {"teachers": ["lora"]}}},
        r"arms.fused.distil has teachers, and adaptation.tune_steps is 0",
    ),
    "an arm that is not there": (
        {"fused": fused(of=["loar"])},
        r"arms.fused.adaptation.of has 'loar': there is no 'loar' \(did you mean 'lora'\?\)",
    ),
    "no LoRA": (
        {"fused": fused(of=["full"])},
        r"arms.fused.adaptation.of: it/full/0.02h/seed1 is no expert, because the adaptation of "
        r"arms.full is 'full', .*name an arm with adaptation: \{kind: lora\}",
    ),
    "another donor": (
        {"other": arm(init="v", adaptation=LORA), "fused": fused(of=["other"])},
        r"it/other/0.02h/seed1 has the init 'v', and arms.fused 'w'",
    ),
    "another family": (
        {
            "other": arm(family="made.own_tokens:NO_GATES", adaptation=LORA, init="w"),
            "fused": fused(of=["other"]),
        },
        r"has the family 'made.own_tokens:NO_GATES', and arms.fused 'made.own_tokens:KIND'",
    ),
    "ranks that differ": (
        {
            "wide": arm(adaptation={**LORA, "rank": 16}),
            "fused": fused(of=["it/lora", "fr/wide"], fuse="linear"),
        },
        r"arms.fused.adaptation.fuse is linear, which needs one rank: the experts' rank differ "
        r"\(8: it/lora/0.02h/seed1; 16: fr/wide/0.02h/seed1\); take fuse: cat or svd",
    ),
    "layers that differ": (
        {
            "few": arm(adaptation={**LORA, "layers": "*q_proj"}),
            "fused": fused(of=["it/lora", "fr/few"]),
        },
        r"arms.fused.adaptation.of: the experts' layers differ \(\*_proj: it/lora/0.02h/seed1; "
        r"\*q_proj: fr/few/0.02h/seed1\); name experts of arms with one lora.layers",
    ),
    "a teacher that is missing": (
        {"student": student(teachers=["it/lora"])},
        r"arms.student.distil.teachers names no expert of fr for it\+fr/student/0.02h/seed1; add "
        r"fr/ARM",
    ),
    "an expert that is not trained": (
        {"lora": arm(adaptation=LORA, training_sets=["it", "it+fr"])},
        r"arms.fused.adaptation.of: it\+fr/fused/0.02h/seed1 needs the expert "
        r"fr/lora/0.02h/seed1, which is no run of the study; let arms.lora have that training set",
    ),
    "two experts of a language": (
        {"fused": fused(of=["lora", "fr/lora"])},
        r"names two experts of fr for it\+fr/fused/0.02h/seed1: fr/lora/0.02h/seed1 and",
    ),
    "an expert of two languages": (
        {"fused": fused(of=["it+fr/lora"])},
        r"has 'it\+fr/lora', a run on it, fr; an expert is of one language",
    ),
    "half a name": (
        {"fused": fused(of=["it/lora/seed1"])},
        r"it/lora/seed1 names no run; a run is",
    ),
    "one language": (
        {"fused": {**fused(), "training_sets": ["it"]}},
        r"arms.fused fuses experts, and training set it has one language; give "
        r"arms.fused.training_sets those of several",
    ),
    "a teacher that is taught": (
        {
            "student": student(teachers=["it/lora", "fr/pupil"]),
            "pupil": arm(adaptation=LORA, training_sets=["fr"], distil={"teachers": ["lora"]}),
        },
        r"fr/pupil/0.02h/seed1 learns from teachers itself \(arms.pupil.distil\)",
    ),
    "weights of some": (
        {"fused": fused(weights={"it": 1})},
        r"arms.fused.adaptation.weights is of it, and it\+fr/fused/0.02h/seed1 has experts of it, "
        r"fr; give each language one weight",
    ),
    "steps beside those of the tuning": (
        {"fused": {**fused(), "training": {"steps": {"fixed": 5}}}},
        r"arms.fused.training.steps: an arm of experts has as many steps as its "
        r"adaptation.tune_steps",
    ),
    "a tuning that ends before its rate has come up": (
        {"fused": fused(tune_steps=5)},
        r"arms.fused: training.schedule.warmup_steps is 30, but a run has 5 steps",
    ),
    "a family with tokens of each training set": (
        {
            "fused": fused() | {"family": "fastconformer_ctc"},
            "lora": arm(family="fastconformer_ctc", adaptation=LORA),
            "full": arm(family="fastconformer_ctc"),
            "student": arm(family="fastconformer_ctc", adaptation=LORA | {"rank": 4}),
        },
        r"arms.fused: family fastconformer_ctc cannot have the adaptation experts, which needs "
        r"shared_tokens; allowed: full, ",
    ),
    "a family without scores of tokens": (
        {
            name: block | {"family": "made.own_tokens:NO_GATES"}
            for name, block in (
                ("full", arm()),
                ("lora", arm(adaptation=LORA)),
                ("fused", fused()),
                ("student", student()),
            )
        },
        r"arms.student.distil: models of family made.own_tokens:NO_GATES do not give the scores",
    ),
    "a family that tells no languages": (
        {
            "lora": arm(adaptation=LORA, family="made.own_tokens:NO_GATES"),
            "full": arm(family="made.own_tokens:NO_GATES"),
            "fused": fused(fuse="lid") | {"family": "made.own_tokens:NO_GATES"},
        },
        r"arms.fused.adaptation.fuse is lid, and models of family made.own_tokens:NO_GATES do not "
        r"tell languages",
    ),
    "a rank of a fusion that has its own": (
        {"fused": fused(rank=8)},
        r"arms.fused.adaptation: adaptation experts: rank is 8, and fuse cat, whose rank follows",
    ),
    "a density where nothing is left out": (
        {"fused": fused(density=0.2)},
        r"density is 0.2, and fuse cat leaves no values out; .*fuse: dare or ties",
    ),
    "a tuning of experts that stay apart": (
        {"fused": fused(fuse="lid", tune_steps=40)},
        r"tune_steps is 40, and fuse lid weights the experts anew for each utterance",
    ),
    "no such fusion": (
        {"fused": fused(fuse="mean")},
        r"adaptation experts.fuse is 'mean'",
    ),
    "a share above one": (
        {"student": student(alpha=1.5)},
        r"arms.student.distil.alpha.*1.5",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_it_is_refused(case):
    arms, said = REFUSED[case]
    made = with_experts(arms)
    if case == "another donor":
        made["inits"]["v"] = {"name": "V", "path": "/donors/v"}
    with pytest.raises(UserError, match=said):
        make(made)


def test_a_replayed_language_needs_a_teacher_and_no_expert():
    made = with_experts()
    made["test_sets"]["numbers"] = {"corpus": "pretraining", "split": "test_same"}
    made["support_languages"]["en"] |= {
        "training_corpora": ["pretraining"],
        "test_sets": ["numbers"],
    }
    made["training_sets"]["it+fr"]["replay"] = {"lang": "en", "fraction": 0.2}
    with pytest.raises(UserError, match=r"distil.teachers has 'lora', and no training set is of"):
        make(made)
    del made["arms"]["student"]
    study = make(made)
    assert list(experts.fused(study, Run("it+fr", "fused", "0.08", 1))) == ["it", "fr"]


def test_precisions_of_a_model_that_is_no_one_model():
    made = with_experts({"fused": fused(fuse="lid")})
    make(made)
    made["arms"]["fused"]["precisions"] = ["full", "int4"]
    with pytest.raises(UserError, match=r"family .* exports no encoder|precisions has int4"):
        make(made)


def test_tables_are_told_what_stands_beside_and_of_nothing_else():
    made = with_experts()
    made["inits"]["w"]["zero_shot"] = None
    study = make(made)
    told = slices.statistics(study)["experts"]
    assert told["arms"] == {"fused": ["full", "lora"], "student": ["full", "lora"]}
    assert told["standard"] == {"fused": "full", "student": "full"}
    assert told["untouched"] == {}
    assert {
        "training_set": "it+fr",
        "arm": "student",
        "hours": 0.08,
        "lang": "fr",
        "expert": {"training_set": "fr", "arm": "lora", "hours": 0.08},
    } in told["oracle"]
    assert len(told["oracle"]) == 2 * 2 * len(study.budgets("it+fr"))
    # What is on no training set of theirs stands nowhere beside them.
    made["arms"]["full"]["training_sets"] = ["it"]
    made["arms"]["full_both"] = arm(training={"optimizer": {"lr": 1e-4}}, training_sets=BOTH)
    made["arms"]["lora"]["training_sets"] = ["it", "fr"]
    made["contrasts"] = {"lora": {"baseline": "full_both", "challenger": "fused"}}
    told = slices.statistics(make(made))["experts"]
    assert told["arms"]["fused"] == ["full_both"]
    assert told["standard"]["fused"] == "full_both"
    plain = with_experts()
    del plain["arms"]["fused"], plain["arms"]["student"]
    assert "experts" not in slices.statistics(make(plain))


def test_the_page_knows_that_steps_and_teachers_are_what_such_a_contrast_is_about():
    from warmstart.evidence.display import Display

    made = with_experts()
    made["contrasts"] |= {
        "fused": {"baseline": "full", "challenger": "fused"},
        "taught": {"baseline": "lora", "challenger": "student"},
    }
    display = Display.of(slices.display(make(made)))
    about = {one.name: display.about(one) for one in display.contrasts}
    assert about["fused"] == ["adaptation", "steps.fixed"]
    assert about["taught"] == ["distil.teachers", "distil.alpha", "distil.temperature"]
    assert about["lora"] == ["adaptation"]


def test_an_arm_stands_for_no_run_in_rounds():
    made = with_experts()
    del made["arms"]["student"]
    rounds = {"each": [{"data": "labelled"}, {"data": "labelled"}]}
    made["training_sets"] |= {
        "it_plain": {"languages": {"it": 1}},
        "it_rounds": {"languages": {"it": 1}, "rounds": rounds},
    }
    del made["training_sets"]["it"]
    study = make(made)
    found = experts.fused(study, Run("it+fr", "fused", "0.08", 1))
    assert found["it"] == Run("it_plain", "lora", "0.08", 1)
