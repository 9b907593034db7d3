"""Only stale outputs run again: edits in a finished study, then what real Snakemake plans."""

import os
import shutil

import pytest
import yaml
from conftest import ROOT, Checkout

from warmstart.run import files
from warmstart.study import recipe
from warmstart.study.versions import VERSIONS as VERSION_OF

pytestmark = pytest.mark.slow

HEAVY = {
    "download_corpus",
    "prepare_manifest",
    "build_pool",
    "subset_budget",
    "train_tokenizer",
    "train",
    "quantize",
    "build_bundle",
    "decode_it",
}


@pytest.fixture
def study(smoke: Checkout, tmp_path) -> Checkout:
    """A finished study of its own for every edit."""
    return smoke.copy(tmp_path / "warmstart")


def edit(study: Checkout, path: str, old: str, new: str) -> None:
    target = study.folder / path
    text = target.read_text(encoding="utf-8")
    assert old in text
    target.write_text(text.replace(old, new, 1), encoding="utf-8")


def test_nothing_changed_means_nothing_to_be_done(study):
    assert study.planned() == {}


def test_touched_inputs_with_the_same_content_change_nothing(study):
    os.utime(study.folder / "results/pools/it.qc.json")
    os.utime(study.folder / "demo/speech/it/metadata.tsv")
    assert study.planned() == {}


def test_a_new_language_runs_its_own_jobs_and_the_evidence(study, checkout):
    config = study.read_config()
    config["languages"]["fr"] = {
        **checkout.read_config("demo.yaml")["languages"]["fr"],
        "budgets_hours": [0.004, 0.02],
    }
    study.write_config(config)
    outputs = study.planned_outputs()
    heavy = [
        path
        for path in outputs
        if path.startswith(("results/runs/", "results/hypotheses/", "results/pools/", "resources/"))
    ]
    assert heavy
    assert all("/fr/" in path or "/fr." in path for path in heavy)
    jobs = study.planned()
    assert set(jobs) >= {"aggregate", "plot", "build_report"}
    assert jobs["describe_bundle"] == 1, "its own bundle's alone"


def test_a_new_tier_is_decoded_and_nothing_else_is(study):
    config = study.read_config()
    config["tiers"]["160ms"] = {"context": [70, 1]}
    study.write_config(config)
    jobs = study.planned()
    assert jobs["decode_it"] == 4  # 2 inits x 2 budgets at one tier
    assert not (HEAVY - {"decode_it"}) & set(jobs)
    assert "describe_bundle" not in jobs
    assert all(
        "/160ms/" in path
        for path in study.planned_outputs()
        if path.startswith("results/hypotheses/")
    )


def test_a_new_budget_trains_its_own_runs(study):
    config = study.read_config()
    config["languages"]["it"]["budgets_hours"] = [0.004, 0.01, 0.02]
    study.write_config(config)
    outputs = study.planned_outputs()
    assert all(
        "/0.01h" in path
        for path in outputs
        if path.startswith(("results/runs/", "results/hypotheses/", "results/budgets/"))
    )
    assert study.planned()["train"] == 2
    assert "build_pool" not in study.planned()


def test_a_new_seed_trains_its_own_runs(study):
    config = study.read_config()
    config["seeds"] = [1, 2]
    study.write_config(config)
    outputs = study.planned_outputs()
    assert study.planned()["train"] == 4
    assert all(
        "/seed2/" in path
        for path in outputs
        if path.startswith(("results/runs/", "results/hypotheses/"))
    )
    assert not {"build_pool", "subset_budget", "train_tokenizer", "download_init"} & set(
        study.planned()
    )


def test_a_new_init_trains_its_own_runs(study):
    config = study.read_config()
    config["inits"]["scratch"] = {"name": "From scratch", "scratch": "en"}
    study.write_config(config)
    outputs = study.planned_outputs()
    assert study.planned()["train"] == 2
    assert all(
        "/scratch/" in path
        for path in outputs
        if path.startswith(("results/runs/", "results/hypotheses/"))
    )
    assert not {"build_pool", "subset_budget", "train_tokenizer", "download_init"} & set(
        study.planned()
    )


def test_another_release_of_one_corpus_makes_what_uses_it_stale(study):
    config = study.read_config()
    config["corpora"]["spoken"]["seed"] += 1
    study.write_config(config)
    jobs, outputs = study.planned(), study.planned_outputs()
    assert jobs["download_corpus"] == 1
    assert {"build_pool", "subset_budget", "train_tokenizer", "train", "decode_it", "score"} <= set(
        jobs
    )
    assert not any(
        path.startswith(
            ("results/manifests/human/", "resources/corpora/human/", "resources/inits/")
        )
        for path in outputs
    )


