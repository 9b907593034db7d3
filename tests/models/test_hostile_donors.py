"""A donor is data: what a stranger writes into a `.nemo` runs nothing, asks for no terabytes, and
is refused by name."""

import copy
import gzip
import io
import itertools
import json
import pickle
import tarfile
import zipfile
from pathlib import Path

import pytest
import yaml
from made import hostile
from made.small_speech import SETTINGS as SMALL
from made.studies import smoke_config

from warmstart.models.fastconformer import allowed, contents
from warmstart.models.fastconformer.donor import not_causal, read_config
from warmstart.run.errors import UserError

GOOD = Path(__file__).parents[2] / "demo" / "inits" / "en.nemo"


def changed(tmp_path, change):
    return hostile.with_config(GOOD, tmp_path / "bad.nemo", change)


def setting(block, key, value):
    return lambda config: config[block].update({key: value})


def test_a_good_donor_gives_its_encoder_and_nothing_else():
    config = read_config(GOOD)
    assert sorted(config) == ["encoder", "preprocessor", "target"]
    whole = yaml.safe_load(hostile.members(GOOD)["model_config.yaml"])
    assert config["encoder"] == whole["encoder"]
    assert config["preprocessor"] == whole["preprocessor"]
    assert config["target"] == whole["target"]


@pytest.mark.parametrize(
    ("block", "key", "value", "said"),
    [
        ("encoder", "reduction_position", hostile.writes(Path("x")), "a mapping with _target_"),
        ("encoder", "_target_", "nemo.collections.asr.modules.SqueezeformerEncoder", "one of nemo"),
        ("encoder", "_target_", "os.system", "one of nemo"),
        ("encoder", "_target_", ["os.system"], "one of nemo"),
        ("encoder", "_partial_", True, "no setting that is known"),
        ("encoder", "_args_", ["rm"], "no setting that is known"),
        ("encoder", "secret", 1, "no setting that is known"),
        ("encoder", "subsampling", "${oc.env:HF_TOKEN}", "a value, no reference"),
        ("encoder", "n_layers", "${encoder.d_model}", "a value, no reference"),
        ("encoder", "att_context_size", [[70, "${a}"]], "a list"),
        ("encoder", "att_context_size", [[70, {"_target_": "os.getcwd"}]], "a list"),
        ("encoder", "n_layers", 10**9, "a whole number from 1 to 256"),
        ("encoder", "n_layers", True, "a whole number"),
        ("encoder", "n_layers", 2.5, "a whole number"),
        ("encoder", "d_model", -128, "a whole number"),
        ("encoder", "d_model", 130, "no multiple of encoder.n_heads"),
        ("encoder", "d_model", None, "a whole number"),
        ("encoder", "pos_emb_max_len", 10**12, "a whole number"),
        ("encoder", "feat_in", 81, "the preprocessor gives 80 features"),
        ("encoder", "dropout", float("nan"), "a number from 0 to 1"),
        ("encoder", "use_bias", "false", "true or false"),
        ("preprocessor", "_target_", "nemo.collections.asr.parts.utils.x", "one of nemo"),
        ("preprocessor", "normalize", {"fixed_mean": [0.0]}, "a mapping with fixed_mean"),
        ("preprocessor", "rng", "x", "null"),
        ("preprocessor", "window", "a\nb", "a plain word"),
        ("preprocessor", "sample_rate", float("inf"), "a whole number"),
        ("preprocessor", "features", 10**8, "a whole number"),
    ],
)
def test_what_is_no_plain_setting_is_refused_with_its_key(tmp_path, block, key, value, said):
    path = changed(tmp_path, setting(block, key, value))
    named = "no multiple|features" if said.startswith(("no mult", "the pre")) else key
    with pytest.raises(UserError, match=rf"init .*bad\.nemo: .*{named}") as found:
        read_config(path)
    assert said in str(found.value)
    assert "\n" not in str(found.value)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a: &x [1]\nencoder: *x\n", "YAML aliases"),
        ("encoder: !!python/object/apply:os.system ['true']\n", "YAML tag"),
        ("encoder: " + "[" * 3000 + "]" * 3000, "nested too deep"),
        ("- 1\n- 2\n", "no mapping"),
        ("just words", "no mapping"),
        ("", "no mapping"),
        ("encoder: 1\n", "no preprocessor"),
        ("encoder: []\npreprocessor: {}\n", r"encoder is \[\]"),
        ("encoder: {}\npreprocessor: {}\n", "encoder has no _target_"),
        ("encoder: {n_layers: " + "9" * 5000 + "}\npreprocessor: {}\n", "not a whole"),
        ("encoder: {a: 2026-01-01}\npreprocessor: {}\n", "no setting that is known"),
        (b"\xff\xfe\x00", "not UTF-8"),
        ("a: \t- b: [}", "no plain YAML"),
    ],
)
def test_a_configuration_of_odd_shape_is_refused(tmp_path, text, said):
    path = hostile.with_text(GOOD, tmp_path / "bad.nemo", text)
    with pytest.raises(UserError, match=rf"init .*bad\.nemo: .*{said}"):
        read_config(path)


