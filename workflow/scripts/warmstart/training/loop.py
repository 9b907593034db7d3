"""One training loop for fine-tuning and pretraining: exact data order, hours that are true, resume
at the same step.

Around Lightning's trainer and checkpoints and Lhotse's dataloader the room `training/` adds what a
paired comparison needs:

- the order of cuts depends on the data, the settings and the seed, never on the init or on an
  interruption (`order`);
- the random numbers of a step (dropout, attention context, dither) are drawn from (seed, step), so
  that two inits see the same ones and a resumed run continues with those it would have had
  (`recorder`);
- hours are counted from the cuts of each finished step and kept in the checkpoint (`recorder`).
"""

import contextlib
import functools
import logging
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import torch

from warmstart.data.shar import Packed
from warmstart.data.targets import PLAIN, Targets
from warmstart.models.base import Recogniser
from warmstart.models.recipe import Recipe
from warmstart.run import files
from warmstart.run.errors import UserError
from warmstart.run.memory import is_out_of_memory
from warmstart.study import recipe, stages
from warmstart.training import alignment, checkpoints, early_stop, memory, precision
from warmstart.training.batch_profile import Profile
from warmstart.training.distributed import Ranks
from warmstart.training.order import EndlessSampler, dataloader
from warmstart.training.recorder import Recorder
from warmstart.training.validation import Validation
from warmstart.training.watchdog import Watchdog

logger = logging.getLogger(__name__)


def fit(
    recogniser: Recogniser,
    cuts_path: str | Path,
    settings: Recipe,
    *,
    steps: int,
    seed: int,
    run_dir: Path,
    total_hours: float,
    validate: Validation | None = None,
    identity: dict[str, Any] | None = None,
    callbacks: Sequence[pl.Callback] = (),
    targets: Targets = PLAIN,
    profile: Profile | None = None,
    packed: Packed | None = None,
) -> Recorder:
    """Train a model until `steps`, from the newest whole checkpoint in `run_dir/checkpoints` if
    there is one.

    Args:
        recogniser: the model, built with the optimizer's settings.
        cuts_path: training cuts.
        settings: block `training`.
        steps, seed: of this run; with 0 steps the model stays as it is, and the table is empty.
        run_dir: gets train.csv, tensorboard/ and checkpoints/.
        total_hours: audio of the budget.
        validate: see `Validation`.
        identity: what else than the settings decides the weights; checkpoints of anything else are
            not continued.
        callbacks: of the adaptation; they are called after the recorder and before early stopping.
        targets: what is learnt of the cuts' texts.
        profile: how many utterances are in a batch; None = as `batch_duration_s` says.
        packed: shards with the audio of the training cuts; None = it is read from its files.

    Returns:
        The recorder with the totals of the run.

    Raises:
        UserError: loss that is no number, or out of memory; both with the durations of the batch
            and the key to lower; or a decoder that says nothing but blank.
        SystemExit: status 143 after SIGTERM, 138 after SIGUSR1, with a checkpoint.

    A run that makes no step for `stall_minutes` ends its process with status `watchdog.STALLED`.
    """
    if steps:
        recipe.check_averaging(settings, steps)
    ranks = Ranks(settings["devices"], settings["num_nodes"])
    directory = run_dir / checkpoints.FOLDER
    identity = {
        **(identity or {}),
        "settings": stages.canonical("train", recipe.of_steps(settings)),
        "seed": seed,
        "steps": steps,
    }
    checkpoints.claim(directory, identity, tidy=ranks.first)
    loader, sampler = dataloader(
        *(recogniser, cuts_path, settings, seed, ranks, targets, profile, packed)
    )
    watchdog = Watchdog(run_dir, settings["stall_minutes"], ranks.rank)
    recorder = Recorder(
        *(run_dir, sampler, total_hours, steps, seed, settings, validate, ranks),
        recogniser.sample_rate,
        watchdog.alive,
        functools.partial(alignment.teaches, recogniser),
    )
    if not steps:
        recorder.show()
        return recorder
    _, other = dataloader(recogniser, cuts_path, settings, seed, targets=targets, profile=profile)
    # What a batch is made by, and what is to be lowered where it does not fit.
    batch_s = settings["batch_duration_s"] if profile is None else None
    probe = memory.LargestFirst(other, recogniser.dataset(), batch_s)
    averaged = settings["average_last"]
    saver = checkpoints.Saver(
        directory,
        settings["checkpoint_every_steps"],
        keep=max(2, averaged),
    )
    trainer = trainer_of(
        settings,
        steps,
        ranks,
        run_dir,
        recogniser,
        [recorder, probe, *callbacks, *early_stop.callbacks(settings, recorder), saver],
    )
    recogniser.before_fit(trainer, loader)
    resume = checkpoints.newest(directory, identity, tidy=ranks.first)
    if averaged > 1:
        checkpoints.require_last(directory, saver.every, averaged, steps, resume)
    if resume is not None:
        logger.info("continuing from %s", resume)
    recorder.interruption.listen()
    try:
        with watchdog, _explaining_step(trainer, sampler, batch_s):
            trainer.fit(recogniser.lightning, loader, ckpt_path=resume)
    finally:
        recorder.close()
    # Complete also where nothing was left to train: a job that was killed between its last step and
    # its output.
    recorder.show()
    if trainer.global_step != steps and not trainer.should_stop:
        raise RuntimeError(f"training ended at step {trainer.global_step} instead of {steps}")
    precision.restore(recogniser, settings)
    recorder.averaged_steps = _average(recogniser, directory, saver.every, averaged)
    return recorder