def test_edited_statistics_make_tables_again_and_no_scores(study):
    with open(
        study.folder / "workflow/scripts/warmstart/evidence/intervals.py", "a", encoding="utf-8"
    ) as stream:
        stream.write("\n# another interval\n")
    jobs = study.planned()
    assert {"aggregate", "plot", "build_report", "describe_bundle"} <= set(jobs)
    assert not (HEAVY | {"score"}) & set(jobs)


def test_another_margin_makes_tables_again_and_no_scores(study):
    config = study.read_config()
    config["statistics"]["tier_margin_pp"] = 1.5
    study.write_config(config)
    jobs = study.planned()
    assert "aggregate" in jobs
    assert not (HEAVY | {"score"}) & set(jobs)


def test_the_other_init_as_baseline_makes_tables_again_and_trains_nothing(study):
    config = study.read_config()
    config["statistics"] |= {"baseline": "ml", "challenger": "en"}
    study.write_config(config)
    jobs = study.planned()
    assert "aggregate" in jobs
    assert not (HEAVY | {"score"}) & set(jobs)


def test_what_only_stops_or_describes_a_job_runs_nothing(study):
    """A corpus that loses a little more than was allowed must not cost the trainings of all other
    languages."""
    config = study.read_config()
    config["filters"]["max_drop_fraction"] = 0.4
    config["corpora"]["spoken"] |= {"max_drop_fraction": 0.3, "licence": "CC0"}
    config["corpora"]["human"]["hours"]["it"] = 0.1
    # Hours of another language in the same corpus, as docs/add-a-language.md has them.
    config["corpora"]["human"]["hours"]["sv"] = 31
    config["languages"]["it"]["text"]["examples"].append(["Due!", "due"])
    # The digest can be pinned after the download, and the same recordings can have a second name.
    del config["inits"]["ml"]["sha256"]
    config["test_sets"]["heard"] = dict(config["test_sets"]["same_voices"])
    study.write_config(config)
    # Figures and page list the test sets; page and bundle the licences.
    assert study.planned() == {"plot": 1, "build_report": 1, "describe_bundle": 1}


def test_an_edited_cluster_profile_runs_nothing(study):
    profile = study.folder / "profiles/slurm/config.v8+.yaml"
    edit(study, str(profile.relative_to(study.folder)), "retries: ", "retries: 1")
    settings = yaml.safe_load(profile.read_text(encoding="utf-8"))
    settings["default-resources"] |= {"runtime": 17, "mem_mb": 12345}
    settings.pop("executor")  # a dry run through the profile, without a Slurm
    profile.write_text(yaml.safe_dump(settings), encoding="utf-8")
    assert study.planned("--profile", "profiles/slurm") == {}


def test_more_memory_or_threads_for_a_job_and_another_pace_of_training_run_nothing(study):
    config = study.read_config()
    config["resources"] |= {"train_mem_mb": 9000, "decode_mem_mb": 9000, "train_threads": 2}
    pace = {
        "num_workers": 2,
        "log_every_steps": 7,
        "checkpoint_every_steps": 2,
        "validate_every_steps": 3,
    }
    config["training"] |= pace
    study.write_config(config)
    assert study.planned() == {}


def test_shards_are_packed_and_the_models_taken_back(study):
    config = study.read_config()
    config["training"]["storage"] = "shar"
    study.write_config(config)
    jobs = study.planned()
    assert (jobs["pack_pool"], jobs["train"]) == (1, 4)
    models = {path: path.read_bytes() for path in study.folder.glob("results/runs/**/model.nemo")}
    profile = ("--workflow-profile", "profiles/demo")
    said = study.snakemake("--cores", "2", *profile, "--until", "train").stdout
    assert said.count("nothing trained") >= 4
    assert {path: path.read_bytes() for path in models} == models
    assert study.planned() == {}
    # Other weights: trained from the shards, in the real workflow.
    config["training"]["optimizer"]["lr"] = 1e-3
    study.write_config(config)
    one = "results/runs/it/en/0.004h/seed1/model.nemo"
    assert "pack_pool" not in study.planned(one)
    study.snakemake("--cores", "1", *profile, one)
    assert (study.folder / one).read_bytes() != models[study.folder / one]


