"""Bundles of one encoder and a head a language, for ONNX Runtime: sherpa-onnx has no model type
whose networks share an encoder."""

import inspect
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from warmstart.export import heads_example
from warmstart.export.forms import Opened, compared, require_loadable, text_of
from warmstart.models.base import Decoder
from warmstart.models.tier import Seconds, Tier

GIVEN, DETECTED = "given", "detected"


class OfflineHeads(Opened):
    """An encoder that hears a whole utterance, and heads."""

    native = "whole utterances"
    compares = "language"

    def open(self, folder: str | Path, threads: int = 1) -> Any:
        """In ONNX Runtime.

        Raises:
            UserError: a file is missing or cannot be loaded.
        """
        require_loadable(Path(folder), self.form)
        return heads_example.open_bundle(folder, threads)

    def recognize(
        self,
        recognizer: Any,
        samples: Any,
        sample_rate: int,
        tier: Tier,
        front_s: Seconds,
        lang: str | None = None,
    ) -> list[str]:
        """One utterance in a language; nothing is put in front of it."""
        return heads_example.recognize(recognizer, samples, sample_rate, lang)

    def agreement(
        self, folder: Path, decoder: Decoder, waveforms: Sequence, langs: Sequence[str | None]
    ) -> dict[str, Any]:
        """With the language given, and with the one that the bundle detects, where it does; then
        `detected`, how often that is the one of the utterance."""
        met = super().agreement(folder, decoder, waveforms, langs)
        met["variants"][0]["variant"] = GIVEN
        recognizer = self.open(folder)
        if not detects(recognizer):
            return met
        said = [heads_example.detect(recognizer, samples) for samples in waveforms]
        rate = decoder.sample_rate
        texts = [
            text_of(heads_example.recognize(recognizer, samples, rate, lang))
            for samples, lang in zip(waveforms, said, strict=True)
        ]
        row = compared(DETECTED, self.native_texts(decoder, waveforms, langs), texts)
        right = sum(one == lang for one, lang in zip(said, langs, strict=True))
        return {**met, "variants": [*met["variants"], row], "detected": right}

    # ---- in the README

    def opened_with(self, about: Mapping[str, Any]) -> str:
        """ONNX Runtime."""
        return (
            "One encoder serves all languages, and each has a head. sherpa-onnx has no model type "
            "for that. These lines are a decoder, with NumPy, soundfile and ONNX Runtime "
            f"{about['versions']['onnxruntime']}:"
        )

    def heard(self, about: Mapping[str, Any]) -> str:
        """Whole utterances."""
        return "It hears whole utterances; nothing streams."

    def code(self, about: Mapping[str, Any]) -> list[str]:
        """Of one utterance in the language that it is in."""
        shown = [heads_example.open_bundle, heads_example.recognize]
        if "detected" in about["agreement"]:
            shown.insert(1, heads_example.detect)
        return [
            "import numpy, onnxruntime, soundfile",
            *(line for each in shown for line in ["", *inspect.getsource(each).splitlines()]),
            "",
            'samples, rate = soundfile.read("example.wav", dtype="float32")',
            f'tokens = recognize(open_bundle("."), samples, rate, "{about["example"]["lang"]}")',
            'print("".join(tokens).replace("\\u2581", " ").strip())',
        ]

    def remarks(self, about: Mapping[str, Any]) -> list[str]:
        """What a language takes, how one is detected, and on long recordings."""
        met = about["agreement"]
        sizes = {
            lang: sum(about["files"][name]["bytes"] for name in self.form.of_head(lang))
            for lang in self.form.heads
        }
        lines = [
            "What a language adds to the encoder, its head and tokens: "
            + ", ".join(f"{lang} {size / 1e6:.3f} MB" for lang, size in sizes.items())
            + ". Heads are float32.",
            "",
        ]
        if "detected" in met:
            lines += [
                "Where the language is not known, `detect` tells it from the states of the "
                f"encoder: it was right for {met['detected']} of the {met['utterances']} "
                "utterances below. routing.csv of the study has more.",
                "",
            ]
        return [
            *lines,
            "Cut recordings of more than 30 s at pauses: attention takes memory with the square of "
            "the length. The study hears what is longer in overlapping windows of 30 s, which this "
            "network leaves to you.",
            "",
        ]

    def differences(self, about: Mapping[str, Any]) -> str:
        """Next to nothing."""
        return "The networks are those that were scored, and take the waveform as it is."


def detects(recognizer: Any) -> bool:
    """Whether the encoder of an opened bundle tells languages."""
    return "language" in [output.name for output in recognizer[0].get_outputs()]
