"""Streaming encoders as ONNX graphs, with weight-only quantised matrices, and the same weights back in PyTorch.

One graph a tier: the window of R + 1 encoder frames and the cache are constants, so the positional projections of all layers
are constants too. The graph is `EncoderSteps`: it caches keys and values, where NeMo's own export caches the inputs of the
attention and projects all of them again at every chunk. Pointwise convolutions are matrix products there, which is what
`MatMulNBits` needs. Inputs and outputs have the names and the order of NeMo's export; `cache_last_channel` is (B, 2 layers,
heads x left, D / heads), the keys of a layer, then its values. Two forms share their packed weights:

- native: drops the encoder frames that were given before only when something was; this equals NeMo's native chunks and the full
  forward. For `streaming.OnnxEncoder`.
- windows: takes windows of one size, as sherpa-onnx cuts them, and makes native chunks of them. NeMo's own export drops
  repeated frames of every window, of the first one too, which loses 160 ms and encodes what lies before the audio: no chunk
  that the model was trained on. Here the surplus of the first window is cut off its front, so that 160 ms of anything before
  the audio give exactly the native chunks; and sherpa-onnx's log, floored at 2^-23, becomes NeMo's log(x + 2^-24).

All of NeMo's and torch's exporters are called inside functions: see `streaming`.
"""

import contextlib
import copy
import io
import json
import logging
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from warmstart import files, streaming
from warmstart.errors import UserError

if TYPE_CHECKING:
    import numpy
    import onnx
    import torch

OPSET = 17
SCHEMES = ("k_quant", "rtn", "default", "fp32")
INPUTS = ["audio_signal", "length", "cache_last_channel", "cache_last_time", "cache_last_channel_len"]
OUTPUTS = ["outputs", "encoded_lengths", "cache_last_channel_next", "cache_last_time_next", "cache_last_channel_next_len"]

# protobuf refuses larger messages; behind it the weights lie beside the graph.
_PROTOBUF_LIMIT_BYTES = 2_000_000_000
_DATA_DIGEST = "warmstart_data_sha256"

# kaldi-native-fbank floors energies at float32's epsilon, 2^-23, before its logarithm: -15.9424; a little above it.
_SHERPA_LOG_FLOOR = -15.942

_LOG = logging.getLogger("warmstart.quantization")


@dataclass(frozen=True)
class Scheme:
    """How weights are stored.

    Args:
        scheme: `k_quant` (asymmetric blocks, scales searched for least squared error), `rtn` (symmetric, round to nearest),
            `default` (ONNX Runtime's asymmetric round to nearest), `fp32` (not quantised: the baseline of the others).
        bits: 4 or 8.
        block_size: weights of a row that share a scale.
        accuracy_level: 0 = fp32 activations; 4 = int8 activations, faster, and not what the dequantised weights compute.
    """

    scheme: str = "k_quant"
    bits: int = 4
    block_size: int = 32
    accuracy_level: int = 0

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> "Scheme":
        """Read the settings of a precision.

        Raises:
            UserError: unknown key or value.
        """
        try:
            made = cls(**value)
        except TypeError as error:
            allowed = ", ".join(cls.__annotations__)
            raise UserError(f"quantisation settings {json.dumps(value)}: {error}; allowed: {allowed}") from None
        allowed = {"scheme": SCHEMES, "bits": (4, 8), "block_size": (16, 32, 64, 128, 256), "accuracy_level": (0, 4)}
        for key, values in allowed.items():
            if getattr(made, key) not in values:
                raise UserError(f"quantisation {key} is {getattr(made, key)!r}; allowed: {', '.join(map(str, values))}")
        return made


# ---- export -----------------------------------------------------------------------------------------------------------


