"""What the study asks of a family of models.

A family implements `Family`, `Donor`, `Recogniser` and `Decoder` in a folder of its own. Training,
adaptations, decoding and export see these classes and nothing behind them. A dry run imports this
module and those of families, so torch and the like are imported inside functions only.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from warmstart.models.recipe import Recipe
from warmstart.models.tier import Seconds, Tier
from warmstart.run.errors import UserError

if TYPE_CHECKING:
    import lightning.pytorch as pl
    import numpy
    import onnx
    import torch

    from warmstart.models.batches import Batch, SpeechDataset
    from warmstart.models.gated_lora import Gates


TEXT_LONGER_THAN_FRAMES = "text_longer_than_frames"
"""Why CTC learns nothing of an utterance, in records."""

IGNORED = -100
"""In place of a token that is not learnt (`Recogniser.token_logits`), as torch's losses have it."""

# ---- what a decoder gives


@dataclass(frozen=True)
class Candidates:
    """What a search could have taken at each of the N emissions of one utterance.

    Attributes:
        taken: (N,) int32, ids of the tokens that it took.
        tokens: (N, K) int32, ids of the K best, best first. Of a greedy search the first is the one
            that was taken.
        probabilities: (N, K) float32, in falling order. What they lack of one is that of all other
            tokens and of the blank.
    """

    taken: "numpy.ndarray"
    tokens: "numpy.ndarray"
    probabilities: "numpy.ndarray"


@dataclass(frozen=True)
class Vocabulary:
    """What the ids of `Candidates` mean, for readers who have no model.

    Attributes:
        pieces: by id, the blank aside; `▁` where a word begins. Empty: a token that is no text
            (`<unk>`, a language tag, a mark of time).
        sentencepiece: the tokenizer as its file, with which a reference is split as in training;
            empty where the family has another one. The rank of the right token is then not known.
    """

    pieces: tuple[str, ...]
    sentencepiece: bytes = b""


@dataclass(frozen=True)
class Hypothesis:
    """What was heard in one utterance.

    Attributes:
        text: raw, as the model writes it.
        pieces: its tokens as text.
        times_s: when each piece could be shown, in seconds of audio; None where the family knows
            no times.
        candidates: one row a piece, of a decoder that was asked for them
            (`Decoder.with_candidates`).
        confidence: from 0 to 1, of a decoder that was asked for it (`Decoder.with_confidence`).
        language: that the model itself took the utterance to be in, as it calls it; None where it
            was told, or where it has no languages.
    """

    text: str = ""
    pieces: list[str] = field(default_factory=list)
    times_s: list[Seconds] | None = field(default_factory=list)
    candidates: Candidates | None = None
    confidence: float | None = None
    language: str | None = None

    @property
    def emitted(self) -> list[dict[str, Any]]:
        """Piece and time of every token, as hypothesis files hold them."""
        times = self.times_s if self.times_s is not None else [None] * len(self.pieces)
        return [
            {"piece": piece, "time_s": time_s}
            for piece, time_s in zip(self.pieces, times, strict=True)
        ]


@dataclass
class Timing:
    """Wall times of a decode, without loading model and audio."""

    features_s: Seconds = 0.0
    encode_decode_s: Seconds = 0.0

    @property
    def compute_s(self) -> Seconds:
        """From waveforms in memory to tokens."""
        return self.features_s + self.encode_decode_s


class NotFinite(UserError):
    """An encoder gave NaN or infinity, of which a search would take some token all the same.

    Attributes:
        index: of one waveform with such frames, as they were given.
    """

    def __init__(self, index: int):
        super().__init__(f"waveform {index}: the encoder gives NaN or infinity")
        self.index = index


@dataclass(frozen=True)
class EncoderFile:
    """A quantised encoder to decode with.

    Attributes:
        path: `encoder.onnx` of `quantize.py`.
        model_sha256: of the model it must have been made of.
        threads: of ONNX Runtime.
    """

    path: Path
    model_sha256: str | None = None
    threads: int = 1


