"""Fine-tune one model from one donor on one budget.

Reads the cuts of a budget, held-out cuts, the tokenizer of the training set and an init. Writes the
model, and into the run folder `settings.yaml` (before the first step), `train.csv` (progress),
`run.json` (provenance) and `checkpoints/`.
Killed at any moment, the same command continues.

Example, with the settings that a finished or broken-off run was made with:
    python workflow/scripts/train.py --run it/en/0.32h/seed1 --init resources/inits/en.nemo \\
        --settings @results/runs/it/en/0.32h/seed1/settings.yaml \\
        --train-cuts results/budgets/it/0.32h.jsonl.gz --tokenizer results/tokenizers/it \\
        --dev-cuts it=results/manifests/spoken/it/dev.jsonl.gz \\
        --run-dir /tmp/again --output /tmp/again/model.nemo
"""

import argparse
from pathlib import Path

from warmstart.models import DEFAULT_FAMILY, kind_of
from warmstart.run import cli, locks
from warmstart.run.errors import UserError
from warmstart.run.logs import process_rank
from warmstart.study import stages
from warmstart.study.grid import Run
from warmstart.study.versions import VERSIONS
from warmstart.training.job import Job

SCRATCH = "scratch"


def main(argv: list[str] | None = None) -> None:
    """Entry point."""
    parser = cli.parser(__doc__)
    parser.add_argument(
        "--train-cuts",
        type=Path,
        required=True,
        help="budget, a Lhotse manifest with normalised text",
    )
    parser.add_argument(
        "--dev-cuts",
        type=cli.named_path,
        nargs="*",
        default=[],
        metavar="LANG=PATH",
        help="held-out cuts of each language, for dev_loss and dev_wer",
    )
    parser.add_argument(
        "--tokenizer",
        nargs="*",
        required=True,
        metavar="FOLDER",
        help="folder with tokenizer.model; LANG=FOLDER of several languages: a head for each; "
        "none of a family that brings its own",
    )
    parser.add_argument("--init", required=True, help=f"donor, or `{SCRATCH}`")
    parser.add_argument(
        "--like",
        type=Path,
        default=None,
        help=f"with --init {SCRATCH}: donor whose architecture is taken",
    )
    parser.add_argument(
        "--same-kind-as",
        type=cli.named_path,
        default=None,
        metavar="INIT=PATH",
        help="another init of the study to compare with",
    )
    for name, what in (
        ("--experts", "the folder with the updates of a LoRA run that is fused"),
        ("--teachers", "the same of a run that teaches"),
        ("--packed", "with storage: shar, the folder with the shards of its pool"),
    ):
        parser.add_argument(
            name,
            type=cli.named_path,
            nargs="*",
            default=[],
            metavar="LANG=FOLDER",
            help=f"of each language, {what}",
        )
    parser.add_argument(
        "--start",
        type=Path,
        nargs="?",
        help="model of the round before, which a later round goes on from",
    )
    parser.add_argument(
        "--run", type=Run.of_path, required=True, help="training set, arm, hours and seed"
    )
    parser.add_argument(
        "--settings",
        type=cli.json_value,
        required=True,
        help="@FILE: the recipe of the arm; what it does not say is as in the schema",
    )
    parser.add_argument(
        "--pace",
        type=cli.json_value,
        default={},
        help="@FILE: more of the recipe, which changes no model",
    )
    parser.add_argument(
        "--text",
        type=cli.json_value,
        default={},
        help="@FILE: language -> its normaliser, for --dev-cuts",
    )
    cli.version(parser, VERSIONS["train"])
    parser.add_argument(
        "--run-dir",
        type=Path,
        required=True,
        help="settings.yaml, train.csv, run.json, checkpoints/",
    )
    parser.add_argument("--output", type=Path, required=True, help="the model")
    parser.add_argument(
        "--family", default=DEFAULT_FAMILY, help="of models, a name or module:OBJECT"
    )
    arguments = parser.parse_args(argv)
    recipe = arguments.settings | arguments.pace
    cli.start(arguments, recipe.get("devices", 1) * recipe.get("num_nodes", 1))
    arguments.run.require_own(arguments.output)
    job = read_job(arguments)
    job.require_inputs()
    # Kept to the end of the process; further processes of the same run belong to the one that holds
    # it.
    lock = locks.hold(job.run_dir) if process_rank() == 0 else None  # noqa: F841

    from warmstart.training.fine_tune import fine_tune

    fine_tune(job)


def read_job(arguments: argparse.Namespace) -> Job:
    """The command line as a job.

    Raises:
        UserError: it does not hang together.
    """
    heads, tokenizer = read_tokenizers(arguments.tokenizer)
    if not heads and tokenizer is None and kind_of(arguments.family).tokenizer == "trained":
        raise UserError(
            f"--tokenizer: models of family {arguments.family} write tokens of their training set; "
            "give the folder of its tokenizer"
        )
    scratch = arguments.init == SCRATCH
    if scratch and arguments.like is None:
        raise UserError(
            f"--init {SCRATCH} needs --like, the donor whose architecture the random encoder gets"
        )
    return Job(
        run=arguments.run,
        train_cuts=arguments.train_cuts,
        donor=arguments.like if scratch else Path(arguments.init),
        run_dir=arguments.run_dir,
        output=arguments.output,
        settings=stages.filled("train", arguments.settings | arguments.pace),
        family=arguments.family,
        tokenizer=tokenizer,
        heads=heads,
        from_scratch=scratch,
        compared_with=arguments.same_kind_as,
        dev_cuts=dict(arguments.dev_cuts),
        experts=dict(arguments.experts),
        teachers=dict(arguments.teachers),
        packed=dict(arguments.packed),
        text=stages.filled("texts", arguments.text),
        start=arguments.start,
        version=arguments.version,
    )


def read_tokenizers(given: list[str]) -> tuple[dict[str, Path], Path | None]:
    """Folders of heads by language, or the one of a shared head; none of a family that brings its
    own tokenizer.

    Raises:
        UserError: several without languages, or one language twice.
    """
    if not given:
        return {}, None
    named = [text.partition("=") for text in given]
    if len(given) == 1 and not named[0][1]:
        return {}, Path(given[0])
    heads = {lang: Path(folder) for lang, _, folder in named}
    if not all(sign for _, sign, _ in named) or len(heads) < len(named):
        raise UserError(
            f"--tokenizer {' '.join(given)}: give one FOLDER, or LANG=FOLDER once a language"
        )
    return heads, None


if __name__ == "__main__":
    cli.run(main)