class _Names:
    """Which matrices a trace multiplies with, in order: torch's exporter names nodes by calls, not by modules."""

    def __init__(self, linears: dict[str, "torch.nn.Linear"]):
        self._linears = linears
        self.called: list[str] = []

    def __enter__(self) -> "_Names":
        self._hooks = [
            linear.register_forward_pre_hook(lambda *_, name=name: self.called.append(name))
            for name, linear in self._linears.items()
        ]
        return self

    def __exit__(self, *_) -> None:
        for hook in self._hooks:
            hook.remove()

    def give(self, model: "onnx.ModelProto") -> None:
        """Name every product with a matrix by its module.

        Raises:
            RuntimeError: the exporter has left out or moved one.
        """
        import numpy
        from onnx import numpy_helper

        tensors = {tensor.name: tensor for tensor in model.graph.initializer}
        products = [node for node in weight_products(model) if len(tensors[node.input[1]].dims) == 2]
        if len(products) != len(self.called):
            raise RuntimeError(f"{len(self.called)} matrices were multiplied with, {len(products)} are in the graph")
        for node, name in zip(products, self.called, strict=True):
            weight = self._linears[name].weight.detach().cpu().numpy()
            if not numpy.array_equal(numpy_helper.to_array(tensors[node.input[1]]), weight.T):
                raise RuntimeError(f"node {node.name} of the graph does not hold the weight of {name}")
            node.name = f"{name}/{node.op_type}"


