"""Gender and accent of those who speak in a test set, as a file beside its manifest says them.

They stand in no cut, because a cut that changes makes its pool, trainings and decodes again. Only
scoring reads the file, which `data.stated_traits` writes. Standard library only.
"""

from pathlib import Path
from typing import NamedTuple

from warmstart.run import files

MALE, FEMALE, OTHER = "male", "female", "other"

# What the tables of FLEURS, MLS, VoxPopuli and Common Voice say, in lower case; Common Voice says
# `male_masculine` and `female_feminine` since release 17.
_GENDERS = {
    **dict.fromkeys(("male", "m", "male_masculine"), MALE),
    **dict.fromkeys(("female", "f", "female_feminine"), FEMALE),
}
# Tables that went through pandas have the words None and nan for what is not known.
_UNKNOWN = frozenset({"", "none", "nan", "null", "unknown", "undeclared", "do_not_wish_to_say"})


class Traits(NamedTuple):
    """Of the speaker of an utterance; None where nobody knows.

    Attributes:
        gender: `male`, `female` or `other`, as the corpus or the speaker states it.
        accent: as the corpus writes it.
    """

    gender: str | None = None
    accent: str | None = None


NOBODY_KNOWS = Traits()


def gender(stated: str | None) -> str | None:
    """A gender as the corpora write it, made alike: `male`, `female`, `other`; None where it is
    not stated."""
    plain = (stated or "").strip().casefold()
    return None if plain in _UNKNOWN else _GENDERS.get(plain, OTHER)


def accent(stated: str | None) -> str | None:
    """An accent as it is written, blanks made one; None where it is not stated."""
    plain = " ".join((stated or "").split())
    return None if plain.casefold() in _UNKNOWN else plain


def write(path: Path, known: dict[str, Traits]) -> None:
    """Write id of a cut -> traits, of those cuts of which something is known."""
    files.write_json(path, {"traits": {name: one._asdict() for name, one in known.items()}})


def read(path: Path) -> dict[str, Traits]:
    """What `write` wrote.

    Raises:
        Damaged: it is something else.
    """
    document = files.read_json(path)
    with files.reading(path):
        try:
            return {name: Traits(**one) for name, one in document["traits"].items()}
        except (TypeError, AttributeError) as error:
            raise ValueError(error) from error
