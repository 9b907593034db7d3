"""A `.nemo` whose bytes follow from what is in it, so that a digest tells whether two models are
the same."""

import tarfile
from pathlib import Path

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


def _plain(member: tarfile.TarInfo) -> tarfile.TarInfo:
    member.mtime = member.uid = member.gid = 0
    member.uname = member.gname = ""
    member.mode = 0o755 if member.isdir() else 0o644
    return member
