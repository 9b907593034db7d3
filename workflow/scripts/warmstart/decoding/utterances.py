"""Test manifests as utterances, and their audio as waveforms."""

import json
from dataclasses import dataclass, field
from pathlib import Path

from warmstart.data import cut_lines as manifest_lines
from warmstart.run.errors import UserError
from warmstart.study.tier import Seconds


@dataclass(frozen=True)
class Utterance:
    """One line of a test manifest."""

    id: str
    block: str
    duration_s: Seconds
    text: str
    line: bytes = field(repr=False)  # of the manifest: a tenth of what its objects would take


def read_manifest(path: str | Path) -> list[Utterance]:
    """The utterances of a test manifest, in its order.

    Raises:
        UserError: no such file, damaged, empty, or two cuts of one id.
    """
    utterances = []
    for line in manifest_lines.read_lines(path):
        try:
            cut = json.loads(line)
        except ValueError as error:
            raise UserError(
                f"{path}: a line is not JSON ({error}); delete the file and run the workflow again"
            ) from error
        supervision = manifest_lines.supervision(cut)
        custom = manifest_lines.first_part(cut).get("custom") or {}
        block = custom.get("block") or supervision.get("speaker") or cut["id"]
        utterances.append(
            Utterance(
                cut["id"],
                str(block),
                manifest_lines.duration_s(cut),
                supervision.get("text") or "",
                line,
            )
        )
    if not utterances:
        raise UserError(
            f"{path}: no utterances; a test set needs at least one: check the .qc.json beside it"
        )
    seen: set[str] = set()
    twice = [u.id for u in utterances if u.id in seen or seen.add(u.id)]
    if twice:
        raise UserError(
            f"{path}: {len(twice)} utterance ids occur twice, e.g. {twice[0]}; make the manifest "
            "again"
        )
    return utterances


def load_audio(utterance: Utterance, sample_rate: int):
    """Waveform of an utterance.

    Returns:
        float32 array (samples,) at `sample_rate`.

    Raises:
        UserError: cannot be read, empty, more than one channel, or holds NaN or infinity.
    """
    import numpy
    from lhotse.serialization import deserialize_item

    cut = deserialize_item(json.loads(utterance.line))
    try:
        samples = (
            cut if cut.sampling_rate == sample_rate else cut.resample(sample_rate)
        ).load_audio()
    except Exception as error:  # whatever the audio backend raises
        raise UserError(
            f"cut {utterance.id}: audio cannot be read ({error}); run prepare_manifest again"
        ) from error
    if samples.shape[0] != 1:
        raise UserError(
            f"cut {utterance.id}: {samples.shape[0]} channels, 1 is needed; mix it down in the "
            "manifest"
        )
    if not samples.size:
        raise UserError(f"cut {utterance.id}: no samples; drop it from the manifest")
    if not numpy.isfinite(samples).all():
        raise UserError(
            f"cut {utterance.id}: the waveform holds NaN or infinity; drop it from the manifest or "
            "mend the file"
        )
    return samples[0].astype(numpy.float32, copy=False)
