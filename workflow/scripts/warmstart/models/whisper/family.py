"""The family, as a dry run sees it: torch and transformers are imported inside functions."""

from collections.abc import Sequence
from pathlib import Path

from warmstart.models.base import Donor, Family, Listener, Recogniser
from warmstart.models.recipe import Recipe
from warmstart.models.tier import Tier
from warmstart.models.wav2vec2 import checkpoint
from warmstart.models.whisper import settings as whisper_settings
from warmstart.models.whisper import snapshot
from warmstart.models.whisper.donor import WhisperDonor
from warmstart.models.whisper.snapshot import Read
from warmstart.models.whisper.vocabulary import PUBLISHED_LANGUAGES
from warmstart.run.errors import UserError, did_you_mean


class Whisper(Family):
    """Encoder and decoder of a Whisper, with its own tokenizer."""

    def read_donor(self, path: str | Path) -> WhisperDonor:
        """Of a snapshot's folder or its packed file."""
        return WhisperDonor(path)

    def pack_donor(self, folder: Path, output: Path) -> None:
        """See `snapshot.pack`."""
        snapshot.pack(folder, output)

    def check_languages(
        self, languages: Sequence[str], settings: Recipe | None, donor: Path | None
    ) -> None:
        """Each has a token in the donor, or, before that is here, in any published Whisper; or it
        borrows one that is there."""
        there = PUBLISHED_LANGUAGES
        if donor is not None:
            there = tuple(WhisperDonor(donor).said.tokens.languages) or ("en",)
        borrowed = {} if settings is None else settings["model"].get("language_tokens") or {}
        for lang in languages:
            code = borrowed.get(lang, lang)
            if code in there:
                continue
            key = (
                f"inits.<name>.zero_shot.prompts: {{{lang}: CODE}}"
                if settings is None
                else f"training.model.language_tokens: {{{lang}: CODE}}"
            )
            asked = f"{lang}, which shall hear as {code}" if code != lang else lang
            raise UserError(
                f"Whisper has no token for language {asked}{did_you_mean(code, there)}; name one "
                f"that is near, as {key}; it has {', '.join(there)}"
            )

    def build(
        self,
        donor: Donor | None,
        settings: Recipe,
        *,
        tokenizer: Path | None,
        seed: int,
        steps: int,
        take_weights: bool = True,
        adaptable: bool = False,
    ) -> Recogniser:
        """The donor whole; nothing is new."""
        from warmstart.models.whisper.recogniser import WhisperRecogniser

        if not isinstance(donor, WhisperDonor):
            raise UserError(
                f"{donor.path if donor else 'scratch'}: no snapshot of a Whisper, which this "
                "family starts from"
            )
        model = settings["model"]
        said = Read(
            *(donor.said.config, donor.said.tokens, donor.said.tokenizer),
            window_s=float(model.get("window_s") or whisper_settings.WINDOW_S),
            language_tokens=model.get("language_tokens") or {},
        )
        made = WhisperRecogniser(said, seed, model.get("encoder_dropout"))
        if take_weights:
            tensors = checkpoint.read_tensors(donor.path)
            made.loaded_tensors = made.network.take(tensors, f"init {donor.path}")
        made.prepare(settings, steps)
        return made

    def listen(
        self, donor: Donor, tier: Tier, device: str = "cpu", *, random_seed: int | None = None
    ) -> Listener:
        """Of whole utterances, whatever the tier."""
        from warmstart.models.whisper.recogniser import WhisperRecogniser

        if not isinstance(donor, WhisperDonor):
            raise UserError(
                f"{donor.path}: no snapshot of a Whisper, which this family starts from"
            )
        made = WhisperRecogniser(donor.said, random_seed or 0)
        if random_seed is None:
            made.network.take(checkpoint.read_tensors(donor.path), f"init {donor.path}")
        made.lightning.eval().to(device)
        return made.listener(tier)

    def load(self, path: str | Path, device: str = "cpu") -> Recogniser:
        """A model that `Recogniser.save` wrote, or a donor as it is published."""
        from warmstart.models import gated_lora
        from warmstart.models.whisper.recogniser import EXPERTS, WhisperRecogniser

        made = WhisperRecogniser(snapshot.read(Path(path), str(path)))
        tensors = checkpoint.read_tensors(Path(path))
        if made.more:  # of whoever changed the model; a donor has none
            own = {name: one for name, one in tensors.items() if snapshot.is_published(name)}
            made.more_tensors = {name: one for name, one in tensors.items() if name not in own}
            tensors = own
        made.take_prompts(str(path))
        made.network.take(tensors, str(path))
        if (about := made.more.get(EXPERTS)) is not None:
            made.gates = gated_lora.from_saved(made.pretrained(), made.more_tensors, about)
        made.lightning.eval().to(device)
        return made
