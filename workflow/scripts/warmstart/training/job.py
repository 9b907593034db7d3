"""What one fine-tuning is made of, and whether it is all there. Nothing heavy is imported: a
mistake is found before ten seconds of imports."""

import hashlib
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from warmstart import adaptation, models
from warmstart.adaptation import peft_folder
from warmstart.data.targets import BPE, Targets
from warmstart.data.text import TextSettings
from warmstart.models import DEFAULT_FAMILY
from warmstart.models.recipe import Recipe
from warmstart.run.errors import UserError
from warmstart.study import recipe
from warmstart.study.grid import Run

if TYPE_CHECKING:
    from warmstart.training.batch_profile import Profile


@dataclass(frozen=True)
class Job:
    """One run.

    Attributes:
        run: training set, arm, hours and seed.
        train_cuts: budget, a manifest with normalised text.
        donor: file or folder of the init.
        run_dir: gets train.csv, run.json and checkpoints/.
        output: the trained model.
        settings: recipe of the arm, its defaults filled in, `noise` with the manifest in it.
        family: of models.
        tokenizer: folder with tokenizer.model; None where the family brings its own, or of heads a
            language.
        heads: language -> folder with the tokenizer.model of its head; empty = one head for all.
        from_scratch: random weights in the donor's architecture.
        compared_with: name and donor of another init that must be of one kind with this one.
        dev_cuts: language -> held-out cuts with raw text.
        experts: language -> folder with the updates of a LoRA run that is fused.
        teachers: language -> the same of a run that teaches.
        text: language -> its normaliser; with phones for tokens also the voice that reads them, and
            of what is replayed too.
        packed: language -> folder with the shards of its pool; empty = files are read.
        start: model of the round before, which a later round goes on from; None = the donor.
        version: of the stage; checkpoints of another one are not continued.
    """

    run: Run
    train_cuts: Path
    donor: Path
    run_dir: Path
    output: Path
    settings: Recipe
    family: str = DEFAULT_FAMILY
    tokenizer: Path | None = None
    heads: dict[str, Path] = field(default_factory=dict)
    from_scratch: bool = False
    compared_with: tuple[str, Path] | None = None
    dev_cuts: dict[str, Path] = field(default_factory=dict)
    experts: dict[str, Path] = field(default_factory=dict)
    teachers: dict[str, Path] = field(default_factory=dict)
    text: dict[str, TextSettings] = field(default_factory=dict)
    packed: dict[str, Path] = field(default_factory=dict)
    start: Path | None = None
    version: int = 0
    adaptation: dict[str, Any] = field(init=False)

    def __post_init__(self) -> None:
        if (self.start is not None) != (self.round_number > 1):
            raise UserError(
                f"--start is {self.start}, and the settings are of round {self.round_number}: "
                "rounds after the first go on from a model, and nothing else does"
            )
        block = adaptation.of_settings(self.settings)
        adaptation.check(block["kind"], self.family)
        if self.heads:
            models.require_heads(self.family)
        object.__setattr__(self, "adaptation", block)
        fuses = bool(adaptation.kind_of(block["kind"]).made_of)
        for key, given, needed, what in (
            ("--experts", self.experts, fuses, f"adaptation is {block['kind']}"),
            ("--teachers", self.teachers, "distil" in self.settings, "the settings have distil"),
            ("--packed", self.packed, self.settings.get("storage") == "shar", "storage is shar"),
        ):
            if bool(given) != bool(needed):
                raise UserError(
                    f"{what}, and {key} is missing; give LANG=FOLDER once a language"
                    if needed
                    else f"{key} is given, and the settings ask for none; remove it"
                )

    @cached_property
    def targets(self) -> Targets:
        """What is learnt of a text."""
        return Targets(self.settings.get("tokens", BPE), self.text)

    @property
    def writes(self) -> tuple[str, ...]:
        """What the adaptation writes beside the model, below the folder of the run."""
        return adaptation.kind_of(self.adaptation["kind"]).writes

    @property
    def round_number(self) -> int:
        """Of the round of the run, from 1; 1 of a run that is trained at once."""
        return self.settings.get("round", {}).get("number", 1)

    @property
    def seed(self) -> int:
        """Of the run; of a later round one of its own, or it would hear its cuts in the order of
        the first, and the first matrix of its low-rank updates would span the same space."""
        if self.round_number == 1:
            return self.run.seed
        drawn = hashlib.sha256(f"{self.run.seed} round {self.round_number}".encode()).digest()
        return int.from_bytes(drawn[:4], "big")

    @property
    def init(self) -> str:
        """Name of the donor, for messages."""
        return self.donor.stem

    @property
    def noise(self) -> Path | None:
        """Manifest of the noise under the training cuts."""
        manifest = (self.settings.get("noise") or {}).get("manifest")
        return Path(manifest) if manifest else None

    @property
    def batch_profile(self) -> Path | None:
        """What `profile_batches.py` measured, of a folder the file of the training set; None where
        `batch_duration_s` makes the batches."""
        if not (asked := self.settings.get("batch_profile")):
            return None
        path = Path(str(asked))
        return path if path.suffix == ".json" else path / f"{self.run.training_set}.json"

    @cached_property
    def profile(self) -> "Profile | None":
        """The same, read."""
        from warmstart.training.batch_profile import Profile

        return Profile.read(self.batch_profile) if self.batch_profile else None

    @property
    def tokenizer_model(self) -> Path | None:
        """The file of the tokenizer."""
        return self.tokenizer / "tokenizer.model" if self.tokenizer is not None else None

    @property
    def head_tokenizers(self) -> dict[str, Path]:
        """Language -> the file of its head's tokenizer."""
        return {lang: folder / "tokenizer.model" for lang, folder in self.heads.items()}

    def require_inputs(self) -> None:
        """Check that everything is there that the run reads.

        Raises:
            UserError: naming the first that is not, an adaptation that does not fit the donor, or
                a control without what it needs.
        """
        for path in (
            self.train_cuts,
            *self.dev_cuts.values(),
            self.noise,
            self.batch_profile,
            self.tokenizer_model,
            *self.head_tokenizers.values(),
            self.donor,
            *(
                folder / name
                for folder in (*self.experts.values(), *self.teachers.values())
                for name in (peft_folder.CONFIG, peft_folder.TENSORS)
            ),
            *(folder / "index.npy" for folder in self.packed.values()),
            self.start,
        ):
            if path is not None and not path.exists():
                raise UserError(
                    f"{path}: no such file; run the rule that makes it, or correct the path"
                )
        if adaptation.kind_of(self.adaptation["kind"]).fits is not None:
            donor = models.open_family(self.family).read_donor(self.donor)
            adaptation.check_donor(self.adaptation, donor)
        if self.targets.phonemes and not self.text:
            raise UserError(
                "tokens are ipa, and --text names no language whose phones are learnt; give "
                '{LANG: {"alphabet": ..., "espeak_voice": VOICE}}'
            )
        if not self.dev_cuts and recipe.stops_early(self.settings):
            raise UserError(
                "training.early_stop needs --dev-cuts: without a validation no run ends early"
            )
