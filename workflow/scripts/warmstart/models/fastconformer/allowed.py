"""What may be taken from a stranger's configuration of a model. Standard library only.

NeMo builds whatever class or function a `_target_` names, anywhere in a configuration, and resolves
`${...}` against files and the environment. So a configuration is data here: known keys with plain
values of the expected type and range are copied, everything else is refused or left behind.
"""

import re
from collections.abc import Callable, Mapping
from pathlib import PurePosixPath
from typing import Any

from warmstart.models.fastconformer.contents import NotPlain, is_number

_ASR = "nemo.collections.asr"
_LONGEST_WORD = 200
_MOST_ITEMS = 1_000_000
_SHOWN = 80

# A test of a value, and what it allows in words.
Check = tuple[Callable[[Any], bool], str]


def _whole(low: int, high: int) -> Check:
    return (
        lambda value: (
            isinstance(value, int) and not isinstance(value, bool) and low <= value <= high
        )
    ), f"a whole number from {low} to {high}"


def _number(low: float, high: float) -> Check:
    return (
        lambda value: is_number(value) and low <= value <= high
    ), f"a number from {low:g} to {high:g}"


def _one_of(*words: str) -> Check:
    return (lambda value: isinstance(value, str) and value in words), f"one of {', '.join(words)}"


def _or_none(check: Check) -> Check:
    return (lambda value: value is None or check[0](value)), f"null or {check[1]}"


def _either(*checks: Check) -> Check:
    return (lambda value: any(check[0](value) for check in checks)), " or ".join(
        check[1] for check in checks
    )


def _listed(check: Check, most: int) -> Check:
    return (
        lambda value: isinstance(value, list) and len(value) <= most and all(map(check[0], value))
    ), f"a list of at most {most}, each {check[1]}"


def _plain_word(value: Any) -> bool:
    return isinstance(value, str) and re.fullmatch(r"[\w.:/ +-]{0,200}", value) is not None


_FLAG: Check = (lambda value: isinstance(value, bool), "true or false")
_WORD: Check = (_plain_word, "a plain word")
_NULL: Check = (lambda value: value is None, "null")
_SHARE = _number(0, 1)
_FRAMES = _whole(-1, 100_000)

_ENCODER_CLASSES = tuple(
    f"{_ASR}.modules.{module}{name}"
    for name in ("ConformerEncoder", "ConformerEncoderAdapter")
    for module in ("", "conformer_encoder.")
)
_PREPROCESSOR_CLASSES = tuple(
    f"{_ASR}.modules.{module}AudioToMelSpectrogramPreprocessor"
    for module in ("", "audio_preprocessing.")
)

