"""A deployable recogniser: streaming encoder, predictor, joint and tokens in the form that
sherpa-onnx loads as it is.

sherpa-onnx wants an encoder that takes windows of one size (`onnx_export.export(native=False)`),
NeMo's names, positional inputs and metadata. The export undoes sherpa-onnx's floor of the
logarithm; how often tokens then agree with native decoding is measured here and written into the
bundle, not assumed.

Source of the metadata: k2-fsa/sherpa-onnx, scripts/nemo/fast-conformer-hybrid-transducer-ctc.
"""

import json
import logging
from pathlib import Path
from typing import Any

from warmstart.decoding import devices
from warmstart.decoding.utterances import load_audio, read_manifest
from warmstart.export import matmul_nbits
from warmstart.export.scheme import Scheme
from warmstart.export.sherpa import FILES, agreement, open_recognizer, recognize, tail_s
from warmstart.models import onnx_file
from warmstart.models.fastconformer import load, onnx_export
from warmstart.models.fastconformer.chunks import ChunkShape
from warmstart.models.fastconformer.decoder import Decoder
from warmstart.models.fastconformer.onnx_encoder import OnnxEncoder
from warmstart.run import files
from warmstart.run.errors import UserError
from warmstart.run.folders import atomic_directory
from warmstart.study.tier import Tier

_PACKAGES = ("sherpa-onnx", "onnxruntime", "nemo-toolkit", "torch")


# What the README is made of, in `bundle.json`.
_ABOUT: dict[str, set[str]] = {
    "keys": {"lang", "init", "hours", "seed"},
    "tier": {"name", "left", "right", "offline"},
    "settings": {"scheme", "bits", "block_size", "accuracy_level"},
    "versions": {"sherpa-onnx"},
    "example": {"id", "reference", "sherpa_onnx"},
    "agreement": {"utterances", "native_words", "variants", "rtfx"},
    "files": set(FILES[:5]),
    **{
        key: set()
        for key in ("precision", "model_sha256", "processor", "encoder_bytes", "feature_dim")
    },
}


_LOG = logging.getLogger(__name__)


def sherpa_metadata(model, tier: Tier) -> dict[str, str]:
    """What sherpa-onnx reads of the encoder; window and shift in feature frames."""
    encoder = model.encoder
    shape = ChunkShape.of(encoder)
    channel, convolution = onnx_export.cache_shapes(encoder)
    prediction = model.cfg.decoder.prednet
    values = {
        "model_type": "EncDecRNNTBPEModel",
        "version": "1",
        "vocab_size": model.joint.num_classes_with_blank - 1,
        "feat_dim": encoder._feat_in,
        "window_size": shape.again + shape.later,
        "chunk_shift": shape.later,
        "normalize_type": "",
        "subsampling_factor": encoder.subsampling_factor,
        "pred_rnn_layers": prediction.pred_rnn_layers,
        "pred_hidden": prediction.pred_hidden,
        **{f"cache_last_channel_dim{axis}": size for axis, size in enumerate(channel, 1)},
        **{f"cache_last_time_dim{axis}": size for axis, size in enumerate(convolution, 1)},
        "warmstart_context": json.dumps(tier.context),
    }
    return {key: str(value) for key, value in values.items()}


def write_tokens(model, path: Path) -> None:
    """`piece id` a line, the blank last."""
    pieces = model.tokenizer.ids_to_tokens(list(range(model.joint.num_classes_with_blank - 1)))
    lines = [f"{piece} {index}" for index, piece in enumerate([*pieces, "<blk>"])]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def _log_guard(model) -> float:
    """What the model's features add before the logarithm; 0 where they clamp, as sherpa-onnx
    does."""
    import torch

    featurizer = model.preprocessor.featurizer
    return (
        float(featurizer.log_zero_guard_value_fn(torch.zeros(1)))
        if featurizer.log_zero_guard_type == "add"
        else 0.0
    )


def write_networks(model, tier: Tier, scheme: Scheme, folder: Path) -> None:
    """Write encoder, decoder, joiner and tokens."""
    original = onnx_export.export(model.encoder, tier, native=False, log_guard=_log_guard(model))
    encoder = matmul_nbits.quantize(original, scheme)
    onnx_file.set_metadata(encoder, sherpa_metadata(model, tier))
    onnx_file.save(encoder, folder / "encoder.onnx")
    model.decoder.export(str(folder / "decoder.onnx"))
    model.joint.export(str(folder / "joiner.onnx"))
    write_tokens(model, folder / "tokens.txt")


