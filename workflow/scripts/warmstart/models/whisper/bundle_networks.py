"""Networks, tokens and folder of a bundle of a Whisper."""

import base64
import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy
from torch import nn

from warmstart.models import onnx_file, quantised_weights
from warmstart.models.tier import Tier
from warmstart.models.whisper import hub_folder, onnx_export
from warmstart.models.whisper.network import Network
from warmstart.models.whisper.text import Text

if TYPE_CHECKING:
    import onnx

HUB = "huggingface"
"""Folder inside of a bundle."""

_TABLE = "embed_tokens.weight"


def write(
    network: Network,
    text: Text,
    tier: Tier,
    folder: Path,
    quantise: "Callable[[onnx.ModelProto], onnx.ModelProto]",
) -> dict[str, Any]:
    """Write `encoder.onnx`, `decoder.onnx`, `tokens.txt` and the folder `HUB`.

    The table of tokens from which the decoder reads is float16 where weights are quantised; as
    published files have it. To write it is quantised.

    Args:
        network: on the CPU, in eval mode.
        text: its tokenizer.
        tier: of the bundle.
        folder: gets them.
        quantise: what is done to the weights of a network.

    Returns:
        `architecture` in words, `feature_dim`, and `languages`: code of a study or of Whisper that
        sherpa-onnx may be told.
    """
    hub_folder.write(network, folder / HUB)
    languages = _languages(network)
    encoder = quantise(onnx_export.export_encoder(network))
    metadata = _metadata(network, text, languages) | {"warmstart_context": json.dumps(tier.context)}
    onnx_file.set_metadata(encoder, {key: str(value) for key, value in metadata.items()})
    onnx_file.save(encoder, folder / "encoder.onnx")
    decoder = quantise(onnx_export.export_decoder(network))
    if quantised_weights.dequantized_names(decoder):
        _halve_table(decoder)
    onnx_file.save(decoder, folder / "decoder.onnx")
    lines = [
        f"{base64.b64encode(raw).decode()} {token}"
        for token in range(network.tokens.end)
        if (raw := text.raw(token))
    ]
    (folder / "tokens.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return {
        "architecture": "Whisper",
        "feature_dim": network.said.config["num_mel_bins"],
        "languages": list(languages),
    }


def take(network: Network, folder: Path) -> None:
    """Give a network the weights of the networks of a bundle, dequantised."""
    import onnx

    # What reads and what writes is one table in the model, and are two in the networks.
    network.whisper.proj_out.weight = nn.Parameter(
        network.whisper.proj_out.weight.detach().clone(), requires_grad=False
    )
    for name in ("encoder.onnx", "decoder.onnx"):
        quantised_weights.load(network.whisper, folder / name, any_activations=True)
    graph = onnx.load(str(folder / "decoder.onnx"), load_external_data=False)
    if quantised_weights.dequantized_names(graph):
        table = network.whisper.model.decoder.embed_tokens.weight
        table.data = table.data.half().float()


def _languages(network: Network) -> dict[str, int]:
    """Code -> id of its token, of languages that borrow one too, these first: sherpa-onnx names a
    token by the last of its codes."""
    borrowed = {
        lang: network.language_token(lang)
        for lang in network.said.language_tokens
        if lang not in network.tokens.languages
    }
    return borrowed | dict(network.tokens.languages)


def _metadata(network: Network, text: Text, languages: dict[str, int]) -> dict[str, Any]:
    """What sherpa-onnx reads (k2-fsa/sherpa-onnx, sherpa-onnx/csrc/offline-whisper-model.cc)."""
    config, tokens = network.said.config, network.tokens
    first = next(iter(tokens.languages.values()), tokens.start)
    start = [tokens.start, first, tokens.transcribe] if tokens.languages else [tokens.start]
    return {
        "model_type": "whisper",
        "version": "1",
        "n_mels": config["num_mel_bins"],
        "n_audio_ctx": config["max_source_positions"],
        "n_audio_state": config["d_model"],
        "n_audio_head": config["encoder_attention_heads"],
        "n_audio_layer": config["encoder_layers"],
        "n_vocab": config["vocab_size"],
        "n_text_ctx": network.positions,
        "n_text_state": config["d_model"],
        "n_text_head": config["decoder_attention_heads"],
        "n_text_layer": config["decoder_layers"],
        "sot_sequence": ",".join(map(str, start)),
        "all_language_tokens": ",".join(map(str, languages.values())),
        "all_language_codes": ",".join(languages),
        "sot": tokens.start,
        "sot_index": 0,
        "eot": tokens.end,
        "blank_id": next(iter(text.encode("a")), tokens.end),
        "is_multilingual": int(bool(tokens.languages)),
        # Read and not used for anything here.
        "no_speech": tokens.no_timestamps - 1,
        "translate": tokens.transcribe,
        "transcribe": tokens.transcribe,
        "no_timestamps": tokens.no_timestamps,
    }


def _halve_table(graph: "onnx.ModelProto") -> None:
    """Keep the table of tokens in float16, of which a step reads a few rows."""
    from onnx import TensorProto, helper, numpy_helper

    (table,) = [one for one in graph.graph.initializer if one.name.endswith(_TABLE)]
    (gather,) = [node for node in graph.graph.node if table.name in node.input]
    exact = numpy_helper.to_array(table)
    table.CopyFrom(numpy_helper.from_array(exact.astype(numpy.float16), table.name))
    whole = gather.output[0]
    gather.output[0] = f"{whole}_half"
    cast = helper.make_node("Cast", [gather.output[0]], [whole], to=TensorProto.FLOAT)
    graph.graph.node.insert(list(graph.graph.node).index(gather) + 1, cast)
