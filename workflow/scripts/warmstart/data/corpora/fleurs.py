"""`fleurs`: read sentences in 102 languages (google/fleurs, CC BY 4.0).

Config: {kind: fleurs, code: de_de, revision: COMMIT, source: FOLDER or URL}. Without `source` the
files come from the hub, from the pinned commit, through huggingface_hub (HF_TOKEN from the
environment, if any); a source has the hub's layout: `data/{code}/{split}.tsv` and
`data/{code}/audio/{split}.tar.gz`.

The block is the sentence: FLEURS names no speakers, and several people read each sentence.

Own reader: Lhotse's recipe wants another layout than the hub's, downloads through a loading script
that `datasets` >= 4 refuses, and puts a made-up id per recording into the speaker field (lhotse
1.33, recipes/fleurs.py).
"""

import os
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, ClassVar

from warmstart.data import download
from warmstart.data.corpora import pinned
from warmstart.data.corpora.base import BadRow, Corpus, Licence, Utterance, table_rows
from warmstart.data.download import Digest
from warmstart.run import files
from warmstart.run.errors import UserError, did_you_mean

REPOSITORY = "google/fleurs"
# The head of main from 2022 to the end of 2026.
DEFAULT_REVISION = "70bb2e84b976b7e960aa89f1c648e09c59f894dd"
SPLITS = ("train", "dev", "test")
_COLUMNS = [
    "id",
    "file_name",
    "raw_transcription",
    "transcription",
    "characters",
    "num_samples",
    "gender",
]


