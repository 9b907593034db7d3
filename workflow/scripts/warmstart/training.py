"""One training loop for fine-tuning and pretraining: exact data order, hours that are true, resume at the same step.

Around NeMo's models, Lhotse dataloader and Lightning's trainer and checkpoints this module adds what a paired comparison needs:

- the order of cuts depends on the data, the settings and the seed, never on the init or on an interruption;
- the random numbers of a step (dropout, attention context, dither) are drawn from (seed, step), so that two inits see the
  same ones and a resumed run continues with those it would have had;
- hours are counted from the cuts of each finished step and kept in the checkpoint.
"""

import csv
import hashlib
import json
import logging
import math
import os
import platform
import random
import signal
import subprocess
import time
import zipfile
from collections import OrderedDict
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import numpy as np
import torch
from lightning.pytorch.callbacks import ModelCheckpoint
from omegaconf import OmegaConf

from warmstart import controls, replay
from warmstart import cuts as manifests
from warmstart.augment import Augmentation
from warmstart.errors import UserError
from warmstart.files import atomic_path
from warmstart.logs import MinuteTicker
from warmstart.optimizer_steps import resolve_steps as resolve_steps
from warmstart.text import normalize

logger = logging.getLogger(__name__)

COLUMNS = (
    *("step", "loss", "lr", "lr_encoder", "hours_seen", "unique_hours", "epochs", "padding_share"),
    *("hours_per_hour", "elapsed_s", "dev_loss", "dev_wer", "replay_hours"),
)
# 128 + SIGTERM, what a shell reports for a process that the signal ended.
STOPPED_STATUS = 143
_PREFETCHED = 256  # batches that workers may be ahead of the step that is trained


def manifest_totals(path: str | Path) -> tuple[int, float, float]:
    """Cuts and hours of the budget in a manifest, and hours of what is replayed beside it.

    Raises:
        UserError: no cuts.
    """
    count, seconds, replayed_s = 0, 0.0, 0.0
    for cut in manifests.read(path):
        if replay.is_replayed(cut):
            replayed_s += manifests.duration_s(cut)
            continue
        count += 1
        seconds += manifests.duration_s(cut)
    if not count:
        raise UserError(f"{path}: no cuts to train on; look at the .qc.json of the pool for what was dropped")
    return count, seconds / 3600, replayed_s / 3600


class CpuRNNTLoss(torch.nn.Module):
    """Stands in for the kernel inside NeMo's `RNNTLoss` where there is no GPU: torchaudio's compiled loss.

    Same values and gradients. NeMo's default runs on the CPU as numba-compiled loops, an order of magnitude slower.
    """

    reduction = None

    def __init__(self, blank: int):
        super().__init__()
        self._blank = blank

    def forward(
        self, acts: torch.Tensor, labels: torch.Tensor, act_lens: torch.Tensor, label_lens: torch.Tensor
    ) -> torch.Tensor:
        """Loss per utterance, (B,), of `acts` (B, T, U + 1, V + 1), log-probabilities or logits; `labels` (B, U)."""
        from torchaudio.functional import rnnt_loss

        lengths = act_lens.int(), label_lens.int()
        return rnnt_loss(acts.float(), labels.int(), *lengths, blank=self._blank, clamp=-1, reduction="none")


def use_fast_loss(model: Any) -> None:
    """Choose the way to the transducer loss that suits the device."""
    if torch.cuda.is_available():
        # Joint and loss a few utterances at a time: the whole (B, T, U, V) tensor of a large batch does not fit.
        model.joint.set_fused_batch_size(4)
        model.joint.set_loss(model.loss)
        model.joint.set_wer(model.wer)
        model.joint.set_fuse_loss_wer(True, loss=model.loss, metric=model.wer)
    else:
        # The joint must not apply log_softmax a second time: torchaudio's loss contains it.
        model.joint.log_softmax = False
        model.loss._loss = CpuRNNTLoss(blank=model.joint.num_classes_with_blank - 1)


