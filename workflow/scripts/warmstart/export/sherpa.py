"""sherpa-onnx around a streaming bundle: open it, feed it a waveform.

sherpa-onnx makes its own features: frames half a hop late, edges reflected, another floor of the
logarithm. 165 ms of zeros in front line up frames and chunks.
"""

from abc import abstractmethod
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

from warmstart.export.forms import Opened, open_form, require_loadable
from warmstart.models.bundle_forms import DEFAULT_FORM
from warmstart.models.tier import UNIT_MS, Seconds, Tier
from warmstart.run.errors import UserError

# Zeros in front, in seconds. Its frames are centred half a hop late: 5 ms line them up. The first
# window is two encoder frames longer than the first chunk, and the export cuts them off: 160 ms
# more, and nothing of the audio is lost.
FRONT_S = 0.005 + 0.16


class _Streaming(Opened):
    """What the streaming forms share: how they are fed, and what their README says of it."""

    fronts = MappingProxyType(
        {"as it is": 0.0, "5 ms of zeros in front": 0.005, "165 ms of zeros in front": FRONT_S}
    )

    def open(self, folder: str | Path, threads: int = 1) -> Any:
        """Load a bundle in sherpa-onnx.

        Raises:
            UserError: a file is missing or cannot be loaded, or sherpa-onnx cannot be imported.
        """
        folder = Path(folder)
        encoder, *_ = require_loadable(folder, self.form)
        return self._open(import_sherpa(), folder, encoder.get_inputs()[0].shape[1], threads)

    @abstractmethod
    def _open(self, sherpa_onnx: Any, folder: Path, features: int, threads: int) -> Any:
        """The recogniser of files that can be loaded.

        Args:
            features: of a frame.
        """

    @abstractmethod
    def _opening(self, about: Mapping[str, Any]) -> list[str]:
        """`_open` as lines of the README."""

    def recognize(
        self,
        recognizer: Any,
        samples: Any,
        sample_rate: int,
        tier: Tier,
        front_s: Seconds,
        lang: str | None = None,
    ) -> list[str]:
        """See `recognize` of this module."""
        return recognize(recognizer, samples, sample_rate, tail_s(tier), front_s)

    def heard(self, about: Mapping[str, Any]) -> str:
        """Its tier."""
        tier = about["tier"]
        return (
            f"Latency tier {tier['name']}: chunks of {(tier['right'] + 1) * UNIT_MS} ms, "
            f"{tier['left'] * UNIT_MS} ms of left context."
        )

    def code(self, about: Mapping[str, Any]) -> list[str]:
        """A stream with the zeros in front and behind."""
        return [
            "import sherpa_onnx, soundfile",
            *self._opening(about),
            'samples, rate = soundfile.read("example.wav", dtype="float32")',
            "stream = recognizer.create_stream()",
            f"stream.accept_waveform(rate, [0.0] * round({FRONT_S} * rate))  # lines up its frames "
            "and chunks with the native ones",
            "stream.accept_waveform(rate, samples)",
            f"stream.accept_waveform(rate, [0.0] * round({tail_s(Tier(**about['tier']))} * rate))  "
            "# else the last words stay in its buffer",
            "stream.input_finished()",
            "while recognizer.is_ready(stream):",
            "    recognizer.decode_stream(stream)",
            "print(recognizer.get_result(stream))",
        ]

    def remarks(self, about: Mapping[str, Any]) -> list[str]:
        """On the end of an utterance."""
        return [
            "At the end of an utterance (endpoint detection) take a new stream, with the zeros in "
            "front, and not"
            " `recognizer.reset(stream)`: that empties the encoder's cache, the next window is "
            "taken for the first of a stream,"
            " and 16 frames are cut off its front, 7 of them not heard before (70 ms).",
            "",
        ]

    def differences(self, about: Mapping[str, Any]) -> str:
        """Features and windows."""
        return (
            "sherpa-onnx makes its own features, so it does not hear exactly what was scored. With "
            "the zeros above its frames and"
            " chunks are those of the native decode, and what is left is the edge of the signal; "
            "without them 160 ms are lost."
        )


