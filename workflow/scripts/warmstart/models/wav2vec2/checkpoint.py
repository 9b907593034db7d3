"""Donors and models as files: safetensors, whose tensors are data and whose header is JSON.

A donor is one file, `resources/inits/{init}.safetensors`: the tensors of a published snapshot, as
they are, and its `config.json` and `preprocessor_config.json` in the header. A model is one file
too, with the settings of its encoder and its tokenizer in the header.
"""

import json
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from warmstart.run.errors import UserError

if TYPE_CHECKING:
    import torch

CONFIG, PREPROCESSING = "config.json", "preprocessor_config.json"
WEIGHTS, INDEX = "model.safetensors", "model.safetensors.index.json"

# Of safetensors' own format: a header has at most so many bytes.
_LONGEST_HEADER = 100_000_000
# One key, because the order of several is not the same twice.
_NOTE = "warmstart"


@dataclass(frozen=True)
class Header:
    """What a file of tensors says of itself.

    Attributes:
        note: what we wrote into it.
        shapes: name of a tensor -> its shape.
    """

    note: dict[str, Any]
    shapes: dict[str, tuple[int, ...]]


def read_header(path: Path) -> Header:
    """The header of a safetensors file, no weights.

    Raises:
        UserError: no such file, cut short, or no safetensors.
    """
    if not path.is_file():
        raise UserError(f"{path}: no such file")
    size = path.stat().st_size
    with open(path, "rb") as stream:
        start = stream.read(8)
        length = struct.unpack("<Q", start)[0] if len(start) == 8 else 0
        if not 2 <= length <= min(_LONGEST_HEADER, size - 8):
            raise UserError(f"{path}: no whole safetensors file of {size} bytes; fetch it again")
        text = stream.read(length)
    try:
        found = json.loads(text)
        metadata = found.pop("__metadata__", {})
        shapes = {name: tuple(map(int, entry["shape"])) for name, entry in found.items()}
        end = max((entry["data_offsets"][1] for entry in found.values()), default=0)
        note = json.loads(metadata.get(_NOTE, "{}"))
    except (ValueError, KeyError, TypeError, AttributeError, IndexError) as error:
        raise UserError(f"{path}: its header is no safetensors header ({error!r})") from None
    if 8 + length + end != size:
        raise UserError(
            f"{path}: {size} bytes, and its header speaks of {8 + length + end}; it is cut short "
            "or damaged: fetch it again"
        )
    return Header(note if isinstance(note, dict) else {}, shapes)


def read_json(path: Path) -> dict[str, Any]:
    """A file of settings in a snapshot.

    Raises:
        UserError: it cannot be read, or holds no object.
    """
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UserError(f"{path}: cannot be read ({error}); fetch it again") from None
    if not isinstance(found, dict):
        raise UserError(f"{path}: no object of settings; fetch it again")
    return found


def weight_files(folder: Path) -> list[Path]:
    """The files of tensors of a snapshot, in the order of their names.

    Raises:
        UserError: there are none, with what lies there; or the index names one that is missing.
    """
    if (folder / INDEX).is_file():
        named = sorted(set(map(str, read_json(folder / INDEX).get("weight_map", {}).values())))
        bad = [name for name in named if Path(name).name != name or not (folder / name).is_file()]
        if bad or not named:
            raise UserError(
                f"{folder / INDEX} names {', '.join(bad) or 'no file'}, not in the folder; fetch "
                "the whole snapshot again"
            )
        return [folder / name for name in named]
    if (folder / WEIGHTS).is_file():
        return [folder / WEIGHTS]
    there = ", ".join(sorted(path.name for path in folder.iterdir())) if folder.is_dir() else ""
    raise UserError(
        f"{folder}: no {WEIGHTS}; in it: {there or 'nothing'}. Pickled weights (*.bin, *.pt) are "
        "not read, because a pickle can run code: take a revision with safetensors (many have one "
        "as refs/pr/N), or convert it on a machine where you trust it"
    )


def read_settings(path: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """`config.json` and `preprocessor_config.json` of a donor: a snapshot's folder, or its packed
    file.

    Raises:
        UserError: neither, or damaged.
    """
    if path.is_dir():
        if not (path / CONFIG).is_file():
            raise UserError(f"{path}: no {CONFIG}; give the folder of a snapshot")
        beside = path / PREPROCESSING
        return read_json(path / CONFIG), read_json(beside) if beside.is_file() else {}
    note = read_header(path).note
    if "config" not in note:
        raise UserError(
            f"{path}: a safetensors file without the settings of its encoder; give the folder of "
            "the snapshot that it is from"
        )
    return note["config"], note.get("preprocessing", {})


def pack(folder: Path, output: Path) -> None:
    """Write a snapshot as one donor file; equal snapshots give equal bytes.

    Raises:
        UserError: see `weight_files` and `read_settings`; or a tensor stands twice.
    """
    from safetensors.torch import load_file

    config, preprocessing = read_settings(folder)
    tensors: dict[str, torch.Tensor] = {}
    for path in weight_files(folder):
        header = read_header(path)
        if twice := sorted(set(header.shapes) & set(tensors)):
            raise UserError(f"{path}: tensor {twice[0]} stands in another file too")
        tensors |= load_file(path)
    write_snapshot(tensors, config, preprocessing, output)


def write_snapshot(
    tensors: "Mapping[str, torch.Tensor]",
    config: Mapping[str, Any],
    preprocessing: Mapping[str, Any],
    output: Path,
) -> None:
    """Write a donor, see `read_settings`.

    Args:
        tensors: by the names that transformers has for them.
        config, preprocessing: `config.json` and `preprocessor_config.json`.
        output: as of `write`.
    """
    write(tensors, {"config": config, "preprocessing": preprocessing}, output)


def write(tensors: "Mapping[str, torch.Tensor]", note: Mapping[str, Any], output: Path) -> None:
    """Write a model.

    Args:
        tensors: by name.
        note: JSON values for the header.
        output: gets the same bytes for the same content.
    """
    from safetensors.torch import save_file

    whole = {name: value.detach().cpu().contiguous() for name, value in tensors.items()}
    save_file(whole, output, metadata={_NOTE: json.dumps(note, sort_keys=True)})


def read_tensors(path: Path, device: str = "cpu") -> "dict[str, torch.Tensor]":
    """The tensors of a donor or a model.

    Raises:
        UserError: see `read_header` and `weight_files`; or a tensor stands twice.
    """
    from safetensors.torch import load_file

    tensors: dict[str, torch.Tensor] = {}
    for file in weight_files(path) if path.is_dir() else [path]:
        if twice := sorted(set(read_header(file).shapes) & set(tensors)):
            raise UserError(f"{file}: tensor {twice[0]} stands in another file too")
        tensors |= load_file(file, device=device)
    return tensors
