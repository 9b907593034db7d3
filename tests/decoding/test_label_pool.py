"""What a model chooses for a round: hidden texts stay hidden, reasons add up, a killed choice comes
to the same bytes, and one that keeps nothing ends in words."""

import gzip
import json
import signal

import pytest
from made import ctc_model
from made.decoding import TIER, tier_text
from made.programs import Program
from made.toy_model import SPEECH, toy_model_path  # noqa: F401 (a fixture)

import label_pool
from warmstart.data import cut_lines
from warmstart.evidence import pseudo_labels
from warmstart.run import files
from warmstart.run.errors import UserError

RUN = "it_rounds/ml/0.02h/seed1"
TRUTH = "parole segrete di"
POOL = {
    "text": {"alphabet": "abcdefghijklmnopqrstuvwxyzàèéìòùêëïç"},
    "filters": {"min_duration_s": 0.1, "max_duration_s": 60, "guard": ["sentence", "speaker"]},
}
POOL["filters"] |= {"min_chars_per_s": 0, "max_chars_per_s": 1000}


def cut(path, number, text=None, speaker="anna"):
    """A line of a pool."""
    import soundfile

    name, info = path.stem, soundfile.info(path)
    duration = {"start": 0.0, "duration": info.frames / info.samplerate, "channel": 0}
    text = text or f"{TRUTH} {name}"
    recording = {
        "id": name,
        "sources": [{"type": "file", "channels": [0], "source": str(path)}],
        **{"sampling_rate": info.samplerate, "num_samples": info.frames},
        **{"duration": duration["duration"], "channel_ids": [0]},
    }
    supervision = {
        **{"id": name, "recording_id": name, "language": "it", "speaker": speaker, "text": text},
        "custom": {"raw_text": text.title()},
    }
    return {
        "id": name,
        "type": "MonoCut",
        **duration,
        "supervisions": [supervision | duration],
        "recording": recording,
        "custom": {"block": f"b{number % 3}", "corpus": "spoken"},
    }


def files_of_speech():
    return sorted(SPEECH.glob("*/*.flac"))[:12]


def write(path, cuts):
    with cut_lines.writing(path) as stream:
        stream.writelines(map(cut_lines.line, cuts))
    return path


@pytest.fixture(scope="module")
def spoken(tmp_path_factory):
    """A budget, a larger one, and a test set of nobody's sentence."""
    folder = tmp_path_factory.mktemp("spoken")
    cuts = [cut(path, place) for place, path in enumerate(files_of_speech())]
    return {
        "small": write(folder / "small.jsonl.gz", cuts[:3]),
        "large": write(folder / "large.jsonl.gz", cuts),
        "test": write(
            folder / "test.jsonl.gz", [cut(files_of_speech()[0], 0, "frase del test", "tina")]
        ),
    }


def command(spoken, model, folder, *more, data="pseudo", settings=None):
    heard = ["--heard", f"it={spoken['large']}"] if data == "pseudo" else []
    options = {"batch_size": 2, "device": "cpu", "threads": 1} | (settings or {})
    return [
        *("--run", RUN, "--round", "2", "--data", data, "--model", str(model)),
        *("--tier", tier_text(TIER), "--labelled", f"it={spoken['small']}", *heard),
        *("--pools", json.dumps({"it": POOL}), "--tests", f"it/human={spoken['test']}"),
        *("--settings", json.dumps(options), "--output", str(folder / "cuts.jsonl.gz")),
        *("--labels", str(folder / "labels.parquet"), "--report", str(folder / "labels.json")),
        *more,
    ]


def choose(spoken, model, folder, *more, **options):
    label_pool.main(command(spoken, model, folder, *more, **options))
    rows = pseudo_labels.read([folder / "labels.parquet"])
    return files.read_json(folder / "labels.json"), rows, folder / "cuts.jsonl.gz"


def adds_up(amounts) -> bool:
    parts = [amounts["kept"], *amounts["dropped"].values()]
    return all(
        sum(one[what] for one in parts) == pytest.approx(amounts["heard"][what])
        for what in ("cuts", "hours")
    )


@pytest.mark.slow
@pytest.mark.parametrize("family", ["fastconformer_rnnt", "fastconformer_ctc"])
def test_texts_beyond_the_budget_stay_hidden_and_the_surest_are_kept(
    spoken, toy_model_path, tmp_path, family
):
    model = toy_model_path if family == "fastconformer_rnnt" else ctc_model.build(tmp_path / "ctc")
    report, rows, cuts = choose(
        spoken, model, tmp_path / "out", "--family", family, "--keep", "0.6"
    )
    amounts = report["languages"]["it"]
    assert amounts["heard"]["cuts"] == 9
    assert adds_up(amounts)
    assert 0 < amounts["kept"]["hours"] <= 0.6 * amounts["heard"]["hours"]
    kept = rows[rows.reason == ""]
    left = rows[rows.reason == "beyond_keep"]
    assert kept.confidence.min() >= left.confidence.max()
    assert (rows.words == 4).all()
    trained = {one["id"]: one for one in cut_lines.read(cuts)}
    budget = {one["id"]: one for one in cut_lines.read(spoken["small"])}
    assert set(trained) == set(budget) | set(kept.id)
    assert {name: trained[name] for name in budget} == budget
    for name in kept.id:
        said = json.dumps(trained[name], ensure_ascii=False).lower()
        assert "segrete" not in said
        assert cut_lines.supervision(trained[name])["text"].strip()
        assert 0 <= cut_lines.custom(trained[name])["pseudo_label"] <= 1
    assert report["trained_on"]["cuts"] == len(trained)


