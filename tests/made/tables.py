"""Tables of planted scores, made by the real program."""

import json

import aggregate
from warmstart.evidence import analyses
from warmstart.evidence.tables import read_tables

SETTINGS = {
    "baseline": "en",
    "challenger": "ml",
    "headline_test_set": "fleurs",
    "reference_tier": "160ms",
    "replicates": 800,
}


def make_tables(folder, studies, extra=(), **settings):
    """Run the program on score files and read its tables back."""
    paths = []
    for name, table in studies.items():
        path = folder / f"{name}.parquet"
        table.to_parquet(path)
        paths.append(str(path))
    arguments = [
        "--scores",
        *paths,
        *extra,
        "--settings",
        json.dumps(SETTINGS | settings),
        "--output-dir",
        str(folder / "tables"),
    ]
    aggregate.main(arguments)
    return read_tables(folder / "tables", analyses.tables())
