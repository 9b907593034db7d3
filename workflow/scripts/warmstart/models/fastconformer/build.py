"""Where an encoder's weights come from: reading donors, building models around them, and proof that
every tensor arrived.

NeMo's own `init_from_nemo_model` builds the whole donor, loads with `strict=False` and says nothing
about what it left out (nemo/core/classes/modelPT.py `load_part_of_state_dict`). Here the donor's
encoder tensors are read from its file, compared by name and shape with the target, and loaded
strictly; the donor may be any `.nemo` whose encoder lies under `encoder.`.
"""

import contextlib
import copy
import logging
import pickle
import tempfile
import zipfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch

from warmstart.models.fastconformer import contents
from warmstart.models.recipe import Architecture
from warmstart.run.errors import UserError, first_line

logger = logging.getLogger(__name__)

_ENCODER = "encoder."
_DITHER = 1e-5  # NeMo's default
SAMPLE_RATE = 16000  # Hz, NeMo's default
_LISTED = 8


@contextlib.contextmanager
def mapped_tensors(path: str | Path) -> Iterator[dict[str, torch.Tensor]]:
    """Encoder weights inside a `.nemo` file, names without the `encoder.` prefix, while the block
    runs.

    Mapped, not read: of a 2.5 GB donor only the encoder's pages are touched, and nothing is held
    twice.

    Raises:
        UserError: damaged file, or no tensor of an encoder.
    """
    with tempfile.TemporaryDirectory() as folder:
        try:
            with contents.opened(path) as archive:
                file = archive.take(contents.WEIGHTS, Path(folder))
            weights = plain_weights(file)
        except (
            *(*contents.FAULTS, RuntimeError),
            *(pickle.UnpicklingError, zipfile.BadZipFile),
        ) as error:
            # torch goes on with advice to load unsafely.
            cause = first_line(error)
            raise UserError(
                f"init {path}: its weights cannot be read ({cause}); delete it and fetch or make "
                "it again"
            ) from error
        found = {
            name.removeprefix(_ENCODER): value
            for name, value in weights.items()
            if name.startswith(_ENCODER)
        }
        if not found:
            raise UserError(
                f"init {path}: no tensor named {_ENCODER}*; this .nemo holds no encoder to start "
                "from"
            )
        yield found


def plain_weights(path: str | Path) -> dict[str, torch.Tensor]:
    """Tensors by name from a checkpoint of torch, mapped, on the CPU.

    Raises:
        ValueError, RuntimeError, pickle.UnpicklingError, zipfile.BadZipFile: damaged, or anything
            but tensors in it.
    """
    with zipfile.ZipFile(path) as archive:
        # Mapped as it lies there, what is compressed would be taken for numbers.
        if any(member.compress_type != zipfile.ZIP_STORED for member in archive.infolist()):
            raise contents.NotPlain("compressed inside, which torch never writes")
    weights = torch.load(path, map_location="cpu", mmap=True, weights_only=True)
    if not isinstance(weights, dict):
        raise contents.NotPlain(f"a {type(weights).__name__} where tensors by name are expected")
    for name, value in weights.items():
        if not isinstance(name, str) or not isinstance(value, torch.Tensor):
            raise contents.NotPlain(f"{str(name)[:80]!r} in it is a {type(value).__name__}")
        if value.layout is not torch.strided or value.is_quantized or value.is_meta:
            raise contents.NotPlain(f"{name[:80]!r} in it is no plain tensor")
    return weights


def encoder_tensors(path: str | Path) -> dict[str, torch.Tensor]:
    """The same, copied into memory."""
    with mapped_tensors(path) as found:
        return {name: value.clone() for name, value in found.items()}


