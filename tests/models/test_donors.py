"""Donors of every class that is published, at their full size and small: the encoder is taken,
whole, and nothing else."""

import io
import tarfile
from contextlib import contextmanager
from types import SimpleNamespace

import pytest
import torch
import yaml
from conftest import Checkout
from made.studies import smoke_config
from made.toy_model import config as transducer
from made.toy_model import train_tokenizer

import download_init
from warmstart.models.fastconformer import build
from warmstart.models.fastconformer import donor as donor_module
from warmstart.models.fastconformer.family import Transducer
from warmstart.run import files
from warmstart.run.errors import UserError
from warmstart.study.stages import filled

# The two public models of the full study, from their cards and configurations:
# nvidia/nemotron-speech-streaming-en-0.6b and nvidia/nemotron-3.5-asr-streaming-0.6b.
FULL_SIZE = {
    "features": 128,
    "n_layers": 24,
    "d_model": 1024,
    "n_heads": 8,
    "subsampling_channels": 256,
}
PUBLIC = {
    "en": {
        "target": "nemo.collections.asr.models.rnnt_bpe_models.EncDecRNNTBPEModel",
        "contexts": [[70, 13], [70, 6], [70, 1], [70, 0]],
        "vocabulary": 1024,
        "other": {},
    },
    "ml": {
        "target": "nemo.collections.asr.models.rnnt_bpe_models_prompt.EncDecRNNTBPEModelWithPrompt",
        "contexts": [[56, 13], [56, 6], [56, 3], [56, 0]],
        "vocabulary": 13087,
        "other": {"prompt_kernel.0.weight": (2048, 1152), "prompt_kernel.2.weight": (1024, 2048)},
    },
}
STUDY_MODEL = filled(
    "train",
    {
        "model": {
            "contexts": [[70, 13], [70, 1]],
            "context_probs": [0.5, 0.5],
            "pred_hidden": 32,
            "joint_hidden": 32,
        }
    },
)["model"]


def require_same_kind(inits, model=STUDY_MODEL):
    """As a study asks, with its block `training.model`."""
    Transducer().require_same_kind(inits, {"model": {"encoder_dropout": None} | model})


@contextmanager
def uninitialised():
    """Layers without values: those of 600 million weights are not worth drawing when others are
    loaded over them."""
    kinds = (torch.nn.Linear, torch.nn.Conv1d, torch.nn.Conv2d)
    kept = [kind.reset_parameters for kind in kinds]
    try:
        for kind in kinds:
            kind.reset_parameters = lambda self: None
        yield
    finally:
        for kind, method in zip(kinds, kept, strict=True):
            kind.reset_parameters = method


def encoder_of(config):
    from nemo.collections.asr.modules import ConformerEncoder

    with uninitialised():
        return ConformerEncoder(
            **{key: value for key, value in config.items() if key != "_target_"}
        )


def public_config(name, **encoder):
    about = PUBLIC[name]
    probabilities = [1 / len(about["contexts"])] * len(about["contexts"])
    config = build.fresh_encoder(
        {**STUDY_MODEL, **FULL_SIZE, "contexts": about["contexts"], "context_probs": probabilities}
    )
    config["encoder"] |= encoder
    return config | {"target": about["target"], "joint": {}, "decoder": {}}


def write_nemo(path, config, weights):
    """A `.nemo` as NeMo writes it: an archive of a configuration and a checkpoint."""
    with tarfile.open(path, "w:") as archive:
        buffer = io.BytesIO()
        torch.save(weights, buffer)
        for name, data in (
            ("model_config.yaml", yaml.safe_dump(config).encode()),
            ("model_weights.ckpt", buffer.getvalue()),
        ):
            member = tarfile.TarInfo(f"./{name}")
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
    return path


@pytest.fixture(scope="module")
def full_size_target():
    """The study's encoder at full size, in two bytes a weight: 1.2 GB."""
    torch.set_default_dtype(torch.bfloat16)
    try:
        return SimpleNamespace(
            encoder=encoder_of(build.with_contexts(public_config("en")["encoder"], STUDY_MODEL))
        )
    finally:
        torch.set_default_dtype(torch.float32)


