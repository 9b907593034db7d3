"""Make a share of the texts of a budget wrong on purpose, to measure what clean texts are worth.

Reads a budget, and the test sets of its language, whose sentences no wrong text may become. Writes
`--output`, the same cuts with dirty labels, and `--report`, what was done: chosen cuts, wrong
words, the word error rate of the labels.

    python workflow/scripts/corrupt_labels.py --training-set it_swap25 --lang it --hours 0.32 \\
        --budget results/budgets/it/0.32h.jsonl.gz \\
        --tests fleurs=results/manifests/fleurs/it/test.jsonl.gz --settings @labels.yaml \\
        --output results/dirty_labels/it_swap25/it/0.32h.jsonl.gz \\
        --report results/dirty_labels/it_swap25/it/0.32h.json
"""

from pathlib import Path

from warmstart.data import labels
from warmstart.run import cli
from warmstart.study import stages


def main(argv: list[str] | None = None) -> None:
    """Program entry; see the module docstring."""
    parser = cli.parser(__doc__)
    parser.add_argument("--training-set", required=True, help="whose labels they are")
    parser.add_argument("--lang", required=True, help="language of the budget")
    parser.add_argument("--hours", type=float, required=True, help="budget of the training set")
    parser.add_argument("--budget", type=Path, required=True, help="written by subset_budget.py")
    parser.add_argument("--tests", type=cli.named_path, nargs="*", default=[], metavar="NAME=CUTS")
    parser.add_argument(
        "--settings",
        type=stages.argument("labels"),
        required=True,
        help="text (block `text` of the language) and labels (corrupt, kind, word_error_rate, and "
        "guard: whether test sentences are refused)",
    )
    parser.add_argument("--output", type=Path, required=True, help="manifest, .jsonl.gz")
    parser.add_argument("--report", type=Path, required=True, help="what was done, .json")
    arguments = parser.parse_args(argv)
    cli.start(arguments)
    text, how = arguments.settings["text"], arguments.settings["labels"]
    tests = [path for _, path in arguments.tests]
    labels.corrupt(
        arguments.budget,
        arguments.output,
        arguments.report,
        labels.Labels.of(how),
        text,
        labels.guarded_by(tests, how, text),
        {
            "training_set": arguments.training_set,
            "lang": arguments.lang,
            "budget_hours": arguments.hours,
        },
    )


if __name__ == "__main__":
    cli.run(main)
