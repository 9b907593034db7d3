"""Bundles of whole utterances: CTC over the waveform, one network.

sherpa-onnx has one model type that takes a waveform, made for Omnilingual ASR
(`OfflineRecognizer.from_omnilingual_asr_ctc`). It scales the samples of an utterance to mean 0 and
variance 1 and gives the network nothing else, so it serves encoders that want just that. Networks
of others ship with a few lines for ONNX Runtime instead. The graph says which it is
(`warmstart_form`).

Source, read at version 1.13.4 and tried with 2.0.1: k2-fsa/sherpa-onnx,
sherpa-onnx/csrc/offline-omnilingual-asr-ctc-model.cc, offline-recognizer-ctc-impl.h.
"""

import inspect
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from warmstart.export import waveform_example
from warmstart.export.forms import Opened, require_loadable
from warmstart.export.sherpa import import_sherpa
from warmstart.models.tier import Seconds, Tier

SHERPA = "sherpa"
"""`warmstart_form` of a network that sherpa-onnx feeds."""


class OfflineCtc(Opened):
    """Encoder and head in one network, which hears a whole utterance."""

    native = "whole utterances"

    def open(self, folder: str | Path, threads: int = 1) -> Any:
        """In sherpa-onnx, or in ONNX Runtime where the network is not for that.

        Raises:
            UserError: a file is missing or cannot be loaded, or sherpa-onnx cannot be imported.
        """
        folder = Path(folder)
        (session,) = require_loadable(folder, self.form)
        if session.get_modelmeta().custom_metadata_map.get("warmstart_form") != SHERPA:
            return waveform_example.open_bundle(folder, threads)
        return import_sherpa().OfflineRecognizer.from_omnilingual_asr_ctc(
            model=str(folder / "model.onnx"),
            tokens=str(folder / "tokens.txt"),
            num_threads=threads,
        )

    def recognize(
        self,
        recognizer: Any,
        samples: Any,
        sample_rate: int,
        tier: Tier,
        front_s: Seconds,
        lang: str | None = None,
    ) -> list[str]:
        """One utterance; nothing is put in front of it."""
        if isinstance(recognizer, tuple):
            return waveform_example.recognize(recognizer, samples, sample_rate)
        stream = recognizer.create_stream()
        stream.accept_waveform(sample_rate, samples)
        recognizer.decode_stream(stream)
        return list(stream.result.tokens)

    # ---- in the README

    def opened_with(self, about: Mapping[str, Any]) -> str:
        """What it is opened with."""
        if about["loads_in"] == SHERPA:
            return super().opened_with(about)
        return (
            "sherpa-onnx has no model type for this encoder, which hears samples as they are, "
            "because the one that takes a waveform scales it first. These lines are a decoder, "
            f"with NumPy, soundfile and ONNX Runtime {about['versions']['onnxruntime']}:"
        )

    def heard(self, about: Mapping[str, Any]) -> str:
        """Whole utterances."""
        return "It hears whole utterances; nothing streams."

    def code(self, about: Mapping[str, Any]) -> list[str]:
        """Of one utterance."""
        read = 'samples, rate = soundfile.read("example.wav", dtype="float32")'
        if about["loads_in"] == SHERPA:
            return [
                "import sherpa_onnx, soundfile",
                "recognizer = sherpa_onnx.OfflineRecognizer.from_omnilingual_asr_ctc(",
                '    tokens="tokens.txt", model="model.onnx")',
                read,
                "stream = recognizer.create_stream()",
                "stream.accept_waveform(rate, samples)",
                "recognizer.decode_stream(stream)",
                "print(stream.result.text.strip())",
            ]
        shown = [waveform_example.open_bundle, waveform_example.recognize]
        return [
            "import numpy, onnxruntime, soundfile",
            *(line for each in shown for line in ["", *inspect.getsource(each).splitlines()]),
            "",
            read,
            'tokens = recognize(open_bundle("."), samples, rate)',
            'print("".join(tokens).replace("\\u2581", " ").strip())',
        ]

    def remarks(self, about: Mapping[str, Any]) -> list[str]:
        """On long recordings."""
        return [
            "Cut recordings of more than 30 s at pauses: attention takes memory with the square of "
            "the length. The study hears what is longer in overlapping windows of 30 s, which this "
            "network leaves to you.",
            "",
        ]

    def differences(self, about: Mapping[str, Any]) -> str:
        """Next to nothing."""
        if about["loads_in"] == SHERPA:
            return (
                "sherpa-onnx scales the samples a little otherwise than the encoder was trained "
                "on; the network undoes it, and what is left is rounding."
            )
        return "The network is the one that was scored, and takes the waveform as it is."
