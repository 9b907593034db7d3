"""How fast training audio is read, and with how many file opens, from files and from shards.

Pools are made up of synthetic speech-like audio, one of each kind:

- mls: a file an utterance, 15 s, Opus at 48 kHz as its smaller release has it (`--mls flac`: FLAC);
- commonvoice: a file an utterance, 5 s, MP3 at 48 kHz;
- voxpopuli: utterances of 10 s in sessions of an hour, Vorbis at 16 kHz.

So that 10,000 utterances take minutes to make, `--different` recordings are encoded and copied
under many names, each a file of its own. The sampler of training decides the order, and its data
set reads: one epoch, or its first `--most-cuts`, in this process. Opens are counted where
libsndfile or a shard opens a file.

Cold: the pages of the pool are given back before (fsync, POSIX_FADV_DONTNEED, which needs no
rights). Names and inodes of files stay in the kernel's caches, and whatever a file server or a
virtual disk keeps stays too, so that cold files are colder on a cluster than here. Opens per second
are what such a system must serve.

    nice python benchmarks/loader.py --sizes 1000 10000 --folder /scratch
"""

import argparse
import json
import os
import shutil
import sys
import tempfile
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import soundfile

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "workflow" / "scripts"))

from warmstart.data import cut_lines, manifests, packing, shar  # noqa: E402
from warmstart.data.corpora.base import Utterance  # noqa: E402

KINDS = {
    "mls": {"length_s": 15, "rate": 48000, "suffix": ".opus", "format": ("OGG", "OPUS")},
    "commonvoice": {"length_s": 5, "rate": 48000, "suffix": ".mp3", "format": ("MP3", None)},
    "voxpopuli": {"length_s": 10, "rate": 16000, "suffix": ".ogg", "format": ("OGG", "VORBIS")},
}
SESSION_S = 3600
FLAC = {"rate": 16000, "suffix": ".flac", "format": ("FLAC", "PCM_16")}


def speech(seconds: float, rate: int, seed: int) -> np.ndarray:
    """(T,) float32: noise and a buzz that come and go four times a second, with silence between."""
    draw = np.random.default_rng(seed)
    time_s = np.arange(round(seconds * rate)) / rate
    buzz = np.sign(np.sin(2 * np.pi * (110 + 30 * np.sin(2 * np.pi * 0.7 * time_s)) * time_s))
    envelope = np.clip(np.sin(2 * np.pi * 2 * time_s), 0, 1)
    return ((0.1 * buzz + 0.03 * draw.standard_normal(len(time_s))) * envelope).astype(np.float32)


def write(path: Path, samples: np.ndarray, kind: dict) -> None:
    """Encode; in pieces, because libsndfile's Vorbis writer overflows the stack on minutes."""
    container, subtype = kind["format"]
    with soundfile.SoundFile(
        path, "w", kind["rate"], 1, subtype=subtype, format=container
    ) as stream:
        for start in range(0, len(samples), 1 << 16):
            stream.write(samples[start : start + (1 << 16)])


def make(folder: Path, kind: dict, sessions: bool, cuts: int, different: int) -> Path:
    """A pool of so many cuts; its manifest."""
    folder.mkdir(parents=True)
    length_s = SESSION_S if sessions else kind["length_s"]
    models = []
    for number in range(1 if sessions else different):
        models.append(folder / f"model{number}{kind['suffix']}")
        write(models[-1], speech(length_s, kind["rate"], number), kind)
    probed = [manifests.probe(path, decode=not sessions) for path in models]
    inside = SESSION_S // kind["length_s"] if sessions else 1
    corpus = SimpleNamespace(name="made", lang="xx", cut_id=lambda split, utterance: utterance.id)
    order = np.random.default_rng(1).permutation(cuts)
    manifest = folder / "pool.jsonl.gz"
    with cut_lines.writing(manifest) as stream:
        for number in map(int, order):  # a pool is in the order of a hash
            file, place = divmod(number, inside)
            path = folder / f"{file // 1000:04d}" / f"{file}{kind['suffix']}"
            if not path.exists():
                path.parent.mkdir(exist_ok=True)
                shutil.copyfile(models[file % len(models)], path)
            span = (place * kind["length_s"], place * kind["length_s"] + kind["length_s"] - 0.2)
            utterance = Utterance(
                id=f"cut-{number}",
                audio=path,
                text="eins zwei",
                speaker=None,
                block="b",
                intervals=(span,) if sessions else None,
            )
            cut = manifests.make_cut(corpus, "train", utterance, probed[file % len(models)])
            stream.write(cut_lines.line(cut))
    return manifest


def forget(folder: Path) -> float:
    """Give the pages of all files below back. MB (10^6 bytes) of the files."""
    total = 0
    for path in folder.rglob("*"):
        if path.is_file():
            descriptor = os.open(path, os.O_RDONLY)
            os.fsync(descriptor)
            os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
            total += os.fstat(descriptor).st_size
            os.close(descriptor)
    return total / 1e6


