"""Make a deployable bundle of one model at one precision and tier, which sherpa-onnx loads as it
is.

Reads a model, the record and the log beside it (a model that recognises nothing gets no bundle
without --force), and a test manifest for the example. Writes a folder with the networks of the form
of the family (encoder.onnx, decoder.onnx, joiner.onnx of a transducer), tokens.txt, example.wav and
bundle.json (keys, digests, agreement with native decoding); its README is describe_bundle.py's. Of
a model with a head a language each head is a network with tokens of its own.

    python workflow/scripts/build_bundle.py --run it/ml/0.32h/seed1 --precision int4 \\
        --tier 560ms:70:6 --model results/runs/it/ml/0.32h/seed1/model.nemo \\
        --settings '{"scheme": "k_quant"}' --output-dir bundle \\
        --example-cuts results/manifests/human/it/test.jsonl.gz
"""

from pathlib import Path

from warmstart.export import bundle, worth
from warmstart.models import DEFAULT_FAMILY
from warmstart.models.tier import Tier
from warmstart.run import cli
from warmstart.study import stages
from warmstart.study.grid import Run


def main(argv: list[str] | None = None) -> None:
    """Build, say what agrees."""
    parser = cli.parser(__doc__)
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--tier", type=Tier.of_text, required=True, help="NAME:LEFT:RIGHT")
    parser.add_argument("--precision", required=True, help="name of the precision, for bundle.json")
    parser.add_argument(
        "--settings",
        type=stages.argument("quantize"),
        required=True,
        help="@FILE or JSON: scheme, bits, block_size",
    )
    parser.add_argument(
        "--run", type=Run.of_path, required=True, help="training set, arm, hours and seed"
    )
    parser.add_argument(
        "--example-cuts",
        type=Path,
        nargs="+",
        required=True,
        help="test manifests, of a model with a head a language one in each; the first utterance "
        "is the example",
    )
    parser.add_argument("--output-dir", type=Path, required=True)
    parser.add_argument(
        "--identified",
        type=Path,
        help="JSON of identify_language.py for this model: a bundle with a head a language then "
        "detects languages as it did",
    )
    parser.add_argument(
        "--family", default=DEFAULT_FAMILY, help="of the model, a name or module:OBJECT"
    )
    parser.add_argument(
        "--force", action="store_true", help="also of a model that recognises nothing"
    )
    parser.add_argument(
        "--unspaced",
        action="store_true",
        help="its language has no spaces: the WER of its validation says nothing",
    )
    arguments = parser.parse_args(argv)
    logger = cli.start(arguments)
    if not arguments.force:
        worth.require(arguments.model, arguments.unspaced)
    about = bundle.build(
        arguments.model,
        arguments.tier,
        arguments.precision,
        arguments.settings,
        vars(arguments.run),
        arguments.example_cuts,
        arguments.output_dir,
        family=arguments.family,
        identified=arguments.identified,
    )
    met = about["agreement"]
    logger.info("%s: encoder %.2f MB", arguments.output_dir, about["encoder_bytes"] / 1e6)
    for row in met["variants"]:
        logger.info(
            "%s: %d of %d as decoded natively",
            row["variant"],
            row["identical"],
            met["utterances"],
        )


if __name__ == "__main__":
    cli.run(main)
