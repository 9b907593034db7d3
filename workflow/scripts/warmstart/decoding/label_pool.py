"""What a round is trained on, as the model of the round before decides: speech beyond the budget
with what that model wrote of it, or those cuts of the budget whose texts it agrees with."""

import logging
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from warmstart.data import cut_lines, mixing, pseudo_labels
from warmstart.data.pseudo_labels import Label
from warmstart.data.text import normaliser
from warmstart.data.utterances import TestUtterance
from warmstart.decoding import devices, hypotheses
from warmstart.decoding.journal import Journal
from warmstart.decoding.test_set import decode_test_set
from warmstart.evidence import pseudo_labels as counted
from warmstart.evidence.scoring import is_looping
from warmstart.models import kind_of, open_family
from warmstart.models.base import Decoder, Hypothesis
from warmstart.models.tier import Tier
from warmstart.run import files, kept, vouchers
from warmstart.run.errors import UserError
from warmstart.study.grid import Run
from warmstart.study.rounds import CLEAN, HARDEST, LABELLED, PSEUDO

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Spoken:
    """A language of the training set.

    Attributes:
        lang: its code.
        weight: its audio in relation to the others'.
        labelled: its budget.
        heard: the budget of all that is heard; None where nothing beyond the first is.
        pool: settings of its pool.
        tests: name -> manifest of the test sets that the pool is kept free of.
    """

    lang: str
    weight: float
    labelled: Path
    heard: Path | None
    pool: dict[str, Any]
    tests: list[tuple[str, Path]]


@dataclass(frozen=True)
class Job:
    """What is chosen, how, and where it goes.

    Attributes:
        run: training set, arm, hours and seed.
        number: of the round that is trained on it, from 2.
        data, keep, min_confidence: see `study.rounds.Round`.
        model: of the round before.
        family: of the model.
        tier: at which it is asked.
        languages: of the training set.
        output: training cuts of the round.
        labels: what became of each cut, see `evidence.pseudo_labels.COLUMNS`.
        report: the same, counted.
        replay: cuts of another language between those of the round.
        batch_size, batch_duration_s, device, threads: as of a decode.
        version: of the stage; what another one left is not gone on with.
    """

    run: Run
    number: int
    data: str
    model: Path
    tier: Tier
    languages: Sequence[Spoken]
    output: Path
    labels: Path
    report: Path
    keep: float = 1.0
    min_confidence: float = 0.0
    family: str = ""
    replay: mixing.Replay | None = None
    batch_size: int = 32
    batch_duration_s: float = 1920
    device: str = "auto"
    threads: int = 1
    version: int = 0
    files: list[Path] = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "files", [self.output, self.labels, self.report])

    def check(self) -> None:
        """Refuse what cannot be done.

        Raises:
            UserError: with what is missing or wrong.
        """
        if self.data not in (PSEUDO, CLEAN, HARDEST):
            raise UserError(f"--data is {self.data!r}; give {PSEUDO}, {CLEAN} or {HARDEST}")
        if self.data == PSEUDO and not kind_of(self.family).confidence:
            raise UserError(
                f"models of family {self.family} do not say how sure they are, so that no label "
                "can be kept by it"
            )
        inputs = [self.model]
        for one in self.languages:
            inputs += [one.labelled, *([one.heard] if one.heard else [])]
            if self.data == PSEUDO and one.heard is None:
                raise UserError(
                    f"{one.lang}: no speech beyond the budget is given to label (--heard)"
                )
        if missing := [path for path in inputs if not path.exists()]:
            raise UserError(f"{missing[0]}: no such file; run the rule that makes it")


