"""sherpa-onnx around a bundle: open it, feed it a waveform, compare its text with the native
decode.

sherpa-onnx makes its own features: frames half a hop late, edges reflected, another floor of the
logarithm. 165 ms of zeros in front line up frames and chunks.
"""

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from warmstart.models.base import Decoder
from warmstart.models.tier import Tier
from warmstart.run.errors import UserError

FILES = ("encoder.onnx", "decoder.onnx", "joiner.onnx", "tokens.txt", "example.wav", "README.md")


# Zeros in front, in seconds. Its frames are centred half a hop late: 5 ms line them up. The first
# window is two encoder frames longer than the first chunk, and the export cuts them off: 160 ms
# more, and nothing of the audio is lost.
FRONT_S = 0.005 + 0.16


_FRONTS = {"as it is": 0.0, "5 ms of zeros in front": 0.005, "165 ms of zeros in front": FRONT_S}


def open_recognizer(folder: str | Path, threads: int = 1):
    """Load a bundle in sherpa-onnx.

    Raises:
        UserError: a file is missing or cannot be loaded, or sherpa-onnx cannot be imported.
    """
    folder = Path(folder)
    if missing := [name for name in FILES[:4] if not (folder / name).is_file()]:
        raise UserError(
            f"{folder}: the bundle lacks {', '.join(missing)}; make it again with build_bundle.py"
        )
    try:
        import sherpa_onnx
    except ImportError as error:
        raise UserError(
            f"sherpa-onnx cannot be imported ({error}); install sherpa-onnx 2.0.1"
        ) from error
    import onnxruntime

    # sherpa-onnx ends the whole process on a graph that it cannot load.
    for name in FILES[:3]:
        try:
            session = onnxruntime.InferenceSession(
                str(folder / name), providers=["CPUExecutionProvider"]
            )
        except Exception as error:  # onnxruntime raises a dozen classes of its own
            raise UserError(
                f"{folder / name}: ONNX Runtime {onnxruntime.__version__} cannot load it "
                f"({error}); make the bundle again"
            ) from error
        if name == "encoder.onnx":
            features = session.get_inputs()[0].shape[1]
    return sherpa_onnx.OnlineRecognizer.from_transducer(
        tokens=str(folder / "tokens.txt"),
        encoder=str(folder / "encoder.onnx"),
        decoder=str(folder / "decoder.onnx"),
        joiner=str(folder / "joiner.onnx"),
        num_threads=threads,
        feature_dim=features,
        decoding_method="greedy_search",
    )


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


def agreement(folder: Path, decoder: Decoder, waveforms: Sequence) -> dict[str, Any]:
    """How often sherpa-onnx gives the text of the native decode with the same weights, and how far
    apart they are in words."""
    import jiwer

    sample_rate = decoder.sample_rate
    recognizer = open_recognizer(folder)
    native = [hypothesis.text.split() for hypothesis in decoder.decode(waveforms)]
    result: dict[str, Any] = {"utterances": len(waveforms), "native_words": sum(map(len, native))}
    result["variants"] = []
    started = time.perf_counter()
    for name, front_s in _FRONTS.items():
        tokens = [
            recognize(recognizer, samples, sample_rate, tail_s(decoder.tier), front_s)
            for samples in waveforms
        ]
        # SentencePiece marks word starts with U+2581; sherpa-onnx gives a space in its place.
        result["sherpa_onnx_s"] = time.perf_counter() - started
        texts = ["".join(row).replace("\u2581", " ").split() for row in tokens]
        # A word where the native decode has none is an error too.
        counts = jiwer.process_words(
            [" ".join(words) for words in native], [" ".join(words) for words in texts]
        )
        errors = counts.substitutions + counts.deletions + counts.insertions
        identical = sum(left == right for left, right in zip(native, texts, strict=True))
        result["variants"].append(
            {"variant": name, "identical": identical, "differing_words": errors}
        )
        started = time.perf_counter()
    # Of the last variant, the one to be used: features, encoder, search, all of sherpa-onnx on one
    # thread.
    result["rtfx"] = round(sum(map(len, waveforms)) / sample_rate / result.pop("sherpa_onnx_s"), 2)
    return result
