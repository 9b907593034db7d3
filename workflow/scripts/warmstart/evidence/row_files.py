"""Writes Parquet files of declared columns, whole or not at all, a row group at a time."""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from warmstart.run import files

if TYPE_CHECKING:
    import pandas
    import pyarrow.parquet


class RowGroups:
    """A file that is being written."""

    def __init__(self, writer: "pyarrow.parquet.ParquetWriter"):
        self._writer = writer

    def add(self, rows: "Mapping[str, Any] | pandas.DataFrame") -> None:
        """Write one row group.

        Args:
            rows: name of a column -> its values; columns that are not declared are left out.
        """
        import pyarrow

        schema = self._writer.schema
        self._writer.write_table(
            pyarrow.table({name: rows[name] for name in schema.names}, schema=schema)
        )


@contextmanager
def writing(path: Path, columns: Iterable[tuple[str, str]]) -> Iterator[RowGroups]:
    """Open a file whose pages carry checksums, and put it in its place when the block is left
    without an error.

    Args:
        columns: name and pyarrow's alias of the type, in order.
    """
    import pyarrow
    import pyarrow.parquet

    schema = pyarrow.schema([(name, pyarrow.type_for_alias(kind)) for name, kind in columns])
    with (
        files.atomic_path(path) as temporary,
        pyarrow.parquet.ParquetWriter(
            temporary, schema, compression="zstd", write_page_checksum=True
        ) as writer,
    ):
        yield RowGroups(writer)
