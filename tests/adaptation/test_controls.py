"""The recipe and its controls, each by its effect on a real small model: what learns, what is
heard, when a run ends."""

import gc
import json
import math
import shutil
import signal
from collections import Counter
from pathlib import Path

import pytest
import torch
from made.small_speech import MODEL, SETTINGS, donor, rows, two_donors

import train
from warmstart.data import cut_lines
from warmstart.models import open_family
from warmstart.models.fastconformer.build import (
    encoder_tensors,
    load_encoder,
    transducer_config,
)
from warmstart.models.fastconformer.donor import read_config
from warmstart.run import files
from warmstart.run.errors import UserError
from warmstart.study.stages import filled
from warmstart.training.distributed import Ranks

pytestmark = pytest.mark.slow

LAYERS = 2
STEPS = 8
BASE = SETTINGS | {"steps": {"fixed": STEPS}, "checkpoint_every_steps": 1, "average_last": STEPS}


@pytest.fixture(scope="module")
def donors(tmp_path_factory, speech):
    """Deeper than the others: one layer is frozen, one learns."""
    return two_donors(tmp_path_factory.mktemp("donors"), speech["tokenizer"], n_layers=LAYERS)


def run(speech, init, run_dir, settings, *more) -> Path:
    """The training program, in this process: importing NeMo costs more than training."""
    gc.collect()  # what ran in this process before may still hold the lock of its folder
    train.main(
        [
            *("--train-cuts", str(speech["train"]), "--tokenizer", str(speech["tokenizer"])),
            *(("--dev-cuts", f"it={speech['dev']}") if speech["dev"] else ()),
            *(
                "--init",
                str(init),
                "--run",
                "it/en/0.012h/seed1",
            ),
            *(
                "--settings",
                json.dumps(settings),
                "--run-dir",
                str(run_dir),
                "--output",
                str(run_dir / "model.nemo"),
                *more,
            ),
        ]
    )
    return run_dir


def at_step(run_dir, step):
    """Weights in the checkpoint of a step."""
    return torch.load(run_dir / "checkpoints" / f"step-{step:08d}.ckpt", weights_only=False)[
        "state_dict"
    ]


def copy_checkpoints(source, target, last_step):
    (target / "checkpoints").mkdir(parents=True)
    shutil.copy2(source / "checkpoints" / "identity.json", target / "checkpoints")
    for path in (source / "checkpoints").glob("step-*.ckpt"):
        if int(path.stem.removeprefix("step-")) <= last_step:
            shutil.copy2(path, target / "checkpoints")


def equal(one, other, names):
    return [bool(torch.equal(one[name], other[name])) for name in names]


# ---- freezing


@pytest.fixture(scope="module")
def thawed(speech, donors, tmp_path_factory):
    """Subsampling and first layer frozen for 4 steps, then trained for 4; a checkpoint after each
    step."""
    settings = BASE | {"freeze": {"encoder_layers": 1, "steps": 4}}
    return run(speech, donors["en"], tmp_path_factory.mktemp("thawed"), settings)


def frozen_names(weights):
    return [
        name for name in weights if name.startswith(("encoder.pre_encode.", "encoder.layers.0."))
    ]


def test_frozen_layers_stay_bit_equal_until_their_step_and_move_after(thawed, donors):
    given = {f"encoder.{name}": value for name, value in encoder_tensors(donors["en"]).items()}
    for step in range(1, STEPS + 1):
        weights = at_step(thawed, step)
        held = equal(weights, given, frozen_names(given))
        assert len(held) > 30
        assert all(held) if step <= 4 else not any(held), step
        others = [name for name in given if name.startswith("encoder.layers.1.")]
        assert not any(equal(weights, given, others)), step


@pytest.mark.parametrize("last_step", [3, 4, 6])
def test_a_resumed_run_thaws_at_the_same_step_and_draws_the_same_curve(
    speech, donors, thawed, tmp_path, last_step
):
    copy_checkpoints(thawed, tmp_path, last_step)
    run(speech, donors["en"], tmp_path, BASE | {"freeze": {"encoder_layers": 1, "steps": 4}})
    resumed, undisturbed = at_step(tmp_path, STEPS), at_step(thawed, STEPS)
    assert all(equal(resumed, undisturbed, undisturbed))
    # A row is about two steps: of the first of them, step 3, the resumed run knows what its
    # checkpoint tells.
    curves = [
        [(row["step"], row["loss"], row["padding_share"]) for row in rows(folder)]
        for folder in (tmp_path, thawed)
    ]
    assert curves[0] == curves[1]


