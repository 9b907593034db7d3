"""Time and memory of pool and budgets at 10 thousand, 100 thousand and a million cuts, beside the
straightforward Lhotse way.

Writes synthetic manifests (three corpora of unequal size, real-looking sentences, as many speakers
as such corpora have) into a scratch folder, then runs each side in processes of its own:

- ours: build_pool.py, then subset_budget.py five times;
- lhotse: `combine` the CutSets, `filter` them by duration and text, normalise with `map`,
  `shuffle`, `to_file`, then for each budget take cuts until it is full and write them. No leak
  guard, no shares kept: less work than ours.

    python benchmarks/data.py --sizes 10000 100000 1000000 --threads 2
"""

import argparse
import itertools
import json
import os
import random
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

SCRIPTS = Path(__file__).resolve().parents[1] / "workflow" / "scripts"
sys.path.insert(0, str(SCRIPTS))

from warmstart.data import cut_lines  # noqa: E402

# Shares of the German pool: MLS, Common Voice, VoxPopuli.
SHARES = {"mls": 0.54, "commonvoice": 0.38, "voxpopuli": 0.08}
BUDGET_FRACTIONS = (0.04, 0.09, 0.18, 0.36, 0.9)
TEXT = {
    "alphabet": "abcdefghijklmnopqrstuvwxyzäöüßéè",
    "case": "lower",
    "keep": "",
    "hyphen": "space",
    "numbers": "de",
}
FILTERS = {
    "min_duration_s": 0.5,
    "max_duration_s": 20,
    "min_chars_per_s": 2,
    "max_chars_per_s": 30,
    "max_drop_fraction": 0.3,
}
_SYLLABLES = [
    "der",
    "ge",
    "ver",
    "en",
    "mo",
    "ti",
    "ka",
    "lu",
    "schö",
    "frü",
    "wä",
    "stra",
    "ße",
    "ten",
    "mus",
    "bis",
    "kon",
    "re",
    "da",
    "wi",
    "no",
    "al",
    "ein",
]


def sentence(draw: random.Random) -> str:
    """About 140 characters of made-up German, with case, punctuation and now and then a number."""
    words = [
        "".join(draw.choices(_SYLLABLES, k=draw.randint(1, 4))) for _ in range(draw.randint(12, 32))
    ]
    if draw.random() < 0.05:
        words[draw.randrange(len(words))] = str(draw.randint(1, 2026))
    return " ".join(words).capitalize() + draw.choice([".", "?", "!", ", ja."])


def write_manifests(folder: Path, size: int) -> list[tuple[str, Path]]:
    """(corpus, path) of manifests with `size` cuts in all; and tests.jsonl.gz with 3000 cuts
    beside."""
    draw = random.Random(1)
    made = []
    for name, share in [*SHARES.items(), ("tests", 0.0)]:
        path = folder / f"{name}.jsonl.gz"
        made.append((name, path))
        with cut_lines.writing(path) as stream:
            for number in range(round(share * size) or 3000):
                stream.write(cut_lines.line(_cut(draw, name, number)))
    return made


