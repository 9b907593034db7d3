"""Draw the figures of the study.

Reads the tables, and the training logs with the `run.json` beside each. Writes every figure of
`warmstart/evidence/analyses` as .svg and .png; those of a contrast once for each contrast.

    python workflow/scripts/plot.py --tables results/tables \\
        --train-logs results/runs/*/*/*/*/train.csv --settings @display.json \\
        --output-dir results/figures
"""

from pathlib import Path

from warmstart.evidence import analyses, training_logs
from warmstart.evidence.analyses.base import Material
from warmstart.evidence.display import Display
from warmstart.evidence.tables import read_tables
from warmstart.run import cli


def main(argv: list[str] | None = None) -> None:
    """Draw all figures."""
    parser = cli.parser(__doc__)
    parser.add_argument("--tables", type=Path, required=True)
    parser.add_argument(
        "--train-logs",
        action=cli.Paths,
        nargs="*",
        default=[],
        help="train.csv of each run, with its run.json beside it",
    )
    parser.add_argument(
        "--settings",
        type=cli.json_value,
        required=True,
        help="names and choices of the study (Study.display_settings)",
    )
    parser.add_argument("--output-dir", type=Path, required=True)
    arguments = parser.parse_args(argv)
    logger = cli.start(arguments)

    from warmstart.evidence import plotting

    tables = read_tables(arguments.tables, analyses.tables())
    display = Display.of(arguments.settings).measured(tables)
    material = Material(tables, dict(map(training_logs.read, arguments.train_logs)))
    drawn = 0
    with plotting.style():
        for analysis in analyses.load_all():
            once = not analyses.ANALYSES[analysis.name].each_contrast
            for drawing in analysis.figures:
                for place, contrast in enumerate(
                    display.contrasts[:1] if once else display.contrasts
                ):
                    figure = drawing.draw(material, display, None if once else contrast)
                    name = analyses.figure_name(drawing.name, place, contrast.name)
                    plotting.save(figure, arguments.output_dir, name)
                    drawn += 1
    logger.info("%d figures -> %s", drawn, arguments.output_dir)


if __name__ == "__main__":
    cli.run(main)
