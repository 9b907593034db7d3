"""What `routing` wrote, as tables and figures read it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from warmstart.run import files

GIVEN, DETECTED = "given", "detected"
CONFIDENT, CALIBRATED = "most_confident", "most_confident_calibrated"

COLUMNS = {
    **dict.fromkeys(("training_set", "arm", "precision", "tier", "lang", "test_set"), "string"),
    **{"hours": "float64", "seed": "int64"},
    **dict.fromkeys(("id", "block", "way", "seconds", "said", "speaker"), "string"),
    **{"heard_s": "float64", "right": "float64", "words": "int32", "errors": "float64"},
}
"""Of results/routing/{run}/{tier}.parquet, with their types of Arrow: a row for each utterance and
way to choose. `said` is the language that was chosen, empty where several were as good; then
`right` and `errors` are what guessing among these comes to. `errors` is empty where no model was
asked for another language than its own."""


@dataclass(frozen=True)
class Routed:
    """All runs of a study.

    Attributes:
        rows: of `COLUMNS`.
        about: for each run what its JSON says.
    """

    rows: pd.DataFrame
    about: Sequence[Mapping[str, Any]]


def read(paths: Sequence[Path]) -> Routed | None:
    """What `route` wrote, a file a run; None: nothing was routed.

    Raises:
        Damaged: a file is not whole.
    """
    import pyarrow.parquet

    parts, about = [], []
    texts = [name for name, kind in COLUMNS.items() if kind == "string"]
    for path in paths:
        with files.reading(path):
            parts.append(pyarrow.parquet.read_table(path, read_dictionary=texts).to_pandas())
        about.append(files.read_json(path.with_suffix(".json")))
    if not parts:
        return None
    rows = pd.concat([part.astype(dict.fromkeys(texts, object)) for part in parts])
    return Routed(rows.reset_index(drop=True), about)
