"""What a donor says of itself, and whether two can be compared fairly. Standard library only."""

from pathlib import Path
from typing import Any

from warmstart.models.base import Donor
from warmstart.models.recipe import Recipe
from warmstart.models.wav2vec2 import checkpoint
from warmstart.models.wav2vec2 import settings as encoder_settings
from warmstart.models.wav2vec2.architectures.base import SAMPLE_RATE


class SnapshotDonor(Donor):
    """A snapshot of a published checkpoint: its folder, or the one file that it was packed into.

    Attributes:
        config: settings of the encoder, see `settings.read`.
        layerdrop: that the checkpoint was pretrained with; it is not used here.

    Raises:
        UserError: see `checkpoint.read_settings` and `settings.read`.
    """

    def __init__(self, path: str | Path):
        self.path = Path(path)
        config, preprocessing = checkpoint.read_settings(self.path)
        self.config = encoder_settings.read(config, preprocessing, f"init {path}")
        self._architecture = encoder_settings.architecture_of(self.config)
        self.layerdrop = config.get(self._architecture.layerdrop)
        self._headers = [
            checkpoint.read_header(file)
            for file in (checkpoint.weight_files(self.path) if self.path.is_dir() else [self.path])
        ]

    def about(self) -> dict[str, Any]:
        """The effective settings; `layerdrop` is the donor's own, of which nothing remains."""
        return {
            "class": self._architecture.names[self.config["architecture"]],
            **self.config,
            "layerdrop": self.layerdrop if isinstance(self.layerdrop, int | float) else None,
            "frame_s": self._architecture.frame_samples(self.config) / SAMPLE_RATE,
            "tensors": sum(len(header.shapes) for header in self._headers),
        }

    def linears(self) -> dict[str, tuple[int, int]]:
        """Matrices of the encoder that are no table of embeddings."""
        found: dict[str, tuple[int, int]] = {}
        for header in self._headers:
            for name, shape in header.shapes.items():
                module, _, kind = (self._architecture.own_name(name) or "").rpartition(".")
                matrix = kind == "weight" and len(shape) == 2
                if matrix and "embed" not in module.rpartition(".")[2]:
                    found[module] = (shape[1], shape[0])
        return found

    def refusal(self) -> str | None:
        """Nothing that can be read is refused; tensors are counted when a model is built."""
        return None

    def export_refusal(self) -> str | None:
        """By its architecture."""
        return encoder_settings.export_refusal(self.config)

    def differences(self, other: Donor, settings: Recipe) -> list[str]:
        """Every effective setting counts, because each changes what the same weights compute or
        learn; dropouts that the study gives to both do not."""
        assert isinstance(other, SnapshotDonor)
        given = settings["model"].get("encoder_dropout") is not None
        replaced = self._architecture.dropouts if given else ()
        keys = [key for key in {**self.config, **other.config} if key not in replaced]
        return [
            f"{key}: {self.config.get(key)!r} and {other.config.get(key)!r}"
            for key in keys
            if self.config.get(key) != other.config.get(key)
        ]

    def remedy(self, differences: list[str]) -> str:
        """Dropouts can be given, and the rest cannot."""
        if all(line.split(":")[0] in self._architecture.dropouts for line in differences):
            return "set training.model.encoder_dropout, which replaces both"
        return (
            "use checkpoints of one architecture and size (wav2vec2-large-lv60 and "
            "wav2vec2-xls-r-300m are such a pair)"
        )