class Decoder(ABC):
    """Waveforms to hypotheses at one tier.

    Attributes:
        tier: with the left context that is in use, which a published model may choose itself.
        sample_rate: of the waveforms, Hz.
        frame_s: seconds of audio between two frames that may emit a token.
    """

    tier: Tier
    sample_rate: int
    frame_s: Seconds

    @property
    def engine(self) -> str:
        """What computes the encoder."""
        return "pytorch"

    @abstractmethod
    def decode(
        self,
        waveforms: "Sequence[numpy.ndarray]",
        timing: Timing | None = None,
        steps_ms: list[float] | None = None,
    ) -> list[Hypothesis]:
        """Decode a batch.

        Args:
            waveforms: float32 arrays (samples,) in any order.
            timing: is added to.
            steps_ms: gets the wall time of every step of a stream, in ms.

        Returns:
            One hypothesis a waveform, in the order given.

        Raises:
            NotFinite: of a damaged model, or of audio beyond float32's reach.
        """

    @abstractmethod
    def logits(self, waveforms: "Sequence[numpy.ndarray]") -> "list[torch.Tensor]":
        """(T, V) a waveform: the scores of every frame before any token is taken, to compare ways
        of computing the same. Empty where there is nothing to compare."""

    def chunk_by_chunk(self) -> "Decoder":
        """The same decoder as a live stream runs it; the same object where nothing streams."""
        return self

    @property
    @abstractmethod
    def vocabulary(self) -> Vocabulary:
        """What its token ids mean."""

    @abstractmethod
    def with_candidates(self, count: int) -> "Decoder":
        """The same decoder, whose hypotheses hold the `count` best tokens of each emission too; all
        of `vocabulary` where it has fewer. The hypotheses are the same otherwise.

        An emission is what has a piece in `Hypothesis.pieces`; scores are those of the position at
        which the search took it (`models.candidates.best`). The blank is no candidate.
        """

    def with_confidence(self) -> "Decoder":
        """The same decoder, whose hypotheses say how sure the model is of each, by
        `confidence_measure`. Of kinds with `confidence`."""
        raise NotImplementedError

    @property
    def confidence_measure(self) -> str:
        """Name of the measure: its values compare with those of the same name alone."""
        from warmstart.models import confidence

        return confidence.MEASURE

    # ---- of models with a head a language

    @property
    def heads(self) -> tuple[str, ...]:
        """Languages with a head of their own; none where one head serves all."""
        return ()

    def of_language(self, lang: str) -> "Decoder":
        """The same decoder with the head of a language, or told that it hears a language; the same
        object where one head serves all.

        Raises:
            UserError: there is no such head, or no such language.
        """
        return self

    def decode_heads(
        self, waveforms: "Sequence[numpy.ndarray]", timing: Timing | None = None
    ) -> dict[str, list[Hypothesis]]:
        """Language -> what its head makes of each waveform; the encoder is computed once."""
        raise NotImplementedError


# ---- what a donor's encoder makes of speech


class Listener(ABC):
    """An encoder in memory without any head: a donor's as it is, or that of a trained model.

    Attributes:
        sample_rate: of the waveforms, Hz.
    """

    sample_rate: int

    @abstractmethod
    def mean_states(self, waveforms: "Sequence[numpy.ndarray]") -> "numpy.ndarray":
        """The mean over time of the encoder's output.

        Args:
            waveforms: float32 arrays (samples,) in any order. What stands beside a waveform in a
                batch changes its state by the rounding of sums alone.

        Returns:
            (N, D) float32, a row a waveform, in the order given; NaN where a waveform is too short
            to give a frame.
        """


# ---- donors


