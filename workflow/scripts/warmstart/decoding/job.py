"""Decode test sets with one model at one precision and tier: what is current is left alone, what a
killed job has finished is not done again."""

import importlib.metadata
import logging
import platform
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from warmstart.data.utterances import TestUtterance, read_test_set
from warmstart.decoding import candidates, devices, hypotheses
from warmstart.decoding.journal import Journal
from warmstart.decoding.test_set import Decoded, batch_check, decode_test_set
from warmstart.models import DEFAULT_FAMILY, open_family
from warmstart.models.base import Decoder, EncoderFile
from warmstart.models.tier import Tier
from warmstart.run import files, kept, vouchers
from warmstart.run.errors import UserError
from warmstart.study.grid import Run

_PACKAGES = ("nemo-toolkit", "torch", "onnxruntime", "lhotse")

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Job:
    """What is decoded, how, and where it goes.

    Attributes:
        run: training set, arm, hours and seed.
        precision: its name.
        model: file of the model.
        tier: to decode at.
        cuts, outputs: `lang/test set` -> manifest, hypothesis file.
        family: of the model.
        encoder: `encoder.onnx` for this model and tier; None = the model's own.
        zero_shot: the model is a donor as published.
        prompt: language, as the model's own dictionary of prompts names it.
        batch_size: utterances.
        batch_duration_s: audio in a batch at most, with padding; nothing follows from it.
        device: auto, cpu or cuda.
        threads: of PyTorch and ONNX Runtime.
        log_candidates: so many of the best tokens of each emission are kept in a file beside the
            hypotheses, which do not follow from it; 0 = none, and no such file.
        version: of the stage; hypotheses of another one are not current.
    """

    run: Run
    precision: str
    model: Path
    tier: Tier
    cuts: dict[str, Path]
    outputs: dict[str, Path]
    family: str = DEFAULT_FAMILY
    encoder: Path | None = None
    zero_shot: bool = False
    prompt: str | None = None
    batch_size: int = 32
    batch_duration_s: float = 1920
    device: str = "auto"
    threads: int = 1
    log_candidates: int = 0
    version: int = 0

    def files(self, output: Path) -> list[Path]:
        """Everything that is made of a test set, by the name of its hypotheses."""
        made = [output, hypotheses.header_path(output)]
        return [*made, candidates.path_of(output)] if self.log_candidates else made


@dataclass(frozen=True)
class Work:
    """A test set that is to be decoded.

    Attributes:
        about: what its header begins with, `fingerprint` in it.
    """

    test_set: str
    utterances: list[TestUtterance]
    output: Path
    about: dict[str, Any]


def decode(job: Job) -> None:
    """Do the job: every hypothesis file and its header are there at its end.

    Raises:
        UserError: bad settings, inputs that are missing or do not belong together, or see
            `decode_test_set`.
    """
    if job.batch_size < 1:
        raise UserError(f"batch_size is {job.batch_size}; at least 1 is needed")
    for path in (job.model, job.encoder):
        if path is not None and not path.exists():
            raise UserError(f"{path}: no such file; run the rule that makes it")
    device = devices.resolve_device(job.device)
    made_of = identity(job, device)
    work = to_do(job, made_of)
    finished = [path for output in job.outputs.values() for path in job.files(output)]
    if not work:
        kept.keep(finished)
        return

    started = time.perf_counter()
    import torch

    torch.set_num_threads(job.threads)
    model_decoder = open_decoder(job, device, made_of["model_sha256"])
    load_s = time.perf_counter() - started
    versions = {
        "python": platform.python_version(),
        **{package: _version(package) for package in _PACKAGES},
    }
    measured_on = {"device_name": devices.device_name(device), "threads": job.threads}
    # Of a job that fails Snakemake removes all outputs, finished ones too: what vouches for them
    # stays until the last is there.
    journals: list[Journal] = []
    checked: dict[str, Any] = {}
    for one in work:
        # Lines of a journal without candidates are not those of one that has them.
        kept_too = f" {job.log_candidates} candidates" if job.log_candidates else ""
        journal = Journal(hypotheses.journal_path(one.output), one.about["fingerprint"] + kept_too)
        journals.append(journal)
        decoder = of_language(model_decoder, one.about["lang"], job.log_candidates)
        decoded = decode_test_set(
            decoder, one.utterances, job.batch_size, journal, measured_on, job.batch_duration_s
        )
        if not checked:
            checked = {
                "test_set": one.test_set,
                **batch_check(decoder, one.utterances, job.batch_size, journal),
            }
            if checked["differing_utterances"]:
                logger.warning("tokens depend on the batch: %s", checked)
        header = {
            **one.about,
            **measured(decoder, one, decoded, load_s),
            # On a few utterances of the first test set of this job. A chunk is one of a live
            # stream; offline has none.
            "batch_check": checked,
            **decoded.measured_on,
            "versions": versions,
        }
        if job.log_candidates:
            header[candidates.KEY] = candidates.write(
                candidates.path_of(one.output), journal.lines(), decoder, job.log_candidates
            )
        hypotheses.write_hypotheses(one.output, map(candidates.without, journal.lines()), header)
        logger.info(
            "%s at %s: %d utterances, %.0f s of audio in %.2f s (RTFx %.0f)",
            *(one.test_set, job.tier.name, len(one.utterances), header["audio_s"]),
            *(header["compute_s"], header["rtfx"]),
        )
    kept.keep(finished)
    for journal in journals:
        journal.remove()


