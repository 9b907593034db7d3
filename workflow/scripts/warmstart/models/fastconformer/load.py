"""Restore a model file for inference.

NeMo is imported inside the functions: that costs 8 s, and a program that finds its outputs current
must not pay them.
"""

from pathlib import Path
from typing import Any, Literal

from warmstart.models.fastconformer import allowed, contents, donor
from warmstart.run.errors import UserError
from warmstart.run.logs import route_nemo_logs

Head = Literal["transducer", "ctc"]


def load_model(path: str | Path, device: str = "cpu", head: Head = "transducer") -> Any:
    """Restore a model for inference: eval mode, no dither, no padding of features, float32 (no TF32
    on a GPU).

    Args:
        head: what will be searched; a hybrid model has both.

    Raises:
        UserError: no such file, not a `.nemo`, without that head, or without a cache-aware
            Conformer encoder that streams as the study's models do (`donor.not_causal`).
    """
    if not Path(path).is_file():
        raise UserError(f"{path}: no such model; train it first (rule train)")
    # Before NeMo is imported, which takes its time.
    config = contents.read_config(path, f"{path}: cannot be restored as a NeMo model")
    import nemo.collections.asr as nemo_asr
    import torch
    from nemo.core.classes.common import typecheck

    route_nemo_logs()
    model = _restored(path, config, device)
    has_head = (
        isinstance(model, nemo_asr.models.EncDecRNNTModel)
        if head == "transducer"
        else ctc_head(model) is not None
    )
    if not has_head or not hasattr(model.encoder, "cache_aware_stream_step"):
        wanted = {"transducer": "a transducer", "ctc": "a CTC model"}[head]
        raise UserError(
            f"{path}: {type(model).__name__} is not {wanted} with a cache-aware encoder, and "
            "has no decoder to search;"
            " fine-tune from it (rule train), or take zero_shot out of its init"
        )
    if found := donor.not_causal(config):
        raise UserError(
            f"{path}: {'; '.join(found)}; what is decoded chunk by chunk would not be what the "
            "model computes"
        )
    # Type checks cost as much as a small encoder's step; shapes are fixed here.
    typecheck.set_typecheck_enabled(False)
    model.eval()
    model.preprocessor.featurizer.dither = 0.0
    model.preprocessor.featurizer.pad_to = 0
    # On by default for convolutions: ten bits of mantissa, where the weights that ship are compared
    # within 1e-4.
    torch.backends.cudnn.allow_tf32 = False
    torch.backends.cuda.matmul.allow_tf32 = False
    return model.to(device)


def _restored(path: str | Path, config: dict[str, Any], device: str) -> Any:
    """The model of a file. NeMo gets settings and files that were checked, never the archive: it
    would run what a configuration names, and a trained model may have come from anywhere."""
    import tempfile

    import nemo.collections.asr as nemo_asr
    import torch
    from omegaconf import OmegaConf

    from warmstart.models.fastconformer.nemo_file import Checked

    with tempfile.TemporaryDirectory() as folder:
        try:
            with contents.opened(path) as archive:
                kept = allowed.restorable(config, archive.names, folder)
                for name in (contents.WEIGHTS, *allowed.artifacts(kept)):
                    archive.take(name, Path(folder))
            return nemo_asr.models.ASRModel.restore_from(
                str(path),
                override_config_path=OmegaConf.create(kept),
                map_location=torch.device(device),
                save_restore_connector=Checked(folder),
            )
        except contents.NotPlain as error:
            raise UserError(
                f"{path}: cannot be restored as a NeMo model: {error}; take a model of this "
                "workflow or a published FastConformer, or take zero_shot out of its init"
            ) from None
        except Exception as error:  # tarfile, yaml, pickle, NeMo: the class says nothing
            cause = str(error).partition("\n")[0]
            raise UserError(
                f"{path}: cannot be restored as a NeMo model ({type(error).__name__}: {cause})"
            ) from error


def ctc_head(model: Any) -> Any:
    """The CTC head of a model: of a CTC model its decoder, of a hybrid one the second; None if it
    has none."""
    import nemo.collections.asr as nemo_asr

    if isinstance(model, nemo_asr.models.EncDecCTCModel):
        return model.decoder
    return getattr(model, "ctc_decoder", None)


def set_prompt(model, prompt: str | None) -> None:
    """Tell a model with language prompts what it hears.

    Raises:
        UserError: a prompt for a model that has none, none for a model that needs one, or one that
            it does not know.
    """
    known = sorted(model.cfg.get("model_defaults", {}).get("prompt_dictionary", None) or {})
    if not getattr(model, "concat", False):
        if prompt is not None:
            raise UserError(
                f"prompt {prompt!r}: this {type(model).__name__} takes no language prompt; take it "
                "out"
            )
        return
    if prompt not in known:
        raise UserError(
            f"prompt {prompt!r}: this model needs one of its own language prompts "
            "(inits.<name>.zero_shot.prompts): "
            f"{', '.join(known)}"
        )
    model.set_inference_prompt(prompt)
