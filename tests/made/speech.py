"""Human recordings of the demo, as material for small copies of real corpora."""

import functools
from pathlib import Path

import numpy as np
import soundfile
import soxr

from warmstart.data.corpora.base import read_table

FOLDER = Path(__file__).resolve().parents[2] / "demo" / "speech"


@functools.cache
def recordings(lang: str = "it") -> list[tuple[Path, str, float]]:
    """(FLAC file, transcript, seconds), sorted by name."""
    rows = sorted(
        read_table(FOLDER / lang / "metadata.tsv", required=("path", "text")),
        key=lambda row: row["path"],
    )
    made = []
    for row in rows:
        path = FOLDER / lang / row["path"]
        made.append((path, row["text"], soundfile.info(path).duration))
    return made


def samples(path: Path, rate: int = 16000) -> np.ndarray:
    """(T,) float32 samples at `rate`."""
    audio, source_rate = soundfile.read(path, dtype="float32")
    return soxr.resample(audio, source_rate, rate) if rate != source_rate else audio


_FORMATS = {
    ".flac": {"format": "FLAC"},
    ".wav": {"format": "WAV", "subtype": "PCM_16"},
    ".mp3": {"format": "MP3"},
    ".ogg": {"format": "OGG", "subtype": "VORBIS"},
    ".opus": {"format": "OGG", "subtype": "OPUS"},
}


def encode(audio: np.ndarray, path: Path, rate: int = 16000) -> Path:
    """Write (T,) or (T, C) samples in the format that the suffix names; folders are made."""
    path.parent.mkdir(parents=True, exist_ok=True)
    channels = 1 if audio.ndim == 1 else audio.shape[1]
    with soundfile.SoundFile(path, "w", rate, channels, **_FORMATS[path.suffix]) as stream:
        # In pieces: libsndfile's Vorbis writer overflows the stack on minutes in one call.
        for start in range(0, len(audio), 1 << 16):
            stream.write(audio[start : start + (1 << 16)])
    return path
