"""Finding out how many utterances of each length bucket fit a GPU: by a forward and a backward pass
each time."""

import bisect
import contextlib
import itertools
import logging
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import torch
from lhotse import CutSet

from warmstart.data import cut_lines, mixing
from warmstart.data.targets import PLAIN, Targets
from warmstart.models.base import Recogniser
from warmstart.models.recipe import Recipe
from warmstart.run.errors import UserError
from warmstart.run.memory import is_out_of_memory
from warmstart.training import batch_profile, buckets, fine_tune, loop, memory
from warmstart.training.batch_profile import Profile, device_name, largest_count, mean_seconds
from warmstart.training.distributed import Ranks
from warmstart.training.job import Job

logger = logging.getLogger(__name__)

# Of the GPU's memory that a trial may take: batches of other shapes leave holes between them, and a
# count that fits to the last byte may not fit in the middle of a run. Ours.
MEMORY_SHARE = 0.9
# Of audio that is tried in a batch: an hour, which no GPU of today holds. Ours.
MOST_SECONDS = 3600.0


def profile(job: Job) -> None:
    """Write the profile of a job's model, data and settings under its output.

    Raises:
        UserError: see `measure`, or a donor that does not fit.
    """
    start = fine_tune.begin(job, fine_tune.Length(mixing.totals(job.train_cuts), steps=1))
    made = measure(
        start.recogniser,
        start.architecture,
        job.train_cuts,
        job.settings,
        job.run_dir,
        start.adaptation.callbacks(start.recogniser),
        job.targets,
    )
    made.write(job.output)
    logger.info(
        "%s: %d buckets, %d to %d utterances, %.0f s a batch",
        *(job.output, len(made.counts), min(made.counts), max(made.counts), made.seconds),
    )


def measure(
    recogniser: Recogniser,
    model: str,
    cuts_path: Path,
    settings: Recipe,
    work_dir: Path,
    callbacks: Sequence[pl.Callback] = (),
    targets: Targets = PLAIN,
) -> Profile:
    """Profile a model with its adaptation on this device.

    Args:
        recogniser: as it will be trained.
        model: digest of it without the adaptation (`batch_profile.model_digest`).
        cuts_path: the largest training set that is trained on.
        settings: block `training`.
        work_dir: Lightning's.
        callbacks: of the adaptation.
        targets: what is learnt of the cuts' texts.

    Raises:
        UserError: not one utterance of the longest bucket fits; with the keys to lower.
    """
    longest_s, tokens = of_data(cuts_path, recogniser, settings, targets)
    # Where a CPU has no room its process is killed: there a batch is no longer than without.
    seconds = MOST_SECONDS if torch.cuda.is_available() else settings["batch_duration_s"]
    [cut] = CutSet.from_dicts([next(cut_lines.read(cuts_path))])
    search = Search(recogniser, longest_s, tokens, seconds, cut)
    trainer = loop.trainer_of(settings, 1, Ranks(), work_dir, recogniser, [search, *callbacks])
    loader = torch.utils.data.DataLoader(
        [recogniser.dataset().noise(1, recogniser.sample_rate, 1, cut)],  # type: ignore[arg-type]
        batch_size=None,
    )
    recogniser.before_fit(trainer, loader)
    with contextlib.suppress(Found):
        trainer.fit(recogniser.lightning, loader)
    memory_gb = 0.0
    if torch.cuda.is_available():
        memory_gb = round(torch.cuda.get_device_properties(0).total_memory / 1e9, 1)
    rising = buckets.lengths(cuts_path, settings["speed_perturb"])
    return Profile(
        device=device_name(),
        memory_gb=memory_gb,
        model=model,
        settings=batch_profile.relevant(settings),
        longest_s=longest_s,
        tokens=tokens,
        counts=search.counts,
        seconds=round(mean_seconds(rising, longest_s, search.counts), 3),
    )


class Found(Exception):
    """Ends a training before its first step."""


