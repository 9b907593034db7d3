"""List the characters or phones of test texts that an init, decoded as it is, cannot write.

Such an init brings its own tokens, so no tokenizer of the study says it. Reads the init and test
CutSets, no audio; writes one JSON file (docs/outputs.md).

    python workflow/scripts/list_unwritable.py --init resources/inits/public.nemo \\
        --tests it/fleurs=results/manifests/fleurs/it/test.jsonl.gz --settings @texts.yaml \\
        --output results/unwritable/public.json
"""

from pathlib import Path

from warmstart.data.targets import BPE, IPA
from warmstart.models import DEFAULT_FAMILY
from warmstart.models.tier import Tier
from warmstart.run import cli
from warmstart.study import stages


def main(argv: list[str] | None = None) -> None:
    """Write the list."""
    parser = cli.parser(__doc__)
    parser.add_argument("--init", type=Path, required=True)
    parser.add_argument(
        "--tests", type=cli.named_path, nargs="+", required=True, metavar="LANG/TEST_SET=CUTS"
    )
    parser.add_argument(
        "--tier",
        type=Tier.of_text,
        required=True,
        help="NAME:LEFT:RIGHT or NAME:LEFT:RIGHT:offline, one that the init can be decoded at",
    )
    parser.add_argument(
        "--settings",
        type=stages.argument("texts"),
        required=True,
        help="language -> block `text`, with espeak_voice where phones are written",
    )
    parser.add_argument(
        "--tokens", choices=[BPE, IPA], default=BPE, help="ipa: the init writes phones"
    )
    parser.add_argument(
        "--unwritable-share-max",
        type=float,
        metavar="SHARE",
        help="of the characters of a text; more is refused",
    )
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument(
        "--family", default=DEFAULT_FAMILY, help="of models, a name or module:OBJECT"
    )
    arguments = parser.parse_args(argv)
    cli.start(arguments)

    from warmstart.decoding.unwritable import report_of
    from warmstart.models import open_family

    model = open_family(arguments.family).load(arguments.init)
    pieces = model.decoder(model.as_published(arguments.tier)).vocabulary.pieces
    report_of(
        pieces,
        dict(arguments.tests),
        arguments.settings,
        arguments.tokens,
        arguments.output,
        arguments.unwritable_share_max,
    )


if __name__ == "__main__":
    cli.run(main)
