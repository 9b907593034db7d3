"""Loss and word error rate on held-out cuts, by greedy decoding of the full forward."""

import math
from collections.abc import Callable, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import torch

from warmstart.data import cut_lines
from warmstart.data.text import TextSettings, normalize
from warmstart.models.base import Recogniser
from warmstart.models.batches import Batch
from warmstart.run.errors import UserError
from warmstart.training.distributed import Ranks


class Validation:
    """Loss and greedy word error rate on held-out cuts, with the first context of the study.

    Args:
        recogniser: the model.
        held_out: manifests, each with the normaliser of its texts, that of the training text; None
            where the texts are normalised already.
        batch_duration_s: audio in a batch.
    """

    def __init__(
        self,
        recogniser: Recogniser,
        held_out: Sequence[tuple[Path, TextSettings | None]],
        batch_duration_s: float,
    ):
        self._recogniser, self._held_out = recogniser, held_out
        self._batch_duration_s = batch_duration_s
        self._batches: list[tuple[list[str], Batch]] | None = None

    def __call__(
        self, ranks: Ranks | None = None, broken_off: Callable[[], int] | None = None
    ) -> dict[str, float]:
        """Evaluate; the model is in training mode again afterwards. Several processes share the
        batches.

        Args:
            ranks: which process this is, of how many; None = the only one.
            broken_off: asked before each batch; true = stop here.

        Returns:
            `dev_loss` (mean over utterances), `dev_wer` (fraction, summed errors over summed
            words); nothing when broken off.
        """
        import jiwer

        ranks = ranks or Ranks()
        model = self._recogniser.lightning
        was_training = model.training
        model.eval()
        references, hypotheses, loss, count = [], [], 0.0, 0
        with torch.no_grad():
            for texts, batch in self.batches(ranks):
                if broken_off is not None and broken_off():
                    model.train(was_training)
                    return {}
                value, found = self._recogniser.evaluate(batch.to(model.device))
                loss, count = loss + value * len(texts), count + len(texts)
                hypotheses += found
                references += texts
        model.train(was_training)
        kept = [
            (reference, hypothesis)
            for reference, hypothesis in zip(references, hypotheses, strict=True)
            if reference
        ]
        errors = words = 0
        if kept:
            counted = jiwer.process_words([one for one, _ in kept], [other for _, other in kept])
            errors = counted.substitutions + counted.deletions + counted.insertions
            words = counted.hits + counted.substitutions + counted.deletions
        loss, count, errors, words = ranks.sum(loss, count, errors, words)
        return {"dev_loss": loss / max(count, 1), "dev_wer": errors / words if words else math.nan}

    def batches(self, ranks: Ranks) -> list[tuple[list[str], Batch]]:
        """Reference texts and tensors of the batches of one process, longest cuts first, made
        once."""
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
                    chosen.append(cut.resample(self._recogniser.sample_rate))
                if len(chosen) == before:
                    raise UserError(f"{path}: no cuts to validate on")
            dataset = self._recogniser.dataset()
            ordered = CutSet.from_cuts(sorted(chosen, key=lambda cut: -cut.duration))
            sampler = DynamicCutSampler(ordered, max_duration=self._batch_duration_s, shuffle=False)
            self._batches = []
            for cuts in islice(sampler, ranks.rank, None, ranks.world):
                batch, texts = dataset.read(cuts)
                self._batches.append((texts, batch))
        return self._batches
