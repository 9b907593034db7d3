"""A trained Whisper as a folder in the layout of the Hugging Face hub."""

import json
from pathlib import Path
from typing import Any

from warmstart.models.whisper.network import Network
from warmstart.models.whisper.vocabulary import TOKENIZER


def write(network: Network, folder: Path) -> None:
    """Write weights, settings and tokenizer, from which
    `transformers.pipeline("automatic-speech-recognition")` decodes.

    Args:
        network: with its weights merged, on the CPU.
        folder: is made.
    """
    from safetensors.torch import save_file
    from transformers import GenerationConfig, WhisperFeatureExtractor

    config = network.said.config
    folder.mkdir(parents=True)
    network.whisper.config.architectures = ["WhisperForConditionalGeneration"]
    network.whisper.config.save_pretrained(folder)
    tensors = {name: value.contiguous() for name, value in network.tensors().items()}
    # One key, because the order of several is not the same twice.
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    GenerationConfig(**_generation(network)).save_pretrained(folder)
    WhisperFeatureExtractor(feature_size=config["num_mel_bins"]).save_pretrained(folder)
    (folder / TOKENIZER).write_bytes(network.said.tokenizer)
    tokenizer = {
        "tokenizer_class": "WhisperTokenizer",
        "model_max_length": network.positions,
        **{f"{name}_token": "<|endoftext|>" for name in ("bos", "eos", "pad", "unk")},
    }
    text = json.dumps(tokenizer, indent=2, sort_keys=True) + "\n"
    (folder / "tokenizer_config.json").write_text(text, encoding="utf-8")


def _generation(network: Network) -> dict[str, Any]:
    """What `generate` of transformers needs to write as the study's decoder does."""
    config, tokens = network.said.config, network.tokens
    made = {
        "bos_token_id": tokens.end,
        "eos_token_id": tokens.end,
        "pad_token_id": tokens.end,
        "decoder_start_token_id": tokens.start,
        "no_timestamps_token_id": tokens.no_timestamps,
        "max_length": network.positions,
        # Of the pipeline's own five beams the text is another one.
        "num_beams": 1,
        "is_multilingual": bool(tokens.languages),
        **{name: list(config[name]) for name in ("suppress_tokens", "begin_suppress_tokens")},
    }
    if tokens.languages:
        made["lang_to_id"] = {f"<|{code}|>": token for code, token in tokens.languages.items()}
        # Without it, transformers leaves the task out where it tells the language itself.
        made |= {"task": "transcribe", "task_to_id": {"transcribe": tokens.transcribe}}
    return made
