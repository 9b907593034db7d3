"""Pointwise convolutions as matrix products, which is what can be quantised (`MatMulNBits`)."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from torch import Tensor, nn


def as_linear(convolution: nn.Conv1d) -> nn.Linear:
    """A pointwise convolution as a matrix product over channels, with the same memory."""
    linear: Any = nn.utils.skip_init(
        nn.Linear, convolution.in_channels, convolution.out_channels, bias=False
    )
    linear.weight = nn.Parameter(convolution.weight.detach()[:, :, 0], requires_grad=False)
    if convolution.bias is not None:
        linear.bias = nn.Parameter(convolution.bias.detach(), requires_grad=False)
    return linear


class _Product(nn.Module):
    """In the place of a pointwise convolution."""

    def __init__(self, convolution: nn.Conv1d):
        super().__init__()
        self.linear = as_linear(convolution)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, T) to (B, C', T)."""
        return self.linear(x.transpose(1, 2)).transpose(1, 2)


@contextmanager
def as_products(module: nn.Module) -> Iterator[dict[str, nn.Linear]]:
    """Pointwise convolutions of a module compute as matrix products in the block.

    Yields:
        The linear layers in their place, by the names of the convolutions.
    """
    found = {
        name: part
        for name, part in module.named_modules()
        if isinstance(part, nn.Conv1d)
        and (part.kernel_size, part.stride, part.padding, part.groups) == ((1,), (1,), (0,), 1)
    }
    products = {name: _Product(convolution) for name, convolution in found.items()}
    try:
        for name, product in products.items():
            _put(module, name, product)
        yield {name: product.linear for name, product in products.items()}
    finally:
        for name, convolution in found.items():
            _put(module, name, convolution)


def _put(module: nn.Module, name: str, part: nn.Module) -> None:
    owner, _, last = name.rpartition(".")
    setattr(module.get_submodule(owner), last, part)