def test_a_bomb_of_aliases_is_refused_before_it_grows(tmp_path):
    lines = ["a: &a [x, x, x, x, x, x, x, x, x, x]"]
    lines += [
        f"{b}: &{b} [{', '.join([f'*{a}'] * 10)}]" for a, b in itertools.pairwise("abcdefghij")
    ]
    path = hostile.with_text(GOOD, tmp_path / "bad.nemo", "\n".join(lines))
    with pytest.raises(UserError, match="YAML aliases"):
        read_config(path)


def test_archives_that_mean_two_things_or_never_end_are_refused(tmp_path):
    files = hostile.members(GOOD)
    listed = [(f"./{name}", data) for name, data in files.items()]
    other = ("elsewhere/model_config.yaml", b"encoder: 1")
    with pytest.raises(UserError, match="two files named"):
        read_config(hostile.write(tmp_path / "double.nemo", [*listed, other]))
    many = [(f"f{number}", b"") for number in range(1001)]
    with pytest.raises(UserError, match="more than 1000 files"):
        read_config(hostile.write(tmp_path / "many.nemo", many))
    long = [("./model_config.yaml", b"#" * (9 << 20))]
    with pytest.raises(UserError, match="at most 8 MB"):
        read_config(hostile.write(tmp_path / "long.nemo", long))
    with tarfile.open(tmp_path / "link.nemo", "w") as archive:
        link = tarfile.TarInfo("model_config.yaml")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        archive.addfile(link)
    with pytest.raises(UserError, match="a link or no ordinary file"):
        read_config(tmp_path / "link.nemo")
    # A header that announces more than there is, inside gzip.
    head = tarfile.TarInfo("x")
    head.type, head.size = tarfile.XHDTYPE, 1 << 30
    (tmp_path / "header.nemo").write_bytes(gzip.compress(head.tobuf() + bytes(1024)))
    with pytest.raises(UserError, match="a header of"):
        read_config(tmp_path / "header.nemo")


@pytest.mark.parametrize(("weights", "said"), [(None, "no model_weights"), (b"", "is empty")])
def test_a_donor_without_weights_is_refused_before_anything_is_trained(tmp_path, weights, said):
    files = {**hostile.members(GOOD), "model_weights.ckpt": weights}
    kept = [(name, data) for name, data in files.items() if data is not None]
    with pytest.raises(UserError, match=rf"light\.nemo: .*{said}"):
        read_config(hostile.write(tmp_path / "light.nemo", kept))


def test_a_convolution_without_a_context_is_not_causal(tmp_path):
    config = read_config(changed(tmp_path, setting("encoder", "conv_context_size", [])))
    (found,) = not_causal(config)
    assert found == "encoder.conv_context_size is [], the study's models need 'causal'"


def test_an_archive_that_unpacks_without_end_is_left_early(tmp_path):
    member = tarfile.TarInfo("big")
    member.size = 1 << 30
    with gzip.open(tmp_path / "bomb.nemo", "wb", compresslevel=1) as stream:
        stream.write(member.tobuf())
        for _ in range(80):
            stream.write(bytes(1 << 20))
    assert (tmp_path / "bomb.nemo").stat().st_size < 1 << 20
    with pytest.raises(UserError, match=r"unexpected end of data|unpacks to more than"):
        read_config(tmp_path / "bomb.nemo")
    with gzip.open(tmp_path / "bomb.nemo") as stream:
        bounded = contents._Bounded(stream, 1 << 20)
        assert len(bounded.read(1 << 20)) == len(bounded.read(1)) << 20
        with pytest.raises(contents.NotPlain, match="unpacks to more than"):
            bounded.read(1)


def test_weights_that_are_more_than_tensors_are_refused(tmp_path):
    import torch

    from warmstart.models.fastconformer import build

    marker = tmp_path / "marker"

    class Runs:
        def __reduce__(self):
            return (open, (str(marker), "w"))

    buffer = io.BytesIO()
    torch.save({"encoder.a": torch.zeros(1), "x": Runs()}, buffer)
    files = hostile.members(GOOD)
    cases = {
        "runs": buffer.getvalue(),
        "pickle": pickle.dumps(Runs()),
        "list": saved([torch.zeros(1)]),
        "number": saved({"encoder.a": 1}),
        "key": saved({1: torch.zeros(1)}),
        "sparse": saved({"encoder.a": torch.eye(2).to_sparse()}),
        "empty": b"",
    }
    for name, data in cases.items():
        listed = [(k, data if k == "model_weights.ckpt" else v) for k, v in files.items()]
        path = hostile.write(tmp_path / f"{name}.nemo", listed)
        with pytest.raises(UserError, match=rf"init .*{name}\.nemo: its weights cannot be read"):
            build.encoder_tensors(path)
    assert not marker.exists()


