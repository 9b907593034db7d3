"""Decode test sets with the heads of all languages of a model, each with a confidence.

Reads a model and Lhotse test manifests. Writes a hypothesis file (`.jsonl`: as those of decode.py,
and `confidence`) a head and test set, and its header (`.json`) beside it. The encoder is computed
once for all heads. A model with one head gives it a name (`--head`), and can hear test sets of
other languages all the same. A file whose header says that it was made of the same inputs is left
untouched; a killed job repeats one batch at most.

    python workflow/scripts/cross_decode.py --run it+fr/ml/10h/seed1 --tier offline:70:13:offline \\
        --family wav2vec2_ctc --model results/runs/it+fr/ml/10h/seed1/model.safetensors \\
        --cuts it/fleurs=results/manifests/fleurs/it/test.jsonl.gz --settings '{}' \\
        --output it:it/fleurs=heads/it/it_fleurs.jsonl fr:it/fleurs=heads/fr/it_fleurs.jsonl
"""

from pathlib import Path

from warmstart.decoding.crossed import Job, decode
from warmstart.models import DEFAULT_FAMILY
from warmstart.models.tier import Tier
from warmstart.run import cli
from warmstart.study import stages
from warmstart.study.grid import FULL, Run
from warmstart.study.versions import VERSIONS

SETTINGS = ("batch_size", "batch_duration_s", "device", "threads")


def main(argv: list[str] | None = None) -> None:
    """Decode what is not current."""
    parser = cli.parser(__doc__)
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument(
        "--run", type=Run.of_path, required=True, help="training set, arm, hours and seed"
    )
    parser.add_argument("--precision", default=FULL, help="its name, for the header")
    parser.add_argument(
        "--tier",
        type=Tier.of_text,
        required=True,
        help="NAME:LEFT:RIGHT or NAME:LEFT:RIGHT:offline",
    )
    parser.add_argument(
        "--head",
        default="",
        help="language of a model that has one head; absent: the model has a head a language",
    )
    parser.add_argument(
        "--cuts", type=cli.named_path, nargs="+", required=True, metavar="LANG/TEST_SET=MANIFEST"
    )
    parser.add_argument(
        "--output",
        type=cli.named_path,
        nargs="+",
        required=True,
        metavar="HEAD:LANG/TEST_SET=HYPOTHESES",
    )
    parser.add_argument(
        "--settings",
        type=stages.argument("decode"),
        required=True,
        help="@FILE or JSON: batch_size, batch_duration_s, device, threads",
    )
    parser.add_argument(
        "--family", default=DEFAULT_FAMILY, help="of the model, a name or module:OBJECT"
    )
    cli.version(parser, VERSIONS["cross_decode"])
    arguments = parser.parse_args(argv)
    cuts, outputs = dict(arguments.cuts), dict(arguments.output)
    for path in outputs.values():
        arguments.run.require_own(path)
    if wrong := [name for name in cuts if "/" not in name]:
        parser.error(f"--cuts has {wrong[0]!r}, which is not LANG/TEST_SET")
    heads = dict.fromkeys(name.partition(":")[0] for name in outputs)
    if sorted(outputs) != sorted(f"{head}:{name}" for head in heads for name in cuts):
        parser.error("--output must name each test set of --cuts once for each head")
    cli.start(arguments)
    decode(
        Job(
            run=arguments.run,
            precision=arguments.precision,
            model=arguments.model,
            tier=arguments.tier,
            cuts=cuts,
            outputs=outputs,
            family=arguments.family,
            head=arguments.head,
            version=arguments.version,
            **{key: arguments.settings[key] for key in SETTINGS},
        )
    )


if __name__ == "__main__":
    cli.run(main)
