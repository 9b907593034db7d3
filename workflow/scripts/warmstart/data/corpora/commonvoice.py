"""`commonvoice`: Mozilla Common Voice, scripted speech (CC0; the terms of Mozilla Data Collective
forbid passing it on).

Config: {kind: commonvoice, code: de, release: cv-corpus-25.0-2026-03-09, source: ..., statistics:
..., dataset_ids: {de: ...}}. Without `source`, the release comes from Mozilla Data Collective
through its client `datacollective` with MDC_API_KEY in the environment; the terms must have been
accepted on its site. With it: the tarball, a folder with the tarball or with the unpacked release
(`cv-corpus-.../de/`, used in place), or a mirror's URL. `statistics` is the release's JSON as
common-voice/cv-dataset publishes it; size and sha256 of the tarball are checked against it.
`dataset_ids` names the data set on the site where a search finds none or several.

Splits: train, dev, test, other, invalidated as published; `validated` is every reviewed clip that
is in neither dev nor test.

Own reader: Lhotse's recipe fetches from an address that serves no more, fails on tables without
`variant`, and starts one future per clip with all of them in memory (lhotse 1.33,
recipes/commonvoice.py).
"""

import logging
import os
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any, ClassVar

from warmstart.data import download
from warmstart.data.corpora import pinned
from warmstart.data.corpora.base import (
    BadRow,
    Corpus,
    Licence,
    Utterance,
    beside,
    listed,
    read_table,
    table_rows,
)
from warmstart.data.download import Digest
from warmstart.run import files
from warmstart.run.errors import UserError, did_you_mean

log = logging.getLogger(__name__)

DEFAULT_RELEASE = "cv-corpus-25.0-2026-03-09"
STATISTICS = pinned.FOLDER / "commonvoice-25.json"
SPLITS = ("train", "dev", "test", "validated", "other", "invalidated")
# client_id has 128 hex digits; 32 tell people apart as well, and a million lines carry it twice.
_SPEAKER_DIGITS = 32


@cache
def _read_statistics(path: Path) -> dict[str, Any]:
    """Locale -> its statistics.

    Raises:
        UserError: the file is no JSON of a release.
    """
    try:
        read = files.read_json(path)
    except (OSError, ValueError) as error:
        raise UserError(
            f"{path}: no statistics of a release of Common Voice ({type(error).__name__}); give "
            "its JSON from common-voice/cv-dataset as `statistics`"
        ) from error
    locales = read.get("locales", read) if isinstance(read, dict) else None
    wanted = ("size", "checksum")
    if not isinstance(locales, dict) or not all(
        isinstance(one, dict) and all(key in one for key in wanted) for one in locales.values()
    ):
        raise UserError(
            f"{path}: no statistics of a release of Common Voice, whose locales have "
            f"{' and '.join(wanted)}; give its JSON from common-voice/cv-dataset as `statistics`"
        )
    return locales


