"""Make the Lhotse manifest of one split of one corpus, with every audio file checked.

Reads the corpus under `--directory`. Writes `--output` (cuts, one supervision each, 16 kHz mono on
load) and `--report`, a JSON with what was dropped and why.

    python workflow/scripts/prepare_manifest.py --corpus fleurs --lang de --split test \\
        --settings '{"kind": "fleurs", "code": "de_de"}' --directory resources/corpora/fleurs/de \\
        --output results/manifests/fleurs/de/test.jsonl.gz \\
        --report results/manifests/fleurs/de/test.qc.json
"""

from pathlib import Path

from warmstart.data import manifests
from warmstart.data.corpora import open_corpus
from warmstart.run import cli


def main(argv: list[str] | None = None) -> None:
    parser = cli.parser(__doc__)
    parser.add_argument("--corpus", required=True, help="name of the corpus in the config")
    parser.add_argument("--lang", required=True, help="ISO 639-1 code")
    parser.add_argument(
        "--split", required=True, help="train, dev, test, or a name the corpus knows"
    )
    parser.add_argument(
        "--settings", type=cli.json_value, required=True, help="the corpus's block of the config"
    )
    parser.add_argument(
        "--directory", type=Path, required=True, help="where download_corpus.py put the corpus"
    )
    parser.add_argument("--output", type=Path, required=True, help="manifest, .jsonl.gz")
    parser.add_argument(
        "--report", type=Path, required=True, help="what was kept and dropped, .json"
    )
    parser.add_argument(
        "--max-drop-fraction",
        type=float,
        help="more unusable recordings stop it; over that of the settings",
    )
    parser.add_argument(
        "--used-splits", nargs="*", default=[], help="splits of a study; rows of others are told"
    )
    parser.add_argument("--threads", type=int, default=1, help="audio files checked at a time")
    arguments = parser.parse_args(argv)
    cli.start(arguments)

    if (limit := arguments.max_drop_fraction) is not None:
        arguments.settings["max_drop_fraction"] = limit
    corpus = open_corpus(arguments.corpus, arguments.lang, arguments.settings)
    manifests.build(
        corpus,
        arguments.split,
        arguments.directory,
        arguments.output,
        arguments.report,
        arguments.threads,
        tuple(arguments.used_splits),
    )


if __name__ == "__main__":
    cli.run(main)
