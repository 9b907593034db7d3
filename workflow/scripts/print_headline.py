"""Print the headline of a study to the terminal: WER per arm, budget and tier, the gap of each
contrast with its interval, the report's path.

Reads wer.csv, gap.csv, guideline.csv and statistics.json. Writes to standard output only.

    python workflow/scripts/print_headline.py --tables results/tables --report results/report.html
"""

from pathlib import Path

from warmstart.evidence import registration
from warmstart.evidence.tables import read_tables
from warmstart.report.headline import lines_of
from warmstart.run import cli


def main(argv: list[str] | None = None) -> None:
    """Print the headline."""
    parser = cli.parser(__doc__)
    parser.add_argument("--tables", type=Path, required=True)
    parser.add_argument("--report", type=Path, default=None)
    arguments = parser.parse_args(argv)
    tables = read_tables(arguments.tables, ("wer", "gap", "guideline"))
    print("\n".join(lines_of(**tables)))
    if (registered := registration.read(arguments.tables)) and registered.changes():
        print("\n".join(["", f"{registration.TITLE}:", *registration.lines(registered)]))
    if arguments.report is not None:
        print(f"\nReport: {arguments.report}")


if __name__ == "__main__":
    cli.run(main)
