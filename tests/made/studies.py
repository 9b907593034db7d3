"""Configurations of small studies."""

from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parents[2]


def replay_config():
    config = smoke_config()
    config["corpora"]["pretraining"]["hours"] = {"train": 0.01, "dev": 0.003}
    config["corpora"]["pretraining"]["utterances"] = {"same_voices": 3, "new_voices": 3}
    config["corpora"]["pretraining"]["voices"] = 3
    config["corpora"]["pretraining"]["new_voices"] = 1
    for init in config["inits"].values():
        if "pretrain" in init:
            init["pretrain"]["hours"] = 0.01 * len(init["pretrain"]["languages"])
    config["test_sets"]["numbers"] = {"corpus": "pretraining", "split": "test_same"}
    config["support_languages"]["en"] |= {
        "training_corpora": ["pretraining"],
        "test_sets": ["numbers"],
    }
    config["training"]["replay"] = {"lang": "en", "fraction": 0.2}
    return config


def smoke_config() -> dict:
    """demo.yaml with the smallest grid that has every axis: the demo's own rules, a few steps."""
    config = yaml.safe_load((ROOT / "demo.yaml").read_text(encoding="utf-8"))
    config["study"] = {"name": "smoke", "title": "Smoke study"}
    config["languages"] = {"it": {**config["languages"]["it"], "budgets_hours": [0.004, 0.02]}}
    config["corpora"]["spoken"]["hours"] = {"train": 0.03, "dev": 0.003}
    config["corpora"]["spoken"]["utterances"] = {"same_voices": 6, "new_voices": 4}
    config["corpora"]["spoken"]["voices"] = 4
    config["corpora"]["spoken"]["new_voices"] = 2
    config["tiers"] = {name: config["tiers"][name] for name in ("560ms", "offline")}
    config["statistics"]["reference_tier"] = "560ms"
    config["statistics"]["replicates"] = 200
    # Six steps teach nothing.
    config["bundle"]["force"] = True
    config["training"]["steps"] = {"fixed": 6}
    config["training"]["schedule"]["warmup_steps"] = 2
    config["training"]["checkpoint_every_steps"] = 3
    config["training"]["validate_every_steps"] = 6
    return config
