"""Settings as files that are named by what is in them.

A command line names such a file, and Snakemake compares its name: settings that differ have another
name, and make stale what was made of the others. Their form is canonical (`config.canonical`), so a
new key with a default changes no name.
"""

import hashlib
import json
from pathlib import Path
from typing import Any

import yaml

from warmstart.run import files

FOLDER = "results/settings"


class SettingsFiles:
    """Settings that rules pass to programs.

    Args:
        folder: where the files lie.
        live: whether files are written at once; while a DAG is only looked at, nothing is.
        in_order: whether the order of keys counts, and stays.
    """

    def __init__(self, folder: str = FOLDER, live: bool = False, in_order: bool = False):
        self._folder, self._live, self._sort = folder, live, not in_order
        self._waiting: dict[str, Any] = {}
        self._whole: set[str] = set()

    def path(self, stage: str, value: Any) -> str:
        """The file that holds `value`, made of mappings, lists, text and numbers."""
        text = json.dumps(value, ensure_ascii=False, sort_keys=self._sort)
        digest = hashlib.sha256(text.encode()).hexdigest()[:16]
        path = f"{self._folder}/{stage}/{digest}.yaml"
        self._waiting[path] = value
        if self._live:
            self.write()
        return path

    def write(self) -> None:
        """Write what was asked for and is not there whole; from now on, at once."""
        self._live = True
        while self._waiting:
            path, value = self._waiting.popitem()
            if path in self._whole:
                continue
            text = yaml.safe_dump(value, allow_unicode=True, sort_keys=self._sort)
            if not Path(path).exists() or Path(path).read_bytes() != text.encode():
                files.write_text(path, text)
            self._whole.add(path)
