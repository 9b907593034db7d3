"""List what a corpus says of the speakers of a test set: gender and accent, cut by cut.

Reads the tables of the corpus under `--directory`, no audio, and the manifest made of them. Writes
`--output`, a JSON beside the manifest, from which scoring takes the columns `gender` and `accent`.

    python workflow/scripts/list_traits.py --corpus fleurs --lang de --split test \\
        --settings '{"kind": "fleurs", "code": "de_de"}' --directory resources/corpora/fleurs/de \\
        --cuts results/manifests/fleurs/de/test.jsonl.gz \\
        --output results/manifests/fleurs/de/test.traits.json
"""

from pathlib import Path

from warmstart.data import stated_traits
from warmstart.data.corpora import open_corpus
from warmstart.run import cli


def main(argv: list[str] | None = None) -> None:
    parser = cli.parser(__doc__)
    parser.add_argument("--corpus", required=True, help="name of the corpus in the config")
    parser.add_argument("--lang", required=True, help="ISO 639-1 code")
    parser.add_argument("--split", required=True, help="of the corpus")
    parser.add_argument(
        "--settings", type=cli.json_value, required=True, help="the corpus's block of the config"
    )
    parser.add_argument(
        "--directory", type=Path, required=True, help="where download_corpus.py put the corpus"
    )
    parser.add_argument("--cuts", type=Path, required=True, help="manifest of the split")
    parser.add_argument("--output", type=Path, required=True, help="traits by cut, .json")
    arguments = parser.parse_args(argv)
    cli.start(arguments)

    corpus = open_corpus(arguments.corpus, arguments.lang, arguments.settings)
    stated_traits.write(
        corpus, arguments.split, arguments.directory, arguments.cuts, arguments.output
    )


if __name__ == "__main__":
    cli.run(main)