def test_freezing_what_is_not_there_or_what_never_learns_is_an_error(speech, donors, tmp_path):
    with pytest.raises(UserError, match=r"freeze\.encoder_layers is 3; the encoder has 2 layers"):
        run(speech, donors["en"], tmp_path, BASE | {"freeze": {"encoder_layers": 3, "steps": 4}})
    with pytest.raises(
        UserError,
        match=r"adapter, which freezes the whole encoder for good; remove training\.freeze",
    ):
        run(
            speech,
            donors["en"],
            tmp_path,
            BASE | {"adaptation": "adapter", "freeze": {"encoder_layers": 1, "steps": 4}},
        )


# ---- averaging


def test_averaged_weights_are_the_mean_of_the_checkpoints(thawed):
    from nemo.collections.asr.models import EncDecRNNTBPEModel

    found = EncDecRNNTBPEModel.restore_from(
        str(thawed / "model.nemo"), map_location="cpu"
    ).state_dict()
    checkpoints = [at_step(thawed, step) for step in range(1, STEPS + 1)]
    for name in ("encoder.layers.1.feed_forward1.linear1.weight", "joint.joint_net.2.bias"):
        values = [weights[name].flatten()[0].item() for weights in checkpoints]
        assert len(set(values)) == STEPS
        assert found[name].flatten()[0].item() == pytest.approx(sum(values) / STEPS, rel=1e-6)


def test_a_mean_of_checkpoints_that_are_not_there_is_refused_before_training(
    speech, donors, thawed, tmp_path
):
    assert files.read_json(thawed / "run.json")["averaged_steps"] == list(range(1, STEPS + 1))
    settings = BASE | {"freeze": {"encoder_layers": 1, "steps": 4}}
    # As a run leaves them that was to average two: its setting may be edited, what it did not keep
    # is gone.
    copy_checkpoints(thawed, tmp_path, STEPS)
    for step in range(1, STEPS - 1):
        (tmp_path / "checkpoints" / f"step-{step:08d}.ckpt").unlink()
    with pytest.raises(
        UserError,
        match=r"average_last is 4, but .*checkpoints of steps 5, 6; set average_last to 2 or less",
    ):
        run(speech, donors["en"], tmp_path, settings | {"average_last": 4})
    run(speech, donors["en"], tmp_path, settings | {"average_last": 2})
    assert files.read_json(tmp_path / "run.json")["averaged_steps"] == [7, 8]
    # How many steps a budget makes is known when its run begins.
    short = BASE | {
        "steps": {"epochs": 1, "max": 4},
        "checkpoint_every_steps": 2,
        "average_last": 3,
    }
    with pytest.raises(
        UserError, match="average_last is 3, but 4 steps with one checkpoint every 2 leave 2"
    ):
        run(speech, donors["en"], tmp_path / "short", short)
    with pytest.raises(UserError, match="warmup_steps is 5, but a run has 4 steps"):
        run(
            speech,
            donors["en"],
            tmp_path / "short",
            short | {"schedule": {"name": "cosine", "warmup_steps": 5}},
        )


# ---- early stop

# Nothing is learned at this rate, so no validation is better than the first.
STUCK = {"optimizer": {"name": "adamw", "lr": 1e-12}, "average_last": 2, "validate_every_steps": 2}


def test_a_run_ends_when_validation_has_not_become_better(speech, donors, tmp_path):
    settings = BASE | STUCK | {"early_stop": {"metric": "dev_wer", "patience": 2}}
    record = files.read_json(run(speech, donors["en"], tmp_path / "whole", settings) / "run.json")
    # Best at step 2, no better at 4 and 6.
    assert (record["steps"], record["steps_planned"]) == (6, STEPS)
    assert int(rows(tmp_path / "whole")[-1]["step"]) == 6
    # The wait goes on after a resume, and a run that had ended ends again.
    for last_step in (5, 6):
        copy_checkpoints(tmp_path / "whole", tmp_path / f"from{last_step}", last_step)
        record = files.read_json(
            run(speech, donors["en"], tmp_path / f"from{last_step}", settings) / "run.json"
        )
        assert record["steps"] == 6


