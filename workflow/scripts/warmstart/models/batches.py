"""Cuts as tensors: the batches of training and validation, for every family that reads waveforms
and tokens."""

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from lhotse import CutSet
from lhotse.dataset.collation import collate_vectors
from lhotse.dataset.input_strategies import AudioSamples
from torch import Tensor


class Batch(NamedTuple):
    """Utterances padded to the longest.

    Attributes:
        audio: (B, T) samples, zero behind the end.
        audio_len: (B,) samples.
        tokens: (B, U) ids, zero behind the end.
        token_len: (B,) tokens.
    """

    audio: Tensor
    audio_len: Tensor
    tokens: Tensor
    token_len: Tensor

    def to(self, device: torch.device | str) -> "Batch":
        """The same on a device."""
        return Batch(*(part.to(device) for part in self))


class SpeechDataset(torch.utils.data.Dataset):
    """Lhotse cuts -> `Batch`. Cuts whose audio cannot be read are left out, and counted by the
    recorder.

    Args:
        encode: normalised text -> token ids.
    """

    def __init__(self, encode: Callable[[str], list[int]]):
        super().__init__()
        self._encode = encode
        self._load = AudioSamples(fault_tolerant=True)

    def __getitem__(self, cuts: CutSet) -> Batch:
        return self.read(cuts)[0]

    def read(self, cuts: CutSet) -> tuple[Batch, list[str]]:
        """A batch, and the texts of those cuts that are in it."""
        loaded: Any = self._load(cuts)
        audio, audio_len, kept = loaded
        texts = [cut.supervisions[0].text or "" for cut in kept]
        tokens = [torch.tensor(self._encode(text), dtype=torch.int64) for text in texts]
        token_len = torch.tensor([len(row) for row in tokens], dtype=torch.int64)
        return Batch(audio, audio_len, collate_vectors(tokens, padding_value=0), token_len), texts
