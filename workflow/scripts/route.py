"""Choose a model (or a head) for every test utterance, by the language that is given, by the one
that was identified, and by the confidence of the models, and count the errors of what it wrote.

Reads what identify_language.py said, hypotheses of every model for every test set, and test
manifests. Writes one Parquet file, a row for each utterance and way to choose, and beside it a JSON
file that says why anything is not estimable.

    python workflow/scripts/route.py --run it+fr/xlsr/1h/seed1 --tier offline \\
        --identified results/languages/it+fr/xlsr/1h/seed1/offline.parquet \\
        --tests it/fleurs=results/manifests/fleurs/it/test.jsonl.gz \\
            fr/fleurs=results/manifests/fleurs/fr/test.jsonl.gz \\
        --hypotheses it/fleurs/it=results/hypotheses/.../heads/it/it_fleurs.jsonl \\
            it/fleurs/fr=results/hypotheses/.../heads/fr/it_fleurs.jsonl \\
        --settings '{"it": {"alphabet": "abc"}, "fr": {"alphabet": "abc"}}' \\
        --output results/routing/it+fr/xlsr/1h/seed1/offline.parquet
"""

from pathlib import Path

from warmstart.evidence import identified
from warmstart.evidence.keys import FULL
from warmstart.evidence.routing import route
from warmstart.run import cli
from warmstart.study import stages
from warmstart.study.grid import Run


def main(argv: list[str] | None = None) -> None:
    """Route one run."""
    parser = cli.parser(__doc__)
    parser.add_argument(
        "--run",
        type=Run.of_path,
        required=True,
        help="training set (or the name of the ensemble), arm, hours and seed",
    )
    parser.add_argument("--tier", required=True, help="its name")
    parser.add_argument("--identified", type=Path, required=True)
    parser.add_argument(
        "--tests", type=cli.named_path, nargs="+", required=True, metavar="LANG/TEST_SET=MANIFEST"
    )
    parser.add_argument(
        "--hypotheses",
        type=cli.named_path,
        nargs="*",
        default=[],
        metavar="LANG/TEST_SET/HEAD=FILE",
        help="HEAD is the language of the model, or of its head",
    )
    parser.add_argument(
        "--settings",
        type=stages.argument("texts"),
        required=True,
        help="@FILE or JSON: language -> its normaliser",
    )
    parser.add_argument("--output", type=Path, required=True)
    arguments = parser.parse_args(argv)
    keys: dict[str, dict] = {"tests": {}, "hypotheses": {}}
    for option, parts in (("tests", 2), ("hypotheses", 3)):
        for name, path in getattr(arguments, option):
            key = tuple(name.split("/"))
            if len(key) != parts or not all(key):
                parser.error(f"--{option} has {name!r}, which has not {parts} parts between /")
            keys[option][key] = path
    for lang, *_ in keys["tests"]:
        if lang not in arguments.settings:
            parser.error(f"--settings has no normaliser of {lang!r}")
    cli.start(arguments)
    route(
        {**vars(arguments.run), "precision": FULL, "tier": arguments.tier},
        identified.read(arguments.identified),
        keys["tests"],
        keys["hypotheses"],
        arguments.settings,
        arguments.output,
    )


if __name__ == "__main__":
    cli.run(main)
