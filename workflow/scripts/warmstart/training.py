"""One training loop for fine-tuning and pretraining: exact data order, hours that are true, resume at the same step.

Around NeMo's models, Lhotse dataloader and Lightning's trainer and checkpoints this module adds what a paired comparison needs:

- the order of cuts depends on the data, the settings and the seed, never on the init or on an interruption;
- the random numbers of a step (dropout, attention context, dither) are drawn from (seed, step), so that two inits see the
  same ones and a resumed run continues with those it would have had;
- hours are counted from the cuts of each finished step and kept in the checkpoint.
"""

import hashlib
import logging
import math
import random
import signal
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import numpy as np
import torch
from omegaconf import OmegaConf

from warmstart import checkpoints, controls, files, memory, recipe, replay
from warmstart import cuts as manifests
from warmstart.augment import Augmentation
from warmstart.distributed import Ranks
from warmstart.errors import UserError
from warmstart.interruption import Interruption
from warmstart.optimizer_steps import resolve_steps as resolve_steps
from warmstart.progress import Progress
from warmstart.provenance import Starts
from warmstart.text import normalize

logger = logging.getLogger(__name__)

_PREFETCHED = 256  # batches that workers may be ahead of the step that is trained
_FUSED = 4  # utterances, as in NeMo's recipes
_WINDOW = 8  # batches per process among which those of a step are matched by length


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


