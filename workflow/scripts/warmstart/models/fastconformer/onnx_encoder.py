"""An exported encoder, computed by ONNX Runtime one chunk a step."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from warmstart.models.tier import Tier
from warmstart.run.errors import UserError

if TYPE_CHECKING:
    import torch


class OnnxEncoder:
    """A native-step export (`onnx_export.export`) in ONNX Runtime on the CPU: one chunk a step, as
    it ships.

    Raises:
        UserError: on construction: no such file, not loadable, made of another model or for another
            tier.
    """

    def __init__(
        self, path: str | Path, tier: Tier, model_sha256: str | None = None, threads: int = 1
    ):
        import onnxruntime

        from warmstart.models import onnx_file

        if not Path(path).is_file():
            raise UserError(f"{path}: no such encoder; make it with quantize.py")
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        options.log_severity_level = 3
        try:
            self._session = onnxruntime.InferenceSession(
                str(path), options, providers=["CPUExecutionProvider"]
            )
        # ONNX Runtime raises a dozen classes of its own, opset and graph errors among them.
        except Exception as error:
            raise UserError(
                f"{path}: ONNX Runtime {onnxruntime.__version__} cannot load it ({error}); run "
                "quantize.py again"
            ) from error
        metadata = self._session.get_modelmeta().custom_metadata_map
        if metadata.get("warmstart_form") != "native":
            raise UserError(
                f"{path}: not a native-step export of this workflow; make it with quantize.py"
            )
        if (made_for := json.loads(metadata["warmstart_context"])) != tier.context:
            raise UserError(
                f"{path}: made for context {made_for}, tier {tier.name} is {tier.context}; "
                "quantise for this tier"
            )
        if model_sha256 and metadata["warmstart_model_sha256"] != model_sha256:
            raise UserError(
                f"{path}: made of a model with sha256 {metadata['warmstart_model_sha256'][:12]}…,"
                f" --model has {model_sha256[:12]}…; run quantize.py again"
            )
        onnx_file.require_data(path, metadata)
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
