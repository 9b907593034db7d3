"""Write what a donor's encoder, as it is, makes of labelled test sets and of what is learnt for
them: the mean of its output over time, a vector an utterance.

Reads a donor and Lhotse manifests. Writes one Parquet file (test_set, part, id, state), from which
`understand.py` learns linear probes.

    python workflow/scripts/probe_init.py --donor resources/inits/ml.nemo \\
        --tier offline:70:13:offline --cuts human/train=results/manifests/human/it/train.jsonl.gz \\
            human/test=results/manifests/human/it/test.jsonl.gz \\
        --settings '{"batch_size": 32}' --output results/probes/ml/it.parquet
"""

from pathlib import Path

from warmstart.decoding.states import Job, hear
from warmstart.models import DEFAULT_FAMILY
from warmstart.models.tier import Tier
from warmstart.run import cli
from warmstart.study import stages
from warmstart.study.versions import VERSIONS


def main(argv: list[str] | None = None) -> None:
    """Hear everything."""
    parser = cli.parser(__doc__)
    parser.add_argument("--donor", type=Path, required=True)
    parser.add_argument(
        "--random-seed",
        type=int,
        help="random weights in the donor's architecture, of an init from scratch",
    )
    parser.add_argument(
        "--tier",
        type=Tier.of_text,
        required=True,
        help="NAME:LEFT:RIGHT or NAME:LEFT:RIGHT:offline",
    )
    parser.add_argument(
        "--cuts",
        type=cli.named_path,
        nargs="+",
        required=True,
        metavar="TEST_SET/PART=MANIFEST",
        help="PART is train or test",
    )
    parser.add_argument(
        "--settings",
        type=stages.argument("decode"),
        required=True,
        help="@FILE or JSON: batch_size, batch_duration_s, device, threads",
    )
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument(
        "--family", default=DEFAULT_FAMILY, help="of models, a name or module:OBJECT"
    )
    cli.version(parser, VERSIONS["probe_init"])
    arguments = parser.parse_args(argv)
    manifests = {}
    for name, path in arguments.cuts:
        test_set, slash, part = name.partition("/")
        if not slash or part not in ("train", "test"):
            parser.error(f"--cuts has {name!r}, which is not TEST_SET/train or TEST_SET/test")
        manifests[test_set, part] = path
    cli.start(arguments)
    settings = arguments.settings
    hear(
        Job(
            donor=arguments.donor,
            family=arguments.family,
            tier=arguments.tier,
            manifests=manifests,
            output=arguments.output,
            random_seed=arguments.random_seed,
            **{
                key: settings[key]
                for key in ("batch_size", "batch_duration_s", "device", "threads")
            },
        )
    )


if __name__ == "__main__":
    cli.run(main)