def test_one_more_test_set_is_decoded_without_the_old_ones(study):
    config = study.read_config()
    config["languages"]["it"]["test_sets"] = ["same_voices", "new_voices"]
    study.write_config(config)
    # Take one away for real, so that the records say that it was never there.
    for path in study.folder.glob("results/hypotheses/**/human.*"):
        path.unlink()
    study.snakemake("--cores", "2", "--workflow-profile", "profiles/demo")
    # A header holds the seconds that decoding took: the same bytes mean that it was not done again.
    before = {
        path: path.read_bytes()
        for path in study.folder.glob("results/hypotheses/**/same_voices.json")
    }
    config["languages"]["it"]["test_sets"] = ["same_voices", "new_voices", "human"]
    study.write_config(config)
    jobs = study.planned()
    assert not {"train", "build_pool", "train_tokenizer", "quantize"} & set(jobs)
    one = next(iter(before)).parent
    study.snakemake(
        "--cores",
        "2",
        "--workflow-profile",
        "profiles/demo",
        str((one / "human.jsonl").relative_to(study.folder)),
    )
    assert (one / "human.jsonl").exists()
    assert (one / "same_voices.json").read_bytes() == before[one / "same_voices.json"]


def test_what_a_failed_decode_had_finished_is_not_decoded_again(study):
    """Snakemake removes all outputs of a job that fails, the finished ones too."""
    made = "results/hypotheses/it/en/0.004h/seed1/full/560ms"
    before = (study.folder / made / "same_voices.jsonl").read_bytes()
    shutil.rmtree(study.folder / made)
    audio = study.folder / "demo/speech/it/agent-user.flac"
    whole = audio.read_bytes()
    audio.write_bytes(whole[:1000])
    target = ("--cores", "1", "--workflow-profile", "profiles/demo", f"{made}/human.jsonl")
    failed = study.snakemake(*target, check=False)
    assert failed.returncode
    assert "cut human-it-test-agent-user: audio cannot be read" in failed.stdout
    assert not (study.folder / made / "same_voices.jsonl").exists()
    audio.write_bytes(whole)
    said = study.snakemake(*target).stdout
    assert "6 of 6 utterances were finished by a process before this one" in said
    assert (study.folder / made / "same_voices.jsonl").read_bytes() == before
    assert not list((study.folder / made).glob(".*.journal"))


def test_a_test_set_taken_out_or_moved_is_scored_without_decoding(study):
    config = study.read_config()
    config["languages"]["it"]["test_sets"] = ["human", "same_voices"]
    study.write_config(config)
    jobs = study.planned()
    assert jobs["score"] == 1
    # the example of a bundle is from the first test set, here another one now
    assert not (HEAVY - {"build_bundle"}) & set(jobs)


def test_an_edited_normaliser_scores_again_without_decoding(study):
    edit(study, "workflow/scripts/warmstart/data/text.py", "\nVERSION = ", "\nVERSION = 10")
    jobs = study.planned()
    assert jobs["score"] == 1
    assert "aggregate" in jobs
    assert not HEAVY & set(jobs)


def test_an_edited_report_is_only_laid_out_again(study):
    with open(
        study.folder / "workflow/scripts/warmstart/report/page.py", "a", encoding="utf-8"
    ) as stream:
        stream.write("\n# another colour\n")
    assert set(study.planned()) == {"build_report"}


def test_a_comment_in_the_training_program_trains_nothing(study):
    with open(study.folder / "workflow/scripts/train.py", "a", encoding="utf-8") as stream:
        stream.write("\n# a remark\n")
    with open(
        study.folder / "workflow/scripts/warmstart/training/loop.py", "a", encoding="utf-8"
    ) as stream:
        stream.write("\n# a remark\n")
    assert study.planned() == {}


VERSIONS = "workflow/scripts/warmstart/study/versions.py"


@pytest.mark.parametrize(
    ("stage", "follow"),
    [
        ("decode", {"decode_it"}),
        ("quantize", {"quantize", "decode_it", "build_bundle"}),
        ("train", {"train", "quantize", "decode_it", "build_bundle"}),
    ],
)
def test_a_raised_version_runs_exactly_its_stage_and_what_follows(study, stage, follow):
    number = VERSION_OF[stage]
    edit(study, VERSIONS, f'"{stage}": {number},', f'"{stage}": {number + 1},')
    jobs = study.planned()
    assert set(jobs) & HEAVY == follow & HEAVY
    assert {"score", "aggregate", "plot", "build_report"} <= set(jobs)


def test_a_raised_version_of_decoding_decodes_again(study):
    """The program believes no hypotheses of another version, though models and settings are as
    they were."""
    one = "results/hypotheses/it/en/0.004h/seed1/full/560ms/human.jsonl"
    header = (study.folder / one).with_suffix(".json")
    before, number = files.read_json(header), VERSION_OF["decode"]
    edit(study, VERSIONS, f'"decode": {number},', f'"decode": {number + 1},')
    study.snakemake("--cores", "1", "--workflow-profile", "profiles/demo", one)
    after = files.read_json(header)
    assert (before["version"], after["version"]) == (number, number + 1)
    assert before["compute_s"] != after["compute_s"]
    assert study.planned(one) == {}


