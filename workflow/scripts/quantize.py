"""Export the encoder of a model for one streaming tier to ONNX and quantise its weights.

Reads a model. Writes the encoder for ONNX Runtime (`encoder.onnx`, native steps, one
file) and a report (`quantize.json`): bytes against float32 and float16 with their ratios, every
layer's error, what was left and why, parity with PyTorch.

    python workflow/scripts/quantize.py --run it/en/0.32h/seed1 --precision int4 \\
        --tier 560ms:70:6 --model results/runs/it/en/0.32h/seed1/model.nemo \\
        --settings '{"scheme": "k_quant"}' --output encoder.onnx --report quantize.json
"""

from pathlib import Path

from warmstart.export import encoder
from warmstart.export.scheme import Scheme
from warmstart.models import DEFAULT_FAMILY
from warmstart.models.tier import Tier
from warmstart.run import cli, files
from warmstart.study import stages
from warmstart.study.grid import Run


def main(argv: list[str] | None = None) -> None:
    """Export, quantise, report."""
    parser = cli.parser(__doc__)
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--tier", type=Tier.of_text, required=True, help="NAME:LEFT:RIGHT")
    parser.add_argument(
        "--run", type=Run.of_path, required=True, help="training set, arm, hours and seed"
    )
    parser.add_argument("--precision", required=True, help="name of the precision, for the report")
    parser.add_argument(
        "--settings",
        type=stages.argument("quantize"),
        required=True,
        help="@FILE or JSON: scheme, bits, block_size, accuracy_level",
    )
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--report", type=Path, required=True)
    parser.add_argument(
        "--family", default=DEFAULT_FAMILY, help="of the model, a name or module:OBJECT"
    )
    arguments = parser.parse_args(argv)
    logger = cli.start(arguments)
    scheme = Scheme.from_json(arguments.settings)
    report = encoder.build(
        arguments.model,
        arguments.tier,
        arguments.precision,
        scheme,
        arguments.output,
        arguments.family,
    )
    files.write_json(arguments.report, {**vars(arguments.run), **report})
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
