"""Pretrain an encoder by CTC on one or several languages, to be the warm start of fine-tuning."""

import logging
import shutil
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from warmstart.data import cut_lines, mixing, tokenizer
from warmstart.data.targets import BPE, Targets
from warmstart.models import DEFAULT_PRETRAINING, open_family
from warmstart.run import files
from warmstart.training import alignment, loop, record
from warmstart.training.validation import Validation

# Of the language with the least held-out audio: what is drawn of each, because a draw stops at the
# first cut beyond its share.
_DEV_SHARE = 0.99

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Pretraining:
    """One encoder.

    Attributes:
        cuts: language -> manifest.
        dev_cuts: the same of held-out cuts; none = no word error rate.
        settings: hours, steps, seed, tokens, vocab_size, batch_duration_s, optimizer, schedule,
            model (`training.model`), text (language -> its block `text`), and the family whose
            encoder is pretrained, if it is not `DEFAULT_PRETRAINING`.
        work_dir: tokenizer and checkpoints until it is done.
        output: the donor; its record is written beside it, as `.json`.
    """

    cuts: dict[str, Path]
    dev_cuts: dict[str, Path]
    settings: Any
    work_dir: Path
    output: Path


def pretrain(job: Pretraining) -> None:
    """Do the job: the donor and its record are there at its end.

    Raises:
        UserError: too little audio, or see `alignment.count` and `loop.fit`.
        SystemExit: see `loop.fit`.
    """
    started = time.monotonic()
    settings, work = job.settings, job.work_dir
    steps, seed = settings["steps"], settings["seed"]
    chosen, text = work / "cuts.jsonl.gz", settings.get("text") or {}
    hours = mixing.equal_hours(job.cuts, settings["hours"], seed, text, chosen)
    targets = Targets(settings.get("tokens", BPE), text)
    _make_tokenizer(chosen, targets, work / "tokenizer", settings["vocab_size"])
    recogniser = open_family(settings.get("family", DEFAULT_PRETRAINING)).build(
        None, settings, tokenizer=work / "tokenizer", seed=seed, steps=steps
    )
    cuts = mixing.totals(chosen).cuts
    learnable = alignment.count(recogniser, chosen, cuts, settings["speed_perturb"], targets)
    total = sum(hours.values())
    logger.info(
        "%s, %.3f h in all, %d steps",
        ", ".join(f"{lang} {value:.3f} h" for lang, value in hours.items()),
        total,
        steps,
    )
    validate = None
    if job.dev_cuts:
        dev = _held_out(job, work / "dev.jsonl.gz")
        validate = Validation(
            recogniser,
            [(dev, None)],
            settings["batch_duration_s"],
            settings["max_unreadable_fraction"],
            targets,
        )
    digests = {
        "cuts": files.digest(chosen),
        "tokenizer": files.digest(work / "tokenizer" / "tokenizer.model"),
    }
    recorder = loop.fit(
        recogniser,
        chosen,
        settings,
        steps=steps,
        seed=seed,
        run_dir=work,
        total_hours=total,
        validate=validate,
        identity={"inputs": digests | targets.about()},
        targets=targets,
    )
    loop.write(recogniser.save_donor, job.output)
    process = record.of_process()
    files.write_json(
        job.output.with_suffix(".json"),
        {
            "hours": {lang: round(value, 5) for lang, value in hours.items()},
            "cuts": cuts,
            **learnable.record(),
            "steps": steps,
            "seed": seed,
            "epochs": round(recorder.epochs, 3),
            "final": recorder.final,
            "parameters_encoder": record.parameters(recogniser)["encoder"],
            "settings": settings,
            **({"phonemiser": about} if (about := targets.about()) else {}),
            "cuts_sha256": digests["cuts"],
            "sha256": files.digest(job.output),
            **{name: process[name] for name in ("git_commit", "versions", "hardware", "cpu_s")},
            "wall_s": round(time.monotonic() - started, 1),
        },
    )
    shutil.rmtree(work)
    logger.info(
        "%s: %.1f MB after %.0f s",
        job.output,
        job.output.stat().st_size / 1e6,
        time.monotonic() - started,
    )


def _make_tokenizer(chosen: Path, targets: Targets, folder: Path, vocab_size: int) -> None:
    """Of the text that is pretrained on."""
    if targets.tokens == BPE:
        texts = tokenizer.supervision_texts(chosen)
        tokenizer.train(texts, folder, vocab_size, key="inits.NAME.pretrain.vocab_size")
        return
    written = (
        targets.of(cut_lines.supervision(cut)["text"], mixing.language(cut))
        for cut in cut_lines.read(chosen)
    )
    tokenizer.train_units((unit for text in written for unit in targets.units(text)), folder)


def _held_out(job: Pretraining, output: Path) -> Path:
    """Write as much held-out audio of each language as the one with the least has."""
    seconds = [
        sum(cut_lines.duration_s(cut) for cut in cut_lines.read(path))
        for path in job.dev_cuts.values()
    ]
    hours = _DEV_SHARE * min(seconds) * len(seconds) / 3600
    settings = job.settings
    mixing.equal_hours(job.dev_cuts, hours, settings["seed"], settings.get("text") or {}, output)
    return output
