"""The best tokens of each emission, in a Parquet file beside the hypotheses.

While a test set is decoded they stand in the lines of its journal, so that a killed decode goes on
to the same bytes. Columns: `warmstart/evidence/candidate_columns.py`.
"""

import base64
import itertools
import json
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy

from warmstart.decoding import hypotheses
from warmstart.evidence import candidate_columns
from warmstart.models.base import Candidates, Decoder
from warmstart.run import files
from warmstart.run.errors import Damaged

KEY = "candidates"
"""Of a header, and of a journal's line."""

_PARTS = {"taken": "<i4", "tokens": "<i4", "probabilities": "<f4"}

# Utterances in a row group: what is in memory at once, here and where they are counted.
_GROUP = 256


def path_of(output: str | Path) -> Path:
    """`fleurs.candidates.parquet` beside `fleurs.jsonl`."""
    return Path(output).with_suffix(candidate_columns.SUFFIX)


def packed(found: Candidates | None) -> dict[str, Any]:
    """What is added to the line of an utterance; nothing where none were asked for. Bytes, because
    they come back as they were, and take less room than decimal numbers."""
    if found is None:
        return {}
    parts = {name: getattr(found, name).astype(kind).tobytes() for name, kind in _PARTS.items()}
    return {KEY: {name: base64.b64encode(part).decode() for name, part in parts.items()}}


def without(line: dict[str, Any]) -> dict[str, Any]:
    """A line as hypothesis files have it."""
    return {name: value for name, value in line.items() if name != KEY}


def are_current(output: str | Path, asked: int) -> bool:
    """Whether the candidates beside current hypotheses are there, whole, and as many as asked."""
    try:
        found = files.read_json(hypotheses.header_path(output)).get(KEY) or {}
    except (Damaged, FileNotFoundError):
        return False
    path = path_of(output)
    return (
        found.get("asked") == asked and path.is_file() and found.get("sha256") == files.digest(path)
    )


def write(
    path: Path, lines: Iterable[dict[str, Any]], decoder: Decoder, asked: int
) -> dict[str, Any]:
    """Write the candidates of a test set, whole or not at all.

    Args:
        lines: of the journal, in the order of the test set.
        decoder: that made them.
        asked: `decoding.log_candidates`.

    Returns:
        What the header says of them: how many were asked for and are there, and the digest.
    """
    import pyarrow
    import pyarrow.parquet

    vocabulary = decoder.vocabulary
    count = min(asked, len(vocabulary.pieces))
    about = {
        "count": count,
        "pieces": vocabulary.pieces,
        "sentencepiece": base64.b64encode(zlib.compress(vocabulary.sentencepiece, 9)).decode(),
    }
    schema = candidate_columns.schema(count)
    with (
        files.atomic_path(path) as temporary,
        pyarrow.parquet.ParquetWriter(
            temporary,
            schema,
            compression="zstd",
            use_dictionary=["id"],
            # Bytes of floats that mean the same stand together: a tenth less room.
            column_encoding={"probabilities.list.element": "BYTE_STREAM_SPLIT"},
            write_page_checksum=True,
        ) as writer,
    ):
        for group in _groups(lines):
            writer.write_table(_table(group, count, schema))
        # Of the file and not of its schema, which is kept twice, and the tokenizer with it.
        writer.add_key_value_metadata(
            {candidate_columns.METADATA: json.dumps(about, ensure_ascii=False)}
        )
    return {"asked": asked, "count": count, "sha256": files.digest(path)}


def _groups(lines: Iterable[dict[str, Any]]) -> Iterator[list[dict[str, Any]]]:
    lines = iter(lines)
    while group := list(itertools.islice(lines, _GROUP)):
        yield group


def _table(lines: list[dict[str, Any]], count: int, schema: Any) -> Any:
    """Rows of some utterances, one an emission."""
    import pyarrow

    sizes = [len(line["tokens"]) for line in lines]
    parts = {
        name: numpy.concatenate(
            [numpy.frombuffer(base64.b64decode(line[KEY][name]), kind) for line in lines]
        )
        for name, kind in _PARTS.items()
    }
    return pyarrow.table(
        {
            "id": [
                line["id"] for line, size in zip(lines, sizes, strict=True) for _ in range(size)
            ],
            "emission": numpy.concatenate([numpy.arange(size, dtype="i4") for size in sizes]),
            "time_s": pyarrow.array(
                [token["time_s"] for line in lines for token in line["tokens"]], pyarrow.float64()
            ),
            "token": parts["taken"],
            "candidates": pyarrow.FixedSizeListArray.from_arrays(parts["tokens"], count),
            "probabilities": pyarrow.FixedSizeListArray.from_arrays(parts["probabilities"], count),
        },
        schema=schema,
    )
