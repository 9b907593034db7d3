"""Network and tokens of a bundle: a waveform of 16 kHz in, log-probabilities out.

An encoder of raw audio that was trained on samples of mean 0 and variance 1 is written for
sherpa-onnx, whose model type for Omnilingual ASR scales samples so. Another one takes them as they
are, for ONNX Runtime.
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
        UserError: the encoder hears something that no graph makes of a waveform.
    """
    config, encoding = network.encoding.config, network.encoding
    what = settings.architecture_of(config).names[config["architecture"]]
    if not (form := encoding.waveform_form()):
        raise UserError(
            f"{what}: a bundle takes a waveform, and what this encoder hears of it is no part of a "
            "graph yet; take an arm on another encoder, or encoder.onnx of quantize.py"
        )
    graph = quantise(onnx_export.export_waveform(network))
    metadata = {
        "model_type": "omnilingual-asr",
        "version": "1",
        "vocab_size": network.blank + 1,
        "sample_rate": SAMPLE_RATE,
        "warmstart_form": form,
        "warmstart_context": json.dumps(tier.context),
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
