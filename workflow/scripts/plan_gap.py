"""Say what gap and what WER to expect for a language that is not in the study, from the laws of
those that are.

Reads fit.csv, gap.csv and wer_law.csv of a finished study. Prints the expected gap and each arm's
WER at each number of hours, and the hours for each WER that `--wer` asks, all with prediction
intervals. Where the study has no such law (yet), `--published` prints why, and what the
paper's two endpoints give, which have no interval.

    python workflow/scripts/plan_gap.py --tables results/tables --hours 50 200 \\
        --test-set fleurs --tier 160ms
"""

from pathlib import Path

from warmstart.evidence import prediction
from warmstart.evidence.keys import OWN
from warmstart.evidence.tables import read_table, read_tables
from warmstart.run import cli
from warmstart.run.errors import UserError


def main(argv: list[str] | None = None) -> None:
    """Print the expectation."""
    parser = cli.parser(__doc__)
    parser.add_argument("--tables", type=Path, required=True)
    parser.add_argument("--hours", type=float, nargs="+", required=True)
    parser.add_argument(
        "--wer", type=float, nargs="*", default=[], help="WERs, percent, whose hours are asked"
    )
    parser.add_argument("--test-set", required=True)
    parser.add_argument("--tier", required=True)
    parser.add_argument("--contrast", default=None, help="default: the study's first")
    parser.add_argument(
        "--training-set", default=OWN, help="'own', or one training set for several languages"
    )
    parser.add_argument(
        "--confidence",
        type=float,
        default=0.95,
        help="of the intervals in fit.csv and of the prediction",
    )
    parser.add_argument(
        "--published",
        action="store_true",
        help="without a law of this study, use the paper's endpoints",
    )
    arguments = parser.parse_args(argv)
    if wrong := [hours for hours in arguments.hours if not hours > 0]:
        raise UserError(f"--hours {wrong[0]:g}: give hours above zero")
    if wrong := [wer for wer in arguments.wer if not 0 < wer <= 100]:
        raise UserError(f"--wer {wrong[0]:g}: give percent, above 0 and at most 100")
    question = prediction.Question(
        arguments.test_set, arguments.tier, arguments.contrast, arguments.training_set
    )
    try:
        tables = read_tables(arguments.tables, ("fit", "gap"))
        lines = prediction.lines_of(
            **tables, question=question, hours=arguments.hours, confidence=arguments.confidence
        )
    except UserError as error:
        if not arguments.published:
            raise
        lines = [f"No prediction from this study: {error}."]
        lines += prediction.published_lines(arguments.hours)
    try:
        wer_law = read_table(arguments.tables / "wer_law.csv")
        lines += prediction.wer_lines(wer_law, question, arguments.hours, arguments.wer)
    except UserError as error:
        lines.append(f"No WER of a new language: {error}.")
    print("\n".join(lines))


if __name__ == "__main__":
    cli.run(main)
