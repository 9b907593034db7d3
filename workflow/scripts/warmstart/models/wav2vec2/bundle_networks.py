"""Network and tokens of a bundle: a waveform of 16 kHz in, log-probabilities out.

An encoder that was trained on samples of mean 0 and variance 1, or to which mean and scale say
nothing, is written for sherpa-onnx, whose model type for Omnilingual ASR scales samples so. Another
one takes them as they are, for ONNX Runtime. What an encoder is given of the samples, a spectrogram
too, is computed by the network.
"""

import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import sentencepiece

from warmstart.models import onnx_file
from warmstart.models.tier import Tier
from warmstart.models.wav2vec2 import onnx_export, settings
from warmstart.models.wav2vec2.architectures.base import SAMPLE_RATE
from warmstart.models.wav2vec2.network import Network
from warmstart.run.errors import UserError

if TYPE_CHECKING:
    import onnx


def write(
    network: Network,
    pieces: sentencepiece.SentencePieceProcessor,
    tier: Tier,
    folder: Path,
    quantise: "Callable[[onnx.ModelProto], onnx.ModelProto]",
) -> dict[str, Any]:
    """Write `model.onnx` and `tokens.txt`.

    Args:
        network: on the CPU, in eval mode.
        quantise: what is done to its weights.

    Returns:
        `architecture` in words, `feature_dim` (one sample a step), and `loads_in`: `sherpa`, or
        `onnxruntime`.

    Raises:
        UserError: see `settings.export_refusal`.
    """
    config, encoding = network.encoding.config, network.encoding
    what = settings.architecture_of(config).names[config["architecture"]]
    if (why := settings.export_refusal(config)) is not None:
        raise UserError(why)
    form = encoding.waveform_form()
    graph = quantise(onnx_export.export_waveform(network))
    metadata = {
        "model_type": "omnilingual-asr",
        "version": "1",
        "vocab_size": network.blank + 1,
        "sample_rate": SAMPLE_RATE,
        "warmstart_form": form,
        "warmstart_context": json.dumps(tier.context),
        **({} if encoding.longest_s is None else {"longest_s": encoding.longest_s}),
    }
    onnx_file.set_metadata(graph, {key: str(value) for key, value in metadata.items()})
    onnx_file.save(graph, folder / "model.onnx")
    names = [pieces.id_to_piece(token) for token in range(pieces.vocab_size())]
    lines = [f"{name} {token}" for token, name in enumerate([*names, "<blk>"])]
    (folder / "tokens.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return {
        "architecture": f"{what} with CTC",
        "feature_dim": 1,
        "loads_in": "sherpa" if form == "sherpa" else "onnxruntime",
    }
