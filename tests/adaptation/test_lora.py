"""Low-rank updates: what learns, what is drawn, and that a merged model is one like any other."""

import gc
import json
import sys

import pytest
import torch
from made.linear_layers import insert, layers
from made.small_speech import SETTINGS

from warmstart import adaptation
from warmstart.adaptation import peft_folder
from warmstart.models import open_family
from warmstart.run import files
from warmstart.run.errors import UserError

BLOCK = {"kind": "lora", "rank": 4, "alpha": 8, "dropout": 0.0, "layers": "*linear_[qv]"}


@pytest.mark.slow
def test_a_glob_that_no_layer_has_is_refused_with_those_that_are_there():
    names = ("layers.0.att.linear_q", "layers.1.att.linear_q", "layers.1.ff.linear1", "out")
    with pytest.raises(
        UserError,
        match=r"lora.layers is '\*query', which no .* there: layers.\*.att.linear_q, "
        r"layers.\*.ff.linear1, out$",
    ):
        insert(layers(*names), layers="*query")


@pytest.mark.slow
def test_a_rank_above_the_width_is_refused_with_the_layer():
    with pytest.raises(UserError, match=r"lora.rank is 9, above the width 8 of out; take 8"):
        insert(layers("out"), rank=9)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"rank": 0}, r"lora.rank is 0: .*minimum"),
        ({"alpha": 0}, r"lora.alpha is 0"),
        ({"dropout": 1}, r"lora.dropout is 1"),
        ({"layers": ""}, r"lora.layers is ''"),
        ({"r": 4}, "no option 'r'"),
    ],
)
def test_what_cannot_be_is_refused_in_the_dry_run(options, says):
    with pytest.raises(UserError, match=says):
        adaptation.of_settings({"adaptation": {"kind": "lora", **options}})


@pytest.mark.slow
def test_updates_are_drawn_from_the_seed_alone_and_only_they_learn():
    def drawn(seed, noise):
        torch.manual_seed(noise)
        model = layers("a.0.linear", "a.1.linear", "b", "a.1.b")
        insert(model, seed, rank=3, layers="*linear")
        return model.parts()["encoder"]

    one, same, other = drawn(1, 5), drawn(1, 6), drawn(2, 5)
    new = [name for name, value in one.named_parameters() if value.requires_grad]
    assert len(new) == 4  # two layers, A and B
    assert all("lora_" in name for name in new)
    first, second, third = (model.state_dict() for model in (one, same, other))
    assert all(torch.equal(first[name], second[name]) for name in new)
    for name in new:
        assert torch.equal(first[name], third[name]) == ("lora_B" in name)
        assert bool(first[name].any()) == ("lora_A" in name), "B is zero, A is not"
    # Names end alike; in a list of names peft would find both.
    model = layers("b", "a.b")
    insert(model, rank=2, layers="b")
    found = {
        name.split(".lora_")[0] for name in model.parts()["encoder"].state_dict() if "lora" in name
    }
    assert found == {"b"}


@pytest.mark.slow
def test_a_merge_is_w_plus_b_a_times_alpha_over_rank():
    model = layers("a.linear", "b")
    encoder = model.parts()["encoder"]
    before = {name: value.clone() for name, value in encoder.state_dict().items()}
    made = insert(model, rank=2, alpha=6, layers="a.*")
    linear, draw = encoder.get_submodule("a.linear"), torch.Generator().manual_seed(1)
    with torch.no_grad():
        linear.lora_B["warmstart"].weight.copy_(torch.randn(16, 2, generator=draw))
    a, b = (getattr(linear, f"lora_{part}")["warmstart"].weight.detach() for part in "AB")
    made.finish(model)
    after = encoder.state_dict()
    assert list(after) == list(before)
    torch.testing.assert_close(after["a.linear.weight"], before["a.linear.weight"] + 3 * b @ a)
    assert torch.equal(after["b.weight"], before["b.weight"])


# ---- real models


@pytest.mark.slow
@pytest.mark.parametrize("family", ["fastconformer_rnnt", "fastconformer_ctc"])
def test_merged_logits_are_the_unmerged_ones(speech, donors, family):
    opened = open_family(family)
    made = opened.build(
        opened.read_donor(donors["en"]),
        SETTINGS,
        tokenizer=speech["tokenizer"],
        seed=1,
        steps=2,
    )
    encoder = made.model.encoder.eval()
    names, audio = list(made.model.state_dict()), torch.randn(1, 40, 200)

    def states():
        with torch.no_grad():
            return encoder(audio_signal=audio, length=torch.tensor([200]))[0]

    donor = states()
    updates = insert(made, **{key: value for key, value in BLOCK.items() if key != "kind"})
    assert torch.equal(states(), donor), "nothing changes at first"
    for name, parameter in made.model.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter, std=0.1)
        assert parameter.requires_grad == ("lora_" in name or not name.startswith("encoder."))
    unmerged = states()
    updates.finish(made)
    assert (unmerged - donor).abs().max() > 1e-3
    assert (states() - unmerged).abs().max() < 1e-5
    assert list(made.model.state_dict()) == names


