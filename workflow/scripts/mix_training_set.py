"""Mix the budgets of several languages into one training set, and cuts of another language's pool
between them, at a share of all audio.

Reads a budget for each language, and the pool of what is replayed. Writes `--output`, the cuts of
all, and `--report`, their cuts and hours.

    python workflow/scripts/mix_training_set.py --parts fr=results/budgets/fr/100h.jsonl.gz \\
        it=results/budgets/it/50h.jsonl.gz --weights fr=1 it=0.5 \\
        --replay en=results/pools/en.jsonl.gz --fraction 0.1 \\
        --output results/mixtures/fr+it/100h.jsonl.gz --report results/mixtures/fr+it/100h.json
"""

import argparse
from pathlib import Path

from warmstart.data.mixing import Part, Replay, mix
from warmstart.run import cli
from warmstart.run.errors import UserError


def _share(text: str) -> float:
    value = float(text)
    if not 0 < value < 1:
        raise argparse.ArgumentTypeError(f"{text}: a share is above 0 and below 1")
    return value


def _weight(text: str) -> tuple[str, float]:
    lang, equals, value = text.partition("=")
    try:
        weight = float(value)
    except ValueError:
        weight = 0.0
    if not (lang and equals and weight > 0):
        raise argparse.ArgumentTypeError(f"{text}: LANG=WEIGHT is needed, a weight above 0")
    return lang, weight


def main(argv: list[str] | None = None) -> None:
    """Program entry; see the module docstring."""
    parser = cli.parser(__doc__)
    parser.add_argument(
        "--parts",
        type=cli.named_path,
        nargs="+",
        required=True,
        metavar="LANG=BUDGET",
        help="languages of the training set, each with its budget, written by subset_budget.py",
    )
    parser.add_argument(
        "--weights",
        type=_weight,
        nargs="+",
        default=[],
        metavar="LANG=WEIGHT",
        help="audio of each in relation to the others; default: as much as the budgets hold",
    )
    parser.add_argument(
        "--replay",
        type=cli.named_path,
        metavar="LANG=POOL",
        help="another language whose cuts lie between, and its pool, written by build_pool.py",
    )
    parser.add_argument("--fraction", type=_share, help="share of the replayed audio in all audio")
    parser.add_argument("--output", type=Path, required=True, help="manifest, .jsonl.gz")
    parser.add_argument("--report", type=Path, required=True, help="cuts and hours, .json")
    arguments = parser.parse_args(argv)
    cli.start(arguments)
    if (arguments.replay is None) != (arguments.fraction is None):
        raise UserError("--replay and --fraction belong together; give both or neither")
    weights = dict(arguments.weights)
    if strange := sorted(set(weights) - {lang for lang, _ in arguments.parts}):
        raise UserError(f"--weights has {strange[0]}, of which --parts has no budget")
    mix(
        [Part(lang, path, weights.get(lang)) for lang, path in arguments.parts],
        arguments.output,
        arguments.report,
        Replay(*arguments.replay, arguments.fraction) if arguments.replay else None,
    )


if __name__ == "__main__":
    cli.run(main)
