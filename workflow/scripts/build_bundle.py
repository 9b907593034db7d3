"""Make a deployable bundle of one model at one precision and tier, which sherpa-onnx loads as it
is.

Reads a model (`.nemo`) and a test manifest for the example. Writes a folder with encoder.onnx,
decoder.onnx, joiner.onnx, tokens.txt, example.wav and bundle.json (keys, digests, agreement of
sherpa-onnx with native decoding); its README is describe_bundle.py's.

    python workflow/scripts/build_bundle.py --model results/runs/it/ml/0.32h/seed1/model.nemo
    --precision int4 \\
        --tier '{"name": "560ms", "left": 70, "right": 6, "offline": false}' \\
        --keys '{"lang": "it", "init": "ml", "hours": "0.32", "seed": 1}' --settings '{"scheme":
        "k_quant", "bits": 4}' \\ --example-cuts results/manifests/human/it/test.jsonl.gz
        --output-dir bundle
"""

from pathlib import Path

from warmstart.export import bundle
from warmstart.run import cli
from warmstart.study.tier import Tier


def main(argv: list[str] | None = None) -> None:
    """Build, say what agrees."""
    parser = cli.parser(__doc__)
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument(
        "--tier", type=cli.json_value, required=True, help="JSON with name, left, right, offline"
    )
    parser.add_argument("--precision", required=True, help="name of the precision, for bundle.json")
    parser.add_argument(
        "--settings", type=cli.json_value, required=True, help="JSON: scheme, bits, block_size"
    )
    parser.add_argument(
        "--keys", type=cli.json_value, required=True, help="JSON with lang, init, hours, seed"
    )
    parser.add_argument(
        "--example-cuts",
        type=Path,
        required=True,
        help="test manifest; the first utterance is the example",
    )
    parser.add_argument("--output-dir", type=Path, required=True)
    arguments = parser.parse_args(argv)
    logger = cli.start(arguments)
    about = bundle.build(
        arguments.model,
        Tier.from_json(arguments.tier),
        arguments.precision,
        arguments.settings,
        arguments.keys,
        arguments.example_cuts,
        arguments.output_dir,
    )
    met = about["agreement"]
    logger.info("%s: encoder %.2f MB", arguments.output_dir, about["encoder_bytes"] / 1e6)
    for row in met["variants"]:
        logger.info(
            "sherpa-onnx %s: %d of %d as decoded natively",
            row["variant"],
            row["identical"],
            met["utterances"],
        )


if __name__ == "__main__":
    cli.run(main)
