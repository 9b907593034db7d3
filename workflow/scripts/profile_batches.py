"""Measure how many utterances of each length bucket fit this GPU in a training step.

Reads the largest training set of the runs that the profile is for, its tokenizer and an init.
Writes the profile, which `train.py` takes by `batch_profile` in its settings: it names GPU, model
and what of the recipe it depends on, and a training of anything else refuses it.

Example:
    python workflow/scripts/profile_batches.py --init resources/inits/en.nemo \\
        --settings @results/runs/it/en/0.32h/seed1/settings.yaml \\
        --train-cuts results/budgets/it/0.32h.jsonl.gz --tokenizer results/tokenizers/it \\
        --output results/profiles/it/en.json
"""

import tempfile
from pathlib import Path

from warmstart.models import DEFAULT_FAMILY
from warmstart.run import cli
from warmstart.study import stages
from warmstart.study.grid import Run
from warmstart.training.job import Job


def main(argv: list[str] | None = None) -> None:
    """Entry point."""
    parser = cli.parser(__doc__)
    parser.add_argument(
        "--train-cuts", type=Path, required=True, help="the largest budget, a Lhotse manifest"
    )
    parser.add_argument(
        "--tokenizer",
        type=Path,
        nargs="?",
        help="folder with tokenizer.model; none of a family that brings its own",
    )
    parser.add_argument("--init", type=Path, required=True, help="donor")
    parser.add_argument(
        "--settings",
        type=cli.json_value,
        required=True,
        help="@FILE: the recipe of the arm; what it does not say is as in the schema",
    )
    parser.add_argument(
        "--text",
        type=cli.json_value,
        default={},
        help="@FILE: language -> its normaliser, with its voice where tokens are ipa",
    )
    parser.add_argument(
        "--family", default=DEFAULT_FAMILY, help="of models, a name or module:OBJECT"
    )
    parser.add_argument("--output", type=Path, required=True, help="the profile, .json")
    arguments = parser.parse_args(argv)
    cli.start(arguments)
    with tempfile.TemporaryDirectory() as folder:
        job = Job(
            run=Run("profile", "profile", "0", 1),
            train_cuts=arguments.train_cuts,
            donor=arguments.init,
            run_dir=Path(folder),
            output=arguments.output,
            settings=stages.filled("train", arguments.settings | {"batch_profile": False}),
            family=arguments.family,
            tokenizer=arguments.tokenizer,
            # Speed and memory do not ask which weights these are.
            from_scratch=True,
            text=stages.filled("texts", arguments.text),
        )
        job.require_inputs()

        from warmstart.training import profiling

        profiling.profile(job)


if __name__ == "__main__":
    cli.run(main)
