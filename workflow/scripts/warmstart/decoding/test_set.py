"""Decode a test set in batches with a journal, and hold the batches against single utterances.

Test sets lie on the disk, so nothing has to wait for a speaker: PyTorch takes several chunks a
step, under the mask that keeps them apart. What a live stream costs is measured chunk by chunk on a
sample, which must have the same tokens (`batch_check`).
"""

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from warmstart.data.audio import load_audio
from warmstart.data.utterances import TestUtterance
from warmstart.decoding.journal import Journal
from warmstart.models.base import Decoder, NotFinite, Timing
from warmstart.models.tier import Seconds
from warmstart.run.errors import UserError
from warmstart.run.logs import MinuteTicker
from warmstart.run.numbers import percentile

_LOG = logging.getLogger(__name__)


_CHECKED_S: Seconds = 30  # of audio, more or less


_CHECKED_SHARES = (0, 0.5, 0.9, 0.25, 0.7, 0.1, 0.8, 0.4)  # where in the order of lengths


def batches(lengths: Sequence[float], size: int) -> Iterator[list[int]]:
    """Indices of `lengths`, longest first, `size` at a time: short utterances do not wait for long
    ones."""
    order = sorted(range(len(lengths)), key=lambda index: -lengths[index])
    for start in range(0, len(order), size):
        yield order[start : start + size]


@dataclass
class Decoded:
    """What decoding a test set came to, former processes' batches included."""

    timing: Timing
    tokens: int
    measured_on: dict[str, Any]  # keys of `measured_on` below; None where batches differ


def decode_test_set(
    decoder: Decoder,
    utterances: Sequence[TestUtterance],
    batch_size: int,
    journal: Journal,
    measured_on: dict[str, Any],
) -> Decoded:
    """Decode what `journal` lacks of a test set; memory is bounded by the batch.

    Args:
        measured_on: what the times depend on (processor, threads); a resumed decode may have seen
            several.

    Raises:
        UserError: audio that cannot be read or holds NaN, or of which the encoder makes NaN.
    """
    sample_rate = decoder.sample_rate
    ticker, finished = MinuteTicker(), journal.finished
    if finished:
        _LOG.info(
            "%d of %d utterances were finished by a process before this one",
            len(finished),
            len(utterances),
        )
    # Cut into batches before the finished ones are left out: a resumed decode has the batches of an
    # uninterrupted one.
    for indices in batches([utterance.duration_s for utterance in utterances], batch_size):
        if finished.issuperset(indices):
            continue
        waveforms = [load_audio(utterances[index], sample_rate) for index in indices]
        timing, lines = Timing(), {}
        try:
            hypotheses = decoder.decode(waveforms, timing)
        except NotFinite as error:
            raise UserError(
                f"cut {utterances[indices[error.index]].id}: the encoder gives NaN or infinity at "
                f"tier {decoder.tier.name}; "
                "is its waveform beyond all measure? If not, the model is damaged: look at the "
                "losses of its train.csv"
            ) from error
        for index, hypothesis in zip(indices, hypotheses, strict=True):
            utterance = utterances[index]
            lines[index] = {
                "id": utterance.id,
                "block": utterance.block,
                "duration_s": utterance.duration_s,
                "ref": utterance.text,
                "hyp": hypothesis.text,
                "tokens": hypothesis.emitted,
            }
        tokens = sum(len(line["tokens"]) for line in lines.values())
        journal.close_batch(
            lines, {"timing": vars(timing), "tokens": tokens, "measured_on": measured_on}
        )
        if ticker.due():
            _LOG.info("%d of %d utterances", len(journal.finished), len(utterances))
    times = [Timing(**record["timing"]) for record in journal.records]
    return Decoded(
        Timing(sum(part.features_s for part in times), sum(part.encode_decode_s for part in times)),
        sum(record["tokens"] for record in journal.records),
        {
            name: value
            if all(record["measured_on"][name] == value for record in journal.records)
            else None
            for name, value in measured_on.items()
        },
    )


def batch_check(
    decoder: Decoder, utterances: Sequence[TestUtterance], batch_size: int, journal: Journal
) -> dict[str, Any]:
    """Decode some utterances of a decoded test set again, one by one and chunk by chunk, to compare
    them and to time chunks.

    Floating point sums in another order where matrices have other shapes. `differing_utterances`
    have other tokens or other times in `journal`; `max_logit_difference` is over all frames, before
    any token, against batches of at most `batch_size`. `chunk_ms_*` is what one live stream waits
    for.
    """
    # From short to long, but no minutes: this is done for every model, precision and tier.
    by_length = sorted(range(len(utterances)), key=lambda index: utterances[index].duration_s)
    short = [index for index in by_length if utterances[index].duration_s <= _CHECKED_S]
    chosen: list[int] = []
    for place in dict.fromkeys(int(share * (len(short) - 1)) for share in _CHECKED_SHARES if short):
        if sum(utterances[index].duration_s for index in chosen) < _CHECKED_S:
            chosen.append(short[place])
    sample_rate = decoder.sample_rate
    if chosen:
        waveforms = [load_audio(utterances[index], sample_rate) for index in chosen]
        decoded = [journal.line(index)["tokens"] for index in chosen]
    else:
        waveforms = [
            load_audio(utterances[by_length[0]], sample_rate)[: round(_CHECKED_S * sample_rate)]
        ]
        decoded = [hypothesis.emitted for hypothesis in decoder.decode(waveforms)]
    live, chunks_ms = decoder.chunk_by_chunk(), []
    live.decode(waveforms[:1])  # what the first call sets up is no time of a chunk
    alone = [live.decode([samples], steps_ms=chunks_ms)[0].emitted for samples in waveforms]
    differences = []
    for indices in batches([len(samples) for samples in waveforms], batch_size):
        together = decoder.logits([waveforms[index] for index in indices])
        for index, logits in zip(indices, together, strict=True):
            if logits.numel():
                differences.append(float((live.logits([waveforms[index]])[0] - logits).abs().max()))
    return {
        "utterances": len(waveforms),
        "differing_utterances": sum(
            left != right for left, right in zip(alone, decoded, strict=True)
        ),
        "max_logit_difference": max(differences, default=0.0),
        "chunks": 0 if decoder.tier.offline else len(chunks_ms),
        "chunk_ms_median": None if decoder.tier.offline else percentile(chunks_ms, 0.5),
        "chunk_ms_p95": None if decoder.tier.offline else percentile(chunks_ms, 0.95),
    }
