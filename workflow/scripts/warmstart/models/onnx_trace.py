"""Modules as ONNX graphs, traced."""

import tempfile
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

from warmstart.models.onnx_names import ProductNames

if TYPE_CHECKING:
    import onnx
    import torch

OPSET = 17


def traced(
    module: "torch.nn.Module",
    linears: "dict[str, torch.nn.Linear]",
    example: "tuple[torch.Tensor, ...]",
    inputs: list[str],
    outputs: list[str],
    dynamic: dict[str, Any],
) -> "onnx.ModelProto":
    """A module in eval mode as a graph, whose products with a matrix have the names of `linears`.

    Args:
        module: what is traced.
        linears: by name, all that it may call.
        example: its arguments.
        inputs, outputs: names of its arguments and results.
        dynamic: name -> axes of any length, as `torch.onnx.export` takes them.

    Raises:
        RuntimeError: see `ProductNames.give`.
    """
    import onnx
    import torch

    with torch.no_grad(), tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        # Of sizes that a trace takes for constants. Tests hold the graph to PyTorch at others.
        warnings.simplefilter("ignore")
        path = Path(folder) / "model.onnx"
        with ProductNames(linears) as names:
            torch.onnx.export(
                module.eval(),
                example,
                str(path),
                input_names=inputs,
                output_names=outputs,
                opset_version=OPSET,
                dynamic_axes=dynamic,
                dynamo=False,
            )
        model = onnx.load(str(path))
    names.give(model)
    return model
