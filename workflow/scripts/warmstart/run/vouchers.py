"""What vouches for a file is compared with it when the file is used: a bit that flips on a disk, or
a file that was replaced, changes every number that follows and raises no error.
"""

from collections.abc import Iterator
from pathlib import Path

from warmstart.run import files
from warmstart.run.errors import UserError


def verified(path: str | Path, found: str | None = None) -> str:
    """The digest of a file, once it has been compared with the record beside it.

    Where there is no record, as beside a file of somebody else's, nothing is compared.

    Args:
        path: a model (its record is `run.json`), an encoder (`quantize.json`), a donor or a
            hypothesis file (both `{its name}.json`).
        found: its SHA-256, where that is known already.

    Raises:
        UserError: naming the file, both digests, and the rule that makes it again.
    """
    path = Path(path)
    found = found or files.digest(path)
    for record, key, rule in _records(path):
        said = _said(record, key)
        if said is not None and said != found:
            raise UserError(
                f"{path}: its SHA-256 is {found[:12]}..., and {record.name} beside it says "
                f"{said[:12]}...: the file was damaged or replaced after it was made; remove it "
                f"and run the workflow again, which makes it anew (rule {rule})"
            )
    return found


def _records(path: Path) -> Iterator[tuple[Path, str, str]]:
    """Where a digest may stand, under which key, and the rule that made the file."""
    if path.stem == "model":
        yield path.with_name("run.json"), "model_sha256", "train"
    elif path.suffix == ".onnx":
        yield path.with_name("quantize.json"), "encoder_sha256", "quantize"
    elif path.suffix == ".jsonl":
        yield path.with_suffix(".json"), "hypotheses_sha256", "decode"
    else:
        rule = "pretrain_init" if path.parent.name == "pretrained" else "download_init"
        yield path.with_suffix(".json"), "sha256", rule


def _said(record: Path, key: str) -> str | None:
    if not record.is_file():
        return None
    said = files.read_json(record)
    digest = said.get(key) if isinstance(said, dict) else None
    return digest if isinstance(digest, str) else None
