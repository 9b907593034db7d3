"""Encoder and head as one ONNX graph of whole utterances.

Three forms share their packed weights:

- whole: a padded batch of `Encoding.inputs`. Padding has no influence, as in `network`: an
  utterance has the scores that it has alone. For `onnx_network`.
- sherpa: the samples of one utterance as sherpa-onnx's model type for Omnilingual ASR gives them,
  which scales them first.
- waveform: the samples of one utterance as they are.

The last two compute what the encoder is given too (`Encoding.in_graph`). Of a network with a head a
language the graph ends in the states of the encoder, and a head is a graph of its own
(`export_head`).
"""

from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import Tensor, nn

from warmstart.models.onnx_trace import traced
from warmstart.models.pointwise import as_products
from warmstart.models.wav2vec2.architectures.base import SAMPLE_RATE
from warmstart.models.wav2vec2.network import Network

if TYPE_CHECKING:
    import onnx


INPUTS = ["inputs", "lengths"]


class Identifier(NamedTuple):
    """What tells the language of an utterance from the mean of its states: the one with the largest
    score.

    Attributes:
        coefficients: (K, D), a row a language.
        intercepts: (K,).
    """

    coefficients: Tensor
    intercepts: Tensor


def outputs(network: Network) -> list[str]:
    """Of the form `whole`."""
    return ["states" if network.languages else "scores", "frames"]


def form(network: Network) -> str:
    """`base.EncoderGraph.form` of the form `whole`."""
    return "states" if network.languages else "whole"


def constants(network: Network) -> dict[str, str]:
    """Parameters of a network that are no weight of its graph, and why."""
    found = {
        name: why
        for name, _ in network.named_parameters()
        for ending, why in network.encoding.constants.items()
        if name.endswith(ending)
    }
    if network.languages:
        heads = network.head.named_parameters(prefix="head")
        found |= {name: "of a head, which is float32 behind the graph" for name, _ in heads}
    return found


def export(network: Network) -> "onnx.ModelProto":
    """The form `whole`, of a network on the CPU in eval mode.

    `inputs` (B, N, ...) and `lengths` (B,) int64 are those of `Network.forward` when prepared, N of
    the longest utterance. `scores` (B, F, V + 1) are log-probabilities, of which utterance b has
    the first `frames[b]`; of a network with a head a language `states` (B, F, D).
    """
    lengths = torch.tensor([SAMPLE_RATE, SAMPLE_RATE // 2])
    example = network.encoding.inputs(torch.randn(2, SAMPLE_RATE), lengths)
    made = outputs(network)
    dynamic = {
        "inputs": {0: "batch", 1: "units"},
        "lengths": {0: "batch"},
        made[0]: {0: "batch", 1: "frames"},
        "frames": {0: "batch"},
    }
    return _traced(_Whole(network), network, example, INPUTS, made, dynamic)


def export_waveform(
    network: Network, scaled: bool, identifier: Identifier | None = None
) -> "onnx.ModelProto":
    """Of one utterance, `x` (1, T) samples to `logits` (1, F, V + 1), which are log-probabilities.

    Of a network with a head a language to `states` (1, F, D), and with an identifier to `language`
    (1, K), scores of the languages, too.

    Args:
        network: on the CPU in eval mode.
        scaled: whether sherpa-onnx scales the samples first, see `Encoding.hears_scaled`.
        identifier: of networks with a head a language.
    """
    made = ["states" if network.languages else "logits"]
    dynamic = {"x": {0: "N", 1: "num_samples"}, made[0]: {0: "N", 1: "num_frames"}}
    if identifier is not None:
        made.append("language")
    example = (torch.randn(1, SAMPLE_RATE),)
    module = _Waveform(network, scaled, identifier)
    return _traced(module, network, example, ["x"], made, dynamic)


def export_head(network: Network, lang: str) -> "onnx.ModelProto":
    """`states` (1, F, D) to `logits` (1, F, V + 1), which are log-probabilities, of the head of a
    language."""
    dynamic = {name: {0: "N", 1: "num_frames"} for name in ("states", "logits")}
    example = (torch.randn(1, 50, network.head_of(lang).in_features),)
    return _traced(_Head(network, lang), network, example, ["states"], ["logits"], dynamic)


class _Whole(nn.Module):
    def __init__(self, network: Network):
        super().__init__()
        self.network = network

    def forward(self, inputs: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        if self.network.languages:
            return self.network.states(inputs, lengths, prepared=True)
        return self.network(inputs, lengths, prepared=True)


class _Waveform(nn.Module):
    def __init__(self, network: Network, scaled: bool, identifier: Identifier | None):
        super().__init__()
        self.network, self.scaled, self.identifier = network, scaled, identifier

    def forward(self, x: Tensor) -> Any:
        inputs, units = self.network.encoding.in_graph(x, self.scaled)
        if not self.network.languages:
            return self.network(inputs, units, prepared=True)[0]
        states, _ = self.network.states(inputs, units, prepared=True)
        if self.identifier is None:
            return states
        # No product with a matrix, because such ones are quantised.
        by_row = states.mean(1)[:, None] * self.identifier.coefficients
        return states, by_row.sum(-1) + self.identifier.intercepts


class _Head(nn.Module):
    def __init__(self, network: Network, lang: str):
        super().__init__()
        self.network, self.lang = network, lang

    def forward(self, states: Tensor) -> Tensor:
        return self.network.scores(states, self.lang)


def _traced(
    module: nn.Module,
    network: Network,
    example: tuple[Tensor, ...],
    inputs: list[str],
    outputs: list[str],
    dynamic: dict[str, Any],
) -> "onnx.ModelProto":
    linears = {name: part for name, part in network.named_modules() if isinstance(part, nn.Linear)}
    with as_products(network) as products:
        return traced(module, linears | products, example, inputs, outputs, dynamic)
