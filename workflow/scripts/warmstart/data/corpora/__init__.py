"""One module per kind of corpus, behind the interface of `corpora.base.Corpus`."""

import importlib
from typing import Any

from warmstart.data.corpora.base import Corpus, Utterance
from warmstart.run.errors import UserError

# Kind as in the config -> module with a class `Reader`, imported when asked for: one corpus needs
# no other's libraries.
KINDS = {
    "commonvoice": "warmstart.data.corpora.commonvoice",
    "fleurs": "warmstart.data.corpora.fleurs",
    "granary": "warmstart.data.corpora.granary",
    "local": "warmstart.data.corpora.local",
    "mls": "warmstart.data.corpora.mls",
    "synthetic": "warmstart.data.corpora.synthetic",
    "voxpopuli": "warmstart.data.corpora.voxpopuli",
}

# : Kinds whose speaker ids are the publisher's own, the same people in every release and under
# every name in the config.
PUBLISHERS_SPEAKERS = frozenset({"commonvoice", "mls", "voxpopuli"})


def open_corpus(name: str, lang: str, settings: dict[str, Any]) -> Corpus:
    """The reader for one corpus in one language.

    Args:
        name: the corpus's name in the config and in paths.
        lang: ISO 639-1 code of the study.
        settings: the corpus's block of the config; `kind` defaults to `name`, `code` (the corpus's
            own language code) to `lang`.

    Raises:
        UserError: unknown kind, or a key that this kind does not know.
    """
    kind = settings.get("kind", name)
    if kind not in KINDS:
        raise UserError(f"corpus {name}: unknown kind {kind!r}; kinds: {', '.join(sorted(KINDS))}")
    return importlib.import_module(KINDS[kind]).Reader(name, lang, settings)


__all__ = ["KINDS", "PUBLISHERS_SPEAKERS", "Corpus", "Utterance", "open_corpus"]
