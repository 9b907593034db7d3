"""Noise for training and for robustness test sets: mixed on load, never on disk.

A MUSAN-style folder of audio becomes a Lhotse manifest, which `augment.Augmentation` mixes into
training. A test manifest and a signal-to-noise ratio become a manifest of the same utterances, ids
included, whose cuts mix their noise when they are loaded.
"""

import copy
import hashlib
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from warmstart.data import cut_lines, manifests
from warmstart.run.errors import UserError

log = logging.getLogger(__name__)

SUFFIXES = frozenset({".flac", ".wav", ".mp3", ".ogg", ".opus"})
_SHORTEST_S = 1.0


def scan(folder: Path) -> Iterator[dict[str, Any]]:
    """The usable audio files below a folder, as cuts without supervision, in the order of their
    names.

    Raises:
        UserError: no such folder, or nothing usable in it.
    """
    if not folder.is_dir():
        raise UserError(
            f"{folder}: no such folder; give the folder of noise recordings (MUSAN's `noise`, or "
            "your own)"
        )
    used, left_out = 0, 0
    for path in sorted(path for path in folder.rglob("*") if path.suffix.lower() in SUFFIXES):
        audio = manifests.probe(path)
        if audio.problem or audio.duration_s < _SHORTEST_S:
            left_out += 1
            continue
        used += 1
        name = path.relative_to(folder).as_posix()
        recording = manifests.recording(f"noise-{name}", path, audio)
        cut = {
            "id": f"noise-{name}",
            "start": 0.0,
            "duration": recording["duration"],
            "channel": 0,
            "supervisions": [],
        }
        yield cut | {"recording": recording, "type": "MonoCut"}
    if not used:
        raise UserError(
            f"{folder}: no usable audio ({left_out} files damaged, silent or shorter than "
            f"{_SHORTEST_S:g} s)"
        )
    log.info("%s: %d recordings, %d left out", folder, used, left_out)


def noisy(
    cut: dict[str, Any], noises: list[dict[str, Any]], snr_db: float, seed: int | str = 1
) -> dict[str, Any]:
    """The same utterance with noise under it, as a `MixedCut`; id, supervision and custom fields
    stay.

    Which recording, and where in it, follows from a hash of the cut's id: the same at every run, on
    every machine, and for every ratio, so that two ratios differ in level only. A recording shorter
    than the utterance is repeated.

    Args:
        snr_db: energy of the speech over that of the noise; Lhotse measures both over the whole
            cut; in joined intervals, the speech over the first of them.
        seed: another one, another draw; in training it names the epoch too.
    """
    drawn = hashlib.blake2b(
        cut["id"].encode(), digest_size=16, key=f"warmstart noise {seed}".encode()
    ).digest()
    noise = noises[int.from_bytes(drawn[:8], "big") % len(noises)]
    length = cut_lines.duration_s(cut)
    latest = max(0.0, noise["duration"] - length)
    start = manifests.on_grid(int.from_bytes(drawn[8:], "big") / 2**64 * latest)
    tracks = (
        copy.deepcopy(cut["tracks"])
        if cut["type"] == "MixedCut"
        else [{"cut": copy.deepcopy(cut), "type": "MonoCut", "offset": 0.0}]
    )
    offset = 0.0
    while offset < length - 1e-6:
        piece_s = min(noise["duration"] - start, length - offset)
        # A copy each: Lhotse takes the dicts apart that it makes a cut of.
        piece = copy.deepcopy(noise) | {
            "id": f"{cut['id']}-noise{len(tracks)}",
            "start": start,
            "duration": round(piece_s, 8),
        }
        tracks.append({"cut": piece, "type": "MonoCut", "offset": round(offset, 8), "snr": snr_db})
        offset += piece_s
        start = 0.0
    return {"id": cut["id"], "tracks": tracks, "type": "MixedCut"}


def add(manifest: Path, noise_folder: Path, snr_db: float, output: Path, seed: int = 1) -> int:
    """Write the noisy version of a test manifest; returns the number of cuts."""
    noises = list(scan(noise_folder))
    count = 0
    with cut_lines.writing(output) as stream:
        for cut in cut_lines.read(manifest):
            stream.write(cut_lines.line(noisy(cut, noises, snr_db, seed)))
            count += 1
        if not count:
            raise UserError(f"{manifest}: no cut; make the manifest again")
    log.info("%s: %d cuts at %g dB", output, count, snr_db)
    return count


def write_manifest(folder: Path, output: Path) -> int:
    """Write the manifest of a noise folder, for training; returns the number of recordings."""
    count = 0
    with cut_lines.writing(output) as stream:
        for cut in scan(folder):
            stream.write(cut_lines.line(cut))
            count += 1
    return count
