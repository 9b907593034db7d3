"""Draw the figures of the study.

Reads the tables and the training logs. Writes gap_by_hours, wer_by_hours, gap_by_tier,
quantization, training, validation as .svg and .png.

    python workflow/scripts/plot.py --tables results/tables --train-logs
    results/runs/*/*/*/*/train.csv \\
        --settings '{"study": ..., "statistics": ..., "languages": ..., "inits": ..., "tiers": ...,
        "test_sets": ...}' \\ --output-dir results/figures
"""

from pathlib import Path

import pandas as pd

from warmstart.run import cli


def run_of(path: Path) -> tuple[str, str, str, str]:
    """(lang, init, hours, seed) from .../{lang}/{init}/{hours}h/seed{seed}/train.csv."""
    lang, init, hours, seed = path.parts[-5:-1]
    return lang, init, hours.removesuffix("h"), seed.removeprefix("seed")


def main(argv: list[str] | None = None) -> None:
    """Draw all figures."""
    parser = cli.parser(__doc__)
    parser.add_argument("--tables", type=Path, required=True)
    parser.add_argument("--train-logs", action=cli.Paths, nargs="*", default=[])
    parser.add_argument(
        "--settings",
        type=cli.json_value,
        required=True,
        help="names and choices of the study (Study.display_settings)",
    )
    parser.add_argument("--output-dir", type=Path, required=True)
    arguments = parser.parse_args(argv)
    logger = cli.start(arguments)

    from warmstart.evidence.figures import (
        gap_by_hours,
        gap_by_tier,
        quantization,
        save,
        style,
        training,
        validation,
        wer_by_hours,
    )

    tables = {
        name: pd.read_csv(arguments.tables / f"{name}.csv")
        for name in ("wer", "gap", "fit", "quantization")
    }
    curves = {run_of(path.resolve()): pd.read_csv(path) for path in arguments.train_logs}
    settings = arguments.settings
    with style():
        figures = {
            "gap_by_hours": gap_by_hours(tables["gap"], tables["fit"], settings),
            "wer_by_hours": wer_by_hours(tables["wer"], settings),
            "gap_by_tier": gap_by_tier(tables["gap"], settings),
            "quantization": quantization(tables["quantization"], settings),
            "training": training(curves, settings),
            "validation": validation(curves, settings),
        }
        for name, figure in figures.items():
            save(figure, arguments.output_dir, name)
    logger.info("%d figures -> %s", len(figures), arguments.output_dir)


if __name__ == "__main__":
    cli.run(main)
