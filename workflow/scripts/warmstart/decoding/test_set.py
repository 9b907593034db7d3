"""Decode a test set in batches with a journal, and hold the batches against single utterances.

Test sets lie on the disk, so nothing has to wait for a speaker: PyTorch takes several chunks a
step, under the mask that keeps them apart. What a live stream costs is measured chunk by chunk on a
sample, which must have the same tokens (`batch_check`).
"""

import logging
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from warmstart.data.audio import load_audio
from warmstart.data.utterances import TestUtterance
from warmstart.decoding import candidates
from warmstart.decoding.journal import Journal
from warmstart.models.base import Decoder, Hypothesis, NotFinite, Timing
from warmstart.models.tier import Seconds
from warmstart.run.errors import UserError, first_line
from warmstart.run.logs import MinuteTicker
from warmstart.run.memory import is_out_of_memory
from warmstart.run.numbers import percentile

_LOG = logging.getLogger(__name__)


_CHECKED_S: Seconds = 30  # of audio, more or less


_CHECKED_SHARES = (0, 0.5, 0.9, 0.25, 0.7, 0.1, 0.8, 0.4)  # where in the order of lengths


def batches(lengths: Sequence[float], size: int, most: float = math.inf) -> Iterator[list[int]]:
    """Indices of `lengths`, longest first, `size` at a time: short utterances do not wait for long
    ones.

    Args:
        most: sum of the lengths in a batch, each counted as the longest; one that is longer stands
            alone.
    """
    order = sorted(range(len(lengths)), key=lambda index: -lengths[index])
    start = 0
    while start < len(order):
        longest = lengths[order[start]]
        fitting = size if longest * size <= most else max(1, int(most / longest))
        yield order[start : start + fitting]
        start += fitting


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
    batch_duration_s: float = math.inf,
    line: Callable[[TestUtterance, Any], dict[str, Any]] | None = None,
) -> Decoded:
    """Decode what `journal` lacks of a test set; memory is bounded by the batch.

    Args:
        measured_on: what the times depend on (processor, threads); a resumed decode may have seen
            several.
        batch_duration_s: audio in a batch at most, each utterance counted as the longest.
        line: of the journal, of an utterance and what the decoder gave for it; None: `line_of`.

    Raises:
        UserError: audio that cannot be read or holds NaN, or of which the encoder makes NaN; or an
            utterance that does not fit the memory alone.
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
    lengths_s = [utterance.duration_s for utterance in utterances]
    for planned in batches(lengths_s, batch_size, batch_duration_s):
        # A batch is closed whole; where batches were others before, some of it may be there.
        indices = [index for index in planned if index not in finished]
        if not indices:
            continue
        waveforms = [load_audio(utterances[index], sample_rate) for index in indices]
        timing, lines = Timing(), {}
        try:
            batch = [utterances[index] for index in indices]
            hypotheses = _decode(decoder, batch, waveforms, timing)
        except NotFinite as error:
            raise UserError(
                f"cut {utterances[indices[error.index]].id}: the encoder gives NaN or infinity at "
                f"tier {decoder.tier.name}; "
                "is its waveform beyond all measure? If not, the model is damaged: look at the "
                "losses of its train.csv"
            ) from error
        for index, hypothesis in zip(indices, hypotheses, strict=True):
            lines[index] = (line or line_of)(utterances[index], hypothesis)
        tokens = sum(len(one.get("tokens", ())) for one in lines.values())
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


def line_of(utterance: TestUtterance, hypothesis: Hypothesis) -> dict[str, Any]:
    """What hypothesis files, and before them journals, say of an utterance."""
    return {
        "id": utterance.id,
        "block": utterance.block,
        "duration_s": utterance.duration_s,
        "ref": utterance.text,
        "hyp": hypothesis.text,
        "tokens": hypothesis.emitted,
        **({} if hypothesis.language is None else {"language": hypothesis.language}),
        **candidates.packed(hypothesis.candidates),
    }


def _decode(
    decoder: Decoder,
    utterances: Sequence[TestUtterance],
    waveforms: Sequence[Any],
    timing: Timing,
) -> list[Hypothesis]:
    """Decode a batch, in halves where the memory does not hold it: what is decoded together changes
    no text.

    Raises:
        UserError: one utterance alone does not fit.
        NotFinite: see `base.Decoder.decode`.
    """
    try:
        return decoder.decode(waveforms, timing)
    except (MemoryError, RuntimeError) as error:
        if not is_out_of_memory(error):
            raise
        longest = max(utterances, key=lambda utterance: utterance.duration_s)
        if len(utterances) == 1:
            raise UserError(
                f"cut {longest.id}: out of memory with its {longest.duration_s:.0f} s alone at "
                f"tier {decoder.tier.name} ({first_line(error)}); raise "
                "resources.decode_mem_mb, cut the recording into shorter ones, or take it out of "
                "its test set"
            ) from error
        _LOG.warning(
            "%d utterances of up to %.0f s (%s) do not fit the memory together and are decoded in "
            "halves; a lower decoding.batch_duration_s saves the try",
            *(len(utterances), longest.duration_s, longest.id),
        )
    middle = len(utterances) // 2
    halves = []
    for part in (slice(None, middle), slice(middle, None)):
        try:
            halves += _decode(decoder, utterances[part], waveforms[part], timing)
        except NotFinite as error:
            raise NotFinite(error.index + (part.start or 0)) from error
    return halves


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