class CompiledRNNTLoss(torch.nn.Module):
    """Stands in for the kernel inside NeMo's `RNNTLoss`: torchaudio's, compiled for CPU and CUDA.

    Same values and gradients. NeMo's default is compiled by numba when it is first used: an order of magnitude slower on a CPU,
    and on a GPU it needs numba-cuda and libNVVM, which neither torch nor the lock brings.
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


def use_fast_loss(model: Any, fused: bool | None = None) -> None:
    """Choose the way to the transducer loss that suits the device.

    Args:
        model: a transducer.
        fused: joint and loss a few utterances at a time, because the whole (B, T, U, V) tensor of a large batch does not fit;
            None = on a GPU.
    """
    # The joint must not apply log_softmax a second time: torchaudio's loss contains it.
    model.joint.log_softmax = False
    model.loss._loss = CompiledRNNTLoss(blank=model.joint.num_classes_with_blank - 1)
    if torch.cuda.is_available() if fused is None else fused:
        model.joint.set_fused_batch_size(_FUSED)
        model.joint.set_fuse_loss_wer(True, loss=model.loss, metric=model.wer)


def seed_step(seed: int, step: int, rank: int = 0) -> None:
    """Set all random generators to what process `rank` of a run of `seed` has at `step`."""

    def draw(key: str) -> int:
        return int.from_bytes(hashlib.sha256(key.encode()).digest()[:4], "big")

    # NeMo draws the attention context from `random`: the same in all processes, so that none waits for a wider one.
    random.seed(draw(f"{seed} {step}"))
    drawn = draw(f"{seed} {step} {rank}" if rank else f"{seed} {step}")
    torch.manual_seed(drawn)
    np.random.seed(drawn)


class EndlessSampler(torch.utils.data.Sampler):
    """Batches of a Lhotse sampler without end: whole epochs, each with every cut once, from any position on.

    Several processes deal one stream among themselves, a batch each per step: every batch of an epoch falls to exactly one of
    them, none is repeated or dropped to make the numbers even (Lhotse's own ranks repeat cuts where an epoch ends), and a step
    may take the last batches of one epoch and the first of the next.

    Remembers which cuts are in the batches it gave out, so that hours and error messages name the batch that was trained.

    Args:
        inner: Lhotse's sampler over all cuts, as for one process.
        augmentation: what is done to the cuts.
        ranks: which process this is, of how many; None = the only one.
    """

    def __init__(self, inner: Any, augmentation: Augmentation, ranks: Ranks | None = None):
        self._inner, self._augmentation = inner, augmentation
        self._rank, self._world = (ranks.rank, ranks.world) if ranks else (0, 1)
        augmentation.prepare(inner)
        self.start = (0, 0)  # epoch, batches of it to skip
        self.recent: OrderedDict[int, dict[str, Any]] = OrderedDict()
        self.first_step = 0

    def __iter__(self) -> Iterator[Any]:
        step, dealt = self.first_step, 0
        for position, batch in self._from(*self.start):
            if dealt == self._rank:
                own, batch = batch, self._augmentation.with_noise(batch)
                self.recent[step] = {
                    "ids": [cut.id for cut in own],
                    "durations_s": [cut.duration for cut in own],
                    "budget_s": self._budget_s(own),
                    "replay_s": sum(cut.duration for cut in own if replay.language(cut)),
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
        """The first batches of the first epoch. Of a sampler of its own: Lhotse's keeps its place in itself."""
        self._inner.set_epoch(0)
        self._augmentation.epoch = 0
        yield from map(self._augmentation.with_noise, islice(iter(self._inner), count))

    def _from(self, epoch: int, skip: int) -> Iterator[tuple[dict[str, Any], Any]]:
        """(position: epoch, number of the batch in it from 1, seconds of the budget in it so far; batch)."""
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
                raise UserError("no batch can be made from the training cuts; raise training.batch_duration_s")
            epoch, skip = epoch + 1, 0

    def _budget_s(self, batch: Any) -> float:
        """Seconds of the budget: as recorded, not as sped up or slowed down, and without a replayed language."""
        return sum(cut.duration * self._augmentation.speed_of(cut.id) for cut in batch if not replay.language(cut))

    def _matched(self, epoch: int) -> Iterator[Any]:
        """An epoch in an order in which the batches of a step are of like length: the slowest process sets the pace."""
        if self._world == 1:
            yield from self._inner
            return
        # A generator, because Lhotse's sampler begins anew when it is asked once more after its end.
        batches = (batch for batch in self._inner)
        order = random.Random(epoch)
        while window := list(islice(batches, _WINDOW * self._world)):
            window.sort(key=lambda batch: max(cut.duration for cut in batch))
            steps = [window[first : first + self._world] for first in range(0, len(window), self._world)]
            order.shuffle(steps)
            for step in steps:
                yield from step


def dataloader(
    model: Any, cuts_path: str | Path, settings: dict[str, Any], seed: int, ranks: Ranks | None = None
) -> tuple[Any, EndlessSampler]:
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
    sampler = EndlessSampler(made.sampler, augmentation, ranks)
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
        ranks: Ranks,
    ):
        self._sampler, self._total_hours, self._steps, self._seed, self._settings = sampler, total_hours, steps, seed, settings
        self._validate = validate
        self._every = settings.get("log_every_steps", 50)
        self._validate_every = settings.get("validate_every_steps", 1000)
        self._ranks = ranks
        self._progress = Progress(run_dir, steps, shown=ranks.first)
        self.starts = Starts(run_dir / "checkpoints" / "starts.json", ranks.world, shown=ranks.first)
        self.interruption = Interruption()
        self._window = {"loss": [], "padded_s": 0.0, "audio_s": 0.0}
        self.state = {"hours_seen": 0.0, "elapsed_s": 0.0, "epoch": 0, "index": 0, "epoch_s": 0.0, "undecodable": 0, "step": 0}
        # Hours heard of the budget, were each cut heard as recorded; and hours heard of a replayed language.
        self.state |= {"budget_hours": 0.0, "replay_hours": 0.0}
        self.padding = {"audio_s": 0.0, "padded_s": 0.0}
        self.averaged_steps: list[int] = []  # of the checkpoints whose mean the model is; none: its last weights
        self._clock = time.monotonic()

    # What a checkpoint carries.

    def state_dict(self) -> dict[str, Any]:
        """Position in the data, hours and seconds so far."""
        return {
            **self.state,
            "elapsed_s": self.elapsed_s,
            **self.padding,
            "rows": self._progress.rows,
            # Steps since the last row, which the next one is about too.
            "window": {**self._window, "loss": list(self._window["loss"])},
        }

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Continue where the checkpoint was made."""
        self.state = {name: state_dict.get(name, value) for name, value in self.state.items()}
        self.padding = {name: state_dict[name] for name in self.padding}
        self._progress.rows = state_dict["rows"]
        self._window = state_dict.get("window", self._window)
        self._sampler.start = (self.state["epoch"], self.state["index"])
        self._sampler.first_step = self.state["step"]

    def on_train_start(self, trainer: pl.Trainer, pl_module: Any) -> None:
        """Begin or continue the table, and listen to the signals of a scheduler."""
        self._clock = time.monotonic()
        self._progress.start(self.state["step"])
        self.starts.begin(self.state["step"])
        self.interruption.listen()
        if self._validation_due and self._window["loss"]:
            # A signal came before it; otherwise the row of such a step is there, and no step waits for a row.
            validated = self._validation(trainer, pl_module)
            if not validated:
                self._leave(trainer, self.interruption.received)
            self._row(trainer, validated)

    def show(self) -> None:
        """Write train.csv anew."""
        self._progress.write_table()

    def close(self) -> None:
        """However training ended: close what is shown, give the signals back."""
        self._progress.close()
        self.interruption.restore()

    def on_train_batch_start(self, trainer: pl.Trainer, pl_module: Any, batch: Any, batch_idx: int) -> None:
        """Random numbers of this step from (seed, step)."""
        seed_step(self._seed, trainer.global_step, self._ranks.rank)

    def on_train_batch_end(self, trainer: pl.Trainer, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        """Count the finished step; stop on a loss that is no number, or on a signal."""
        step = trainer.global_step
        trained = self._sampler.recent[step - 1]
        loss = float(outputs["loss"])
        lengths = batch[1]
        missing = len(trained["ids"]) - len(lengths)
        if missing:
            logger.warning("step %d: %d of %d cuts could not be decoded and were left out", step, missing, len(trained["ids"]))
        audio_s = float(lengths.sum()) / 16000
        declared_s = sum(trained["durations_s"])
        # Of cuts that could not be decoded it is not known which: a replayed one and one of the budget count alike.
        replay_s = audio_s * (trained["replay_s"] / declared_s)
        budget_s = audio_s * (trained["budget_s"] / declared_s)
        padded_s = batch[0].shape[0] * batch[0].shape[1] / 16000
        bad, loss_sum, audio_s, replay_s, budget_s, padded_s, missing, *signals = self._ranks.sum(
            *(not math.isfinite(loss), loss, audio_s, replay_s, budget_s, padded_s, missing),
            *(self.interruption.received == number for number in self.interruption.SIGNALS),
        )
        if bad:
            raise UserError(self._bad_loss(loss, step, trained))
        loss = loss_sum / self._ranks.world
        self.state.update(
            step=step,
            hours_seen=self.state["hours_seen"] + (audio_s - replay_s) / 3600,
            budget_hours=self.state["budget_hours"] + budget_s / 3600,
            replay_hours=self.state["replay_hours"] + replay_s / 3600,
            epoch=trained["epoch"],
            index=trained["index"],
            epoch_s=trained["epoch_s"],
            undecodable=self.state["undecodable"] + int(missing),
        )
        self.padding["audio_s"] += audio_s
        self.padding["padded_s"] += padded_s
        self._window["loss"].append(loss)
        self._window["audio_s"] += audio_s
        self._window["padded_s"] += padded_s

        last = step == self._steps
        leaving = any(signals) and not last
        validated = {} if leaving else self._validation(trainer, pl_module)
        if self._validation_due and not validated and not leaving:
            leaving, signals = True, [self.interruption.received == number for number in self.interruption.SIGNALS]
        lr = trainer.optimizers[0].param_groups[0]["lr"]
        self._progress.step(loss, lr, self.padding["audio_s"] / self.elapsed_s)
        due = self._progress.due()
        if due or validated:
            seen, heard = self.state["hours_seen"], self.padding["audio_s"] / 3600
            mean_loss = sum(self._window["loss"]) / len(self._window["loss"])
            self._progress.say(step, mean_loss, lr, seen, heard, self.elapsed_s, validated.get("dev_wer"))
        postponed = self._validation_due and not validated
        if not postponed and (last or validated or step % self._every == 0):
            self._row(trainer, validated)
            due = True
        if due:
            self.starts.note(step)
        if leaving:
            self._leave(trainer, max(number for number, sent in zip(self.interruption.SIGNALS, signals, strict=True) if sent))

    @property
    def _validation_due(self) -> bool:
        step = self.state["step"]
        return self._validate is not None and step > 0 and (step == self._steps or step % self._validate_every == 0)

    def _validation(self, trainer: pl.Trainer, model: Any) -> dict[str, float]:
        """Empty where none is due, or a signal broke it off: it may take longer than a scheduler waits."""
        if not self._validation_due:
            return {}
        # Several processes must agree, and do not hear of a signal at the same time: theirs is finished first.
        breaks_off = self._ranks.world == 1 and self.state["step"] != self._steps
        with trainer.precision_plugin.val_step_context():
            return self._validate(model, self._ranks, (lambda: self.interruption.received) if breaks_off else None)

    def _leave(self, trainer: pl.Trainer, number: int) -> None:
        """Write a checkpoint and end, so that the scheduler starts the same command again."""
        step = self.state["step"]
        path = checkpoints.path_at(trainer.checkpoint_callback.dirpath, step)
        if not trainer.strategy.broadcast(path.exists()):
            trainer.save_checkpoint(path)
        self.starts.note(step)
        if self._ranks.first:
            logger.warning(
                "stopped by %s: checkpoint at step %d of %d; start again to resume (%s)",
                *(signal.Signals(number).name, step, self._steps, path),
            )
        raise SystemExit(self.interruption.status(number))

    @staticmethod
    def _bad_loss(loss: float, step: int, trained: dict[str, Any]) -> str:
        if math.isfinite(loss):
            return f"loss of another process is not finite at step {step}; its log names the cuts"
        worst = sorted(zip(trained["durations_s"], trained["ids"], strict=True), reverse=True)[:8]
        listed = ", ".join(f"{cut_id} ({duration:.2f} s)" for duration, cut_id in worst)
        return (
            f"loss is {loss} at step {step}; {len(trained['ids'])} cuts in the batch: {listed}; lower "
            "training.optimizer.lr or training.gradient_clip, or look at these recordings"
        )

    @property
    def last_row(self) -> dict[str, Any]:
        """The newest row of train.csv, empty before the first."""
        return self._progress.last_row

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
        """Seconds in the training loop, over all starts of the run, up to the checkpoints they left."""
        return self.state["elapsed_s"] + time.monotonic() - self._clock

    def _row(self, trainer: pl.Trainer, validated: dict[str, float]) -> None:
        groups = trainer.optimizers[0].param_groups
        elapsed_s, padded_s = self.elapsed_s, self._window["padded_s"]
        self._progress.row(
            {
                "step": self.state["step"],
                "loss": round(sum(self._window["loss"]) / len(self._window["loss"]), 5),
                "lr": float(f"{groups[0]['lr']:.4g}"),
                "lr_encoder": float(f"{groups[-1]['lr']:.4g}"),
                "hours_seen": round(self.state["hours_seen"], 6),
                "unique_hours": round(self.unique_hours, 6),
                "epochs": round(self.epochs, 4),
                "padding_share": round(1 - self._window["audio_s"] / padded_s, 4) if padded_s else "",
                "hours_per_hour": round(self.padding["audio_s"] / elapsed_s, 2),
                "elapsed_s": round(elapsed_s, 2),
                "replay_hours": round(self.state["replay_hours"], 6),
                **{name: round(value, 5) for name, value in validated.items()},
            }
        )
        self._window = {"loss": [], "padded_s": 0.0, "audio_s": 0.0}


class Validation:
    """Loss and greedy word error rate on held-out cuts, with the first context of the study.

    Args:
        cuts_path: a manifest; its texts are raw.
        batch_duration_s: audio in a batch.
        text: block `text` of the language, the normaliser of the training text; None where the texts are normalised already.
    """

    def __init__(self, cuts_path: str | Path, batch_duration_s: float, text: dict[str, Any] | None = None):
        self._path, self._batch_duration_s, self._text = cuts_path, batch_duration_s, text
        self._batches: list[Any] | None = None

    def __call__(self, model: Any, ranks: Ranks | None = None, broken_off: Callable[[], int] | None = None) -> dict[str, float]:
        """Evaluate; the model is in training mode again afterwards. Several processes share the batches.

        Args:
            model: a transducer.
            ranks: which process this is, of how many; None = the only one.
            broken_off: asked before each batch; true = stop here.

        Returns:
            `dev_loss` (mean over utterances), `dev_wer` (fraction, summed errors over summed words); nothing when broken off.
        """
        import jiwer

        ranks = ranks or Ranks({})
        was_training = model.training
        model.eval()
        references, hypotheses, loss, count = [], [], 0.0, 0
        with torch.no_grad():
            for texts, batch in self._load(model, ranks):
                if broken_off is not None and broken_off():
                    model.train(was_training)
                    return {}
                signal_, signal_len, tokens, token_len = (value.to(model.device) for value in batch)
                value, found = self._evaluate(model, signal_, signal_len, tokens, token_len)
                loss, count = loss + value * len(texts), count + len(texts)
                hypotheses += found
                references += texts
        model.train(was_training)
        kept = [(reference, hypothesis) for reference, hypothesis in zip(references, hypotheses, strict=True) if reference]
        errors = words = 0
        if kept:
            counted = jiwer.process_words([one for one, _ in kept], [other for _, other in kept])
            errors = counted.substitutions + counted.deletions + counted.insertions
            words = counted.hits + counted.substitutions + counted.deletions
        loss, count, errors, words = ranks.sum(loss, count, errors, words)
        return {"dev_loss": loss / max(count, 1), "dev_wer": errors / words if words else math.nan}

    def _load(self, model: Any, ranks: Ranks) -> list[Any]:
        if self._batches is None:
            from lhotse import CutSet
            from lhotse.dataset import DynamicCutSampler
            from nemo.collections.asr.data.audio_to_text_lhotse import LhotseSpeechToTextBpeDataset

            chosen = []
            for cut in CutSet.from_jsonl_lazy(self._path):
                if self._text is not None:
                    cut.supervisions[0].text = normalize(cut.supervisions[0].text, self._text)
                chosen.append(cut.resample(16000))
            if not chosen:
                raise UserError(f"{self._path}: no cuts to validate on")
            dataset = LhotseSpeechToTextBpeDataset(model.tokenizer, return_cuts=True)
            ordered = CutSet.from_cuts(sorted(chosen, key=lambda cut: -cut.duration))
            sampler = DynamicCutSampler(ordered, max_duration=self._batch_duration_s, shuffle=False)
            self._batches = []
            for batch in islice(sampler, ranks.rank, None, ranks.world):
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
    identity: dict[str, Any] | None = None,
) -> Recorder:
    """Train `model` until `steps`, from the newest whole checkpoint in `run_dir/checkpoints` if there is one.

    Args:
        model: of NeMo, with loss and optimizer settings.
        cuts_path: training cuts.
        settings: block `training`.
        steps, seed: of this run.
        run_dir: gets train.csv, tensorboard/ and checkpoints/.
        total_hours: audio of the budget.
        validate: see `Validation`.
        identity: what else than the settings decides the weights; checkpoints of anything else are not continued.

    Returns:
        The recorder with the totals of the run.

    Raises:
        UserError: loss that is no number, or out of memory; both with the durations of the batch and the key to lower.
        SystemExit: status 143 after SIGTERM, 138 after SIGUSR1, with a checkpoint.
    """
    recipe.check_averaging(settings, steps)
    ranks = Ranks(settings)
    directory = run_dir / "checkpoints"
    identity = {**(identity or {}), "settings": recipe.of_steps(settings), "seed": seed, "steps": steps}
    checkpoints.claim(directory, identity, tidy=ranks.first)
    loader, sampler = dataloader(model, cuts_path, settings, seed, ranks)
    recorder = Recorder(run_dir, sampler, total_hours, steps, seed, settings, validate, ranks)
    _, other = dataloader(model, cuts_path, settings, seed)
    probe = memory.LargestFirst(other, loader.dataset, settings["batch_duration_s"])
    averaged = settings.get("average_last", 0)
    saver = checkpoints.Saver(
        directory, settings.get("checkpoint_every_steps", recipe.CHECKPOINT_EVERY_STEPS), keep=max(2, averaged)
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
        precision={"32": "32-true"}.get(str(settings.get("precision", "32")), settings.get("precision", "32"))
        if on_gpu
        else "32-true",
        gradient_clip_val=settings.get("gradient_clip", 1.0) or None,
        callbacks=[recorder, probe, *controls.callbacks(settings, recorder), saver],
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
    # Else the encoder asks all processes for their longest utterance in every forward, and validation has not as many for each.
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
            memory.message(durations_s, settings["batch_duration_s"], f"in step {trainer.global_step + 1}")
        ) from error
    finally:
        recorder.close()
    # Complete also where nothing was left to train: a job that was killed between its last step and its output.
    recorder.show()
    if trainer.global_step != steps and not trainer.should_stop:
        raise RuntimeError(f"training ended at step {trainer.global_step} instead of {steps}")
    # A run that was stopped early may have left fewer.
    if averaged > 1 and len(paths := checkpoints.listed(directory, saver.every)[-averaged:]) > 1:
        checkpoints.average(model, paths)
        recorder.averaged_steps = [checkpoints.step_of(path) for path in paths]
    return recorder


def save(model: Any, output: Path) -> None:
    """Write the `.nemo`, whole or not at all; the same model gives the same bytes. Training settings do not travel with it."""
    from warmstart.packing import SameBytes

    model._save_restore_connector = SameBytes()
    # Where the tokenizer lay on this machine; the archive has its own.
    model.cfg.tokenizer.dir = "."
    with files.explaining_full_disk(output), files.atomic_path(output) as temporary:
        model.save_to(str(temporary))
