"""Warm starts: every encoder tensor arrives or nothing runs; new modules do not depend on the
donor."""

import io
import json
import shutil
import tarfile
from pathlib import Path

import pytest
import torch
from made.small_speech import CONTEXTS, MODEL, SETTINGS, donor

import train
from warmstart.models.digests import tensors_digest
from warmstart.models.fastconformer import build, contents
from warmstart.models.fastconformer.donor import read_config
from warmstart.models.fastconformer.family import Transducer
from warmstart.run import files
from warmstart.run.errors import UserError

pytestmark = pytest.mark.slow


def target(donor_path, speech, seed=5):
    from nemo.collections.asr.models import EncDecRNNTBPEModel
    from omegaconf import OmegaConf

    config = build.transducer_config(read_config(donor_path), MODEL, speech["tokenizer"])
    torch.manual_seed(seed)
    return EncDecRNNTBPEModel(cfg=OmegaConf.create(config))


def rewritten(source, path, change):
    """A copy of a .nemo whose weights went through `change`."""
    with tarfile.open(source) as old, tarfile.open(path, "w") as new:
        for member in old:
            data = old.extractfile(member).read() if member.isfile() else b""
            if member.name.endswith("model_weights.ckpt"):
                weights = torch.load(io.BytesIO(data), weights_only=True)
                change(weights)
                buffer = io.BytesIO()
                torch.save(weights, buffer)
                data = buffer.getvalue()
                member.size = len(data)
            new.addfile(member, io.BytesIO(data))
    return path


def test_every_encoder_tensor_is_the_donors_and_nothing_else_is(donors, speech):
    model = target(donors["en"], speech)
    before = {name: tensors_digest(getattr(model, name)) for name in ("decoder", "joint")}
    given = build.encoder_tensors(donors["en"])
    assert build.load_encoder(model, donors["en"]) == len(given) == len(model.encoder.state_dict())
    for name, value in model.encoder.state_dict().items():
        assert torch.equal(value, given[name])
    assert before == {name: tensors_digest(getattr(model, name)) for name in ("decoder", "joint")}
    assert not torch.equal(
        build.encoder_tensors(donors["ml"])["layers.0.feed_forward1.linear1.weight"],
        given["layers.0.feed_forward1.linear1.weight"],
    )


def test_new_modules_are_bit_equal_between_inits_and_differ_between_seeds(donors, speech):
    digests = []
    for path, model_seed, seed in (
        (donors["en"], 1, 7),
        (donors["ml"], 2, 7),
        (donors["en"], 1, 8),
    ):
        model = target(path, speech, model_seed)
        build.load_encoder(model, path)
        build.reset_new_modules(model, ("decoder", "joint"), seed)
        digests.append((tensors_digest(model.decoder), tensors_digest(model.joint)))
    assert digests[0] == digests[1]
    assert digests[0][0] != digests[2][0]
    assert digests[0][1] != digests[2][1]


def test_missing_misshaped_and_surplus_tensors_are_counted_and_named(donors, speech, tmp_path):
    name = "encoder.layers.0.feed_forward1.linear1.weight"

    def misshape(weights):
        weights[name] = weights[name][:-1].clone()

    def rename(weights):
        weights["encoder.odd"] = weights.pop(name)

    total = len(build.encoder_tensors(donors["en"]))
    model = target(donors["en"], speech)
    before = tensors_digest(model.encoder)
    for change, expected in (
        (
            misshape,
            rf"{total - 1} of {total} .*1 of another shape: "
            r"layers\.0\..*linear1\.weight \(255, 64\) for \(256, 64\)",
        ),
        (
            rename,
            rf"{total - 1} of {total} .*1 missing: layers\.0\.feed_forward1\.linear1\.weight;"
            r" 1 without a place: odd",
        ),
        (
            lambda weights: [
                weights.pop(key) for key in list(weights) if key.startswith("encoder.")
            ],
            "no tensor named encoder",
        ),
    ):
        with pytest.raises(UserError, match=expected):
            build.load_encoder(model, rewritten(donors["en"], tmp_path / "changed.nemo", change))
    assert tensors_digest(model.encoder) == before


