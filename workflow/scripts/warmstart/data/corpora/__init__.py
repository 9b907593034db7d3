"""One module per kind of corpus, behind the interface of `corpora.base.Corpus`.

A reader declares what the rest of the house would otherwise have to know of it: the keys of its
block, its splits, whose speaker ids it has, its hours, size and licence. Nothing outside this
folder names a kind. How to add one: docs/extend/corpus.md.
"""

import functools
import importlib
from typing import Any

from warmstart.data.corpora.base import COMMON, Corpus, Utterance
from warmstart.run.errors import UserError, did_you_mean

KINDS = (
    "commonvoice",
    "fleurs",
    "granary",
    "local",
    "mls",
    "synthetic",
    "voxpopuli",
)
"""Kinds of the config; each is a module of this folder with a class `Reader`."""


@functools.cache
def reader(kind: str) -> type[Corpus]:
    """The class that reads a kind of corpus.

    Raises:
        UserError: unknown kind.
    """
    if kind not in KINDS:
        raise UserError(
            f"unknown kind {kind!r}{did_you_mean(kind, KINDS)}; kinds: {', '.join(sorted(KINDS))}"
        )
    return importlib.import_module(f"{__name__}.{kind}").Reader


def open_corpus(name: str, lang: str, settings: dict[str, Any]) -> Corpus:
    """The reader for one corpus in one language.

    Args:
        name: the corpus's name in the config and in paths.
        lang: ISO 639-1 code of the study.
        settings: the corpus's block of the config; `kind` defaults to `name`, `code` (the corpus's
            own language code) to `lang`.

    Raises:
        UserError: unknown kind, a key that this kind does not know, or a value that is not among
            those that it lists.
    """
    try:
        made = reader(settings.get("kind", name))
    except UserError as error:
        raise UserError(f"corpus {name}: {error}") from None
    return made(name, lang, settings)


def schema() -> dict[str, Any]:
    """JSON Schema of a corpus's block, assembled from what all readers declare.

    Each kind is a branch of its own that refuses every other key; `title` and `elsewhere` (key ->
    kinds that have it) are for the message. Keys that a kind needs are not required here: a
    language's own settings may give them (`Corpus.lacks`). Of the defaults only that of `source`
    stands outside the branches: it alone is filled in before settings are passed on.
    """
    properties = {kind: reader(kind).properties() for kind in KINDS}
    branches = []
    for kind, known in properties.items():
        others = {
            key: [other for other, theirs in properties.items() if key in theirs]
            for other_known in properties.values()
            for key in other_known
            if key not in known
        }
        branch = {
            "title": f"a corpus of kind {kind}",
            "elsewhere": {
                key: f"kind {' or '.join(kinds)} has it" for key, kinds in others.items()
            },
            "properties": known,
            "additionalProperties": False,
        }
        is_kind = {"properties": {"kind": {"const": kind}}, "required": ["kind"]}
        branches.append({"if": is_kind, "then": branch})
    return {
        "type": "object",
        # First, so that a misspelt key is told before the key that it leaves missing.
        "allOf": branches,
        "required": ["kind", "train_split"],
        "properties": {
            "kind": {**COMMON["kind"], "enum": list(KINDS)},
            "source": COMMON["source"],
        },
    }


__all__ = ["KINDS", "Corpus", "Utterance", "open_corpus", "reader", "schema"]
