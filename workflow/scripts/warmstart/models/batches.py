"""Cuts as tensors: the batches of training and validation, for every family that reads waveforms
and tokens."""

import logging
from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from lhotse import CutSet
from lhotse.dataset.collation import collate_vectors
from lhotse.dataset.input_strategies import AudioSamples
from torch import Tensor

logger = logging.getLogger(__name__)


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
    """Lhotse cuts -> `Batch`. Cuts whose audio cannot be read are left out, and told by `hear`.

    Args:
        encode: normalised text -> token ids.
    """

    def __init__(self, encode: Callable[[str], list[int]]):
        super().__init__()
        self._encode = encode
        self._load = AudioSamples(fault_tolerant=True)

    def __getitem__(self, cuts: CutSet) -> Batch:
        return self.hear(cuts)[0]

    def read(self, cuts: CutSet) -> tuple[Batch, list[str]]:
        """A batch, and the texts of those cuts that are in it; no texts where none can be read, and
        the batch is as in `hear` then."""
        batch, heard = self.hear(cuts)
        texts = [cut.supervisions[0].text or "" for cut in cuts]
        return batch, [text for text, one in zip(texts, heard, strict=True) if one]

    def hear(self, cuts: CutSet) -> tuple[Batch, list[bool]]:
        """A batch, and for each of the cuts whether it is in it.

        Of cuts of which none can be read one silent utterance is made, which stands in so that a
        step is a step; who trains on it must not learn from it.
        """
        loaded = self._loaded(cuts)
        if loaded is None:
            return self._silence(cuts), [False] * len(cuts)
        audio, audio_len, kept = loaded
        heard = {cut.id for cut in kept}
        tokens = [
            torch.tensor(self._encode(cut.supervisions[0].text or ""), dtype=torch.int64)
            for cut in kept
        ]
        return self._batch(audio, audio_len, tokens), [cut.id in heard for cut in cuts]

    def _loaded(self, cuts: CutSet) -> Any:
        """Samples, lengths and cuts of what can be read; None if nothing can."""
        try:
            return self._load(cuts)
        except Exception:
            # Lhotse has no batch of nothing, and leaves out what its audio backends raise and
            # nothing else, such as a file server's errors.
            readable = [cut for cut in cuts if _can_be_read(cut)]
            return self._load(CutSet.from_cuts(readable)) if readable else None

    def _silence(self, cuts: CutSet) -> Batch:
        shortest = min(cuts, key=lambda cut: cut.num_samples)
        tokens = self._encode(shortest.supervisions[0].text or "")[:1] or [0]
        samples = torch.tensor([shortest.num_samples])
        return self._batch(torch.zeros(1, int(samples)), samples, [torch.tensor(tokens)])

    @staticmethod
    def _batch(audio: Tensor, audio_len: Tensor, tokens: list[Tensor]) -> Batch:
        token_len = torch.tensor([len(row) for row in tokens], dtype=torch.int64)
        return Batch(audio, audio_len, collate_vectors(tokens, padding_value=0), token_len)


def _can_be_read(cut: Any) -> bool:
    try:
        cut.load_audio()
    except Exception as error:  # whatever audio backends and file systems raise
        logger.warning("cut %s cannot be read: %s", cut.id, error)
        return False
    return True
