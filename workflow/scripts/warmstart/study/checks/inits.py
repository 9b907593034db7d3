"""Inits: where their weights come from, whether they are what was pinned."""

from pathlib import Path, PurePosixPath
from typing import Any

from warmstart import models
from warmstart.data.corpora.base import beside
from warmstart.run import files
from warmstart.run.errors import UserError
from warmstart.study import paths, slices
from warmstart.study.checks.allowed import require, require_input
from warmstart.study.grid import Study
from warmstart.study.recipe import check_schedule


def check(study: Study) -> None:
    """Every init has one source, and has not seen what it is a warm start for."""
    for name, init in study.config["inits"].items():
        given = [key for key in ("hf", "path", "wheels", "scratch") if key in init]
        if len(given) > 1 or not (given or "pretrain" in init):
            raise UserError(
                f"inits.{name} names {given or 'no source'}: give exactly one of hf, path, "
                "wheels, scratch, or pretrain alone"
            )
        if "hf" in init:
            _check_hub_file(study, name, init["hf"])
        if "wheels" in init:
            _check_wheels(study, name, init["wheels"])
        if "scratch" in init:
            others = [
                other
                for other, block in study.config["inits"].items()
                if other != name and "scratch" not in block
            ]
            require(f"inits.{name}.scratch", init["scratch"], others)
        if init["languages"] is not None and ("scratch" in init or "pretrain" in init):
            how = "scratch" if "scratch" in init else "pretrain"
            raise UserError(
                f"inits.{name}.languages is {init['languages']!r}, but {how} says what it was "
                "pretrained on: remove the key"
            )
        _check_zero_shot(study, name, init)
        for lang in (init.get("pretrain") or {}).get("languages", []):
            study.language(lang)
            if lang in study.languages:
                raise UserError(
                    f"inits.{name}.pretrain.languages has {lang!r}, a target language of this "
                    "study: the warm start would have seen it; take it out of one of the two"
                )
        if recipe := init.get("pretrain"):
            _check_pretraining(study, f"inits.{name}.pretrain", recipe)


def _check_hub_file(study: Study, name: str, hub: dict[str, Any]) -> None:
    """Which file of a repository is the donor; of a snapshot all that its family reads are."""
    whole = paths.donor_is_folder(study, name)
    if whole and "file" in hub:
        raise UserError(
            f"inits.{name}.hf.file is {hub['file']!r}, but the family of its arms starts from a "
            "snapshot of the whole repository: remove the key"
        )
    if whole:
        return
    if "file" not in hub:
        raise UserError(f"inits.{name}.hf lacks 'file': which file of {hub['repo']} is the donor")
    file = PurePosixPath(hub["file"])
    if file.is_absolute() or ".." in file.parts:
        raise UserError(
            f"inits.{name}.hf.file is {str(file)!r}; give the path of a file inside the "
            "repository, e.g. model.nemo"
        )


def _check_wheels(study: Study, name: str, wheels: dict[str, Any]) -> None:
    """What is made of them is what the family of the init starts from."""
    place = f"inits.{name}.wheels"
    files_there = ", ".join(wheels["files"])
    if wheels["convert"] == "ctranslate2" and "model.bin" not in wheels["files"]:
        raise UserError(
            f"{place}.convert is 'ctranslate2', and files has {files_there}; name the joined file "
            "model.bin"
        )
    if paths.donor_is_folder(study, name):
        return
    if wheels["convert"] is not None:
        raise UserError(
            f"{place}.convert is {wheels['convert']!r}, which makes a snapshot, but the family of "
            "its arms starts from one file: give its arms a family that starts from snapshots"
        )
    if len(wheels["files"]) != 1:
        raise UserError(
            f"{place}.files has {files_there}, but the family of its arms starts from one file: "
            "leave only that one"
        )


def check_files(study: Study) -> None:
    """Look for the donors that the configuration takes from this machine.

    One that was copied to resources/inits/ already is needed by no job.

    Raises:
        UserError: no such file, or a folder where a file is wanted; with what lies beside it.
    """
    for name, init in study.config["inits"].items():
        if "path" not in init or Path(paths.init(study, name)).exists():
            continue
        path = Path(study.source_path(init["path"]))
        require_input(f"inits.{name}.path", path)
        if paths.donor_is_folder(study, name):
            if not path.is_dir():
                raise UserError(
                    f"inits.{name}.path is {init['path']!r}: there is no folder {path}"
                    f"{beside(path)}; give the folder of the snapshot"
                )
        elif path.is_dir():
            suffix = paths.donor_suffix(study, name)
            there = ", ".join(sorted(one.name for one in path.glob(f"*{suffix}"))) or "none"
            raise UserError(
                f"inits.{name}.path is {init['path']!r}, a folder; give the {suffix or 'model'} "
                f"file itself; in the folder: {there}"
            )
        elif not path.is_file():
            raise UserError(
                f"inits.{name}.path is {init['path']!r}: there is no file {path}{beside(path)}; "
                "relative paths start at the Snakefile; correct it, or put the file there"
            )