def test_truncated_and_absent_files_are_user_errors(donors, tmp_path):
    cut = tmp_path / "cut.nemo"
    cut.write_bytes(donors["en"].read_bytes()[: donors["en"].stat().st_size // 2])
    with pytest.raises(UserError, match=r"cut\.nemo"):
        build.encoder_tensors(cut)
    with pytest.raises(UserError, match="no such file"):
        read_config(tmp_path / "absent.nemo")
    cut.write_text("not an archive")
    with pytest.raises(
        UserError,
        match=r"^init .*cut\.nemo: not a whole \.nemo file \([^\n]*\); delete it and fetch"
        r" or make it again$",
    ):
        read_config(cut)


def test_inits_that_compute_different_things_are_not_compared(donors, speech, tmp_path):
    Transducer().require_same_kind({"en": donors["en"], "ml": donors["ml"]}, SETTINGS)
    flipped = donor(tmp_path / "flipped.nemo", speech["tokenizer"], 1, xscaling=True)
    with pytest.raises(UserError, match=r"en and odd .*encoder\.xscaling: False and True"):
        Transducer().require_same_kind({"en": donors["en"], "odd": flipped}, SETTINGS)


def test_a_study_stops_before_training_from_an_encoder_of_another_kind(donors, speech, tmp_path):
    flipped = donor(tmp_path / "flipped.nemo", speech["tokenizer"], 1, xscaling=True)
    arguments = [
        "--train-cuts",
        speech["train"],
        "--tokenizer",
        speech["tokenizer"],
        "--init",
        flipped,
        "--same-kind-as",
        f"en={donors['en']}",
    ]
    arguments += [
        "--run",
        "it/flipped/1h/seed1",
        "--run-dir",
        tmp_path / "run",
    ]
    arguments += ["--settings", json.dumps(SETTINGS), "--output", tmp_path / "run/model.nemo"]
    with pytest.raises(UserError, match=r"en and flipped .*encoder\.xscaling: False and True"):
        train.main([str(argument) for argument in arguments])
    assert {path.name for path in (tmp_path / "run").iterdir()} == {".lock", "settings.yaml"}


def test_only_encoder_and_preprocessor_settings_come_from_the_donor(donors, speech):
    given = read_config(donors["en"])
    config = build.transducer_config(
        given,
        MODEL | {"contexts": [[56, 13]], "context_probs": [1.0], "d_model": 512},
        speech["tokenizer"],
    )
    assert (
        config["encoder"]["d_model"]
        == MODEL["d_model"]
        == config["joint"]["jointnet"]["encoder_hidden"]
    )
    assert config["encoder"]["att_context_size"] == [[56, 13]]
    assert config["preprocessor"] == given["preprocessor"]
    assert given["encoder"]["att_context_size"] == CONTEXTS["contexts"]
    assert config["decoder"]["_target_"].endswith("RNNTDecoder")
    # What a donor's preprocessor did to its own training audio is no feature: pairs would hear
    # other noise.
    noisy = given["preprocessor"] | {
        "dither": 0.1,
        "nb_augmentation_prob": 0.5,
        "nb_max_freq": 3000,
    }
    assert (
        build.transducer_config(given | {"preprocessor": noisy}, MODEL, speech["tokenizer"])[
            "preprocessor"
        ]
        == given["preprocessor"]
    )


def test_the_same_model_is_the_same_bytes_whenever_it_is_written(donors, speech, tmp_path):
    """Else `make inits` could never give the file whose digest a configuration has."""
    from nemo.collections.asr.models import EncDecRNNTBPEModel

    from warmstart.models.fastconformer.recogniser import TransducerModel
    from warmstart.training import loop

    for name in ("one.nemo", "other.nemo"):
        folder = shutil.copytree(speech["tokenizer"], tmp_path / f"tokenizer of {name}")
        loop.save(TransducerModel(target(donors["en"], {"tokenizer": folder})), tmp_path / name)
        shutil.rmtree(folder)
    assert (tmp_path / "one.nemo").read_bytes() == (tmp_path / "other.nemo").read_bytes()
    loop.save(TransducerModel(target(donors["en"], speech, seed=6)), tmp_path / "third.nemo")
    assert (tmp_path / "one.nemo").read_bytes() != (tmp_path / "third.nemo").read_bytes()
    restored = EncDecRNNTBPEModel.restore_from(str(tmp_path / "one.nemo"), map_location="cpu")
    model = target(donors["en"], speech)
    assert restored.tokenizer.vocab == model.tokenizer.vocab
    assert tensors_digest(restored) == tensors_digest(model)
    # NeMo finds a tokenizer in the archive by the names in its settings.
    with tarfile.open(tmp_path / "one.nemo") as archive:
        [member] = [found for found in archive.getnames() if found.endswith("_tokenizer.model")]
        digest = files.digest(speech["tokenizer"] / "tokenizer.model")
    assert Path(member).name == f"{digest[:32]}_tokenizer.model"
    assert (
        contents.read_config(tmp_path / "one.nemo", "")["tokenizer"]["model_path"]
        == f"nemo:{digest[:32]}_tokenizer.model"
    )