@pytest.mark.parametrize("where", ["step", "validation"])
def test_a_signal_waits_for_no_validation_which_is_done_after_the_resume(
    speech, donors, tmp_path, monkeypatch, where
):
    """A validation takes minutes, and a scheduler waits for seconds; early stopping looks at each
    of them all the same."""
    from warmstart.models.fastconformer.recogniser import TransducerModel
    from warmstart.training import order
    from warmstart.training.validation import Validation

    seed_step, evaluate, evaluated = order.seed_step, TransducerModel.evaluate, []

    def interrupted(seed, step, rank):
        if step == 3 and where == "step":
            signal.raise_signal(signal.SIGTERM)
        seed_step(seed, step, rank)

    def interrupted_validation(*arguments):
        evaluated.append(1)
        if (
            len(evaluated) == batches + 1 and where == "validation"
        ):  # the first batch of the second validation
            signal.raise_signal(signal.SIGTERM)
        return evaluate(*arguments)

    settings = BASE | STUCK | {"early_stop": {"metric": "dev_wer", "patience": 2}}
    settings |= {"checkpoint_every_steps": 100, "average_last": 0}
    model = build(speech, donors["en"], SETTINGS)
    batches = len(
        Validation(model, [(speech["dev"], None)], SETTINGS["batch_duration_s"]).batches(Ranks())
    )
    assert batches > 1
    monkeypatch.setattr("warmstart.training.recorder.seed_step", interrupted)
    monkeypatch.setattr(TransducerModel, "evaluate", interrupted_validation)
    with pytest.raises(SystemExit):
        run(speech, donors["en"], tmp_path, settings)
    assert len(evaluated) == (batches if where == "step" else batches + 1)
    record = files.read_json(run(speech, donors["en"], tmp_path, settings) / "run.json")
    assert [start["first_step"] for start in record["starts"]] == [0, 4]
    assert [row["step"] for row in rows(tmp_path) if row["dev_wer"]] == ["2", "4", "6"]
    # Best at step 2, no better at 4 and 6.
    assert record["steps"] == 6


def test_what_decides_when_a_run_ends_makes_it_begin_anew_and_what_is_only_shown_does_not(
    speech, donors, tmp_path
):
    """Looking every third step, the same run would have ended elsewhere."""
    settings = (
        BASE | STUCK | {"early_stop": {"metric": "dev_wer", "patience": 2}, "steps": {"fixed": 4}}
    )
    run(speech, donors["en"], tmp_path, settings)
    put_aside = tmp_path / "checkpoints.before"
    run(speech, donors["en"], tmp_path, settings | {"log_every_steps": 1, "num_workers": 0})
    assert not put_aside.exists()
    run(speech, donors["en"], tmp_path, settings | {"validate_every_steps": 3})
    assert len(list(put_aside.glob("step-*.ckpt"))) == 2
    with pytest.raises(UserError, match="early_stop needs --dev-cuts"):
        run({**speech, "dev": None}, donors["en"], tmp_path / "unwatched", settings)


def test_other_validation_cuts_begin_a_run_anew_only_where_they_decide_its_end(
    speech, donors, tmp_path
):
    fewer = tmp_path / "dev.jsonl.gz"
    with cut_lines.writing(fewer) as stream:
        stream.write(cut_lines.line(next(cut_lines.read(speech["dev"]))))
    for name, early_stop, expected in (
        ("watched", None, False),
        ("ended", {"metric": "dev_wer", "patience": 2}, True),
    ):
        settings = BASE | {"steps": {"fixed": 2}, "average_last": 0, "early_stop": early_stop}
        run(speech, donors["en"], tmp_path / name, settings)
        run({**speech, "dev": fewer}, donors["en"], tmp_path / name, settings)
        assert (tmp_path / name / "checkpoints.before").exists() is expected


def test_without_early_stop_the_same_run_ends_at_its_last_step(speech, donors, tmp_path):
    settings = BASE | STUCK | {"early_stop": None}
    record = files.read_json(run(speech, donors["en"], tmp_path, settings) / "run.json")
    assert record["steps"] == STEPS
    run(speech, donors["en"], tmp_path, settings | {"validate_every_steps": 3})
    assert not (tmp_path / "checkpoints.before").exists()


# ---- adapters


@pytest.fixture(scope="module")
def adapted(speech, donors, tmp_path_factory):
    settings = BASE | {"adaptation": "adapter", "adapter_dim": 64, "average_last": 0}
    return run(speech, donors["en"], tmp_path_factory.mktemp("adapted"), settings)


