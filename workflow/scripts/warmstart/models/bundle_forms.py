"""Forms of a bundle: which files one has, whether it streams, and who opens it; declared.

Standard library only, because a dry run asks it. A family names its form (`models.Kind.bundle`). A
form of this package is one entry of `FORMS` and one class of `export`; one of somebody else's is
named `module:OBJECT`, where OBJECT is a `Form` in a module on PYTHONPATH.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

# What a bundle is whose `bundle.json` names no form.
DEFAULT_FORM = "streaming_transducer"


@dataclass(frozen=True)
class Form:
    """What a bundle of some form is, so that a dry run need not load it.

    Attributes:
        target: `module:Class` of its `export.forms.Opened`.
        about: one line for people who choose.
        networks: its ONNX files. The first holds the encoder, whose bytes the README gives.
        streams: whether it hears chunk by chunk, at a streaming tier; else whole utterances, at an
            offline one.
        longest_s: of an utterance that is heard in one piece, in seconds; None = any. The study
            hears longer ones in windows, which no network does: they are not compared.
        tokens: its files of tokens.
        heads: languages of its heads, where it has one a language.
        beside: files for other software, in folders.
    """

    target: str
    about: str
    networks: tuple[str, ...]
    streams: bool
    longest_s: float | None = None
    tokens: tuple[str, ...] = ("tokens.txt",)
    heads: tuple[str, ...] = ()
    beside: tuple[str, ...] = ()

    @property
    def loaded(self) -> tuple[str, ...]:
        """What a recogniser is opened with: networks and tokens."""
        return (*self.networks, *self.tokens)

    def of_head(self, lang: str) -> tuple[str, str]:
        """The network and the tokens of a language, of forms with a head a language."""
        return f"head_{lang}.onnx", f"tokens_{lang}.txt"

    def of_heads(self, languages: Sequence[str]) -> "Form":
        """The form with the files of some languages' heads; the same object of none."""
        if not languages:
            return self
        networks, tokens = zip(*map(self.of_head, languages), strict=True)
        return replace(
            self, networks=(*self.networks, *networks), tokens=tokens, heads=tuple(languages)
        )

    @property
    def files(self) -> tuple[str, ...]:
        """All that lies beside the README; `bundle.json` last."""
        return (*self.loaded, *self.beside, "example.wav", "bundle.json")


FORMS: dict[str, Form] = {
    DEFAULT_FORM: Form(
        target="warmstart.export.sherpa:StreamingTransducer",
        about="streaming transducer of sherpa-onnx: encoder, predictor, joint",
        networks=("encoder.onnx", "decoder.onnx", "joiner.onnx"),
        streams=True,
    ),
    "streaming_ctc": Form(
        target="warmstart.export.sherpa:StreamingCtc",
        about="streaming CTC of sherpa-onnx: encoder and head in one network",
        networks=("model.onnx",),
        streams=True,
    ),
    "offline_ctc": Form(
        target="warmstart.export.offline:OfflineCtc",
        about="CTC over the waveform of whole utterances: encoder and head in one network",
        networks=("model.onnx",),
        streams=False,
        longest_s=30.0,
    ),
    "offline_ctc_heads": Form(
        target="warmstart.export.heads:OfflineHeads",
        about="CTC over the waveform of whole utterances: an encoder, and a head a language",
        networks=("encoder.onnx",),
        streams=False,
        longest_s=30.0,
        tokens=(),
    ),
    "offline_whisper": Form(
        target="warmstart.export.whisper:OfflineWhisper",
        about="Whisper of sherpa-onnx: encoder and decoder; and a folder for transformers",
        networks=("encoder.onnx", "decoder.onnx"),
        streams=False,
        longest_s=29.0,
        beside=tuple(
            f"huggingface/{name}"
            for name in (
                *("config.json", "generation_config.json", "model.safetensors"),
                *("preprocessor_config.json", "tokenizer.json", "tokenizer_config.json"),
            )
        ),
    ),
}
