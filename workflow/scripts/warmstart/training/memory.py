"""Out of memory is met before the first step and not in the middle of a night: the largest batches
are tried first."""

import contextlib
import logging
import random
from collections.abc import Iterable, Iterator
from typing import Any

import lightning.pytorch as pl
import numpy as np
import torch

from warmstart.run.errors import UserError, first_line
from warmstart.run.memory import is_out_of_memory

logger = logging.getLogger(__name__)

# Batches that are looked at for the largest: 80 hours at 600 s, seconds of work. Lhotse draws
# buckets at random, so all occur.
SCANNED = 500


def let_segments_grow() -> None:
    """Let PyTorch's allocator extend what it holds, because batches are of many shapes.

    Source: pytorch.org/docs/stable/notes/cuda.html, section "Optimizing memory usage".
    """
    try:
        torch.cuda.memory._set_allocator_settings("expandable_segments:True")
    except RuntimeError as error:  # it is in use already, or an allocator without the setting
        logger.info("segments of GPU memory stay as they are: %s", error)


def message(durations_s: list[float], batch_duration_s: float | None, when: str) -> str:
    """What a person needs to mend it: the batch, both keys that make it smaller, and which of them
    to lower. Without `batch_duration_s` a profile makes the batches."""
    count, longest_s = len(durations_s), max(durations_s, default=0.0)
    if batch_duration_s is None:
        advice = (
            "delete the profile of batches (training.batch_profile) so that it is made again on "
            "this GPU, with nothing beside it"
        )
    elif count > 2:
        advice = (
            f"lower training.batch_duration_s (now {batch_duration_s:g}), say to "
            f"{0.75 * batch_duration_s:.3g}; "
            f"filters.max_duration_s helps only below {longest_s:.1f}"
        )
    else:
        advice = (
            f"lower filters.max_duration_s below {longest_s:.1f}; training.batch_duration_s (now "
            f"{batch_duration_s:g}) "
            "can make the batch no smaller than one cut"
        )
    return (
        f"out of memory {when}: {count} cuts, each padded to {longest_s:.1f} s, "
        f"{count * longest_s:.0f} s in all; {advice}"
    )


@contextlib.contextmanager
def explaining(
    durations_s: list[float], batch_duration_s: float | None, when: str
) -> Iterator[None]:
    """Turn an allocator's error into `message`.

    Raises:
        UserError: instead of it.
    """
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        if not is_out_of_memory(error):
            raise
        raise UserError(
            f"{message(durations_s, batch_duration_s, when)} ({first_line(error)})"
        ) from error


def largest(batches: Iterable[Any]) -> list[Any]:
    """Those batches of Lhotse cuts that need the most room: at most one each for the encoder's
    activations (cuts x length), its attention (cuts x length²) and the joint network (cuts x length
    x text).
    """
    best: dict[str, tuple[float, Any]] = {}
    for batch in batches:
        length = max(cut.duration for cut in batch)
        text = max(len(cut.supervisions[0].text or "") for cut in batch)
        sizes = {
            "activations": len(batch) * length,
            "attention": len(batch) * length**2,
            "joint": len(batch) * length * text,
        }
        for name, size in sizes.items():
            if name not in best or size > best[name][0]:
                best[name] = (size, batch)
    return list({id(batch): batch for _, batch in best.values()}.values())


class LargestFirst(pl.Callback):
    """Forward and backward of the largest batches before step 1, in the precision of the run and
    beside the room that the optimizer will take. Weights, buffers, gradients, optimizer, random
    numbers and the order of the data stay as they are.

    Args:
        sampler: has `preview(count)`, the first batches of its stream as cuts.
        dataset: makes tensors of cuts.
        batch_duration_s: for the message; None where a profile makes the batches.
    """

    def __init__(self, sampler: Any, dataset: Any, batch_duration_s: float | None):
        self._sampler, self._dataset, self._batch_duration_s = sampler, dataset, batch_duration_s

    def on_train_start(self, trainer: pl.Trainer, pl_module: Any) -> None:
        """Try them.

        Raises:
            UserError: one does not fit; with the key to lower.
        """
        for cuts in largest(self._sampler.preview(SCANNED)):
            durations_s = [cut.duration for cut in cuts]
            with explaining(
                durations_s,
                self._batch_duration_s,
                "in the largest batch, tried before the first step",
            ):
                try_step(trainer, pl_module, self._dataset[cuts])
            logger.info("%d cuts of at most %.1f s fit", len(durations_s), max(durations_s))


def try_step(trainer: pl.Trainer, module: Any, batch: Any) -> None:
    """Forward and backward of a batch in the precision of the run and beside the room that the
    optimizer will take. Afterwards everything is as it was.

    Raises:
        MemoryError, RuntimeError: it does not fit (`run.memory.is_out_of_memory`).
    """
    with _untouched(module):
        reserved = _reserve(module, trainer.optimizers[0], trainer.world_size)
        batch = trainer.strategy.batch_to_device(batch, module.device)
        with trainer.precision_plugin.train_step_context():
            loss = module.training_step(batch, 0)["loss"]
        loss.backward()
        del reserved, batch, loss


def _reserve(model: Any, optimizer: Any, world: int) -> list[torch.Tensor]:
    """As much memory as the first step will take: Adam's two moments, and the gradients that
    processes send each other."""
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    new = [parameter for parameter in trained if parameter not in optimizer.state]
    return [
        torch.empty_like(parameter) for parameter in (*new, *new, *(trained if world > 1 else []))
    ]


@contextlib.contextmanager
def _untouched(model: Any) -> Iterator[None]:
    """Afterwards `model` and all random generators are as they were before, and nothing was
    logged."""
    generators = random.getstate(), np.random.get_state(), torch.get_rng_state()
    on_gpu = torch.cuda.get_rng_state_all() if torch.cuda.is_available() else []
    buffers = [(buffer, buffer.clone()) for buffer in model.buffers()]
    for name in ("log", "log_dict"):  # hidden: Lightning refuses records from outside its loop
        setattr(model, name, lambda *_, **__: None)
    try:
        yield
    finally:
        del model.log, model.log_dict
        for parameter in model.parameters():
            parameter.grad = None
        with torch.no_grad():
            for buffer, before in buffers:
                buffer.copy_(before)
        random.setstate(generators[0])
        np.random.set_state(generators[1])
        torch.set_rng_state(generators[2])
        if on_gpu:
            torch.cuda.set_rng_state_all(on_gpu)
            torch.cuda.empty_cache()
