"""How many utterances of each length bucket fit a GPU: measured once (`profiling`), and then part
of the recipe."""

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from warmstart.models.base import Recogniser
from warmstart.models.recipe import Recipe
from warmstart.run import files
from warmstart.run.errors import UserError
from warmstart.study.recipe import OF_MEMORY

# A search ends where it knows a count to this share of itself. Ours.
_COUNTED_TO = 0.01


@dataclass(frozen=True)
class Profile:
    """What was measured.

    Attributes:
        device: name of the GPU.
        memory_gb: of it, 10^9 bytes.
        model: digest of the names and shapes of its weights, without what an adaptation brings.
        settings: what else the memory depends on.
        longest_s: of each bucket, the longest utterance that it takes, s, rising.
        tokens: of each bucket, those of the longest text that was tried.
        counts: of each bucket, utterances that fit.
        seconds: of audio in a batch, on average over the cuts that the buckets were made of.
    """

    device: str
    memory_gb: float
    model: str
    settings: dict[str, Any]
    longest_s: list[float]
    tokens: list[int]
    counts: list[int]
    seconds: float

    def write(self, path: Path) -> None:
        """As JSON."""
        files.write_json(path, asdict(self))

    @staticmethod
    def read(path: Path) -> "Profile":
        """Of a file that `write` left.

        Raises:
            UserError: damaged, or something else.
        """
        again = "make it again with profile_batches.py"
        try:
            with files.reading(path, again):
                found = json.loads(path.read_text(encoding="utf-8"))
                made = Profile(**found)
        except TypeError as error:
            raise UserError(f"{path}: no profile of batches ({error}); {again}") from error
        return made

    def require(self, path: Path, model: str, settings: Recipe) -> None:
        """Refuse to train with what was measured of something else.

        Args:
            path: of the profile, for the message.
            model: digest of the one that will be trained.
            settings: block `training`.

        Raises:
            UserError: another GPU, another model, other settings; with both.
        """
        here = device_name(), model, relevant(settings)
        for what, own, found in zip(
            ("GPU", "model", "recipe"),
            (self.device, self.model, self.settings),
            here,
            strict=True,
        ):
            if own != found:
                raise UserError(
                    f"{path} was made for another {what} ({own}; here {found}) and is not used; "
                    "delete it so that it is made again, which is another order of the data, or "
                    "train where it was made"
                )

    def require_lengths(self, longest_s: float) -> None:
        """Refuse cuts that no bucket takes.

        Args:
            longest_s: of the training cuts, at their slowest.

        Raises:
            UserError: with both lengths.
        """
        if longest_s > self.longest_s[-1] + 1e-6:
            raise UserError(
                f"a training cut has {longest_s:.2f} s, and the profile of batches was made for "
                f"{self.longest_s[-1]:.2f} s at most; delete the profile so that it is made again"
            )


def device_name() -> str:
    """Of what a training here computes on."""
    return torch.cuda.get_device_name() if torch.cuda.is_available() else "CPU"


def model_digest(recogniser: Recogniser) -> str:
    """Of names and shapes of all weights."""
    shapes = [
        [name, list(weight.shape)] for name, weight in recogniser.lightning.named_parameters()
    ]
    return hashlib.sha256(json.dumps(shapes).encode()).hexdigest()[:16]


def relevant(settings: Recipe) -> dict[str, Any]:
    """Of the recipe, what a profile depends on."""
    values: Any = settings
    return {name: values.get(name) for name in OF_MEMORY}


def largest_count(fits: Callable[[int], bool], guess: int, most: int) -> int:
    """The largest number that fits, to a hundredth of itself; 0 where not even 1 does.

    Args:
        fits: whether a number does; of those that do not, no larger one does.
        guess: where the search begins, at least 1.
        most: no more than this is tried.
    """
    fitting, failing = 0, most + 1
    tried = min(max(1, guess), most)
    while True:
        if fits(tried):
            fitting = tried
        else:
            failing = tried
        if failing - fitting <= max(1, int(_COUNTED_TO * fitting)):
            return fitting
        doubled = min(2 * fitting, most)
        tried = doubled if failing > most and doubled > fitting else (fitting + failing) // 2


def mean_seconds(
    rising: Sequence[float], longest_s: Sequence[float], counts: Sequence[int]
) -> float:
    """Audio in a batch, s, on average over an epoch of cuts of these lengths."""
    place, batches = 0, 0.0
    for length_s in rising:
        while place < len(longest_s) - 1 and length_s > longest_s[place]:
            place += 1
        batches += 1 / counts[place]
    return sum(rising) / batches
