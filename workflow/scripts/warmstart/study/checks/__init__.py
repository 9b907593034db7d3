"""Faults of a configuration that can be seen before anything is downloaded; a module an idea.

They stop the dry run. The message names the key, its value and what is allowed.
"""

from pathlib import Path

from warmstart.study import config as configuration
from warmstart.study import consistency, recipe
from warmstart.study.checks import (
    arms,
    batch_profiles,
    experts,
    inits,
    languages,
    names,
    noise,
    retention,
    rounds,
    routing,
    secrets,
    tiers,
    tokenizers,
    training_sets,
    understanding,
)
from warmstart.study.grid import Study


def check(study: Study) -> None:
    """Check a study whose configuration is valid key by key.

    Raises:
        UserError: the first fault, with key, value and remedy.
    """
    secrets.check(study.config)
    names.check(study)
    retention.check_languages(study)
    tiers.check(study)
    recipe.check(study.config)
    consistency.check(study.config)
    languages.check(study)
    training_sets.check(study)
    retention.check(study)
    inits.check(study)
    arms.check(study)
    experts.check(study)
    rounds.check(study)
    batch_profiles.check(study)
    tokenizers.check(study)
    understanding.check(study)
    routing.check(study)


def check_files(study: Study) -> None:
    """Look for what the configuration says is on this machine, as far as some job is still to read
    it: recordings, their tables and splits, donors, noise.

    Not part of `check`: planners answer before the recordings are here.

    Raises:
        UserError: the first thing that is not there, its key, and what lies beside it.
    """
    languages.check_files(study)
    inits.check_files(study)
    noise.check_files(study)
    tokenizers.check_files(study)
    understanding.check_files(study)


def open_study(source: str | Path, base: str | Path = ".") -> Study:
    """The study of a configuration file (or of JSON): read, validated, checked.

    Args:
        source: path of a YAML file, or JSON as the rules pass it.
        base: folder that holds the Snakefile; relative paths in the configuration start there.

    Raises:
        UserError: see `config.read_config`, `config.validate` and `check`.
    """
    config = configuration.read_config(str(source))
    configuration.validate(config)
    study = Study(config, base)
    check(study)
    return study