class Donor(ABC):
    """Where the weights of an arm come from, as its file says, without reading weights.

    Attributes:
        path: of the file or folder.
    """

    path: Path

    @abstractmethod
    def about(self) -> dict[str, Any]:
        """What the record of a run says of its donor, JSON values."""

    @abstractmethod
    def refusal(self) -> str | None:
        """Why the family cannot start from it, with the settings, their values and a remedy; None
        if it can."""

    @abstractmethod
    def differences(self, other: "Donor", settings: Recipe) -> list[str]:
        """One line per setting in which two donors differ and a fair comparison may not, with both
        values.

        Args:
            other: of the same family.
            settings: block `training` of the arm; what it replaces in both does not count.
        """

    def linears(self) -> dict[str, tuple[int, int]] | None:
        """Name -> (in, out) of the linear layers of `Recogniser.pretrained`, without reading
        weights, so that a dry run can say which updates of them there can be. None: its file does
        not tell. Of kinds that offer `linears`."""
        return None

    def export_refusal(self) -> str | None:
        """Why models that start from it cannot be exported, with a remedy; None if they can. Of
        kinds that export."""
        return None

    def remedy(self, differences: list[str]) -> str:
        """What a person does about such differences."""
        return "use inits of one architecture"


# ---- models


@dataclass(frozen=True)
class LanguageScores:
    """What tells the language of an utterance from the mean of its encoder's states: the largest of
    `coefficients @ state + intercepts`.

    Attributes:
        languages: K of them.
        coefficients: (K, D).
        intercepts: (K,).
        heard_s: seconds from the beginning of an utterance over which the mean is taken; None: all.
    """

    languages: tuple[str, ...]
    coefficients: "Sequence[Sequence[float]]"
    intercepts: "Sequence[float]"
    heard_s: Seconds | None


@dataclass
class EncoderGraph:
    """What ONNX Runtime computes of a model at a tier, float32 weights inside.

    Attributes:
        model: the graph; a product with a matrix is named by its module, `layers.0.linear/MatMul`.
        module: whose weights it holds, and whose names the graph has: the encoder, with the head
            where the graph ends in scores.
        form: `native` = one streaming step of the encoder; `whole` = whole utterances to scores;
            `states` = whole utterances to what a head a language hears.
        constants: parameter of `module` that is no weight of the graph -> why.
    """

    model: "onnx.ModelProto"
    module: "torch.nn.Module"
    form: str = "native"
    constants: dict[str, str] = field(default_factory=dict)