def _average(recogniser: Recogniser, directory: Path, every: int, count: int) -> list[int]:
    """Give the model the mean of its weights at the last `count` checkpoints.

    Returns:
        The steps of those checkpoints; none where the model is as its last step left it.
    """
    # A run that was stopped early may have left fewer.
    paths = checkpoints.listed(directory, every)[-count:] if count > 1 else []
    if len(paths) < 2:
        return []
    checkpoints.average(recogniser.lightning, paths)
    return [checkpoints.step_of(path) for path in paths]


def trainer_of(
    settings: Recipe,
    steps: int,
    ranks: Ranks,
    run_dir: Path,
    recogniser: Recogniser,
    callbacks: list[pl.Callback],
) -> pl.Trainer:
    """Lightning's, with everything off that would change the order of data or write beside us."""
    on_gpu = torch.cuda.is_available()
    if on_gpu:
        memory.let_segments_grow()
    arithmetic = precision.of_trainer(settings, recogniser, on_gpu)
    return pl.Trainer(
        accelerator="gpu" if on_gpu else "cpu",
        devices=ranks.devices,
        num_nodes=ranks.nodes,
        strategy="ddp" if ranks.world > 1 else "auto",
        plugins=[ranks.environment(), checkpoints.WholeCheckpoints(), *arithmetic.pop("plugins")],
        max_steps=steps,
        max_epochs=-1,
        **arithmetic,
        gradient_clip_val=settings["gradient_clip"] or None,
        callbacks=callbacks,
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        num_sanity_val_steps=0,
        limit_val_batches=0,
        use_distributed_sampler=False,
        # NeMo's models decode a training batch at this interval; on a CPU that costs more than the
        # step.
        log_every_n_steps=steps + 1,
        default_root_dir=run_dir,
    )


@contextlib.contextmanager
def _explaining_step(
    trainer: pl.Trainer, sampler: EndlessSampler, batch_duration_s: float | None
) -> Iterator[None]:
    """Turn an allocator's error into a message that names the batch of the step.

    Raises:
        UserError: instead of it.
    """
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        if not is_out_of_memory(error):
            raise
        step = trainer.global_step
        durations_s = sampler.recent.get(step, {"durations_s": []})["durations_s"]
        raise UserError(
            memory.message(durations_s, batch_duration_s, f"in step {step + 1}")
        ) from error


def save(recogniser: Recogniser, output: Path) -> None:
    """Write a model, whole or not at all."""
    write(recogniser.save, output)


def write(how: Callable[[Path], None], output: Path) -> None:
    """Write a file of weights by a method of a recogniser, whole or not at all."""
    with files.explaining_full_disk(output), files.atomic_path(output) as temporary:
        how(temporary)
