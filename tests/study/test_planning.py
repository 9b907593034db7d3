"""The planners: what runs cost, worked out by hand; each answers on a fresh clone in a moment, and
claims nothing."""

import json
import subprocess
import sys

import pytest
import yaml
from conftest import ROOT, Checkout
from made.studies import replay_config, smoke_config

import plan_cost
import plan_study
from warmstart.study import overlays, planned_price, planning
from warmstart.study.config import read_config, validate
from warmstart.study.grid import Study, TestSet
from warmstart.study.planning import Cost, Planner

FAMILY = "fastconformer_rnnt"


def small(**changes):
    """The demo's study with one language, and figures that are easy to reckon with."""
    config = yaml.safe_load((ROOT / "demo.yaml").read_text(encoding="utf-8"))
    config["languages"] = {
        "it": {
            **config["languages"]["it"],
            "budgets_hours": [0.02, 0.32],
            "test_sets": ["same_voices"],
        }
    }
    config["training"] |= {
        "steps": {"fixed": 900},
        "batch_duration_s": 20,
        "devices": 2,
    }  # 5 h of audio
    config["tiers"] = {name: config["tiers"][name] for name in ("1120ms", "560ms")}
    config["resources"] |= {"train_gpus": 2, "decode_gpus": 1, "train_threads": 8}
    config["decoding"] |= {"threads": 4}
    config["planning"] = {
        "train_audio_hours_per_hour": 10,
        "decode_rtfx": 4,
        "job_start_min": 6,
        "test_hours": 2,
    } | changes
    validate(config)
    return Study(config)


def test_a_run_costs_what_its_audio_takes(tmp_path):
    planner = Planner(small(), tmp_path)
    first, largest = planner.study.runs()[:2]
    # Each of two GPUs sees 5 h at 10 h an hour: half an hour, and six minutes to start.
    assert planner.training_audio_h(first) == pytest.approx(10)
    assert planner.training(first) == Cost(
        pytest.approx(0.6), pytest.approx(1.2), pytest.approx(4.8), pytest.approx(10.0)
    )
    # Two hours at four times real time, and six minutes, at two tiers; the largest budget has an
    # int4 encoder at 560 ms too.
    assert planner.decoding_of(first) == Cost(
        pytest.approx(1.2), pytest.approx(1.2), pytest.approx(4.8)
    )
    assert planner.decoding_of(largest).gpu_h == pytest.approx(1.8)


def test_epochs_make_the_cost_follow_the_budget(tmp_path):
    made = small()
    made.config["training"]["steps"] = {"epochs": 10}
    first, largest = made.runs()[:2]
    assert Planner(made, tmp_path).training_audio_h(first) == pytest.approx(
        0.2
    )  # 10 x 0.02 h, by both GPUs together
    assert Planner(made, tmp_path).training_audio_h(largest) == pytest.approx(3.2, rel=0.01)


def test_test_sets_of_a_replayed_language_are_as_long_as_in_their_own(tmp_path):
    made = Planner(Study(checked_replay()), tmp_path)
    report = tmp_path / "manifests" / "pretraining" / "en" / "test_same.qc.json"
    report.parent.mkdir(parents=True)
    report.write_text(json.dumps({"kept": {"hours": 3.0}}))
    assert made.test_audio_h(TestSet("en", "numbers")) == 3.0
    assert made.test_audio_h(TestSet("it", "same_voices")) == 0.04


def checked_replay():
    config = replay_config()
    validate(config)
    return config


def test_families_have_speeds_of_their_own(tmp_path):
    """Of 5 h by each of two devices: half an hour at 10 h an hour, ten hours at half an hour."""
    made = small(families={"wav2vec2_ctc": {"train_audio_hours_per_hour": 0.5}})
    config = made.config
    config["arms"] = {
        name: {"init": "en", "family": family, "tiers": ["560ms"], "precisions": ["full"]}
        for name, family in (("one", FAMILY), ("other", "wav2vec2_ctc"))
    }
    made = Study(config)
    planner = Planner(made, tmp_path)
    one, other = (next(run for run in made.runs() if run.arm == name) for name in ("one", "other"))
    assert planner.training(one).wall_h == pytest.approx(0.6)
    assert planner.training(other).wall_h == pytest.approx(10.1)
    assert planner.decoding_of(one) == planner.decoding_of(other)
    finish(tmp_path, one)  # what is measured of a family says nothing of another
    said = "\n".join(Planner(made, tmp_path).assumptions())
    assert f"{FAMILY}, training: 12 h of audio an hour and device (measured on 1 of" in said
    assert (
        "wav2vec2_ctc, training: 0.5 h of audio an hour and device (assumed: "
        "planning.families.wav2vec2_ctc.train_audio_hours_per_hour)"
    ) in said
    assert "wav2vec2_ctc, decoding: 4 times real time (assumed: planning.decode_rtfx" in said


