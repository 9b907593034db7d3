"""What the family asks of an architecture of encoders. Standard library only at the top, because a
dry run imports it."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from warmstart.models.recipe import SpecAugment

if TYPE_CHECKING:
    from torch import Tensor, nn

SAMPLE_RATE = 16000
"""Of every published checkpoint of these architectures, Hz."""

SHERPA_LEAST_VARIANCE = 1e-5
"""What sherpa-onnx adds to the variance of an utterance before it divides by its root
(k2-fsa/sherpa-onnx, sherpa-onnx/csrc/offline-omnilingual-asr-ctc-model.cc)."""


class Architecture(ABC):
    """How the settings of an encoder are read. It holds none: they are a dictionary that `read`
    gives.

    Attributes:
        names: `model_type` of transformers -> what people call it.
        dropouts: keys that `training.model.encoder_dropout` replaces.
        layerdrop: key of the share of layers that pretraining left out; nothing of it remains here.
        prefixes: what names of the encoder's tensors begin with in a checkpoint, in this order.
        beside: what names of other tensors begin with, of heads, quantisers and decoders.
        exports: whether its encoders become ONNX graphs; see `Encoding.states`.
    """

    names: Mapping[str, str]
    dropouts: tuple[str, ...]
    layerdrop: str = "layerdrop"
    prefixes: tuple[str, ...] = ()
    beside: tuple[str, ...] = ()
    exports: bool = False

    def own_name(self, name: str) -> str | None:
        """Name in our encoder of a checkpoint's tensor; None for one that belongs to a head or a
        decoder. What is unknown keeps its name, and is refused as surplus."""
        if name.startswith(self.beside):
            return None
        for prefix in self.prefixes:
            name = name.removeprefix(prefix)
        return name

    @abstractmethod
    def read(
        self, config: Mapping[str, Any], preprocessing: Mapping[str, Any], where: str
    ) -> dict[str, Any]:
        """Settings of an encoder, checked, with the defaults of transformers for what is not said.

        They are read again from a saved model: given as both arguments, they give themselves.

        Args:
            config: of `config.json`; its `model_type` is one of `names`.
            preprocessing: of `preprocessor_config.json`; empty where there is none.
            where: the init, for messages.

        Returns:
            `architecture` (the `model_type`), then every setting that changes what the same weights
            compute or learn: two donors that differ in one are not compared.

        Raises:
            UserError: a value that is out of range, or audio that is heard another way.
        """

    @abstractmethod
    def width(self, config: Mapping[str, Any]) -> int:
        """Values of a state."""

    @abstractmethod
    def frame_samples(self, config: Mapping[str, Any]) -> int:
        """Samples from one output frame to the next."""

    @abstractmethod
    def encoding(self, config: Mapping[str, Any]) -> "Encoding":
        """What computes; imports torch."""


class Encoding(ABC):
    """How encoders of one architecture, with given settings, hear.

    It holds no weights: the encoder is a module of transformers, so that the names of its tensors
    in a saved model stay those of transformers. A unit is one step of what the encoder is given: a
    sample of raw audio, or a frame of a spectrogram.

    Attributes:
        config: see `Architecture.read`.
        dropouts: see `Architecture.dropouts`.
        stride: units from one output frame to the next.
        tail: units behind the end of an utterance that its last frames hear.
        longest_s: what the graph of a bundle can hear at most, in seconds; None = as much as the
            memory holds.
        constants: of architectures that export, end of a parameter's name -> why a graph has no
            weight of that name.
    """

    stride: int
    tail: int = 0
    longest_s: float | None = None
    constants: Mapping[str, str] = MappingProxyType({})

    def __init__(self, config: Mapping[str, Any], dropouts: Sequence[str]):
        self.config, self.dropouts = config, dropouts

    @abstractmethod
    def make(self, dropout: float | None) -> "nn.Module":
        """An encoder with random weights; `dropout` in place of those of the settings, None keeps
        them."""

    def stand_ins(self, encoder: "nn.Module") -> "dict[str, Tensor]":
        """Tensors that a donor may lack -> what is there then."""
        return {}

    @abstractmethod
    def blocks(self, encoder: "nn.Module") -> "list[nn.Module]":
        """The feature encoder, then each layer; see `base.Recogniser.blocks`."""

    @abstractmethod
    def frames(self, samples: "Tensor") -> "Tensor":
        """Frames of utterances, from their samples; 0 for those that are too short for one."""

    @abstractmethod
    def inputs(self, audio: "Tensor", audio_len: "Tensor") -> "tuple[Tensor, Tensor]":
        """What the encoder is given of whole utterances.

        Args:
            audio: (B, T) samples, zero behind the end.
            audio_len: (B,) samples.

        Returns:
            (B, N + `tail`, ...), N units of the longest utterance, and (B,) units of each. Those of
            an utterance do not depend on what stands beside it.
        """

    @abstractmethod
    def states(
        self,
        encoder: "nn.Module",
        inputs: "Tensor",
        lengths: "Tensor",
        masks: SpecAugment | None = None,
    ) -> "tuple[Tensor, Tensor]":
        """States of the encoder, those of an utterance as if it were alone, whatever it is padded
        to.

        Of architectures that export it is traced into a graph (`torch.jit.is_tracing`), which must
        hold at any size: a graph gets (B, N, ...), N units of the longest utterance, be it too
        short for one frame.

        Args:
            encoder: see `make`.
            inputs: (B, N, ...), as `inputs` gives them, or windows of them.
            lengths: (B,) units. Up to `tail` more are heard where they are there.
            masks: of the study, to learn under.

        Returns:
            (B, F, D), and (B,) frames of each utterance.
        """

    def hears_scaled(self) -> bool:
        """Whether nothing is lost to an encoder where sherpa-onnx has scaled the samples of an
        utterance to mean 0 and variance 1."""
        return False

    def in_graph(self, samples: "Tensor", scaled: bool) -> "tuple[Tensor, Tensor]":
        """`inputs` of one utterance as a graph computes it, traced; of architectures that export.

        Args:
            samples: (1, T), be it too short for one frame.
            scaled: whether sherpa-onnx has scaled them, of encodings that `hears_scaled`.

        Returns:
            (1, N + `tail`, ...), and (1,) units.
        """
        return self.inputs(samples, samples_of(samples))


def samples_of(waveform: "Tensor") -> "Tensor":
    """(1,) int64, the samples of a waveform (1, T), such that a graph holds at any length."""
    return waveform[:, 0].long() * 0 + waveform.shape[1]