def test_with_adapters_the_encoder_stays_the_donors_and_adapters_learn(adapted, donors):
    given = {f"encoder.{name}": value for name, value in encoder_tensors(donors["en"]).items()}
    weights, before = at_step(adapted, STEPS), at_step(adapted, STEPS - 1)
    assert all(equal(weights, given, given))
    adapters = [name for name in weights if "adapter" in name]
    # Norm weight and bias, down and up, behind each layer.
    assert len(adapters) == 4 * LAYERS
    assert all(weights[name].any() for name in adapters)
    assert not any(equal(weights, before, adapters))
    record = files.read_json(adapted / "run.json")
    assert record["encoder_tensors_loaded"] == record["encoder_tensors"] == len(given)
    assert record["init_facts"]["donor_contexts"] == MODEL["contexts"]
    assert record["init_facts"]["class"] == "EncDecCTCModelBPE"
    others = sum(record["parameters"][name] for name in ("decoder", "joint"))
    # 2 x 64 for the norm, 64 x 64 down, 64 x 64 up.
    assert record["trained_parameters"] - others == LAYERS * (2 * 64 + 2 * 64 * 64)


def test_with_adapters_running_statistics_stay_the_donors_too(speech, tmp_path):
    """A batch norm moves without any gradient."""
    path = donor(tmp_path / "norm.nemo", speech["tokenizer"], 1, conv_norm_type="batch_norm")
    settings = BASE | {"adaptation": "adapter", "steps": {"fixed": 2}, "average_last": 0}
    weights = at_step(run(speech, path, tmp_path / "run", settings), 2)
    given = {f"encoder.{name}": value for name, value in encoder_tensors(path).items()}
    assert any(name.endswith("running_mean") for name in given)
    assert all(equal(weights, given, given))


def test_adapters_begin_alike_for_both_inits_and_change_nothing_at_first(speech, donors):
    from nemo.collections.asr.models import EncDecRNNTBPEModel
    from omegaconf import OmegaConf

    from warmstart.models.fastconformer import adapters

    digests = []
    for path, model_seed in zip(donors.values(), (11, 12), strict=True):
        config = transducer_config(read_config(path), MODEL, speech["tokenizer"])
        config["encoder"] = adapters.adaptable(config["encoder"])
        torch.manual_seed(model_seed)
        model = EncDecRNNTBPEModel(cfg=OmegaConf.create(config)).eval()
        load_encoder(model, path)
        features, lengths = torch.randn(1, MODEL["features"], 80), torch.tensor([80])
        plain, _ = model.encoder(audio_signal=features, length=lengths)
        adapters.add_adapters(model, 64, seed=1)
        found, _ = model.encoder(audio_signal=features, length=lengths)
        assert torch.equal(plain, found)
        digests.append(
            {name: value for name, value in model.encoder.state_dict().items() if "adapter" in name}
        )
    assert all(equal(*digests, digests[0]))
    assert digests[0]["layers.0.adapter_layer.warmstart.module.1.weight"].any()


# ---- schedules, clipping, buckets


def test_noam_rises_to_its_peak_and_falls_with_the_root_of_the_step(speech, donors, tmp_path):
    settings = BASE | {
        "schedule": {"name": "noam", "warmup_steps": 3},
        "log_every_steps": 1,
        "average_last": 0,
    }
    settings |= {"optimizer": {"name": "adamw", "lr": 0.1, "encoder_lr_scale": 0.5}}
    curve = rows(run(speech, donors["en"], tmp_path, settings))
    for row in curve:
        # The row of a step shows the rate that the next step will use; d_model is 64, its root 8.
        step = int(row["step"])
        expected = 0.1 / 8 * min(step**-0.5, step * 3**-1.5)
        assert float(row["lr"]) == pytest.approx(expected, rel=1e-3), step
        assert float(row["lr_encoder"]) == pytest.approx(expected / 2, rel=1e-3)


def test_gradients_are_clipped_to_the_norm_that_is_asked_for(speech, donors, tmp_path):
    from warmstart.training import loop

    norms = {}
    for clip in (0.5, 0):
        recogniser = build(
            speech, donors["en"], BASE | {"schedule": {"name": "cosine", "warmup_steps": 1}}
        )
        model = recogniser.lightning
        seen = norms[clip] = []

        def note(_optimizer, model=model, seen=seen):
            gradients = [p.grad.norm() ** 2 for p in model.parameters() if p.grad is not None]
            if gradients:
                seen.append(math.sqrt(sum(gradients)))

        model.on_before_zero_grad = note
        settings = BASE | {"gradient_clip": clip, "average_last": 0}
        fitted = loop.fit(
            recogniser,
            speech["train"],
            filled("train", settings),
            steps=3,
            seed=1,
            run_dir=tmp_path / str(clip),
            total_hours=0.012,
        )
        assert fitted.state["step"] == 3
    assert norms[0.5]
    assert max(norms[0.5]) <= 0.5 * 1.001
    assert min(norms[0]) > 1


