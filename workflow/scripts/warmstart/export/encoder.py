"""A quantised encoder file: made, compared with the PyTorch encoder, and its weights back in
PyTorch."""

import json
import logging
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from warmstart.export.matmul_nbits import (
    accuracy_levels,
    dequantized,
    layer_report,
    quantize,
    reasons_to_leave,
)
from warmstart.export.scheme import Scheme
from warmstart.models.fastconformer import load
from warmstart.models.fastconformer.chunks import ChunkShape, set_tier
from warmstart.models.fastconformer.onnx_encoder import OnnxEncoder
from warmstart.models.fastconformer.onnx_export import export, require_exportable
from warmstart.models.onnx_file import (
    graph_bytes,
    half_bytes,
    metadata_of,
    require_data,
    save,
    set_metadata,
)
from warmstart.run import files, numbers
from warmstart.run.errors import UserError
from warmstart.study.tier import Tier

if TYPE_CHECKING:
    pass


_LOG = logging.getLogger(__name__)


def load_weights(encoder, path: str | Path, any_activations: bool = False) -> None:
    """Write the dequantised weights of an encoder file into the PyTorch encoder it was made of.

    PyTorch then computes what the graph computes, on a GPU and without chunks as well;
    `any_activations` takes the weights of a graph with int8 activations too, and then it does not.

    Raises:
        UserError: the graph has int8 activations, which weights alone do not reproduce, or does not
            fit the encoder; or see `require_data`.
    """
    import onnx
    import torch

    model = onnx.load(str(path), load_external_data=False)
    require_data(path, metadata_of(model))
    onnx.load_external_data_for_model(model, str(Path(path).parent))
    if accuracy_levels(model) - {0} and not any_activations:
        raise UserError(
            f"{path}: made with accuracy_level 4 (int8 activations), which PyTorch does not "
            "compute; decode it at a streaming"
            " tier on the CPU (decoding.device: cpu), or use accuracy_level 0"
        )
    modules = dict(encoder.named_modules())
    with torch.no_grad():
        for name, weight in dequantized(model).items():
            target = getattr(modules.get(name), "weight", None)
            if target is None or target.numel() != weight.size:
                raise UserError(
                    f"{path}: layer {name} with {weight.size} weights is not in this model; run "
                    "quantize.py again"
                )
            target.copy_(torch.from_numpy(weight).view(target.shape))


def parity(model, tier: Tier, encoder_path: str | Path, chunks: int = 4) -> dict[str, Any]:
    """Largest difference between the graph and PyTorch with its dequantised weights over some
    chunks of noise.

    Changes the weights of `model.encoder` to the dequantised ones.
    """
    import torch

    from warmstart.models.fastconformer.streaming_encoder import EncoderSteps

    load_weights(model.encoder, encoder_path, any_activations=True)
    set_tier(model.encoder, tier)
    shape = ChunkShape.of(model.encoder)
    generator = torch.Generator().manual_seed(1)
    frames = shape.first + (chunks - 1) * shape.later
    # Log-mel features of speech lie between -16 and 4.
    features = torch.randn(2, model.encoder._feat_in, frames, generator=generator) * 4 - 6
    lengths = torch.tensor([frames, frames - shape.later // 2])
    steps = [EncoderSteps(model.encoder), OnnxEncoder(encoder_path, tier)]
    caches = [step.start(2) for step in steps]
    largest = 0.0
    with torch.inference_mode():
        for chunk, chunk_lengths, dropped in shape.cut(features, lengths):
            outputs = []
            for index, step in enumerate(steps):
                encoded, encoded_lengths, caches[index] = step.step(
                    chunk, chunk_lengths, dropped, caches[index]
                )
                valid = (
                    torch.arange(encoded.shape[1])[None, :, None] < encoded_lengths[:, None, None]
                )
                outputs.append(encoded * valid)
            largest = max(largest, float((outputs[0] - outputs[1]).abs().max()))
    return {
        "max_abs": largest,
        "against": "PyTorch with the same weights, dequantised",
        "chunks": chunks,
    }


def build(
    model_path: str | Path, tier: Tier, precision: str, scheme: Scheme, output: str | Path
) -> dict[str, Any]:
    """Make the native-step encoder file of one model, tier and precision.

    Returns:
        The report (`quantize.json`): sizes with both ratios, layers, parity, opset, seconds.

    Raises:
        UserError: what `load_model` and `onnx_export.export` refuse.
    """
    import onnxruntime

    require_exportable(tier)
    model = load.load_model(model_path)
    started = time.perf_counter()
    original = export(model.encoder, tier)
    export_s = time.perf_counter() - started
    pytorch_bytes = sum(
        parameter.numel() * parameter.element_size() for parameter in model.encoder.parameters()
    )
    fp32_bytes, fp16_bytes = graph_bytes(original), half_bytes(original)
    reasons = reasons_to_leave(original, scheme)
    started = time.perf_counter()
    quantized = quantize(original, scheme)
    quantize_s = time.perf_counter() - started
    layers = layer_report(model.encoder, quantized, reasons)
    if not layers["quantised"] and scheme.scheme != "fp32":
        raise UserError(
            f"{model_path}: no weight matrix fits block size {scheme.block_size}; choose a smaller "
            "block_size, or d_model"
            " divisible by 64"
        )
    set_metadata(
        quantized,
        {
            "warmstart_form": "native",
            "warmstart_context": json.dumps(tier.context),
            "warmstart_model_sha256": files.digest(model_path),
            "warmstart_scheme": json.dumps(vars(scheme)),
        },
    )
    written = save(quantized, output)
    errors = [layer["relative_error"] for layer in layers["quantised"]]
    return {
        "precision": precision,
        **vars(scheme),
        "tier": tier.name,
        "left": tier.left,
        "right": tier.right,
        "model_sha256": files.digest(model_path),
        "encoder_sha256": files.digest(output),
        "bytes": {
            "pytorch_fp32": pytorch_bytes,
            "onnx_fp32": fp32_bytes,
            "fp16": fp16_bytes,
            "encoder": written,
        },
        "ratios": {
            # Denominators: this file. Numerators: the PyTorch encoder, the same graph unquantised,
            # the same graph at 2 bytes a weight.
            "pytorch_fp32_to_encoder": round(pytorch_bytes / written, 4),
            "onnx_fp32_to_encoder": round(fp32_bytes / written, 4),
            "fp16_to_encoder": round(fp16_bytes / written, 4),
        },
        "relative_error_median": numbers.percentile(errors, 0.5),
        "relative_error_max": max(errors, default=None),
        "parity": parity(model, tier, output),
        "layers": layers,
        "opset": {
            imported.domain or "ai.onnx": imported.version for imported in quantized.opset_import
        },
        "onnxruntime": onnxruntime.__version__,
        "export_s": round(export_s, 2),
        "quantize_s": round(quantize_s, 2),
    }
