"""Build a language's training pool: clean, free of the test sets, in budget order.

Reads training and test manifests. Writes `--output`, the pool (normalised text, the raw one beside
it), and `--report`, what was dropped from which corpus and why.

    python workflow/scripts/build_pool.py --lang de --manifests
    mls=results/manifests/mls/de/train.jsonl.gz \\
        --tests fleurs=results/manifests/fleurs/de/test.jsonl.gz --settings @pool-settings.yaml \\
        --output results/pools/de.jsonl.gz --report results/pools/de.qc.json
"""

from pathlib import Path

from warmstart.data import pool
from warmstart.run import cli
from warmstart.study import stages


def main(argv: list[str] | None = None) -> None:
    parser = cli.parser(__doc__)
    parser.add_argument("--lang", required=True, help="ISO 639-1 code")
    parser.add_argument(
        "--manifests", type=cli.named_path, nargs="+", required=True, metavar="CORPUS=PATH"
    )
    parser.add_argument(
        "--tests",
        type=cli.named_path,
        nargs="*",
        default=[],
        metavar="TEST_SET=PATH",
        help="what to keep out",
    )
    parser.add_argument(
        "--settings", type=stages.argument("pool"), required=True, help="text and filters"
    )
    parser.add_argument(
        "--max-drop-fraction",
        type=float,
        help="more unfit cuts of a corpus stop it; over that of the settings",
    )
    parser.add_argument("--output", type=Path, required=True, help="pool, .jsonl.gz")
    parser.add_argument("--report", type=Path, required=True, help="quality report, .qc.json")
    parser.add_argument("--threads", type=int, default=1, help="processes")
    arguments = parser.parse_args(argv)
    cli.start(arguments)

    settings = arguments.settings
    if arguments.max_drop_fraction is not None:
        settings["filters"]["max_drop_fraction"] = arguments.max_drop_fraction
    pool.build(
        arguments.lang,
        arguments.manifests,
        arguments.tests,
        settings,
        arguments.output,
        arguments.report,
        arguments.threads,
    )


if __name__ == "__main__":
    cli.run(main)
