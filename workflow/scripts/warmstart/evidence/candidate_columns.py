"""Columns of the files that hold the best tokens of each emission. Standard library only, but for
what needs Arrow."""

from typing import Any

from warmstart.evidence.columns import Column

SUFFIX = ".candidates.parquet"
"""`fleurs.candidates.parquet` stands beside `fleurs.jsonl`."""

METADATA = "warmstart"
"""Key of a file's metadata: JSON with `count` (K), `pieces` (text of every token by id, empty where
it is no text) and `sentencepiece` (the tokenizer's file, or nothing; zlib, base64)."""

CANDIDATES: tuple[Column, ...] = (
    Column("id", "", "of the utterance"),
    Column("emission", "", "place of the token in its utterance, from 0"),
    Column("time_s", "s", "when it could be shown; empty where the family knows no times"),
    Column("token", "", "id of the token that the search took"),
    Column("candidates", "", "ids of the K best tokens, best first; the blank is none of them"),
    Column(
        "probabilities",
        "",
        "of these; what they lack of one is that of all other tokens and of the blank",
    ),
)
"""A row an emission, utterances in the order of the test set; one without emissions has no row."""


def schema(count: int) -> Any:
    """Of Arrow, for K = `count`."""
    import pyarrow

    kinds = {
        "id": pyarrow.string(),
        "emission": pyarrow.int32(),
        "time_s": pyarrow.float64(),
        "token": pyarrow.int32(),
        "candidates": pyarrow.list_(pyarrow.int32(), count),
        "probabilities": pyarrow.list_(pyarrow.float32(), count),
    }
    return pyarrow.schema([(column.name, kinds[column.name]) for column in CANDIDATES])
