"""Decode test sets with the heads of all languages, whatever language is spoken in them, and say
how sure each head is: what a router may choose from.

A model with a head a language computes its encoder once for all of them. A model with one head has
the language that it was trained on as the head's name.
"""

import logging
import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from warmstart.data.utterances import TestUtterance, read_test_set
from warmstart.decoding import devices, hypotheses, job
from warmstart.decoding.journal import Journal
from warmstart.decoding.test_set import decode_test_set, line_of
from warmstart.models import kind_of, open_family
from warmstart.models.base import Decoder, Hypothesis, Recogniser, Timing
from warmstart.run import files, kept
from warmstart.run.errors import UserError

logger = logging.getLogger(__name__)

_SWITCHES = 1000  # of which the median is taken


@dataclass(frozen=True)
class Job(job.Job):
    """See `job.Job`; here `outputs` is `head:lang/test set` -> hypothesis file.

    Attributes:
        head: name of the one head of a model that has one for all; '' for a model with a head a
            language.
    """

    head: str = ""

    def output(self, head: str, test_set: str) -> Path:
        """Of a head and a test set."""
        return self.outputs[f"{head}:{test_set}"]


class _EveryHead:
    """A decoder of all heads at once, as `decode_test_set` asks one."""

    def __init__(self, decoder: Decoder, head: str):
        self.tier, self.sample_rate = decoder.tier, decoder.sample_rate
        self._decoder, self._head = decoder, head

    def decode(
        self, waveforms: Sequence[Any], timing: Timing | None = None
    ) -> list[dict[str, Hypothesis]]:
        """Head -> hypothesis, of each waveform."""
        if not self._head:
            found = self._decoder.decode_heads(waveforms, timing)
        else:
            found = {self._head: self._decoder.decode(waveforms, timing)}
        return [dict(zip(found, row, strict=True)) for row in zip(*found.values(), strict=True)]


def decode(job_: Job) -> None:
    """Do the job: every hypothesis file and its header are there at its end.

    Raises:
        UserError: a family that does not say how sure it is, heads that are not asked for or not
            there, or see `job.decode`.
    """
    if not kind_of(job_.family).confidence:
        raise UserError(f"models of family {job_.family} do not say how sure they are")
    device = devices.resolve_device(job_.device)
    made_of = {**job.identity(job_, device), "version": job_.version}
    heads = list(dict.fromkeys(name.split(":")[0] for name in job_.outputs))
    work = {
        test_set: (utterances, made_of | {"manifest_sha256": files.digest(manifest)})
        for test_set, manifest in job_.cuts.items()
        if not _is_current(job_, heads, test_set, made_of, manifest)
        for utterances in [read_test_set(manifest)]
    }
    outputs = [path for output in job_.outputs.values() for path in job_.files(output)]
    if not work:
        kept.keep(outputs)
        return

    import torch

    torch.set_num_threads(job_.threads)
    model = open_family(job_.family).load(job_.model, device)
    decoder = model.decoder(job_.tier).with_confidence()
    if job_.head:  # a model that is told the language hears its own, whatever is spoken
        decoder = decoder.of_language(job_.head)
    if sorted(decoder.heads or [job_.head]) != sorted(heads):
        raise UserError(
            f"{job_.model}: its heads are {', '.join(decoder.heads) or job_.head or 'one'}, and "
            f"hypotheses of {', '.join(heads)} are asked for"
        )
    facts = head_facts(model, decoder)
    measured_on = {"device_name": devices.device_name(device), "threads": job_.threads}
    journals = []
    for test_set, (utterances, about) in work.items():
        first = job_.output(heads[0], test_set)
        journal = Journal(hypotheses.journal_path(first), _fingerprint(about, test_set, heads))
        journals.append(journal)
        decoded = decode_test_set(
            cast(Decoder, _EveryHead(decoder, job_.head)),
            *(utterances, job_.batch_size, journal, measured_on, job_.batch_duration_s),
            line=_line,
        )
        audio_s = sum(utterance.duration_s for utterance in utterances)
        lang, _, name = test_set.rpartition("/")
        for head in heads:
            header = {
                **about,
                **{"lang": lang, "test_set": name, "head": head, "heads": heads},
                "fingerprint": _fingerprint(about, test_set, head),
                "confidence": decoder.confidence_measure,
                **facts.get(head, {}),
                "utterances": len(utterances),
                "audio_s": round(audio_s, 3),
                # Of all heads together.
                "compute_s": round(decoded.timing.compute_s, 4),
                **decoded.measured_on,
            }
            lines = (line["heads"][head] for line in journal.lines())
            hypotheses.write_hypotheses(job_.output(head, test_set), lines, header)
        logger.info(
            "%s at %s: %d utterances by %s in %.2f s",
            *(test_set, job_.tier.name, len(utterances), ", ".join(heads)),
            decoded.timing.compute_s,
        )
    kept.keep(outputs)
    for journal in journals:
        journal.remove()


def head_facts(model: Recogniser, decoder: Decoder) -> dict[str, dict[str, Any]]:
    """Language -> what its head takes: `head_bytes` (weights as they are in the model's file) and
    `switch_ms` (median time until a loaded model decodes with it instead of another)."""
    found = {}
    for lang in decoder.heads:
        part = model.head_of(lang)
        seconds = []
        for _ in range(_SWITCHES):
            started = time.perf_counter()
            decoder.of_language(lang)
            seconds.append(time.perf_counter() - started)
        found[lang] = {
            "head_bytes": sum(one.numel() * one.element_size() for one in part.parameters()),
            "switch_ms": round(1000 * statistics.median(seconds), 5),
        }
    return found


def _line(utterance: TestUtterance, found: dict[str, Hypothesis]) -> dict[str, Any]:
    return {
        "heads": {
            head: {**line_of(utterance, one), "confidence": round(cast(float, one.confidence), 6)}
            for head, one in found.items()
        }
    }


def _fingerprint(about: dict[str, Any], test_set: str, head: str | list[str]) -> str:
    return hypotheses.fingerprint(**about, crossed=test_set, head=head)


def _is_current(
    job_: Job, heads: list[str], test_set: str, made_of: dict[str, Any], manifest: Path
) -> bool:
    """Whether all heads' hypotheses of a test set were made of this; Snakemake has removed them."""
    about = made_of | {"manifest_sha256": files.digest(manifest)}
    paths = {head: job_.output(head, test_set) for head in heads}
    for path in paths.values():
        kept.give_back(job_.files(path))
    return all(
        hypotheses.is_current(path, _fingerprint(about, test_set, head))
        for head, path in paths.items()
    )