class Recogniser(ABC):
    """One model in memory.

    Attributes:
        lightning: what Lightning trains: `training_step(batch, index)` gives `{"loss": ...}`,
            `configure_optimizers()` follows the settings it was built with (`optimizer.configure`
            is there for families without an optimizer of their own).
        sample_rate: of the audio it hears, Hz.
        frame_s: seconds between two of its output frames.
        loaded_tensors: how many tensors came from the donor.
        pretrained_parts: names of the parts that a donor gives; the others are new.
        gates: language experts that are apart, of kinds that offer `gates`; `save` and
            `Family.load` keep them, and a decoder weights them for each utterance.
    """

    lightning: "pl.LightningModule"
    sample_rate: int
    frame_s: Seconds
    loaded_tensors: int = 0
    pretrained_parts: tuple[str, ...] = ("encoder",)
    gates: "Gates | None" = None

    # ---- its inside, by names that hold for all families

    @abstractmethod
    def parts(self) -> "dict[str, torch.nn.Module]":
        """Its modules by name, an `encoder` among them; see `pretrained_parts`. Digests, sizes and
        the fairness of a comparison are told a part."""

    def pretrained(self) -> "torch.nn.Module":
        """What a donor gives, as one module: beside its linear layers low-rank updates learn, and
        of it nothing else does then. The encoder, where what is behind it is new."""
        return self.parts()["encoder"]

    def head_of(self, lang: str) -> "torch.nn.Module":
        """The head of a language, one of `parts`; of models with a head a language."""
        raise NotImplementedError

    def blocks(self) -> "list[torch.nn.Module]":
        """What can be frozen one by one, from the input on: the feature encoder, then each layer.

        Of kinds that offer `blocks`.
        """
        raise NotImplementedError

    def add_adapters(self, dim: int, seed: int) -> None:
        """Put a bottleneck of width `dim` behind each layer of the encoder, drawn from `seed`
        alone, that changes nothing at first; nothing else of the encoder learns from here on.

        Of kinds that offer `adapters`, built with `adaptable`.
        """
        raise NotImplementedError

    def add_prompts(
        self,
        languages: Sequence[str],
        length: int,
        sides: Sequence[str],
        seed: int,
        *,
        rank: int = 0,
        alike: bool = False,
    ) -> None:
        """Put vectors that learn in front of utterances of some languages, drawn from `seed` alone.
        They are saved with the model, and utterances of other languages are heard without them.

        Of kinds that offer `prompts`.

        Args:
            languages: codes of the study.
            length: vectors on each side.
            sides: `encoder`, `decoder`, or both.
            rank: of each language's part beside one that all share; 0 = one prompt for all.
            alike: whether a language takes of the parts of those that are like it.

        Raises:
            UserError: there is no room for them, or two languages cannot be told apart.
        """
        raise NotImplementedError

    # ---- training

    @abstractmethod
    def encode(self, text: str) -> list[int]:
        """Token ids of normalised text."""

    def tokens_of(self, text: str, lang: str | None) -> list[int]:
        """The same of a text in a language, which tells models with a head a language which."""
        return self.encode(text)

    def ctc_frames(self, samples: "torch.Tensor") -> "torch.Tensor | None":
        """Frames that a CTC loss has for the text of an utterance.

        Args:
            samples: (N,) of the utterances, at `sample_rate`.

        Returns:
            (N,); None where the loss aligns a text of any length, as a transducer's does.
        """
        return None

    def kept_in_float32(self) -> "list[torch.nn.Module]":
        """Modules that stay float32 where the weights are bfloat16: what turns audio into what the
        encoder is given. Audio comes as float32. Of kinds with `bfloat16_weights`.
        """
        raise NotImplementedError

    def unlearnable(
        self, samples: "torch.Tensor", tokens: "torch.Tensor", token_len: "torch.Tensor"
    ) -> "dict[str, torch.Tensor] | None":
        """Of which utterances the loss learns nothing: it leaves them out. Where it is CTC, those
        that it cannot align.

        Args:
            samples: (N,) of the utterances, at `sample_rate`.
            tokens: (N, U) of `tokens_of`, of any value behind the end.
            token_len: (N,) how many of them count.

        Returns:
            Reason, a key of `unlearnable_because` -> (N,) bool; None where it learns of any.
        """
        from warmstart.models import ctc

        frames = self.ctc_frames(samples)
        if frames is None:
            return None
        return {TEXT_LONGER_THAN_FRAMES: ~ctc.alignable(frames, tokens, token_len)}

    def unlearnable_because(self) -> dict[str, tuple[str, str]]:
        """Reason, as records name it -> what follows `the N cuts`, and what a user does where it
        holds of all of them."""
        return {
            TEXT_LONGER_THAN_FRAMES: (
                "have texts of more tokens than the recordings have frames of "
                f"{self.frame_s * 1000:g} ms, and CTC needs a frame a token",
                "look whether texts and recordings belong together; raise tokenizer.vocab_size, "
                "which makes fewer tokens of a text; or take a transducer (family "
                "fastconformer_rnnt)",
            )
        }

    def dataset(self) -> "SpeechDataset":
        """What makes batches of cuts."""
        from warmstart.models.batches import SpeechDataset

        return SpeechDataset(self.encode)

    def before_fit(self, trainer: "pl.Trainer", loader: "torch.utils.data.DataLoader") -> None:  # noqa: B027
        """Called once, before Lightning takes over."""

    @abstractmethod
    def evaluate(self, batch: "Batch") -> tuple[float, list[str]]:
        """Mean loss and greedy texts of a batch on the model's device, in eval mode, under
        `no_grad`."""

    @abstractmethod
    def save(self, path: Path) -> None:
        """Write the model so that `Family.load` finds everything in it. The same model gives the
        same bytes; nothing of this machine is in them."""

    def save_donor(self, path: Path) -> None:
        """Write what was pretrained here so that `Family.read_donor` finds its encoder in it, by
        the rules of `save`."""
        self.save(path)

    # ---- what teachers and fused experts need of a model, of kinds that offer it

    def token_logits(self, batch: Any) -> "tuple[torch.Tensor, torch.Tensor]":
        """Scores of each token of the texts after those before it, as the loss takes them; of kinds
        that offer `distils`. The loss of a batch is their mean cross entropy.

        Returns:
            (B, U, V) scores before the softmax, and (B, U) token ids, `IGNORED` where there is no
            loss: prefix and padding.
        """
        raise NotImplementedError

    def languages_of(self, batch: Any) -> list[str]:
        """The language of each utterance of a batch; of kinds that offer `distils`."""
        raise NotImplementedError

    # ---- decoding

    def as_published(self, tier: Tier) -> Tier:
        """The tier with what a published model chose itself for the same latency."""
        return tier

    @abstractmethod
    def decoder(
        self, tier: Tier, encoder: EncoderFile | None = None, prompt: str | None = None
    ) -> Decoder:
        """Ready to decode at a tier.

        Args:
            encoder: quantised, in place of the model's own; of kinds that export.
            prompt: language, as the model's own dictionary of prompts names it.

        Raises:
            UserError: the model was not made for this tier, the file not for both, or the prompt
                not for the model.
        """

    def listener(self, tier: Tier) -> Listener:
        """Its encoder at a tier, which hears as a decoder of the tier does; of kinds that
        `probe`."""
        raise NotImplementedError

    # ---- export, of kinds that do

    def export_encoder(self, tier: Tier) -> EncoderGraph:
        """A streaming step of the encoder (on the CPU) as a graph; the whole model, of kinds with
        `exports_whole`.

        Raises:
            UserError: of a model whose architecture cannot be exported, with what can.
        """
        raise NotImplementedError

    def export_parity(self, tier: Tier, path: Path) -> dict[str, Any]:
        """An encoder file against PyTorch with its dequantised weights, over some noise. Changes
        the weights of the model to these.

        Returns:
            `max_abs`, the largest difference, and over what it is.
        """
        raise NotImplementedError

    def write_networks(
        self,
        tier: Tier,
        folder: Path,
        quantise: "Callable[[onnx.ModelProto], onnx.ModelProto]",
        identifier: "LanguageScores | None" = None,
    ) -> dict[str, Any]:
        """Write the networks and tokens of a bundle; of kinds that bundle.

        Args:
            tier: of the bundle.
            folder: gets them.
            quantise: what is done to the weights of a network.
            identifier: what tells the language of an utterance; of models with a head a language.

        Returns:
            What the README of a bundle says of them: `feature_dim`, and `architecture`, a noun
            phrase that begins a sentence.
        """
        raise NotImplementedError

    def decoder_of_bundle(self, tier: Tier, folder: Path) -> Decoder:
        """Ready to decode with the dequantised weights of the networks that `write_networks` wrote,
        which the model has from then on; of kinds that bundle and do not export an encoder."""
        raise NotImplementedError


