"""Loss and word error rate on held-out cuts, by greedy decoding of the full forward."""

import contextlib
import logging
import math
from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import torch

from warmstart.data import cut_lines
from warmstart.data.targets import PLAIN, Targets
from warmstart.data.text import TextSettings, normalize
from warmstart.models.base import Recogniser
from warmstart.models.batches import Batch
from warmstart.run.errors import UserError
from warmstart.run.memory import is_out_of_memory
from warmstart.training import alignment
from warmstart.training.distributed import Ranks
from warmstart.training.unreadable import FEWEST_UNREADABLE, audio_file, described

logger = logging.getLogger(__name__)


class Validation:
    """Loss and greedy word error rate on held-out cuts, with the first context of the study.

    Args:
        recogniser: the model.
        held_out: manifests, each with the normaliser of its texts, that of the training text; None
            where the texts are normalised already.
        batch_duration_s: audio in a batch.
        max_unreadable_fraction: of the held-out cuts.
        targets: what the model writes of the texts; of phones the rates are of phones' words.

    Attributes:
        unreadable: held-out cuts of which the audio cannot be read, of all processes.
    """

    def __init__(
        self,
        recogniser: Recogniser,
        held_out: Sequence[tuple[Path, TextSettings | None]],
        batch_duration_s: float,
        max_unreadable_fraction: float = 1.0,
        targets: Targets = PLAIN,
    ):
        self._recogniser, self._held_out = recogniser, held_out
        self._batch_duration_s = batch_duration_s
        self._limit, self._targets = max_unreadable_fraction, targets
        self._batches: list[tuple[list[str], Batch, Any]] | None = None
        self.unreadable = 0

    def __call__(
        self, ranks: Ranks | None = None, broken_off: Callable[[], int] | None = None
    ) -> dict[str, float]:
        """Evaluate; the model is in training mode again afterwards. Several processes share the
        batches.

        Args:
            ranks: which process this is, of how many; None = the only one.
            broken_off: asked before each batch; true = stop here.

        Returns:
            `dev_loss` (mean over the utterances that the loss can align; NaN where there is none),
            `dev_wer` (fraction, summed errors over summed words), `dev_empty` (fraction of the
            utterances with words of which nothing was recognised); nothing when broken off.

        Raises:
            UserError: too many held-out cuts cannot be read, or a batch does not fit the memory.
        """
        import jiwer

        ranks = ranks or Ranks()
        model = self._recogniser.lightning
        was_training = model.training
        model.eval()
        references, hypotheses, loss, count = [], [], 0.0, 0
        with torch.no_grad():
            for texts, batch, longest in self.batches(ranks):
                if broken_off is not None and broken_off():
                    model.train(was_training)
                    return {}
                with _explaining(longest, len(texts)):
                    value, found = self._recogniser.evaluate(batch.to(model.device))
                aligned = alignment.aligned(self._recogniser, batch)
                weight = len(texts) if aligned is None else aligned
                loss, count = loss + value * weight, count + weight
                hypotheses += found
                references += texts
        model.train(was_training)
        kept = [
            (reference, hypothesis)
            for reference, hypothesis in zip(references, hypotheses, strict=True)
            if reference
        ]
        errors = words = 0
        empty = sum(not hypothesis.strip() for _, hypothesis in kept)
        if kept:
            counted = jiwer.process_words([one for one, _ in kept], [other for _, other in kept])
            errors = counted.substitutions + counted.deletions + counted.insertions
            words = counted.hits + counted.substitutions + counted.deletions
        loss, count, errors, words, empty, spoken = ranks.sum(
            loss, count, errors, words, empty, len(kept)
        )
        return {
            "dev_loss": loss / count if count else math.nan,
            "dev_wer": errors / words if words else math.nan,
            "dev_empty": empty / spoken if spoken else math.nan,
        }

    def batches(self, ranks: Ranks) -> list[tuple[list[str], Batch, Any]]:
        """Reference texts, tensors and longest cut of the batches of one process, longest cuts
        first, made once."""
        if self._batches is None:
            from lhotse import CutSet
            from lhotse.dataset import DynamicCutSampler

            chosen = []
            for path, text in self._held_out:
                before = len(chosen)
                cuts: Any = CutSet.from_dicts(cut_lines.read(path))
                for cut in cuts:
                    if text is not None:
                        cut.supervisions[0].text = normalize(cut.supervisions[0].text, text)
                    cut = self._targets.of_cut(cut)
                    chosen.append(cut.resample(self._recogniser.sample_rate))
                if len(chosen) == before:
                    raise UserError(f"{path}: no cuts to validate on")
            dataset = self._recogniser.dataset()
            ordered = CutSet.from_cuts(sorted(chosen, key=lambda cut: -cut.duration))
            sampler = DynamicCutSampler(ordered, max_duration=self._batch_duration_s, shuffle=False)
            self._batches = []
            lost: list[str] = []
            for cuts in islice(sampler, ranks.rank, None, ranks.world):
                batch, heard = dataset.hear(cuts)
                each = list(zip(cuts, heard, strict=True))
                lost += [audio_file(cut) for cut, one in each if not one]
                texts = [cut.supervisions[0].text or "" for cut, one in each if one]
                if texts:
                    longest = max(cuts, key=lambda cut: cut.duration)
                    self._batches.append((texts, batch, longest))
            self._require_readable([name for part in ranks.gather(lost) for name in part], chosen)
        return self._batches

    def _require_readable(self, lost: list[str], asked: list[Any]) -> None:
        """Count what cannot be read.

        Raises:
            UserError: too much, or all.
        """
        self.unreadable = len(lost)
        if not lost:
            return
        manifests = ", ".join(str(path) for path, _ in self._held_out)
        said = f"{len(lost)} of {len(asked)} validation cuts of {manifests} cannot be read"
        too_many = len(lost) >= FEWEST_UNREADABLE and len(lost) > self._limit * len(asked)
        if too_many or len(lost) == len(asked):
            raise UserError(
                f"{said}, more than training.max_unreadable_fraction = {self._limit:g}; first: "
                f"{described(lost)}. Bring the files back, or mount their disk: then the same "
                "command goes on from the last checkpoint"
            )
        logger.warning("%s and are left out; first: %s", said, described(lost))


@contextlib.contextmanager
def _explaining(longest: Any, count: int) -> Iterator[None]:
    """Name the held-out cut with which a batch is too large for the memory."""
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        if not is_out_of_memory(error):
            raise
        raise UserError(
            f"out of memory in the validation: {count} cuts, each padded to {longest.duration:.1f} "
            f"s as {longest.id} is; take it out of the validation split, lower "
            "training.batch_duration_s, or raise resources.train_mem_mb"
        ) from error
