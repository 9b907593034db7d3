"""What does not learn for a whole run: the encoder of `head_only`, the feature encoder of a freeze
policy. Of every family, by its effect on weights."""

import gc
import json

import pytest
import torch
from made import raw_donor
from made.small_speech import SETTINGS, donor, two_donors

import train
from warmstart.adaptation import open_adaptation
from warmstart.models import KINDS, open_family
from warmstart.models.digests import tensors_digest
from warmstart.run import files
from warmstart.study.stages import filled

pytestmark = pytest.mark.slow

FAMILIES = ("fastconformer_rnnt", "fastconformer_ctc", "wav2vec2_ctc")
STEPS = 6
MASKS = {"freq_masks": 1, "freq_width": 8, "time_masks": 2, "time_width": 0.2}
BASE = SETTINGS | {
    "steps": {"fixed": STEPS},
    "checkpoint_every_steps": 1,
    "average_last": STEPS,
    "validate_every_steps": 2,
    "spec_augment": MASKS,
}


@pytest.fixture(scope="module")
def start(tmp_path_factory, speech):
    """Family -> a donor of it, with two layers."""
    folder = tmp_path_factory.mktemp("donors")
    nemo = two_donors(folder, speech["tokenizer"], n_layers=2)["en"]
    raw = raw_donor.packed(folder)
    return {name: raw if name == "wav2vec2_ctc" else nemo for name in FAMILIES}


def run(speech, family, init, run_dir, adaptation, **settings):
    gc.collect()  # what ran in this process before may still hold the lock of its folder
    asked = BASE | settings | {"adaptation": adaptation}
    output = run_dir / KINDS[family].model_file
    arguments = ["--train-cuts", speech["train"], "--tokenizer", speech["tokenizer"]]
    arguments += ["--dev-cuts", f"it={speech['dev']}", "--init", init, "--family", family]
    arguments += ["--run", "it/a/0.012h/seed1", "--settings", json.dumps(asked)]
    train.main([*map(str, arguments), "--run-dir", str(run_dir), "--output", str(output)])
    return files.read_json(run_dir / "run.json"), open_family(family).load(output).parts()


def built(speech, family, init, **settings):
    """As training begins."""
    opened = open_family(family)
    return opened.build(
        opened.read_donor(init),
        filled("train", BASE | settings),
        tokenizer=speech["tokenizer"],
        seed=1,
        steps=STEPS,
    )


@pytest.mark.parametrize("family", FAMILIES)
def test_of_head_only_the_encoder_stays_and_the_rest_learns(speech, start, tmp_path, family):
    record, trained = run(speech, family, start[family], tmp_path, {"kind": "head_only"})
    given = built(speech, family, start[family]).parts()
    assert tensors_digest(trained["encoder"]) == record["start_digests"]["encoder"]
    assert tensors_digest(trained["encoder"]) == tensors_digest(given["encoder"])
    behind = set(given) - {"encoder"}
    for part in behind:
        weights = trained[part].state_dict()
        for name, value in given[part].named_parameters():
            assert not torch.equal(weights[name], value), f"{part}.{name}"
    assert record["trained_parameters"] == sum(record["parameters"][part] for part in behind)


def test_of_head_only_running_statistics_stay_too(speech, tmp_path):
    """A batch norm moves without any gradient."""
    path = donor(tmp_path / "norm.nemo", speech["tokenizer"], 1, conv_norm_type="batch_norm")
    record, trained = run(
        speech, "fastconformer_ctc", path, tmp_path / "run", {"kind": "head_only"}
    )
    assert any(name.endswith("running_mean") for name in trained["encoder"].state_dict())
    assert tensors_digest(trained["encoder"]) == record["start_digests"]["encoder"]


@pytest.mark.parametrize("family", FAMILIES)
def test_of_head_only_no_graph_is_kept_and_nothing_is_dropped_in_the_encoder(speech, start, family):
    made = built(speech, family, start[family], model=BASE["model"] | {"encoder_dropout": 0.5})
    adaptation = open_adaptation({"kind": "head_only"})
    adaptation.insert(made, 1)
    model, encoder = made.lightning.train(), made.parts()["encoder"]
    seen = []
    for callback in adaptation.callbacks(made):
        callback.on_train_batch_start(None, model, None, 0)
    inside = encoder.encoder if family == "wav2vec2_ctc" else encoder
    inside.register_forward_hook(lambda _module, _given, found: seen.append(found[0]))
    audio, lengths = torch.randn(2, 24000), torch.tensor([24000, 16000])
    hear = model.states if family == "wav2vec2_ctc" else model.forward
    if family == "wav2vec2_ctc":
        made.network.masks = None
        hear(audio, lengths)
        hear(audio, lengths)
    else:
        model.spec_augmentation = None
        model.preprocessor.featurizer.dither = 0.0
        encoder.set_default_att_context_size([70, 13])
        encoder.att_context_probs = [1.0, 0.0, 0.0, 0.0]
        hear(input_signal=audio, input_signal_length=lengths)
        hear(input_signal=audio, input_signal_length=lengths)
    assert not seen[0].requires_grad
    assert torch.equal(*seen), "half of it would have been dropped"
    assert all(part.training is False for part in encoder.modules() if part is not encoder)


