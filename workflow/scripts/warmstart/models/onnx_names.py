"""Names of the matrix products of a traced graph: those of the modules that hold their weights."""

from typing import TYPE_CHECKING

from warmstart.models.onnx_file import weight_products

if TYPE_CHECKING:
    import onnx
    import torch


class ProductNames:
    """Which matrices a trace multiplies with, in order: torch's exporter names nodes by calls, not
    by modules.

    Args:
        linears: by name, all that the trace may call.
    """

    def __init__(self, linears: dict[str, "torch.nn.Linear"]):
        self._linears = linears
        self.called: list[str] = []

    def __enter__(self) -> "ProductNames":
        self._hooks = [
            linear.register_forward_pre_hook(lambda *_, name=name: self.called.append(name))
            for name, linear in self._linears.items()
        ]
        return self

    def __exit__(self, *_) -> None:
        for hook in self._hooks:
            hook.remove()

    def give(self, model: "onnx.ModelProto") -> None:
        """Name every product with a matrix by its module.

        Raises:
            RuntimeError: the exporter has left out or moved one.
        """
        import numpy
        from onnx import numpy_helper

        tensors = {tensor.name: tensor for tensor in model.graph.initializer}
        products = [
            node for node in weight_products(model) if len(tensors[node.input[1]].dims) == 2
        ]
        if len(products) != len(self.called):
            raise RuntimeError(
                f"{len(self.called)} matrices were multiplied with, {len(products)} are in the "
                "graph"
            )
        for node, name in zip(products, self.called, strict=True):
            weight = self._linears[name].weight.detach().cpu().numpy()
            if not numpy.array_equal(numpy_helper.to_array(tensors[node.input[1]]), weight.T):
                raise RuntimeError(
                    f"node {node.name} of the graph does not hold the weight of {name}"
                )
            node.name = f"{name}/{node.op_type}"
