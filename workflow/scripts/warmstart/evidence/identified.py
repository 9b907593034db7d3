"""What a language identifier said of test utterances, as it is written and read: see
`decoding.language`. Standard library and numpy only."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from warmstart.run import files
from warmstart.run.errors import UserError

WHOLE = "all"
"""In place of seconds: the whole utterance is heard."""

UNHEARD, HEARD, UNKNOWN = "unheard", "heard", "unknown"
"""Whether who speaks was heard while the identifier was made."""

COLUMNS = {
    **dict.fromkeys(("lang", "test_set", "id", "seconds", "speaker", "said"), "string"),
    "heard_s": "float64",
    "posteriors": "list",
}
"""Of results/languages/{run}/{tier}.parquet, with their types of Arrow: a row for each utterance
and each of `seconds`. `speaker` is `UNHEARD`, `HEARD` or `UNKNOWN`; `said` is the likeliest
language, empty where there was no frame to hear; `heard_s` is how much there was; `posteriors`
follow the order of `languages` in the JSON beside it."""


@dataclass(frozen=True)
class Utterance:
    """What was said of one utterance after so many seconds.

    Attributes:
        said: language; empty where there was no frame to hear.
        heard_s: seconds of audio that were heard.
        posteriors: of the languages, in their order; equal ones where nothing was heard.
        speaker: `UNHEARD`, `HEARD` or `UNKNOWN`.
    """

    said: str
    heard_s: float
    posteriors: tuple[float, ...]
    speaker: str


@dataclass(frozen=True)
class Identified:
    """Of one run and tier.

    Attributes:
        languages: that can be said.
        seconds: after which it was asked, in their order.
        status: seconds -> `ok`, or `not estimable: ...`.
        said: (lang, test set) -> seconds -> id -> what was said.
    """

    languages: tuple[str, ...]
    seconds: tuple[str, ...]
    status: dict[str, str]
    said: dict[tuple[str, str], dict[str, dict[str, Utterance]]]


def name_of(seconds: float | str) -> str:
    """How a number of seconds is written: `0.1`, `2`, `all`."""
    return seconds if isinstance(seconds, str) else f"{seconds:g}"


def write(
    path: Path, rows: Sequence[tuple[str, str, str, str, Utterance]], about: dict[str, object]
) -> None:
    """Write rows of (lang, test set, id, seconds, what was said), and the JSON beside them.

    The JSON comes first, so that a table that is there has one.
    """
    import pyarrow
    import pyarrow.parquet

    text = pyarrow.string()
    columns = {
        **{
            name: pyarrow.array([row[place] for row in rows], text)
            for place, name in enumerate(("lang", "test_set", "id", "seconds"))
        },
        "speaker": pyarrow.array([row[4].speaker for row in rows], text),
        "said": pyarrow.array([row[4].said for row in rows], text),
        "heard_s": pyarrow.array([row[4].heard_s for row in rows], pyarrow.float64()),
        "posteriors": pyarrow.array(
            [list(row[4].posteriors) for row in rows], pyarrow.list_(pyarrow.float32())
        ),
    }
    files.write_json(path.with_suffix(".json"), about)
    with files.atomic_path(path) as temporary:
        pyarrow.parquet.write_table(pyarrow.table(columns), temporary, compression="zstd")


def read(path: Path) -> Identified:
    """What `write` wrote.

    Raises:
        UserError: a file is missing or damaged.
    """
    import pyarrow.parquet

    beside = path.with_suffix(".json")
    if not path.is_file() or not beside.is_file():
        raise UserError(f"{path}: it or {beside.name} is not there; run identify_language.py")
    about = files.read_json(beside)
    with files.reading(path):
        table = pyarrow.parquet.read_table(path).to_pylist()
    said: dict[tuple[str, str], dict[str, dict[str, Utterance]]] = {}
    for row in table:
        of_set = said.setdefault((row["lang"], row["test_set"]), {})
        of_set.setdefault(row["seconds"], {})[row["id"]] = Utterance(
            row["said"], row["heard_s"], tuple(row["posteriors"]), row["speaker"]
        )
    try:
        status = {name: one["status"] for name, one in about["seconds"].items()}
        return Identified(tuple(about["languages"]), tuple(status), status, said)
    except (KeyError, TypeError, AttributeError) as error:
        raise UserError(
            f"{beside}: no record of identify_language.py ({error!r}: "
            f"{json.dumps(about)[:80]}); run it again"
        ) from None
