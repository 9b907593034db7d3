"""Replay of another language: its share of the audio, hours apart from the budget's, its test sets
scored beside the others."""

import copy
import itertools
import json
from collections import Counter

import pytest
import yaml
from conftest import Checkout
from made.small_speech import SETTINGS, rows
from made.studies import replay_config, smoke_config

import mix_training_set
import train
import train_tokenizer
from warmstart.data import cut_lines, mixing, tokenizer
from warmstart.data.mixing import Part, Replay
from warmstart.run import files
from warmstart.run.errors import UserError
from warmstart.study import checks, paths, slices, stages
from warmstart.study.config import validate
from warmstart.study.grid import Study


def cut(cut_id, seconds):
    return {
        "id": cut_id,
        "start": 0.0,
        "duration": seconds,
        "channel": 0,
        "supervisions": [{"id": cut_id, "text": f"text of {cut_id}"}],
        "custom": {"block": "b", "corpus": "c"},
        "type": "MonoCut",
    }


def joined(cut_id, seconds):
    """A cut of joined intervals, as VoxPopuli's are."""
    tracks = [
        {"cut": cut(f"{cut_id}-{n}", seconds / 2), "type": "MonoCut", "offset": n * seconds / 2}
        for n in (0, 1)
    ]
    return {"id": cut_id, "tracks": tracks, "type": "MixedCut"}


def write(path, made):
    with cut_lines.writing(path) as stream:
        for one in made:
            stream.write(cut_lines.line(one))
    return path


def mixed(tmp_path, fraction):
    """40 cuts of 2 s, and a share of 30 of 1 s each, some of them joined."""
    budget = write(tmp_path / "budget.jsonl.gz", [cut(f"own-{n}", 2.0) for n in range(40)])
    pool = write(
        tmp_path / "pool.jsonl.gz", [(joined if n % 3 else cut)(f"own-{n}", 1.0) for n in range(30)]
    )
    output, report = tmp_path / "mixed.jsonl.gz", tmp_path / "mixed.json"
    arguments = [
        *("--parts", f"it={budget}", "--replay", f"en={pool}", "--fraction", fraction),
        *("--output", output, "--report", report),
    ]
    mix_training_set.main([str(argument) for argument in arguments])
    return list(cut_lines.read(output)), files.read_json(report)


def test_replayed_cuts_have_their_share_and_lie_between_the_others(tmp_path):
    made, report = mixed(tmp_path, 0.2)
    replayed = [one for one in made if mixing.is_replayed(one)]
    # 0.2 of all audio is a quarter of the budget's 80 s.
    assert sum(map(cut_lines.duration_s, replayed)) == pytest.approx(20)
    assert report["languages"] == {
        "it": {"cuts": 40, "hours": pytest.approx(80 / 3600), "share": 1.0}
    }
    hours = pytest.approx(20 / 3600)
    assert report["replay"] == {"lang": "en", "cuts": 20, "hours": hours, "fraction": 0.2}
    assert [one["id"] for one in made if not mixing.is_replayed(one)] == [
        f"own-{n}" for n in range(40)
    ]
    assert [one["id"] for one in replayed] == [f"replay-en-own-{n}" for n in range(20)]
    places = [place for place, one in enumerate(made) if mixing.is_replayed(one)]
    assert all(later - earlier == 3 for earlier, later in itertools.pairwise(places))


def test_a_pool_too_small_names_the_share_that_fits(tmp_path):
    # 30 s of 110 s.
    with pytest.raises(
        UserError,
        match=r"has 0\.008333 h, too little for a share of 0\.5; .* \(at most 0\.273 here\)",
    ):
        mixed(tmp_path, 0.5)


def checked(config):
    validate(config)
    study = Study(config)
    checks.check(study)
    return study


def test_test_sets_of_the_replayed_language_are_scored_with_their_own_text_and_not_compared():
    grid = checked(replay_config())
    assert list(paths.test_manifests(grid, "it")) == [
        *("same_voices", "new_voices", "human", "en_numbers")
    ]
    manifest = "results/manifests/pretraining/en/test_same.jsonl.gz"
    assert paths.test_manifests(grid, "it")["en_numbers"] == manifest
    assert [slices.scoring(grid, lang)["text"]["numbers"] for lang in ("it", "en")] == ["it", "en"]
    assert slices.statistics(grid)["targets"] == {"it": ["it"]}
    assert [path for path in paths.hypotheses(grid, "en") if "/en_numbers.jsonl" in path]
    assert not [path for path in paths.hypotheses(grid, "it") if "/en_numbers.jsonl" in path]