def label(job: Job) -> None:
    """Do the job: training cuts, labels and report are there at its end.

    Raises:
        UserError: see `Job.check`; audio that cannot be read; or a round that keeps no cut.
    """
    job.check()
    device = devices.resolve_device(job.device)
    made_of = identity(job, device)
    if kept.take_back(job.report.parent, made_of, job.files):
        logger.info("%s: made of the same model and cuts before", job.output)
        return
    decoder = _decoder(job, device)
    found = {one.lang: _ask(job, one, decoder, made_of, device) for one in job.languages}
    chosen, journals, compute_s = {}, [], 0.0
    for one in job.languages:
        labels, journal, took_s = found[one.lang]
        chosen[one.lang] = labels
        journals.append(journal)
        compute_s += took_s
    _require_some(job, chosen)
    counted.write(job.labels, _rows(job, chosen))
    mixed = _write_cuts(job, chosen)
    report = {
        **vars(job.run),
        "round": job.number,
        "data": job.data,
        "keep": job.keep,
        "min_confidence": job.min_confidence,
        "confidence": decoder.confidence_measure if job.data == PSEUDO else None,
        "tier": job.tier.name,
        "model_sha256": made_of["model_sha256"],
        "languages": {lang: pseudo_labels.tally(labels) for lang, labels in chosen.items()},
        "trained_on": {key: mixed[key] for key in ("cuts", "hours")},
        "compute_s": round(compute_s, 3),
        "version": job.version,
    }
    files.write_json(job.report, report)
    kept.vouch(job.report.parent, made_of, job.files)
    for journal in journals:
        journal.remove()
    for lang, amount in report["languages"].items():
        gone = ", ".join(f"{why} {one['cuts']}" for why, one in amount["dropped"].items())
        logger.info(
            "round %d, %s: %d of %d cuts kept, %.4g of %.4g h; dropped: %s",
            *(job.number, lang, amount["kept"]["cuts"], amount["heard"]["cuts"]),
            *(amount["kept"]["hours"], amount["heard"]["hours"], gone or "none"),
        )


def identity(job: Job, device: str) -> dict[str, Any]:
    """Everything that the choice depends on, as JSON values.

    Raises:
        UserError: the model is not what its record says.
    """
    return {
        "version": job.version,
        **vars(job.run),
        **{"round": job.number, "data": job.data, "keep": job.keep},
        **{"min_confidence": job.min_confidence, "family": job.family},
        "model_sha256": vouchers.verified(job.model),
        "tier": job.tier.as_json() | {"name": job.tier.name},
        "batch_size": job.batch_size,
        "device": device,
        "languages": {
            one.lang: {
                "weight": one.weight,
                "labelled": files.digest(one.labelled),
                "heard": files.digest(one.heard) if one.heard else None,
                "pool": one.pool,
                "tests": {name: files.digest(path) for name, path in one.tests},
            }
            for one in job.languages
        },
        "replay": [job.replay.lang, job.replay.fraction, files.digest(job.replay.pool)]
        if job.replay
        else None,
    }


def _decoder(job: Job, device: str) -> Decoder:
    import torch

    torch.set_num_threads(job.threads)
    decoder = open_family(job.family).load(job.model, device).decoder(job.tier)
    return decoder.with_confidence() if job.data == PSEUDO else decoder


def _ask(
    job: Job, one: Spoken, decoder: Decoder, made_of: Mapping[str, Any], device: str
) -> tuple[list[Label], Journal, float]:
    """What the model makes of a language's cuts, and which of them the round has."""
    cuts = list(_hidden(job, one))
    utterances = [_utterance(cut, one.lang) for cut in cuts]
    journal = Journal(
        hypotheses.journal_path(job.output.with_name(f"{one.lang}.jsonl")),
        hypotheses.fingerprint(**made_of, asked=one.lang),
    )
    timing = 0.0
    if utterances:
        decoded = decode_test_set(
            decoder.of_language(one.lang),
            *(utterances, job.batch_size, journal),
            {"device_name": devices.device_name(device), "threads": job.threads},
            job.batch_duration_s,
            line=_line,
        )
        timing = decoded.timing.compute_s
    labels = [
        Label(cut, line["hyp"], line["confidence"], is_looping(line["hyp"], ""))
        for cut, line in zip(cuts, journal.lines(), strict=True)
    ]
    if job.data == PSEUDO:
        labels = pseudo_labels.checked(labels, one.pool, one.tests)
        return pseudo_labels.kept(labels, job.keep, job.min_confidence), journal, timing
    rates = [rate for *_, rate in _errors(job, one, labels)]
    ranks = rates if job.data == CLEAN else [-rate for rate in rates]
    return pseudo_labels.best(labels, ranks, job.keep), journal, timing


def _hidden(job: Job, one: Spoken) -> Iterator[dict[str, Any]]:
    """The cuts that the model is asked about, without their texts."""
    if job.data != PSEUDO:
        return map(pseudo_labels.without_text, cut_lines.read(one.labelled))
    assert one.heard is not None
    return pseudo_labels.beyond(one.labelled, one.heard)


