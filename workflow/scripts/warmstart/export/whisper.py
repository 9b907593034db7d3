"""Bundles of a Whisper: sherpa-onnx's offline Whisper recogniser, and a folder for transformers.

sherpa-onnx frames the audio half a hop later than Whisper does, and has no frame beyond its end: 5
ms of zeros in front and 30 ms behind line them up. Everything else that it does otherwise is undone
in the networks (`models.whisper.onnx_export`).

Source, read at version 1.12 and tried with 2.0.1: k2-fsa/sherpa-onnx,
sherpa-onnx/csrc/offline-recognizer-whisper-impl.h, offline-stream.cc; csukuangfj/
kaldi-native-fbank, whisper-feature.cc.
"""

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

from warmstart.export.forms import Opened, require_loadable
from warmstart.export.sherpa import import_sherpa
from warmstart.models.tier import Seconds, Tier

FRONT_S, BEHIND_S = 0.005, 0.03


class Recognizers:
    """A recogniser of sherpa-onnx, which is told a language when it is made; the last one is kept.

    Args:
        folder: of the bundle.
        threads: of ONNX Runtime.
    """

    def __init__(self, folder: Path, threads: int):
        self._folder, self._threads = folder, threads
        self._lang, self._made = "", None

    def of(self, lang: str | None) -> Any:
        """That of a language; one that tells it itself for None."""
        if self._made is None or self._lang != (lang or ""):
            self._lang = lang or ""
            self._made = import_sherpa().OfflineRecognizer.from_whisper(
                encoder=str(self._folder / "encoder.onnx"),
                decoder=str(self._folder / "decoder.onnx"),
                tokens=str(self._folder / "tokens.txt"),
                language=self._lang,
                num_threads=self._threads,
            )
        return self._made


class OfflineWhisper(Opened):
    """Encoder and decoder, which hear up to 29 s."""

    native = "whole utterances, told the language"
    fronts = MappingProxyType({"as it is": 0.0, "5 ms in front, 30 ms behind": FRONT_S})

    def open(self, folder: str | Path, threads: int = 1) -> Recognizers:
        """In sherpa-onnx.

        Raises:
            UserError: a file is missing or cannot be loaded, or sherpa-onnx cannot be imported.
        """
        require_loadable(Path(folder), self.form)
        import_sherpa()
        return Recognizers(Path(folder), threads)

    def recognize(
        self,
        recognizer: Recognizers,
        samples: Any,
        sample_rate: int,
        tier: Tier,
        front_s: Seconds,
        lang: str | None = None,
    ) -> list[str]:
        """The text of one utterance in a language, as one token: those of Whisper may be parts of a
        letter."""
        import numpy

        opened = recognizer.of(lang)
        stream = opened.create_stream()
        if front_s:
            around = round(front_s * sample_rate), round(BEHIND_S * sample_rate)
            samples = numpy.pad(samples, around)
        stream.accept_waveform(sample_rate, samples)
        opened.decode_stream(stream)
        return [stream.result.text]

    # ---- in the README

    def heard(self, about: Mapping[str, Any]) -> str:
        """Whole utterances."""
        return "It hears whole utterances of up to 29 s; nothing streams."

    def code(self, about: Mapping[str, Any]) -> list[str]:
        """With the zeros around."""
        return [
            "import numpy, sherpa_onnx, soundfile",
            "recognizer = sherpa_onnx.OfflineRecognizer.from_whisper(",
            '    encoder="encoder.onnx", decoder="decoder.onnx", tokens="tokens.txt",',
            f'    language="{about["example"]["lang"] or ""}")  # "" tells it from the audio',
            'samples, rate = soundfile.read("example.wav", dtype="float32")',
            f"zeros = round({FRONT_S} * rate), round({BEHIND_S} * rate)  # line up its frames",
            "stream = recognizer.create_stream()",
            "stream.accept_waveform(rate, numpy.pad(samples, zeros))",
            "recognizer.decode_stream(stream)",
            "print(stream.result.text.strip())",
        ]

    def remarks(self, about: Mapping[str, Any]) -> list[str]:
        """On transformers, and long recordings."""
        return [
            "`huggingface/` is the same model for transformers, in float32 and not quantised, with "
            'its tokenizer: `transformers.pipeline("automatic-speech-recognition", '
            'model="huggingface")`, whose `generate_kwargs={"language": ...}` tells it the '
            "language. It writes the tokens that the study's decode of `full` writes, where an "
            "utterance is heard in a window of 30 s.",
            "",
            "Cut recordings of more than 29 s at pauses: sherpa-onnx leaves out what is behind. It "
            "writes no more than half of the decoder's positions.",
            "",
        ]

    def differences(self, about: Mapping[str, Any]) -> str:
        """Of features."""
        return (
            "sherpa-onnx makes its own features, which differ in the first 12 ms and by rounding "
            "once there are zeros around."
        )