def identity(job: Job, device: str) -> dict[str, Any]:
    """Everything that hypotheses depend on beside the test set.

    Raises:
        UserError: model or encoder are not what their records say.
    """
    found: dict[str, Any] = {
        "version": job.version,
        **vars(job.run),
        "precision": job.precision,
        "tier": job.tier.name,
        "left": job.tier.left,
        "right": job.tier.right,
        "offline": job.tier.offline,
        **job.tier.of_languages(),
        "batch_size": job.batch_size,
        "device": device,
        "model_sha256": vouchers.verified(job.model),
        "encoder_sha256": vouchers.verified(job.encoder) if job.encoder else None,
    }
    # What equals its default is no part of a fingerprint.
    if job.zero_shot or job.prompt:
        found |= {"zero_shot": job.zero_shot, "prompt": job.prompt}
    if job.family != DEFAULT_FAMILY:
        found |= {"family": job.family}
    return found


def to_do(job: Job, made_of: dict[str, Any]) -> list[Work]:
    """The test sets whose hypotheses are not current.

    Raises:
        UserError: see `read_test_set`.
    """
    work = []
    for test_set, manifest in job.cuts.items():
        output = job.outputs[test_set]
        utterances = read_test_set(manifest)
        lang, _, name = test_set.rpartition("/")
        about = {**made_of, "lang": lang, "test_set": name}
        about["manifest_sha256"] = files.digest(manifest)
        about["fingerprint"] = hypotheses.fingerprint(**about)
        # Snakemake has removed all outputs of the job, of test sets that are as they were too.
        kept.give_back(job.files(output))
        if hypotheses.is_current(output, about["fingerprint"]) and (
            not job.log_candidates or candidates.are_current(output, job.log_candidates)
        ):
            logger.info("%s: current, left as it is", output)
            hypotheses.journal_path(output).unlink(missing_ok=True)
        else:
            work.append(Work(test_set, utterances, output, about))
    return work


def open_decoder(job: Job, device: str, model_sha256: str) -> Decoder:
    """Model and encoder for this precision, ready to decode.

    Raises:
        UserError: see `base.Family.load` and `base.Recogniser.decoder`.
    """
    model = open_family(job.family).load(job.model, device)
    tier = model.as_published(job.tier) if job.zero_shot else job.tier
    encoder = EncoderFile(job.encoder, model_sha256, job.threads) if job.encoder else None
    return model.decoder(tier, encoder, job.prompt)


def of_language(decoder: Decoder, lang: str, log_candidates: int) -> Decoder:
    """A decoder for the test sets of a language: its head, where the model has one a language.

    Raises:
        UserError: it has none of this language.
    """
    decoder = decoder.of_language(lang)
    if not log_candidates:
        return decoder
    if (size := len(decoder.vocabulary.pieces)) < log_candidates:
        logger.warning(
            "decoding.log_candidates is %d, and the model has %d tokens: all of them are kept",
            *(log_candidates, size),
        )
    return decoder.with_candidates(log_candidates)


def measured(decoder: Decoder, work: Work, decoded: Decoded, load_s: float) -> dict[str, Any]:
    """What a header says of a decode: sizes and speeds.

    Args:
        load_s: it took to load the model; not part of the speed, nor is reading audio.
    """
    timing, tier = decoded.timing, decoder.tier
    audio_s = sum(utterance.duration_s for utterance in work.utterances)
    return {
        "left": tier.left,
        "engine": decoder.engine,
        "lookahead_ms": None if tier.offline else tier.lookahead_ms,
        "utterances": len(work.utterances),
        "tokens": decoded.tokens,
        "audio_s": round(audio_s, 3),
        # From waveforms in memory to tokens.
        "compute_s": round(timing.compute_s, 4),
        "features_s": round(timing.features_s, 4),
        "load_s": round(load_s, 3),
        "rtfx": round(audio_s / timing.compute_s, 2),
    }


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None