@pytest.mark.slow
def test_a_raw_audio_encoder_takes_them_too(tmp_path, speech):
    import transformers

    config = transformers.Wav2Vec2Config(
        hidden_size=32,
        num_hidden_layers=1,
        num_attention_heads=4,
        intermediate_size=48,
        conv_dim=[16] * 7,
        num_conv_pos_embeddings=16,
        num_conv_pos_embedding_groups=4,
    )
    torch.manual_seed(1)
    transformers.Wav2Vec2ForCTC(config).save_pretrained(tmp_path)
    note = {"do_normalize": True, "sampling_rate": 16000}
    files.write_json(tmp_path / "preprocessor_config.json", note)
    family = open_family("wav2vec2_ctc")
    settings = SETTINGS | {"model": {"dropout": 0.0, "encoder_dropout": None}}
    made = family.build(
        family.read_donor(tmp_path), settings, tokenizer=speech["tokenizer"], seed=1, steps=2
    )
    made.lightning.eval()
    names, audio = list(made.lightning.state_dict()), torch.randn(1, 8000)

    def logits():
        with torch.no_grad():
            return made.network(audio, torch.tensor([8000]))[0]

    donor = logits()
    updates = insert(made, rank=4, layers="*[qv]_proj")
    for name, parameter in made.lightning.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter, std=0.1)
    unmerged = logits()
    updates.finish(made)
    assert (unmerged - donor).abs().max() > 1e-3
    assert (logits() - unmerged).abs().max() < 1e-5
    assert list(made.lightning.state_dict()) == names


@pytest.mark.slow
def test_trained_killed_resumed_merged_saved_and_loaded_without_peft(
    speech, donors, tmp_path, monkeypatch
):
    import signal

    import train
    from warmstart.export import encoder as export
    from warmstart.export.scheme import Scheme
    from warmstart.models.fastconformer.build import encoder_tensors
    from warmstart.models.tier import Tier
    from warmstart.training import order

    family = "fastconformer_ctc"

    def run(folder):
        settings = SETTINGS | {"adaptation": BLOCK | {"dropout": 0.1}, "steps": {"fixed": 6}}
        settings |= {"checkpoint_every_steps": 2}
        command = ["--train-cuts", speech["train"], "--tokenizer", speech["tokenizer"]]
        command += ["--init", donors["en"], "--settings", json.dumps(settings), "--family", family]
        command += ["--run", "it/ml_lora/0.012h/seed1", "--run-dir", tmp_path / folder]
        train.main([str(part) for part in [*command, "--output", tmp_path / folder / "model.nemo"]])
        return files.read_json(tmp_path / folder / "run.json")

    whole, seed_step = run("whole"), order.seed_step

    def interrupted(seed, step, rank):
        if step == 3:
            signal.raise_signal(signal.SIGTERM)
        seed_step(seed, step, rank)

    with monkeypatch.context() as patched:
        patched.setattr("warmstart.training.recorder.seed_step", interrupted)
        with pytest.raises(SystemExit):
            run("cut")
    # The lock of a run goes with the frames of its program, which may hold each other.
    gc.collect()
    resumed = run("cut")
    assert [start["first_step"] for start in resumed["starts"]] == [0, 4]
    assert resumed["model_sha256"] == whole["model_sha256"]
    for record in (whole, resumed):
        assert record["timed_steps"] == record["steps"] == 6
        assert 0 < record["steps_s"] < record["train_s"]
    assert resumed["beside_sha256"] == whole["beside_sha256"]
    assert whole["beside_sha256"] == {
        name: files.digest(tmp_path / "whole" / name)
        for name in ("adapter/adapter_config.json", "adapter/adapter_model.safetensors")
    }

    # Of two 64 x 64 layers 4 x (64 + 64) each, and the head.
    assert whole["trained_parameters"] == 2 * 4 * 128 + whole["parameters"]["decoder"]
    assert whole["trained_mb"] == pytest.approx(4e-6 * whole["trained_parameters"], abs=1e-3)
    assert 0 < whole["trained_share"] < 0.2

    given = encoder_tensors(donors["en"])
    alone = peft_folder.read(tmp_path / "whole/adapter")
    assert alone.layers == [f"layers.0.self_attn.linear_{part}" for part in "qv"]
    with monkeypatch.context() as patched:
        patched.setitem(sys.modules, "peft", None)
        trained = open_family(family).load(tmp_path / "whole/model.nemo")
        after = trained.model.encoder.state_dict()
        assert set(after) == set(given)
        moved = {name for name in given if not torch.equal(after[name], given[name])}
        assert moved == {f"layers.0.self_attn.linear_{part}.weight" for part in "qv"}
        for name in moved:
            rank = torch.linalg.matrix_rank(after[name] - given[name], rtol=1e-3)
            assert 1 <= int(rank) <= 4
            a, b = (alone.tensors[name.replace("weight", f"lora_{part}.weight")] for part in "AB")
            torch.testing.assert_close(after[name], given[name] + 2 * b @ a)
        report = export.build(
            tmp_path / "whole/model.nemo",
            Tier("560ms", 70, 6),
            "int4",
            Scheme("k_quant", 4, 32, 0),
            tmp_path / "encoder.onnx",
            family=family,
        )
        assert report["parity"]["max_abs"] < 1e-4