class StreamingTransducer(_Streaming):
    """Encoder, predictor and joint."""

    def _open(self, sherpa_onnx: Any, folder: Path, features: int, threads: int) -> Any:
        return sherpa_onnx.OnlineRecognizer.from_transducer(
            tokens=str(folder / "tokens.txt"),
            encoder=str(folder / "encoder.onnx"),
            decoder=str(folder / "decoder.onnx"),
            joiner=str(folder / "joiner.onnx"),
            num_threads=threads,
            feature_dim=features,
            decoding_method="greedy_search",
        )

    def _opening(self, about: Mapping[str, Any]) -> list[str]:
        return [
            "recognizer = sherpa_onnx.OnlineRecognizer.from_transducer(",
            '    tokens="tokens.txt", encoder="encoder.onnx",',
            '    decoder="decoder.onnx", joiner="joiner.onnx",',
            f'    feature_dim={about["feature_dim"]}, decoding_method="greedy_search")',
        ]


class StreamingCtc(_Streaming):
    """Encoder and head in one network."""

    def _open(self, sherpa_onnx: Any, folder: Path, features: int, threads: int) -> Any:
        return sherpa_onnx.OnlineRecognizer.from_nemo_ctc(
            tokens=str(folder / "tokens.txt"),
            model=str(folder / "model.onnx"),
            num_threads=threads,
            feature_dim=features,
        )

    def _opening(self, about: Mapping[str, Any]) -> list[str]:
        return [
            "recognizer = sherpa_onnx.OnlineRecognizer.from_nemo_ctc(",
            '    tokens="tokens.txt", model="model.onnx",',
            f"    feature_dim={about['feature_dim']})",
        ]


def import_sherpa() -> Any:
    """The package.

    Raises:
        UserError: it cannot be imported.
    """
    try:
        import sherpa_onnx
    except ImportError as error:
        raise UserError(
            f"sherpa-onnx cannot be imported ({error}); install sherpa-onnx 2.0.1"
        ) from error
    return sherpa_onnx


def open_recognizer(folder: str | Path, threads: int = 1, form: str = DEFAULT_FORM) -> Any:
    """Load a bundle of a form, see `forms.Opened.open`.

    Raises:
        UserError: a file is missing or cannot be loaded, or sherpa-onnx cannot be imported.
    """
    return open_form(form).open(folder, threads)


def tail_s(tier: Tier) -> float:
    """Zeros behind the audio, in seconds: a chunk and two frames of 10 ms, so that its last window
    is decoded.

    Without them the last words stay in sherpa-onnx's buffer; with more, a model may hear words in
    the silence.
    """
    return round(tier.lookahead_ms / 1000 + 0.02, 2)


def open_stream(recognizer, samples, sample_rate: int, tail_s: float, front_s: float = FRONT_S):
    """A stream of sherpa-onnx that has been given a whole waveform (samples,) of any rate with
    zeros around it."""
    import numpy

    stream = recognizer.create_stream()
    front, tail = (
        numpy.zeros(round(seconds * sample_rate), dtype=numpy.float32)
        for seconds in (front_s, tail_s)
    )
    stream.accept_waveform(sample_rate, numpy.concatenate([front, samples, tail]))
    stream.input_finished()
    return stream


def recognize(
    recognizer, samples, sample_rate: int, tail_s: float, front_s: float = FRONT_S
) -> list[str]:
    """Tokens that sherpa-onnx finds in a waveform, see `open_stream`."""
    stream = open_stream(recognizer, samples, sample_rate, tail_s, front_s)
    while recognizer.is_ready(stream):
        recognizer.decode_stream(stream)
    return list(recognizer.tokens(stream))
