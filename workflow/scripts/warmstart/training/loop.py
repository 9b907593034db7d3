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

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import torch

from warmstart.run import files
from warmstart.run.errors import UserError
from warmstart.study import recipe
from warmstart.training import checkpoints, early_stop, memory
from warmstart.training.distributed import Ranks
from warmstart.training.order import dataloader
from warmstart.training.recorder import Recorder

logger = logging.getLogger(__name__)


def fit(
    model: Any,
    cuts_path: str | Path,
    settings: dict[str, Any],
    *,
    steps: int,
    seed: int,
    run_dir: Path,
    total_hours: float,
    validate: Any = None,
    identity: dict[str, Any] | None = None,
    callbacks: Sequence[pl.Callback] = (),
) -> Recorder:
    """Train `model` until `steps`, from the newest whole checkpoint in `run_dir/checkpoints` if
    there is one.

    Args:
        model: of NeMo, with loss and optimizer settings.
        cuts_path: training cuts.
        settings: block `training`.
        steps, seed: of this run.
        run_dir: gets train.csv, tensorboard/ and checkpoints/.
        total_hours: audio of the budget.
        validate: see `Validation`.
        identity: what else than the settings decides the weights; checkpoints of anything else are
            not continued.
        callbacks: of the adaptation; they are called after the recorder and before early stopping.

    Returns:
        The recorder with the totals of the run.

    Raises:
        UserError: loss that is no number, or out of memory; both with the durations of the batch
            and the key to lower.
        SystemExit: status 143 after SIGTERM, 138 after SIGUSR1, with a checkpoint.
    """
    recipe.check_averaging(settings, steps)
    ranks = Ranks(settings)
    directory = run_dir / "checkpoints"
    identity = {
        **(identity or {}),
        "settings": recipe.of_steps(settings),
        "seed": seed,
        "steps": steps,
    }
    checkpoints.claim(directory, identity, tidy=ranks.first)
    loader, sampler = dataloader(model, cuts_path, settings, seed, ranks)
    recorder = Recorder(run_dir, sampler, total_hours, steps, seed, settings, validate, ranks)
    _, other = dataloader(model, cuts_path, settings, seed)
    probe = memory.LargestFirst(other, loader.dataset, settings["batch_duration_s"])
    averaged = settings.get("average_last", 0)
    saver = checkpoints.Saver(
        directory,
        settings.get("checkpoint_every_steps", recipe.CHECKPOINT_EVERY_STEPS),
        keep=max(2, averaged),
    )
    on_gpu = torch.cuda.is_available()
    trainer = pl.Trainer(
        accelerator="gpu" if on_gpu else "cpu",
        devices=ranks.devices,
        num_nodes=ranks.nodes,
        strategy="ddp" if ranks.world > 1 else "auto",
        plugins=[ranks.environment(), checkpoints.WholeCheckpoints()],
        max_steps=steps,
        max_epochs=-1,
        precision={"32": "32-true"}.get(
            str(settings.get("precision", "32")), settings.get("precision", "32")
        )
        if on_gpu
        else "32-true",
        gradient_clip_val=settings.get("gradient_clip", 1.0) or None,
        callbacks=[recorder, probe, *callbacks, *early_stop.callbacks(settings, recorder), saver],
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        num_sanity_val_steps=0,
        limit_val_batches=0,
        use_distributed_sampler=False,
        # NeMo decodes a training batch at this interval; on a CPU that costs more than the step.
        log_every_n_steps=steps + 1,
        default_root_dir=run_dir,
    )
    model.set_trainer(trainer)
    model._train_dl = loader
    # Else the encoder asks all processes for their longest utterance in every forward, and
    # validation has not as many for each.
    model.encoder.sync_max_audio_length = False
    resume = checkpoints.newest(directory, identity, tidy=ranks.first)
    if averaged > 1:
        checkpoints.require_last(directory, saver.every, averaged, steps, resume)
    if resume is not None:
        logger.info("continuing from %s", resume)
    recorder.interruption.listen()
    try:
        trainer.fit(model, ckpt_path=resume)
    except (MemoryError, RuntimeError) as error:
        if not memory.is_out_of_memory(error):
            raise
        durations_s = sampler.recent.get(trainer.global_step, {"durations_s": []})["durations_s"]
        raise UserError(
            memory.message(
                durations_s, settings["batch_duration_s"], f"in step {trainer.global_step + 1}"
            )
        ) from error
    finally:
        recorder.close()
    # Complete also where nothing was left to train: a job that was killed between its last step and
    # its output.
    recorder.show()
    if trainer.global_step != steps and not trainer.should_stop:
        raise RuntimeError(f"training ended at step {trainer.global_step} instead of {steps}")
    # A run that was stopped early may have left fewer.
    if averaged > 1 and len(paths := checkpoints.listed(directory, saver.every)[-averaged:]) > 1:
        checkpoints.average(model, paths)
        recorder.averaged_steps = [checkpoints.step_of(path) for path in paths]
    return recorder


def save(model: Any, output: Path) -> None:
    """Write the `.nemo`, whole or not at all; the same model gives the same bytes. Training
    settings do not travel with it."""
    from warmstart.models.fastconformer.nemo_file import SameBytes

    model._save_restore_connector = SameBytes()
    # Where the tokenizer lay on this machine; the archive has its own.
    model.cfg.tokenizer.dir = "."
    with files.explaining_full_disk(output), files.atomic_path(output) as temporary:
        model.save_to(str(temporary))
