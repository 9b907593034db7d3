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
import torch

from warmstart.models import onnx_file
from warmstart.models.base import LanguageScores
from warmstart.models.bundle_forms import FORMS
from warmstart.models.tier import Tier
from warmstart.models.wav2vec2 import onnx_export, settings
from warmstart.models.wav2vec2.architectures.base import SAMPLE_RATE
from warmstart.models.wav2vec2.network import Network
from warmstart.run.errors import UserError

if TYPE_CHECKING:
    import onnx

_FORM = FORMS["offline_ctc_heads"]


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
        pieces: its tokenizer.
        tier: of the bundle.
        folder: gets both.
        quantise: what is done to its weights.

    Returns:
        `architecture` in words, `feature_dim` (one sample a step), and `loads_in`: `sherpa`, or
        `onnxruntime`.

    Raises:
        UserError: see `settings.export_refusal`.
    """
    what = _exported(network)
    scaled = network.encoding.hears_scaled()
    metadata = {
        "model_type": "omnilingual-asr",
        "version": "1",
        "vocab_size": network.blank + 1,
        **_metadata(network, tier, "sherpa" if scaled else "waveform"),
    }
    _save(quantise(onnx_export.export_waveform(network, scaled)), metadata, folder / "model.onnx")
    _write_tokens(pieces, folder / "tokens.txt")
    return {
        "architecture": f"{what} with CTC",
        "feature_dim": 1,
        "loads_in": "sherpa" if scaled else "onnxruntime",
    }


def write_heads(
    network: Network,
    pieces_of: Callable[[str], sentencepiece.SentencePieceProcessor],
    tier: Tier,
    folder: Path,
    quantise: "Callable[[onnx.ModelProto], onnx.ModelProto]",
    identifier: LanguageScores | None,
) -> dict[str, Any]:
    """Write `encoder.onnx`, and of each language `head_{lang}.onnx`, in float32, and
    `tokens_{lang}.txt`.

    Args:
        network: with a head a language, on the CPU, in eval mode.
        pieces_of: the tokenizer of a head.
        tier, folder, quantise: as of `write`.
        identifier: becomes the encoder's second output.

    Returns:
        As `write`.

    Raises:
        UserError: see `settings.export_refusal`, or an identifier of other languages.
    """
    what = _exported(network)
    metadata = {
        **_metadata(network, tier, "waveform"),
        "heads": ",".join(network.languages),
    }
    scores = None
    if identifier is not None:
        if sorted(identifier.languages) != sorted(network.languages):
            raise UserError(
                f"the identifier tells {', '.join(identifier.languages)}, and the model has heads "
                f"of {', '.join(network.languages)}; identify the languages of this model"
            )
        order = [identifier.languages.index(lang) for lang in network.languages]
        scores = onnx_export.Identifier(
            torch.tensor(identifier.coefficients)[order], torch.tensor(identifier.intercepts)[order]
        )
        metadata["heard_s"] = "all" if identifier.heard_s is None else identifier.heard_s
    graph = onnx_export.export_waveform(network, scaled=False, identifier=scores)
    _save(quantise(graph), metadata, folder / "encoder.onnx")
    for lang in network.languages:
        name, tokens = _FORM.of_head(lang)
        _save(onnx_export.export_head(network, lang), {"language": lang}, folder / name)
        _write_tokens(pieces_of(lang), folder / tokens)
    return {
        "architecture": f"{what} with a CTC head a language",
        "feature_dim": 1,
        "loads_in": "onnxruntime",
    }


def _exported(network: Network) -> str:
    """The encoder in words.

    Raises:
        UserError: see `settings.export_refusal`.
    """
    config = network.encoding.config
    if (why := settings.export_refusal(config)) is not None:
        raise UserError(why)
    return settings.architecture_of(config).names[config["architecture"]]


def _metadata(network: Network, tier: Tier, form: str) -> dict[str, Any]:
    longest_s = network.encoding.longest_s
    return {
        "sample_rate": SAMPLE_RATE,
        "warmstart_form": form,
        "warmstart_context": json.dumps(tier.context),
        **({} if longest_s is None else {"longest_s": longest_s}),
    }


def _save(graph: "onnx.ModelProto", metadata: dict[str, Any], path: Path) -> None:
    onnx_file.set_metadata(graph, {key: str(value) for key, value in metadata.items()})
    onnx_file.save(graph, path)


def _write_tokens(pieces: sentencepiece.SentencePieceProcessor, path: Path) -> None:
    names = [pieces.id_to_piece(token) for token in range(pieces.vocab_size())]
    lines = [f"{name} {token}" for token, name in enumerate([*names, "<blk>"])]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
