"""Quantised matrices of an ONNX graph (`MatMulNBits`) as weights again, and back in PyTorch."""

from pathlib import Path
from typing import TYPE_CHECKING

from warmstart.models import onnx_file
from warmstart.models.onnx_file import module_of
from warmstart.run.errors import UserError

if TYPE_CHECKING:
    import numpy
    import onnx
    import torch


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


def dequantized_names(model: "onnx.ModelProto") -> list[str]:
    """Modules whose weights a graph has quantised; of a graph without its data too."""
    return [module_of(node.name) for node in model.graph.node if node.op_type == "MatMulNBits"]


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


def load(encoder: "torch.nn.Module", path: str | Path, any_activations: bool = False) -> None:
    """Write the dequantised weights of an encoder file into the PyTorch encoder it was made of.

    PyTorch then computes what the graph computes, on a GPU and without chunks as well;
    `any_activations` takes the weights of a graph with int8 activations too, and then it does not.

    Raises:
        UserError: the graph has int8 activations, which weights alone do not reproduce, or does not
            fit the encoder; or see `onnx_file.require_data`.
    """
    import onnx
    import torch

    model = onnx.load(str(path), load_external_data=False)
    onnx_file.require_data(path, onnx_file.metadata_of(model))
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
