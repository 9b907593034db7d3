"""Networks and tokens in the form that sherpa-onnx loads as it is.

It wants an encoder that takes windows of one size (`onnx_export.export(native=False)`), NeMo's
names, positional inputs and metadata. The export undoes sherpa-onnx's floor of the logarithm.

Source of the metadata: k2-fsa/sherpa-onnx, scripts/nemo/fast-conformer-hybrid-transducer-ctc; of a
CTC network csrc/online-nemo-ctc-model.cc.
"""

import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from warmstart.models import onnx_file
from warmstart.models.fastconformer import onnx_export
from warmstart.models.fastconformer.chunks import ChunkShape
from warmstart.models.tier import Tier

if TYPE_CHECKING:
    import onnx

_TRANSDUCER, _CTC = "EncDecRNNTBPEModel", "EncDecCTCModelBPE"


def sherpa_metadata(model: Any, tier: Tier, kind: str, tokens: int) -> dict[str, str]:
    """What sherpa-onnx reads of the encoder; window and shift in feature frames.

    Args:
        kind: name of the class of NeMo.
        tokens: without the blank.
    """
    encoder = model.encoder
    shape = ChunkShape.of(encoder)
    channel, convolution = onnx_export.cache_shapes(encoder)
    predictor = model.cfg.decoder.prednet if kind == _TRANSDUCER else None
    values = {
        "model_type": kind,
        "version": "1",
        "vocab_size": tokens,
        "feat_dim": encoder._feat_in,
        "window_size": shape.again + shape.later,
        "chunk_shift": shape.later,
        "normalize_type": "",
        "subsampling_factor": encoder.subsampling_factor,
        **(
            {}
            if predictor is None
            else {
                "pred_rnn_layers": predictor.pred_rnn_layers,
                "pred_hidden": predictor.pred_hidden,
            }
        ),
        **{f"cache_last_channel_dim{axis}": size for axis, size in enumerate(channel, 1)},
        **{f"cache_last_time_dim{axis}": size for axis, size in enumerate(convolution, 1)},
        "warmstart_context": json.dumps(tier.context),
    }
    return {key: str(value) for key, value in values.items()}


def write_tokens(model: Any, path: Path, tokens: int) -> None:
    """`piece id` a line, the blank last."""
    pieces = model.tokenizer.ids_to_tokens(list(range(tokens)))
    lines = [f"{piece} {index}" for index, piece in enumerate([*pieces, "<blk>"])]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def _log_guard(model: Any) -> float:
    """What the model's features add before the logarithm; 0 where they clamp, as sherpa-onnx
    does."""
    import torch

    featurizer = model.preprocessor.featurizer
    return (
        float(featurizer.log_zero_guard_value_fn(torch.zeros(1)))
        if featurizer.log_zero_guard_type == "add"
        else 0.0
    )


def write_transducer(
    model: Any,
    tier: Tier,
    folder: Path,
    quantise: "Callable[[onnx.ModelProto], onnx.ModelProto]",
) -> dict[str, Any]:
    """Write encoder, decoder, joiner and tokens.

    Args:
        model: a transducer of NeMo.
        quantise: what is done to the weights of the encoder.

    Returns:
        `feature_dim`: features a frame.
    """
    tokens = model.joint.num_classes_with_blank - 1
    original = onnx_export.export(model.encoder, tier, native=False, log_guard=_log_guard(model))
    encoder = quantise(original)
    onnx_file.set_metadata(encoder, sherpa_metadata(model, tier, _TRANSDUCER, tokens))
    onnx_file.save(encoder, folder / "encoder.onnx")
    model.decoder.export(str(folder / "decoder.onnx"))
    model.joint.export(str(folder / "joiner.onnx"))
    write_tokens(model, folder / "tokens.txt", tokens)
    return {"feature_dim": model.encoder._feat_in}


def write_ctc(
    model: Any,
    head: Any,
    tier: Tier,
    folder: Path,
    quantise: "Callable[[onnx.ModelProto], onnx.ModelProto]",
) -> dict[str, Any]:
    """Write the network and its tokens.

    Args:
        model: of NeMo.
        head: its `ConvASRDecoder`.
        quantise: what is done to the weights of the encoder.

    Returns:
        `feature_dim`: features a frame; `architecture` in words.
    """
    tokens = head.num_classes_with_blank - 1
    network = quantise(
        onnx_export.export(
            model.encoder, tier, native=False, log_guard=_log_guard(model), head=head
        )
    )
    onnx_file.set_metadata(network, sherpa_metadata(model, tier, _CTC, tokens))
    onnx_file.save(network, folder / "model.onnx")
    write_tokens(model, folder / "tokens.txt", tokens)
    return {
        "feature_dim": model.encoder._feat_in,
        "architecture": "Cache-aware FastConformer with a CTC head",
    }
