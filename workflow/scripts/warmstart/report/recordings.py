"""Recordings of a few test utterances, small enough to stand in a page."""

import base64
import io
import json
import logging
import math
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from warmstart.data import cut_lines

_LOG = logging.getLogger(__name__)
SAMPLE_RATE = 16000
LONGEST_S = 30.0
"""A longer recording is left out: nobody listens to it in a page."""
# Of variable-rate MP3 in libsndfile, 0 to 1: about 34 kbit/s for speech at 16 kHz. MP3, because
# every browser plays it.
_COMPRESSION = 0.8


def find(manifest: str | Path, ids: Collection[str]) -> dict[str, dict[str, Any]]:
    """The cuts of some utterances of a test manifest, by id. The manifest is read line by line.

    Raises:
        UserError: no such file, or damaged.
    """
    wanted = {name: json.dumps(name, ensure_ascii=False).encode() for name in ids}
    found: dict[str, dict[str, Any]] = {}
    for number, line in enumerate(cut_lines.read_lines(manifest), start=1):
        # Only lines that may be meant are taken apart.
        if any(written in line for written in wanted.values()):
            cut = cut_lines.parse(line, manifest, number)
            if cut["id"] in wanted:
                found[cut["id"]] = cut
        if len(found) == len(wanted):
            break
    return found


def samples_of(cut: dict[str, Any]) -> np.ndarray | None:
    """Waveform of a cut.

    Args:
        cut: of a manifest: one stretch of a file, or several that are joined.

    Returns:
        float32 (samples,) at `SAMPLE_RATE`; None where the cut is longer than `LONGEST_S`, is more
        than stretches of files (noise is mixed in), or has a file that is not there or cannot be
        read.
    """
    if float(cut_lines.duration_s(cut)) > LONGEST_S:
        return None
    tracks = cut.get("tracks")
    if tracks is None:
        return _stretch(cut)
    if any(track.get("snr") is not None for track in tracks):
        return None
    parts = [(float(track.get("offset", 0.0)), _stretch(track["cut"])) for track in tracks]
    if any(part is None for _, part in parts):
        return None
    places = [(round(offset * SAMPLE_RATE), part) for offset, part in parts if part is not None]
    joined = np.zeros(max(place + len(part) for place, part in places), np.float32)
    for place, part in places:
        joined[place : place + len(part)] += part
    return joined


def _stretch(cut: Mapping[str, Any]) -> np.ndarray | None:
    """One stretch of one file, the first of its channels that the cut names."""
    import soundfile

    sources = (cut.get("recording") or {}).get("sources") or []
    if len(sources) != 1 or sources[0].get("type") != "file":
        return None
    path = sources[0]["source"]
    try:
        with soundfile.SoundFile(path) as stream:
            rate = stream.samplerate
            stream.seek(round(float(cut["start"]) * rate))
            frames = stream.read(
                round(float(cut["duration"]) * rate), dtype="float32", always_2d=True
            )
    except (OSError, RuntimeError, ValueError) as error:
        _LOG.warning("%s: not in the page, because it cannot be read (%s)", path, error)
        return None
    channel = cut.get("channel", 0)
    channel = channel[0] if isinstance(channel, list) else channel
    if not len(frames) or channel >= frames.shape[1] or not np.isfinite(frames).all():
        return None
    mono = frames[:, channel]
    if rate != SAMPLE_RATE:
        from scipy.signal import resample_poly

        common = math.gcd(rate, SAMPLE_RATE)
        mono = resample_poly(mono, SAMPLE_RATE // common, rate // common)
    return mono.astype(np.float32, copy=False)


def as_uri(samples: np.ndarray) -> str:
    """A waveform at `SAMPLE_RATE` as a `data:` address of MP3."""
    import soundfile

    packed = io.BytesIO()
    soundfile.write(
        packed,
        np.clip(samples, -1.0, 1.0),
        SAMPLE_RATE,
        format="MP3",
        subtype="MPEG_LAYER_III",
        compression_level=_COMPRESSION,
        bitrate_mode="VARIABLE",
    )
    return "data:audio/mpeg;base64," + base64.b64encode(packed.getvalue()).decode("ascii")
