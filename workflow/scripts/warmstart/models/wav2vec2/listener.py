"""What an encoder of this family makes of speech, without any head."""

from collections.abc import Sequence
from typing import Any

import numpy
import torch

from warmstart.models.base import Listener
from warmstart.models.wav2vec2.architectures.base import SAMPLE_RATE
from warmstart.models.wav2vec2.network import Network


class EncoderListener(Listener):
    """An encoder without any head.

    Args:
        encoder: of transformers, in eval mode.
        config: of it, see `settings.read`.
    """

    sample_rate = SAMPLE_RATE

    def __init__(self, encoder: torch.nn.Module, config: dict[str, Any]):
        self._network = Network(encoder, config, 1, 0).eval()

    @torch.inference_mode()
    def mean_states(self, waveforms: Sequence[numpy.ndarray]) -> numpy.ndarray:
        """Of the frames that an utterance has."""
        device = self._network.device
        lengths = torch.tensor([len(samples) for samples in waveforms]).to(device)
        audio = torch.nn.utils.rnn.pad_sequence(
            [torch.from_numpy(numpy.asarray(samples, numpy.float32)) for samples in waveforms],
            batch_first=True,
        ).to(device)
        states, frames = self._network.states(audio, lengths)
        inside = torch.arange(states.shape[1], device=device) < frames[:, None]
        sums = states.double().where(inside[:, :, None], 0.0).sum(1)
        return (sums / frames[:, None]).float().cpu().numpy()
