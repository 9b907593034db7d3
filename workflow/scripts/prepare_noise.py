"""Make noise usable: a manifest of noise recordings for training, or a noisy version of a test
manifest.

Reads a folder of noise recordings, and with `--cuts` a test manifest. Writes `--output`: without
`--cuts` the recordings, for the training program; with it the same utterances, same ids, with noise
mixed in at `--snr-db` when they are loaded.

    python workflow/scripts/prepare_noise.py --directory musan/noise --cuts
    results/manifests/fleurs/de/test.jsonl.gz \\
        --snr-db 10 --output results/manifests/fleurs/de/test+noise10db.jsonl.gz
"""

from pathlib import Path

from warmstart.data import noise
from warmstart.run import cli
from warmstart.run.errors import UserError


def main(argv: list[str] | None = None) -> None:
    parser = cli.parser(__doc__)
    parser.add_argument(
        "--directory",
        type=Path,
        required=True,
        help="folder of noise recordings, searched in depth",
    )
    parser.add_argument("--cuts", type=Path, default=None, help="test manifest to put noise under")
    parser.add_argument(
        "--snr-db", type=float, default=None, help="speech over noise, in dB; with --cuts"
    )
    parser.add_argument(
        "--seed", type=int, default=1, help="which recording falls to which utterance"
    )
    parser.add_argument("--output", type=Path, required=True, help="manifest, .jsonl.gz")
    arguments = parser.parse_args(argv)
    cli.start(arguments)

    if (arguments.cuts is None) != (arguments.snr_db is None):
        raise UserError(
            "--cuts and --snr-db belong together; give both, or neither for a manifest of the "
            "noise itself"
        )
    if arguments.cuts is None:
        noise.write_manifest(arguments.directory, arguments.output)
    else:
        noise.add(
            arguments.cuts, arguments.directory, arguments.snr_db, arguments.output, arguments.seed
        )


if __name__ == "__main__":
    cli.run(main)