def test_what_decides_a_model_is_no_pace():
    pace = {
        "num_workers": 2,
        "log_every_steps": 7,
        "checkpoint_every_steps": 2,
        "validate_every_steps": 3,
    }
    model = {"gradient_clip": 1.0, "early_stop": None}
    plain = {**pace, **model, "average_last": 0}
    assert recipe.pace(plain) == pace
    assert (
        recipe.of_model(plain)
        == recipe.of_steps(plain) | {"average_last": 0}
        == {**model, "average_last": 0}
    )
    # Which weights are averaged, and where a run ends.
    averaged = recipe.of_model(plain | {"average_last": 2})
    assert averaged == {**model, "average_last": 2, "checkpoint_every_steps": 2}
    ended = recipe.of_steps(plain | {"early_stop": {"patience": 2}})
    assert ended == model | {"early_stop": {"patience": 2}, "validate_every_steps": 3}


def test_another_learning_rate_trains_everything_and_keeps_the_data(study):
    config = study.read_config()
    config["training"]["optimizer"]["lr"] = 1e-3
    study.write_config(config)
    jobs = study.planned()
    assert jobs["train"] == 4
    assert not {
        "download_corpus",
        "prepare_manifest",
        "build_pool",
        "subset_budget",
        "train_tokenizer",
    } & set(jobs)


def test_a_deleted_model_comes_back_and_the_page_alone_does_not_ask_for_it(study):
    model = study.folder / "results/runs/it/en/0.004h/seed1/model.nemo"
    before = model.read_bytes()
    model.unlink()
    assert study.planned("report") == {}
    assert study.planned()["train"] == 1
    target = str(model.relative_to(study.folder))
    said = study.snakemake("--cores", "1", "--workflow-profile", "profiles/demo", target).stdout
    assert "nothing trained" in said
    assert model.read_bytes() == before


@pytest.mark.parametrize(
    ("path", "rule"),
    [
        ("results/tables", "aggregate"),
        ("results/figures/training.png", "plot"),
        ("results/scores", "score"),
        ("results/hypotheses/it/en/0.02h/seed1/full/560ms/human.json", "decode_it"),
        ("results/runs/it/ml/0.02h/seed1", "train"),
        ("results/pools/it.qc.json", "build_pool"),
        ("results/bundles/it/ml/0.02h/seed1/int4/560ms/joiner.onnx", "build_bundle"),
    ],
)
def test_what_the_readme_lists_comes_back_when_it_is_deleted(study, path, rule):
    gone = study.folder / path
    shutil.rmtree(gone) if gone.is_dir() else gone.unlink()
    assert study.planned()[rule] == 1


def test_settings_that_were_deleted_are_written_again_though_nothing_is_to_be_done(study):
    settings = study.folder / "results/settings"
    before = {path.name: path.read_bytes() for path in settings.rglob("*.yaml")}
    shutil.rmtree(settings)
    assert study.planned() == {}
    assert not settings.exists(), "a dry run writes nothing"
    study.snakemake("--cores", "1")
    assert {path.name: path.read_bytes() for path in settings.rglob("*.yaml")} == before


LARGE = 1_000_000  # bytes; above it Snakemake alone compares times


@pytest.mark.parametrize("profile", [(), ("--workflow-profile", "profiles/demo")])
def test_large_files_of_other_times_and_the_same_content_change_nothing(study, profile):
    """As after `touch`, a clone, an object store, or rsync without times."""
    touched = [
        study.folder / "demo/inits/en.nemo",
        study.folder / "resources/inits/en.nemo",
        study.folder / "results/runs/it/en/0.004h/seed1/model.nemo",
    ]
    assert all(path.stat().st_size > LARGE for path in touched)
    for path in touched:
        os.utime(path)
    assert study.planned(*profile) == {}


def test_a_copy_without_times_plans_nothing(study, tmp_path):
    copy = tmp_path / "copied" / "warmstart"
    shutil.copytree(study.folder, copy, symlinks=True, copy_function=shutil.copyfile)
    assert Checkout(copy).planned() == {}


def test_a_large_file_of_the_same_size_and_other_content_is_seen(study):
    model = study.folder / "results/runs/it/en/0.004h/seed1/model.nemo"
    content = bytearray(model.read_bytes())
    content[-1] ^= 1
    model.write_bytes(content)
    assert study.planned()["decode_it"] == 2