def fresh_encoder(model: Any) -> dict[str, Any]:
    """Encoder and preprocessor settings of a cache-aware FastConformer of the full study's kind, at
    any size.

    Args:
        model: `training.model`: n_layers, d_model, n_heads, conv_kernel_size, subsampling_channels,
            features, contexts, context_probs.

    Source:
        NeMo
        examples/asr/conf/fastconformer/cache_aware_streaming/fastconformer_transducer_bpe_streaming.yaml
    """
    needed = ("n_layers", "d_model", "n_heads", "subsampling_channels", "features")
    if missing := [name for name in needed if name not in model]:
        raise UserError(
            f"training.model has no {', '.join(missing)}; an encoder that is made here needs them"
        )
    encoder = {
        "_target_": "nemo.collections.asr.modules.ConformerEncoder",
        "feat_in": model["features"],
        "feat_out": -1,
        "n_layers": model["n_layers"],
        "d_model": model["d_model"],
        "use_bias": False,
        "subsampling": "dw_striding",
        "subsampling_factor": 8,
        "subsampling_conv_channels": model["subsampling_channels"],
        "causal_downsampling": True,
        "ff_expansion_factor": 4,
        "self_attention_model": "rel_pos",
        "n_heads": model["n_heads"],
        "xscaling": False,
        "untie_biases": True,
        "pos_emb_max_len": 5000,
        "conv_kernel_size": model["conv_kernel_size"],
        "conv_norm_type": "layer_norm",
        "conv_context_size": "causal",
        "dropout": 0.1,
        "dropout_pre_encoder": 0.1,
        "dropout_emb": 0.0,
        "dropout_att": 0.1,
    }
    preprocessor = {
        "_target_": "nemo.collections.asr.modules.AudioToMelSpectrogramPreprocessor",
        "sample_rate": SAMPLE_RATE,
        "normalize": "NA",  # normalising over an utterance would look into the future
        "window_size": 0.025,
        "window_stride": 0.01,
        "window": "hann",
        "features": model["features"],
        "n_fft": 512,
        "log": True,
        "frame_splicing": 1,
        "dither": _DITHER,
        "pad_to": 0,
    }
    return {"encoder": with_contexts(encoder, model), "preprocessor": preprocessor}


def with_contexts(encoder: dict[str, Any], model: Architecture) -> dict[str, Any]:
    """Encoder settings with the study's contexts, and its dropout if it has one, instead of the
    donor's.

    Neither is a weight, and both are the same for all inits.
    """
    dropout = model["encoder_dropout"]
    regular = {
        "dropout": dropout,
        "dropout_pre_encoder": dropout,
        "dropout_emb": 0.0,
        "dropout_att": dropout,
    }
    return (
        copy.deepcopy(encoder)
        | (regular if dropout is not None else {})
        | {
            "att_context_style": "chunked_limited",
            "att_context_size": [list(context) for context in model["contexts"]],
            "att_context_probs": list(model["context_probs"]),
        }
    )


def without_augmentation(preprocessor: dict[str, Any]) -> dict[str, Any]:
    """A donor's preprocessor without what it does to the audio in training only: the study's own,
    the same for all inits."""
    kept = {
        key: value
        for key, value in copy.deepcopy(preprocessor).items()
        if key not in ("nb_augmentation_prob", "nb_max_freq")
    }
    return kept | {"dither": _DITHER}


def transducer_config(
    donor: dict[str, Any], model: Architecture, tokenizer: str | Path
) -> dict[str, Any]:
    """Settings of an `EncDecRNNTBPEModel` around a donor's encoder: nothing but encoder and
    preprocessor is taken over.

    Args:
        donor: configuration of the donor (`donors.read_config`) or of a fresh encoder
            (`fresh_encoder`).
        model: `training.model`: contexts, context_probs, pred_hidden, joint_hidden, optional
            pred_layers, dropout.
        tokenizer: folder with the language's tokenizer.model.
    """
    encoder = with_contexts(donor["encoder"], model)
    dropout = model["dropout"]
    hidden = {"pred_hidden": model["pred_hidden"], "joint_hidden": model["joint_hidden"]}
    preprocessor = without_augmentation(donor["preprocessor"])
    return {
        "sample_rate": preprocessor.get("sample_rate", SAMPLE_RATE),
        "compute_eval_loss": False,
        "log_prediction": False,
        "model_defaults": {"enc_hidden": encoder["d_model"], **hidden},
        "preprocessor": preprocessor,
        "encoder": encoder,
        "tokenizer": {"dir": str(tokenizer), "type": "bpe"},
        "decoder": {
            "_target_": "nemo.collections.asr.modules.RNNTDecoder",
            "normalization_mode": None,
            "random_state_sampling": False,
            "blank_as_pad": True,
            "prednet": {
                "pred_hidden": model["pred_hidden"],
                "pred_rnn_layers": model["pred_layers"],
                "t_max": None,
                "dropout": dropout,
            },
        },
        "joint": {
            "_target_": "nemo.collections.asr.modules.RNNTJoint",
            "log_softmax": None,
            "preserve_memory": False,
            "fuse_loss_wer": False,
            "jointnet": {
                **hidden,
                "encoder_hidden": encoder["d_model"],
                "activation": "relu",
                "dropout": dropout,
            },
        },
        "decoding": {
            "strategy": "greedy_batch",
            "greedy": {"max_symbols": 10, "use_cuda_graph_decoder": False},
        },
        "loss": {
            "loss_name": "default",
            "warprnnt_numba_kwargs": {"fastemit_lambda": 0.0, "clamp": -1.0},
        },
    }


