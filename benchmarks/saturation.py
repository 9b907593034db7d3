"""Time, memory and disk of the candidates of one decode: written, counted, estimated.

Plants tokens by Zipf's law; nothing is decoded. Prints one line a size of the vocabulary.

    python benchmarks/saturation.py --utterances 10000 --count 50 --vocabulary 1024 13000
"""

import argparse
import resource
import sys
import tempfile
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT / "workflow/scripts"), str(ROOT / "tests")]

from made import candidates as made  # noqa: E402

from warmstart.decoding import candidates as written  # noqa: E402
from warmstart.evidence import candidates, token_estimates  # noqa: E402
from warmstart.evidence.analyses import saturation  # noqa: E402
from warmstart.models.base import Candidates, Vocabulary  # noqa: E402

EMISSIONS = 30  # an utterance of some 8 s
SECONDS = 8.0


def lines(utterances, count, vocabulary, random):
    """Lines of a journal."""
    shares = np.arange(1, vocabulary + 1.0) ** -1
    steps = np.cumsum(shares / shares.sum())
    for number in range(utterances):
        drawn = np.searchsorted(steps, random.random((EMISSIONS, count))).clip(max=vocabulary - 1)
        likely = np.sort(random.dirichlet(np.full(count, 0.1), EMISSIONS), axis=1)[:, ::-1]
        one = Candidates(drawn[:, 0], drawn, likely)
        line = {"id": f"u{number}", "block": f"u{number}", "duration_s": SECONDS}
        tokens = [{"piece": "a", "time_s": 0.08 * place} for place in range(EMISSIONS)]
        yield line | {"ref": "a", "hyp": "a", "tokens": tokens} | written.packed(one)


def clock(work):
    """What work gives, and its CPU seconds."""
    before = time.process_time()
    return work(), time.process_time() - before


def measure(folder, utterances, count, vocabulary):
    """One line of numbers."""
    pieces = tuple(f"▁{number}" for number in range(vocabulary))
    manifest = made.write_manifest(
        folder / "m.jsonl.gz", [f"u{number}" for number in range(utterances)], SECONDS
    )
    path = folder / "h.candidates.parquet"
    decoder = SimpleNamespace(vocabulary=Vocabulary(pieces))
    # Line by line, as a journal gives them: planting is in the time.
    planted = lines(utterances, count, vocabulary, np.random.default_rng(1))
    _, write_s = clock(lambda: written.write(path, planted, decoder, count))
    counter = candidates.Counter("it", {"alphabet": "a"}, {"fleurs": manifest})
    before_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    one, count_s = clock(lambda: counter._count(path, made.KEYS))
    _, kept_s = clock(lambda: candidates.write(folder / "c.parquet", iter([one])))
    rows, estimate_s = clock(
        lambda: [
            row for kind in ("candidates", "taken") for row in saturation._rows([one], kind, 0.95)
        ]
    )
    size_mb = path.stat().st_size / 1e6
    print(
        f"K {count}, vocabulary {vocabulary}, {utterances} utterances, "
        f"{utterances * EMISSIONS} emissions: {size_mb:.0f} MB "
        f"({1e6 * size_mb / utterances / EMISSIONS / count:.1f} bytes a candidate), "
        f"planted and written in {write_s:.1f} s, counted in {count_s:.1f} s into "
        f"{(folder / 'c.parquet').stat().st_size / 1e6:.2f} MB ({kept_s:.1f} s), "
        f"{len(rows)} rows estimated in {estimate_s:.1f} s; peak {before_mb:.0f} MB before "
        f"counting, {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:.0f} MB after"
    )
    assert len(rows) == 2 * token_estimates.WINDOWS


def main():
    """Measure all sizes."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--utterances", type=int, default=10000)
    parser.add_argument("--count", type=int, default=50)
    parser.add_argument("--vocabulary", type=int, nargs="+", default=[1024, 13000])
    arguments = parser.parse_args()
    for vocabulary in arguments.vocabulary:
        with tempfile.TemporaryDirectory() as folder:
            measure(Path(folder), arguments.utterances, arguments.count, vocabulary)


if __name__ == "__main__":
    main()
