"""The smoke study, end to end with real Snakemake, NeMo, ONNX Runtime: every artefact in its place
and form."""

import csv
import gzip
import json
import re
import zipfile
from pathlib import Path

import pytest
from conftest import Checkout

pytestmark = pytest.mark.slow

RUNS = [f"it/{init}/{hours}h/seed1" for init in ("en", "ml") for hours in ("0.004", "0.02")]
DECODED = [("full", "560ms"), ("full", "offline")]
TEST_SETS = {"same_voices": 6, "new_voices": 4, "human": 34}


def read_json(study: Checkout, path: str):
    return json.loads((study.folder / path).read_text(encoding="utf-8"))


def read_lines(study: Checkout, path: str) -> list[dict]:
    opened = gzip.open if path.endswith(".gz") else open
    with opened(study.folder / path, "rt", encoding="utf-8") as stream:
        return [json.loads(line) for line in stream]


def test_budgets_are_nested_prefixes_of_the_pool(smoke):
    pool, large, small = (
        [cut["id"] for cut in read_lines(smoke, path)]
        for path in (
            "results/pools/it.jsonl.gz",
            "results/budgets/it/0.02h.jsonl.gz",
            "results/budgets/it/0.004h.jsonl.gz",
        )
    )
    assert pool[: len(large)] == large
    assert large[: len(small)] == small
    assert 0 < len(small) < len(large) < len(pool)


def test_no_test_sentence_is_in_the_pool(smoke):
    from warmstart.data.text import normalize

    settings = smoke.read_config()["languages"]["it"]["text"]
    trained = {
        cut["supervisions"][0]["text"] for cut in read_lines(smoke, "results/pools/it.jsonl.gz")
    }
    for corpus, split in (("spoken", "test_same"), ("spoken", "test_new"), ("human", "test")):
        for cut in read_lines(smoke, f"results/manifests/{corpus}/it/{split}.jsonl.gz"):
            assert normalize(cut["supervisions"][0]["text"], settings) not in trained


@pytest.mark.parametrize("run", RUNS)
def test_a_run_has_its_model_its_curve_and_its_provenance(smoke, run):
    assert (smoke.folder / f"results/runs/{run}/model.nemo").stat().st_size > 1_000_000
    with open(
        smoke.folder / f"results/runs/{run}/train.csv", encoding="utf-8", newline=""
    ) as stream:
        rows = list(csv.DictReader(stream))
    record = read_json(smoke, f"results/runs/{run}/run.json")
    assert int(rows[-1]["step"]) == record["steps"] == 6
    assert float(rows[-1]["hours_seen"]) == pytest.approx(record["hours_seen"], abs=1e-5)
    assert record["encoder_tensors_loaded"] == record["encoder_tensors"] > 0


@pytest.mark.parametrize("hours", ["0.004", "0.02"])
def test_paired_runs_differ_in_the_encoder_and_in_nothing_else(smoke, hours):
    en, ml = (
        read_json(smoke, f"results/runs/it/{init}/{hours}h/seed1/run.json") for init in ("en", "ml")
    )
    for name in ("steps", "cuts", "hours_seen", "settings", "versions"):
        assert en[name] == ml[name]
    assert en["start_digests"]["decoder"] == ml["start_digests"]["decoder"]
    assert en["start_digests"]["joint"] == ml["start_digests"]["joint"]
    assert en["start_digests"]["encoder"] != ml["start_digests"]["encoder"]
    assert en["input_digests"] == {**ml["input_digests"], "init": en["input_digests"]["init"]}


@pytest.mark.parametrize("run", RUNS)
@pytest.mark.parametrize(("precision", "tier"), DECODED)
def test_hypotheses_hold_every_utterance_raw_with_a_header(smoke, run, precision, tier):
    for test_set, size in TEST_SETS.items():
        lines = read_lines(smoke, f"results/hypotheses/{run}/{precision}/{tier}/{test_set}.jsonl")
        assert len({line["id"] for line in lines}) == len(lines) == size
        assert all(
            set(line) == {"id", "block", "duration_s", "ref", "hyp", "tokens"} for line in lines
        )
        assert all(
            0 <= token["time_s"] <= line["duration_s"] + 0.2
            for line in lines
            for token in line["tokens"]
        )
        header = read_json(smoke, f"results/hypotheses/{run}/{precision}/{tier}/{test_set}.json")
        assert (header["tier"], header["precision"], header["test_set"]) == (
            tier,
            precision,
            test_set,
        )
        assert header["rtfx"] > 0


def test_human_references_are_raw(smoke):
    texts = [
        line["ref"]
        for line in read_lines(smoke, f"results/hypotheses/{RUNS[0]}/full/560ms/human.jsonl")
    ]
    assert any(text[0].isupper() and text.endswith(".") for text in texts)


def test_the_largest_budget_has_a_four_bit_encoder_that_was_decoded(smoke):
    for init in ("en", "ml"):
        report = read_json(smoke, f"results/runs/it/{init}/0.02h/seed1/int4/560ms/quantize.json")
        encoder = smoke.folder / f"results/runs/it/{init}/0.02h/seed1/int4/560ms/encoder.onnx"
        assert report["precision"] == "int4"
        assert (
            encoder.stat().st_size
            < (smoke.folder / f"results/runs/it/{init}/0.02h/seed1/model.nemo").stat().st_size / 2
        )
        assert read_lines(smoke, f"results/hypotheses/it/{init}/0.02h/seed1/int4/560ms/human.jsonl")