def _read_about(folder: Path) -> dict[str, Any]:
    path = folder / "bundle.json"
    if not path.is_file():
        raise UserError(f"{folder}: no bundle.json; make the bundle with build_bundle.py")
    try:
        about = files.read_json(path)
    except ValueError as error:  # no JSON, or no UTF-8
        raise UserError(
            f"{path}: damaged ({error}); make the bundle again with build_bundle.py"
        ) from None
    found = about if isinstance(about, dict) else {}
    blocks = {key: value if isinstance(value, dict) else {} for key, value in found.items()}
    lacking = [
        key for key, parts in _ABOUT.items() if key not in found or not parts <= blocks[key].keys()
    ]
    if lacking:
        raise UserError(
            f"{path}: lacks {', '.join(lacking)}; make the bundle again with build_bundle.py"
        )
    return about


def verify(folder: str | Path) -> dict[str, Any]:
    """Check a bundle against its own digests and give its `bundle.json`.

    Raises:
        UserError: a damaged `bundle.json`, or listing files that are missing or changed.
    """
    folder = Path(folder)
    about = _read_about(folder)
    missing = [name for name in about["files"] if not (folder / name).is_file()]
    changed = [
        name
        for name, entry in about["files"].items()
        if name not in missing and files.digest(folder / name) != entry["sha256"]
    ]
    if missing or changed:
        raise UserError(
            f"{folder}: missing {missing or 'nothing'}, changed {changed or 'nothing'}; make the "
            "bundle again"
        )
    return about


def build(
    model_path: str | Path,
    tier: Tier,
    precision: str,
    settings: dict[str, Any],
    keys: dict[str, Any],
    examples: str | Path,
    output: str | Path,
    agreement_utterances: int = 20,
) -> dict[str, Any]:
    """Make a bundle.

    Args:
        settings: of the precision (`Scheme`; scheme null = float32).
        keys: lang, init, hours, seed.
        examples: test manifest; its first utterance becomes `example.wav`.
        agreement_utterances: how many of the examples are decoded by sherpa-onnx and natively.

    Returns:
        Content of `bundle.json`.

    Raises:
        UserError: offline tier or one without cache, bad settings, model or examples.
    """
    import importlib.metadata
    import tempfile

    import soundfile

    if tier.offline:
        raise UserError(
            f"tier {tier.name} is offline; a bundle streams: choose a streaming tier (bundle.tier)"
        )
    onnx_export.require_exportable(tier)
    scheme = Scheme.from_json({**settings, "scheme": settings.get("scheme") or "fp32"})
    utterances = read_manifest(examples)[:agreement_utterances]
    model = load.load_model(model_path)
    sample_rate = int(model.cfg.preprocessor.sample_rate)
    waveforms = [load_audio(utterance, sample_rate) for utterance in utterances]
    with atomic_directory(output) as folder, tempfile.TemporaryDirectory() as scratch:
        write_networks(model, tier, scheme, folder)
        soundfile.write(folder / "example.wav", waveforms[0], sample_rate, subtype="PCM_16")
        example, _ = soundfile.read(
            folder / "example.wav", dtype="float32"
        )  # as it ships: rounded, and clipped at 1
        native = Path(scratch) / "encoder.onnx"
        _write_native(model, tier, scheme, native)
        decoder = Decoder(model, tier, OnnxEncoder(native, tier))
        spoken = recognize(open_recognizer(folder), example, sample_rate, tail_s(tier))
        about = {
            "keys": keys,
            "precision": precision,
            "tier": vars(tier),
            "settings": vars(scheme),
            "model_sha256": files.digest(model_path),
            "processor": devices.device_name("cpu"),
            "encoder_bytes": sum(
                path.stat().st_size for path in folder.glob("encoder.onnx*")
            ),  # with its .data
            "feature_dim": model.encoder._feat_in,
            "versions": {name: importlib.metadata.version(name) for name in _PACKAGES},
            "example": {
                "id": utterances[0].id,
                "reference": utterances[0].text,
                "sherpa_onnx": "".join(spoken).replace("\u2581", " ").strip(),
            },
            "agreement": agreement(folder, decoder, waveforms),
            "files": {
                name: {
                    "bytes": (folder / name).stat().st_size,
                    "sha256": files.digest(folder / name),
                }
                for name in sorted(path.name for path in folder.iterdir())
            },
        }
        files.write_json(folder / "bundle.json", about)
    return about


def _write_native(model, tier: Tier, scheme: Scheme, path: Path) -> None:
    """The native-step twin of the bundle's encoder, from the same quantiser and weights."""
    native = matmul_nbits.quantize(onnx_export.export(model.encoder, tier), scheme)
    onnx_file.set_metadata(
        native, {"warmstart_form": "native", "warmstart_context": json.dumps(tier.context)}
    )
    onnx_file.save(native, path)