class Opens:
    """Counts files that are opened to read audio."""

    def __init__(self) -> None:
        self.count = 0
        self._sound, self._open = soundfile.SoundFile.__init__, os.open

    def __enter__(self) -> "Opens":
        def sound(stream, file, *arguments, **options):
            self.count += isinstance(file, (str, Path))
            self._sound(stream, file, *arguments, **options)

        def opened(path, *arguments, **options):
            self.count += str(path).endswith(".tar")
            return self._open(path, *arguments, **options)

        soundfile.SoundFile.__init__, os.open = sound, opened
        return self

    def __exit__(self, *_: object) -> None:
        soundfile.SoundFile.__init__, os.open = self._sound, self._open


def read(manifest: Path, folder: Path | None, most_cuts: int) -> dict:
    """One epoch, or its first cuts, as training reads them."""
    from warmstart.models.batches import SpeechDataset
    from warmstart.training import order

    settings = {"batch_duration_s": 120, "bucket_bins_s": [], "speed_perturb": []}
    sampler = order.batch_sampler(manifest, settings, 1, 16000)
    packed = shar.Packed([folder]) if folder else None
    dataset, heard_s, cuts = SpeechDataset(lambda text: [1]), 0.0, 0
    batches = iter(sampler)
    batch = next(batches)  # fills the buffer of the shuffle: lines, no audio
    started, cpu = time.monotonic(), time.process_time()
    with Opens() as opens:
        while batch is not None and cuts < most_cuts:
            _, heard = dataset.hear(packed.cuts(batch) if packed else batch)
            assert all(heard)
            heard_s += sum(cut.duration for cut in batch)
            cuts += len(batch)
            batch = next(batches, None)
    took = time.monotonic() - started
    return {
        **{"cuts": cuts, "audio_s": round(heard_s), "wall_s": round(took, 2)},
        "cpu_s": round(time.process_time() - cpu, 2),
        "audio_s_per_s": round(heard_s / took),
        "audio_s_per_cpu_s": round(heard_s / (time.process_time() - cpu)),
        "opens": opens.count,
        "opens_per_s": round(opens.count / took, 1),
        "opens_per_1000_cuts": round(1000 * opens.count / cuts, 1),
    }


def measure(kind: str, size: int, different: int, most_cuts: int, root: Path) -> list[dict]:
    """Rows of one pool: both storages, cold and warm."""
    folder = root / f"{kind}-{size}"
    manifest = make(folder / "files", KINDS[kind], kind == "voxpopuli", size, different)
    started = time.monotonic()
    index = folder / "shar" / shar.INDEX
    report = packing.pack(manifest, index, folder / "report.json", 1)
    pack_s = time.monotonic() - started
    files_mb, shar_mb = forget(folder / "files"), forget(folder / "shar")
    print(f"{kind} {size}: packed in {pack_s:.0f} s, {report}", file=sys.stderr, flush=True)
    rows = []
    for storage, packed in (("files", None), ("shar", index.parent)):
        forget(folder / "files" if packed is None else packed)
        for cache in ("cold", "warm"):
            row = {"pool": kind, "pool_cuts": size, "storage": storage, "cache": cache}
            row |= read(manifest, packed, most_cuts)
            row |= {"mb": round(shar_mb if packed else files_mb), "pack_s": round(pack_s)}
            rows.append(row)
            print(json.dumps(row), file=sys.stderr, flush=True)
    shutil.rmtree(folder)
    return rows


def table(rows: list[dict]) -> str:
    """As Markdown."""
    names = {
        **{"pool": "pool", "pool_cuts": "cuts", "storage": "storage", "cache": "cache"},
        **{"audio_s_per_s": "audio s/s", "audio_s_per_cpu_s": "audio s/CPU s"},
        **{"opens_per_s": "opens/s"},
        **{"opens_per_1000_cuts": "opens per 1000 cuts", "mb": "MB"},
    }
    lines = ["| " + " | ".join(names.values()) + " |", "|" + " --- |" * len(names)]
    lines += ["| " + " | ".join(str(row[name]) for name in names) + " |" for row in rows]
    return "\n".join(lines)


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--sizes", type=int, nargs="+", default=[1000, 10000])
    parser.add_argument("--pools", nargs="+", choices=KINDS, default=list(KINDS))
    parser.add_argument("--mls", choices=("opus", "flac"), default="opus")
    parser.add_argument("--different", type=int, default=50, help="recordings that are encoded")
    parser.add_argument("--most-cuts", type=int, default=10**9, help="read of each pool")
    parser.add_argument("--folder", type=Path, help="on the file system to measure")
    parser.add_argument("--output", type=Path, help="rows as JSON")
    arguments = parser.parse_args(argv)
    if arguments.mls == "flac":
        KINDS["mls"] |= FLAC
    rows = []
    with tempfile.TemporaryDirectory(dir=arguments.folder) as scratch:
        for kind in arguments.pools:
            for size in arguments.sizes:
                rows += measure(kind, size, arguments.different, arguments.most_cuts, Path(scratch))
    print(table(rows))
    if arguments.output:
        arguments.output.write_text(json.dumps(rows, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
