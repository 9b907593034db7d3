"""An exported model, computed by ONNX Runtime; and how far it is from PyTorch."""

from pathlib import Path
from typing import Any

import numpy
import torch
from torch import Tensor

from warmstart.models import quantised_weights
from warmstart.models.onnx_session import open_session
from warmstart.models.tier import Tier
from warmstart.models.wav2vec2 import onnx_export
from warmstart.models.wav2vec2.architectures.base import SAMPLE_RATE
from warmstart.models.wav2vec2.network import Network

_PARITY_S = (3.0, 1.1, 2.3, 0.4)


class OnnxNetwork:
    """`onnx_export.export` in ONNX Runtime on the CPU, in the place of a `Network`.

    Args:
        path: `encoder.onnx` of `quantize.py`.
        tier, model_sha256, threads: see `open_session`.
        form: see `onnx_export.form`.

    Raises:
        UserError: see `open_session`.
    """

    def __init__(
        self,
        path: str | Path,
        tier: Tier,
        model_sha256: str | None = None,
        threads: int = 1,
        form: str = "whole",
    ):
        self._session = open_session(path, form, tier, model_sha256, threads)

    def __call__(self, inputs: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """As `Network.forward` of what is prepared: (B, N, ...) of the longest utterance, (B,) to
        log-probabilities (B, F, V + 1) and frames (B,); as `Network.states`, where it has a head a
        language."""
        given = dict(zip(onnx_export.INPUTS, (inputs.numpy(), lengths.numpy()), strict=True))
        found, frames = self._session.run(None, given)
        return torch.from_numpy(found), torch.from_numpy(frames)


def parity(network: Network, tier: Tier, path: str | Path) -> dict[str, Any]:
    """A file against PyTorch with its dequantised weights, over utterances of noise in one batch.

    Changes the weights of `network` to these.

    Returns:
        `max_abs`, the largest difference of two log-probabilities, of any head; `utterances`;
        `frames`, and `differing_frames`, those with another best label.
    """
    quantised_weights.load(network, path, any_activations=True)
    computed = OnnxNetwork(path, tier, form=onnx_export.form(network))
    random = numpy.random.default_rng(1)
    lengths = torch.tensor([round(seconds * SAMPLE_RATE) for seconds in _PARITY_S])
    audio = torch.zeros(len(lengths), int(lengths.max()))
    for row, count in zip(audio, lengths.tolist(), strict=True):
        # Louder at its start, so that means over the padded batch differ from those over each.
        noise = random.normal(size=count) * numpy.linspace(0.3, 0.02, count)
        row[:count] = torch.from_numpy(noise)
    with torch.inference_mode():
        inputs, units = network.encoding.inputs(audio, lengths)
        states, frames = network.states(inputs, units, prepared=True)
        found, _ = computed(inputs, units)
        pairs = [
            (network.scores(states, lang), network.scores(found, lang) if lang else found)
            for lang in network.languages or (None,)
        ]
    inside = torch.arange(states.shape[1]) < frames[:, None]
    differing = torch.zeros_like(inside)
    for expected, heard in pairs:
        differing |= (expected.argmax(-1) != heard.argmax(-1)) & inside
    return {
        "max_abs": max(float(((one - two).abs().amax(-1) * inside).max()) for one, two in pairs),
        "utterances": len(lengths),
        "frames": int(frames.sum()),
        "differing_frames": int(differing.sum()),
    }