def saved(value):
    import torch

    buffer = io.BytesIO()
    torch.save(value, buffer)
    return buffer.getvalue()


def test_weights_that_are_no_numbers_are_refused():
    import torch

    from warmstart.models.fastconformer import build

    layer = torch.nn.Linear(2, 2)
    before = copy.deepcopy(layer.state_dict())
    donor = {"weight": torch.tensor([[1.0, float("nan")], [0, 1]]), "bias": torch.zeros(2)}
    with pytest.raises(UserError, match="1 encoder tensors hold NaN or infinity: weight"):
        build._load(layer, donor, "x.nemo")
    assert all(torch.equal(layer.state_dict()[name], value) for name, value in before.items())


# ---- a whole model, as it is decoded


def restorable(change):
    config = yaml.safe_load(hostile.members(GOOD)["model_config.yaml"])
    change(config)
    return allowed.restorable(config, list(hostile.members(GOOD)), "/folder")


def test_a_model_is_restored_from_what_is_known_of_it():
    kept = restorable(lambda config: None)
    assert set(kept) == {
        *("target", "encoder", "preprocessor", "decoder", "tokenizer", "sample_rate"),
        *("log_prediction", "compute_eval_loss"),
    }
    assert (
        kept["tokenizer"]["model_path"] == "nemo:c05ea15c59b048cdba9876e4a02eae78_tokenizer.model"
    )
    assert kept["tokenizer"]["dir"] == "/folder"
    # What only training reads is left behind, whatever it says.
    poisoned = {"_target_": "nemo.collections.asr.parts.utils.x", "a": "${oc.env:HF_TOKEN}"}
    for key in ("train_ds", "optim", "spec_augment", "decoding", "loss", "anything"):
        assert restorable(lambda config, key=key: config.update({key: poisoned})) == kept


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (
            setting("decoder", "vocabulary", hostile.writes(Path("x"))),
            "decoder.vocabulary._target_",
        ),
        (setting("decoder", "_target_", "torch.nn.Linear"), "decoder._target_"),
        (setting("decoder", "num_classes", 10**12), "decoder.num_classes"),
        (setting("decoder", "activation", "${oc.env:HOME}"), "decoder.activation"),
        (setting("decoder", "_partial_", True), "_partial_"),
        (setting("decoder", "prednet", {"pred_hidden": 10**5}), "pred_hidden"),
        (setting("decoder", "target", "os.system"), "decoder.target"),
        (setting("tokenizer", "model_path", "/etc/passwd"), "tokenizer.model_path"),
        (setting("tokenizer", "model_path", "nemo:../../x"), "tokenizer.model_path"),
        (setting("tokenizer", "type", "wpe"), "tokenizer.type"),
        (lambda config: config.update(target="nemo.collections.asr.parts.x.y"), "target"),
        (lambda config: config.update(target=["a"]), "target"),
        (lambda config: config.update(aux_ctc=[1]), "aux_ctc"),
        (lambda config: config.update(aux_ctc={"decoder": hostile.writes(Path("x"))}), "aux_ctc"),
        (lambda config: config.update(joint=hostile.writes(Path("x"))), "joint._target_"),
        (
            lambda config: config.update(adapters={"a": {"_target_": "os.system"}}),
            "adapters.a._target_",
        ),
        (
            lambda config: config.update(
                joint={"_target_": "nemo.collections.asr.modules.RNNTJoint"},
                model_defaults={"enc_hidden": 128},
                decoding={"greedy": {"max_symbols": 10**9}},
            ),
            "max_symbols",
        ),
    ],
)
def test_a_model_with_orders_in_it_is_not_restored(change, said):
    with pytest.raises(contents.NotPlain, match=said.replace(".", r"\.")):
        restorable(change)


def test_an_aggregate_tokenizer_reads_files_of_the_archive_only():
    name = "c05ea15c59b048cdba9876e4a02eae78_tokenizer.model"
    one = {"type": "bpe", "dir": "/somewhere", "model_path": f"nemo:{name}"}
    given = {"type": "agg", "langs": {"en": one}, "custom_tokenizer": {"_target_": "os.system"}}
    kept = restorable(lambda config: config.update(tokenizer=given))
    assert kept["tokenizer"] == {
        "type": "agg",
        "dir": "/folder",
        "langs": {"en": {"type": "bpe", "dir": "/folder", "model_path": f"nemo:{name}"}},
    }
    assert allowed.artifacts(kept) == [name]