def finish(results, run, **record):
    folder = results / "runs" / run.path
    folder.mkdir(parents=True)
    (folder / "run.json").write_text(
        json.dumps({"hours_seen": 12.0, "train_s": 1800, "wall_s": 2160} | record)
    )


def test_measured_speeds_replace_assumed_ones(tmp_path):
    made = small()
    first, second, third = made.runs()[:3]
    finish(tmp_path, first)  # 12 h in half an hour on two GPUs: 12 h an hour and GPU
    (tmp_path / "runs" / second.path).mkdir(parents=True)
    # Under way: 6 h in a quarter of an hour, the same speed.
    (tmp_path / "runs" / second.path / "train.csv").write_text(
        "step,hours_seen,elapsed_s\n1,1.0,100\n2,6.0,900\n"
    )
    planner = Planner(made, tmp_path)
    assert planner.training_speed(FAMILY).value == pytest.approx(12)
    assert planner.training_speed(FAMILY).source == "measured on 2 of this study's runs"
    assert planner.training(first).wall_h == pytest.approx(0.6)  # as it took
    assert planner.training(third).wall_h == pytest.approx(5 / 12 + 0.1)
    # Of a record that a crash has cut planners take nothing, and they change nothing.
    cut = tmp_path / "runs" / third.path / "run.json"
    finish(tmp_path, third)
    cut.write_text(cut.read_text()[:20])
    planner = Planner(made, tmp_path)
    assert planner.training_speed(FAMILY).source == "measured on 2 of this study's runs"
    assert cut.stat().st_size == 20
    # Replayed audio is trained on like any other, and a run went as fast as the devices that it
    # had.
    more = tmp_path / "more"
    finish(more, first, replay_hours_seen=3.0, devices=1, num_nodes=1)
    assert Planner(made, more).training_speed(FAMILY).value == pytest.approx(30)
    (more / "runs" / second.path).mkdir(parents=True)
    (more / "runs" / second.path / "train.csv").write_text(
        "step,hours_seen,elapsed_s,replay_hours\n2,12.0,1800,3.0\n"
    )
    assert Planner(made, more).training_speed(FAMILY).value == pytest.approx(
        (15 + 15) / (0.5 + 0.5 * 2)
    )
    header = tmp_path / "hypotheses" / first.path / "full" / "560ms" / "same_voices.json"
    header.parent.mkdir(parents=True)
    header.write_text(json.dumps({"audio_s": 100.0, "compute_s": 5.0}))
    report = tmp_path / "manifests" / "spoken" / "it" / "test_same.qc.json"
    report.parent.mkdir(parents=True)
    report.write_text(json.dumps({"kept": {"hours": 1.0}}))
    planner = Planner(made, tmp_path)
    assert planner.decoding(third, "full", made.tiers["560ms"]).wall_h == pytest.approx(
        1 / 20 + 0.1
    )
    assert planner.decoding(third, "full", made.tiers["1120ms"]).wall_h == pytest.approx(
        1 / 4 + 0.1
    )
    text = planning.per_run(planner)
    row = next(line.split() for line in text.splitlines() if line.strip().startswith(first.path))
    assert row == [first.path, "10", "0.6", "0.5", "1.7", "6.8", "finished"]
    assert "planning.test_hours" not in text  # the size of the test set is known now