def test_scores_have_one_row_an_utterance_and_hypothesis_file(smoke):
    import pandas

    scores = pandas.read_parquet(smoke.folder / "results/scores/it.parquet")
    assert len(scores) == sum(TEST_SETS.values()) * (len(RUNS) * len(DECODED) + 2)
    assert (
        scores["hits"] + scores["substitutions"] + scores["deletions"] == scores["ref_words"]
    ).all()


def test_tables_figures_and_report_are_there(smoke):
    for name in ("wer", "gap", "gap_by_tier", "quantization", "fit", "latency", "guideline"):
        assert (smoke.folder / f"results/tables/{name}.csv").stat().st_size > 0
    figures = {path.name for path in (smoke.folder / "results/figures").iterdir()}
    assert {"gap_by_hours.svg", "gap_by_hours.png", "wer_by_hours.svg"} <= figures
    page = (smoke.folder / "results/report.html").read_text(encoding="utf-8")
    assert "Smoke study" in page
    assert "http://" not in page.replace("http://www.w3.org", "")


def test_snakemakes_own_report_shows_tables_figures_and_data_with_captions(smoke, tmp_path):
    study = smoke.copy(tmp_path / "warmstart")
    study.snakemake("--report", "report.zip")
    with zipfile.ZipFile(study.folder / "report.zip") as archive:
        page = archive.read("report/report.html").decode()
        shown = {Path(name).name for name in archive.namelist() if "/data/raw/" in name}
    assert {
        "gap.csv",
        "guideline.csv",
        "gap_by_hours.svg",
        "validation.svg",
        "report.html",
        "it.qc.json",
    } <= shown
    results, categories = (
        json.loads(
            re.search(rf'<script id="{name}">\s*var {name} = (.*?);?\s*</script>', page, re.DOTALL)[
                1
            ]
        )
        for name in ("results", "categories")
    )
    assert set(categories) == {"Tables", "Figures", "Report", "Data"}
    captions = {Path(path).name: result["caption"] for path, result in results.items()}
    assert "other families for comparison" in " ".join(captions["fit.csv"].split())
    assert "training data of <tt" in captions["it.qc.json"]
    assert not [
        name for name, caption in captions.items() if not caption or "System Message" in caption
    ]
    study.snakemake("--report", "whole.html")
    whole = (study.folder / "whole.html").read_text(encoding="utf-8")
    # Captions may break a line anywhere.
    assert re.search(r"other(\s|\\n)+families(\s|\\n)+for(\s|\\n)+comparison", whole)


def test_the_bundle_is_whole(smoke):
    folder = smoke.folder / "results/bundles/it/ml/0.02h/seed1/int4/560ms"
    assert {path.name for path in folder.iterdir()} >= {
        *(
            "encoder.onnx",
            "decoder.onnx",
            "joiner.onnx",
            "tokens.txt",
            "README.md",
            "example.wav",
            "bundle.json",
        ),
    }


def test_the_readme_of_the_bundle_has_the_rates_of_the_study(smoke):
    text = (smoke.folder / "results/bundles/it/ml/0.02h/seed1/int4/560ms/README.md").read_text(
        encoding="utf-8"
    )
    with open(smoke.folder / "results/tables/wer.csv", encoding="utf-8", newline="") as stream:
        wanted = {"lang": "it", "arm": "ml", "hours": "0.02", "tier": "560ms"}
        rows = [row for row in csv.DictReader(stream) if wanted.items() <= row.items()]
    table = {(row["precision"], row["test_set"]): row for row in rows}
    found = [
        line.strip("| ").split(" | ")
        for line in text.splitlines()
        if re.match(r"\| (int4|full) ", line)
    ]
    assert [row[0] for row in found] == ["int4"] * 3 + ["full"] * 3
    for precision, _, test_set, _, words, wer, *_ in found:
        of_study = table[precision, test_set]
        assert (words, wer) == (of_study["words"], f"{float(of_study['wer_pct']):.2f}")


def test_every_job_left_a_log_and_a_benchmark(smoke):
    for stage in (
        "train",
        "quantize",
        "decode",
        "build_pool",
        "score",
        "build_bundle",
        "describe_bundle",
    ):
        logs = {
            path.relative_to(smoke.folder / "logs").with_suffix("")
            for path in (smoke.folder / f"logs/{stage}").rglob("*.log")
        }
        times = smoke.folder / "results/benchmarks"
        timed = {path.relative_to(times).with_suffix("") for path in (times / stage).rglob("*.tsv")}
        assert logs == timed
        assert logs


def test_the_headline_is_printed(smoke, capsys):
    import print_headline

    print_headline.main(
        [
            "--tables",
            str(smoke.folder / "results/tables"),
            "--report",
            str(smoke.folder / "results/report.html"),
        ]
    )
    printed = capsys.readouterr().out
    assert "560ms" in printed
    assert "results/report.html" in printed


def test_nothing_of_this_machine_or_of_a_secret_is_in_the_report(smoke):
    page = (smoke.folder / "results/report.html").read_text(encoding="utf-8")
    assert str(smoke.folder) not in page
