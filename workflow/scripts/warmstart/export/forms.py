"""What a bundle's recogniser is to the study: opened, fed, compared with the native decode, and
described in the README.

The form of a bundle is declared (`models.bundle_forms`); here is what a form does.
"""

import time
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

from warmstart import models
from warmstart.models.base import Decoder
from warmstart.models.bundle_forms import DEFAULT_FORM, Form
from warmstart.models.tier import Seconds, Tier
from warmstart.run.errors import UserError


class Opened(ABC):
    """A form of bundles at work.

    Args:
        form: what is declared of it.

    Attributes:
        fronts: what is tried in the comparison with the native decode: name -> zeros in front, in
            seconds. The last one is what the README shows.
        native: what the study decoded with, for the README.
        compares: in what the variants of the comparison differ, for the head of their column.
    """

    fronts: Mapping[str, Seconds] = MappingProxyType({"as it is": 0.0})

    native: str = "NeMo's features and chunks"
    compares: str = "zeros"

    def __init__(self, form: Form):
        self.form = form

    @abstractmethod
    def open(self, folder: str | Path, threads: int = 1) -> Any:
        """Load a bundle, of which `bundle.json` and the README may not be there yet.

        Raises:
            UserError: a file is missing or cannot be loaded.
        """

    @abstractmethod
    def recognize(
        self,
        recognizer: Any,
        samples: Any,
        sample_rate: int,
        tier: Tier,
        front_s: Seconds,
        lang: str | None = None,
    ) -> list[str]:
        """Tokens that a recogniser of `open` finds in a waveform (samples,) of any rate; a space or
        `▁` where a word begins.

        Args:
            recognizer: of `open`.
            samples, sample_rate: the waveform.
            tier: of the bundle.
            front_s: zeros in front.
            lang: whose head, of forms with a head a language.
        """

    # ---- in the README; `about` is the content of `bundle.json`

    @property
    def title(self) -> str:
        """What it is, in a headline."""
        return "Streaming speech recogniser" if self.form.streams else "Speech recogniser"

    def opened_with(self, about: Mapping[str, Any]) -> str:
        """The line above the code."""
        return f"With sherpa-onnx {about['versions']['sherpa-onnx']}, without conversion:"

    @abstractmethod
    def heard(self, about: Mapping[str, Any]) -> str:
        """How much audio it hears at a time, in a sentence."""

    @abstractmethod
    def code(self, about: Mapping[str, Any]) -> list[str]:
        """Lines of Python that print the text of `example.wav`, run in the folder."""

    def remarks(self, about: Mapping[str, Any]) -> list[str]:
        """Paragraphs on what to mind beside the code, each followed by an empty line."""
        return []

    @abstractmethod
    def differences(self, about: Mapping[str, Any]) -> str:
        """Why its tokens may differ from those of the native decode, in sentences."""

    # ---- for all forms

    def said(
        self, recognizer: Any, samples: Any, sample_rate: int, tier: Tier, lang: str | None = None
    ) -> str:
        """The text of a waveform, with the zeros that the README shows."""
        front_s = list(self.fronts.values())[-1]
        return text_of(self.recognize(recognizer, samples, sample_rate, tier, front_s, lang))

    def agreement(
        self, folder: Path, decoder: Decoder, waveforms: Sequence, langs: Sequence[str | None]
    ) -> dict[str, Any]:
        """How often a bundle gives the text of the native decode with the same weights, and how far
        apart they are in words.

        Args:
            folder: of the bundle.
            decoder: the native one.
            waveforms: N of them.
            langs: their languages; what is asked of a form with a head a language.
        """
        sample_rate, tier = decoder.sample_rate, decoder.tier
        recognizer = self.open(folder)
        native = self.native_texts(decoder, waveforms, langs)
        result: dict[str, Any] = {
            "utterances": len(waveforms),
            "native_words": sum(len(text.split()) for text in native),
            "variants": [],
        }
        took_s = 0.0
        for name, front_s in self.fronts.items():
            started = time.perf_counter()
            tokens = [
                self.recognize(recognizer, samples, sample_rate, tier, front_s, lang)
                for samples, lang in zip(waveforms, langs, strict=True)
            ]
            took_s = time.perf_counter() - started
            result["variants"].append(compared(name, native, list(map(text_of, tokens))))
        # Of the last variant, the one to be used: features, networks, search, on one thread.
        result["rtfx"] = round(sum(map(len, waveforms)) / sample_rate / took_s, 2)
        return result

    def native_texts(
        self, decoder: Decoder, waveforms: Sequence, langs: Sequence[str | None]
    ) -> list[str]:
        """What the study's decoder says, told the language of each."""
        found = [""] * len(waveforms)
        for lang in dict.fromkeys(langs):
            own = decoder if lang is None else decoder.of_language(lang)
            places = [place for place, other in enumerate(langs) if other == lang]
            for place, one in zip(
                places, own.decode([waveforms[place] for place in places]), strict=True
            ):
                found[place] = one.text
        return found


def compared(variant: str, native: Sequence[str], texts: Sequence[str]) -> dict[str, Any]:
    """How many texts are those of the native decode, and how many words differ."""
    import jiwer

    left, right = ([" ".join(text.split()) for text in each] for each in (native, texts))
    # A word where the native decode has none is an error too.
    counts = jiwer.process_words(left, right)
    return {
        "variant": variant,
        "identical": sum(one == other for one, other in zip(left, right, strict=True)),
        "differing_words": counts.substitutions + counts.deletions + counts.insertions,
    }


def open_form(name: str, heads: Sequence[str] = ()) -> Opened:
    """A form at work.

    Args:
        name: see `models.form_of`.
        heads: languages, of a form with a head a language.

    Raises:
        UserError: no such form.
    """
    form = models.form_of(name).of_heads(heads)
    return models.named_object(form.target, f"target of bundle form {name!r}:")(form)


def of_bundle(about: Mapping[str, Any]) -> Opened:
    """The form that `bundle.json` names. That of a streaming transducer is not written down, as in
    bundles from before there were others.

    Raises:
        UserError: no such form.
    """
    heads = about.get("heads")
    return open_form(about.get("form", DEFAULT_FORM), heads if isinstance(heads, list) else ())


def require_loadable(folder: Path, form: Form) -> list[Any]:
    """Refuse a bundle of which a file is missing, or a network that ONNX Runtime cannot load.

    sherpa-onnx ends the whole process on a graph that it cannot load.

    Returns:
        A session of ONNX Runtime a network, in their order.

    Raises:
        UserError: naming the file.
    """
    if missing := [name for name in form.loaded if not (folder / name).is_file()]:
        raise UserError(
            f"{folder}: the bundle lacks {', '.join(missing)}; make it again with build_bundle.py"
        )
    import onnxruntime

    sessions = []
    for name in form.networks:
        try:
            sessions.append(
                onnxruntime.InferenceSession(str(folder / name), providers=["CPUExecutionProvider"])
            )
        except Exception as error:  # onnxruntime raises a dozen classes of its own
            raise UserError(
                f"{folder / name}: ONNX Runtime {onnxruntime.__version__} cannot load it "
                f"({error}); make the bundle again"
            ) from error
    return sessions


def text_of(tokens: Sequence[str]) -> str:
    """The text of tokens: SentencePiece marks word starts with U+2581; sherpa-onnx gives a space in
    its place."""
    return "".join(tokens).replace("\u2581", " ").strip()
