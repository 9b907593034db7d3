"""Count the best tokens of each emission of every decode in a language, in groups of blocks.

Reads the files of candidates beside hypothesis files (`decoding.log_candidates`) with their
headers, and the test manifests. Writes one Parquet file, a row for each group of blocks of each
decode: how often and in how many utterances each token was a candidate and was taken, entropies,
and ranks of the right tokens. `aggregate.py` makes results/tables/saturation.csv of it.

    python workflow/scripts/count_candidates.py --lang it \\
        --hypotheses results/hypotheses/it/*/*/*/*/*/*.jsonl \\
        --tests fleurs=results/manifests/fleurs/it/test.jsonl.gz \\
        --settings '{"text": {"alphabet": "abc", "numbers": "it"}}' \\
        --output results/candidates/it.parquet
"""

from collections.abc import Iterator
from pathlib import Path

from warmstart.run import cli
from warmstart.run.logs import MinuteTicker
from warmstart.study import stages


def main(argv: list[str] | None = None) -> None:
    """Count one language."""
    parser = cli.parser(__doc__)
    parser.add_argument("--lang", required=True, help="of the test sets")
    parser.add_argument("--hypotheses", action=cli.Paths, nargs="+", required=True)
    parser.add_argument(
        "--tests", type=cli.named_path, nargs="+", required=True, metavar="TEST_SET=MANIFEST"
    )
    parser.add_argument(
        "--settings",
        type=stages.argument("score"),
        required=True,
        help='{"text": {...}, "phones": {...}}',
    )
    parser.add_argument("--output", type=Path, required=True)
    arguments = parser.parse_args(argv)
    logger = cli.start(arguments)

    from warmstart.evidence import candidates

    counter = candidates.Counter(
        arguments.lang,
        arguments.settings["text"],
        dict(arguments.tests),
        arguments.settings.get("phones"),
    )
    ticker = MinuteTicker()

    def counted() -> Iterator[candidates.Counted]:
        for number, path in enumerate(arguments.hypotheses, 1):
            yield counter.count(path)
            if ticker.due():
                logger.info("%d of %d decodes counted", number, len(arguments.hypotheses))

    number = candidates.write(arguments.output, counted())
    logger.info("%s: candidates of %d decodes -> %s", arguments.lang, number, arguments.output)


if __name__ == "__main__":
    cli.run(main)
