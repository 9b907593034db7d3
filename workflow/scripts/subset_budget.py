"""Cut one hour budget from a language's pool.

Reads the pool. Writes `--output`, the prefix of that many hours, and `--report`, its hours, cuts
and shares per corpus.

    python workflow/scripts/subset_budget.py --pool results/pools/de.jsonl.gz --hours 100 \\
        --output results/budgets/de/100h.jsonl.gz --report results/budgets/de/100h.json
"""

import argparse
from pathlib import Path

from warmstart.data import budgets
from warmstart.run import cli


def _hours(text: str) -> float:
    value = float(text)
    if not value > 0:
        raise argparse.ArgumentTypeError(f"{text}: a budget is a number of hours above 0")
    return value


def main(argv: list[str] | None = None) -> None:
    parser = cli.parser(__doc__)
    parser.add_argument("--pool", type=Path, required=True, help="written by build_pool.py")
    parser.add_argument("--hours", type=_hours, required=True, help="the budget")
    parser.add_argument("--output", type=Path, required=True, help="budget, .jsonl.gz")
    parser.add_argument("--report", type=Path, required=True, help="hours and shares, .json")
    arguments = parser.parse_args(argv)
    cli.start(arguments)

    budgets.subset(arguments.pool, arguments.hours, arguments.output, arguments.report)


if __name__ == "__main__":
    cli.run(main)
