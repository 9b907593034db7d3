"""Donors and models that somebody wrote to do harm, made of good ones."""

import io
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml

CONFIG = "model_config.yaml"


def members(path: Path) -> dict[str, bytes]:
    """Name -> bytes of the files in a `.nemo`."""
    with tarfile.open(path) as archive:
        return {
            Path(found.name).name: archive.extractfile(found).read()  # type: ignore[union-attr]
            for found in archive
            if found.isfile()
        }


def write(path: Path, files: list[tuple[str, bytes]], mode: str = "w:") -> Path:
    """A tar archive of these files, in their order, doubles too."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, mode) as archive:
        for name, data in files:
            member = tarfile.TarInfo(name)
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
    return path


def with_text(source: Path, path: Path, text: str | bytes) -> Path:
    """A copy of a `.nemo` with another text as its configuration."""
    data = text.encode() if isinstance(text, str) else text
    files = members(source) | {CONFIG: data}
    return write(path, [(f"./{name}", content) for name, content in files.items()])


def with_config(source: Path, path: Path, change: Callable[[dict[str, Any]], object]) -> Path:
    """A copy of a `.nemo` whose configuration went through `change`, in place."""
    config = yaml.safe_load(members(source)[CONFIG])
    change(config)
    return with_text(source, path, yaml.safe_dump(config, allow_unicode=True))


def writes(marker: Path) -> dict[str, Any]:
    """An entry that makes NeMo's way to build a model write a file."""
    name = "nemo.collections.asr.parts.utils.diarization_utils.write_txt"
    return {"_target_": name, "w_path": str(marker), "val": "planted"}
