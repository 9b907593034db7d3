"""Pools of every kind of recording that shards must give back bit for bit."""

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import soundfile

from made.speech import encode
from warmstart.data import cut_lines, manifests
from warmstart.data.corpora.base import Utterance

WHOLE = (".flac", ".wav", ".mp3", ".ogg", ".opus")


def audio(seconds: float, rate: int, seed: int) -> np.ndarray:
    """(T,) samples: tones under noise, so that no two places are alike."""
    draw = np.random.default_rng(seed)
    time_s = np.arange(round(seconds * rate)) / rate
    tones = sum(np.sin(2 * np.pi * draw.uniform(80, 3000) * time_s) for _ in range(4))
    return (0.1 * tones + 0.02 * draw.standard_normal(len(time_s))).astype(np.float32)


def cut(path: Path, name: str, intervals=None, lang: str = "it") -> dict:
    """The line of an utterance, as prepare_manifest writes it."""
    corpus = SimpleNamespace(name="small", lang=lang, cut_id=lambda split, utterance: name)
    utterance = Utterance(
        id=name, audio=path, text="ciao mondo", block="b", speaker=None, intervals=intervals
    )
    probed = manifests.probe(path, decode=True)
    assert probed.problem is None, probed
    return manifests.make_cut(corpus, "train", utterance, probed)


def pool(directory: Path, count: int = 12, lang: str = "it", seed: int = 0) -> Path:
    """Utterances of all formats and several rates, and intervals of sessions between them."""
    sessions = []
    for number, (suffix, rate) in enumerate([(".ogg", 16000), (".wav", 44100)]):
        path = directory / lang / f"session{number}{suffix}"
        encode(audio(40, rate, seed + 900 + number), path, rate)
        sessions.append(path)
    deep = directory / lang / "session2.wav"
    soundfile.write(deep, audio(30, 16000, seed + 950), 16000, subtype="PCM_24")
    sessions.append(deep)
    lines = []
    for number in range(count):
        suffix, rate = WHOLE[number % 5], (16000, 44100, 48000)[number % 3]
        rate = 48000 if suffix == ".opus" else rate
        path = directory / lang / f"{number}{suffix}"
        encode(audio(1.0 + 0.13 * number, rate, seed + number), path, rate)
        lines.append(cut(path, f"whole-{number}", lang=lang))
        start = 1.0371 + 2.2 * number
        pieces = [(start, start + 1.21)]
        if number % 2:
            pieces.append((start + 1.4, start + 1.9003))
        lines.append(cut(sessions[number % 3], f"part-{number}", tuple(pieces), lang=lang))
    manifest = directory / f"{lang}.jsonl.gz"
    with cut_lines.writing(manifest) as stream:
        for line in lines:
            stream.write(cut_lines.line(line))
    return manifest
