"""Weight-only quantised matrices in ONNX graphs (`MatMulNBits`), and the same weights back in
PyTorch."""

import contextlib
import io
import logging
from typing import TYPE_CHECKING, Any

from warmstart.export.scheme import Scheme
from warmstart.models.onnx_file import module_of, weight_products

if TYPE_CHECKING:
    import numpy
    import onnx


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
    quantized = quantizer.model.model
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


def dequantize(node: "onnx.NodeProto", tensors: dict[str, "numpy.ndarray"]) -> "numpy.ndarray":
    """The weight that a `MatMulNBits` node multiplies with.

    Source: ONNX Runtime, docs/ContribOperators.md, com.microsoft.MatMulNBits: weight = (quantised -
    zero_point) * scale.

    Returns:
        float32 (N, K), as in `torch.nn.Linear.weight`.
    """
    import numpy

    attributes = {attribute.name: attribute.i for attribute in node.attribute}
    rows, columns, bits, block = (attributes[name] for name in ("N", "K", "bits", "block_size"))
    blocks = -(-columns // block)

    def unpack(packed: numpy.ndarray, count: int) -> numpy.ndarray:
        packed = packed.reshape(rows, -1).view(numpy.uint8)
        if bits == 8:
            return packed[:, :count]
        return numpy.stack([packed & 15, packed >> 4], axis=-1).reshape(rows, -1)[:, :count]

    values = (
        unpack(tensors[node.input[1]], blocks * block)
        .reshape(rows, blocks, block)
        .astype(numpy.float32)
    )
    scales = tensors[node.input[2]].reshape(rows, blocks, 1).astype(numpy.float32)
    if len(node.input) > 3 and node.input[3]:
        zeros = (
            unpack(tensors[node.input[3]], blocks).reshape(rows, blocks, 1).astype(numpy.float32)
        )
    else:
        zeros = numpy.float32(1 << (bits - 1))
    return ((values - zeros) * scales).reshape(rows, -1)[:, :columns]


def dequantized(model: "onnx.ModelProto") -> dict[str, "numpy.ndarray"]:
    """Dequantised weights (N, K) by module of the encoder."""
    from onnx import numpy_helper

    tensors = {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
    return {
        module_of(node.name): dequantize(node, tensors)
        for node in model.graph.node
        if node.op_type == "MatMulNBits"
    }


def accuracy_levels(model: "onnx.ModelProto") -> set[int]:
    """The `accuracy_level` values in a graph; 0 = fp32 activations."""
    found = set()
    for node in model.graph.node:
        if node.op_type == "MatMulNBits":
            found.add(
                next(
                    (
                        attribute.i
                        for attribute in node.attribute
                        if attribute.name == "accuracy_level"
                    ),
                    0,
                )
            )
    return found


def layer_report(
    encoder, quantized: "onnx.ModelProto", reasons: dict[str, str | None]
) -> dict[str, Any]:
    """Which weights are quantised, with the relative error ||W - W'|| / ||W||, and which are left,
    and why.

    Args:
        reasons: by module with a matrix product, from `reasons_to_leave`.
    """
    import numpy

    modules = dict(encoder.named_modules())
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
        if "linear_pos" in name:
            reason = "folded with the positional table into a constant of this tier"
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