def _utterance(cut: dict[str, Any], lang: str) -> TestUtterance:
    supervision = cut_lines.supervision(cut)
    return TestUtterance(
        id=cut["id"],
        lang=lang,
        block=str(cut_lines.custom(cut).get("block") or supervision.get("speaker") or cut["id"]),
        duration_s=float(cut_lines.duration_s(cut)),
        text="",
        line=cut_lines.line(cut),
        speaker=supervision.get("speaker"),
    )


def _line(utterance: TestUtterance, hypothesis: Hypothesis) -> dict[str, Any]:
    sure = hypothesis.confidence
    return {"id": utterance.id, "hyp": hypothesis.text, "confidence": round(sure or 0.0, 6)}


def _errors(job: Job, one: Spoken, labels: Sequence[Label]) -> list[tuple[int, int, float]]:
    """Words, errors and rate of characters of labels against the texts that people wrote: of hidden
    ones only after the choice, for the record."""
    texts = {
        cut["id"]: cut_lines.supervision(cut)["text"]
        for cut in cut_lines.read(one.heard if job.data == PSEUDO and one.heard else one.labelled)
    }
    normalise = normaliser(one.pool["text"])
    return counted.errors(
        [texts[label.cut["id"]] for label in labels],
        [normalise(label.text) for label in labels],
        one.pool["text"],
    )


def _require_some(job: Job, chosen: Mapping[str, Sequence[Label]]) -> None:
    """Refuse a round that would be one of the rounds before over again.

    Raises:
        UserError: with what became of the cuts.
    """
    for lang, labels in chosen.items():
        if any(not one.reason for one in labels):
            continue
        amounts = pseudo_labels.tally(labels)
        gone = ", ".join(f"{why} {one['cuts']}" for why, one in amounts["dropped"].items())
        raise UserError(
            f"round {job.number} of {job.run.path} keeps none of {amounts['heard']['cuts']} cuts "
            f"of {lang}: {gone or 'there are none'}; raise rounds.each[{job.number - 1}].keep (now "
            f"{job.keep:g})"
            + (
                f", lower its min_confidence (now {job.min_confidence:g}), give the first round a "
                "larger budget or more steps, or total_hours more"
                if job.data == PSEUDO
                else ""
            )
        )


def _rows(job: Job, chosen: Mapping[str, Sequence[Label]]) -> list[dict[str, Any]]:
    rows = []
    for one in job.languages:
        labels = chosen[one.lang]
        for label_, (words, wrong, _) in zip(labels, _errors(job, one, labels), strict=True):
            utterance = _utterance(label_.cut, one.lang)
            rows.append(
                {
                    **vars(job.run),
                    "hours": float(job.run.hours),
                    **{"round": job.number, "data": job.data, "lang": one.lang},
                    **{"id": utterance.id, "block": utterance.block},
                    "duration_s": label_.duration_s,
                    "confidence": label_.confidence if job.data == PSEUDO else None,
                    **{"reason": label_.reason, "words": words, "errors": wrong},
                }
            )
    return rows


def _write_cuts(job: Job, chosen: Mapping[str, Sequence[Label]]) -> dict[str, Any]:
    """Training cuts of the round, languages in their proportions, and their counts."""
    # Of a fixed name, so that what a killed job left is taken away by the next.
    folder = job.output.with_name(".parts")
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    parts = []
    for one in job.languages:
        path = folder / f"{one.lang}.jsonl.gz"
        with cut_lines.writing(path) as stream:
            for cut in _of_language(job, one, chosen[one.lang], folder):
                stream.write(cut_lines.line(cut))
        parts.append(mixing.Part(one.lang, path, one.weight))
    found = mixing.mix(parts, job.output, folder / "mixed.json", job.replay)
    shutil.rmtree(folder)
    return found


def _of_language(
    job: Job, one: Spoken, labels: Sequence[Label], folder: Path
) -> Iterator[dict[str, Any]]:
    """The budget and what was labelled, evenly by audio; or the cuts of the budget that are
    kept."""
    if job.data != PSEUDO:
        stay = {label_.cut["id"] for label_ in labels if not label_.reason}
        yield from (cut for cut in cut_lines.read(one.labelled) if cut["id"] in stay)
        return
    path = folder / f"{one.lang}.{PSEUDO}.jsonl.gz"
    with cut_lines.writing(path) as stream:
        for label_ in labels:
            if not label_.reason:
                stream.write(cut_lines.line(pseudo_labels.training_cut(label_)))
    sides = [mixing.Part(LABELLED, one.labelled), mixing.Part(PSEUDO, path)]
    yield from (cut for _, cut in mixing.interleaved(sides))