def test_jobs_are_told_apart_by_what_they_make():
    outputs = [
        ("results/hypotheses/it/en/0.02h/seed1/full/560ms/a.jsonl", "decode_it"),
        ("results/hypotheses/it/en/0.02h/seed1/full/560ms/b.json", "decode_it"),
        ("results/hypotheses/it/en/0.02h/seed1/full/offline/a.jsonl", "decode_it"),
        ("results/budgets/it/0.02h.jsonl.gz", "subset_budget"),
        ("results/budgets/it/0.02h.json", "subset_budget"),
        ("results/budgets/it/0.08h.json", "subset_budget"),
    ]
    stages = [stage for stage, _ in planning.jobs_of(outputs)]
    assert (stages.count("decode"), stages.count("subset_budget")) == (2, 2)


@pytest.mark.slow
def test_the_stage_table_has_the_jobs_that_snakemake_would_do(checkout: Checkout, tmp_path):
    copy = checkout.copy(tmp_path / "warmstart")
    copy.write_config(smoke_config())
    wanted = {}
    for rule, count in copy.planned().items():
        stage = "decode" if rule.startswith("decode_") else rule
        wanted[stage] = wanted.get(stage, 0) + count
    program = [sys.executable, plan_study.__file__, "--config", "smoke.yaml"]
    done = subprocess.run(program, cwd=copy.folder, capture_output=True, text=True, check=True)
    table = [line.split() for line in done.stdout.split("\n\n")[0].splitlines()[2:]]
    assert {row[0]: int(row[1]) for row in table} == wanted | {"all": sum(wanted.values())}


def test_voxpopuli_is_downloaded_once_for_all_languages():
    config = read_config(str(ROOT / "config.yaml"))
    validate(config)
    planner = Planner(Study(config))
    outputs = [
        (f"resources/corpora/voxpopuli/{lang}/complete.json", "download_corpus")
        for lang in ("de", "fr")
    ]
    row = next(
        line.split()
        for line in planning.per_stage(planner, outputs).splitlines()
        if line.startswith("download")
    )
    assert row[:2] + row[-1:] == ["download_corpus", "2", "75"]


def test_the_sum_is_the_last_row_whatever_rules_there_are():
    outputs = [
        ("results/new/it.json", "a_new_rule"),
        ("results/replay/it/0.1h.jsonl.gz", "mix_training_set"),
    ]
    rows = planning.per_stage(Planner(small()), outputs).split("\n\n")[0].splitlines()[2:]
    assert [row.split()[0] for row in rows] == ["mix_training_set", "a_new_rule", "all"]


def test_hours_are_priced_where_the_configuration_says_what_they_cost():
    free = {"gpu_hour_price": None, "core_hour_price": None, "currency": "EUR", "gpu_watts": None}
    assert planned_price.lines(free, 555, 1000) == []
    assert planned_price.text(free, 555, 1000) == ""
    # By hand: 555 x 2.5 + 1000 x 0.05 = 1437.5; 555 h x 700 W = 388.5 kWh.
    priced = free | {"gpu_hour_price": 2.5, "core_hour_price": 0.05, "gpu_watts": 700}
    assert planned_price.lines(priced, 555, 1000) == [
        "1,437.50 EUR: 555.0 GPU h at 2.5 (planning.gpu_hour_price) + "
        "1,000.0 core h at 0.05 (planning.core_hour_price)",
        "388.5 kWh: 555.0 GPU h at 700 W (planning.gpu_watts), without cooling and hosts",
    ]
    [money] = planned_price.lines(free | {"gpu_hour_price": 0, "currency": "credits"}, 2, 1)
    assert money.startswith("0.00 credits: 2.0 GPU h at 0 ")


def test_a_plan_names_money_and_energy(tmp_path):
    study = small(gpu_hour_price=2, gpu_watts=500)
    run = study.runs()[0].path
    outputs = [(f"results/runs/{run}/model.nemo", "train")]
    planner = Planner(study, tmp_path)
    for text in (planning.per_stage(planner, outputs), planning.per_run(planner)):
        assert " EUR: " in text
        assert "GPU h at 2 (planning.gpu_hour_price)" in text
        assert "GPU h at 500 W (planning.gpu_watts)" in text
    assert " EUR: " not in planning.per_run(Planner(small(), tmp_path))


def test_nothing_to_do_is_said():
    assert planning.per_stage(Planner(small()), []).startswith("Nothing to be done")


