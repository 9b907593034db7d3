"""Count the errors of every hypothesis in a language, utterance by utterance.

Reads hypothesis files of test sets in this language (of all models that were asked, whatever they
were trained on) with the headers beside them, test manifests, and the language's pool for word
frequencies. Writes one Parquet file, a row per utterance and hypothesis file (columns:
docs/outputs.md).

    python workflow/scripts/score.py --lang it \\
        --hypotheses results/hypotheses/it/*/*/*/*/*/*.jsonl \\
        --tests fleurs=results/manifests/fleurs/it/test.jsonl.gz \\
        --traits fleurs=results/manifests/fleurs/it/test.traits.json \\
        --train-text results/pools/it.jsonl.gz \\
        --settings '{"text": {"alphabet": "abc", "numbers": "it"}, "rare_below": 5}' \\
        --output results/scores/it.parquet
"""

from pathlib import Path

from warmstart.run import cli
from warmstart.run.errors import UserError
from warmstart.run.logs import MinuteTicker
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
        "--traits",
        type=cli.named_path,
        nargs="*",
        default=[],
        metavar="TEST_SET=TRAITS",
        help="gender and accent of the speakers (list_traits.py); absent: unknown",
    )
    parser.add_argument(
        "--train-text",
        default=None,
        help="pool of the language; absent or 'null': rare words are not counted",
    )
    parser.add_argument(
        "--settings",
        type=stages.argument("score"),
        required=True,
        help='{"text": {...}, "rare_below": 5}',
    )
    parser.add_argument("--output", type=Path, required=True)
    arguments = parser.parse_args(argv)
    logger = cli.start(arguments)

    from warmstart.evidence import row_files
    from warmstart.evidence.keys import KEYS
    from warmstart.evidence.score_columns import SCORES
    from warmstart.evidence.scoring import Scorer, find_anchors, training_words

    pool = (
        None if arguments.train_text in (None, "null", "") else training_words(arguments.train_text)
    )
    scorer = Scorer(
        arguments.lang, arguments.settings, dict(arguments.tests), pool, dict(arguments.traits)
    )
    headers = {path: scorer.header(path) for path in arguments.hypotheses}
    seen: dict[tuple, Path] = {}
    for path, header in headers.items():
        key = tuple(str(header[name]) for name in KEYS)
        if key in seen:
            raise UserError(
                f"{path} and {seen[key]} are both {'/'.join(key)}; give each hypothesis file once"
            )
        seen[key] = path
    anchors = find_anchors(headers)
    ticker = MinuteTicker()
    columns = ((column.name, kind) for column, kind in SCORES)
    with row_files.writing(arguments.output, columns) as output:
        for number, (path, header) in enumerate(headers.items(), 1):
            output.add(scorer.score(path, header, anchors.get(path)))
            if ticker.due():
                logger.info("%d of %d hypothesis files scored", number, len(headers))
    logger.info(
        "%s: %d hypothesis files scored -> %s", arguments.lang, len(headers), arguments.output
    )


if __name__ == "__main__":
    cli.run(main)