@pytest.mark.slow
def test_a_label_that_is_a_sentence_of_a_test_set_is_left_out(spoken, toy_model_path, tmp_path):
    _, rows, cuts = choose(spoken, toy_model_path, tmp_path / "plain")
    heard = [one for one in cut_lines.read(cuts) if one["id"] in set(rows.id)]
    written = cut_lines.supervision(heard[0])["text"]
    leaked = {**cut(files_of_speech()[0], 0, text=written, speaker="tina")}
    guarded = spoken | {"test": write(tmp_path / "test.jsonl.gz", [leaked])}
    report, rows, cuts = choose(guarded, toy_model_path, tmp_path / "guarded")
    amounts = report["languages"]["it"]
    assert amounts["dropped"]["sentence_in_test"]["cuts"] >= 1
    assert adds_up(amounts)
    assert heard[0]["id"] not in {one["id"] for one in cut_lines.read(cuts)}
    reasons = dict(zip(rows.id, rows.reason, strict=True))
    assert reasons[heard[0]["id"]] == "sentence_in_test"


@pytest.mark.slow
def test_clean_and_hardest_are_the_two_ends_of_the_budget(spoken, toy_model_path, tmp_path):
    found = {}
    for data in ("clean", "hardest"):
        report, rows, cuts = choose(
            spoken, toy_model_path, tmp_path / data, "--keep", "0.7", data=data
        )
        assert adds_up(report["languages"]["it"])
        assert rows.confidence.isna().all()
        found[data] = {one["id"] for one in cut_lines.read(cuts)}
        assert found[data] < {one["id"] for one in cut_lines.read(spoken["small"])}
    assert found["clean"] != found["hardest"]


@pytest.mark.slow
def test_a_choice_that_keeps_nothing_ends_in_words(spoken, toy_model_path, tmp_path):
    with pytest.raises(UserError, match=r"round 2 of .* keeps none of 9 cuts of it: low_conf.* 9"):
        choose(spoken, toy_model_path, tmp_path, "--min-confidence", "1")
    assert not (tmp_path / "cuts.jsonl.gz").exists()
    with pytest.raises(UserError, match=r"keeps none of 3 cuts of it: beyond_keep 3; raise rounds"):
        choose(spoken, toy_model_path, tmp_path / "clean", "--keep", "0.01", data="clean")


@pytest.mark.slow
def test_killed_at_any_moment_it_comes_to_the_same_bytes(spoken, toy_model_path, tmp_path):
    choose(spoken, toy_model_path, tmp_path / "whole", "--keep", "0.8")
    folder = tmp_path / "killed"
    asked = command(spoken, toy_model_path, folder, "--keep", "0.8", settings={"batch_size": 1})
    program = Program("label_pool", asked, tmp_path / "first.log")
    journal = folder / ".it.journal"
    program.wait_for(lambda: journal.exists() and journal.read_text().count("closed") >= 2)
    program.send(signal.SIGKILL)
    assert program.wait() == -signal.SIGKILL
    assert not (folder / "cuts.jsonl.gz").exists()
    done = journal.read_text().count("closed")
    program = Program("label_pool", asked, tmp_path / "second.log")
    assert program.wait() == 0, program.said
    assert f"{done} of 9 utterances were finished" in program.said
    assert not journal.exists()
    # Uninterrupted, with the same batches.
    again = tmp_path / "again"
    choose(spoken, toy_model_path, again, "--keep", "0.8", settings={"batch_size": 1})
    for name in ("cuts.jsonl.gz", "labels.parquet"):
        first, second = ((one / name).read_bytes() for one in (folder, again))
        assert first == second
    assert gzip.decompress((tmp_path / "whole/cuts.jsonl.gz").read_bytes())


@pytest.mark.slow
def test_what_was_chosen_is_taken_back_where_nothing_differs(
    spoken, toy_model_path, tmp_path, caplog
):
    _, _, cuts = choose(spoken, toy_model_path, tmp_path, "--keep", "0.8")
    before = cuts.read_bytes()
    for name in ("cuts.jsonl.gz", "labels.parquet", "labels.json"):
        (tmp_path / name).unlink()
    caplog.clear()
    choose(spoken, toy_model_path, tmp_path, "--keep", "0.8")
    assert "made of the same model and cuts before" in caplog.text
    assert cuts.read_bytes() == before
    choose(spoken, toy_model_path, tmp_path, "--keep", "0.5")
    assert cuts.read_bytes() != before


@pytest.mark.parametrize(
    ("more", "says"),
    [
        (["--data", "labelled"], "--data is 'labelled'; give pseudo, clean or hardest"),
        (["--keep", "0"], "--keep is 0; a share"),
        (["--fraction", "0.1"], "--replay and --fraction belong together"),
        (["--pools", "{}"], "--pools has no settings of it"),
        (["--heard"], "it: no speech beyond the budget is given"),
        (["--model", "nowhere.nemo"], "nowhere.nemo: no such file"),
    ],
)
def test_what_does_not_hang_together_is_refused(spoken, tmp_path, more, says):
    model = tmp_path / "model.nemo"
    model.touch()
    with pytest.raises(UserError, match=says):
        label_pool.main([*command(spoken, model, tmp_path / "out"), *more])
