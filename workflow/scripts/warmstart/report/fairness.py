"""What must be alike in the two runs of a pair, read from `run.json`."""

import json
from typing import Any

from warmstart.study import recipe

PAIRED = [
    "data",
    "validation",
    "tokenizer",
    "start of predictor",
    "start of joint",
    "settings",
    "steps",
    "audio seen",
]


PAIRED += ["code", "software", "device"]


"""What must be equal between the runs of a pair; the encoder's start is what may differ."""


def donor_contexts(run: dict) -> list[list[int]] | None:
    """[left, right] contexts that the donor of a run's encoder was trained with, as run.json
    records them."""
    found = (run.get("init_facts") or {}).get("donor_contexts") or run.get("init_contexts")
    if not found:
        return None
    return [
        list(map(int, context)) for context in (found if isinstance(found[0], list) else [found])
    ]


def _sides(contexts: list[list[int]]) -> str:
    left, right = (", ".join(map(str, sorted(set(side)))) for side in zip(*contexts, strict=True))
    return f"left {left}, right {right}"


def pair_facts(run: dict) -> dict[str, Any]:
    """What a run shares with its pair, as comparable values; None where run.json does not say."""
    inputs, starts = run.get("input_digests") or {}, run.get("start_digests") or {}
    settings, versions, hardware = run.get("settings"), run.get("versions"), run.get("hardware")
    hours_seen = run.get("hours_seen")
    return {
        "data": inputs.get("train_cuts"),
        "validation": inputs.get("dev_cuts"),
        "tokenizer": inputs.get("tokenizer"),
        "start of predictor": starts.get("decoder"),
        "start of joint": starts.get("joint"),
        "settings": None
        if settings is None
        else json.dumps(recipe.of_model(settings), sort_keys=True),
        "steps": run.get("steps"),
        "audio seen": None if hours_seen is None else round(hours_seen, 4),
        "code": run.get("git_commit"),
        "software": None if versions is None else json.dumps(versions, sort_keys=True),
        # Arithmetic is another: reduced precision is for GPUs. Which GPU it was is in the table of
        # provenance.
        "device": ("GPU" if hardware["gpu"] else "CPU")
        if isinstance(hardware, dict) and "gpu" in hardware
        else None,
    }
