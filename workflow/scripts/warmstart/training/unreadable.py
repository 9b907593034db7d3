"""Audio that was there when its manifest was made and cannot be read any more."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from lhotse.cut import MixedCut

# So many cuts must be unreadable before their share counts: one of the first three is a third.
FEWEST_UNREADABLE = 10


def audio_file(cut: Any) -> str:
    """Where a cut's audio lies, of a mixed cut that of its first track."""
    recording = (cut.tracks[0].cut if isinstance(cut, MixedCut) else cut).recording
    return str(recording.sources[0].source)


def described(files: Sequence[str]) -> str:
    """Files that cannot be read, each with what is wrong with it."""
    return "; ".join(
        f"{file} ({'cannot be decoded' if Path(file).is_file() else 'not there'})"
        for file in files[:3]
    )
