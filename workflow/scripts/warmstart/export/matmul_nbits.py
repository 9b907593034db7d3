"""Weight-only quantised matrices in ONNX graphs (`MatMulNBits`), and a report of what became of
each."""

import contextlib
import io
import logging
from typing import TYPE_CHECKING, Any

from warmstart.export.scheme import Scheme
from warmstart.models.onnx_file import module_of, weight_products
from warmstart.models.quantised_weights import dequantized

if TYPE_CHECKING:
    import onnx
    import torch


def quantize(model: "onnx.ModelProto", scheme: Scheme) -> "onnx.ModelProto":
    """Quantise every weight matrix that can be, in place; the others stay float32
    (`reasons_to_leave`)."""
    import onnx
    from onnxruntime.quantization import matmul_nbits_quantizer as nbits

    if scheme.scheme == "fp32":
        return model
    products = weight_products(model)
    shapes = {tensor.name: tuple(tensor.dims) for tensor in model.graph.initializer}
    left_out = [node.name for node in products if _why_not(shapes[node.input[1]], scheme)]
    if scheme.scheme == "default":
        algorithm = nbits.DefaultWeightOnlyQuantConfig(
            block_size=scheme.block_size,
            is_symmetric=False,
            accuracy_level=scheme.accuracy_level or None,
            bits=scheme.bits,
        )
    else:
        kind = (
            nbits.KQuantWeightOnlyQuantConfig
            if scheme.scheme == "k_quant"
            else nbits.RTNWeightOnlyQuantConfig
        )
        algorithm = kind(
            customized_weight_config={node.name: {"bits": scheme.bits} for node in products}
        )
    quantizer = nbits.MatMulNBitsQuantizer(
        model,
        bits=scheme.bits,
        block_size=scheme.block_size,
        is_symmetric=scheme.scheme == "rtn",
        accuracy_level=scheme.accuracy_level or None,
        nodes_to_exclude=left_out,
        algo_config=algorithm,
    )
    logging.getLogger("neural_compressor").setLevel(
        logging.WARNING
    )  # k_quant asks for a GPU's library at every layer
    with contextlib.redirect_stdout(io.StringIO()):  # it draws a progress bar
        quantizer.process()
    quantized: Any = quantizer.model
    quantized = quantized.model
    # k_quant and RTN forget to import the domain of MatMulNBits.
    if not any(imported.domain == "com.microsoft" for imported in quantized.opset_import):
        quantized.opset_import.append(onnx.helper.make_opsetid("com.microsoft", 1))
    return quantized


def reasons_to_leave(model: "onnx.ModelProto", scheme: Scheme) -> dict[str, str | None]:
    """Why the weight of each module with a matrix product stays float32, or None, before
    `quantize`."""
    shapes = {tensor.name: tuple(tensor.dims) for tensor in model.graph.initializer}
    return {
        module_of(node.name): _why_not(shapes[node.input[1]], scheme)
        for node in weight_products(model)
    }


def _why_not(shape: tuple[int, ...], scheme: Scheme) -> str | None:
    """Why a (K, N) weight cannot be quantised, or None."""
    if scheme.scheme == "fp32":
        return "scheme fp32"
    if len(shape) != 2:
        return f"{len(shape)} dimensions"
    if shape[0] % scheme.block_size:
        return f"{shape[0]} rows are no multiple of the block size {scheme.block_size}"
    if scheme.bits == 4 and shape[0] // scheme.block_size % 2 and scheme.scheme != "default":
        # onnxruntime.quantization 1.31 packs two zero points to a byte and fails on an odd count.
        return f"{shape[0]} rows are an odd number of blocks"
    return None


def layer_report(
    encoder: "torch.nn.Module",
    quantized: "onnx.ModelProto",
    reasons: dict[str, str | None],
    constants: dict[str, str],
) -> dict[str, Any]:
    """Which weights are quantised, with the relative error ||W - W'|| / ||W||, and which are left,
    and why.

    Args:
        reasons: by module with a matrix product, from `reasons_to_leave`.
        constants: by parameter that is no weight of the graph, see `base.EncoderGraph`.
    """
    import numpy

    modules: dict[str, Any] = dict(encoder.named_modules())
    done = []
    for name, weight in dequantized(quantized).items():
        exact = modules[name].weight.detach().cpu().numpy().reshape(weight.shape)
        error = float(numpy.linalg.norm(exact - weight) / numpy.linalg.norm(exact))
        done.append({"layer": name, "shape": list(weight.shape), "relative_error": round(error, 6)})
    quantised_names = {layer["layer"] for layer in done}
    left = []
    for name, parameter in encoder.named_parameters():
        owner = name.rpartition(".")[0]
        if name.endswith("weight") and owner in quantised_names:
            continue
        if name in constants:
            reason = constants[name]
        elif name.endswith("weight") and owner in reasons:
            reason = reasons[owner] or "not asked for"
        elif parameter.dim() < 2 or name.endswith(("bias", "bias_u", "bias_v")):
            reason = "not a matrix"
        elif "conv" in type(modules[owner]).__name__.lower():
            reason = "convolution over time or frequency"
        else:
            reason = "no matrix product in the graph"
        left.append({"parameter": name, "values": parameter.numel(), "reason": reason})
    total = sum(parameter.numel() for parameter in encoder.parameters())
    return {
        "quantised": sorted(done, key=lambda layer: layer["layer"]),
        "left": left,
        "parameters": total,
        "quantised_share": round(
            sum(layer["shape"][0] * layer["shape"][1] for layer in done) / total, 6
        ),
    }