def seed_step(seed: int, step: int) -> None:
    """Set all random generators to what a run of `seed` has at `step`."""
    drawn = int.from_bytes(hashlib.sha256(f"{seed} {step}".encode()).digest()[:4], "big")
    torch.manual_seed(drawn)
    random.seed(drawn)
    np.random.seed(drawn)


class EndlessSampler(torch.utils.data.Sampler):
    """Batches of a Lhotse sampler without end: whole epochs, each with every cut once, from any position on.

    Remembers which cuts are in the batches it gave out, so that hours and error messages name the batch that was trained.
    """

    def __init__(self, inner: Any, augmentation: Augmentation):
        self._inner, self._augmentation = inner, augmentation
        augmentation.prepare(inner)
        self.start = (0, 0)  # epoch, batches of it to skip
        self.recent: OrderedDict[int, dict[str, Any]] = OrderedDict()
        self.first_step = 0

    def __iter__(self) -> Iterator[Any]:
        step = self.first_step
        epoch, skip = self.start
        while True:
            self._inner.set_epoch(epoch)
            self._augmentation.epoch = epoch
            index, seconds = 0, 0.0
            for batch in self._inner:
                index += 1
                # Of the budget: as recorded, not as sped up or slowed down, and without what is replayed of another language.
                budget_s = sum(cut.duration * self._augmentation.speed_of(cut.id) for cut in batch if not replay.language(cut))
                seconds += budget_s
                if index <= skip:
                    continue
                self.recent[step] = {
                    "ids": [cut.id for cut in batch],
                    "durations_s": [cut.duration for cut in batch],
                    "epoch": epoch,
                    "index": index,
                    "epoch_s": seconds,
                    "budget_s": budget_s,
                    "replay_s": sum(cut.duration for cut in batch if replay.language(cut)),
                }
                if len(self.recent) > _PREFETCHED:
                    self.recent.popitem(last=False)
                step += 1
                yield self._augmentation.with_noise(batch)
            if index == 0:
                raise UserError("no batch can be made from the training cuts; raise training.batch_duration_s")
            epoch, skip = epoch + 1, 0


def dataloader(model: Any, cuts_path: str | Path, settings: dict[str, Any], seed: int) -> tuple[Any, EndlessSampler]:
    """NeMo's Lhotse dataloader over a manifest, endless and resumable."""
    from nemo.collections.asr.data.audio_to_text_lhotse import LhotseSpeechToTextBpeDataset
    from nemo.collections.common.data.lhotse import get_lhotse_dataloader_from_config

    bins = list(settings.get("bucket_bins_s") or [])
    config = {
        "use_lhotse": True,
        "cuts_path": str(cuts_path),
        "batch_duration": settings["batch_duration_s"],
        "use_bucketing": bool(bins),
        "bucket_duration_bins": bins or None,
        "num_buckets": len(bins) + 1,
        # A background thread that fills buckets makes the order depend on timing.
        "concurrent_bucketing": False,
        "shuffle": True,
        "drop_last": False,
        "seed": seed,
        "shard_seed": seed,
        "sample_rate": 16000,
        "num_workers": settings.get("num_workers", 0),
        "force_map_dataset": True,
    }
    made = get_lhotse_dataloader_from_config(
        OmegaConf.create(config), global_rank=0, world_size=1, dataset=LhotseSpeechToTextBpeDataset(model.tokenizer)
    )
    augmentation = Augmentation(seed, settings.get("speed_perturb"), settings.get("noise"))
    sampler = EndlessSampler(made.sampler, augmentation)
    loader = torch.utils.data.DataLoader(
        made.dataset, sampler=sampler, batch_size=None, num_workers=config["num_workers"], pin_memory=torch.cuda.is_available()
    )
    return loader, sampler


