"""A study of arms that write characters and phones, through Snakemake from speech to the page."""

import json

import pytest
from conftest import Checkout
from made.studies import smoke_config

from warmstart.data import phones, tokenizer
from warmstart.run import files

pytestmark = pytest.mark.slow

RUN = "it/{arm}/0.02h/seed1"


def config():
    made = smoke_config()
    made["languages"]["it"] |= {"budgets_hours": [0.02], "test_sets": ["same_voices", "human"]}
    made["tokenizer"] = {"tokens": "char"}
    ctc = {"family": "fastconformer_ctc"}
    made["arms"] = {
        **{name: {"init": name, **ctc} for name in ("en", "ml")},
        **{f"{name}_ipa": {"init": name, **ctc, "tokens": "ipa"} for name in ("en", "ml")},
    }
    made["contrasts"] = {
        "warm_start": {"baseline": "en", "challenger": "ml"},
        "phones": {"baseline": "en_ipa", "challenger": "ml_ipa"},
    }
    made["tiers"] = {"offline": made["tiers"]["offline"]}
    made["precisions"], made["bundle"] = {"full": {}}, None
    for key in ("baseline", "challenger"):
        made["statistics"].pop(key)
    made["statistics"] |= {"headline_test_set": "same_voices", "reference_tier": "offline"}
    # Its head is of BPE of English numbers, which lack letters of Italian.
    made["inits"]["en"]["zero_shot"] = {}
    return made


@pytest.fixture(scope="module")
def study(checkout, tmp_path_factory) -> Checkout:
    made = checkout.copy(tmp_path_factory.mktemp("tokens") / "warmstart")
    made.write_config(config())
    made.snakemake("--cores", "2")
    return made


def test_both_kinds_are_trained_decoded_and_shown(study):
    folder = study.folder / "results"
    made = {path.name for path in (folder / "tokenizers").iterdir()}
    assert made == {"it.char", "it.ipa"}
    letters = set("".join(tokenizer.supervision_texts(folder / "pools/it.jsonl.gz"))) - {" "}
    pieces = (folder / "tokenizers/it.char/tokenizer.vocab").read_text(encoding="utf-8")
    assert {line.split("\t")[0] for line in pieces.splitlines()} == letters | {"<unk>", "▁"}
    report = files.read_json(folder / "tokenizers/it.ipa/coverage.json")
    assert report["train"]["unwritable"] == {}
    known = set((folder / "tokenizers/it.ipa/tokenizer.vocab").read_text(encoding="utf-8").split())
    records = {
        arm: files.read_json(folder / "runs" / RUN.format(arm=arm) / "run.json")
        for arm in config()["arms"]
    }
    assert [record["settings"]["tokens"] for record in records.values()] == [
        *("char", "char", "ipa", "ipa"),
    ]
    same = {record["input_digests"]["train_cuts"] for record in records.values()}
    assert len(same) == 1, "all arms hear the same cuts"
    path = folder / "hypotheses" / RUN.format(arm="ml_ipa") / "full/offline/same_voices.jsonl"
    lines = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    heard = {phone for line in lines for phone in phones.flat(phones.read(line["hyp"]))}
    assert heard <= known
    page = (folder / "report.html").read_text(encoding="utf-8")
    assert "Characters that no hypothesis can contain" in page


def test_what_an_init_as_it_is_cannot_write_is_listed_and_said(study):
    found = files.read_json(study.folder / "results/unwritable/en.json")["tests"]
    assert set(found) == {"it/same_voices", "it/human"}
    # English numbers below a hundred have no `a`, so no token of its head has one.
    assert found["it/human"]["unwritable"]["a"] > 0
    said = study.snakemake("--dry-run").stdout
    assert "init en as it is: test set it/human has" in said
    assert "Nothing to be done" in said


def test_a_lower_limit_stops_the_next_run_and_makes_nothing_stale(study):
    asked = config()
    asked["tokenizer"]["unwritable_share_max"] = 0.0001
    study.write_config(asked)
    refused = study.snakemake("--dry-run", check=False)
    assert refused.returncode != 0
    assert "unwritable_share_max = 0.0001" in refused.stdout
    assert "Traceback" not in refused.stdout
    asked["tokenizer"]["unwritable_share_max"] = 1
    study.write_config(asked)
    assert not study.planned()
    study.write_config(config())


def test_another_voice_makes_the_arms_of_phones_again_and_no_other(study):
    asked = config()
    asked["languages"]["it"]["espeak_voice"] = "es"
    study.write_config(asked)
    jobs = study.planned()
    assert jobs["train"] == 2
    assert jobs["train_tokenizer_ipa"] == 1
    assert not {"build_pool", "train_tokenizer_char", "download_init"} & set(jobs)
    study.write_config(config())
