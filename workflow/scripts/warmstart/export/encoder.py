"""A quantised encoder file: made, and compared with the PyTorch encoder."""

import json
import time
from pathlib import Path
from typing import Any

from warmstart.export.matmul_nbits import layer_report, quantize, reasons_to_leave
from warmstart.export.scheme import Scheme
from warmstart.models import DEFAULT_FAMILY, open_family, require_precision
from warmstart.models.onnx_file import graph_bytes, half_bytes, save, set_metadata
from warmstart.models.tier import Tier
from warmstart.run import files, numbers, vouchers
from warmstart.run.errors import UserError


def build(
    model_path: str | Path,
    tier: Tier,
    precision: str,
    scheme: Scheme,
    output: str | Path,
    family: str = DEFAULT_FAMILY,
) -> dict[str, Any]:
    """Make the encoder file of one model, tier and precision.

    Returns:
        The report (`quantize.json`): sizes with both ratios, layers, parity, opset, seconds.

    Raises:
        UserError: a family or a tier without export, or a model that cannot be loaded or is not
            what its record says.
    """
    import onnxruntime

    require_precision(family, tier)
    model_sha256 = vouchers.verified(model_path)
    model = open_family(family).load(model_path)
    started = time.perf_counter()
    graph = model.export_encoder(tier)
    export_s, original, encoder = time.perf_counter() - started, graph.model, graph.module
    pytorch_bytes = sum(
        parameter.numel() * parameter.element_size() for parameter in encoder.parameters()
    )
    fp32_bytes, fp16_bytes = graph_bytes(original), half_bytes(original)
    reasons = reasons_to_leave(original, scheme)
    started = time.perf_counter()
    quantized = quantize(original, scheme)
    quantize_s = time.perf_counter() - started
    layers = layer_report(encoder, quantized, reasons, graph.constants)
    if not layers["quantised"] and scheme.scheme != "fp32":
        raise UserError(
            f"{model_path}: no weight matrix fits block size {scheme.block_size}; choose a smaller "
            "block_size, or d_model"
            " divisible by 64"
        )
    set_metadata(
        quantized,
        {
            "warmstart_form": graph.form,
            "warmstart_context": json.dumps(tier.context),
            "warmstart_model_sha256": model_sha256,
            "warmstart_scheme": json.dumps(vars(scheme)),
        },
    )
    written = save(quantized, output)
    errors = [layer["relative_error"] for layer in layers["quantised"]]
    parity = model.export_parity(tier, Path(output))
    return {
        "precision": precision,
        **vars(scheme),
        "tier": tier.name,
        "left": tier.left,
        "right": tier.right,
        "model_sha256": model_sha256,
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
        "parity": {
            "max_abs": parity.pop("max_abs"),
            "against": "PyTorch with the same weights, dequantised",
            **parity,
        },
        "layers": layers,
        "opset": {
            imported.domain or "ai.onnx": imported.version for imported in quantized.opset_import
        },
        "onnxruntime": onnxruntime.__version__,
        "export_s": round(export_s, 2),
        "quantize_s": round(quantize_s, 2),
    }