def test_without_controls_rules_pass_on_the_recipe_alone():
    config = smoke_config()
    written = copy.deepcopy(config["training"])
    grid = checked(config)
    made = slices.training(grid, "ml") | slices.pace(grid, "ml")
    assert stages.canonical("train", made) == stages.canonical("train", written)
    assert "noise" not in made
    assert paths.training_cuts(grid, "it", "0.02") == "results/budgets/it/0.02h.jsonl.gz"


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (
            lambda c: c["training"]["replay"].update(lang="sv"),
            "support_languages: with training_corpora",
        ),
        (
            lambda c: c["support_languages"]["en"].pop("test_sets"),
            r"support_languages\.en lacks test_sets",
        ),
        (lambda c: c["support_languages"]["en"].update(test_sets=["human"]), "needs 'human'"),
        (
            lambda c: c["training"].update(adaptation="dora"),
            "adaptation 'dora' is unknown.*; allowed: full, freeze, adapter",
        ),
        (
            lambda c: c["training"].update(
                adaptation="adapter", freeze={"encoder_layers": 1, "steps": 1}
            ),
            r"remove training\.freeze",
        ),
        (
            lambda c: (
                c["training"].update(adaptation="adapter")
                or c["inits"].update(rnd={"name": "Random", "scratch": "en"})
            ),
            "init 'rnd' is random: give it another adaptation",
        ),
        (
            lambda c: c["training"]["model"].update(context_probs=[0.7, 0.1, 0.1, 0.1]),
            "sums to 0.9999",
        ),
        (
            lambda c: c["training"]["model"].update(context_probs=[0.5, 0.5]),
            "2 numbers for 4 contexts",
        ),
        (lambda c: c["training"]["schedule"].update(min_lr=1e-3), "above the encoder's rate"),
        (
            lambda c: c["training"]["schedule"].update(name="noam", warmup_steps=0),
            "noam has its peak",
        ),
        (
            lambda c: c["training"]["schedule"].update(warmup_steps=7),
            "warmup_steps is 7, but a run has 6 steps",
        ),
        (
            lambda c: c["training"].update(average_last=3),
            r"6 steps with one checkpoint every 3 leave 2",
        ),
        (
            lambda c: c["training"].update(early_stop={"metric": "wer", "patience": 1}),
            "early_stop.metric is 'wer'; allowed",
        ),
        (
            lambda c: c.update(
                noise={"directory": "a", "training": {"snr_db": [20, 5], "probability": 0.5}}
            ),
            "give the lower one first",
        ),
    ],
)
def test_faults_of_a_recipe_stop_the_dry_run(change, expected):
    config = replay_config()
    change(config)
    with pytest.raises(UserError, match=expected):
        checked(config)


def test_noise_of_a_test_set_is_not_trained_on():
    config = replay_config()
    config["test_sets"]["noisy"] = {"corpus": "spoken", "split": "test_same", "noise_snr_db": 5}
    config["noise"] = {"directory": "musan", "training": {"snr_db": [5, 20], "probability": 0.5}}
    with pytest.raises(UserError, match=r"under test set 'noisy'.*folder of its own"):
        checked(config)
    for around_or_inside in ("musan/noise/..", "musan/free-sound", "."):
        config["noise"]["training"]["directory"] = around_or_inside
        with pytest.raises(UserError, match=r"neither inside noise\.directory nor around it"):
            checked(config)
    config["noise"]["training"]["directory"] = "musan-train"
    assert slices.training(checked(config), "ml")["noise"] == {
        "manifest": "results/noise/training.jsonl.gz",
        "snr_db": [5, 20],
        "probability": 0.5,
    }


@pytest.mark.slow
def test_the_dag_makes_pool_mix_noise_and_hypotheses(checkout: Checkout, tmp_path):
    config = replay_config()
    (tmp_path / "noise").mkdir()
    config["noise"] = {
        "directory": str(tmp_path / "noise"),
        "training": {"snr_db": [5, 20], "probability": 0.5},
    }
    path = tmp_path / "replay.yaml"
    path.write_text(yaml.safe_dump(config, allow_unicode=True, sort_keys=False), encoding="utf-8")
    done = checkout.snakemake("--dry-run", "--printshellcmds", config=str(path)).stdout
    jobs = {
        line.split()[0]: int(line.split()[1])
        for line in done.splitlines()
        if len(line.split()) == 2 and line.split()[1].isdigit()
    }
    plain = checkout.planned(config=_plain(tmp_path))
    assert jobs["build_pool"] == plain["build_pool"] + 1
    assert jobs["mix_training_set"] == 2
    assert jobs["prepare_noise_training"] == 1
    assert jobs["train"] == plain["train"]
    assert "--train-cuts results/mixtures/it/0.02h.jsonl.gz" in done
    assert "--pools it=results/pools/it.jsonl.gz en=results/pools/en.jsonl.gz" in done
    assert (
        "--parts it=results/budgets/it/0.02h.jsonl.gz --weights it=1.0 --replay en=results" in done
    )
    assert "en/numbers=results/manifests/pretraining/en/test_same.jsonl.gz" in done
    # What the replayed pool lost is in the report, like the target's.
    assert "--qc results/pools/it.qc.json results/pools/en.qc.json" in done
    report = next(line for line in done.splitlines() if "build_report.py --tables" in line)
    assert (
        "results/manifests/pretraining/en/train.qc.json "
        "results/manifests/pretraining/en/test_same.qc.json" in report
    )