def ctc_config(donor: dict[str, Any], model: Architecture, tokenizer: str | Path) -> dict[str, Any]:
    """Settings of an `EncDecCTCModelBPE` around a donor's encoder, like `transducer_config`.

    Args:
        model: `training.model`: contexts, context_probs.
    """
    encoder = with_contexts(donor["encoder"], model)
    preprocessor = without_augmentation(donor["preprocessor"])
    return {
        "encoder": encoder,
        "preprocessor": preprocessor,
        "sample_rate": preprocessor.get("sample_rate", SAMPLE_RATE),
        "log_prediction": False,
        "tokenizer": {"dir": str(tokenizer), "type": "bpe"},
        "decoder": {
            "_target_": "nemo.collections.asr.modules.ConvASRDecoder",
            "feat_in": encoder["d_model"],
            "num_classes": -1,
            "vocabulary": [],
        },
        "ctc_reduction": "mean_batch",
    }


def require_size(path: str | Path, encoder: dict[str, Any]) -> None:
    """Refuse a donor whose settings ask for another encoder than its weights are, before one of
    that size is built.

    Args:
        path: the donor's `.nemo`.
        encoder: its settings.

    Raises:
        UserError: with the key, its value and what the weights have.
    """
    with mapped_tensors(path) as tensors:
        layers = {name.split(".")[1] for name in tensors if name.startswith("layers.")}
        output = tensors.get("pre_encode.out.weight")
        width = None if output is None or output.dim() != 2 else output.shape[0]
    for key, found in (("n_layers", len(layers)), ("d_model", width)):
        if found and encoder[key] != found:
            raise UserError(
                f"init {path}: encoder.{key} is {encoder[key]} in its configuration, and its "
                f"weights have {found}; get it from its publisher, or take another"
            )


def load_encoder(model: Any, path: str | Path) -> int:
    """Load the donor's encoder into `model.encoder`, all of it or not at all.

    Args:
        model: has `encoder`, built with the donor's settings.
        path: the donor's `.nemo`.

    Returns:
        How many tensors were loaded.

    Raises:
        UserError: a tensor is missing, of another shape, or has no place in the target; counts and
            names.
    """
    with mapped_tensors(path) as donor:
        return _load(model.encoder, donor, path)


def _load(encoder: torch.nn.Module, donor: dict[str, torch.Tensor], path: str | Path) -> int:
    target = encoder.state_dict()
    missing = sorted(set(target) - set(donor))
    surplus = sorted(set(donor) - set(target))
    shapes = [
        f"{name} {tuple(donor[name].shape)} for {tuple(target[name].shape)}"
        for name in sorted(set(target) & set(donor))
        if donor[name].shape != target[name].shape
    ]
    problems = [
        f"{len(names)} {what}: {', '.join(names[:_LISTED])}{' ...' if len(names) > _LISTED else ''}"
        for what, names in (
            ("missing", missing),
            ("of another shape", shapes),
            ("without a place", surplus),
        )
        if names
    ]
    if problems:
        raise UserError(
            f"init {path}: {len(target) - len(missing) - len(shapes)} of {len(target)} encoder "
            "tensors fit; "
            f"{'; '.join(problems)}; "
            "a run from a partly loaded encoder would be no warm start: use an init with a "
            "matching configuration"
        )
    if broken := sorted(
        name
        for name, value in donor.items()
        if value.is_floating_point() and not torch.isfinite(value).all()
    ):
        raise UserError(
            f"init {path}: {len(broken)} encoder tensors hold NaN or infinity: "
            f"{', '.join(broken[:_LISTED])}; get it from its publisher, or take another"
        )
    encoder.load_state_dict(donor, strict=True)
    loaded = encoder.state_dict()
    unequal = [
        name
        for name, value in donor.items()
        if not torch.equal(loaded[name].cpu(), value.to(loaded[name].dtype))
    ]
    if unequal:
        raise UserError(
            f"init {path}: {len(unequal)} encoder tensors changed while loading: "
            f"{', '.join(unequal[:_LISTED])}"
        )
    logger.info(
        "init %s: %d of %d encoder tensors loaded, nothing else taken",
        path,
        len(donor),
        len(target),
    )
    return len(donor)


def reset_new_modules(model: Any, names: Sequence[str], seed: int) -> None:
    """Draw the modules behind the encoder from `seed` alone.

    When they are built, the random generator stands wherever building the encoder left it; drawn
    again here, runs from different inits begin with the same ones, bit for bit.

    Args:
        model: of NeMo.
        names: of its modules, in the order in which they are drawn.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        for name in names:
            fresh = type(model).from_config_dict(model.cfg[name])
            getattr(model, name).load_state_dict(fresh.state_dict(), strict=True)
