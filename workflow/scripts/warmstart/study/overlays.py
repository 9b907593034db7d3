"""Configurations of several files, put together as Snakemake does it with `--configfile A B`."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from warmstart.study.config import read_config, validate

# Under a file without languages lies the study that a bare `snakemake` runs.
FIRST = "config.yaml"


def read_validated(sources: Iterable[str]) -> dict[str, Any]:
    """The configuration that some files make together, validated and its defaults filled in.

    Args:
        sources: paths of YAML files, or JSON; each is laid over those before it.

    Raises:
        UserError: see `config.read_config` and `config.validate`.
    """
    made: dict[str, Any] = {}
    for source in sources:
        made = laid_over(made, read_config(str(source)))
    if "languages" not in made and Path(FIRST).exists():
        made = laid_over(read_config(FIRST), made)
    validate(made)
    return made


def laid_over(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    """`below` with what `above` says otherwise; blocks are put together key by key, lists and
    values replaced."""
    made = dict(below)
    for key, value in above.items():
        both = isinstance(value, Mapping) and isinstance(made.get(key), Mapping)
        made[key] = laid_over(made[key], value) if both else value
    return made
