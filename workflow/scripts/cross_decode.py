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

from warmstart.decoding import arguments
from warmstart.decoding.crossed import Job, decode
from warmstart.run import cli
from warmstart.study.grid import FULL


def main(argv: list[str] | None = None) -> None:
    """Decode what is not current."""
    parser = cli.parser(__doc__)
    arguments.declare(parser, "cross_decode", "HEAD:LANG/TEST_SET=HYPOTHESES")
    parser.add_argument("--precision", default=FULL, help="its name, for the header")
    parser.add_argument(
        "--head",
        default="",
        help="language of a model that has one head; absent: the model has a head a language",
    )
    given = parser.parse_args(argv)
    arguments.check(parser, given)
    cuts, outputs = dict(given.cuts), dict(given.output)
    heads = dict.fromkeys(name.partition(":")[0] for name in outputs)
    if sorted(outputs) != sorted(f"{head}:{name}" for head in heads for name in cuts):
        parser.error("--output must name each test set of --cuts once for each head")
    cli.start(given)
    decode(
        Job(
            run=given.run,
            precision=given.precision,
            model=given.model,
            tier=given.tier,
            cuts=cuts,
            outputs=outputs,
            family=given.family,
            head=given.head,
            version=given.version,
            **{key: given.settings[key] for key in arguments.SETTINGS},
        )
    )


if __name__ == "__main__":
    cli.run(main)
