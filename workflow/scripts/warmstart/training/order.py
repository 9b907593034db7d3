"""The order in which a run hears its cuts, and the random numbers of each step: from the data and
the seed alone."""

import hashlib
import math
import random
import time
from collections import OrderedDict
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
from lhotse import CutSet
from lhotse.dataset import DynamicBucketingSampler, DynamicCutSampler
from lhotse.dataset.sampling.base import CutSampler, TimeConstraint
from lhotse.dataset.sampling.dynamic_bucketing import FixedBucketBatchSizeConstraint

from warmstart.data import mixing
from warmstart.data.shar import Packed
from warmstart.data.targets import PLAIN, Targets
from warmstart.models.base import Recogniser
from warmstart.models.batches import Batch, SpeechDataset
from warmstart.models.recipe import Recipe
from warmstart.run.errors import Damaged, UserError
from warmstart.training import buckets
from warmstart.training.augment import Augmentation
from warmstart.training.batch_profile import Profile
from warmstart.training.distributed import Ranks
from warmstart.training.unreadable import audio_file

_PREFETCHED = 256  # batches that workers may be ahead of the step that is trained


_SHUFFLED = 10_000  # cuts among which the next one is drawn; part of what the order follows from


_WINDOW = 8  # batches per process among which those of a step are matched by length


def seed_step(seed: int, step: int, rank: int = 0) -> None:
    """Set all random generators to what process `rank` of a run of `seed` has at `step`."""

    def draw(key: str) -> int:
        return int.from_bytes(hashlib.sha256(key.encode()).digest()[:4], "big")

    # NeMo draws the attention context from `random`: the same in all processes, so that none waits
    # for a wider one.
    random.seed(draw(f"{seed} {step}"))
    drawn = draw(f"{seed} {step} {rank}" if rank else f"{seed} {step}")
    torch.manual_seed(drawn)
    np.random.seed(drawn)


class EndlessSampler(torch.utils.data.Sampler):
    """Batches of a Lhotse sampler without end: whole epochs, each with every cut once, from any
    position on.

    Several processes deal one stream among themselves, a batch each per step: every batch of an
    epoch falls to exactly one of them, none is repeated or dropped to make the numbers even
    (Lhotse's own ranks repeat cuts where an epoch ends), and a step may take the last batches of
    one epoch and the first of the next.

    Remembers which cuts are in the batches it gave out, so that hours and error messages name the
    batch that was trained.

    Attributes:
        waited_s: seconds that this process has waited for batches.

    Args:
        inner: Lhotse's sampler over all cuts, as for one process.
        augmentation: what is done to the cuts.
        ranks: which process this is, of how many; None = the only one.
        targets: what is learnt of the cuts' texts.
    """

    def __init__(
        self,
        inner: Any,
        augmentation: Augmentation,
        ranks: Ranks | None = None,
        targets: Targets = PLAIN,
    ):
        self._inner, self._augmentation, self._targets = inner, augmentation, targets
        self._rank, self._world = (ranks.rank, ranks.world) if ranks else (0, 1)
        augmentation.prepare(inner)
        self.start = (0, 0)  # epoch, batches of it to skip
        self.recent: OrderedDict[int, dict[str, Any]] = OrderedDict()
        self.first_step = 0
        self.waited_s = 0.0

    def __iter__(self) -> Iterator[Any]:
        step, dealt = self.first_step, 0
        for position, batch in self._from(*self.start):
            if dealt == self._rank:
                own, batch = batch, self._given(batch)
                self.recent[step] = {
                    "ids": [cut.id for cut in own],
                    "durations_s": [cut.duration for cut in own],
                    "budget_s": self._budget_s(own),
                    "replay_s": sum(cut.duration for cut in own if mixing.replayed_language(cut)),
                    "each_budget_s": [self._budget_s([cut]) for cut in own],
                    "files": [audio_file(cut) for cut in own],
                    "epoch_of_cuts": self._augmentation.epoch,
                }
                given = batch
            dealt += 1
            if dealt < self._world:
                continue
            # Where the stream stands after this step, for all processes the same.
            self.recent[step] |= position
            if len(self.recent) > _PREFETCHED:
                self.recent.popitem(last=False)
            step, dealt = step + 1, 0
            yield given

    def preview(self, count: int) -> Iterator[Any]:
        """The first batches of the first epoch. Of a sampler of its own: Lhotse's keeps its place
        in itself."""
        self._inner.set_epoch(0)
        self._augmentation.epoch = 0
        yield from map(self._given, islice(iter(self._inner), count))

    def _given(self, batch: Any) -> Any:
        """A batch as the model gets it. Not before: what a resumed run skips costs nothing."""
        if self._targets.phonemes:
            batch = CutSet.from_cuts(map(self._targets.of_cut, batch))
        return self._augmentation.with_noise(batch)

    def _from(self, epoch: int, skip: int) -> Iterator[tuple[dict[str, Any], Any]]:
        """(position: epoch, number of the batch in it from 1, seconds of the budget in it so far;
        batch)."""
        while True:
            self._inner.set_epoch(epoch)
            self._augmentation.epoch = epoch
            index, seconds = 0, 0.0
            for batch in self._matched(epoch):
                index += 1
                seconds += self._budget_s(batch)
                if index > skip:
                    yield {"epoch": epoch, "index": index, "epoch_s": seconds}, batch
            if index == 0:
                raise UserError(
                    "no batch can be made from the training cuts; raise training.batch_duration_s"
                )
            epoch, skip = epoch + 1, 0

    def tell(self, step: int, heard: list[bool]) -> None:
        """Note which cuts of a step could be read."""
        self.recent[step]["heard"] = heard

    def _budget_s(self, batch: Any) -> float:
        """Seconds of the budget: as recorded, not as sped up or slowed down, and without a replayed
        language."""
        return sum(
            cut.duration * self._augmentation.speed_of(cut.id)
            for cut in batch
            if not mixing.replayed_language(cut)
        )

    def _matched(self, epoch: int) -> Iterator[Any]:
        """An epoch in an order in which the batches of a step are of like length: the slowest
        process sets the pace."""
        if self._world == 1:
            yield from self._inner
            return
        # A generator, because Lhotse's sampler begins anew when it is asked once more after its
        # end.
        batches = (batch for batch in self._inner)
        order = random.Random(epoch)
        while window := list(islice(batches, _WINDOW * self._world)):
            window.sort(key=lambda batch: max(cut.duration for cut in batch))
            steps = [
                window[first : first + self._world] for first in range(0, len(window), self._world)
            ]
            order.shuffle(steps)
            for step in steps:
                yield from step