class Search(pl.Callback):
    """Finds the counts of all buckets before step 1 and ends the training there.

    Runs inside Lightning's loop, because precision, device and optimizer are then those of a run.

    Args:
        recogniser: as it will be trained.
        longest_s: of each bucket, s, rising.
        tokens: of each bucket, in its longest text.
        most_seconds: of audio, padding included, in a batch that is tried.
        cut: in the language of the trials, of models that ask for it.

    Attributes:
        counts: of each bucket, after the training.
    """

    def __init__(
        self,
        recogniser: Recogniser,
        longest_s: Sequence[float],
        tokens: Sequence[int],
        most_seconds: float,
        cut: Any = None,
    ):
        self._recogniser, self._longest_s, self._tokens = recogniser, longest_s, tokens
        self._most_seconds, self._cut = most_seconds, cut
        self._dataset = recogniser.dataset()
        self.counts: list[int] = []

    def on_train_start(self, trainer: pl.Trainer, pl_module: Any) -> None:
        """Search, from the longest bucket on.

        Raises:
            UserError: not one utterance of the longest fits; with the keys to lower.
        """
        counts: list[int] = []
        with _share_of_memory():
            for length_s, tokens in reversed(list(zip(self._longest_s, self._tokens, strict=True))):
                # Memory grows at least with length, so that a shorter bucket takes no fewer.
                guess = counts[-1] if counts else 1
                found = largest_count(
                    lambda count, length_s=length_s, tokens=tokens: self._fits(
                        trainer, pl_module, count, length_s, tokens
                    ),
                    guess,
                    max(1, int(self._most_seconds / length_s)),
                )
                if not found:
                    raise UserError(
                        f"one utterance of {length_s:.1f} s with {tokens} tokens does not fit "
                        f"{device_name()} in a training step; lower filters.max_duration_s, or "
                        "training.joint_mb where the model is a transducer, take "
                        "training.precision bf16-true, or a larger GPU"
                    )
                logger.info("%d utterances of at most %.1f s fit", found, length_s)
                counts.append(found)
        self.counts = counts[::-1]
        raise Found

    def _fits(
        self, trainer: pl.Trainer, module: Any, count: int, length_s: float, tokens: int
    ) -> bool:
        samples = round(length_s * self._recogniser.sample_rate)
        batch, fitted = self._dataset.noise(count, samples, tokens, self._cut), True
        try:
            memory.try_step(trainer, module, batch)
        except (MemoryError, RuntimeError) as error:
            if not is_out_of_memory(error):
                raise
            fitted = False
        # Only now: until the exception is gone it holds the tensors of the step.
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
        return fitted


@contextlib.contextmanager
def _share_of_memory() -> Iterator[None]:
    """Let trials take `MEMORY_SHARE` of a GPU."""
    if torch.cuda.is_available():
        torch.cuda.set_per_process_memory_fraction(MEMORY_SHARE)
    try:
        yield
    finally:
        if torch.cuda.is_available():
            torch.cuda.set_per_process_memory_fraction(1.0)


def of_data(
    cuts_path: Path, recogniser: Recogniser, settings: Recipe, targets: Targets = PLAIN
) -> tuple[list[float], list[int]]:
    """Of each bucket, the longest utterance that it takes, s, rising, and the tokens of the longest
    text in it or in a shorter one.

    Args:
        cuts_path: the largest training set that the profile is for.
        recogniser: whose tokens.
        settings: block `training`.
        targets: what is learnt of the cuts' texts.
    """
    longest = buckets.lengths(cuts_path, settings["speed_perturb"])[-1]
    inner = [bound for bound in buckets.inner_bounds(cuts_path, settings) if bound < longest]
    longest_s, slowest = [*inner, longest], min(settings["speed_perturb"] or [1.0])
    tokens = [1] * len(longest_s)
    for cut in cut_lines.read(cuts_path):
        lang = mixing.language(cut)
        text = targets.of(cut_lines.supervision(cut).get("text") or "", lang)
        place = bisect.bisect_left(longest_s, cut_lines.duration_s(cut) / slowest)
        place = min(place, len(longest_s) - 1)
        tokens[place] = max(tokens[place], len(recogniser.tokens_of(text, lang)))
    return longest_s, list(itertools.accumulate(tokens, max))
