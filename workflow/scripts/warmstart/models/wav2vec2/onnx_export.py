"""Encoder and head as one ONNX graph of whole utterances.

Three forms share their packed weights:

- whole: a padded batch of `Encoding.inputs`. Padding has no influence, as in `network`: an
  utterance has the scores that it has alone. For `onnx_network`.
- sherpa: the samples of one utterance as sherpa-onnx's model type for Omnilingual ASR gives them,
  which scales them first.
- waveform: the samples of one utterance as they are.

The last two compute what the encoder is given too (`Encoding.in_graph`).
"""

import tempfile
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from warmstart.models.onnx_names import ProductNames
from warmstart.models.pointwise import as_products
from warmstart.models.wav2vec2.architectures.base import SAMPLE_RATE
from warmstart.models.wav2vec2.network import Network

if TYPE_CHECKING:
    import onnx

OPSET = 17

INPUTS, OUTPUTS = ["inputs", "lengths"], ["scores", "frames"]


def constants(network: Network) -> dict[str, str]:
    """Parameters of a network that are no weight of its graph, and why."""
    return {
        name: why
        for name, _ in network.named_parameters()
        for ending, why in network.encoding.constants.items()
        if name.endswith(ending)
    }


def export(network: Network) -> "onnx.ModelProto":
    """The form `whole`, of a network on the CPU in eval mode.

    `inputs` (B, N, ...) and `lengths` (B,) int64 are those of `Network.forward` when prepared, N of
    the longest utterance. `scores` (B, F, V + 1) are log-probabilities, of which utterance b has
    the first `frames[b]`.
    """
    lengths = torch.tensor([SAMPLE_RATE, SAMPLE_RATE // 2])
    example = network.encoding.inputs(torch.randn(2, SAMPLE_RATE), lengths)
    dynamic = {
        "inputs": {0: "batch", 1: "units"},
        "lengths": {0: "batch"},
        "scores": {0: "batch", 1: "frames"},
        "frames": {0: "batch"},
    }
    return _traced(_Whole(network), network, example, INPUTS, OUTPUTS, dynamic)


def export_waveform(network: Network) -> "onnx.ModelProto":
    """The form `Encoding.waveform_form`: `x` (1, T) samples of one utterance to `logits`
    (1, F, V + 1), which are log-probabilities."""
    dynamic = {"x": {0: "N", 1: "num_samples"}, "logits": {0: "N", 1: "num_frames"}}
    example = (torch.randn(1, SAMPLE_RATE),)
    return _traced(_Waveform(network), network, example, ["x"], ["logits"], dynamic)


class _Whole(nn.Module):
    def __init__(self, network: Network):
        super().__init__()
        self.network = network

    def forward(self, inputs: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        return self.network(inputs, lengths, prepared=True)


class _Waveform(nn.Module):
    def __init__(self, network: Network):
        super().__init__()
        self.network = network

    def forward(self, x: Tensor) -> Tensor:
        inputs, units = self.network.encoding.in_graph(x)
        return self.network(inputs, units, prepared=True)[0]


def _traced(
    module: nn.Module,
    network: Network,
    example: tuple[Tensor, ...],
    inputs: list[str],
    outputs: list[str],
    dynamic: dict[str, Any],
) -> "onnx.ModelProto":
    import onnx

    linears = {name: part for name, part in network.named_modules() if isinstance(part, nn.Linear)}
    with (
        torch.no_grad(),
        tempfile.TemporaryDirectory() as folder,
        warnings.catch_warnings(),
        as_products(network) as products,
    ):
        # Of sizes that a trace takes for constants. Tests hold the graph to PyTorch at others.
        warnings.simplefilter("ignore")
        path = Path(folder) / "model.onnx"
        with ProductNames(linears | products) as names:
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