@pytest.mark.slow
@pytest.mark.parametrize("config", ["config.yaml", "demo.yaml"])
def test_every_planner_answers_on_a_fresh_clone_and_claims_nothing(
    checkout: Checkout, tmp_path, config
):
    copy = checkout.copy(tmp_path / "warmstart")
    output = copy.snakemake(
        "--cores", "1", "hours", "cost", "plan", "--config", "plan_hours=300", config=config
    ).stdout
    for text in ("Licences", "all runs", "+1.49 pp"):
        assert text in output
    assert not (copy.folder / "results").exists()
    assert not (copy.folder / "resources").exists()


def test_the_cost_of_the_full_study_is_printed_for_all_runs(capsys, tmp_path):
    plan_cost.main(["--config", str(ROOT / "config.yaml"), "--results", str(tmp_path)])
    lines = capsys.readouterr().out.splitlines()
    assert sum("to do" in line for line in lines) == 50
    # 20,000 batches of 600 s at 300 h an hour, and three minutes: 11.16 h each.
    assert lines[2].startswith("all runs (50) ")
    assert lines[3].startswith("still to train (50) ")
    assert lines[4].startswith("German (de, 10) ")
    assert lines[5].split()[:3] == ["de/en/100h/seed1", "3,333", "11.2"]


def measured(results, run, owner=None, **record):
    """Results with one finished run, its hypotheses and its manifest, of the study `owner`."""
    finish(results, run, **record)
    header = results / "hypotheses" / run.path / "full" / "560ms" / "same_voices.json"
    header.parent.mkdir(parents=True)
    header.write_text(json.dumps({"audio_s": 100.0, "compute_s": 5.0, "device": "cuda"}))
    report = results / "manifests" / "spoken" / "it" / "test_same.qc.json"
    report.parent.mkdir(parents=True)
    report.write_text(json.dumps({"kept": {"hours": 9.0}}))
    if owner:
        (results / "study.json").write_text(json.dumps({"name": owner}))


def test_nothing_is_learnt_from_results_of_another_study(tmp_path):
    made = small()
    run, tier = made.runs()[0], made.tiers["560ms"]
    measured(tmp_path / "other", run, owner="full")
    measured(tmp_path / "own", run, owner="demo")
    other, own = Planner(made, tmp_path / "other"), Planner(made, tmp_path / "own")
    assert (
        own.training_speed(FAMILY).value,
        own.decoding_speed("full", "560ms", FAMILY).value,
    ) == (12, 20)
    assert own.test_audio_h(TestSet("it", "same_voices")) == 9
    # As on an empty folder: 10 h an hour, 4 times real time, 0.04 h of test speech.
    empty = Planner(made, tmp_path / "empty")
    assert other.training_speed(FAMILY) == empty.training_speed(FAMILY)
    assert other.decoding_speed("full", "560ms", FAMILY) == empty.decoding_speed(
        "full", "560ms", FAMILY
    )
    assert other.decoding(run, "full", tier) == empty.decoding(run, "full", tier)
    assert other.finished(run) is None
    text = planning.per_run(other)
    assert "belongs to the study 'full'" in text
    assert "measured" not in text


@pytest.mark.parametrize(
    ("record", "said"),
    [
        ({"settings": {"model": {"contexts": [[70, 1]]}}}, "training.model"),
        ({"init_source": {"source": "toys/toy.nemo"}}, "another donor (toys/toy.nemo)"),
        ({"init_source": {"repo": "nvidia/other"}}, "another donor (nvidia/other)"),
        ({"init_source": {"sha256": "0" * 64}}, "another donor"),
        ({"hardware": {"gpu": None}}, "a CPU"),
    ],
)
def test_nothing_is_learnt_from_a_toy_or_from_other_hardware(tmp_path, record, said):
    made = small()
    run = made.runs()[0]
    measured(tmp_path, run, owner="demo", **record)
    planner = Planner(made, tmp_path)
    assert planner.training_speed(FAMILY).value == 10
    assert planner.decoding_speed("full", "560ms", FAMILY).value == 4
    assert planner.finished(run) is None
    assert f"not on 1 finished run(s), {run.path} first: trained with {said}" in planning.per_run(
        planner
    )