def _cut(draw: random.Random, corpus: str, number: int) -> dict:
    text = sentence(draw)
    frames = round(len(text) / draw.gauss(14, 2.5) * 16000) if draw.random() < 0.99 else 30 * 16000
    frames = max(frames, 4000)
    speaker = (
        f"{draw.getrandbits(128):032x}" if corpus == "commonvoice" else str(10000 + number // 400)
    )
    cut_id = f"{corpus}-de-train-{speaker[:8]}_{number:08d}"
    audio = f"resources/corpora/{corpus}/de/files/train/audio/{speaker[:8]}/{number:08d}.opus"
    recording = {
        "id": cut_id,
        "sources": [{"type": "file", "channels": [0], "source": audio}],
        "sampling_rate": 16000,
    }
    recording |= {"num_samples": frames, "duration": frames / 16000, "channel_ids": [0]}
    supervision = {
        "id": cut_id,
        "recording_id": cut_id,
        "start": 0.0,
        "duration": frames / 16000,
        "channel": 0,
        "text": text,
    }
    supervision |= {"language": "de", "speaker": speaker}
    cut = {
        "id": cut_id,
        "start": 0.0,
        "duration": frames / 16000,
        "channel": 0,
        "supervisions": [supervision],
    }
    return cut | {
        "recording": recording,
        "custom": {"block": speaker, "corpus": corpus},
        "type": "MonoCut",
    }


def run(command: list[str]) -> tuple[float, float, float]:
    """(wall s, CPU s, peak MB of the largest process) of a command."""
    began = time.monotonic()
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    program = [sys.executable, "-c", _MEASURE, *command]
    done = subprocess.run(
        program, env={**os.environ, "OMP_NUM_THREADS": "1"}, capture_output=True, text=True
    )
    if done.returncode:
        raise SystemExit(done.stderr)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime
    return time.monotonic() - began, cpu, float(done.stdout.split()[-1])


# Sums the proportional set size of the command's processes ten times a second: the peak of all of
# them together.
_MEASURE = """
import subprocess, sys, time
from pathlib import Path

def tree(pid):
    yield pid
    for task in Path(f"/proc/{pid}/task").glob("*/children"):
        for child in task.read_text().split():
            yield from tree(child)

process = subprocess.Popen(sys.argv[1:], stdout=subprocess.DEVNULL)
peak = 0
while process.poll() is None:
    total = 0
    for pid in tree(process.pid):
        try:
            lines = open(f"/proc/{pid}/smaps_rollup")
            total += int(next(line for line in lines if line.startswith("Pss:")).split()[1])
        except (OSError, StopIteration):
            pass
    peak = max(peak, total)
    time.sleep(0.1)
print(peak / 1024)
sys.exit(process.returncode)
"""

_LHOTSE = """
import json, random, sys
sys.path.insert(0, sys.argv[1])
from lhotse import CutSet, combine
from warmstart import text

folder, settings, hours = sys.argv[2], json.loads(sys.argv[3]), json.loads(sys.argv[4])

def normalised(cut):
    cut.supervisions[0].text = text.normalize(cut.supervisions[0].text, settings)
    return cut

alphabet = set(settings["alphabet"]) | {" "}
names = ("mls", "commonvoice", "voxpopuli")
sets = [CutSet.from_jsonl(f"{folder}/{name}.jsonl.gz") for name in names]
cuts = combine(sets).filter(lambda cut: 0.5 <= cut.duration <= 20).map(normalised)
cuts = cuts.filter(lambda cut: set(cut.supervisions[0].text) <= alphabet)
cuts = cuts.to_eager().shuffle(random.Random(1))
cuts.to_file(f"{folder}/lhotse-pool.jsonl.gz")
for number, budget in enumerate(hours):
    taken, total = [], 0.0
    for cut in cuts:
        if total + cut.duration > budget * 3600:
            break
        taken.append(cut)
        total += cut.duration
    CutSet.from_cuts(taken).to_file(f"{folder}/lhotse-{number}.jsonl.gz")
"""


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--sizes", type=int, nargs="+", default=[10_000, 100_000, 1_000_000])
    parser.add_argument(
        "--threads",
        type=int,
        default=2,
        help="processes of build_pool.py; budgets run as many at a time",
    )
    parser.add_argument("--skip-lhotse", action="store_true")
    parser.add_argument(
        "--scratch", type=Path, default=None, help="folder for about 2 GB (default: the system's)"
    )
    arguments = parser.parse_args()
    print(
        f"{'cuts':>9} {'hours':>7} {'side':>7} {'step':>8} {'wall s':>8} {'CPU s':>8} "
        f"{'peak MB':>8} {'us/cut':>7}"
    )
    measured = {}
    for size in arguments.sizes:
        with tempfile.TemporaryDirectory(dir=arguments.scratch) as scratch:
            folder = Path(scratch)
            *training, (_, tests) = write_manifests(folder, size)
            measured[size] = ours = _ours(folder, training, tests, size, arguments.threads)
            if arguments.skip_lhotse:
                continue
            command = [
                sys.executable,
                "-c",
                _LHOTSE,
                str(SCRIPTS),
                str(folder),
                json.dumps(TEXT),
                json.dumps(ours["hours"]),
            ]
            lhotse = run(command)
            _row(size, ours["total_h"], "lhotse", "all", *lhotse)
            print(
                f"{'':9} ratio lhotse / ours: wall {lhotse[0] / ours['wall']:.1f}, CPU "
                f"{lhotse[1] / ours['cpu']:.1f}, "
            
                  f"memory {lhotse[2] / ours['peak']:.1f}")  # fmt: skip

    _slopes(measured)


def _slopes(measured: dict[int, dict]) -> None:
    """What each further cut costs, between neighbouring sizes: constant time and no memory is what
    a million cuts need."""
    for small, large in itertools.pairwise(sorted(measured)):
        added = large - small
        more = {
            name: (measured[large][name] - measured[small][name]) / added
            for name in ("wall", "cpu", "peak")
        }
        times = f"{more['wall'] * 1e6:.1f} us wall and {more['cpu'] * 1e6:.1f} us CPU"
        print(
            f"ours, {small} to {large} cuts: {times} a further cut, {more['peak'] * 1e6:.0f} bytes "
            "of memory"
        )


def _ours(
    folder: Path, training: list[tuple[str, Path]], tests: Path, size: int, threads: int
) -> dict:
    settings = json.dumps({"text": TEXT, "filters": FILTERS})
    program = [
        sys.executable,
        str(SCRIPTS / "build_pool.py"),
        "--lang",
        "de",
        "--threads",
        str(threads),
        "--settings",
        settings,
    ]
    paths = [
        "--manifests",
        *(f"{name}={path}" for name, path in training),
        "--tests",
        f"tests={tests}",
    ]
    out = ["--output", str(folder / "de.jsonl.gz"), "--report", str(folder / "de.qc.json")]
    pool = run([*program, *paths, *out])
    total_h = json.loads((folder / "de.qc.json").read_text())["total"]["hours"]
    _row(size, total_h, "ours", "pool", *pool)
    hours = [round(fraction * total_h, 6) for fraction in BUDGET_FRACTIONS]
    began, waiting, cpu, peak = time.monotonic(), list(hours), 0.0, 0.0
    # As many at a time as there are cores, as Snakemake would.
    commands = [
        [
            *(
                sys.executable,
                str(SCRIPTS / "subset_budget.py"),
                "--pool",
                str(folder / "de.jsonl.gz"),
                "--hours",
                f"{h}",
            ),
            *("--output", str(folder / f"{h}h.jsonl.gz"), "--report", str(folder / f"{h}h.json")),
        ]
        for h in waiting
    ]
    batches = [commands[i : i + threads] for i in range(0, len(commands), threads)]
    for batch in batches:
        script = (
            " & ".join(
                f'"${{@:{1 + len(batch[0]) * i}:{len(batch[0])}}}"' for i in range(len(batch))
            )
            + "; wait"
        )
        _, used, most = run(
            ["bash", "-c", script, "bash", *(word for command in batch for word in command)]
        )
        cpu, peak = cpu + used, max(peak, most)
    wall = time.monotonic() - began
    _row(size, total_h, "ours", "budgets", wall, cpu, peak)
    totals = {"wall": pool[0] + wall, "cpu": pool[1] + cpu, "peak": max(pool[2], peak)}
    _row(size, total_h, "ours", "all", totals["wall"], totals["cpu"], totals["peak"])
    return totals | {"total_h": total_h, "hours": hours}


def _row(
    size: int, hours: float, side: str, step: str, wall: float, cpu: float, peak: float
) -> None:
    print(
        f"{size:9d} {hours:7.0f} {side:>7} {step:>8} {wall:8.1f} {cpu:8.1f} {peak:8.0f} "
        f"{wall / size * 1e6:7.1f}",
        flush=True,
    )


if __name__ == "__main__":
    main()
