"""What a corpus states of the speakers of a test set: its tables are read once more, without audio,
so that the manifest keeps its bytes."""

import logging
from pathlib import Path

from warmstart.data import cut_lines, traits
from warmstart.data.corpora.base import Corpus, Utterance
from warmstart.data.traits import Traits
from warmstart.run.errors import UserError

log = logging.getLogger(__name__)


def write(corpus: Corpus, split: str, directory: Path, manifest: Path, output: Path) -> None:
    """Write gender and accent of the speakers of a split, by the cuts of its manifest.

    Tables that are not there any more, or cannot be read, leave everything unknown: a study whose
    corpora were removed to save room is scored all the same. The log says so.

    Raises:
        UserError: the manifest is not there, or damaged.
    """
    kept = {cut["id"] for cut in cut_lines.read(manifest)}
    known: dict[str, Traits] = {}
    try:
        for entry in corpus.read(directory, split):
            if isinstance(entry, Utterance) and (name := corpus.cut_id(split, entry)) in kept:
                one = Traits(traits.gender(entry.gender), traits.accent(entry.accent))
                known.setdefault(name, one)  # of one id twice a manifest keeps the first
    except (UserError, OSError) as error:
        log.warning("%s; what is left of genders and accents is not known", error)
    known = {name: one for name, one in known.items() if one != traits.NOBODY_KNOWS}
    traits.write(output, known)
    log.info(
        "%s/%s/%s: gender known of %d, accent of %d of %d cuts",
        *(corpus.name, corpus.lang, split),
        sum(one.gender is not None for one in known.values()),
        sum(one.accent is not None for one in known.values()),
        len(kept),
    )
