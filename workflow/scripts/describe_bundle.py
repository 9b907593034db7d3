"""Write the README of a bundle: what it is, how to load it, its WER, its agreement with native decoding, its licences.

Reads the bundle's folder (bundle.json of build_bundle.py) and optionally a WER table. Writes README.md into the folder.

    python workflow/scripts/describe_bundle.py --bundle bundle --scores results/tables/wer.csv \\
        --origin '{"licence": "CC-BY-4.0", "init": {"name": "English", "licence": "CC-BY-4.0", "source": "nvidia/..."}}'
"""

from pathlib import Path

from warmstart import bundle, cli


def main(argv: list[str] | None = None) -> None:
    """Program entry; see the module docstring."""
    parser = cli.parser(__doc__)
    parser.add_argument("--bundle", type=Path, required=True, help="its folder")
    parser.add_argument("--scores", type=Path, help="WER table (CSV) whose rows about this model are shown")
    parser.add_argument("--origin", type=cli.json_value, default={}, help="JSON: licence; init with name, licence, source")
    arguments = parser.parse_args(argv)
    cli.start(arguments)
    bundle.describe(arguments.bundle, arguments.scores, arguments.origin)


if __name__ == "__main__":
    cli.run(main)