class Reader(Corpus):
    """One language of FLEURS. The text is the raw transcription, with case and punctuation."""

    SCHEMA: ClassVar = {
        "properties": {
            "revision": {
                "description": "Commit of the hub repository.",
                "type": "string",
                "default": DEFAULT_REVISION,
            }
        }
    }
    SPLITS = SPLITS
    TITLE = "FLEURS"
    SPOKEN_BY = "Several people read each sentence, all taken from encyclopedia articles"
    BLOCK = "sentence"
    SHARED_SENTENCES = True
    CLIPS = "fleurs"
    LICENCE = Licence("CC BY 4.0", source="FLEURS, google/fleurs")

    def gigabytes(self) -> pinned.Size | None:
        return pinned.release_size("fleurs", "hub", self.lang)

    def check_files(self, splits: Mapping[str, str]) -> None:
        """A folder as `source` has the language."""
        super().check_files(splits)
        folder = download.local_source(self.settings.get("source"))
        if folder is None or any(
            (folder / name).exists() for name in ("train.tsv", f"data/{self.code}")
        ):
            return
        there = sorted(path.name for path in folder.glob("data/*"))
        raise self.fail(
            f"{folder} has no data/{self.code}{did_you_mean(self.code, there)}; there: "
            f"{', '.join(there) or 'none'}",
            "correct the language's code or `source`",
        )

    def _files(self, split: str) -> tuple[str, str]:
        return f"data/{self.code}/{split}.tsv", f"data/{self.code}/audio/{split}.tar.gz"

    def fetch(self, directory: Path) -> dict[str, Any]:
        source = self.settings.get("source")
        revision = None
        if source is None:
            digests, revision = self._hub_digests(self.options["revision"])
        where = (
            f"https://huggingface.co/datasets/{REPOSITORY}"
            if source is None
            else download.shown(str(source))
        )
        note = directory / ".fetched.json"
        facts = self._resume(note, directory, f"{where}@{revision}/{self.code}")
        for split in SPLITS:
            for relative in self._files(split):
                table = relative.endswith(".tsv")
                target = directory / (f"{split}.tsv" if table else f"audio-{split}")
                if target.exists():
                    continue
                if source is None:
                    path, found = self._from_hub(
                        relative, revision, directory, digests.get(relative)
                    )
                else:
                    path, found = download.obtain(source, relative, directory)
                facts["files"][relative] = found
                files.write_json(note, facts)
                if not table:
                    download.unpack(path, target)
                elif path != target:
                    with files.atomic_path(target) as temporary:
                        shutil.copyfile(path, temporary)
                if path != target and directory in path.parents:
                    path.unlink()
        return {"source": where, "revision": revision, "files": facts["files"]}

    def _resume(self, note: Path, directory: Path, origin: str) -> dict[str, Any]:
        """What an earlier call fetched from the same place; what it fetched from another one is
        removed."""
        facts = files.read_if_whole(note, dict, "digests of what is here are not known any more")
        facts = facts or {"origin": origin, "files": {}}
        if facts["origin"] != origin:
            for split in SPLITS:
                (directory / f"{split}.tsv").unlink(missing_ok=True)
                shutil.rmtree(directory / f"audio-{split}", ignore_errors=True)
            facts = {"origin": origin, "files": {}}
        files.write_json(note, facts)
        return facts

    def _hub_digests(self, revision: str) -> tuple[dict[str, Digest], str]:
        """Digests of the large files at a revision, and the commit that it names."""
        from huggingface_hub import HfApi

        api = HfApi(token=os.environ.get("HF_TOKEN"))
        wanted = [relative for split in SPLITS for relative in self._files(split)]
        try:
            commit = api.dataset_info(REPOSITORY, revision=revision).sha
            entries = api.get_paths_info(REPOSITORY, wanted, revision=commit, repo_type="dataset")
        except _hub_errors() as error:
            raise self._hub_failed(f"{REPOSITORY}@{revision}", error) from error
        missing = sorted(set(wanted) - {entry.path for entry in entries})
        if missing:
            raise self.fail(
                f"{REPOSITORY} has no {missing[0]}",
                f"check the code {self.code!r}, e.g. de_de, es_419, pt_br",
            )
        return {
            entry.path: Digest("sha256", entry.lfs.sha256) for entry in entries if entry.lfs
        }, commit

    def _hub_failed(self, what: str, error: Exception) -> UserError:
        """The hub cannot be used: one line, with its address and not that of a redirection, which
        may be signed."""
        from huggingface_hub import constants

        status = getattr(getattr(error, "response", None), "status_code", None)
        said = f"HTTP {status}" if status else type(error).__name__
        if reason := getattr(error, "strerror", None):
            said += f", {reason}"
        return self.fail(
            f"the hub {download.shown(constants.ENDPOINT)}: {what}: {said}",
            "check the network, HF_ENDPOINT, HF_HUB_OFFLINE and `revision`, and run again, what "
            "came is kept; or set `source` to a copy",
        )

    def _from_hub(
        self, relative: str, revision: str, directory: Path, digest: Digest | None
    ) -> tuple[Path, str]:
        from huggingface_hub import hf_hub_download

        try:
            path = hf_hub_download(
                REPOSITORY,
                relative,
                repo_type="dataset",
                revision=revision,
                local_dir=directory / ".hub",
                token=os.environ.get("HF_TOKEN"),
            )
        except _hub_errors() as error:
            raise self._hub_failed(relative, error) from error
        path = Path(path)
        try:
            return path, download.verify(path, digest, None, relative)
        except Exception:
            path.unlink(missing_ok=True)
            raise

    def read(self, directory: Path, split: str) -> Iterator[Utterance | BadRow]:
        if split not in SPLITS:
            raise self.fail(f"no split {split!r}", f"splits: {', '.join(SPLITS)}")
        audio = directory / f"audio-{split}"
        # The archives hold one folder, named like the split.
        folder = audio / split if (audio / split).is_dir() else audio

        def file(cells: dict[str, str]) -> Path | None:
            return folder / cells["file_name"] if cells.get("file_name") else None

        for line in table_rows(
            directory / f"{split}.tsv",
            self.rows,
            columns=_COLUMNS,
            required=("id", "file_name", "raw_transcription", "transcription"),
            text="raw_transcription",
            audio=file,
        ):
            if isinstance(line, BadRow):
                yield line
                continue
            row = line.cells
            if not row["file_name"]:
                yield BadRow(line.where, "no_path", "no name of a file")
                continue
            yield Utterance(
                id=Path(row["file_name"]).stem,
                audio=folder / row["file_name"],
                text=row["raw_transcription"] or row["transcription"],
                speaker=None,
                block=row["id"],
                gender=row["gender"],
            )


def _hub_errors() -> tuple[type[Exception], ...]:
    """What huggingface_hub raises where the hub is away, refuses, or has something else."""
    import httpx2
    from huggingface_hub import errors

    return (
        httpx2.HTTPError,
        httpx2.InvalidURL,
        errors.EntryNotFoundError,
        errors.RevisionResolutionError,
        errors.XetDownloadError,
        OSError,
        ValueError,
        RuntimeError,
    )
