"""Pretrain an encoder by CTC on one or several languages, to be the warm start of fine-tuning.

Reads one manifest per language. Writes a donor (a CTC model whose encoder later runs take over) and
beside it `{name}.json` with hours per language, settings and digests. Killed at any moment, the
same command continues.

Example:
    python workflow/scripts/pretrain_init.py --settings @pretrain_en.yaml \\
        --cuts en=results/manifests/spoken/en/train.jsonl.gz --output resources/inits/en.nemo
"""

from pathlib import Path

from warmstart.run import cli, locks
from warmstart.run.errors import UserError
from warmstart.study import stages


def main(argv: list[str] | None = None) -> None:
    """Entry point."""
    parser = cli.parser(__doc__)
    parser.add_argument(
        "--cuts",
        type=cli.named_path,
        nargs="+",
        required=True,
        metavar="LANG=PATH",
        help="manifest per language",
    )
    parser.add_argument(
        "--dev-cuts",
        type=cli.named_path,
        nargs="*",
        default=[],
        metavar="LANG=PATH",
        help="for a word error rate",
    )
    parser.add_argument(
        "--settings",
        type=stages.argument("pretrain"),
        required=True,
        help=(
            "JSON: hours, steps, seed, vocab_size, batch_duration_s, optimizer, schedule, model "
            "(training.model), "
            "text (language -> its block `text`)"
        ),
    )
    parser.add_argument(
        "--work-dir",
        type=Path,
        default=None,
        help="tokenizer and checkpoints; default: OUTPUT with the suffix .work",
    )
    parser.add_argument("--output", type=Path, required=True, help="the donor")
    arguments = parser.parse_args(argv)
    settings = arguments.settings
    cli.start(arguments, settings["devices"] * settings["num_nodes"])
    if settings.get("objective", "ctc") != "ctc":
        raise UserError(f"pretrain.objective is {settings['objective']!r}; allowed: ctc")
    work = arguments.work_dir or arguments.output.with_suffix(".work")
    lock = locks.hold(work)  # noqa: F841, kept to the end of the process

    from warmstart.training.pretrain import Pretraining, pretrain

    pretrain(
        Pretraining(
            dict(arguments.cuts), dict(arguments.dev_cuts), settings, work, arguments.output
        )
    )


if __name__ == "__main__":
    cli.run(main)