def build(speech, path, settings):
    """A model from a donor as train.py makes it."""
    family = open_family("fastconformer_rnnt")
    donor = family.read_donor(path)
    settings = filled("train", settings)
    return family.build(donor, settings, tokenizer=speech["tokenizer"], seed=1, steps=STEPS)


def test_batches_hold_cuts_of_one_bucket_and_no_more_audio_than_asked_for(speech, donors):
    from warmstart.training import order

    settings = SETTINGS | {"bucket_bins_s": [1.2, 2.0]}
    _, sampler = order.dataloader(
        build(speech, donors["en"], settings), speech["train"], settings, seed=1
    )
    buckets = Counter()
    for _, batch in zip(range(40), sampler, strict=False):
        durations = [cut.duration for cut in batch]
        assert sum(durations) <= settings["batch_duration_s"]
        bucket = {sum(duration >= bound for bound in (1.2, 2.0)) for duration in durations}
        assert len(bucket) == 1
        buckets.update(bucket)
    assert set(buckets) == {0, 1, 2}


# ---- contexts and masks


def test_contexts_come_at_their_probabilities_and_alike_for_both_inits(speech, donors, tmp_path):
    from warmstart.training import order

    probabilities = [0.5, 0.25, 0.125, 0.125]
    settings = SETTINGS | {"model": MODEL | {"context_probs": probabilities}}
    drawn = []
    for path in donors.values():
        model = build(speech, path, settings).lightning.train()
        seen = []
        masks = model.encoder._create_masks

        def note(att_context_size, *arguments, masks=masks, seen=seen, **named):
            seen.append(tuple(att_context_size))
            return masks(att_context_size, *arguments, **named)

        model.encoder._create_masks = note
        with torch.no_grad():
            for step in range(240):
                order.seed_step(1, step)
                model.encoder(
                    audio_signal=torch.zeros(1, MODEL["features"], 8), length=torch.tensor([8])
                )
        drawn.append(seen)
        # Validation looks at the first context, whatever the step.
        model.eval()
        model.encoder(audio_signal=torch.zeros(1, MODEL["features"], 8), length=torch.tensor([8]))
        assert seen.pop() == (70, 13)
    assert drawn[0] == drawn[1]
    count = Counter(drawn[0])
    for context, probability in zip(MODEL["contexts"], probabilities, strict=True):
        # Four standard deviations of a binomial.
        spread = 4 * math.sqrt(240 * probability * (1 - probability))
        assert count[tuple(context)] == pytest.approx(240 * probability, abs=spread)


def test_spectra_are_masked_in_training_and_not_in_validation(speech, donors):
    from warmstart.training import order

    masks = {"freq_masks": 2, "freq_width": 10, "time_masks": 2, "time_width": 0.1}
    model = build(speech, donors["en"], SETTINGS | {"spec_augment": masks}).lightning
    seen = []
    model.encoder.register_forward_pre_hook(
        lambda _m, _a, named: seen.append(named["audio_signal"].clone()), with_kwargs=True
    )
    signal, length = torch.randn(1, 32000) * 0.1, torch.tensor([32000])
    with torch.no_grad():
        for training_mode in (True, True, False):
            model.train(training_mode)
            order.seed_step(1, 5)
            # A copy: NeMo adds dither to the signal it is given.
            model.forward(input_signal=signal.clone(), input_signal_length=length)
        order.seed_step(1, 6)
        model.train().forward(input_signal=signal.clone(), input_signal_length=length)
    (once, again, plain, other) = seen
    assert torch.equal(once, again)
    assert not torch.equal(once == 0, other == 0)
    masked_bands = (once == 0).all(dim=2).sum()
    masked_frames = (once == 0).all(dim=1).sum()
    assert 0 < masked_bands <= 20
    assert 0 < masked_frames <= 2 * 0.1 * 201
    assert not (plain[:, :, :200] == 0).all(dim=2).any()
    assert not (plain[:, :, :200] == 0).all(dim=1).any()


def test_validation_with_joint_and_loss_in_parts_as_on_a_gpu_says_the_same(speech, donors):
    from warmstart.models.fastconformer import loss
    from warmstart.training.validation import Validation

    said = []
    for fused in (False, True):
        model = build(speech, donors["en"], SETTINGS)
        loss.use_fast_loss(model.lightning, fused)
        said.append(Validation(model, [(speech["dev"], None)], 8)())
        assert model.lightning.training
    assert said[1] == pytest.approx(said[0], rel=1e-5)
    assert said[0]["dev_loss"] > 1
