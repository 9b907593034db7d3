"""A study of runs that are trained in rounds, from corpora to the page, with the demo's encoder
under a CTC head, all of it learning."""

import csv
import gzip
import itertools
import json

import pytest
from conftest import Checkout
from made.studies import smoke_config

from warmstart.data import cut_lines

pytestmark = pytest.mark.slow

ROUNDS = {
    "total_hours": 0.06,
    "each": [
        {"data": "labelled", "steps_weight": 6},
        {"data": "pseudo", "keep": 0.6, "lr_scale": 0.5},
    ],
}
RUN = "it_rounds/ml_ctc/0.02h/seed1"


def rounds_config() -> dict:
    """Over the smoke study: one tier, one test set, and enough steps to write something; of the
    other arm, which a contrast needs, as little as there can be."""
    config = smoke_config()
    config["corpora"]["spoken"]["hours"] = {"train": 0.08, "dev": 0.003}
    config["languages"]["it"] |= {"budgets_hours": [0.02, 0.06], "test_sets": ["same_voices"]}
    config["tiers"] = {"560ms": config["tiers"]["560ms"]}
    config["inits"] = {"ml": config["inits"]["ml"]}
    config["arms"] = {
        "ml_ctc": {"init": "ml", "family": "fastconformer_ctc"},
        "ml": {
            "init": "ml",
            "training_sets": ["it"],
            "training": {"steps": {"fixed": 20}},
        },
    }
    config["contrasts"] = {"head": {"baseline": "ml", "challenger": "ml_ctc"}}
    config["statistics"] |= {"baseline": None, "challenger": None}
    config["training_sets"] = {
        "it": {"languages": {"it": 1}, "budgets_hours": [0.06]},
        "it_rounds": {"languages": {"it": 1}, "budgets_hours": [0.02], "rounds": ROUNDS},
    }
    config["precisions"] = {"full": {}}
    config["bundle"] = None
    config["training"] |= {
        "steps": {"fixed": 210},
        "checkpoint_every_steps": 50,
        "validate_every_steps": 50,
        "log_every_steps": 10,
        "batch_duration_s": 10,
    }
    config["training"]["schedule"]["warmup_steps"] = 20
    return config


@pytest.fixture(scope="module")
def study(checkout: Checkout, tmp_path_factory) -> Checkout:
    made = checkout.copy(tmp_path_factory.mktemp("rounds") / "warmstart")
    made.write_config(rounds_config())
    jobs = made.planned()
    # Two rounds, of which one is chosen by a model, and two runs at once.
    names = ("train", "train_round", "label_pool", "join_rounds", "score_rounds")
    assert [jobs.get(name) for name in names] == [2, 2, 1, 1, 1]
    assert jobs["decode_it_rounds"] == 2
    made.snakemake("--cores", "2", "--workflow-profile", "profiles/demo")
    return made


def table(study: Checkout, name: str) -> list[dict]:
    with open(study.folder / f"results/tables/{name}.csv", encoding="utf-8", newline="") as stream:
        return list(csv.DictReader(stream))


def of_run(study: Checkout, path: str):
    return study.folder / "results/runs" / RUN / path


def read(path) -> dict:
    return json.loads(path.read_text(encoding="utf-8"))


def test_each_round_goes_on_from_the_one_before_and_the_last_is_the_run(study):
    records = [read(of_run(study, f"round{number}/run.json")) for number in (1, 2)]
    for before, record in itertools.pairwise(records):
        assert record["input_digests"]["start"] == before["model_sha256"]
        assert record["start_digests"] != records[0]["start_digests"]
    assert "start" not in records[0]["input_digests"]
    assert [record["steps"] for record in records] == [180, 30]
    run = read(of_run(study, "run.json"))
    assert run["model_sha256"] == records[1]["model_sha256"]
    assert run["steps"] == 210
    assert run["start_digests"] == records[0]["start_digests"]
    assert [one["data"] for one in run["rounds"]] == ["labelled", "pseudo"]
    rates = [record["settings"]["optimizer"]["lr"] for record in records]
    assert rates == [rates[0], rates[0] / 2]


def test_no_text_of_people_reaches_training_beyond_the_budget(study):
    def cuts(path):
        return {cut["id"]: cut for cut in cut_lines.read(path)}

    budget = cuts(study.folder / "results/budgets/it/0.02h.jsonl.gz")
    heard = cuts(study.folder / "results/budgets/it/0.06h.jsonl.gz")
    trained = cuts(of_run(study, "labels2/cuts.jsonl.gz"))
    added = {name: cut for name, cut in trained.items() if name not in budget}
    assert added
    assert set(added) <= set(heard) - set(budget)
    assert {name: trained[name] for name in budget} == budget
    for name, cut in added.items():
        true = cut_lines.supervision(heard[name])
        own = cut_lines.supervision(cut)
        said = json.dumps(cut, ensure_ascii=False)
        if own["text"] != true["text"]:
            assert true["text"] not in said
        assert true["custom"]["raw_text"] not in said.replace(own["text"], "")
        assert "custom" not in own


def test_what_became_of_every_cut_adds_up(study):
    report = read(of_run(study, "labels2/labels.json"))["languages"]["it"]
    for what in ("cuts", "hours"):
        parts = report["kept"][what] + sum(one[what] for one in report["dropped"].values())
        assert parts == pytest.approx(report["heard"][what])
    assert report["kept"]["hours"] <= 0.6 * report["heard"]["hours"] + 1e-9


def test_the_table_has_every_round_and_its_controls(study):
    rows = table(study, "rounds")
    assert {(row["round"], row["against"]) for row in rows} == {
        ("1", ""),
        ("2", "the round before"),
        ("2", "all texts at once"),
    }
    wer = {
        (row["training_set"], row["hours"]): row["wer_pct"]
        for row in table(study, "wer")
        if row["arm"] == "ml_ctc" and row["lang"] == "it"
    }
    last = next(row for row in rows if row["against"] == "all texts at once")
    assert last["wer_pct"] == wer["it_rounds", "0.02"]
    assert last["against_wer_pct"] == wer["it", "0.06"]
    labelled = next(row for row in rows if row["round"] == "2")
    assert 0 < float(labelled["kept_share_pct"]) <= 60
    assert float(labelled["label_wer_pct"]) >= 0


def test_the_page_has_the_section_and_both_figures(study):
    page = (study.folder / "results/report.html").read_text(encoding="utf-8")
    assert "Can a model teach itself?" in page
    for name in ("rounds", "semi_supervised"):
        assert (study.folder / f"results/figures/{name}.svg").stat().st_size > 1000


def test_nothing_is_left_to_do(study):
    assert study.planned() == {}


def test_a_rule_that_ran_for_nothing_gives_the_same_bytes(study):
    """What Snakemake clears away is taken back where nothing differs."""
    cuts = of_run(study, "labels2/cuts.jsonl.gz")
    before = gzip.decompress(cuts.read_bytes())
    cuts.unlink()
    target = str(cuts.relative_to(study.folder))
    study.snakemake("--cores", "1", "--workflow-profile", "profiles/demo", target)
    assert gzip.decompress(cuts.read_bytes()) == before
    log = study.folder / f"logs/label_pool/{RUN}/2.log"
    assert "made of the same model and cuts before" in log.read_text(encoding="utf-8")
