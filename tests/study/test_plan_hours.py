"""plan_hours: what a study will take, from the pinned statistics alone."""

import copy
import json
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

import plan_hours
from warmstart.data.corpora import open_corpus, pinned
from warmstart.run.errors import UserError
from warmstart.study import data_plan
from warmstart.study.config import load_config, validate
from warmstart.study.grid import Study

ROOT = Path(__file__).resolve().parents[2]


def config(**changes):
    """The full study with one language and three corpora."""
    made = load_config(ROOT / "config.yaml")
    made["corpora"] = {
        "mls": {"kind": "mls", "train_split": "train", "format": "opus"},
        "commonvoice": {"kind": "commonvoice", "train_split": "validated"},
        "own": {"kind": "local", "train_split": "train", "directory": "x"},
    }
    made["test_sets"] = {"mls": {"corpus": "mls", "split": "test"}}
    made["languages"] = {
        "it": {
            **made["languages"]["it"],
            "corpora": {"mls": "italian", "commonvoice": "it", "own": "it"},
            "training_corpora": ["mls", "commonvoice"],
            "test_sets": ["mls"],
            "budgets_hours": [100, 250],
            **changes,
        }
    }
    return made


def plan(made):
    made = copy.deepcopy(made)
    validate(made)
    return data_plan.plan(Study(made))


def line(text, start):
    return next(row for row in text.splitlines() if row.startswith(start)).split()


def test_hours_disk_and_licences_of_a_language():
    text = plan(config())
    # 247.38 h of MLS and 362.9 h of Common Voice, as published.
    assert line(text, "it") == ["it", "247", "363", "610", "100", "250;", "would", "fit:", "500"]
    assert line(text, "mls")[:2] == ["mls", "3.8"]
    assert line(text, "commonvoice")[:2] == ["commonvoice", "10.4"]  # 10,424,613,036 bytes
    assert line(text, "own")[:2] == ["own", "0"]
    assert "MDC_API_KEY" in text
    assert "voxpopuli" not in text


def test_a_release_that_is_on_this_machine_is_not_downloaded():
    made = config()
    made["corpora"]["mls"]["source"] = "/data/mls"
    made["corpora"]["commonvoice"]["source"] = "https://mirror.example/cv"
    text = plan(made)
    assert line(text, "mls") == ["mls", "0", "taken", "from", "/data/mls"]
    assert line(text, "commonvoice")[1] == "10.4"


def test_what_a_language_says_of_its_corpora_counts():
    made = config()
    made["languages"]["it"]["corpora"] |= {
        "mls": {"code": "italian", "format": "flac"},
        "commonvoice": {"train_split": "train"},
    }
    text = plan(made)
    assert line(text, "it")[:4] == ["it", "247", "262", "509"]
    assert line(text, "mls")[:2] == ["mls", "15.0"]
    made["languages"]["it"]["corpora"]["commonvoice"]["source"] = "/data/cv"
    assert line(plan(made), "commonvoice") == [
        "commonvoice",
        "0",
        "taken",
        "from",
        "/data/cv",
    ]


def test_budgets_that_do_not_fit_are_marked():
    assert "TOO LARGE: 1000" in plan(config(budgets_hours=[100, 1000]))


def test_hours_nobody_knows_are_said_to_be_unknown():
    text = plan(config(training_corpora=["mls", "own"], budgets_hours=[100, 1000]))
    assert line(text, "it")[:4] == ["it", "247", "?", "247"]
    assert "perhaps 1000" in text


def replaying(fraction):
    made = config()
    made["test_sets"] |= {"commonvoice": {"corpus": "commonvoice", "split": "test"}}
    made["support_languages"] = {
        "en": {
            "name": "English",
            "corpora": {"mls": "english", "commonvoice": "en"},
            "training_corpora": ["mls"],
            "test_sets": ["commonvoice"],
            "text": {"alphabet": "abcdefghijklmnopqrstuvwxyz"},
        }
    }
    made["training"] |= {"replay": {"lang": "en", "fraction": fraction}}
    return made


def test_the_replayed_language_is_downloaded_too():
    text = plan(replaying(0.2))
    # A fifth of all audio is a quarter of the largest budget, 250 h.
    assert line(text, "en") == ["en", "44660", "-", "44660", "replayed:", "62", "beside", "250"]
    assert line(text, "mls") == ["mls", "654.8", "it", "3.8,", "en", "651.0"]
    statistics = json.loads((ROOT / "workflow" / "data" / "commonvoice-25.json").read_text())
    sizes = [f"{statistics[code]['size'] / 1e9:.1f}" for code in ("it", "en")]
    # Nothing of it is trained on, but its test set is scored and guards the pool.
    assert line(text, "commonvoice")[2:] == ["it", f"{sizes[0]},", "en", sizes[1]]
    # 250 * 0.995 / 0.005
    assert "replayed: 49750 beside 250; TOO LARGE" in plan(replaying(0.995))


def test_sizes_agree_with_the_release_statistics():
    statistics = json.loads((ROOT / "workflow" / "data" / "commonvoice-25.json").read_text())
    for code, entry in statistics.items():
        corpus = open_corpus("commonvoice", "xx", {"code": code})
        assert corpus.gigabytes() == pinned.Size(entry["size"] / 1e9, True)
        assert len(entry["checksum"]) == 64


@pytest.mark.parametrize("name", ["config.yaml", "demo.yaml"])
def test_shipped_configurations_can_be_planned_in_a_moment(name):
    program = [sys.executable, plan_hours.__file__, "--config", str(ROOT / name)]
    done = subprocess.run(program, capture_output=True, text=True, timeout=30, check=True)
    languages = yaml.safe_load((ROOT / name).read_text())["languages"]
    assert all(line(done.stdout, lang) for lang in languages)
    assert "TOO LARGE" not in done.stdout


def test_a_missing_configuration_is_named(tmp_path):
    with pytest.raises(UserError, match=r"none\.yaml: .*give a configuration with --config"):
        plan_hours.main(["--config", str(tmp_path / "none.yaml")])


def test_the_licence_that_a_block_states_is_told():
    made = config()
    assert "\nlocal: yours; state it as `licence` in the corpus's block." in plan(made)
    made["corpora"]["own"]["licence"] = "GPL-2"
    made["languages"]["it"]["corpora"]["mls"] = {"code": "italian", "licence": "by contract"}
    text = plan(made)
    assert "\nown: GPL-2." in text
    assert "yours" not in text
    assert "\nmls (it): by contract." in text
    assert "\nmls: CC BY 4.0. To do: name the source: Multilingual LibriSpeech" in text
