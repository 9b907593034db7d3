"""An exported encoder, computed by ONNX Runtime one chunk a step."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from warmstart.models.onnx_session import open_session
from warmstart.models.tier import Tier

if TYPE_CHECKING:
    import torch


class OnnxEncoder:
    """A native-step export (`onnx_export.export`) in ONNX Runtime on the CPU: one chunk a step, as
    it ships.

    Raises:
        UserError: on construction, see `open_session`.
    """

    def __init__(
        self, path: str | Path, tier: Tier, model_sha256: str | None = None, threads: int = 1
    ):
        self._session = open_session(path, "native", tier, model_sha256, threads)
        self._inputs = [value.name for value in self._session.get_inputs()]
        self._cache_shapes = [value.shape[1:] for value in self._session.get_inputs()[2:4]]

    def start(self, batch: int) -> Any:
        """Zero caches, batch first: (B, 2 layers, heads x left, D / heads), (B, layers, D, kernel -
        1), lengths (B,)."""
        import numpy

        channel, convolution = (
            numpy.zeros((batch, *shape), dtype=numpy.float32) for shape in self._cache_shapes
        )
        return channel, convolution, numpy.zeros(batch, dtype=numpy.int64)

    def narrow(self, caches: Any, batch: int) -> Any:
        """Keep the first `batch` utterances."""
        return tuple(cache[:batch] for cache in caches)

    def step(
        self, chunk: "torch.Tensor", lengths: "torch.Tensor", dropped: int, caches: Any
    ) -> tuple["torch.Tensor", "torch.Tensor", Any]:
        """See `Encoder.step`; what is dropped is part of the graph."""
        import numpy
        import torch

        values = (numpy.ascontiguousarray(chunk.numpy()), lengths.numpy(), *caches)
        encoded, encoded_lengths, *following = self._session.run(
            None, dict(zip(self._inputs, values, strict=True))
        )
        return (
            torch.from_numpy(encoded).transpose(1, 2),
            torch.from_numpy(encoded_lengths),
            tuple(following),
        )
