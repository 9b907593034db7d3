"""Recordings of noise for test sets and for training."""

from pathlib import Path

from warmstart.data.corpora.base import beside
from warmstart.run.errors import UserError
from warmstart.study import paths
from warmstart.study.grid import Study, TestSet


def check_files(study: Study) -> None:
    """Every folder that a job is still to read is there.

    Raises:
        UserError: no such folder; with the key, and what lies beside it.
    """
    noise = study.config["noise"]
    if noise is None:
        return
    noisy = [
        paths.test_manifest(study, TestSet(lang, name))
        for name, source in study.config["test_sets"].items()
        if "noise_snr_db" in source
        for lang in study.scored_languages
        if name in study.language(lang).get("test_sets", ())
    ]
    wanted = {}
    if any(not Path(path).exists() for path in noisy):
        wanted["noise.directory"] = noise["directory"]
    trained = paths.training_noise(study)
    if trained and not Path(trained).exists():
        own = noise["training"].get("directory")
        wanted["noise.training.directory" if own else "noise.directory"] = own or noise["directory"]
    for key, given in wanted.items():
        folder = Path(study.source_path(given))
        if not folder.is_dir():
            raise UserError(
                f"{key} is {given!r}: there is no folder {folder}{beside(folder)}; relative paths "
                "start at the Snakefile; correct it, or put the recordings there"
            )
