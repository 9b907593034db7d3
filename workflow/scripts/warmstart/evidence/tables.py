"""Tables as files."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from warmstart.evidence.columns import Column
from warmstart.run import files
from warmstart.run.errors import UserError


def write_table(path: Path, rows: Iterable[Mapping[str, Any]], columns: Sequence[Column]) -> int:
    """Write rows as CSV with six significant digits.

    Args:
        path: of the file.
        rows: a row may lack columns, whose cells are then empty.
        columns: the header, whether there are rows or not.

    Returns:
        The number of rows.

    Raises:
        ValueError: a row has something that no column is declared for.
    """
    rows, names = list(rows), [column.name for column in columns]
    if strange := {name for row in rows for name in row} - set(names):
        raise ValueError(f"{path.name}: no column is declared for {', '.join(sorted(strange))}")
    with files.atomic_path(path) as temporary:
        pd.DataFrame(rows, columns=names).to_csv(temporary, index=False, float_format="%.6g")
    return len(rows)


def read_table(path: Path) -> pd.DataFrame:
    """A table that `write_table` wrote.

    Raises:
        UserError: it is not there, or damaged.
    """
    if not path.exists():
        raise UserError(f"{path} is not there; the study has to come to its tables first")
    files.require_end(path)
    with files.reading(path):
        # An empty cell is the only missing value: a language may be called nan, an arm null.
        return pd.read_csv(path, keep_default_na=False, na_values=[""])


def read_tables(folder: Path, names: Iterable[str]) -> dict[str, pd.DataFrame]:
    """Several tables of a folder, by name.

    Raises:
        UserError: one is not there.
    """
    return {name: read_table(folder / f"{name}.csv") for name in names}