class Reader(Corpus):
    """One locale of Common Voice. Block and speaker are the (shortened) client id; the text is the
    sentence as shown."""

    SCHEMA: ClassVar = {
        "properties": {
            "release": {
                "description": "Name of the release.",
                "type": "string",
                "default": DEFAULT_RELEASE,
            },
            "statistics": {
                "description": "JSON with sizes and digests of another release.",
                "type": "string",
            },
            "dataset_ids": {
                "description": "Locale -> data set id at the Mozilla Data Collective.",
                "type": "object",
                "additionalProperties": {"type": "string"},
            },
        }
    }
    SPLITS = SPLITS
    SPEAKERS = "commonvoice"
    TITLE = "Common Voice"
    SPOKEN_BY = "Volunteers read sentences aloud, each with their own microphone"
    CLIPS = "commonvoice"
    LICENCE = Licence(
        "CC0",
        # The terms of the place that it comes from.
        audio_may_be_passed_on=False,
        to_do=(
            "accept the terms of each data set on mozilladatacollective.com, make a key, export "
            "MDC_API_KEY; do not pass the audio on, do not identify speakers"
        ),
    )

    def __init__(self, name: str, lang: str, settings: dict[str, Any]):
        super().__init__(name, lang, settings)
        self.release = self.options["release"]
        self.archive = f"{self.release}-{self.code}.tar.gz"

    def data_settings(self) -> dict[str, Any]:
        settings = super().data_settings()
        if "dataset_ids" in settings:
            # Not those of other languages: adding one must not fetch this one again.
            own = {
                code: name for code, name in settings["dataset_ids"].items() if code == self.code
            }
            settings["dataset_ids"] = own
        return settings

    def gigabytes(self) -> pinned.Size | None:
        entry = (self._locales() or {}).get(self.code)
        return pinned.Size(entry["size"] / 1e9, True) if entry else None

    def hours(self, split: str) -> pinned.Hours | None:
        """As published; of a split that the statistics count in clips, its clips times the locale's
        mean clip."""
        if "hours" in self.settings:
            return super().hours(split)
        if "statistics" not in self.settings and (known := super().hours(split)) is not None:
            return known
        entry = (self._locales() or {}).get(self.code)
        if entry is None or split not in ("validated", *entry.get("buckets", ())):
            return None
        if split == "validated":
            return entry.get("validHrs")
        return round(entry["buckets"][split] * entry["avgDurationSecs"] / 3600, 2)

    def count(self, split: str) -> pinned.Count | None:
        """The clips of the release's statistics, which do not say who spoke them."""
        clips = ((self._locales() or {}).get(self.code) or {}).get("buckets", {}).get(split)
        return pinned.Count(clips) if clips else None

    def codes(self) -> Mapping[str, str] | None:
        """The locales of the statistics; another release may have more, which its own say."""
        if self.is_here() and self._root(Path()).is_dir():
            return None
        locales = self._locales()
        return {code: code.partition("-")[0] for code in locales} if locales else None

    def check_code(self) -> None:
        """Beside the code: the release's name, which is that of its folder, and the locales that
        `dataset_ids` names."""
        super().check_code()
        if not self.release.startswith("cv-corpus-"):
            raise UserError(
                f"corpora.{self.name}.release is {self.release!r}; a release has the name of its "
                f"folder, e.g. {DEFAULT_RELEASE}"
            )
        known = self._locales()
        for code in self.settings.get("dataset_ids") or {} if known else {}:
            if code not in known:
                raise UserError(
                    f"corpora.{self.name}.dataset_ids has {code!r}{did_you_mean(code, known)}; "
                    f"{self.codes_are_from()}: {listed(code, known)}"
                )

    def codes_are_from(self) -> str:
        path, other = self._statistics(), self.release != DEFAULT_RELEASE
        more = (
            f" (for {self.release} give its JSON from common-voice/cv-dataset as `statistics`)"
            if other and path == STATISTICS
            else ""
        )
        return f"locales of {path.name}{more}"

    def _statistics(self) -> Path:
        return Path(self.settings.get("statistics") or STATISTICS).expanduser()

    def _locales(self) -> dict[str, Any] | None:
        """Statistics of every locale; None where the file is not there."""
        path = self._statistics()
        return _read_statistics(path) if path.is_file() else None

    def check_files(self, splits: Mapping[str, str]) -> None:
        """Source and statistics, where they are somebody's own files."""
        super().check_files(splits)
        path = self._statistics()
        if not path.is_file():
            raise self.fail(
                f"no file {path}{beside(path)}",
                "correct `statistics` in the corpus's block: the release's JSON from "
                "common-voice/cv-dataset, from which sizes and digests are taken",
            )

    def _root(self, directory: Path) -> Path:
        """The unpacked locale: the folder with `clips`."""
        folder = download.local_source(self.settings.get("source"))
        if folder is not None and folder.is_dir():
            for unpacked in (folder / self.release / self.code, folder / self.code, folder):
                if (unpacked / "clips").is_dir():
                    return unpacked
        return directory / "files" / self.release / self.release / self.code

    def _pinned(self) -> tuple[Digest | None, int | None]:
        """Digest and size that the publisher states for the tarball."""
        path = self._statistics()
        if path == STATISTICS and self.release != DEFAULT_RELEASE:
            log.warning(
                "%s: no statistics for %s, so no digest to check; give its JSON as `statistics`",
                self.name,
                self.release,
            )
            return None, None
        locales = self._locales()
        if locales is None:
            raise self.fail(f"no file {path}", "correct `statistics` in the corpus's block")
        if self.code not in locales:
            raise self.fail(
                f"{path.name} has no locale {self.code!r}{did_you_mean(self.code, locales)}",
                f"locales: {listed(self.code, locales)}; or give the JSON of a release that has it "
                "as `statistics`",
            )
        entry = locales[self.code]
        return Digest("sha256", entry["checksum"]), int(entry["size"])

    def fetch(self, directory: Path) -> dict[str, Any]:
        source = self.settings.get("source")
        root = self._root(directory)
        folder = download.local_source(source)
        if folder is not None and root.is_dir() and directory not in root.parents:
            return {"source": str(root), "files": {}}
        digest, size = self._pinned()
        # One folder a release: an older one beside it is not mistaken for this one.
        unpacked = directory / "files" / self.release
        if not unpacked.exists():
            if source is None:
                path = self._from_data_collective(directory)
                found = self._verified(path, digest, size)
            elif folder is not None and folder.is_file():
                path, found = folder, download.verify(folder, digest, size)
            else:
                path, found = download.obtain(
                    source, self.archive, directory, digest=digest, size=size
                )
            download.unpack(path, unpacked)
            download.discard(path, directory)
        else:
            found = f"{digest.algorithm}:{digest.hex}" if digest else "not recorded"
        if not (root / "clips").is_dir():
            raise self.fail(
                f"{self.archive} holds no {self.release}/{self.code}/clips",
                "check release and code",
            )
        return {
            "source": download.shown(str(source)) if source else "Mozilla Data Collective",
            "files": {self.archive: found},
        }

    def _verified(self, path: Path, digest: Digest | None, size: int | None) -> str:
        # The client never compares the bytes with the checksum it was given, so a bad file must not
        # stay for its next call.
        try:
            return download.verify(path, digest, size)
        except UserError:
            path.unlink(missing_ok=True)
            raise

    def _from_data_collective(self, directory: Path) -> Path:
        if not os.environ.get("MDC_API_KEY"):
            raise self.fail(
                "MDC_API_KEY is not in the environment",
                "make a key on mozilladatacollective.com and accept the data set's terms there, or "
                "set `source` to the tarball",
            )
        import datacollective
        import requests

        try:
            dataset = (self.settings.get("dataset_ids") or {}).get(self.code) or self._search(
                datacollective
            )
        except (requests.RequestException, PermissionError, RuntimeError, ValueError) as error:
            raise self._api_failed("the search for the data set", error) from error
        try:
            return Path(
                datacollective.download_dataset(
                    dataset, download_directory=str(directory), show_progress=True
                )
            )
        except PermissionError:
            raise self.fail(
                f"Mozilla Data Collective refuses {dataset}",
                "accept the data set's terms on its site",
            ) from None
        except FileNotFoundError:
            raise self.fail(
                f"Mozilla Data Collective has no data set {dataset}",
                "set dataset_ids in the corpus's block",
            ) from None
        except RuntimeError as error:
            raise self.fail(
                f"Mozilla Data Collective: {error}", "wait and run again; what came is kept"
            ) from error
        except datacollective.errors.DownloadError as error:
            raise self.fail(
                f"the download broke off ({error.__cause__!r})", "run again; it continues"
            ) from error
        except (requests.RequestException, ValueError) as error:
            raise self._api_failed(f"the data set {dataset}", error) from error

    def _api_failed(self, what: str, error: Exception) -> UserError:
        """The publisher's site cannot be used: one line, without addresses, which may be signed."""
        status = getattr(getattr(error, "response", None), "status_code", None)
        said = f"HTTP {status}" if status else type(error).__name__
        return self.fail(
            f"Mozilla Data Collective (mozilladatacollective.com): {what}: {said}",
            "check the network and MDC_API_KEY, and run again, what came is kept; or set `source` "
            "to the tarball",
        )

    def _search(self, datacollective: Any) -> str:
        """The id of the release on the site, by its name and locale."""
        version = self.release.removeprefix("cv-corpus-").split("-")[0]
        found = datacollective.list_datasets(
            f"Common Voice Scripted Speech {version}", locale=self.code, results_per_page=100
        )
        fitting = [
            item
            for item in found.items
            if version in (item.name or "") and "scripted" in (item.name or "").lower()
        ]
        if len(fitting) != 1:
            names = (
                "; ".join(f"{item.id} = {item.name}" for item in fitting or found.items)
                or "nothing"
            )
            raise self.fail(
                f"a search for Scripted Speech {version}, {self.code}, finds {names}",
                "set dataset_ids in the block",
            )
        return fitting[0].id

    def read(self, directory: Path, split: str) -> Iterator[Utterance | BadRow]:
        if split not in SPLITS:
            raise self.fail(f"no split {split!r}", f"splits: {', '.join(SPLITS)}")
        root = self._root(directory)
        held_out: dict[str, str] = {}
        if split == "validated":
            for name in ("dev", "test"):
                for row in read_table(root / f"{name}.tsv", required=("path",)):
                    held_out[row["path"].removesuffix(".mp3")] = name

        def clip(cells: dict[str, str]) -> Path | None:
            name = cells.get("path")
            return root / "clips" / f"{name.removesuffix('.mp3')}.mp3" if name else None

        # `variant` and others come and go with the releases: only these are needed.
        for line in table_rows(
            root / f"{split}.tsv",
            self.rows,
            required=("client_id", "path", "sentence"),
            text="sentence",
            audio=clip,
        ):
            if isinstance(line, BadRow):
                yield line
                continue
            row = line.cells
            if other := held_out.get(row["path"].removesuffix(".mp3")):
                self.rows.of(other)
                continue
            audio = clip(row)
            if audio is None:
                yield BadRow(line.where, "no_path", "the column path is empty")
                continue
            name = audio.name
            speaker = row["client_id"][:_SPEAKER_DIGITS] or None
            yield Utterance(
                id=name.removesuffix(".mp3"),
                audio=audio,
                text=row["sentence"],
                speaker=speaker,
                block=speaker or name,
                gender=row.get("gender"),
                # Before release 8 the column was called `accent`.
                accent=row.get("accents", row.get("accent")),
            )
