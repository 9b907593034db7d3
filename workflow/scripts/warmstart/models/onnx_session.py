"""An exported graph of this workflow, opened in ONNX Runtime on the CPU."""

import json
from pathlib import Path
from typing import Any

from warmstart.models import onnx_file
from warmstart.models.tier import Tier
from warmstart.run.errors import UserError


def open_session(
    path: str | Path, form: str, tier: Tier, model_sha256: str | None = None, threads: int = 1
) -> Any:
    """Open `encoder.onnx` of `quantize.py`, checked.

    Args:
        form: that the graph must have, see `base.EncoderGraph`.
        tier: that it must have been made for.
        model_sha256: of the model that it must have been made of; None = of any.
        threads: of ONNX Runtime.

    Returns:
        An `onnxruntime.InferenceSession`.

    Raises:
        UserError: no such file, not loadable, made of another model or for another tier.
    """
    import onnxruntime

    if not Path(path).is_file():
        raise UserError(f"{path}: no such encoder; make it with quantize.py")
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    try:
        session = onnxruntime.InferenceSession(
            str(path), options, providers=["CPUExecutionProvider"]
        )
    # ONNX Runtime raises a dozen classes of its own, opset and graph errors among them.
    except Exception as error:
        raise UserError(
            f"{path}: ONNX Runtime {onnxruntime.__version__} cannot load it ({error}); run "
            "quantize.py again"
        ) from error
    metadata = session.get_modelmeta().custom_metadata_map
    if metadata.get("warmstart_form") != form:
        raise UserError(
            f"{path}: its form is {metadata.get('warmstart_form')!r}, and {form!r} is needed here; "
            "make it with quantize.py"
        )
    if (made_for := json.loads(metadata["warmstart_context"])) != tier.context:
        raise UserError(
            f"{path}: made for context {made_for}, tier {tier.name} is {tier.context}; "
            "quantise for this tier"
        )
    if model_sha256 and metadata["warmstart_model_sha256"] != model_sha256:
        raise UserError(
            f"{path}: made of a model with sha256 {metadata['warmstart_model_sha256'][:12]}…,"
            f" --model has {model_sha256[:12]}…; run quantize.py again"
        )
    onnx_file.require_data(path, metadata)
    return session