# Arguments of NeMo 3.0's ConformerEncoder. Ranges are wide: they keep a file from asking for
# terabytes, and leave the rest to NeMo.
ENCODER: dict[str, Check] = {
    "_target_": _one_of(*_ENCODER_CLASSES),
    "feat_in": _whole(1, 4096),
    "n_layers": _whole(1, 256),
    "d_model": _whole(8, 16384),
    "feat_out": _whole(-1, 16384),
    "causal_downsampling": _FLAG,
    "subsampling": _WORD,
    "subsampling_factor": _whole(1, 64),
    "subsampling_conv_chunking_factor": _whole(-1, 1024),
    "subsampling_conv_channels": _whole(-1, 16384),
    "reduction": _or_none(_WORD),
    "reduction_position": _or_none(_whole(-1, 256)),
    "reduction_factor": _or_none(_whole(1, 64)),
    "ff_expansion_factor": _whole(1, 64),
    "self_attention_model": _WORD,
    "n_heads": _whole(1, 512),
    "att_context_size": _or_none(_either(_listed(_FRAMES, 2), _listed(_listed(_FRAMES, 2), 100))),
    "att_context_probs": _or_none(_listed(_SHARE, 100)),
    "att_chunk_context_size": _or_none(
        _either(_listed(_FRAMES, 3), _listed(_listed(_FRAMES, 100), 3))
    ),
    "att_context_style": _WORD,
    "xscaling": _FLAG,
    "untie_biases": _FLAG,
    "pos_emb_max_len": _whole(1, 100_000),
    "conv_kernel_size": _whole(1, 1001),
    "conv_norm_type": _WORD,
    "conv_context_size": _or_none(_either(_WORD, _whole(-1, 1001), _listed(_whole(-1, 1001), 2))),
    "conv_context_style": _WORD,
    "use_bias": _FLAG,
    "dropout": _SHARE,
    "dropout_pre_encoder": _SHARE,
    "dropout_emb": _SHARE,
    "dropout_att": _SHARE,
    "stochastic_depth_drop_prob": _SHARE,
    "stochastic_depth_mode": _WORD,
    "stochastic_depth_start_layer": _whole(0, 256),
    "global_tokens": _whole(0, 10_000),
    "global_tokens_spacing": _whole(1, 10_000),
    "global_attn_separate": _FLAG,
    "use_pytorch_sdpa": _FLAG,
    "use_pytorch_sdpa_backends": _or_none(_listed(_WORD, 20)),
    "sync_max_audio_length": _FLAG,
}
# Of its AudioToMelSpectrogramPreprocessor.
PREPROCESSOR: dict[str, Check] = {
    "_target_": _one_of(*_PREPROCESSOR_CLASSES),
    "sample_rate": _whole(1000, 192_000),
    "window_size": _or_none(_number(1e-4, 1)),
    "window_stride": _or_none(_number(1e-4, 1)),
    "n_window_size": _or_none(_whole(2, 65536)),
    "n_window_stride": _or_none(_whole(1, 65536)),
    "window": _or_none(_WORD),
    "normalize": _or_none(_either(_WORD, _FLAG)),
    "n_fft": _or_none(_whole(2, 65536)),
    "preemph": _or_none(_number(-1, 1)),
    "features": _whole(1, 4096),
    "lowfreq": _number(0, 96_000),
    "highfreq": _or_none(_number(-96_000, 96_000)),
    "log": _FLAG,
    "log_zero_guard_type": _WORD,
    "log_zero_guard_value": _either(_number(0, 1), _WORD),
    "dither": _SHARE,
    "pad_to": _either(_whole(0, 65536), _WORD),
    "frame_splicing": _whole(1, 64),
    "exact_pad": _FLAG,
    "pad_value": _number(-1e6, 1e6),
    "mag_power": _number(0, 10),
    "rng": _NULL,
    "nb_augmentation_prob": _SHARE,
    "nb_max_freq": _number(0, 96_000),
    "mel_norm": _or_none(_WORD),
    "use_torchaudio": _FLAG,
    "stft_exact_pad": _FLAG,
    "stft_conv": _FLAG,
}

# Of a whole model: class -> module that it is written in. NeMo writes the module into `target`.
MODELS = {
    "EncDecRNNTBPEModel": "rnnt_bpe_models",
    "EncDecRNNTBPEModelWithPrompt": "rnnt_bpe_models_prompt",
    "EncDecCTCModelBPE": "ctc_bpe_models",
    "EncDecHybridRNNTCTCBPEModel": "hybrid_rnnt_ctc_bpe_models",
    "EncDecHybridRNNTCTCBPEModelWithPrompt": "hybrid_rnnt_ctc_bpe_models_prompt",
}
_TARGETS = {
    *(f"{_ASR}.models.{module}.{name}" for name, module in MODELS.items()),
    *(f"{_ASR}.models.{name}" for name in MODELS),
}
_CTC_HEAD = (f"{_ASR}.modules.ConvASRDecoder", f"{_ASR}.modules.conv_asr.ConvASRDecoder")
_HEADS = (*_CTC_HEAD, f"{_ASR}.modules.RNNTDecoder", f"{_ASR}.modules.rnnt.RNNTDecoder")
_JOINTS = (f"{_ASR}.modules.RNNTJoint", f"{_ASR}.modules.rnnt.RNNTJoint")
_ADAPTER = ("nemo.collections.common.parts.adapter_modules.LinearAdapter",)
_ADDED = ("nemo.core.classes.mixins.adapter_mixin_strategies.ResidualAddAdapterStrategy",)
_ARTIFACTS = ("model_path", "vocab_path", "spe_tokenizer_vocab")
_DEFAULT_SYMBOLS = 10  # a frame may emit; NeMo's default