def test_what_says_the_same_of_itself_is_this_studys(tmp_path):
    made = small()
    run = made.runs()[0]
    settings = {key: made.config["training"][key] for key in ("model", "batch_duration_s")}
    digest = made.config["inits"]["en"]["sha256"]
    source = {"source": "../checkout/demo/inits/en.nemo", "sha256": digest}
    record = {"settings": settings, "init_source": source, "hardware": {"gpu": "H100"}}
    measured(tmp_path, run, owner="demo", **record)
    assert Planner(made, tmp_path).training_speed(FAMILY).value == 12


def test_hypotheses_of_a_run_that_is_not_in_the_study_are_no_measure(tmp_path):
    made = small()
    header = tmp_path / "hypotheses/it/old/0.02h/seed1/full/560ms/same_voices.json"
    header.parent.mkdir(parents=True)
    header.write_text(json.dumps({"audio_s": 100.0, "compute_s": 5.0}))
    assert Planner(made, tmp_path).decoding_speed("full", "560ms", FAMILY).value == 4


def test_speeds_stand_in_the_order_of_latency(tmp_path):
    made = small()
    config = yaml.safe_load((ROOT / "demo.yaml").read_text(encoding="utf-8"))
    validate(config)
    made = Study(config)
    line = next(line for line in Planner(made, tmp_path).assumptions() if "times real" in line)
    tiers = [part.split("/")[1] for part in line.rstrip(")").split("; ")[1].split(", ")]
    full = tiers[: len(made.tiers)]
    assert full == ["160ms", "560ms", "1120ms", "offline"]


def test_the_wall_time_of_one_machine_has_a_lower_bound():
    # Ten jobs of 2 h on 4 cores each: 80 core hours, two side by side on 8 cores.
    jobs = [Cost(wall_h=2, core_h=8)] * 10
    assert planning.wall_time(jobs, 8) == (
        "On one machine with --cores 8 at least 10 h of wall time; more, where jobs wait for each "
        "other."
    )
    # On 2 cores each has both of them, and takes its 2 h.
    assert "--cores 2 at least 20 h" in planning.wall_time(jobs, 2)
    # None ends before its longest job.
    assert "at least 12 h" in planning.wall_time([*jobs, Cost(wall_h=12, core_h=12)], 64)
    on_gpus = [Cost(wall_h=2, core_h=2, gpu_h=4)] * 10
    said = planning.wall_time(on_gpus, 8)
    assert "at least 2.5 h of" in said
    assert "with one GPU 40 h, with eight 5 h" in said


def test_planners_take_several_files_as_snakemake_does(tmp_path, monkeypatch):
    monkeypatch.chdir(ROOT)
    over = tmp_path / "seeds.yaml"
    over.write_text("seeds: [1, 2, 3]\ntraining: {batch_duration_s: 7}\n", encoding="utf-8")
    demo = overlays.read_validated(["demo.yaml"])
    both = overlays.read_validated(["demo.yaml", str(over)])
    assert both["seeds"] == [1, 2, 3]
    assert both["training"]["batch_duration_s"] == 7
    assert both["training"]["optimizer"] == demo["training"]["optimizer"]
    # Without languages it is laid over config.yaml.
    alone = overlays.read_validated([str(over)])
    assert list(alone["languages"]) == list(overlays.read_validated(["config.yaml"])["languages"])
    assert alone["seeds"] == [1, 2, 3]


@pytest.mark.slow
def test_a_plan_in_the_folder_of_another_study_is_for_an_empty_one(checkout: Checkout, tmp_path):
    copy = checkout.copy(tmp_path / "warmstart")
    copy.write_config(smoke_config())
    (copy.folder / "results").mkdir()
    (copy.folder / "results/study.json").write_text('{"name": "full"}')
    program = [sys.executable, plan_study.__file__, "--config", "smoke.yaml", "--cores", "4"]
    done = subprocess.run(program, cwd=copy.folder, capture_output=True, text=True, check=True)
    assert done.stdout.startswith("!!!!")
    assert "belong to the study 'full', not to 'smoke'" in " ".join(
        done.stdout.replace("!!", "").split()
    )
    assert "\nall " in done.stdout
    assert "--cores 4 at least" in done.stdout
    assert not (copy.folder / "resources").exists()
