"""Write the README of a bundle: what it is, how to load it, its WER, its agreement with native
decoding, its licences.

Reads the bundle's folder (bundle.json of build_bundle.py), and hypotheses of its run with the test
manifests they are of. Writes README.md into the folder.

    python workflow/scripts/describe_bundle.py --bundle bundle \\
        --hypotheses results/hypotheses/it/ml/0.32h/seed1/int4/560ms/human.jsonl \\
        --tests it/human=results/manifests/human/it/test.jsonl.gz \\
        --settings '{"text": {"it": {"alphabet": "abc", "numbers": "it"}}}' \\
        --origin '{"licence": "CC-BY-4.0", "init": {"name": "English", "licence": "CC-BY-4.0",
            "source": "nvidia/..."}, "corpora": {"mls": "CC BY 4.0"},
            "example": {"corpus": "fleurs", "licence": "CC BY 4.0"}}'
"""

import argparse
from pathlib import Path

from warmstart.evidence.settings import Resampling
from warmstart.report import bundle_page
from warmstart.run import cli
from warmstart.study import stages


def manifest_of_test(text: str) -> tuple[tuple[str, str], Path]:
    """Argument type: `lang/name=path`.

    Raises:
        argparse.ArgumentTypeError: another form.
    """
    test, path = cli.named_path(text)
    lang, slash, name = test.partition("/")
    if not (lang and slash and name):
        raise argparse.ArgumentTypeError(f"{text!r} is not LANG/TEST_SET=PATH")
    return (lang, name), path


def main(argv: list[str] | None = None) -> None:
    """Program entry; see the module docstring."""
    parser = cli.parser(__doc__)
    parser.add_argument("--bundle", type=Path, required=True, help="its folder")
    parser.add_argument(
        "--hypotheses",
        action=cli.Paths,
        nargs="*",
        default=[],
        help="of its run at its tier, in the order of their rows",
    )
    parser.add_argument(
        "--tests", type=manifest_of_test, nargs="*", default=[], metavar="LANG/TEST_SET=MANIFEST"
    )
    parser.add_argument(
        "--settings",
        type=stages.argument("bundle"),
        default="{}",
        help='{"text": {LANG: {...}}, "replicates": ..., "confidence": ..., "seed": ..., '
        '"force": false}; force: also of a model that recognises nothing',
    )
    parser.add_argument(
        "--origin",
        type=cli.json_value,
        default={},
        help="JSON: licence; init, corpora and example with theirs",
    )
    arguments = parser.parse_args(argv)
    cli.start(arguments)
    settings = dict(arguments.settings)
    texts, force = settings.pop("text", {}), settings.pop("force", False)
    unspaced = settings.pop("unspaced", ())
    bundle_page.describe(
        arguments.bundle,
        arguments.hypotheses,
        dict(arguments.tests),
        texts,
        Resampling(**settings),
        arguments.origin,
        force=force,
        unspaced=unspaced,
    )


if __name__ == "__main__":
    cli.run(main)
