"""What a donor's `.nemo` says of itself, and whether two donors can be compared fairly. Standard
library and PyYAML only.

Read from the file's configuration, never from its weights: the dry run asks it of files of
gigabytes.
"""

import math
from pathlib import Path
from typing import Any

from warmstart.models.base import Donor
from warmstart.models.fastconformer import allowed, contents
from warmstart.models.recipe import Recipe
from warmstart.run.errors import UserError

# A difference in any of these makes the same weights compute something else, or learn otherwise,
# mostly without a shape error. The value is NeMo 3.0's default, which a configuration that is
# silent means where it is built here; `...` = it has none.
ENCODER_DEFAULTS: dict[str, Any] = {
    "feat_in": ...,
    "n_layers": ...,
    "d_model": ...,
    "n_heads": 4,
    "ff_expansion_factor": 4,
    "subsampling": "striding",
    "subsampling_factor": 4,
    "subsampling_conv_channels": -1,
    "causal_downsampling": False,
    "reduction": None,
    "self_attention_model": "rel_pos",
    "xscaling": True,
    "untie_biases": True,
    "use_bias": True,
    "conv_kernel_size": 31,
    "conv_norm_type": "batch_norm",
    "conv_context_size": None,
    "conv_context_style": "regular",
    "att_context_style": "regular",
    "stochastic_depth_drop_prob": 0.0,
}
DROPOUT_DEFAULTS: dict[str, Any] = {
    "dropout": 0.1,
    "dropout_pre_encoder": 0.1,
    "dropout_emb": 0.1,
    "dropout_att": 0.0,
}
PREPROCESSOR_DEFAULTS: dict[str, Any] = {
    "sample_rate": 16000,
    "normalize": "per_feature",
    "window_size": 0.02,
    "window_stride": 0.01,
    "window": "hann",
    "features": 64,
    "n_fft": None,
    "log": True,
    "preemph": 0.97,
    "lowfreq": 0,
    "highfreq": None,
    "mag_power": 2.0,
    "log_zero_guard_type": "add",
    "log_zero_guard_value": 2**-24,
    "frame_splicing": 1,
    "exact_pad": False,
    "mel_norm": "slaney",
}


def read_config(path: str | Path) -> dict[str, Any]:
    """What a `.nemo` says of its encoder: `target` (the model's class), `encoder`, `preprocessor`.

    Nothing else of it is taken, and of these only what is known to be harmless (`allowed`), because
    NeMo runs whatever a configuration names.

    Raises:
        UserError: no such file, not a `.nemo`, cut short, without an encoder, or with a setting
            that is unknown, no plain value or out of range.
    """
    config = contents.read_config(path, f"init {path}: not a whole .nemo file")
    if missing := {"encoder", "preprocessor"} - set(config):
        raise UserError(
            f"init {path}: its configuration has no {', '.join(sorted(missing))}; it is no speech "
            "encoder"
        )
    try:
        return {"target": allowed.class_of(config), **allowed.encoder_blocks(config)}
    except contents.NotPlain as error:
        raise UserError(
            f"init {path}: {error}; a donor gives plain settings of a FastConformer encoder and "
            "its weights: get it from its publisher, or take another"
        ) from None


def facts(config: dict[str, Any]) -> dict[str, Any]:
    """What two inits of a study must share for their comparison to be fair, as the models are built
    here."""
    encoder, preprocessor = config["encoder"], config["preprocessor"]
    known: dict[str, Any] = {"encoder._target_": _class(encoder.get("_target_", ""))}
    for block, name, defaults in (
        (encoder, "encoder", ENCODER_DEFAULTS | DROPOUT_DEFAULTS),
        (preprocessor, "preprocessor", PREPROCESSOR_DEFAULTS),
    ):
        for key, default in defaults.items():
            known[f"{name}.{key}"] = block.get(key, None if default is ... else default)
    if known["preprocessor.n_fft"] is None:
        # As NeMo's FilterbankFeatures does: the next power of two.
        length = int(known["preprocessor.window_size"] * known["preprocessor.sample_rate"])
        known["preprocessor.n_fft"] = 2 ** math.ceil(math.log2(length))
    return known


def about(config: dict[str, Any]) -> dict[str, Any]:
    """`facts`, the donor's class and its own attention contexts: a confound where those of two
    inits differ."""
    contexts = config["encoder"].get("att_context_size")
    return {"class": _class(config.get("target", "")), "donor_contexts": contexts, **facts(config)}


def _class(target: str) -> str:
    return str(target).rpartition(".")[2]


def differences(
    one: dict[str, Any], other: dict[str, Any], ignored: tuple[str, ...] = ()
) -> list[str]:
    """One line per setting in which two configurations differ, with both values."""
    left, right = facts(one), facts(other)
    return [
        f"{name}: {left[name]!r} and {right[name]!r}"
        for name in left
        if name not in ignored and left[name] != right[name]
    ]


