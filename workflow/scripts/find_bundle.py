"""Print the path of a bundle of a study, which is its Snakemake target: what `make bundle` asks
for.

Reads a configuration. An empty option counts as not given; precision, tier and seed default to
`bundle:` in the configuration and the first seed as defaults.

    python workflow/scripts/find_bundle.py --config config.yaml --training-set de --arm ml \\
        --hours 100
"""

from pathlib import Path

from warmstart.run import cli
from warmstart.run.errors import UserError
from warmstart.study import bundles
from warmstart.study.config import load_config, validate
from warmstart.study.grid import Study


def main(argv: list[str] | None = None) -> None:
    """Program entry; see the module docstring."""
    parser = cli.parser(__doc__)
    parser.add_argument("--config", type=Path, required=True)
    for name in ("training-set", "arm", "hours", "precision", "tier", "seed"):
        parser.add_argument(f"--{name}", default="")
    arguments = parser.parse_args(argv)
    if not arguments.config.is_file():
        raise UserError(f"{arguments.config}: no such configuration")
    config = load_config(arguments.config)
    validate(config)
    given = {
        name: value
        for name, value in vars(arguments).items()
        if name not in ("config", "log") and value
    }
    print(bundles.find(Study(config), **given))


if __name__ == "__main__":
    cli.run(main)