def full_size(path, name, target, **encoder):
    """A donor with tensors of the real names and shapes. Each is one value, its number, repeated: a
    file of kilobytes."""
    weights = {
        f"encoder.{key}": torch.tensor(float(number)).expand(value.shape)
        for number, (key, value) in enumerate(target.encoder.state_dict().items(), 1)
    }
    about = PUBLIC[name]
    hidden, vocabulary = 640, about["vocabulary"]
    others = {
        "preprocessor.featurizer.window": (400,),
        "preprocessor.featurizer.fb": (1, 128, 257),
        "decoder.prediction.embed.weight": (vocabulary + 1, hidden),
        "joint.enc.weight": (hidden, 1024),
        "joint.joint_net.2.weight": (vocabulary + 1, hidden),
        **about["other"],
    }
    weights |= {key: torch.tensor(-1.0).expand(shape) for key, shape in others.items()}
    return write_nemo(path, public_config(name, **encoder), weights)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["en", "ml"])
def test_every_tensor_of_a_full_size_donor_arrives(full_size_target, tmp_path, name):
    path = full_size(tmp_path / "donor.nemo", name, full_size_target)
    state = full_size_target.encoder.state_dict()
    # The counts of the public files: 636 tensors, 609.14 million weights.
    assert len(state) == 636
    assert sum(value.numel() for value in state.values()) == pytest.approx(609.14e6, abs=5e3)
    assert build.load_encoder(full_size_target, path) == 636
    for number, value in enumerate(full_size_target.encoder.state_dict().values(), 1):
        first, last = value.flatten()[0].item(), value.flatten()[-1].item()
        assert first == last == torch.tensor(float(number), dtype=value.dtype).item()
    about = donor_module.about(donor_module.read_config(path))
    assert about["donor_contexts"] == PUBLIC[name]["contexts"]
    assert about["class"] == PUBLIC[name]["target"].rpartition(".")[2]


@pytest.mark.slow
def test_the_public_pair_can_be_compared_and_its_near_misses_cannot(full_size_target, tmp_path):
    one = full_size(tmp_path / "en.nemo", "en", full_size_target)
    require_same_kind({"en": one, "ml": full_size(tmp_path / "ml.nemo", "ml", full_size_target)})
    for change, expected in (
        ({"xscaling": True}, r"encoder\.xscaling: False and True"),
        (
            {"conv_norm_type": "batch_norm"},
            r"encoder\.conv_norm_type: 'layer_norm' and 'batch_norm'",
        ),
        ({"use_bias": True}, r"encoder\.use_bias: False and True"),
        (
            {"stochastic_depth_drop_prob": 0.1},
            r"encoder\.stochastic_depth_drop_prob: 0\.0 and 0\.1",
        ),
        (
            {"dropout": 0.2},
            r"encoder\.dropout: 0\.1 and 0\.2; set training\.model\.encoder_dropout",
        ),
    ):
        other = full_size(tmp_path / "odd.nemo", "ml", full_size_target, **change)
        with pytest.raises(
            UserError, match=f"inits en and odd cannot be compared fairly.*{expected}"
        ):
            require_same_kind({"en": one, "odd": other})
    require_same_kind({"en": one, "odd": other}, {"encoder_dropout": 0.1})


@pytest.mark.slow
def test_faulty_full_size_donors_are_refused_before_anything_is_loaded(full_size_target, tmp_path):
    path = full_size(tmp_path / "en.nemo", "en", full_size_target)
    config = public_config("en")
    with build.mapped_tensors(path) as found:
        weights = {f"encoder.{name}": value for name, value in found.items()}
        name = "encoder.layers.23.conv.depthwise_conv.weight"
        missing = {key: value for key, value in weights.items() if key != name}
        # parakeet-tdt-0.6b-v3 has a centred subsampling: 4096 columns where these have 4352.
        shorter = weights | {"encoder.pre_encode.out.weight": torch.tensor(1.0).expand(1024, 4096)}
        for made, expected in (
            (
                missing,
                r"635 of 636 encoder tensors fit; 1 missing: layers\.23\.conv\.depthwise_conv\.",
            ),
            (
                shorter,
                r"1 of another shape: pre_encode\.out\.weight \(1024, 4096\) for \(1024, 4352\)",
            ),
        ):
            with pytest.raises(UserError, match=expected):
                build.load_encoder(
                    full_size_target, write_nemo(tmp_path / "faulty.nemo", config, made)
                )
    for kept in (0.9, 0.1):
        cut = tmp_path / "cut.nemo"
        cut.write_bytes(path.read_bytes()[: int(kept * path.stat().st_size)])
        with pytest.raises(UserError, match=r"cut\.nemo: .*fetch or make it again"):
            build.load_encoder(full_size_target, cut)
    arguments = ["--sha256", "0" * 64, "--source", path, "--output", tmp_path / "out.nemo"]
    with pytest.raises(UserError, match=rf"sha256 is {files.digest(path)}, expected {'0' * 64}"):
        download_init.main(
            [str(argument) for argument in [*arguments, "--report", tmp_path / "out.json"]]
        )
    assert not (tmp_path / "out.nemo").exists()