def not_causal(config: dict[str, Any]) -> list[str]:
    """One line per setting under which a model cannot be decoded in chunks as in one piece, with
    its value.

    The study's models stream: attention contexts are given to them, but how their convolutions lie
    is in the weights. What looks further ahead than the context, or normalises over the utterance,
    no live stream can compute; chunks are cut for frames of 80 ms.
    """
    known = facts(config)
    context = known["encoder.conv_context_size"]
    causal = context == "causal" or (
        isinstance(context, list | tuple) and len(context) > 0 and context[-1] == 0
    )
    normalize = known["preprocessor.normalize"]
    # NeMo takes any other word for none.
    normalised = normalize in ("per_feature", "all_features") or isinstance(normalize, dict)
    wanted = {
        "encoder.conv_context_size": ("'causal'", causal),
        "encoder.causal_downsampling": ("True", bool(known["encoder.causal_downsampling"])),
        "encoder.self_attention_model": (
            "'rel_pos'",
            known["encoder.self_attention_model"] == "rel_pos",
        ),
        "encoder.subsampling_factor": ("8", known["encoder.subsampling_factor"] == 8),
        "encoder.reduction": ("None", known["encoder.reduction"] is None),
        "encoder.conv_norm_type": (
            "'layer_norm' or 'batch_norm'",
            known["encoder.conv_norm_type"] in ("layer_norm", "batch_norm"),
        ),
        "preprocessor.normalize": ("'NA'", not normalised),
    }
    return [
        f"{name} is {known[name]!r}, the study's models need {value}"
        for name, (value, holds) in wanted.items()
        if not holds
    ]


def linears(known: dict[str, Any]) -> dict[str, tuple[int, int]] | None:
    """Name -> (in, out) of the linear layers of an encoder; None where one has others.

    Args:
        known: of `facts`.
    """
    width, count = known["encoder.d_model"], known["encoder.n_layers"]
    if known["encoder.subsampling"] != "dw_striding" or known["encoder.reduction"] is not None:
        return None
    # Padding of both sides of a convolution of width 3 and stride 2, causal or not.
    padding = 3 if known["encoder.causal_downsampling"] else 2
    bins = known["encoder.feat_in"]
    for _ in range(round(math.log2(known["encoder.subsampling_factor"]))):
        bins = (bins + padding - 3) // 2 + 1
    channels = known["encoder.subsampling_conv_channels"]
    inner = width * known["encoder.ff_expansion_factor"]
    layer = {
        **{f"feed_forward{half}.linear1": (width, inner) for half in (1, 2)},
        **{f"feed_forward{half}.linear2": (inner, width) for half in (1, 2)},
        **{f"self_attn.linear_{part}": (width, width) for part in ("q", "k", "v", "out", "pos")},
    }
    return {
        "pre_encode.out": (bins * (width if channels == -1 else channels), width),
        **{f"layers.{n}.{name}": sizes for n in range(count) for name, sizes in layer.items()},
    }


class NemoDonor(Donor):
    """A `.nemo` file whose encoder, and nothing else, is taken: the file of a transducer, of a CTC
    model or of both serves every family here.

    Args:
        path: of the file.
        config: its configuration (`read_config`).
    """

    def __init__(self, path: str | Path, config: dict[str, Any]):
        self.path, self.config = Path(path), config

    def about(self) -> dict[str, Any]:
        """See `about`."""
        return about(self.config)

    def linears(self) -> dict[str, tuple[int, int]] | None:
        """Of a Conformer as NeMo 3.0 builds it (conformer_encoder.py, conformer_modules.py)."""
        return linears(facts(self.config))

    def refusal(self) -> str | None:
        """Why its encoder cannot stream."""
        found = not_causal(self.config)
        return f"{'; '.join(found)}; use a cache-aware streaming encoder" if found else None

    def differences(self, other: Donor, settings: Recipe) -> list[str]:
        """Of encoder and features. With `model.encoder_dropout` the donors' own dropout does not
        count."""
        if not isinstance(other, NemoDonor):
            return [f"family: {type(self).__name__} and {type(other).__name__}"]
        ignored = (
            tuple(f"encoder.{name}" for name in DROPOUT_DEFAULTS)
            if settings["model"]["encoder_dropout"] is not None
            else ()
        )
        return differences(self.config, other.config, ignored)

    def remedy(self, differences: list[str]) -> str:
        """Another donor, or a dropout for both where nothing else differs."""
        if all("dropout" in line for line in differences):
            return "set training.model.encoder_dropout, which replaces that of both"
        return super().remedy(differences)
