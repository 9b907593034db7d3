"""The family, as a dry run sees it: torch and transformers are imported inside functions."""

import base64
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from warmstart.models.base import Donor, Family, Listener, Recogniser
from warmstart.models.recipe import Recipe
from warmstart.models.tier import Tier
from warmstart.models.wav2vec2 import checkpoint
from warmstart.models.wav2vec2 import settings as encoder_settings
from warmstart.models.wav2vec2.donor import SnapshotDonor
from warmstart.run.errors import UserError

if TYPE_CHECKING:
    from torch import Tensor

    from warmstart.models.wav2vec2.network import Network


class Wav2Vec2Ctc(Family):
    """CTC on the encoders of `architectures`."""

    def read_donor(self, path: str | Path) -> SnapshotDonor:
        """Of a snapshot's folder or its packed file."""
        if not Path(path).exists():
            raise UserError(f"init {path}: no such file")
        return SnapshotDonor(path)

    def pack_donor(self, folder: Path, output: Path) -> None:
        """See `checkpoint.pack`."""
        SnapshotDonor(folder)
        checkpoint.pack(folder, output)

    def check_export(self, tier: Tier) -> None:
        """A graph takes whole utterances."""
        if not tier.offline:
            raise UserError(
                f"tier {tier.name} streams, and encoders of this family are exported for whole "
                "utterances; take an offline tier"
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
        """The donor's encoder and a new head; the donor's own head is left where it is."""
        if tokenizer is None:
            raise UserError("this family needs a tokenizer; make it with train_tokenizer.py")
        return self._build(donor, settings, _model(tokenizer), seed, steps, take_weights)

    def build_heads(
        self,
        donor: Donor | None,
        settings: Recipe,
        *,
        tokenizers: Mapping[str, Path],
        seed: int,
        steps: int,
        take_weights: bool = True,
        adaptable: bool = False,
    ) -> Recogniser:
        """The same with a new head a language."""
        models = {lang: _model(folder) for lang, folder in tokenizers.items()}
        return self._build(donor, settings, models, seed, steps, take_weights)

    @staticmethod
    def _build(
        donor: Donor | None,
        settings: Recipe,
        tokenizer: bytes | Mapping[str, bytes],
        seed: int,
        steps: int,
        take_weights: bool,
    ) -> Recogniser:
        from warmstart.models.wav2vec2 import network
        from warmstart.models.wav2vec2.recogniser import Wav2Vec2Recogniser

        if donor is not None and not isinstance(donor, SnapshotDonor):
            raise UserError(f"{donor.path}: no snapshot, which this family starts from")
        config = encoder_settings.fresh(settings["model"]) if donor is None else donor.config
        dropout, head_dropout = network.of_recipe(settings)
        made = Wav2Vec2Recogniser(config, tokenizer, seed, dropout, head_dropout)
        if donor is not None and take_weights:
            made.loaded_tensors = network.take_weights(
                made.network.encoding,
                made.network.encoder,
                checkpoint.read_tensors(donor.path),
                f"init {donor.path}",
            )
        made.prepare(settings, steps)
        return made

    def listen(
        self, donor: Donor, tier: Tier, device: str = "cpu", *, random_seed: int | None = None
    ) -> Listener:
        """Of whole utterances, whatever the tier."""
        import torch

        from warmstart.models.wav2vec2 import network
        from warmstart.models.wav2vec2.listener import EncoderListener

        if not isinstance(donor, SnapshotDonor):
            raise UserError(f"{donor.path}: no snapshot, which this family starts from")
        encoding = encoder_settings.architecture_of(donor.config).encoding(donor.config)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(random_seed or 0)
            encoder = encoding.make(None)
        if random_seed is None:
            tensors = checkpoint.read_tensors(donor.path)
            network.take_weights(encoding, encoder, tensors, f"init {donor.path}")
        return EncoderListener(encoder.eval().to(device), donor.config)

    def load(self, path: str | Path, device: str = "cpu") -> Recogniser:
        """A model that `Recogniser.save` wrote."""
        from warmstart.models.wav2vec2.recogniser import Wav2Vec2Recogniser

        note = checkpoint.read_header(Path(path)).note
        if "config" not in note or not {"tokenizer", "tokenizers"} & set(note):
            raise UserError(
                f"{path}: no model of this family; a donor has no tokenizer and no head"
            )
        read = encoder_settings.again(note["config"], str(path))
        tokenizer: bytes | dict[str, bytes]
        if "heads" in note:
            tokenizer = {lang: base64.b64decode(note["tokenizers"][lang]) for lang in note["heads"]}
        else:
            tokenizer = base64.b64decode(note["tokenizer"])
        made = Wav2Vec2Recogniser(read, tokenizer)
        tensors = checkpoint.read_tensors(Path(path))
        _require_blank(path, tensors, made.network)
        try:
            made.network.load_state_dict(tensors)
        except RuntimeError as error:
            raise UserError(f"{path}: its weights do not fit its settings ({error})") from None
        made.lightning.eval().to(device)
        return made


def _model(folder: Path) -> bytes:
    return (folder / "tokenizer.model").read_bytes()


def _require_blank(path: str | Path, tensors: "dict[str, Tensor]", network: "Network") -> None:
    """A head has a label for each token of its tokenizer, and one for the blank."""
    from warmstart.models.wav2vec2.heads import module_name

    for lang in network.languages or (None,):
        name = "head.weight" if lang is None else f"head.{module_name(lang)}.weight"
        of = "its head" if lang is None else f"its head of {lang}"
        tokens = network.blank_of(lang)
        labels = len(tensors[name]) if name in tensors else None
        if labels is not None and labels != tokens + 1:
            raise UserError(
                f"{path}: {of} has {labels} labels; its tokenizer has {tokens} tokens, and CTC "
                f"needs {tokens + 1}, the last of them for the blank: head and tokenizer are of "
                "different models; train it again"
            )