class Recorder(pl.Callback):
    """Counts, logs, validates, guards: a row of `train.csv` per interval, a log line a minute, the position for a resume."""

    def __init__(
        self,
        run_dir: Path,
        sampler: EndlessSampler,
        total_hours: float,
        steps: int,
        seed: int,
        settings: dict[str, Any],
        validate: Any,
    ):
        self._table = run_dir / "train.csv"
        self._sampler, self._total_hours, self._steps, self._seed, self._settings = sampler, total_hours, steps, seed, settings
        self._validate = validate
        self._every = settings.get("log_every_steps", 50)
        self._validate_every = settings.get("validate_every_steps", 1000)
        self._ticker = MinuteTicker()
        self._window = {"loss": [], "padded_s": 0.0, "audio_s": 0.0}
        self.state = {"hours_seen": 0.0, "elapsed_s": 0.0, "epoch": 0, "index": 0, "epoch_s": 0.0, "undecodable": 0, "step": 0}
        # Hours heard of the budget, were each cut heard as recorded; and hours heard of a replayed language.
        self.state |= {"budget_hours": 0.0, "replay_hours": 0.0}
        self.padding = {"audio_s": 0.0, "padded_s": 0.0}
        self._rows: list[dict[str, Any]] = []
        self._clock = time.monotonic()
        self._stop = False
        self._handlers: dict[int, Any] = {}

    # What a checkpoint carries.

    def state_dict(self) -> dict[str, Any]:
        """Position in the data, hours, seconds and rows so far.

        The rows too, because Snakemake removes `train.csv`, an output, when a job fails, and the next try makes it again.
        """
        return {**self.state, "elapsed_s": self._elapsed(), **self.padding, "rows": list(self._rows)}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Continue where the checkpoint was made."""
        self.state = {name: state_dict.get(name, value) for name, value in self.state.items()}
        self.padding = {name: state_dict[name] for name in self.padding}
        self._rows = list(state_dict.get("rows", []))
        self._sampler.start = (self.state["epoch"], self.state["index"])
        self._sampler.first_step = self.state["step"]

    def on_train_start(self, trainer: pl.Trainer, pl_module: Any) -> None:
        """Begin or continue the table, and listen to the signals of a scheduler."""
        self._clock = time.monotonic()
        self.write_table()
        for number in (signal.SIGTERM, signal.SIGUSR1):
            self._handlers[number] = signal.signal(number, self._on_signal)

    def on_train_end(self, trainer: pl.Trainer, pl_module: Any) -> None:
        """Give the signals back."""
        for number, handler in self._handlers.items():
            signal.signal(number, handler)

    def on_train_batch_start(self, trainer: pl.Trainer, pl_module: Any, batch: Any, batch_idx: int) -> None:
        """Random numbers of this step from (seed, step)."""
        seed_step(self._seed, trainer.global_step)

    def on_train_batch_end(self, trainer: pl.Trainer, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        """Count the finished step; stop on a loss that is no number, or on a signal."""
        step = trainer.global_step
        trained = self._sampler.recent[step - 1]
        loss = float(outputs["loss"])
        if not math.isfinite(loss):
            worst = sorted(zip(trained["durations_s"], trained["ids"], strict=True), reverse=True)[:8]
            listed = ", ".join(f"{cut_id} ({duration:.2f} s)" for duration, cut_id in worst)
            raise UserError(
                f"loss is {loss} at step {step}; {len(trained['ids'])} cuts in the batch: {listed}; lower "
                "training.optimizer.lr or training.gradient_clip, or look at these recordings"
            )
        lengths = batch[1]
        missing = len(trained["ids"]) - len(lengths)
        if missing:
            logger.warning("step %d: %d of %d cuts could not be decoded and were left out", step, missing, len(trained["ids"]))
        audio_s = float(lengths.sum()) / 16000
        declared_s = sum(trained["durations_s"])
        # Of cuts that could not be decoded it is not known which: a replayed one and one of the budget count alike.
        replay_s = audio_s * (trained["replay_s"] / declared_s)
        padded_s = batch[0].shape[0] * batch[0].shape[1] / 16000
        self.state.update(
            step=step,
            hours_seen=self.state["hours_seen"] + (audio_s - replay_s) / 3600,
            budget_hours=self.state["budget_hours"] + audio_s * (trained["budget_s"] / declared_s) / 3600,
            replay_hours=self.state["replay_hours"] + replay_s / 3600,
            epoch=trained["epoch"],
            index=trained["index"],
            epoch_s=trained["epoch_s"],
            undecodable=self.state["undecodable"] + missing,
        )
        self.padding["audio_s"] += audio_s
        self.padding["padded_s"] += padded_s
        self._window["loss"].append(loss)
        self._window["audio_s"] += audio_s
        self._window["padded_s"] += padded_s

        last = step == self._steps
        validated = {}
        if self._validate is not None and (last or step % self._validate_every == 0):
            validated = self._validate(pl_module)
        if last or validated or step % self._every == 0:
            self._row(trainer, validated)
        if self._ticker.due():
            self._say()
        if self._stop and not last:
            path = Path(trainer.checkpoint_callback.dirpath) / f"step-{step:08d}.ckpt"
            if not path.exists():
                trainer.save_checkpoint(path)
            logger.warning(
                "stopped by a signal at step %d of %d; checkpoint %s; the same command continues", step, self._steps, path
            )
            raise SystemExit(STOPPED_STATUS)

    @property
    def last_row(self) -> dict[str, Any]:
        """The newest row of the table; empty before the first."""
        return self._rows[-1] if self._rows else {}

    @property
    def unique_hours(self) -> float:
        """Hours of different audio seen: the whole set once an epoch is over."""
        return self._total_hours if self.state["epoch"] > 0 else self.state["epoch_s"] / 3600

    @property
    def epochs(self) -> float:
        """Passes over the set, by hours as recorded."""
        return self.state["budget_hours"] / self._total_hours

    @property
    def elapsed_s(self) -> float:
        """Seconds in the training loop, over all starts of the run."""
        return self._elapsed()

    def _elapsed(self) -> float:
        return self.state["elapsed_s"] + time.monotonic() - self._clock

    def _on_signal(self, _number: int, _frame: Any) -> None:
        self._stop = True

    def _row(self, trainer: pl.Trainer, validated: dict[str, float]) -> None:
        groups = trainer.optimizers[0].param_groups
        elapsed_s, padded_s = self._elapsed(), self._window["padded_s"]
        row = {
            "step": self.state["step"],
            "loss": round(sum(self._window["loss"]) / len(self._window["loss"]), 5),
            "lr": f"{groups[0]['lr']:.4g}",
            "lr_encoder": f"{groups[-1]['lr']:.4g}",
            "hours_seen": round(self.state["hours_seen"], 6),
            "unique_hours": round(self.unique_hours, 6),
            "epochs": round(self.epochs, 4),
            "padding_share": round(1 - self._window["audio_s"] / padded_s, 4) if padded_s else "",
            "hours_per_hour": round(self.padding["audio_s"] / elapsed_s, 2),
            "elapsed_s": round(elapsed_s, 2),
            "replay_hours": round(self.state["replay_hours"], 6),
            **{name: round(value, 5) for name, value in validated.items()},
        }
        self._window = {"loss": [], "padded_s": 0.0, "audio_s": 0.0}
        self._rows.append(row)
        with open(self._table, "a", encoding="utf-8", newline="") as stream:
            csv.DictWriter(stream, COLUMNS, restval="").writerow(row)
        if validated:
            self._say()

    def _say(self) -> None:
        step, elapsed_s, row = self.state["step"], self._elapsed(), self.last_row
        logger.info(
            "step %d of %d, loss %s, lr %s, %.2f audio hours seen, %.0f audio hours per hour, %s%.0f s to go",
            *(step, self._steps, row.get("loss", "-"), row.get("lr", "-"), self.state["hours_seen"]),
            self.padding["audio_s"] / elapsed_s,
            f"dev WER {100 * row['dev_wer']:.1f} %, " if "dev_wer" in row else "",
            elapsed_s / step * (self._steps - step),
        )

    def write_table(self) -> None:
        """The whole table anew. At a start: rows after the checkpoint belong to work that is done again, and go."""
        with atomic_path(self._table) as temporary, open(temporary, "w", encoding="utf-8", newline="") as stream:
            writer = csv.DictWriter(stream, COLUMNS, restval="")
            writer.writeheader()
            writer.writerows(self._rows)


class Validation:
    """Loss and greedy word error rate on held-out cuts, with the first context of the study.

    Args:
        cuts_path: a manifest; its texts are raw.
        batch_duration_s: audio in a batch.
        text: block `text` of the language, the normaliser of the training text; None where the texts are normalised already.
        limit_s: stop after this much audio; None = all of it.
    """

    def __init__(
        self,
        cuts_path: str | Path,
        batch_duration_s: float,
        text: dict[str, Any] | None = None,
        limit_s: float | None = None,
    ):
        self._path, self._batch_duration_s, self._text, self._limit_s = cuts_path, batch_duration_s, text, limit_s
        self._batches: list[Any] | None = None

    def __call__(self, model: Any) -> dict[str, float]:
        """Evaluate; the model is in training mode again afterwards.

        Returns:
            `dev_loss` (mean over utterances), `dev_wer` (fraction, summed errors over summed words).
        """
        import jiwer

        was_training = model.training
        model.eval()
        references, hypotheses, loss, count = [], [], 0.0, 0
        with torch.no_grad():
            for texts, batch in self._load(model):
                signal_, signal_len, tokens, token_len = (value.to(model.device) for value in batch)
                value, found = self._evaluate(model, signal_, signal_len, tokens, token_len)
                loss, count = loss + value * len(texts), count + len(texts)
                hypotheses += found
                references += texts
        model.train(was_training)
        kept = [(reference, hypothesis) for reference, hypothesis in zip(references, hypotheses, strict=True) if reference]
        wer = jiwer.process_words([one for one, _ in kept], [other for _, other in kept]).wer if kept else math.nan
        return {"dev_loss": loss / max(count, 1), "dev_wer": wer}

    def _load(self, model: Any) -> list[Any]:
        if self._batches is None:
            from lhotse import CutSet
            from lhotse.dataset import DynamicCutSampler
            from nemo.collections.asr.data.audio_to_text_lhotse import LhotseSpeechToTextBpeDataset

            chosen, seconds = [], 0.0
            for cut in CutSet.from_jsonl_lazy(self._path):
                if self._limit_s is not None and seconds >= self._limit_s:
                    break
                if self._text is not None:
                    cut.supervisions[0].text = normalize(cut.supervisions[0].text, self._text)
                chosen.append(cut.resample(16000))
                seconds += cut.duration
            if not chosen:
                raise UserError(f"{self._path}: no cuts to validate on")
            dataset = LhotseSpeechToTextBpeDataset(model.tokenizer, return_cuts=True)
            ordered = CutSet.from_cuts(sorted(chosen, key=lambda cut: -cut.duration))
            sampler = DynamicCutSampler(ordered, max_duration=self._batch_duration_s, shuffle=False)
            self._batches = []
            for batch in sampler:
                *tensors, cuts = dataset[batch]
                self._batches.append(([cut.supervisions[0].text for cut in cuts], tensors))
        return self._batches

    @staticmethod
    def _evaluate(model: Any, signal_: Any, signal_len: Any, tokens: Any, token_len: Any) -> tuple[float, list[str]]:
        """Loss and hypotheses of one batch."""
        encoded, encoded_len = model.forward(input_signal=signal_, input_signal_length=signal_len)
        decoder, target_len, _ = model.decoder(targets=tokens, target_length=token_len)
        if model.joint.fuse_loss_wer:
            value, *_ = model.joint(
                encoder_outputs=encoded,
                decoder_outputs=decoder,
                encoder_lengths=encoded_len,
                transcripts=tokens,
                transcript_lengths=token_len,
                compute_wer=False,
            )
        else:
            joint = model.joint(encoder_outputs=encoded, decoder_outputs=decoder)
            value = model.loss(log_probs=joint, targets=tokens, input_lengths=encoded_len, target_lengths=target_len)
        found = model.decoding.rnnt_decoder_predictions_tensor(encoder_output=encoded, encoded_lengths=encoded_len)
        return float(value), [hypothesis.text for hypothesis in found]


class CTCValidation(Validation):
    """The same for a CTC model, whose forward ends in log-probabilities."""

    @staticmethod
    def _evaluate(model: Any, signal_: Any, signal_len: Any, tokens: Any, token_len: Any) -> tuple[float, list[str]]:
        log_probs, lengths, _ = model.forward(input_signal=signal_, input_signal_length=signal_len)
        value = model.loss(log_probs=log_probs, targets=tokens, input_lengths=lengths, target_lengths=token_len)
        found = model.decoding.ctc_decoder_predictions_tensor(log_probs, decoder_lengths=lengths)
        return float(value), [hypothesis.text for hypothesis in found]


def optimizer_config(settings: dict[str, Any], steps: int, d_model: int) -> dict[str, Any]:
    """NeMo's `optim` and `optim_param_groups` from the study's `optimizer` and `schedule`.

    Args:
        settings: `optimizer` {name, lr, encoder_lr_scale, betas, weight_decay}, `schedule` {name, warmup_steps, min_lr}. With
            `cosine`, lr is the peak; with `noam` a factor: the peak is lr * (d_model * warmup_steps) ** -0.5
            (arXiv 1706.03762, eq. 3).
        steps: of the whole run.
        d_model: width of the encoder.
    """
    optimizer, schedule = settings["optimizer"], settings["schedule"]
    shapes = {"cosine": {"name": "CosineAnnealing"}, "noam": {"name": "NoamAnnealing", "d_model": d_model}}
    groups = {}
    if optimizer.get("encoder_lr_scale", 1) != 1:
        groups = {"optim_param_groups": {"encoder": {"lr": float(optimizer["lr"]) * optimizer["encoder_lr_scale"]}}}
    return groups | {
        "optim": {
            "name": optimizer["name"],
            # YAML reads 1e-5, without a point, as text.
            "lr": float(optimizer["lr"]),
            "betas": list(optimizer.get("betas", (0.9, 0.98))),
            "weight_decay": float(optimizer.get("weight_decay", 0.001)),
            "sched": {
                **shapes[schedule["name"]],
                "warmup_steps": schedule["warmup_steps"],
                "min_lr": float(schedule.get("min_lr", 0.0)),
                "max_steps": steps,
            },
        }
    }


def spec_augment_config(settings: dict[str, Any] | None) -> dict[str, Any]:
    """NeMo's `spec_augment`, or nothing where the study has none."""
    if not settings:
        return {}
    return {"spec_augment": {"_target_": "nemo.collections.asr.modules.SpectrogramAugmentation", **settings}}


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
) -> Recorder:
    """Train `model` until `steps`, from the newest whole checkpoint in `run_dir/checkpoints` if there is one.

    Returns:
        The recorder with the totals of the run.

    Raises:
        UserError: loss that is no number, or out of memory; both with the durations of the batch and the key to lower.
        SystemExit: status 143 after SIGTERM or SIGUSR1, with a checkpoint.
    """
    run_dir.mkdir(parents=True, exist_ok=True)
    checkpoints = run_dir / "checkpoints"
    checkpoints.mkdir(exist_ok=True)
    loader, sampler = dataloader(model, cuts_path, settings, seed)
    recorder = Recorder(run_dir, sampler, total_hours, steps, seed, settings, validate)
    extras = controls.callbacks(settings, recorder)
    keep = max(2, settings.get("average_last", 0))
    saver = ModelCheckpoint(
        dirpath=checkpoints,
        filename="step-{step:08d}",
        auto_insert_metric_name=False,
        # Lightning offers the step itself as a metric: the last `keep` are kept.
        monitor="step",
        mode="max",
        save_top_k=keep,
        every_n_train_steps=settings.get("checkpoint_every_steps", 1000),
        save_on_train_epoch_end=False,
    )
    on_gpu = torch.cuda.is_available()
    trainer = pl.Trainer(
        accelerator="gpu" if on_gpu else "cpu",
        devices=1,
        max_steps=steps,
        max_epochs=-1,
        precision={"32": "32-true"}.get(str(settings.get("precision", "32")), settings.get("precision", "32"))
        if on_gpu
        else "32-true",
        gradient_clip_val=settings.get("gradient_clip", 1.0) or None,
        callbacks=[recorder, *extras, saver],
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
    resume = newest_checkpoint(checkpoints)
    if resume is not None:
        logger.info("continuing from %s", resume)
    try:
        trainer.fit(model, ckpt_path=resume)
    except torch.cuda.OutOfMemoryError as error:
        batch = sampler.recent.get(trainer.global_step, {"durations_s": []})
        longest = max(batch["durations_s"], default=0)
        raise UserError(
            f"out of GPU memory at step {trainer.global_step}: {len(batch['durations_s'])} cuts, "
            f"{sum(batch['durations_s']):.0f} s, the longest {longest:.1f} s; "
            f"lower training.batch_duration_s or filters.max_duration_s ({error})"
        ) from error
    # Complete also where nothing was left to train: a job that was killed between its last step and its output.
    recorder.write_table()
    if trainer.global_step != steps and not trainer.should_stop:
        raise RuntimeError(f"training ended at step {trainer.global_step} instead of {steps}")
    if settings.get("average_last", 0) > 1:
        average(model, sorted(checkpoints.glob("step-*.ckpt"))[-settings["average_last"] :])
    return recorder


def newest_checkpoint(directory: Path) -> Path | None:
    """The newest checkpoint that is whole; damaged ones are named and put aside."""
    for path in sorted(directory.glob("step-*.ckpt"), reverse=True):
        try:
            with zipfile.ZipFile(path) as archive:
                damaged = archive.testzip()
        except (zipfile.BadZipFile, OSError) as error:
            damaged = str(error)
        if damaged is None:
            return path
        aside = path.with_suffix(".damaged")
        path.rename(aside)
        logger.warning("checkpoint %s is damaged (%s), kept as %s; trying the one before", path, damaged, aside.name)
    return None


def average(model: Any, paths: list[Path]) -> None:
    """Put the mean of the weights in some checkpoints into `model`."""
    total: dict[str, torch.Tensor] = {}
    for path in paths:
        for name, value in torch.load(path, map_location="cpu", mmap=True, weights_only=False)["state_dict"].items():
            total[name] = total[name] + value.double() if name in total else value.double()
    own = model.state_dict()
    model.load_state_dict({name: (value / len(paths)).to(own[name].dtype) for name, value in total.items()})
    logger.info("weights are the mean of %s", ", ".join(path.name for path in paths))


def save(model: Any, output: Path) -> None:
    """Write the `.nemo`, whole or not at all. Settings that are for training only do not travel with it."""
    with atomic_path(output) as temporary:
        model.save_to(str(temporary))


def hardware() -> dict[str, Any]:
    """What the run ran on."""
    return {
        "machine": platform.machine(),
        "cpus": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "gpu": torch.cuda.get_device_name(0) if torch.cuda.is_available() else None,
    }


def versions() -> dict[str, str]:
    """Versions of what decides a result."""
    names = ("nemo_toolkit", "torch", "torchaudio", "lightning", "lhotse", "sentencepiece")
    return {"python": platform.python_version(), **{name: metadata.version(name) for name in names}}


def git_commit() -> str | None:
    """Commit of this workflow, `-dirty` where tracked files differ; None outside a repository."""
    try:
        found = subprocess.run(
            ["git", "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"],
            cwd=Path(__file__).parent,
            capture_output=True,
            text=True,
            check=True,
        )
    except (OSError, subprocess.CalledProcessError):
        return None
    return found.stdout.strip()


def settings_digest(value: Any) -> str:
    """Short digest of a settings tree."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()
