"""Decode all test sets of a training set with one model at one precision and latency tier.

Reads a model, optionally a quantised encoder for the tier (`encoder.onnx`), and Lhotse test
manifests. Writes a hypothesis file (`.jsonl`: id, block, duration_s, ref, hyp, tokens with emission
times) a test set and its header (`.json`: keys, speed, digests, versions) beside it; with
`log_candidates` also the best tokens of each emission (`.candidates.parquet`). A file whose
header says that it was made of the same inputs is left untouched. What is finished of a test set
stands in `.{test_set}.journal`, so that a killed job repeats one batch at most.

With `--encoder` ONNX Runtime computes the encoder of a stream on a CPU; on a GPU and for offline
tiers the dequantised weights of that file stand in the model instead.

    python workflow/scripts/decode.py --run it/en/0.32h/seed1 --precision full --tier 560ms:70:6 \\
        --model results/runs/it/en/0.32h/seed1/model.nemo --settings '{"batch_size": 32}' \\
        --cuts it/human=results/manifests/human/it/test.jsonl.gz \\
        --output it/human=hypotheses/human.jsonl
"""

import argparse
from pathlib import Path

from warmstart.decoding.job import Job, decode
from warmstart.models import DEFAULT_FAMILY
from warmstart.models.tier import Tier
from warmstart.run import cli
from warmstart.study import stages
from warmstart.study.grid import Run
from warmstart.study.versions import VERSIONS

SETTINGS = ("batch_size", "batch_duration_s", "device", "threads", "log_candidates")


def parse(argv: list[str] | None) -> argparse.Namespace:
    """Read the command line and check that it hangs together."""
    parser = cli.parser(__doc__)
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument(
        "--encoder",
        type=Path,
        nargs="?",
        help="encoder.onnx of quantize.py for this model and tier; none = the model's",
    )
    parser.add_argument(
        "--run", type=Run.of_path, required=True, help="training set, arm, hours and seed"
    )
    parser.add_argument("--precision", required=True, help="its name, for the header")
    parser.add_argument(
        "--tier",
        type=Tier.of_text,
        required=True,
        help="NAME:LEFT:RIGHT or NAME:LEFT:RIGHT:offline",
    )
    parser.add_argument(
        "--cuts", type=cli.named_path, nargs="+", required=True, metavar="LANG/TEST_SET=MANIFEST"
    )
    parser.add_argument(
        "--output",
        type=cli.named_path,
        nargs="+",
        required=True,
        metavar="LANG/TEST_SET=HYPOTHESES",
    )
    parser.add_argument(
        "--zero-shot",
        action="store_true",
        help="the model is a donor as published: tiers take its own left contexts",
    )
    parser.add_argument(
        "--prompt", help="language, as the model's own dictionary of prompts names it"
    )
    parser.add_argument(
        "--settings",
        type=stages.argument("decode"),
        required=True,
        help="@FILE or JSON: batch_size, batch_duration_s, device, threads, log_candidates; the "
        "others are as in the schema",
    )
    parser.add_argument(
        "--family", default=DEFAULT_FAMILY, help="of the model, a name or module:OBJECT"
    )
    cli.version(parser, VERSIONS["decode"])
    arguments = parser.parse_args(argv)
    for _, path in arguments.output:
        arguments.run.require_own(path)
    if wrong := [name for name, _ in arguments.cuts if "/" not in name]:
        parser.error(f"--cuts has {wrong[0]!r}, which is not LANG/TEST_SET")
    if sorted(name for name, _ in arguments.cuts) != sorted(name for name, _ in arguments.output):
        parser.error("--cuts and --output must name the same test sets")
    return arguments


def main(argv: list[str] | None = None) -> None:
    """Decode what is not current."""
    arguments = parse(argv)
    cli.start(arguments)
    settings = arguments.settings
    decode(
        Job(
            run=arguments.run,
            precision=arguments.precision,
            model=arguments.model,
            tier=arguments.tier,
            cuts=dict(arguments.cuts),
            outputs=dict(arguments.output),
            family=arguments.family,
            encoder=arguments.encoder,
            zero_shot=arguments.zero_shot,
            prompt=arguments.prompt,
            version=arguments.version,
            **{key: settings[key] for key in SETTINGS},
        )
    )


if __name__ == "__main__":
    cli.run(main)
