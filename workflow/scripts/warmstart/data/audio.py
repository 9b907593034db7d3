"""The audio of test utterances as waveforms."""

import json

from warmstart.data.utterances import TestUtterance
from warmstart.run.errors import UserError


def load_audio(utterance: TestUtterance, sample_rate: int):
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
    except MemoryError:
        raise
    except Exception as error:  # whatever the audio backend raises, with pages of what it was doing
        why = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise UserError(
            f"cut {utterance.id}: audio cannot be read ({why}); run prepare_manifest again"
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