def batch_sampler(
    cuts_path: str | Path,
    settings: Recipe,
    seed: int,
    sample_rate: int,
    profile: Profile | None = None,
) -> CutSampler:
    """Lhotse's sampler over a manifest: batches of an epoch, in an order that follows from the
    seed.

    Args:
        settings: block `training`: batch_duration_s, bucket_bins_s.
        sample_rate: of the audio that the model hears, Hz.
        profile: so many utterances a batch as it has for their bucket; None = batch_duration_s.

    Raises:
        UserError: a cut is longer than the buckets of the profile.
    """
    cuts = CutSet.from_file(cuts_path).resample(sample_rate)
    constraint: Any = TimeConstraint(max_duration=settings["batch_duration_s"])
    bins = buckets.inner_bounds(cuts_path, settings)
    if profile is not None:
        profile.require_lengths(buckets.lengths(cuts_path, settings["speed_perturb"])[-1])
        bins = profile.longest_s[:-1]
        # Without an end, because samples of a slowed cut are rounded, which may be up.
        constraint = FixedBucketBatchSizeConstraint([*bins, math.inf], profile.counts)
    shared = {
        "constraint": constraint,
        "shuffle": True,
        "drop_last": False,
        "shuffle_buffer_size": _SHUFFLED,
        "seed": seed,
        "rank": 0,
        "world_size": 1,
    }
    if not bins:
        return DynamicCutSampler(cuts, **shared)
    return DynamicBucketingSampler(
        cuts,
        num_buckets=len(bins) + 1,
        duration_bins=bins,
        buffer_size=_SHUFFLED,
        # A background thread that fills buckets makes the order depend on timing.
        concurrent=False,
        **shared,
    )


class _Telling(torch.utils.data.Dataset):
    """Beside each batch, which of its cuts are in it. In place of both, why shards are damaged: a
    worker that raises it would put its own traceback around the message."""

    def __init__(self, dataset: SpeechDataset, packed: Packed | None):
        self._dataset, self._packed = dataset, packed

    def __getitem__(self, cuts: Any) -> tuple[Batch, list[bool]] | Damaged:
        if self._packed is not None:
            try:
                cuts = self._packed.cuts(cuts)
            except Damaged as error:
                return error
        return self._dataset.hear(cuts)


class Loader(torch.utils.data.DataLoader):
    """Batches of an `EndlessSampler`, which is told what of them could be read, wherever they were
    read."""

    sampler: EndlessSampler

    def __iter__(self) -> Any:
        return self._batches(super().__iter__())

    def _batches(self, pairs: Any) -> Iterator[Batch]:
        step = self.sampler.first_step
        while True:
            asked = time.monotonic()
            try:
                pair = next(pairs)
            except StopIteration:
                return
            if isinstance(pair, Damaged):
                raise pair
            batch, heard = pair
            self.sampler.waited_s += time.monotonic() - asked
            self.sampler.tell(step, heard)
            yield batch
            step += 1


def dataloader(
    recogniser: Recogniser,
    cuts_path: str | Path,
    settings: Recipe,
    seed: int,
    ranks: Ranks | None = None,
    targets: Targets = PLAIN,
    profile: Profile | None = None,
    packed: Packed | None = None,
) -> tuple[Loader, EndlessSampler]:
    """The batches of a run for its model, endless and resumable; with `packed` their audio is read
    from shards."""
    rate = recogniser.sample_rate
    augmentation = Augmentation(seed, rate, settings["speed_perturb"], settings.get("noise"))
    inner = batch_sampler(cuts_path, settings, seed, rate, profile)
    sampler = EndlessSampler(inner, augmentation, ranks, targets)
    loader = Loader(
        _Telling(recogniser.dataset(), packed),
        sampler=sampler,
        batch_size=None,
        num_workers=settings["num_workers"],
        pin_memory=torch.cuda.is_available(),
    )
    return loader, sampler
