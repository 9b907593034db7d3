"""Test sets of a few recordings, the program that decodes them, and lengths at which chunks end."""

import gzip
import json

import soundfile

from made.toy_model import SAMPLE_RATE
from warmstart.models.tier import Tier

RUN = "it/en/0.02h/seed1"
KEYS = {"training_set": "it", "arm": "en", "hours": "0.02", "seed": 1, "precision": "full"}
SETTINGS = {"batch_size": 4, "device": "cpu", "threads": 1}
TIER = {"name": "560ms", "left": 70, "right": 6, "offline": False}
HOP = SAMPLE_RATE // 100


def edge_lengths(right):
    """Feature frames: shorter than a chunk, exactly k chunks, one under, one and a few over."""
    first, later = 1 + 8 * right, 8 * (right + 1)
    around = [first + later * k + more for k in range(4) for more in (-1, 0, 1, 2, 7, 8, 9)]
    return sorted({1, 2, 3, 9, 10, *(frames for frames in around if frames > 0)})


def write_manifest(path, waveforms, lang=None):
    """A Lhotse manifest of `{id: samples}`."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with gzip.open(path, "wt", encoding="utf-8") as stream:
        for name, samples in waveforms.items():
            audio = path.parent / f"{name}.wav"
            soundfile.write(audio, samples, SAMPLE_RATE, subtype="FLOAT")
            seconds = len(samples) / SAMPLE_RATE
            recording = {
                "id": name,
                "sources": [{"type": "file", "channels": [0], "source": str(audio)}],
                "sampling_rate": SAMPLE_RATE,
                "num_samples": len(samples),
                "duration": seconds,
                "channel_ids": [0],
            }
            supervision = {
                "id": name,
                "recording_id": name,
                "start": 0.0,
                "duration": seconds,
                "channel": 0,
                "text": f"Testo {name}.",
                **({"language": lang} if lang else {}),
            }
            cut = {
                "id": name,
                "start": 0.0,
                "duration": seconds,
                "channel": 0,
                "supervisions": [supervision],
                "recording": recording,
                "custom": {"block": f"block-{name}", "corpus": "test"},
                "type": "MonoCut",
            }
            stream.write(json.dumps(cut) + "\n")
    return path


def tier_text(tier):
    """A tier, `{name, left, right, offline}`, as programs take it."""
    return Tier(**tier).as_text()


def run(model_path, tmp_path, manifests, tier=TIER, settings=SETTINGS, more=()):
    names = list(manifests)
    command = ["--model", str(model_path), "--run", RUN, "--precision", "full"]
    command += ["--tier", tier_text(tier), "--settings", json.dumps(settings)]
    cuts = [f"it/{name}={manifests[name]}" for name in names]
    outputs = [f"it/{name}={tmp_path / 'out' / name}.jsonl" for name in names]
    import decode

    decode.main([*command, "--cuts", *cuts, "--output", *outputs, *more])
    return {name: tmp_path / "out" / f"{name}.jsonl" for name in names}


def read(path):
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
