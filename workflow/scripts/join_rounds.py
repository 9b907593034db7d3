"""Join the rounds of a run: the last round's model is the run's.

Reads the models of all rounds, with `train.csv` and `run.json` beside each, and what
`label_pool.py` reported of those whose cuts a model chose. Writes the model (`--output`), and
beside it `train.csv` (counted on from round to round) and `run.json` (as of a run that was trained
at once, and `rounds`).

    python workflow/scripts/join_rounds.py --run it_rounds/ml/0.02h/seed1 \\
        --rounds results/runs/it_rounds/ml/0.02h/seed1/round*/model.nemo --data labelled pseudo \\
        --reports 2=results/runs/it_rounds/ml/0.02h/seed1/labels2/labels.json \\
        --output results/runs/it_rounds/ml/0.02h/seed1/model.nemo
"""

from pathlib import Path
from typing import Any

from warmstart.run import cli
from warmstart.run.errors import UserError
from warmstart.run.files import read_json
from warmstart.study.grid import Run
from warmstart.training.joined import join


def main(argv: list[str] | None = None) -> None:
    """Program entry; see the module docstring."""
    parser = cli.parser(__doc__)
    parser.add_argument(
        "--run", type=Run.of_path, required=True, help="training set, arm, hours and seed"
    )
    parser.add_argument(
        "--rounds", type=Path, nargs="+", required=True, help="models, in the order of the rounds"
    )
    parser.add_argument("--data", nargs="+", required=True, help="what each round was trained on")
    parser.add_argument(
        "--reports",
        type=cli.named_path,
        nargs="*",
        default=[],
        metavar="NUMBER=REPORT",
        help="what label_pool.py said of a round",
    )
    parser.add_argument("--output", type=Path, required=True, help="the model")
    arguments = parser.parse_args(argv)
    cli.start(arguments)
    arguments.run.require_own(arguments.output)
    if len(arguments.data) != len(arguments.rounds):
        raise UserError(
            f"--data names {len(arguments.data)} rounds and --rounds {len(arguments.rounds)}; give "
            "one for each"
        )
    reports: dict[str, Any] = {number: read_json(path) for number, path in arguments.reports}
    about = [
        {"data": data, **({"labels": reports[str(number)]} if str(number) in reports else {})}
        for number, data in enumerate(arguments.data, 1)
    ]
    join(arguments.run, arguments.rounds, arguments.output, about)


if __name__ == "__main__":
    cli.run(main)
