"""A `.nemo` whose bytes follow from what is in it, so that a digest tells whether two models are
the same; and one that is read from checked files only."""

import tarfile
from pathlib import Path
from typing import Any

import torch
from nemo.core.connectors.save_restore_connector import SaveRestoreConnector

from warmstart.run import files

# Characters of the random name that NeMo gives to every file of a tokenizer, before an underscore.
_DRAWN = 32


class SameBytes(SaveRestoreConnector):
    """NeMo's way to write a model, without its random names, the time, and the user who ran it."""

    @staticmethod
    def _make_nemo_file_from_folder(filename: str, source_dir: str) -> None:
        folder = Path(source_dir)
        config = folder / SaveRestoreConnector().model_config_yaml
        text = config.read_text(encoding="utf-8")
        for path in sorted(folder.iterdir()):
            drawn, mark, name = (
                path.name[:_DRAWN],
                path.name[_DRAWN : _DRAWN + 1],
                path.name[_DRAWN + 1 :],
            )
            if mark == "_" and drawn in text:
                named = f"{files.digest(path)[:_DRAWN]}_{name}"
                text = text.replace(path.name, named)
                path.rename(folder / named)
        config.write_text(text, encoding="utf-8")
        with tarfile.open(filename, "w:") as archive:
            # In the order of names; the folder itself first, as NeMo has it.
            archive.add(folder, arcname=".", filter=_plain)


class Checked(SaveRestoreConnector):
    """NeMo's way to read a model, from a folder of checked files.

    Args:
        folder: weights and files of the tokenizer.
    """

    def __init__(self, folder: str | Path):
        super().__init__()
        self.model_extracted_dir = str(folder)

    @staticmethod
    def _load_state_dict_from_disk(model_weights: str, map_location: Any = "cpu") -> Any:
        # NeMo leaves it to the environment whether anything but tensors is unpickled.
        return torch.load(model_weights, map_location=map_location, weights_only=True)


def _plain(member: tarfile.TarInfo) -> tarfile.TarInfo:
    member.mtime = member.uid = member.gid = 0
    member.uname = member.gname = ""
    member.mode = 0o755 if member.isdir() else 0o644
    return member