def test_of_head_only_a_fastconformer_still_meets_every_context(speech, start):
    """A head that learned at one context alone would fail at the tiers of the others."""
    made = built(speech, "fastconformer_ctc", start["fastconformer_ctc"])
    adaptation = open_adaptation({"kind": "head_only"})
    adaptation.insert(made, 1)
    made.lightning.train()
    (held,) = adaptation.callbacks(made)
    held.on_train_batch_start(None, made.lightning, None, 0)
    encoder, seen = made.parts()["encoder"], set()
    masks = encoder._create_masks
    encoder._create_masks = lambda att_context_size, *more, **named: (
        seen.add(tuple(att_context_size)) or masks(att_context_size, *more, **named)
    )
    features = torch.zeros(1, BASE["model"]["features"], 80)
    for _ in range(40):
        encoder(audio_signal=features, length=torch.tensor([80]))
    assert seen == set(map(tuple, BASE["model"]["contexts"]))


@pytest.mark.parametrize("family", ["fastconformer_rnnt", "wav2vec2_ctc"])
def test_of_head_only_a_killed_run_goes_on_to_the_same_weights(
    speech, start, tmp_path, monkeypatch, family
):
    from warmstart.training import order

    whole, _ = run(speech, family, start[family], tmp_path / "whole", {"kind": "head_only"})
    seed_step = order.seed_step

    def killed(seed, step, rank):
        if step == 3:
            raise KeyboardInterrupt
        seed_step(seed, step, rank)

    with monkeypatch.context() as patched:
        patched.setattr("warmstart.training.recorder.seed_step", killed)
        with pytest.raises((KeyboardInterrupt, SystemExit)):
            run(speech, family, start[family], tmp_path / "cut", {"kind": "head_only"})
    resumed, _ = run(speech, family, start[family], tmp_path / "cut", {"kind": "head_only"})
    assert [one["first_step"] for one in resumed["starts"]] == [0, 3]
    assert resumed["model_sha256"] == whole["model_sha256"]


# ---- the feature encoder


@pytest.mark.parametrize("family", ["fastconformer_rnnt", "wav2vec2_ctc"])
@pytest.mark.parametrize(
    ("block", "front_held", "layer_held"),
    [
        # Until which step each is the donor's.
        ({"encoder_layers": 1, "steps": 2}, 2, 2),
        ({"encoder_layers": 1, "steps": 2, "feature_encoder": "always"}, STEPS, 2),
        ({"encoder_layers": 1, "steps": 2, "feature_encoder": "never"}, 0, 2),
        ({"encoder_layers": 0, "feature_encoder": "always"}, STEPS, 0),
    ],
    ids=["steps", "always", "never", "always-alone"],
)
def test_the_feature_encoder_follows_its_own_policy(
    speech, start, tmp_path, family, block, front_held, layer_held
):
    record, _ = run(speech, family, start[family], tmp_path, {"kind": "freeze", **block})
    model = built(speech, family, start[family])
    prefixes = {
        "front": {"wav2vec2_ctc": "encoder.feature_extractor."}.get(family, "encoder.pre_encode."),
        "layer": {"wav2vec2_ctc": "encoder.encoder.layers.0."}.get(family, "encoder.layers.0."),
    }
    given = dict(model.lightning.named_parameters())
    for step in range(1, STEPS + 1):
        path = tmp_path / "checkpoints" / f"step-{step:08d}.ckpt"
        weights = torch.load(path, weights_only=False)["state_dict"]
        for part, until in (("front", front_held), ("layer", layer_held)):
            names = [name for name in given if name.startswith(prefixes[part])]
            equal = [torch.equal(weights[name], given[name]) for name in names]
            assert len(equal) > 6
            assert all(equal) if step <= until else not all(equal), (part, step)
    frozen = sum(value.numel() for value in model.blocks()[0].parameters())
    whole = sum(record["parameters"].values())
    assert record["trained_parameters"] == whole - (frozen if front_held == STEPS else 0)