def encoder_blocks(config: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """The blocks `encoder` and `preprocessor` of a configuration, checked key by key.

    Raises:
        NotPlain: naming the key, its value and what is allowed.
    """
    blocks = {
        name: _known(config.get(name), name, table)
        for name, table in (("encoder", ENCODER), ("preprocessor", PREPROCESSOR))
    }
    encoder, preprocessor = blocks["encoder"], blocks["preprocessor"]
    for key in ("_target_", "feat_in", "n_layers", "d_model"):
        if key not in encoder:
            raise NotPlain(f"its encoder has no {key}")
    if "_target_" not in preprocessor:
        raise NotPlain("its preprocessor has no _target_")
    width, heads = encoder["d_model"], encoder.get("n_heads", 4)
    if width % heads:
        raise NotPlain(f"encoder.d_model is {width}, no multiple of encoder.n_heads, {heads}")
    heard = preprocessor.get("features", 64) * preprocessor.get("frame_splicing", 1)
    if encoder["feat_in"] != heard:
        raise NotPlain(
            f"encoder.feat_in is {encoder['feat_in']}, and the preprocessor gives {heard} features"
        )
    return blocks


def class_of(config: Mapping[str, Any]) -> str:
    """The class that a model says it is of, '' if none.

    Raises:
        NotPlain: no plain word.
    """
    target = config.get("target") or ""
    if not _plain_word(target):
        raise NotPlain(f"target is {_brief(target)}, allowed: the name of a class")
    return target


def restorable(config: Mapping[str, Any], files: list[str], folder: str) -> dict[str, Any]:
    """The settings under which NeMo restores a whole model, without those that only its training
    or its own decoding read.

    Args:
        config: of the file.
        files: names of the files beside it.
        folder: where these will lie.

    Raises:
        NotPlain: naming the key, its value and what is allowed.
    """
    if (target := class_of(config)) not in _TARGETS:
        raise NotPlain(f"target is {_brief(target)}, allowed: {', '.join(MODELS)}")
    kept: dict[str, Any] = {
        "target": target,
        **encoder_blocks(config),
        "decoder": _tree(config.get("decoder"), "decoder", {"": _HEADS}),
        "tokenizer": _tokenizer(config.get("tokenizer"), files, folder),
        "log_prediction": False,
        "compute_eval_loss": False,
    }
    kept["sample_rate"] = kept["preprocessor"].get("sample_rate", 16000)
    if "joint" in config:
        kept |= {
            "joint": _tree(config["joint"], "joint", {"": _JOINTS}),
            "model_defaults": _tree(config.get("model_defaults"), "model_defaults", {}),
            "decoding": {
                "strategy": "greedy_batch",
                "greedy": {"max_symbols": _symbols(config.get("decoding"))},
            },
        }
    if (beside := config.get("aux_ctc")) is not None:
        if not isinstance(beside, dict):
            raise NotPlain(f"aux_ctc is {_brief(beside)}, allowed: settings of a CTC head")
        kept["aux_ctc"] = {
            "decoder": _tree(beside.get("decoder"), "aux_ctc.decoder", {"": _CTC_HEAD})
        }
    if "adapters" in config:
        kept["adapters"] = _tree(
            config["adapters"], "adapters", {r"\.\w+": _ADAPTER, r"\.\w+\.adapter_strategy": _ADDED}
        )
    return kept


def _known(block: Any, name: str, table: Mapping[str, Check]) -> dict[str, Any]:
    """A copy of a block whose keys and values are in a table."""
    if not isinstance(block, dict):
        raise NotPlain(f"{name} is {_brief(block)}, allowed: a block of settings")
    for key, value in block.items():
        if key not in table:
            raise NotPlain(f"{name}.{str(key)[:_SHOWN]} is no setting that is known here")
        if isinstance(value, str) and "${" in value:
            raise NotPlain(f"{name}.{key} is {_brief(value)}, allowed: a value, no reference")
        fits, allowed = table[key]
        if not fits(value):
            raise NotPlain(f"{name}.{key} is {_brief(value)}, allowed: {allowed}")
    return {key: _copied(value) for key, value in block.items()}


def _copied(value: Any) -> Any:
    return [_copied(item) for item in value] if isinstance(value, list) else value


def _tree(value: Any, name: str, targets: Mapping[str, tuple[str, ...]]) -> Any:
    """A copy of a block of plain values.

    Args:
        targets: pattern of a place below `name` -> classes that its `_target_` may name.
    """
    if not isinstance(value, dict):
        raise NotPlain(f"{name} is {_brief(value)}, allowed: a block of settings")
    count = 0

    def copy(value: Any, place: str) -> Any:
        nonlocal count
        count += 1
        if count > _MOST_ITEMS:
            raise NotPlain(f"{name} has more than {_MOST_ITEMS} values")
        here = f"{name}{place}"
        above, _, leaf = place.rpartition(".")
        if leaf in ("_target_", "target"):
            allowed = next((v for k, v in targets.items() if re.fullmatch(k, above)), ())
            if leaf == "_target_" and isinstance(value, str) and value in allowed:
                return value
            raise NotPlain(
                f"{here} is {_brief(value)}, allowed: {', '.join(allowed) or 'no class'}"
            )
        if isinstance(value, dict):
            return {_key(key, here): copy(inner, f"{place}.{key}") for key, inner in value.items()}
        if isinstance(value, list):
            return [copy(inner, place) for inner in value]
        if value is None or isinstance(value, bool):
            return value
        if isinstance(value, str) and len(value) <= _LONGEST_WORD and "${" not in value:
            return value
        # A hidden layer has thousands of cells, a vocabulary hundreds of thousands of pieces.
        high = 64 if "layers" in leaf else 16384 if "hidden" in leaf or "dim" in leaf else 10**6
        if isinstance(value, int | float) and is_number(value) and -high <= value <= high:
            return value
        raise NotPlain(f"{here} is {_brief(value)}, allowed: a plain word or a number up to {high}")

    return copy(value, "")


def _key(key: Any, place: str) -> str:
    # Hydra takes `_args_`, `_partial_` and the like as orders. `__global_cfg__` is NeMo's own.
    orders = isinstance(key, str) and re.fullmatch(r"_(?!target_)[a-z]+_", key)
    if not isinstance(key, str) or len(key) > _LONGEST_WORD or orders or "${" in key:
        raise NotPlain(f"{place} has the key {_brief(key)}, which is no name of a setting")
    return key


def _tokenizer(block: Any, files: list[str], folder: str) -> dict[str, Any]:
    """Settings of a SentencePiece tokenizer, or of one for each language, that name nothing but
    files of the archive."""
    if not isinstance(block, dict):
        raise NotPlain(f"tokenizer is {_brief(block)}, allowed: settings of a tokenizer")
    kind = block.get("type")
    if kind == "agg":
        langs = block.get("langs")
        if not isinstance(langs, dict) or not 0 < len(langs) <= 1000:
            raise NotPlain(f"tokenizer.langs is {_brief(langs)}, allowed: tokenizers by language")
        inner = {_key(lang, "langs"): _tokenizer(one, files, folder) for lang, one in langs.items()}
        return {"type": "agg", "dir": folder, "langs": inner}
    if kind != "bpe":
        raise NotPlain(f"tokenizer.type is {_brief(kind)}, allowed: bpe, agg")
    kept = {"type": "bpe", "dir": folder}
    for key in _ARTIFACTS:
        value = block.get(key)
        if value is None:
            continue
        name = PurePosixPath(value.removeprefix("nemo:")).name if isinstance(value, str) else ""
        if name not in files:
            raise NotPlain(f"tokenizer.{key} is {_brief(value)}, which is no file of the archive")
        kept[key] = f"nemo:{name}"
    if "model_path" not in kept:
        raise NotPlain("tokenizer has no model_path")
    return kept


def artifacts(kept: Mapping[str, Any]) -> list[str]:
    """Names of the files that `restorable` settings read."""
    block = kept["tokenizer"]
    return sorted(
        {
            one[key].removeprefix("nemo:")
            for one in (block, *block.get("langs", {}).values())
            for key in _ARTIFACTS
            if key in one
        }
    )


def _symbols(decoding: Any) -> int:
    """How many tokens a frame may emit."""
    greedy = (decoding.get("greedy") if isinstance(decoding, dict) else None) or {}
    most = greedy.get("max_symbols") if isinstance(greedy, dict) else None
    fits, allowed = _or_none(_whole(1, 1000))
    if not fits(most):
        raise NotPlain(f"decoding.greedy.max_symbols is {_brief(most)}, allowed: {allowed}")
    return most or _DEFAULT_SYMBOLS


def _brief(value: Any) -> str:
    """A value for a message."""
    if isinstance(value, dict):
        return f"a mapping with {', '.join(str(key)[:40] for key in list(value)[:4]) or 'nothing'}"
    text = repr(value)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}..."
