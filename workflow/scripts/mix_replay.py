"""Mix cuts of another language's pool into an hour budget, at a share of its audio.

Reads a budget and that language's pool. Writes `--output`, the cuts of both, and `--report`, their
cuts and hours.

    python workflow/scripts/mix_replay.py --budget results/budgets/de/100h.jsonl.gz --pool
    results/pools/en.jsonl.gz \\
        --lang en --fraction 0.1 --output results/replay/de/100h.jsonl.gz --report
        results/replay/de/100h.json
"""

import argparse
from pathlib import Path

from warmstart.data import mixing
from warmstart.run import cli


def _share(text: str) -> float:
    value = float(text)
    if not 0 < value < 1:
        raise argparse.ArgumentTypeError(f"{text}: a share is above 0 and below 1")
    return value


def main(argv: list[str] | None = None) -> None:
    """Program entry; see the module docstring."""
    parser = cli.parser(__doc__)
    parser.add_argument("--budget", type=Path, required=True, help="written by subset_budget.py")
    parser.add_argument(
        "--pool",
        type=Path,
        required=True,
        help="of the replayed language, written by build_pool.py",
    )
    parser.add_argument("--lang", required=True, help="the replayed language")
    parser.add_argument(
        "--fraction", type=_share, required=True, help="share of the replayed audio in all audio"
    )
    parser.add_argument("--output", type=Path, required=True, help="manifest, .jsonl.gz")
    parser.add_argument("--report", type=Path, required=True, help="cuts and hours, .json")
    arguments = parser.parse_args(argv)
    cli.start(arguments)
    mixing.mix(
        arguments.budget,
        arguments.pool,
        arguments.lang,
        arguments.fraction,
        arguments.output,
        arguments.report,
    )


if __name__ == "__main__":
    cli.run(main)
