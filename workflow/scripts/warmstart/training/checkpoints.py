"""Checkpoints that are whole or absent, in the folder they belong to, no more of them than are
needed."""

import logging
import pickle
import re
import shutil
import zipfile
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import torch
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.plugins.io import TorchCheckpointIO

from warmstart.run import owners
from warmstart.run.errors import UserError
from warmstart.run.files import atomic_path, explaining_full_disk, read_if_whole, write_json

FOLDER = "checkpoints"  # in the folder of a run
# Of the run that checkpoints are of, and its copy.
_IDENTITY = ("identity.json", "identity.copy.json")

logger = logging.getLogger(__name__)


class WholeCheckpoints(TorchCheckpointIO):
    """Writes beside the final name, to the disk, then renames.

    Lightning's own way packs everything into memory, writes that into the folder of temporary files
    and moves it from there: over file systems a move is a copy, and a full disk in the middle
    leaves half a file under the final name.
    """

    def save_checkpoint(
        self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any = None
    ) -> None:
        """Write `checkpoint` under `path`, whole or not at all.

        Raises:
            UserError: no room for it; checkpoints from before are untouched.
        """
        with (
            explaining_full_disk(path),
            atomic_path(path) as temporary,
            open(temporary, "wb") as stream,
        ):
            owners.forbid_others(stream.fileno())
            torch.save(checkpoint, stream)

    def load_checkpoint(self, path: str | Path, map_location: Any = None) -> dict[str, Any]:
        """Read a checkpoint, see `load`."""
        return load(path, map_location)


def load(path: str | Path, map_location: Any = None, mapped: bool = False) -> dict[str, Any]:
    """Read a checkpoint: tensors, numbers and words, nothing that runs code.

    A family whose checkpoints hold settings of a library names their classes with
    `torch.serialization.add_safe_globals` when it makes a model.

    Args:
        map_location: of torch; None = the CPU.
        mapped: tensors are read when they are used.

    Raises:
        UserError: somebody else could have written it.
        pickle.UnpicklingError: it holds something else.
    """
    owners.require_ours(Path(path))
    return torch.load(path, map_location or "cpu", weights_only=True, mmap=mapped)


class Saver(ModelCheckpoint):
    """A checkpoint every so many steps, the newest few kept, one of a signal until the next regular
    one is there.

    Lightning's own bookkeeping never removes the checkpoint that a run was resumed from: gigabytes
    for every interruption.
    """

    def __init__(self, directory: Path, every: int, keep: int):
        super().__init__(
            dirpath=directory,
            filename="step-{step:08d}",
            auto_insert_metric_name=False,
            enable_version_counter=False,
            save_top_k=-1,
            every_n_train_steps=every,
            save_on_train_epoch_end=False,
        )
        self.directory, self.every, self._keep = directory, every, keep

    def on_train_batch_end(self, trainer: pl.Trainer, *arguments: Any) -> None:
        """Save where a checkpoint is due, then clear up."""
        super().on_train_batch_end(trainer, *arguments)
        if trainer.is_global_zero and trainer.global_step % self.every == 0:
            kept = listed(self.directory, self.every)[-self._keep :]
            for path in set(listed(self.directory)) - set(kept):
                path.unlink()


def path_at(directory: str | Path, step: int) -> Path:
    """Where the checkpoint of a step lies."""
    return Path(directory) / f"step-{step:08d}.ckpt"


def step_of(path: Path) -> int:
    """The step of a checkpoint."""
    return int(path.stem.removeprefix("step-"))


def listed(directory: str | Path, every: int = 1) -> list[Path]:
    """Checkpoints in order of their steps, those at multiples of `every`."""
    found = sorted(Path(directory).glob("step-*.ckpt"))
    return [path for path in found if step_of(path) % every == 0]