def _exportable(encoder, tier: streaming.Tier, native: bool, log_guard: float) -> tuple["torch.nn.Module", dict]:
    """A step as a module of `INPUTS`, and the matrices in it by name."""
    import torch

    from warmstart.encoder_steps import EncoderSteps

    steps = EncoderSteps(encoder)
    shape = streaming.ChunkShape.of(encoder)
    attention = encoder.layers[0].self_attn
    layers, heads, size, frames = len(encoder.layers), attention.h, attention.d_k, tier.right + 1
    # Feature frames by which a window is longer than a first chunk, and encoder frames that its repeated ones give again.
    surplus, dropped = shape.again + shape.later - shape.first, 1 + (shape.again - 1) // 8

    # Windows of streams that are not equally far in a batch: the first ones have nothing in front, behind a first chunk of one
    # frame the second ones have one frame, and all later ones two. Every way is computed, and of each stream its own is taken.
    fewer = range(0, dropped, frames)  # than two in front
    convolutions = copy.copy(encoder.pre_encode)  # without its matrix, which then multiplies once
    convolutions._modules = {**encoder.pre_encode._modules, "out": torch.nn.Identity()}

    class Step(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.encoder = encoder
            self.convolutions = convolutions
            self.linears = torch.nn.ModuleList(steps.linears.values())  # what is no part of it becomes no initializer

        def forward(self, audio_signal, length, cache_last_channel, cache_last_time, cache_last_channel_len):
            subsampled = self.chunk if native else self.window
            x, lengths = subsampled(audio_signal.transpose(1, 2), length, cache_last_channel_len.clamp(max=dropped))
            attended = cache_last_channel.view(-1, 2 * layers, heads, tier.left, size).unbind(1)
            caches = list(zip(attended[::2], attended[1::2], cache_last_time.unbind(1), strict=True))
            x, lengths, (caches, filled) = steps.encode(x, lengths, frames, (caches, cache_last_channel_len))
            attended = torch.stack([part for keys, values, _ in caches for part in (keys, values)], dim=1)
            return (
                x.transpose(1, 2),
                lengths,
                attended.view(-1, 2 * layers, heads * tier.left, size),
                torch.stack([past for *_, past in caches], dim=1),
                filled,
            )

        def chunk(self, features, length, repeated):
            repeated = repeated.max()  # utterances of a batch are equally far
            x, lengths = self.encoder.pre_encode(x=features, lengths=length)
            return x[:, repeated:], lengths.to(torch.int64) - repeated

        def window(self, features, length, repeated):
            if log_guard:
                guarded = torch.log(torch.exp(features) + log_guard)
                # What lay under the floor is unknown; -15.94 is within NeMo's own range of it, -16.64 to -15.53.
                features = torch.where(features > _SHERPA_LOG_FLOOR, guarded, features)
            x, lengths = self.behind(features, length, dropped)
            for count in fewer:
                found, counts = self.behind(features, length, count)
                its_way = repeated == count
                x, lengths = torch.where(its_way[:, None, None], found, x), torch.where(its_way, counts, lengths)
            return self.encoder.pre_encode.out(x), lengths

        def behind(self, features, length, repeated):
            before_the_audio = surplus - 8 * repeated
            x, lengths = self.convolutions(x=features[:, before_the_audio:], lengths=length - before_the_audio)
            return x[:, repeated:], lengths.to(torch.int64) - repeated

    return Step().eval(), steps.linears


def cache_shapes(encoder) -> tuple[tuple[int, int, int], tuple[int, int, int]]:
    """Shapes of `cache_last_channel` and `cache_last_time` for the context that is set, without the batch."""
    attention, convolution = encoder.layers[0].self_attn, encoder.layers[0].conv.depthwise_conv
    layers, left = len(encoder.layers), encoder.att_context_size[0]
    return (
        (2 * layers, attention.h * left, attention.d_k),
        (layers, convolution.in_channels, convolution.kernel_size[0] - 1),
    )


def require_exportable(tier: streaming.Tier) -> None:
    """Refuse before anything is loaded what `export` cannot do.

    Raises:
        UserError: a left context of less than two frames.
    """
    if not tier.exportable:
        raise UserError(
            f"tier {tier.name} has a left context of {tier.left}; an encoder is exported with one of 2 frames or more: take"
            " another tier"
        )


def export(encoder, tier: streaming.Tier, native: bool = True, log_guard: float = 0.0) -> "onnx.ModelProto":
    """Export one streaming step of a PyTorch encoder (on the CPU) as a graph with float32 weights inside.

    For an offline tier this is a step with the same context; its weights serve the full forward (`load_weights`).

    Args:
        native: the form, see above.
        log_guard: what the features of the model add before the logarithm (0: nothing); for windows.

    Raises:
        UserError: the tier was not trained, or see `require_exportable`.
    """
    import onnx
    import torch

    require_exportable(tier)

    streaming.set_tier(encoder, tier)
    shape = streaming.ChunkShape.of(encoder)
    window = shape.again + shape.later
    with torch.no_grad(), tempfile.TemporaryDirectory() as folder:
        step, linears = _exportable(encoder, tier, native, log_guard)
        channel, convolution = cache_shapes(encoder)
        example = (
            torch.randn(2, encoder._feat_in, window),
            torch.tensor([window, window - 3]),
            torch.randn(2, *channel),
            torch.randn(2, *convolution),
            torch.tensor([tier.left, tier.left]),
        )
        path = Path(folder) / "encoder.onnx"
        dynamic = {name: {0: "batch"} for name in INPUTS + OUTPUTS}
        if native:
            dynamic["audio_signal"][2] = "time"
        with _Names(linears) as names:
            torch.onnx.export(
                step, example, str(path), input_names=INPUTS, output_names=OUTPUTS, opset_version=OPSET, dynamic_axes=dynamic,
                dynamo=False
            )  # fmt: skip
        model = onnx.load(str(path))
        names.give(model)
        return model


def module_of(node_name: str) -> str:
    """PyTorch module of the encoder behind a product with its matrix: `layers.0.self_attn.linear_q/MatMul`."""
    return node_name.rpartition("/")[0]


def weight_products(model: "onnx.ModelProto") -> list["onnx.NodeProto"]:
    """The matrix products whose second factor is a weight."""
    weights = {tensor.name for tensor in model.graph.initializer}
    return [node for node in model.graph.node if node.op_type == "MatMul" and node.input[1] in weights]


# ---- quantise ---------------------------------------------------------------------------------------------------------


def quantize(model: "onnx.ModelProto", scheme: Scheme) -> "onnx.ModelProto":
    """Quantise every weight matrix that can be, in place; the others stay float32 (`reasons_to_leave`)."""
    import onnx
    from onnxruntime.quantization import matmul_nbits_quantizer as nbits

    if scheme.scheme == "fp32":
        return model
    products = weight_products(model)
    shapes = {tensor.name: tuple(tensor.dims) for tensor in model.graph.initializer}
    left_out = [node.name for node in products if _why_not(shapes[node.input[1]], scheme)]
    if scheme.scheme == "default":
        algorithm = nbits.DefaultWeightOnlyQuantConfig(
            block_size=scheme.block_size, is_symmetric=False, accuracy_level=scheme.accuracy_level or None, bits=scheme.bits
        )
    else:
        kind = nbits.KQuantWeightOnlyQuantConfig if scheme.scheme == "k_quant" else nbits.RTNWeightOnlyQuantConfig
        algorithm = kind(customized_weight_config={node.name: {"bits": scheme.bits} for node in products})
    quantizer = nbits.MatMulNBitsQuantizer(
        model,
        bits=scheme.bits,
        block_size=scheme.block_size,
        is_symmetric=scheme.scheme == "rtn",
        accuracy_level=scheme.accuracy_level or None,
        nodes_to_exclude=left_out,
        algo_config=algorithm,
    )
    logging.getLogger("neural_compressor").setLevel(logging.WARNING)  # k_quant asks for a GPU's library at every layer
    with contextlib.redirect_stdout(io.StringIO()):  # it draws a progress bar
        quantizer.process()
    quantized = quantizer.model.model
    # k_quant and RTN forget to import the domain of MatMulNBits.
    if not any(imported.domain == "com.microsoft" for imported in quantized.opset_import):
        quantized.opset_import.append(onnx.helper.make_opsetid("com.microsoft", 1))
    return quantized


def reasons_to_leave(model: "onnx.ModelProto", scheme: Scheme) -> dict[str, str | None]:
    """Why the weight of each module with a matrix product stays float32, or None, before `quantize`."""
    shapes = {tensor.name: tuple(tensor.dims) for tensor in model.graph.initializer}
    return {module_of(node.name): _why_not(shapes[node.input[1]], scheme) for node in weight_products(model)}


def _why_not(shape: tuple[int, ...], scheme: Scheme) -> str | None:
    """Why a (K, N) weight cannot be quantised, or None."""
    if scheme.scheme == "fp32":
        return "scheme fp32"
    if len(shape) != 2:
        return f"{len(shape)} dimensions"
    if shape[0] % scheme.block_size:
        return f"{shape[0]} rows are no multiple of the block size {scheme.block_size}"
    if scheme.bits == 4 and shape[0] // scheme.block_size % 2 and scheme.scheme != "default":
        # onnxruntime.quantization 1.31 packs two zero points to a byte and fails on an odd count.
        return f"{shape[0]} rows are an odd number of blocks"
    return None


def dequantize(node: "onnx.NodeProto", tensors: dict[str, "numpy.ndarray"]) -> "numpy.ndarray":
    """The weight that a `MatMulNBits` node multiplies with.

    Source: ONNX Runtime, docs/ContribOperators.md, com.microsoft.MatMulNBits: weight = (quantised - zero_point) * scale.

    Returns:
        float32 (N, K), as in `torch.nn.Linear.weight`.
    """
    import numpy

    attributes = {attribute.name: attribute.i for attribute in node.attribute}
    rows, columns, bits, block = (attributes[name] for name in ("N", "K", "bits", "block_size"))
    blocks = -(-columns // block)

    def unpack(packed: numpy.ndarray, count: int) -> numpy.ndarray:
        packed = packed.reshape(rows, -1).view(numpy.uint8)
        if bits == 8:
            return packed[:, :count]
        return numpy.stack([packed & 15, packed >> 4], axis=-1).reshape(rows, -1)[:, :count]

    values = unpack(tensors[node.input[1]], blocks * block).reshape(rows, blocks, block).astype(numpy.float32)
    scales = tensors[node.input[2]].reshape(rows, blocks, 1).astype(numpy.float32)
    if len(node.input) > 3 and node.input[3]:
        zeros = unpack(tensors[node.input[3]], blocks).reshape(rows, blocks, 1).astype(numpy.float32)
    else:
        zeros = numpy.float32(1 << (bits - 1))
    return ((values - zeros) * scales).reshape(rows, -1)[:, :columns]


def dequantized(model: "onnx.ModelProto") -> dict[str, "numpy.ndarray"]:
    """Dequantised weights (N, K) by module of the encoder."""
    from onnx import numpy_helper

    tensors = {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
    return {module_of(node.name): dequantize(node, tensors) for node in model.graph.node if node.op_type == "MatMulNBits"}


def load_weights(encoder, path: str | Path, any_activations: bool = False) -> None:
    """Write the dequantised weights of an encoder file into the PyTorch encoder it was made of.

    PyTorch then computes what the graph computes, on a GPU and without chunks as well; `any_activations` takes the weights of a
    graph with int8 activations too, and then it does not.

    Raises:
        UserError: the graph has int8 activations, which weights alone do not reproduce, or does not fit the encoder; or see
            `require_data`.
    """
    import onnx
    import torch

    model = onnx.load(str(path), load_external_data=False)
    require_data(path, metadata_of(model))
    onnx.load_external_data_for_model(model, str(Path(path).parent))
    if accuracy_levels(model) - {0} and not any_activations:
        raise UserError(
            f"{path}: made with accuracy_level 4 (int8 activations), which PyTorch does not compute; decode it at a streaming"
            " tier on the CPU (decoding.device: cpu), or use accuracy_level 0"
        )
    modules = dict(encoder.named_modules())
    with torch.no_grad():
        for name, weight in dequantized(model).items():
            target = getattr(modules.get(name), "weight", None)
            if target is None or target.numel() != weight.size:
                raise UserError(f"{path}: layer {name} with {weight.size} weights is not in this model; run quantize.py again")
            target.copy_(torch.from_numpy(weight).view(target.shape))


def accuracy_levels(model: "onnx.ModelProto") -> set[int]:
    """The `accuracy_level` values in a graph; 0 = fp32 activations."""
    found = set()
    for node in model.graph.node:
        if node.op_type == "MatMulNBits":
            found.add(next((attribute.i for attribute in node.attribute if attribute.name == "accuracy_level"), 0))
    return found


# ---- report -----------------------------------------------------------------------------------------------------------


def layer_report(encoder, quantized: "onnx.ModelProto", reasons: dict[str, str | None]) -> dict[str, Any]:
    """Which weights are quantised, with the relative error ||W - W'|| / ||W||, and which are left, and why.

    Args:
        reasons: by module with a matrix product, from `reasons_to_leave`.
    """
    import numpy

    modules = dict(encoder.named_modules())
    done = []
    for name, weight in dequantized(quantized).items():
        exact = modules[name].weight.detach().cpu().numpy().reshape(weight.shape)
        error = float(numpy.linalg.norm(exact - weight) / numpy.linalg.norm(exact))
        done.append({"layer": name, "shape": list(weight.shape), "relative_error": round(error, 6)})
    quantised_names = {layer["layer"] for layer in done}
    left = []
    for name, parameter in encoder.named_parameters():
        owner = name.rpartition(".")[0]
        if name.endswith("weight") and owner in quantised_names:
            continue
        if "linear_pos" in name:
            reason = "folded with the positional table into a constant of this tier"
        elif name.endswith("weight") and owner in reasons:
            reason = reasons[owner] or "not asked for"
        elif parameter.dim() < 2 or name.endswith(("bias", "bias_u", "bias_v")):
            reason = "not a matrix"
        elif "conv" in type(modules[owner]).__name__.lower():
            reason = "convolution over time or frequency"
        else:
            reason = "no matrix product in the graph"
        left.append({"parameter": name, "values": parameter.numel(), "reason": reason})
    total = sum(parameter.numel() for parameter in encoder.parameters())
    return {
        "quantised": sorted(done, key=lambda layer: layer["layer"]),
        "left": left,
        "parameters": total,
        "quantised_share": round(sum(layer["shape"][0] * layer["shape"][1] for layer in done) / total, 6),
    }


def graph_bytes(model: "onnx.ModelProto") -> int:
    """Size of a graph as a file; of one beyond protobuf's limit, which cannot be serialised whole, the sum of its parts."""
    if sum(len(tensor.raw_data) for tensor in model.graph.initializer) < _PROTOBUF_LIMIT_BYTES:
        return model.ByteSize()
    return sum(part.ByteSize() for parts in (model.graph.node, model.graph.initializer) for part in parts)


def half_bytes(model: "onnx.ModelProto") -> int:
    """Size of a float32 graph if its float32 weights took two bytes each (computed, not converted)."""
    from onnx import TensorProto

    floats = sum(len(tensor.raw_data) for tensor in model.graph.initializer if tensor.data_type == TensorProto.FLOAT)
    return graph_bytes(model) - floats // 2


def metadata_of(model: "onnx.ModelProto") -> dict[str, str]:
    """The metadata of a graph."""
    return {entry.key: entry.value for entry in model.metadata_props}


def set_metadata(model: "onnx.ModelProto", values: dict[str, str]) -> None:
    """Replace the metadata of a graph."""
    del model.metadata_props[:]
    for key, value in values.items():
        model.metadata_props.add(key=key, value=value)


def _data_of(path: str | Path) -> Path:
    """Where the weights of a graph beyond protobuf's limit lie."""
    return Path(path).with_name(Path(path).name + ".data")


def save(model: "onnx.ModelProto", path: str | Path) -> int:
    """Write a graph as one file, whole or not at all; beyond protobuf's 2 GB its weights go to `<name>.data` beside it.

    Such a graph names the digest of its weights, so that its own covers them (`require_data`). What was under these names goes,
    the graph first: a kill at any moment leaves no graph beside weights of another one.

    Returns:
        Bytes written.
    """
    import onnx
    from onnx import external_data_helper as external

    path, data = Path(path), _data_of(path)
    if graph_bytes(model) < _PROTOBUF_LIMIT_BYTES:
        with files.atomic_path(path) as temporary:
            onnx.save_model(model, str(temporary))
            written = temporary.stat().st_size
        data.unlink(missing_ok=True)
        return written
    path.unlink(missing_ok=True)
    data.unlink(missing_ok=True)  # onnx would append to it
    with files.atomic_path(path) as temporary:
        try:
            external.convert_model_to_external_data(model, all_tensors_to_one_file=True, location=data.name)
            external.write_external_data_tensors(model, str(path.parent))
            set_metadata(model, {**metadata_of(model), _DATA_DIGEST: files.digest(data)})
            onnx.save_model(model, str(temporary))
        except BaseException:
            data.unlink(missing_ok=True)
            raise
        data.chmod(temporary.stat().st_mode & 0o777)  # onnx makes it readable by its owner alone
        return temporary.stat().st_size + data.stat().st_size


def require_data(path: str | Path, metadata: dict[str, str]) -> None:
    """Check that the weights beside a graph are those it was written with.

    Args:
        metadata: of the graph; graphs with their weights inside name no digest.

    Raises:
        UserError: they are missing or others.
    """
    data = _data_of(path)
    if (digest := metadata.get(_DATA_DIGEST)) and not (data.is_file() and files.digest(data) == digest):
        raise UserError(
            f"{data}: {'not the' if data.is_file() else 'no'} weights that {path} was written with; make both again"
        )


def parity(model, tier: streaming.Tier, encoder_path: str | Path, chunks: int = 4) -> dict[str, Any]:
    """Largest difference between the graph and PyTorch with its dequantised weights over some chunks of noise.

    Changes the weights of `model.encoder` to the dequantised ones.
    """
    import torch

    from warmstart.encoder_steps import EncoderSteps

    load_weights(model.encoder, encoder_path, any_activations=True)
    streaming.set_tier(model.encoder, tier)
    shape = streaming.ChunkShape.of(model.encoder)
    generator = torch.Generator().manual_seed(1)
    frames = shape.first + (chunks - 1) * shape.later
    # Log-mel features of speech lie between -16 and 4.
    features = torch.randn(2, model.encoder._feat_in, frames, generator=generator) * 4 - 6
    lengths = torch.tensor([frames, frames - shape.later // 2])
    steps = [EncoderSteps(model.encoder), streaming.OnnxEncoder(encoder_path, tier)]
    caches = [step.start(2) for step in steps]
    largest = 0.0
    with torch.inference_mode():
        for chunk, chunk_lengths, dropped in shape.cut(features, lengths):
            outputs = []
            for index, step in enumerate(steps):
                encoded, encoded_lengths, caches[index] = step.step(chunk, chunk_lengths, dropped, caches[index])
                valid = torch.arange(encoded.shape[1])[None, :, None] < encoded_lengths[:, None, None]
                outputs.append(encoded * valid)
            largest = max(largest, float((outputs[0] - outputs[1]).abs().max()))
    return {"max_abs": largest, "against": "PyTorch with the same weights, dequantised", "chunks": chunks}


def build(model_path: str | Path, tier: streaming.Tier, precision: str, scheme: Scheme, output: str | Path) -> dict[str, Any]:
    """Make the native-step encoder file of one model, tier and precision.

    Returns:
        The report (`quantize.json`): sizes with both ratios, layers, parity, opset, seconds.

    Raises:
        UserError: what `streaming.load_model` and `export` refuse.
    """
    import onnxruntime

    require_exportable(tier)
    model = streaming.load_model(model_path)
    started = time.perf_counter()
    original = export(model.encoder, tier)
    export_s = time.perf_counter() - started
    pytorch_bytes = sum(parameter.numel() * parameter.element_size() for parameter in model.encoder.parameters())
    fp32_bytes, fp16_bytes = graph_bytes(original), half_bytes(original)
    reasons = reasons_to_leave(original, scheme)
    started = time.perf_counter()
    quantized = quantize(original, scheme)
    quantize_s = time.perf_counter() - started
    layers = layer_report(model.encoder, quantized, reasons)
    if not layers["quantised"] and scheme.scheme != "fp32":
        raise UserError(
            f"{model_path}: no weight matrix fits block size {scheme.block_size}; choose a smaller block_size, or d_model"
            " divisible by 64"
        )
    set_metadata(
        quantized,
        {
            "warmstart_form": "native",
            "warmstart_context": json.dumps(tier.context),
            "warmstart_model_sha256": files.digest(model_path),
            "warmstart_scheme": json.dumps(vars(scheme)),
        },
    )
    written = save(quantized, output)
    errors = [layer["relative_error"] for layer in layers["quantised"]]
    return {
        "precision": precision,
        **vars(scheme),
        "tier": tier.name,
        "left": tier.left,
        "right": tier.right,
        "model_sha256": files.digest(model_path),
        "encoder_sha256": files.digest(output),
        "bytes": {"pytorch_fp32": pytorch_bytes, "onnx_fp32": fp32_bytes, "fp16": fp16_bytes, "encoder": written},
        "ratios": {
            # Denominators: this file. Numerators: the PyTorch encoder, the same graph unquantised, the same graph at 2 bytes a
            # weight.
            "pytorch_fp32_to_encoder": round(pytorch_bytes / written, 4),
            "onnx_fp32_to_encoder": round(fp32_bytes / written, 4),
            "fp16_to_encoder": round(fp16_bytes / written, 4),
        },
        "relative_error_median": streaming.percentile(errors, 0.5),
        "relative_error_max": max(errors, default=None),
        "parity": parity(model, tier, output),
        "layers": layers,
        "opset": {imported.domain or "ai.onnx": imported.version for imported in quantized.opset_import},
        "onnxruntime": onnxruntime.__version__,
        "export_s": round(export_s, 2),
        "quantize_s": round(quantize_s, 2),
    }
