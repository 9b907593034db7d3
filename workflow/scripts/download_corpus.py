"""Bring one corpus in one language onto this machine, verified.

Reads the corpus's source (hub, web, a folder; tokens from the environment). Writes its files under
`--directory`, where nothing modifies them, and `--output`, a small JSON that exists only when
everything is there. Run again after a fault, it continues.

    python workflow/scripts/download_corpus.py --corpus fleurs --lang de --settings '{"kind":
    "fleurs", "code": "de_de"}' \\
        --directory resources/corpora/fleurs/de --output resources/corpora/fleurs/de/complete.json
"""

from pathlib import Path

from warmstart.data.corpora import open_corpus
from warmstart.run import cli, files


def main(argv: list[str] | None = None) -> None:
    parser = cli.parser(__doc__)
    parser.add_argument("--corpus", required=True, help="name of the corpus in the config")
    parser.add_argument("--lang", required=True, help="ISO 639-1 code")
    parser.add_argument(
        "--settings", type=cli.json_value, required=True, help="the corpus's block of the config"
    )
    parser.add_argument("--directory", type=Path, required=True, help="where the corpus's files go")
    parser.add_argument("--output", type=Path, required=True, help="complete.json")
    arguments = parser.parse_args(argv)
    log = cli.start(arguments)

    corpus = open_corpus(arguments.corpus, arguments.lang, arguments.settings)
    arguments.directory.mkdir(parents=True, exist_ok=True)
    facts = corpus.fetch(arguments.directory)
    kind = arguments.settings.get("kind", arguments.corpus)
    files.write_json(
        arguments.output,
        {"corpus": arguments.corpus, "lang": arguments.lang, "kind": kind, **facts},
    )
    log.info("%s/%s: complete, from %s", arguments.corpus, arguments.lang, facts.get("source"))


if __name__ == "__main__":
    cli.run(main)
