"""What a donor says of itself, and whether two can be compared fairly. Standard library only."""

from pathlib import Path
from typing import Any

from warmstart.models.base import Donor
from warmstart.models.recipe import Recipe
from warmstart.models.wav2vec2 import checkpoint
from warmstart.models.whisper import settings, snapshot
from warmstart.run.errors import UserError


class WhisperDonor(Donor):
    """A snapshot of a published Whisper: its folder, or the one file that it was packed into.

    Attributes:
        said: its settings and tokenizer.

    Raises:
        UserError: see `snapshot.read`.
    """

    def __init__(self, path: str | Path):
        self.path = Path(path)
        if not self.path.exists():
            raise UserError(f"init {path}: no such file")
        self.said = snapshot.read(self.path, f"init {path}")
        self._shapes = {
            snapshot.whole_name(name): shape
            for file in (checkpoint.weight_files(self.path) if self.path.is_dir() else [self.path])
            for name, shape in checkpoint.read_header(file).shapes.items()
        }

    def about(self) -> dict[str, Any]:
        """The effective settings."""
        return {
            "class": "Whisper",
            **self.said.config,
            "languages": list(self.said.tokens.languages),
            "tensors": len(self._shapes),
        }

    def linears(self) -> dict[str, tuple[int, int]]:
        """Matrices of both sides that are no table of embeddings; the output is one."""
        found: dict[str, tuple[int, int]] = {}
        for name, shape in self._shapes.items():
            module, _, kind = name.rpartition(".")
            matrix = kind == "weight" and len(shape) == 2 and module != "proj_out"
            if matrix and "embed" not in module.rpartition(".")[2]:
                found[module] = (shape[1], shape[0])
        return found

    def refusal(self) -> str | None:
        """Nothing that can be read is refused; tensors are counted when a model is built."""
        return None

    def differences(self, other: Donor, settings_: Recipe) -> list[str]:
        """Every effective setting counts, and the vocabulary; dropouts that the study gives to both
        do not."""
        assert isinstance(other, WhisperDonor)
        given = settings_["model"].get("encoder_dropout") is not None
        replaced = settings.DROPOUTS if given else ()
        one, two = self.said.config, other.said.config
        keys = [key for key in {**one, **two} if key not in replaced]
        found = [
            f"{key}: {one.get(key)!r} and {two.get(key)!r}"
            for key in keys
            if one.get(key) != two.get(key)
        ]
        if self.said.tokenizer != other.said.tokenizer:
            found.append("tokenizer.json: two files of other bytes")
        return found

    def remedy(self, differences: list[str]) -> str:
        """Dropouts can be given, and the rest cannot."""
        if all(line.split(":")[0] in settings.DROPOUTS for line in differences):
            return "set training.model.encoder_dropout, which replaces both"
        return "use checkpoints of one size and vocabulary"
