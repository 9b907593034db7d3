"""Tell topics and answers from what was heard in one language.

Reads the score file of the language, label tables, tables of questions, and, for linear probes, the
states of donors (`probe_init.py`). Writes one Parquet file, a row for each utterance and system,
and beside it a JSON file that says how labels were joined and why anything is not estimable.

    python workflow/scripts/understand.py --scores results/scores/it.parquet \\
        --settings '{"lang": "it", "texts": {"it": {"alphabet": "abcdefghijk", "numbers": "it"}},
            "labels": {"human": {"it": "labels.tsv"}}}' \\
        --output results/understanding/it.parquet
"""

from pathlib import Path

from warmstart.evidence.understanding import Asked, understand
from warmstart.run import cli
from warmstart.study import stages


def main(argv: list[str] | None = None) -> None:
    """Ask everything of one language."""
    parser = cli.parser(__doc__)
    parser.add_argument("--scores", type=Path, required=True)
    parser.add_argument(
        "--settings",
        type=stages.argument("understand"),
        required=True,
        help="lang; texts (language -> normaliser); labels, train (test set -> language -> file); "
        "questions (test set -> file); sources, states (arm -> language -> file) and tiers (arm -> "
        "tier) of probes",
    )
    parser.add_argument("--output", type=Path, required=True)
    arguments = parser.parse_args(argv)
    cli.start(arguments)
    understand(arguments.scores, Asked.of(arguments.settings), arguments.output)


if __name__ == "__main__":
    cli.run(main)