def check_digests(study: Study) -> None:
    """Compare what is pinned with what was fetched.

    Raises:
        UserError: a file is here that is not the pinned one.
    """
    for name, init in study.config["inits"].items():
        file = paths.init(study, name)
        copy, given = Path(file).with_suffix(".json"), init.get("path")
        digest = slices.init_digest(study, name)
        if digest is None or not copy.exists():
            continue
        # A given file that is newer than its copy is about to be copied, and checked then.
        if given and _newer(Path(study.source_path(given)), copy):
            continue
        why = f"the digest of {file} is not compared; remove that file to fetch both again"
        said = files.read_if_whole(copy, dict, why)
        if said is not None and (found := slices.digest_of(said)) != digest:
            raise UserError(
                f"inits.{name}: sha256 is {digest}, but {file} has {found}; correct the digest, "
                "or remove that file to fetch it again"
            )


def at_hand(study: Study) -> dict[str, Path]:
    """Inits whose file is on this machine already, as fetched or where the configuration says."""
    found = {}
    for name, init in study.config["inits"].items():
        places = [Path(study.source_path(init["path"]))] if "path" in init else []
        places += [Path(paths.init(study, name))]
        whole = paths.donor_is_folder(study, name)
        here = (path for path in places if path.is_file() or (whole and path.is_dir()))
        if (path := next(here, None)) is not None:
            found[name] = path
    return found


def _check_pretraining(study: Study, here: str, recipe: dict[str, Any]) -> None:
    """Its languages have the corpus, and as much speech as each has to give; its rate comes up."""
    if "optimizer" in recipe and "schedule" in recipe:
        check_schedule(here, recipe["optimizer"], recipe["schedule"])
    warmup = recipe.get("schedule", {}).get("warmup_steps", 0)
    if warmup > recipe["steps"]:
        raise UserError(
            f"{here}.schedule.warmup_steps is {warmup}, but it has {recipe['steps']} steps and "
            "would never reach its learning rate; lower it, or raise steps"
        )
    if (bins := recipe["bucket_bins_s"]) != sorted(set(bins)):
        raise UserError(f"{here}.bucket_bins_s is {bins}; give rising bounds: {sorted(set(bins))}")
    corpus, split = recipe["corpus"], recipe["split"]
    each = recipe["hours"] / len(recipe["languages"])
    for lang in recipe["languages"]:
        if corpus not in study.language(lang)["corpora"]:
            raise UserError(
                f"{here}.languages has {lang!r}, and support_languages.{lang}.corpora has no code "
                f"for {corpus!r}; add it"
            )
        hours = slices.reader(study, corpus, lang).hours(split)
        if hours is not None and each > hours:
            raise UserError(
                f"{here}.hours is {recipe['hours']:g}, {each:.4g} h of each of "
                f"{len(recipe['languages'])} languages; {split!r} of {corpus} has {hours:.4g} h of "
                f"{lang}: lower it"
            )


def _check_zero_shot(study: Study, name: str, init: dict[str, Any]) -> None:
    if init["zero_shot"] is None:
        return
    if "scratch" in init:
        raise UserError(
            f"inits.{name}.zero_shot: this init has random weights and no decoder of its own: take "
            "the key out"
        )
    if "pretrain" in init and study.zero_shot_arm(name) is None:
        families = ", ".join(key for key, kind in models.KINDS.items() if kind.pretrained_whole)
        raise UserError(
            f"inits.{name}.zero_shot: this init was pretrained here with CTC, and no arm that "
            f"starts from it has the family of its head ({families}): add such an arm, or take the "
            "key out"
        )
    for lang in init["zero_shot"]["prompts"] or {}:
        known = [*study.languages, *study.retained_languages]
        require(f"inits.{name}.zero_shot.prompts", lang, known)


def _newer(path: Path, other: Path) -> bool:
    return path.exists() and path.stat().st_mtime > other.stat().st_mtime