# ---- small donors, written by NeMo itself


def plain(config):
    from nemo.collections.asr.models import EncDecRNNTBPEModel

    return EncDecRNNTBPEModel, config


def hybrid(config):
    from nemo.collections.asr.models import EncDecHybridRNNTCTCBPEModel

    ctc = {
        "_target_": "nemo.collections.asr.modules.ConvASRDecoder",
        "feat_in": 64,
        "num_classes": -1,
        "vocabulary": [],
    }
    return EncDecHybridRNNTCTCBPEModel, config | {
        "aux_ctc": {"ctc_loss_weight": 0.3, "decoder": ctc}
    }


def prompted(config):
    from nemo.collections.asr.models.rnnt_bpe_models_prompt import EncDecRNNTBPEModelWithPrompt

    config["model_defaults"] |= {
        "num_prompts": 4,
        "prompt_dictionary": {"it-IT": 0, "fr-FR": 1},
        "initialize_prompt_feature": True,
    }
    return EncDecRNNTBPEModelWithPrompt, config


def ctc(config):
    from nemo.collections.asr.models import EncDecCTCModelBPE

    decoder = {
        "_target_": "nemo.collections.asr.modules.ConvASRDecoder",
        "feat_in": 64,
        "num_classes": -1,
        "vocabulary": [],
    }
    kept = {
        key: value
        for key, value in config.items()
        if key not in ("joint", "decoding", "loss", "model_defaults")
    }
    return EncDecCTCModelBPE, kept | {"decoder": decoder}


@pytest.mark.slow
@pytest.mark.parametrize("kind", [plain, hybrid, prompted, ctc])
def test_the_encoder_of_every_class_is_taken_and_nothing_else(tmp_path, kind):
    from nemo.collections.asr.models import EncDecRNNTBPEModel
    from omegaconf import OmegaConf

    tokenizer = train_tokenizer(tmp_path / "tokenizer")
    model_class, config = kind(transducer(tokenizer))
    torch.manual_seed(3)
    donor = model_class(cfg=OmegaConf.create(config))
    donor.save_to(str(tmp_path / "donor.nemo"))
    surplus = {name.partition(".")[0] for name in donor.state_dict()} - {"encoder", "preprocessor"}
    assert surplus

    given = donor_module.read_config(tmp_path / "donor.nemo")
    assert donor_module.about(given)["class"] == model_class.__name__
    made = EncDecRNNTBPEModel(
        cfg=OmegaConf.create(build.transducer_config(given, STUDY_MODEL, tokenizer))
    )
    others = {
        name: value.clone()
        for name, value in made.state_dict().items()
        if not name.startswith("encoder.")
    }
    assert build.load_encoder(made, tmp_path / "donor.nemo") == len(donor.encoder.state_dict())
    for name, value in donor.encoder.state_dict().items():
        assert torch.equal(made.encoder.state_dict()[name], value), name
    for name, value in others.items():
        assert torch.equal(made.state_dict()[name], value), name
    assert not any("prompt" in name or "ctc" in name for name in made.state_dict())
    # Same weights, same features, same numbers: before a prompt is put to them.
    signal, length = torch.randn(1, 16000) * 0.1, torch.tensor([16000])
    donor.encoder.set_default_att_context_size([70, 13])
    with torch.no_grad():
        for model in (donor, made):
            model.eval().preprocessor.featurizer.dither = 0
        features, lengths = donor.preprocessor(input_signal=signal.clone(), length=length)
        expected, _ = donor.encoder(audio_signal=features, length=lengths)
        features, lengths = made.preprocessor(input_signal=signal.clone(), length=length)
        found, _ = made.encoder(audio_signal=features, length=lengths)
    assert torch.equal(expected, found)