EMPTY = "import gzip, sys; open(sys.argv[1], 'ab').write(60_000 * gzip.compress(b'', mtime=0))"


def test_a_large_pool_that_comes_out_the_same_trains_and_decodes_nothing(study):
    """Snakemake removes what follows and starts it; the programs find that nothing differs."""
    pool = study.folder / "results/pools/it.jsonl.gz"
    program = study.folder / "workflow/scripts/build_pool.py"
    # Empty members after the data: a pool that reads the same, and is large enough.
    text = program.read_text(encoding="utf-8")
    last = "    cli.run(main)\n"
    assert text.endswith(last)
    add = f"""{last}
    import subprocess

    path = sys.argv[sys.argv.index("--output") + 1]
    subprocess.run([sys.executable, "-c", {EMPTY!r}, path], check=True)
"""
    program.write_text("import sys\n" + text.removesuffix(last) + add, encoding="utf-8")
    run = ("--cores", "2", "--workflow-profile", "profiles/demo")
    one = "results/runs/it/en/0.004h/seed1/model.nemo"
    hypotheses = "results/hypotheses/it/en/0.004h/seed1/full/560ms/human.jsonl"
    study.snakemake("--forcerun", "build_pool", *run, hypotheses)
    assert pool.stat().st_size > LARGE
    shutil.rmtree((study.folder / one).parent / "checkpoints")
    before = {
        path: (study.folder / path).read_bytes()
        for path in (one, one.replace("model.nemo", "run.json"), hypotheses)
    }
    planned = study.snakemake("--forcerun", "build_pool", "--dry-run", hypotheses).stdout
    assert "This is an upper bound: " in planned
    assert "train 1" in planned.split("upper bound")[1]
    said = study.snakemake("--forcerun", "build_pool", *run, hypotheses).stdout
    assert "nothing trained" in said
    assert "current, left as it is" in said
    assert "step 6 of 6" not in said
    assert {path: (study.folder / path).read_bytes() for path in before} == before
    assert study.planned(hypotheses) == {}


def test_hypotheses_of_another_model_are_never_current_after_a_decode_that_failed(study):
    """Snakemake would put former outputs back with the time of now, if they were `update`d."""
    made = "results/hypotheses/it/en/0.004h/seed1/full/560ms"
    model = study.folder / "results/runs/it/en/0.004h/seed1/model.nemo"
    whole = model.read_bytes()
    model.write_bytes(b"another model")
    target = ("--cores", "1", "--workflow-profile", "profiles/demo", f"{made}/human.jsonl")
    assert study.snakemake(*target, check=False).returncode
    assert study.planned(f"{made}/human.jsonl") == {"decode_it": 1}
    # With the right model they are given back, not decoded.
    model.write_bytes(whole)
    assert "current, left as it is" in study.snakemake(*target).stdout


def test_an_edited_transcript_makes_its_corpus_stale(study):
    edit(study, "demo/speech/it/metadata.tsv", "Carlo_Flora", "Carlo Flora")
    outputs = study.planned_outputs()
    assert any(path.startswith("results/manifests/human/it/") for path in outputs)
    assert not any(path.startswith("results/manifests/spoken/") for path in outputs)


def test_following_the_guide_to_a_new_language_plans_only_its_jobs(study):
    guide = (ROOT / "docs/add-a-language.md").read_text(encoding="utf-8")
    block = yaml.safe_load(guide.split("```yaml")[1].split("```")[0])["sv"]
    # The smoke study has other corpora than the guide: espeak-ng speaks Swedish too.
    block |= {
        "corpora": {"spoken": "sv"},
        "training_corpora": ["spoken"],
        "test_sets": ["same_voices"],
        "budgets_hours": [0.01],
    }
    config = study.read_config()
    config["languages"]["sv"] = block
    study.write_config(config)
    shared = ("results/lists/", "results/tables/", "results/figures/", "results/report.html")
    own = [path for path in study.planned_outputs() if not path.startswith(shared)]
    assert own
    assert all("/sv/" in path or "/sv." in path for path in own)


def test_the_block_of_the_guide_is_valid_in_the_full_study(checkout: Checkout, tmp_path):
    guide = (ROOT / "docs/add-a-language.md").read_text(encoding="utf-8")
    config = checkout.read_config("config.yaml")
    config["languages"] |= yaml.safe_load(guide.split("```yaml")[1].split("```")[0])
    path = tmp_path / "with_swedish.yaml"
    path.write_text(yaml.safe_dump(config, allow_unicode=True), encoding="utf-8")
    assert checkout.planned(config=str(path))["decode_sv"] == 20