def claim(directory: Path, identity: dict[str, Any], tidy: bool = True) -> None:
    """Make `directory` the place of the run that `identity` describes: what lies there of another
    run is put aside.

    Without this, training with an edited recipe would go on from the last checkpoint of the old
    one.

    Args:
        directory: of the checkpoints; made where it is missing.
        identity: everything the weights depend on, as JSON values.
        tidy: False in all processes of a run but the first; they only wait for the folder to be
            theirs.
    """
    before = _identity(directory, tidy)
    if not tidy:
        return
    if before == identity:
        _note_identity(directory, identity)
        return
    if listed(directory):
        aside = directory.with_name(f"{directory.name}.before")
        shutil.rmtree(aside, ignore_errors=True)
        directory.rename(aside)
        changed = sorted(
            key
            for key in {*(before or {}), *identity}
            if (before or {}).get(key) != identity.get(key)
        )
        logger.warning(
            "checkpoints of other %s are put aside as %s; training begins anew",
            ", ".join(changed),
            aside,
        )
    directory.mkdir(parents=True, exist_ok=True)
    _note_identity(directory, identity)


def _identity(directory: Path, tidy: bool) -> dict[str, Any] | None:
    """Whose checkpoints lie here; None where nothing says it.

    It stands there twice: without it whole checkpoints would be of no use.
    """
    for name in _IDENTITY:
        lost = "its copy is read, and without one training begins anew"
        if (found := read_if_whole(directory / name, dict, lost, tidy)) is not None:
            return found
    return None


def _note_identity(directory: Path, identity: dict[str, Any]) -> None:
    for name in _IDENTITY:
        lost = "it is written again"
        if read_if_whole(directory / name, dict, lost) != identity:
            write_json(directory / name, identity)


def newest(directory: Path, identity: dict[str, Any], tidy: bool = True) -> Path | None:
    """The newest checkpoint of the run that is whole; damaged ones are named and put aside, halves
    of a killed process removed.

    Args:
        directory, identity: see `claim`.
        tidy: False in all processes of a run but the first: they find the same one and change
            nothing.

    Raises:
        UserError: somebody else could have written it.
    """
    if _identity(directory, tidy) != identity:
        return None
    for path in directory.glob(".*.ckpt") if tidy else ():
        path.unlink()
    for path in reversed(listed(directory)):
        owners.require_ours(path)
        try:
            with zipfile.ZipFile(path) as archive:
                damaged = archive.testzip()
            if damaged is None:
                load(path, mapped=True)
        except (zipfile.BadZipFile, OSError) as error:
            damaged = str(error)
        except (pickle.UnpicklingError, RuntimeError, ValueError, EOFError) as error:
            # torch goes on with advice to load it unsafely.
            named = re.search(r"GLOBAL [\w.]+", str(error))
            found = named[0] if named else str(error).partition("\n")[0]
            damaged = f"it holds more than a checkpoint does: {found}"
        if damaged is None:
            return path
        if tidy:
            aside = path.with_suffix(".damaged")
            path.rename(aside)
            logger.warning(
                "checkpoint %s is damaged (%s), kept as %s; trying the one before",
                path,
                damaged,
                aside.name,
            )
    return None


def require_last(
    directory: Path, every: int, count: int, steps: int, resumed_from: Path | None
) -> None:
    """Stop before training where the last `count` regular checkpoints of a run cannot all be there
    at its end.

    Fewer are kept where fewer were asked for when the run began.

    Raises:
        UserError: naming the steps that are gone.
    """
    begun = step_of(resumed_from) if resumed_from else 0
    wanted = [steps // every * every - every * place for place in reversed(range(count))]
    gone = [step for step in wanted if 0 < step <= begun and not path_at(directory, step).exists()]
    if gone:
        raise UserError(
            f"training.average_last is {count}, but {directory} no longer has the checkpoints of "
            "steps "
            f"{', '.join(map(str, gone))}; set average_last to {count - len(gone)} or less, or "
            "remove that folder to train anew"
        )


def average(model: Any, paths: list[Path]) -> None:
    """Put the mean of the weights in some checkpoints into `model`."""
    total: dict[str, torch.Tensor] = {}
    for path in paths:
        for name, value in load(path, mapped=True)["state_dict"].items():
            total[name] = total[name] + value.double() if name in total else value.double()
    own = model.state_dict()
    model.load_state_dict(
        {name: (value / len(paths)).to(own[name].dtype) for name, value in total.items()}
    )
    logger.info("weights are the mean of %s", ", ".join(path.name for path in paths))
