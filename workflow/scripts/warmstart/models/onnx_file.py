"""ONNX files: sizes, metadata, and weights beside the graph where protobuf refuses them inside."""

from pathlib import Path
from typing import TYPE_CHECKING

from warmstart.run import files
from warmstart.run.errors import UserError

if TYPE_CHECKING:
    import onnx


# protobuf refuses larger messages; behind it the weights lie beside the graph.
_PROTOBUF_LIMIT_BYTES = 2_000_000_000


_DATA_DIGEST = "warmstart_data_sha256"


def module_of(node_name: str) -> str:
    """PyTorch module of the encoder behind a product with its matrix:
    `layers.0.self_attn.linear_q/MatMul`."""
    return node_name.rpartition("/")[0]


def weight_products(model: "onnx.ModelProto") -> list["onnx.NodeProto"]:
    """The matrix products whose second factor is a weight."""
    weights = {tensor.name for tensor in model.graph.initializer}
    return [
        node for node in model.graph.node if node.op_type == "MatMul" and node.input[1] in weights
    ]


def graph_bytes(model: "onnx.ModelProto") -> int:
    """Size of a graph as a file; of one beyond protobuf's limit, which cannot be serialised whole,
    the sum of its parts."""
    if sum(len(tensor.raw_data) for tensor in model.graph.initializer) < _PROTOBUF_LIMIT_BYTES:
        return model.ByteSize()
    return sum(
        part.ByteSize() for parts in (model.graph.node, model.graph.initializer) for part in parts
    )


def half_bytes(model: "onnx.ModelProto") -> int:
    """Size of a float32 graph if its float32 weights took two bytes each (computed, not
    converted)."""
    from onnx import TensorProto

    floats = sum(
        len(tensor.raw_data)
        for tensor in model.graph.initializer
        if tensor.data_type == TensorProto.FLOAT
    )
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
    """Write a graph as one file, whole or not at all; beyond protobuf's 2 GB its weights go to
    `<name>.data` beside it.

    Such a graph names the digest of its weights, so that its own covers them (`require_data`). What
    was under these names goes, the graph first: a kill at any moment leaves no graph beside weights
    of another one.

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
            external.convert_model_to_external_data(
                model, all_tensors_to_one_file=True, location=data.name
            )
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
    if (digest := metadata.get(_DATA_DIGEST)) and not (
        data.is_file() and files.digest(data) == digest
    ):
        raise UserError(
            f"{data}: {'not the' if data.is_file() else 'no'} weights that {path} was written "
            "with; make both again"
        )
