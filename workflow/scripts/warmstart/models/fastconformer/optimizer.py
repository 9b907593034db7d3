"""NeMo's optimizer, schedule and SpecAugment blocks from the study's settings."""

from collections.abc import Mapping
from typing import Any

from warmstart.models.recipe import SpecAugment


def optimizer_config(settings: Mapping[str, Any], steps: int, d_model: int) -> dict[str, Any]:
    """NeMo's `optim` and `optim_param_groups` from the study's `optimizer` and `schedule`.

    Args:
        settings: `optimizer` {name, lr, encoder_lr_scale, betas, weight_decay}, `schedule` {name,
            warmup_steps, min_lr}. With `cosine`, lr is the peak; with `noam` a factor: the peak is
            lr * (d_model * warmup_steps) ** -0.5 (arXiv 1706.03762, eq. 3).
        steps: of the whole run.
        d_model: width of the encoder.
    """
    optimizer, schedule = settings["optimizer"], settings["schedule"]
    shapes = {
        "cosine": {"name": "CosineAnnealing"},
        "noam": {"name": "NoamAnnealing", "d_model": d_model},
    }
    groups = {}
    if optimizer["encoder_lr_scale"] != 1:
        groups = {
            "optim_param_groups": {
                "encoder": {"lr": float(optimizer["lr"]) * optimizer["encoder_lr_scale"]}
            }
        }
    return groups | {
        "optim": {
            "name": optimizer["name"],
            # YAML reads 1e-5, without a point, as text.
            "lr": float(optimizer["lr"]),
            "betas": list(optimizer["betas"]),
            "weight_decay": float(optimizer["weight_decay"]),
            "sched": {
                **shapes[schedule["name"]],
                "warmup_steps": schedule["warmup_steps"],
                "min_lr": float(schedule["min_lr"]),
                "max_steps": steps,
            },
        }
    }


def spec_augment_config(settings: SpecAugment | None) -> dict[str, Any]:
    """NeMo's `spec_augment`, or nothing where the study has none."""
    if not settings:
        return {}
    return {
        "spec_augment": {
            "_target_": "nemo.collections.asr.modules.SpectrogramAugmentation",
            **settings,
            # NeMo takes a whole number as a number of frames: 1, all of the utterance, as one.
            "time_width": float(settings["time_width"]),
        }
    }
