"""Count the phones of a language: in text of the study, or in number words where it has none.

Reads CutSets of the language, or nothing. Writes a JSON: phones by how often they are said, the
commonest first, and what was read. A language without a voice has no phones and a `reason`.

    python workflow/scripts/list_phones.py --lang it --cuts results/pools/it.jsonl.gz \\
        --settings '{"text": {"alphabet": "abc", "numbers": "it"}}' --output results/phones/it.json
"""

from pathlib import Path

from warmstart.data import phone_inventory
from warmstart.run import cli, files
from warmstart.study import stages


def main(argv: list[str] | None = None) -> None:
    """Count one language."""
    parser = cli.parser(__doc__)
    parser.add_argument("--lang", required=True, help="ISO 639-1 code")
    parser.add_argument(
        "--cuts",
        type=Path,
        nargs="*",
        default=[],
        help="its text; absent: number words (`phone_inventory.NUMBERS`)",
    )
    parser.add_argument(
        "--settings",
        type=stages.argument("score_phones"),
        default={},
        help='{"text": {...}, "espeak_voice": "it"}; without text: texts are read as they are',
    )
    parser.add_argument("--output", type=Path, required=True)
    arguments = parser.parse_args(argv)
    logger = cli.start(arguments)
    about = phone_inventory.of_language(arguments.lang, arguments.cuts, arguments.settings)
    files.write_json(arguments.output, about)
    logger.info("%s: %d phones of %s", arguments.lang, len(about["phones"]), about["source"])


if __name__ == "__main__":
    cli.run(main)
