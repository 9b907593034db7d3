"""Count the phone errors of every hypothesis in a language, of models that write phones.

Reads hypothesis files of test sets in this language with the headers beside them, test manifests
and the phones of the language's training text. Writes one Parquet file, a row per utterance and
hypothesis file (columns: docs/outputs.md).

    python workflow/scripts/score_phones.py --lang it \\
        --hypotheses results/hypotheses/it/ml_ipa/*/*/*/*/*.jsonl \\
        --tests fleurs=results/manifests/fleurs/it/test.jsonl.gz \\
        --inventory results/phones/it.json \\
        --settings '{"text": {"alphabet": "abc", "numbers": "it"}}' \\
        --output results/phone_scores/it.parquet
"""

from pathlib import Path

from warmstart.run import cli
from warmstart.study import stages


def main(argv: list[str] | None = None) -> None:
    """Score one language."""
    parser = cli.parser(__doc__)
    parser.add_argument("--lang", required=True, help="of the test sets")
    parser.add_argument("--hypotheses", action=cli.Paths, nargs="+", required=True)
    parser.add_argument(
        "--tests", type=cli.named_path, nargs="+", required=True, metavar="TEST_SET=MANIFEST"
    )
    parser.add_argument(
        "--inventory",
        type=Path,
        help="phones of the language (list_phones.py); absent: none of a model of 0 hours is "
        "mapped to the nearest of them",
    )
    parser.add_argument(
        "--settings",
        type=stages.argument("score_phones"),
        required=True,
        help='{"text": {...}, "espeak_voice": "it"}',
    )
    parser.add_argument("--output", type=Path, required=True)
    arguments = parser.parse_args(argv)
    logger = cli.start(arguments)

    from warmstart.data import phone_inventory
    from warmstart.evidence import row_files
    from warmstart.evidence.phone_columns import PHONE_SCORES
    from warmstart.evidence.phone_scoring import PhoneScorer

    inventory = phone_inventory.read(arguments.inventory) if arguments.inventory else {}
    scorer = PhoneScorer(
        arguments.lang, arguments.settings, dict(arguments.tests), phone_inventory.used(inventory)
    )
    columns = ((column.name, kind) for column, kind in PHONE_SCORES)
    with row_files.writing(arguments.output, columns) as output:
        for path in arguments.hypotheses:
            output.add(scorer.score(path, scorer.header(path)))
    logger.info(
        "%s: phones of %d hypothesis files scored -> %s",
        arguments.lang,
        len(arguments.hypotheses),
        arguments.output,
    )


if __name__ == "__main__":
    cli.run(main)
