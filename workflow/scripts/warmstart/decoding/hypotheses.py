"""Hypothesis files with the header that vouches for them."""

import hashlib
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from warmstart.run import files
from warmstart.run.errors import Damaged


def fingerprint(**parts: Any) -> str:
    """Digest of everything that a hypothesis file depends on."""
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def header_path(hypotheses: str | Path) -> Path:
    """`fleurs.jsonl` has its header in `fleurs.json`."""
    return Path(hypotheses).with_suffix(".json")


def is_current(hypotheses: str | Path, wanted: str) -> bool:
    """Whether a hypothesis file was made of exactly this, and is whole."""
    header = header_path(hypotheses)
    if not (header.is_file() and Path(hypotheses).is_file()):
        return False
    try:
        found = files.read_json(header)
    except Damaged:
        return False
    if not isinstance(found, dict) or found.get("fingerprint") != wanted:
        return False
    return found.get("hypotheses_sha256") == files.digest(hypotheses)


def journal_path(hypotheses: str | Path) -> Path:
    """Where an unfinished `fleurs.jsonl` grows: `.fleurs.journal` beside it."""
    return Path(hypotheses).with_name(f".{Path(hypotheses).stem}.journal")


def write_hypotheses(
    path: str | Path, lines: Iterable[dict[str, Any]], header: dict[str, Any]
) -> None:
    """Write the lines, then the header that vouches for them."""
    with files.atomic_path(path) as temporary, open(temporary, "w", encoding="utf-8") as stream:
        stream.writelines(json.dumps(line, ensure_ascii=False) + "\n" for line in lines)
    files.write_json(header_path(path), {**header, "hypotheses_sha256": files.digest(path)})