# ---- every way in


@pytest.mark.slow
def test_a_dry_run_refuses_a_donor_that_is_there(checkout, tmp_path):
    path = changed(
        tmp_path, setting("encoder", "reduction_position", hostile.writes(tmp_path / "marker"))
    )
    config = smoke_config()
    config["inits"]["en"] = {**config["inits"]["en"], "path": str(path)}
    config["inits"]["en"].pop("sha256", None)
    (tmp_path / "hostile.yaml").write_text(yaml.safe_dump(config, allow_unicode=True))
    done = checkout.snakemake("--dry-run", config=str(tmp_path / "hostile.yaml"), check=False)
    assert done.returncode
    assert "encoder.reduction_position is a mapping" in done.stdout
    assert not (tmp_path / "marker").exists()


@pytest.mark.slow
def test_no_program_runs_what_a_model_says(tmp_path):
    """Training from it, decoding it as published, and decoding, quantising and bundling a trained
    model that carries such an entry."""
    import numpy
    from made import toy_model
    from made.decoding import SETTINGS, write_manifest

    import build_bundle
    import decode
    import quantize
    import train

    marker = tmp_path / "marker"
    order = setting("encoder", "reduction_position", hostile.writes(marker))
    path = hostile.with_config(
        toy_model.build(tmp_path / "toy"), tmp_path / "run" / "model.nemo", order
    )
    test_set = write_manifest(
        tmp_path / "test.jsonl.gz", {"u": numpy.zeros(16000, dtype="float32")}
    )
    run = ["--run", "it/bad/1h/seed1", "--tier", "560ms:70:6", "--precision"]
    settings = json.dumps({"scheme": "k_quant", "bits": 4, "block_size": 64})
    commands = {
        train: [
            *(
                "--train-cuts",
                test_set,
                "--tokenizer",
                tmp_path / "toy" / "tokenizer",
                "--init",
                path,
            ),
            *("--run", "it/bad/1h/seed1", "--run-dir", tmp_path / "new", "--settings"),
            json.dumps(SMALL),
            *("--output", tmp_path / "new" / "model.nemo"),
        ],
        quantize: [
            *(*run, "int4", "--model", path, "--settings", settings),
            *("--output", tmp_path / "encoder.onnx", "--report", tmp_path / "quantize.json"),
        ],
    }
    written = ["--cuts", f"it/a={test_set}", "--output", f"it/a={tmp_path / 'a.jsonl'}"]
    commands[build_bundle] = [
        *(*run, "int4", "--model", path, "--settings", settings),
        *("--example-cuts", test_set, "--output-dir", tmp_path / "bundle"),
    ]
    decoding = [*run, "full", "--model", path, "--settings", json.dumps(SETTINGS), *written]
    for program, arguments in [
        *commands.items(),
        (decode, decoding),
        (decode, [*decoding, "--zero-shot"]),
    ]:
        with pytest.raises(UserError, match=r"encoder\.reduction_position is a mapping"):
            program.main([str(argument) for argument in arguments])
        assert not marker.exists()


def test_a_compressed_checkpoint_is_no_checkpoint(tmp_path):
    """torch maps what is stored as it is, and a zip that is compressed may be a bomb."""
    from warmstart.models.fastconformer import build

    source = io.BytesIO(hostile.members(GOOD)["model_weights.ckpt"])
    packed = io.BytesIO()
    with zipfile.ZipFile(source) as old, zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as new:
        for name in old.namelist():
            new.writestr(name, old.read(name))
    files = hostile.members(GOOD) | {"model_weights.ckpt": packed.getvalue()}
    path = hostile.write(tmp_path / "packed.nemo", list(files.items()))
    with pytest.raises(UserError, match=r"packed\.nemo: its weights cannot be read"):
        build.encoder_tensors(path)


@pytest.mark.parametrize(
    ("key", "value", "has"), [("n_layers", 256, 2), ("n_layers", 1, 2), ("d_model", 16384, 128)]
)
def test_an_encoder_that_is_larger_than_its_weights_is_not_built(tmp_path, key, value, has):
    from warmstart.models.fastconformer import build

    path = changed(tmp_path, setting("encoder", key, value))
    encoder = read_config(path)["encoder"]
    with pytest.raises(UserError, match=rf"encoder\.{key} is {value} .* weights have {has};"):
        build.require_size(path, encoder)
    build.require_size(GOOD, read_config(GOOD)["encoder"])
