"""A study of Whisper from its snapshot to the page through Snakemake: as published, all weights and
a LoRA, told the language and telling it."""

import csv
import json
import re

import pytest
from conftest import Checkout
from made.studies import smoke_config
from made.whisper import whole_whisper

from warmstart.run import files

pytestmark = pytest.mark.slow

RUN = "results/runs/it/{arm}/0.02h/seed1"


def config():
    """One donor, two arms."""
    made = smoke_config()
    made["languages"]["it"] |= {"budgets_hours": [0.02], "test_sets": ["same_voices"]}
    made["inits"] = {
        "whisper": {
            "name": "Whisper",
            "path": "snapshots/whisper",
            "licence": "MIT",
            "languages": "unknown",
            "seen": "unknown",
            "zero_shot": {},
        }
    }
    of_family = {"init": "whisper", "family": "whisper", "precisions": ["full"]}
    made["arms"] = {
        "whisper": of_family,
        "lora": {**of_family, "adaptation": {"kind": "lora", "rank": 2}, "name": "LoRA"},
    }
    made["contrasts"] = {"adaptation": {"baseline": "whisper", "challenger": "lora"}}
    context = made["tiers"]["offline"]["context"]
    made["tiers"] = {
        "offline": {"context": context, "offline": True, "window_s": 4},
        "detected": {"context": context, "offline": True, "language": "detected", "window_s": 4},
    }
    made["precisions"] = {"full": {}}
    made["bundle"] = None
    made["training"]["model"] |= {"window_s": 4}
    for key in ("baseline", "challenger"):
        made["statistics"].pop(key)
    made["statistics"] |= {"headline_test_set": "same_voices", "reference_tier": "offline"}
    return made


@pytest.fixture(scope="module")
def study(checkout, tmp_path_factory) -> Checkout:
    made = checkout.copy(tmp_path_factory.mktemp("whisper") / "warmstart")
    whole_whisper(made.folder / "snapshots" / "whisper", max_target_positions=150)
    whole_whisper(made.folder / "snapshots" / "other", languages=("en", "fr"))
    made.write_config(config())
    return made


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (
            lambda made: made["inits"]["whisper"].update({"path": "snapshots/other"}),
            r"arms\.whisper: Whisper has no token for language it; name one that is near, as "
            r"training\.model\.language_tokens: \{it: CODE\}; it has en, fr",
        ),
        (
            lambda made: made["training"]["model"].update({"language_tokens": {"it": "ita"}}),
            r"no token for language it, which shall hear as ita \(did you mean 'it'\?\)",
        ),
        (
            lambda made: made["inits"]["whisper"].update({"zero_shot": {"prompts": {"it": "xx"}}}),
            r"init whisper: Whisper has no token for language xx",
        ),
        (
            lambda made: made["arms"]["lora"].update({"tokens": "char"}),
            "bring their own tokenizer",
        ),
        (
            lambda made: made["arms"]["lora"].update({"adaptation": {"kind": "adapter"}}),
            "family whisper cannot have the adaptation adapter, which needs adapters",
        ),
    ],
    ids=["language", "borrowed", "prompt", "tokens", "adaptation"],
)
def test_what_a_whisper_cannot_is_refused_before_anything_runs(study, change, said):
    asked = config()
    change(asked)
    study.write_config(asked)
    refused = study.snakemake("--dry-run", check=False)
    study.write_config(config())
    assert refused.returncode != 0
    assert re.search(said, " ".join(refused.stdout.split())), refused.stdout
    assert "Traceback" not in refused.stdout


def test_as_published_and_trained_it_is_decoded_told_and_telling_and_compared(study):
    study.snakemake("--cores", "2")
    for arm in ("whisper", "lora"):
        record = files.read_json(study.folder / RUN.format(arm=arm) / "run.json")
        assert record["family"] == "whisper"
        assert set(record["parameters"]) == {"encoder", "decoder"}
    folder = study.folder / "results/hypotheses/it/whisper"
    for hours in ("0", "0.02"):
        for tier, languages in (("offline", {None}), ("detected", {"en", "it", "fr"})):
            path = folder / f"{hours}h/seed1/full/{tier}/same_voices.jsonl"
            lines = [json.loads(line) for line in path.read_text().splitlines()]
            assert {line.get("language") for line in lines} <= languages
            header = files.read_json(path.with_suffix(".json"))
            assert header["batch_check"]["differing_utterances"] == 0
            assert header["window_s"] == 4
            assert header.get("language") == ("detected" if tier == "detected" else None)
    with open(study.folder / "results/tables/gap.csv", encoding="utf-8", newline="") as stream:
        rows = [row for row in csv.DictReader(stream) if row["lang"] == "it"]
    assert {row["tier"] for row in rows} == {"offline", "detected"}
    page = (study.folder / "results/report.html").read_text(encoding="utf-8")
    # Nobody knows what it heard.
    assert "Test sets that a donor may have seen" in page
    assert "Nothing to be done" in study.snakemake("--cores", "2").stdout
