"""Cuts as tensors: the batches of training and validation, for every family that reads waveforms
and tokens."""

import logging
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import torch
from lhotse import CutSet
from lhotse.dataset.collation import collate_vectors
from lhotse.dataset.input_strategies import AudioSamples
from torch import Tensor

from warmstart.data import mixing
from warmstart.run.errors import UserError

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


class LanguageBatch(NamedTuple):
    """A `Batch` of models with a head a language.

    Not a `Batch` with one more entry, because NeMo's models take a batch apart into four.

    Attributes:
        audio, audio_len, tokens, token_len: as of `Batch`; the tokens of an utterance are those of
            its language's head.
        language: (B,) which head, counted in the order of `LanguageDataset`.
    """

    audio: Tensor
    audio_len: Tensor
    tokens: Tensor
    token_len: Tensor
    language: Tensor

    def to(self, device: torch.device | str) -> "LanguageBatch":
        """The same on a device."""
        return LanguageBatch(*(part.to(device) for part in self))


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
        tokens = [torch.tensor(self._tokens(cut), dtype=torch.int64) for cut in kept]
        return self._batch(audio, audio_len, tokens, kept), [cut.id in heard for cut in cuts]

    def noise(self, count: int, samples: int, tokens: int, cut: Any = None) -> Any:
        """A batch of noise for trials of memory: what the data set would make of so many utterances
        of one length.

        Args:
            count: of utterances.
            samples: of each.
            tokens: of each text, at least 1.
            cut: whose language is spoken; of models that ask for it.
        """
        audio = 0.1 * torch.randn(count, samples)
        # Texts without equal neighbours need the fewest frames of a CTC loss.
        text = 1 + torch.arange(tokens) % 8
        return self._batch(audio, torch.full((count,), samples), [text] * count, [cut] * count)

    def _tokens(self, cut: Any) -> list[int]:
        """Of a cut's text."""
        return self._encode(cut.supervisions[0].text or "")

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
        tokens = self._tokens(shortest)[:1] or [0]
        samples = torch.tensor([shortest.num_samples])
        return self._batch(
            torch.zeros(1, int(samples)), samples, [torch.tensor(tokens)], [shortest]
        )

    def _batch(self, audio: Tensor, audio_len: Tensor, tokens: list[Tensor], cuts: Any) -> Any:
        token_len = torch.tensor([len(row) for row in tokens], dtype=torch.int64)
        return Batch(audio, audio_len, collate_vectors(tokens, padding_value=0), token_len)


class LanguageDataset(SpeechDataset):
    """Lhotse cuts -> `LanguageBatch`: each text in the tokens of its language.

    Args:
        encoders: language -> normalised text to token ids.
    """

    def __init__(self, encoders: Mapping[str, Callable[[str], list[int]]]):
        super().__init__(lambda text: [])
        self._encoders = dict(encoders)
        self._places = {lang: place for place, lang in enumerate(encoders)}

    def _tokens(self, cut: Any) -> list[int]:
        return self._encoders[self._language(cut)](cut.supervisions[0].text or "")

    def _batch(self, audio: Tensor, audio_len: Tensor, tokens: list[Tensor], cuts: Any) -> Any:
        places = [self._places[self._language(cut)] for cut in cuts]
        made: Batch = super()._batch(audio, audio_len, tokens, cuts)
        return LanguageBatch(*made, language=torch.tensor(places))

    def _language(self, cut: Any) -> str:
        """Of a cut.

        Raises:
            UserError: there is no head for it.
        """
        lang = mixing.replayed_language(cut) or cut.supervisions[0].language
        if lang not in self._places:
            raise UserError(
                f"cut {cut.id} is of language {lang}, and the model has heads for "
                f"{', '.join(self._places)}; state its language in the manifest, or add it to the "
                "training set"
            )
        return lang


def _can_be_read(cut: Any) -> bool:
    try:
        cut.load_audio()
    except Exception as error:  # whatever audio backends and file systems raise
        logger.warning("cut %s cannot be read: %s", cut.id, error)
        return False
    return True
