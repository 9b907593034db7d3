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

from warmstart.decoding import arguments
from warmstart.decoding.job import Job, decode
from warmstart.run import cli

SETTINGS = (*arguments.SETTINGS, "log_candidates")


def parse(argv: list[str] | None) -> argparse.Namespace:
    """Read the command line and check that it hangs together."""
    parser = cli.parser(__doc__)
    arguments.declare(parser, "decode", "LANG/TEST_SET=HYPOTHESES", SETTINGS)
    parser.add_argument(
        "--encoder",
        type=Path,
        nargs="?",
        help="encoder.onnx of quantize.py for this model and tier; none = the model's",
    )
    parser.add_argument("--precision", required=True, help="its name, for the header")
    parser.add_argument(
        "--zero-shot",
        action="store_true",
        help="the model is a donor as published: tiers take its own left contexts",
    )
    parser.add_argument(
        "--prompt", help="language, as the model's own dictionary of prompts names it"
    )
    given = parser.parse_args(argv)
    arguments.check(parser, given)
    if sorted(name for name, _ in given.cuts) != sorted(name for name, _ in given.output):
        parser.error("--cuts and --output must name the same test sets")
    return given


def main(argv: list[str] | None = None) -> None:
    """Decode what is not current."""
    given = parse(argv)
    cli.start(given)
    decode(
        Job(
            run=given.run,
            precision=given.precision,
            model=given.model,
            tier=given.tier,
            cuts=dict(given.cuts),
            outputs=dict(given.output),
            family=given.family,
            encoder=given.encoder,
            zero_shot=given.zero_shot,
            prompt=given.prompt,
            version=given.version,
            **{key: given.settings[key] for key in SETTINGS},
        )
    )


if __name__ == "__main__":
    cli.run(main)
