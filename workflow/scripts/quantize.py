"""Export the encoder of a model for one streaming tier to ONNX and quantise its weights.

Reads a model (`.nemo`). Writes the encoder for ONNX Runtime (`encoder.onnx`, native steps, one
file) and a report (`quantize.json`): bytes against float32 and float16 with their ratios, every
layer's error, what was left and why, parity with PyTorch.

    python workflow/scripts/quantize.py --model results/runs/it/en/0.32h/seed1/model.nemo
    --precision int4 \\
        --tier '{"name": "560ms", "left": 70, "right": 6, "offline": false}' \\
        --settings '{"scheme": "k_quant", "bits": 4, "block_size": 32, "accuracy_level": 0}' \\
        --output encoder.onnx --report quantize.json
"""

from pathlib import Path

from warmstart.export import encoder
from warmstart.export.scheme import Scheme
from warmstart.run import cli, files
from warmstart.study.tier import Tier


def main(argv: list[str] | None = None) -> None:
    """Export, quantise, report."""
    parser = cli.parser(__doc__)
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument(
        "--tier", type=cli.json_value, required=True, help="JSON with name, left, right, offline"
    )
    parser.add_argument("--precision", required=True, help="name of the precision, for the report")
    parser.add_argument(
        "--settings",
        type=cli.json_value,
        required=True,
        help="JSON: scheme, bits, block_size, accuracy_level",
    )
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--report", type=Path, required=True)
    arguments = parser.parse_args(argv)
    logger = cli.start(arguments)
    scheme = Scheme.from_json(arguments.settings)
    tier = Tier.from_json(arguments.tier)
    report = encoder.build(arguments.model, tier, arguments.precision, scheme, arguments.output)
    files.write_json(arguments.report, report)
    ratios = report["ratios"]
    logger.info(
        "%s: %.2f MB; %.2f x smaller than the same graph in float32, %.2f x than in float16; "
        "parity with PyTorch %.1e",
        arguments.output,
        report["bytes"]["encoder"] / 1e6,
        ratios["onnx_fp32_to_encoder"],
        ratios["fp16_to_encoder"],
        report["parity"]["max_abs"],
    )


if __name__ == "__main__":
    cli.run(main)
