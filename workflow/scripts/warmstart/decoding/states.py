"""Mean states of a donor's encoder for the utterances of some manifests, as Parquet."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from warmstart.data.audio import load_audio
from warmstart.data.utterances import TestUtterance, read_test_set
from warmstart.decoding import devices
from warmstart.decoding.test_set import batches
from warmstart.models import open_family
from warmstart.models.base import Listener
from warmstart.models.tier import Tier
from warmstart.run import files
from warmstart.run.logs import MinuteTicker

if TYPE_CHECKING:
    import numpy as np

_LOG = logging.getLogger(__name__)


@dataclass(frozen=True)
class Job:
    """What is heard, and with what.

    Attributes:
        donor: file of the encoder.
        family: of models that start from it.
        tier: how much each frame may hear.
        manifests: (test set, `train` or `test`) -> what is heard.
        output: Parquet: test_set, part, id, state.
        random_seed: random weights instead of the donor's.
        batch_size, batch_duration_s, device, threads: as of a decode.
    """

    donor: Path
    family: str
    tier: Tier
    manifests: Mapping[tuple[str, str], Path]
    output: Path
    random_seed: int | None = None
    batch_size: int = 32
    batch_duration_s: float = 1920
    device: str = "auto"
    threads: int = 1


def hear(job: Job) -> None:
    """Do the job.

    Raises:
        UserError: a manifest or the donor cannot be read, or see `load_audio`.
    """
    # Manifests first: they are read in no time.
    heard = {key: read_test_set(path) for key, path in job.manifests.items()}
    device = devices.resolve_device(job.device)
    import pyarrow
    import pyarrow.parquet
    import torch

    torch.set_num_threads(job.threads)
    family = open_family(job.family)
    listener = family.listen(
        family.read_donor(job.donor), job.tier, device, random_seed=job.random_seed
    )
    names: list[tuple[str, str, str]] = []
    states = []
    for (test_set, part), utterances in heard.items():
        [found] = mean_states(listener, utterances, job.batch_size, job.batch_duration_s)
        states += list(found)
        names += [(test_set, part, one.id) for one in utterances]
        _LOG.info("%s %s: states of %d utterances", test_set, part, len(utterances))
    columns = zip(*names, strict=True)
    table = pyarrow.table(
        {
            **dict(zip(("test_set", "part", "id"), map(list, columns), strict=True)),
            "state": pyarrow.array(states, pyarrow.list_(pyarrow.float32())),
        }
    )
    with files.atomic_path(job.output) as temporary:
        pyarrow.parquet.write_table(table, temporary, compression="zstd")


def mean_states(
    listener: Listener,
    utterances: Sequence[TestUtterance],
    batch_size: int,
    batch_duration_s: float,
    heard_s: Sequence[float | None] = (None,),
) -> list["np.ndarray"]:
    """Mean states of what is heard of utterances.

    Args:
        listener: who hears.
        utterances: N of them.
        batch_size, batch_duration_s: as of a decode.
        heard_s: seconds from their beginning, the rest of the audio not being there; None: all.

    Returns:
        (N, D) float32 for each of `heard_s`, in the order of the utterances; NaN where there is no
        frame.
    """
    import numpy as np

    found: list[list[Any]] = [[None] * len(utterances) for _ in heard_s]
    ticker, done = MinuteTicker(), 0
    lengths_s = [one.duration_s for one in utterances]
    for indices in batches(lengths_s, batch_size, batch_duration_s):
        waveforms = [load_audio(utterances[index], listener.sample_rate) for index in indices]
        for states, seconds in zip(found, heard_s, strict=True):
            end = None if seconds is None else max(1, round(seconds * listener.sample_rate))
            heard = listener.mean_states([samples[:end] for samples in waveforms])
            for index, state in zip(indices, heard, strict=True):
                states[index] = state
        done += len(indices)
        if ticker.due():
            _LOG.info("%d of %d utterances", done, len(utterances))
    return [np.stack(states) for states in found]
