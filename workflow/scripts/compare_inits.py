"""Refuse inits that cannot be compared fairly, before anything is trained from them.

Reads the configurations inside all `.nemo` files of a study. Writes what each of them is, as JSON.

    python workflow/scripts/compare_inits.py --inits en=resources/inits/en.nemo ml=resources/inits/ml.nemo \\
        --output results/inits.json
"""

import logging
from pathlib import Path

from warmstart import cli, donors, files

logger = logging.getLogger("warmstart.compare_inits")


def main(argv: list[str] | None = None) -> None:
    """Program entry; see the module docstring."""
    parser = cli.parser(__doc__)
    parser.add_argument("--inits", type=cli.named_path, nargs="+", required=True, metavar="INIT=PATH")
    parser.add_argument("--model", type=cli.json_value, default={}, help="block training.model, for its encoder_dropout")
    parser.add_argument("--output", type=Path, required=True)
    arguments = parser.parse_args(argv)
    cli.start(arguments)

    paths = dict(arguments.inits)
    donors.require_same_kind(paths, arguments.model)
    files.write_json(arguments.output, {name: donors.about(donors.read_config(path)) for name, path in paths.items()})
    logger.info("%s: encoders of one kind", ", ".join(paths))


if __name__ == "__main__":
    cli.run(main)
