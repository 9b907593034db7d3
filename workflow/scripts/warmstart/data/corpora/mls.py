"""`mls`: Multilingual LibriSpeech (OpenSLR 94, CC BY 4.0), audiobooks, 16 kHz.

Config: {kind: mls, code: german, format: opus | flac, source: FOLDER or URL}. A source folder holds
`mls_german_opus.tar.gz` (with `md5sum.txt`) or the unpacked `mls_german_opus/`, which is used in
place.

Own reader: Lhotse's recipe reads every language and split it finds and cannot be asked for one, and
a flac and an opus release side by side collide (lhotse 1.33, recipes/mls.py).
"""

import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

from warmstart.data import download
from warmstart.data.corpora import pinned
from warmstart.data.corpora.base import BadRow, Corpus, Licence, Utterance, text_lines
from warmstart.data.download import Digest
from warmstart.run.errors import UserError

log = logging.getLogger(__name__)

BASE = "https://dl.fbaipublicfiles.com/mls"


class Reader(Corpus):
    """One language of MLS. Block and speaker are the reader's id."""

    SCHEMA: ClassVar = {
        "properties": {
            "format": {
                "description": "Which of the two releases; flac is four times as large.",
                "enum": ["opus", "flac"],
                "default": "opus",
            }
        }
    }
    SPLITS = ("train", "dev", "test")
    SPEAKERS = "mls"
    TITLE = "Multilingual LibriSpeech"
    SPOKEN_BY = "Volunteers read books aloud (LibriVox)"
    CLIPS = "mls"
    LICENCE = Licence("CC BY 4.0", source="Multilingual LibriSpeech, OpenSLR 94")

    def __init__(self, name: str, lang: str, settings: dict[str, Any]):
        super().__init__(name, lang, settings)
        self.suffix = self.options["format"]
        self.folder_name = f"mls_{self.code}" + ("_opus" if self.suffix == "opus" else "")

    def gigabytes(self) -> pinned.Size | None:
        return pinned.release_size("mls", self.suffix, self.lang)

    def _root(self, directory: Path) -> Path:
        """The unpacked release."""
        folder = download.local_source(self.settings.get("source"))
        if folder is not None:
            for unpacked in (folder / self.folder_name, folder):
                if (unpacked / "metainfo.txt").is_file():
                    return unpacked
        return directory / "files" / self.folder_name / self.folder_name

    def fetch(self, directory: Path) -> dict[str, Any]:
        base = self.settings.get("source") or BASE
        root = self._root(directory)
        if download.local_source(base) and root.is_dir():
            return {"source": str(root), "files": {}}
        archive = f"{self.folder_name}.tar.gz"
        text = download.listing(
            str(base),
            "md5sum.txt",
            directory,
            lambda text: archive in _md5_list(text),
            archive,
        )
        digests = _md5_list(text)
        digest = digests[archive]
        # One folder an archive: a release in the other format beside it is not mistaken for this
        # one.
        unpacked = directory / "files" / self.folder_name
        if not unpacked.exists():
            path, digest = download.obtain(base, archive, directory, digest=Digest("md5", digest))
            download.unpack(path, unpacked)
            download.discard(path, directory)
        if not root.is_dir():
            raise self.fail(
                f"{archive} holds no folder {self.folder_name}", "check the corpus's source"
            )
        return {
            "source": download.shown(str(base)),
            "files": {archive: digest if ":" in digest else f"md5:{digest}"},
        }

    def read(self, directory: Path, split: str) -> Iterator[Utterance | BadRow]:
        root = self._root(directory)
        table = root / split / "transcripts.txt"
        if not table.is_file():
            raise self.fail(
                f"no {table}", "MLS has the splits train, dev and test; is the download complete?"
            )
        self.rows.tables.append(table)
        genders = _genders(root / "metainfo.txt")
        held: Utterance | None = None  # not given yet: the next line may be the rest of it
        for number, line in enumerate(text_lines(table), start=1):
            if not line.strip():
                continue
            self.rows.read += 1
            key, tab, text = line.partition("\t")
            parts = key.split("_")
            if not tab or len(parts) != 3 or not all(part.isalnum() for part in parts):
                # A damaged id still has its underscores; the rest of a transcript has none.
                if held is not None and "_" not in key:
                    yield BadRow(held.id, "broken_row", f"line {number} is a piece of it")
                elif held is not None:
                    yield held
                held = None
                yield BadRow(
                    f"{table.name}:{number}",
                    "bad_row",
                    "not SPEAKER_BOOK_NUMBER, tab, text; fetch the release again",
                )
                continue
            if held is not None:
                yield held
            speaker, book, _ = parts
            audio = root / split / "audio" / speaker / book / f"{key}.{self.suffix}"
            held = Utterance(
                id=key,
                audio=audio,
                text=text,
                speaker=speaker,
                block=speaker,
                gender=genders.get(speaker),
            )
        if held is not None:
            yield held


def _genders(path: Path) -> dict[str, str]:
    """Speaker -> gender, from the release's table of books (`SPEAKER | GENDER | PARTITION | ...`, a
    line for each book). What cannot be read of it is unknown: no manifest fails for it."""
    found: dict[str, str] = {}
    try:
        for line in text_lines(path):
            speaker, _, rest = line.partition("|")
            found.setdefault(speaker.strip(), rest.partition("|")[0].strip())
    except UserError as error:
        log.warning("%s; genders of the readers are not known", error)
    return found


def _md5_list(text: str) -> dict[str, str]:
    """File name -> md5, from the output of md5sum."""
    found = {}
    for line in text.splitlines():
        digest, _, name = line.strip().partition(" ")
        if name:
            found[name.strip().lstrip("*").rpartition("/")[2]] = digest.lower()
    return found
