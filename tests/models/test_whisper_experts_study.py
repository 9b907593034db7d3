"""A study of language experts, from a tiny Whisper to the page, through Snakemake: LoRA runs of two
languages, their fusion, and a student of them."""

import csv

import pytest
import yaml
from conftest import ROOT, Checkout
from made.studies import smoke_config
from made.whisper import whole_whisper

from warmstart.run import files

pytestmark = pytest.mark.slow

LORA = {"kind": "lora", "rank": 2, "alpha": 4, "layers": "*_proj"}
BOTH = ["both"]


def config():
    made = smoke_config()
    demo = yaml.safe_load((ROOT / "demo.yaml").read_text(encoding="utf-8"))
    made["languages"] = {
        lang: {**demo["languages"][lang], "budgets_hours": [0.004], "test_sets": ["same_voices"]}
        for lang in ("it", "fr")
    }
    made["inits"] = {"tiny": {"name": "Tiny", "path": "snapshots/tiny", "licence": "MIT"}}
    of_family = {"init": "tiny", "family": "whisper", "tiers": ["offline"]}
    made["arms"] = {
        "full": {**of_family, "training_sets": BOTH},
        "lora": {**of_family, "adaptation": LORA, "training_sets": ["it", "fr"]},
        "fused": {
            **of_family,
            "adaptation": {"kind": "experts", "of": ["lora"], "fuse": "cat"},
            "training_sets": BOTH,
        },
        "student": {
            **of_family,
            "adaptation": LORA,
            "distil": {"teachers": ["lora"]},
            "training_sets": BOTH,
        },
    }
    made["training_sets"] = {
        "it": {"languages": {"it": 1}},
        "fr": {"languages": {"fr": 1}},
        "both": {"languages": {"it": 1, "fr": 1}},
    }
    made["contrasts"] = {"fused": {"baseline": "full", "challenger": "fused"}}
    made["tiers"] = {"offline": made["tiers"]["offline"]}
    made["precisions"] = {"full": {}}
    made["bundle"] = None
    made["training"]["model"]["window_s"] = 4
    for key in ("baseline", "challenger"):
        made["statistics"].pop(key)
    made["statistics"] |= {"headline_test_set": "same_voices", "reference_tier": "offline"}
    return made


@pytest.fixture(scope="module")
def study(checkout, tmp_path_factory) -> Checkout:
    made = checkout.copy(tmp_path_factory.mktemp("experts") / "warmstart")
    whole_whisper(made.folder / "snapshots" / "tiny", max_target_positions=200)
    made.write_config(config())
    return made


def test_an_expert_of_another_rank_is_refused_before_anything_runs(study):
    asked = config()
    asked["arms"]["wide"] = {**asked["arms"]["lora"], "adaptation": {**LORA, "rank": 4}}
    asked["arms"]["fused"]["adaptation"] |= {"of": ["it/lora", "fr/wide"], "fuse": "linear"}
    study.write_config(asked)
    refused = study.snakemake("--dry-run", check=False)
    study.write_config(config())
    assert refused.returncode != 0
    assert "arms.fused.adaptation.fuse is linear, which needs one rank" in refused.stdout
    assert "Traceback" not in refused.stdout


def test_experts_are_fused_taught_scored_and_compared(study):
    jobs = study.planned()
    assert (jobs["train"], jobs["train_lora"]) == (2, 3), "full, fused; two experts, a student"
    study.snakemake("--cores", "2")
    runs = study.folder / "results/runs"
    fused = files.read_json(runs / "both/fused/0.004h/seed1/run.json")
    student = files.read_json(runs / "both/student/0.004h/seed1/run.json")
    for lang in ("it", "fr"):
        folder = runs / f"{lang}/lora/0.004h/seed1/adapter"
        digests = {path.name: files.digest(path) for path in folder.glob("adapter*")}
        assert fused["input_digests"]["experts"][lang] == digests
        assert student["input_digests"]["teachers"][lang] == digests
    assert (fused["steps"], student["steps"]) == (0, 6)
    with open(study.folder / "results/tables/experts.csv", encoding="utf-8", newline="") as stream:
        found = {(row["arm"], row["against"], row["lang"]) for row in csv.DictReader(stream)}
    assert found == {
        (arm, against, lang)
        for arm in ("fused", "student")
        for against in ("full", "oracle")
        for lang in ("it", "fr", "mean")
    }
    page = (study.folder / "results/report.html").read_text(encoding="utf-8")
    assert "Are experts better than one fine-tuning?" in page
    assert not study.planned()


def test_other_experts_make_what_is_made_of_them_again_and_nothing_else(study):
    edited = config()
    edited["arms"]["lora"]["adaptation"] = {**LORA, "alpha": 8}
    study.write_config(edited)
    outputs = study.planned_outputs()
    study.write_config(config())
    models = {
        "/".join(path.split("/")[2:4]) for path in outputs if path.endswith("model.safetensors")
    }
    assert models == {"it/lora", "fr/lora", "both/fused", "both/student"}