def _plain(tmp_path):
    path = tmp_path / "plain.yaml"
    path.write_text(
        yaml.safe_dump(smoke_config(), allow_unicode=True, sort_keys=False), encoding="utf-8"
    )
    return str(path)


def test_the_tokenizer_learns_the_replayed_text_by_its_share(tmp_path):
    own = write(tmp_path / "own.jsonl.gz", [cut(f"o{n}", 2.0) for n in range(40)])
    other = write(tmp_path / "other.jsonl.gz", [cut(f"r{n}", 1.0) for n in range(40)])
    texts = list(mixing.texts([Part("it", own)], Replay("en", other, 0.2)))
    assert [text for text in texts if "of r" in text] == [f"text of r{n}" for n in range(20)]
    assert [text for text in texts if "of o" in text] == [f"text of o{n}" for n in range(40)]
    # A pool that is used up ends its share and not the others' texts.
    short = write(tmp_path / "short.jsonl.gz", [cut("r0", 1.0)])
    assert len(list(mixing.texts([Part("it", own)], Replay("en", short, 0.2)))) == 41


def test_a_pool_with_more_text_than_is_read_still_learns_the_replayed(tmp_path, monkeypatch):
    monkeypatch.setattr(tokenizer, "_MAX_SENTENCES", 200)  # a million, in a pool of 1.5 million
    made = []
    for name, text in (("own", "uno due"), ("other", "w y")):
        lines = [cut(f"{name}{n}", 1.0) for n in range(250)]
        for line in lines:
            cut_lines.supervision(line)["text"] = text
        made.append(write(tmp_path / f"{name}.jsonl.gz", lines))
    settings = {
        "vocab_size": 24,
        "character_coverage": 1.0,
        "text": {lang: {"alphabet": "abcdefghijklmnopqrstuvwxyz"} for lang in ("it", "en")},
        "replay": {"lang": "en", "fraction": 0.1},
    }
    train_tokenizer.main(
        [
            *("--pools", f"it={made[0]}", f"en={made[1]}", "--tests", f"english={made[1]}"),
            *("--settings", json.dumps(settings), "--output-dir", str(tmp_path / "tokenizer")),
        ]
    )
    assert (
        files.read_json(tmp_path / "tokenizer" / "coverage.json")["tests"]["english"]["unwritable"]
        == {}
    )


@pytest.mark.slow
def test_hours_of_the_replayed_language_are_counted_apart(speech, donors, tmp_path):
    own = list(cut_lines.read(speech["train"]))
    budget, pool = (
        write(tmp_path / "budget.jsonl.gz", own[:18]),
        write(tmp_path / "pool.jsonl.gz", own[18:]),
    )
    output = tmp_path / "mixed.jsonl.gz"
    replay = Replay("en", pool, 0.15)
    mixing.mix([Part("it", budget)], output, tmp_path / "mixed.json", replay)
    train.main(
        [
            *(
                "--train-cuts",
                str(output),
                "--tokenizer",
                str(speech["tokenizer"]),
                "--init",
                str(donors["en"]),
            ),
            *("--run", "it/en/0.01h/seed1"),
            *("--settings", json.dumps(SETTINGS | {"steps": {"epochs": 3}, "log_every_steps": 1})),
            *("--run-dir", str(tmp_path / "run"), "--output", str(tmp_path / "run/model.nemo")),
        ]
    )
    record = files.read_json(tmp_path / "run/run.json")
    hours = {"budget": 0.0, "replay": 0.0}
    count = Counter()
    for one in cut_lines.read(output):
        kind = "replay" if mixing.is_replayed(one) else "budget"
        hours[kind] += cut_lines.duration_s(one) / 3600
        count[kind] += 1
    assert count["replay"] > 1
    assert record["cuts"] == count["budget"] == 18
    assert (
        record["hours_budget"] == record["unique_hours"] == pytest.approx(hours["budget"], abs=1e-6)
    )
    assert record["replay_hours"] == pytest.approx(hours["replay"], abs=1e-6)
    # Three passes, the last one perhaps not whole: both languages by the same number of passes,
    # give or take a batch.
    assert record["epochs"] == pytest.approx(record["hours_seen"] / hours["budget"], abs=1e-3)
    assert record["replay_hours_seen"] / hours["replay"] == pytest.approx(record["epochs"], abs=0.7)
    curve = rows(tmp_path / "run")
    assert float(curve[-1]["replay_hours"]) == record["replay_hours_seen"] > 0
    assert float(curve[-1]["hours_seen"]) == record["hours_seen"]
