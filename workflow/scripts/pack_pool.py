"""Pack the audio of a pool into shards: few large files instead of one an utterance.

Reads a pool and the audio that it names. Writes `--output`, the index, the shards beside it, and
`--report`, how much was packed in which form. Killed at any moment, the same command continues. A
shard that was cut or altered since is named and packed again.

    python workflow/scripts/pack_pool.py --pool results/pools/de.jsonl.gz \\
        --output results/shar/de/index.npy --report results/shar/de/report.json
"""

from pathlib import Path

from warmstart.data import packing
from warmstart.run import cli
from warmstart.study.versions import VERSIONS


def main(argv: list[str] | None = None) -> None:
    parser = cli.parser(__doc__)
    parser.add_argument("--pool", type=Path, required=True, help="written by build_pool.py")
    parser.add_argument("--output", type=Path, required=True, help="index.npy of the shards")
    parser.add_argument("--report", type=Path, required=True, help="what was packed how, .json")
    parser.add_argument("--threads", type=int, default=1, help="shards packed at a time")
    cli.version(parser, VERSIONS["pack_pool"])
    arguments = parser.parse_args(argv)
    cli.start(arguments)

    packing.pack(
        arguments.pool, arguments.output, arguments.report, arguments.version, arguments.threads
    )


if __name__ == "__main__":
    cli.run(main)
