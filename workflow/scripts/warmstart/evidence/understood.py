"""What `understanding` wrote, as tables and figures read it."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from warmstart.run import files

CASCADE, PROBE, QUESTIONS = "cascade", "probe", "questions"
DECODE = ["training_set", "lang", "test_set", "arm", "hours", "seed", "precision", "tier"]
_NAMES = ("kind", "source", *DECODE[:4], *DECODE[6:], "id", "sentence", "topic", "said", "read")
COLUMNS = {
    **dict.fromkeys(_NAMES, "string"),
    **{"hours": "float64", "seed": "int64", "right": "float32", "right_reference": "float32"},
    **{"words": "int32", "errors": "int32"},
}
"""Of results/understanding/{lang}.parquet, with their types of Arrow: a row for each utterance (or
question) and system. `source` is the language that was learnt from, `sentence` the unit of
resampling, `said` what the system makes of it, `read` the same of the reference; `right` is 0 to 1,
between them where answers are equally like."""


@dataclass(frozen=True)
class Understood:
    """Of all languages.

    Attributes:
        rows: language -> rows of `COLUMNS`.
        about: language -> what is said of each test set, kind and source.
    """

    rows: Mapping[str, pd.DataFrame]
    about: Mapping[str, list[dict[str, Any]]]


def read(paths: Iterable[Path]) -> Understood | None:
    """What `understand` wrote, a file a language; None: nothing was asked.

    Raises:
        Damaged: a file is not whole.
    """
    import pyarrow.parquet

    rows, about = {}, {}
    for path in paths:
        with files.reading(path):
            table = pyarrow.parquet.read_table(path, read_dictionary=list(_NAMES))
            rows[path.stem] = table.to_pandas()
        about[path.stem] = files.read_json(path.with_suffix(".json"))
    return Understood(rows, about) if rows else None