class Family(ABC):
    """A kind of model. A dry run asks all methods but `build`, `listen` and `load`; they import
    nothing heavy."""

    @abstractmethod
    def read_donor(self, path: str | Path) -> Donor:
        """What a donor says of itself.

        Raises:
            UserError: no such file, or none of this family.
        """

    def pack_donor(self, folder: Path, output: Path) -> None:
        """Write the snapshot in a folder as the one file that donors are here; the same snapshot
        gives the same bytes. Of kinds whose `donor` is a `snapshot`.

        Raises:
            UserError: it is not whole, or none of this family.
        """
        raise NotImplementedError

    def check_settings(self, settings: Recipe) -> None:  # noqa: B027
        """Refuse a block `training` from which this family cannot build.

        Raises:
            UserError: with the key, its value and what is allowed.
        """

    def check_tier(self, tier: Tier, settings: Recipe) -> None:  # noqa: B027
        """Refuse a tier that models of these settings will not have.

        Raises:
            UserError: with the tier, its value and what is allowed.
        """

    def check_languages(  # noqa: B027
        self, languages: Sequence[str], settings: Recipe | None, donor: Path | None
    ) -> None:
        """Refuse languages that its models cannot be told.

        Args:
            languages: codes of the study.
            settings: block `training` of the arm; None: a donor is decoded as published.
            donor: its file, where it is here.

        Raises:
            UserError: with the language and what could be meant.
        """

    def check_export(self, tier: Tier) -> None:  # noqa: B027
        """Refuse a tier for which an encoder cannot be exported.

        Raises:
            UserError: with the tier, its value and what is allowed.
        """

    def require_same_kind(self, inits: Mapping[str, Path], settings: Recipe) -> None:
        """Refuse inits that the family cannot start from, or whose comparison would not be fair.

        Args:
            inits: name -> donor.
            settings: block `training`.

        Raises:
            UserError: naming the inits, the settings and their values.
        """
        donors = {name: self.read_donor(path) for name, path in inits.items()}
        for name, donor in donors.items():
            if (why := donor.refusal()) is not None:
                raise UserError(f"init {name}: {why}")
        if not donors:
            return
        first, *others = donors
        for name in others:
            if found := donors[first].differences(donors[name], settings):
                raise UserError(
                    f"inits {first} and {name} cannot be compared fairly, they differ in "
                    f"{'; '.join(found)}; {donors[first].remedy(found)}"
                )

    @abstractmethod
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
        """A model to be trained.

        Args:
            donor: its architecture, and its weights if they are taken; None = an encoder of
                `settings["model"]` with random weights, for pretraining.
            settings: block `training`: model, optimizer, schedule and what the family knows
                besides.
            tokenizer: folder with `tokenizer.model` of the training set; None where the family
                brings its own.
            seed: of the run. Whatever is not the donor's is drawn from it alone, so that runs from
                two donors begin with the same new parts, bit for bit.
            steps: of the whole run.
            take_weights: False = random weights in the donor's architecture.
            adaptable: new modules will be put into the encoder (`Recogniser.add_adapters`).

        Raises:
            UserError: a tensor of the donor does not fit.
        """

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
        """A model to be trained, with a head a language; of kinds with `heads`. Its data set makes
        `LanguageBatch`es, its parts name each head.

        Args:
            tokenizers: language -> folder with `tokenizer.model`; the start of a head follows from
                the seed, its language and its tokens alone.

        The other arguments are as of `build`.
        """
        raise NotImplementedError

    def listen(
        self, donor: Donor, tier: Tier, device: str = "cpu", *, random_seed: int | None = None
    ) -> Listener:
        """The encoder of a donor, for probes of what its states tell; of kinds that `probe`.

        Args:
            donor: whose weights are taken.
            tier: how much each frame may hear.
            random_seed: random weights from this seed in the donor's architecture instead.

        Raises:
            UserError: a tensor of the donor does not fit.
        """
        raise NotImplementedError

    @abstractmethod
    def load(self, path: str | Path, device: str = "cpu") -> Recogniser:
        """A model to decode with: in eval mode, float32, on a device.

        Raises:
            UserError: no such file, or no model that this family can decode.
        """