@pytest.mark.slow
def test_a_silent_configuration_means_nemos_defaults():
    import inspect

    from nemo.collections.asr.modules import AudioToMelSpectrogramPreprocessor, ConformerEncoder

    for defaults, built in (
        (donor_module.ENCODER_DEFAULTS | donor_module.DROPOUT_DEFAULTS, ConformerEncoder),
        (donor_module.PREPROCESSOR_DEFAULTS, AudioToMelSpectrogramPreprocessor),
    ):
        signature = inspect.signature(built.__init__).parameters
        for name, default in defaults.items():
            expected = signature[name].default
            assert (
                (default is ...) if expected is inspect.Parameter.empty else default == expected
            ), name


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        # parakeet-tdt-0.6b-v3: centred convolutions.
        (
            {"conv_context_size": None},
            "conv_context_size is None, the study's models need 'causal'",
        ),
        ({"conv_context_size": [4, 4]}, r"conv_context_size is \[4, 4\]"),
        (
            {"causal_downsampling": False},
            "causal_downsampling is False, the study's models need True",
        ),
        ({"subsampling_factor": 4}, "subsampling_factor is 4, the study's models need 8"),
        (
            {"conv_norm_type": "group_norm"},
            "conv_norm_type is 'group_norm', the study's models need 'layer_norm' or 'batch_norm'",
        ),
    ],
)
def test_an_encoder_that_looks_ahead_is_refused_though_both_are_alike(tmp_path, change, expected):
    paths = {
        name: write_nemo(tmp_path / f"{name}.nemo", public_config(name, **change), {})
        for name in PUBLIC
    }
    with pytest.raises(UserError, match=f"init en: encoder.{expected}"):
        require_same_kind(paths)
    whole = public_config("en")
    whole["preprocessor"]["normalize"] = "per_feature"  # NeMo's default
    with pytest.raises(
        UserError,
        match=r"init en: preprocessor\.normalize is 'per_feature', the study's models need 'NA'",
    ):
        require_same_kind({"en": write_nemo(tmp_path / "whole.nemo", whole, {})})
    alike = public_config("en", conv_context_size=[8, 0])
    require_same_kind({"en": write_nemo(tmp_path / "causal.nemo", alike, {})})


def test_a_missing_xscaling_is_not_a_false_one(tmp_path):
    silent = public_config("en")
    del silent["encoder"]["xscaling"]
    paths = {
        "en": write_nemo(tmp_path / "silent.nemo", silent, {}),
        "ml": write_nemo(tmp_path / "ml.nemo", public_config("ml"), {}),
    }
    with pytest.raises(UserError, match=r"encoder\.xscaling: True and False"):
        require_same_kind(paths)


def test_dropout_of_the_study_replaces_that_of_the_donors():
    config = build.transducer_config(
        public_config("en", dropout=0.3), STUDY_MODEL | {"encoder_dropout": 0.05}, "tokenizer"
    )
    found = [
        config["encoder"][name]
        for name in ("dropout", "dropout_pre_encoder", "dropout_emb", "dropout_att")
    ]
    assert found == [0.05, 0.05, 0.0, 0.05]
    kept = build.transducer_config(public_config("en", dropout=0.3), STUDY_MODEL, "tokenizer")
    assert kept["encoder"]["dropout"] == 0.3


@pytest.mark.slow
def test_a_dry_run_compares_the_inits_that_are_at_hand(checkout: Checkout, tmp_path):
    study = checkout.copy(tmp_path / "warmstart")
    config = smoke_config()
    write_nemo(study.folder / "odd.nemo", public_config("ml", xscaling=True), {})
    config["inits"]["ml"] = {"name": "Multilingual", "path": "odd.nemo"}
    study.write_config(config)
    done = study.snakemake("--dry-run", check=False)
    assert done.returncode != 0
    assert "inits en and ml cannot be compared fairly" in done.stdout
    assert "encoder.d_model: 128 and 1024" in done.stdout
    assert "encoder.xscaling: False and True" in done.stdout
    assert "Traceback" not in done.stdout
