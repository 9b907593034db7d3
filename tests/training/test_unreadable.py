"""Audio that is gone after its manifest was made: hours say it, a limit stops it, and a run goes on
once it is back."""

import json
from pathlib import Path

import pytest
import torch
from made.losable_audio import audio_of, own, train  # noqa: F401 (`own` is a fixture)
from made.programs import Program
from made.small_speech import SETTINGS, listener, rows

from warmstart.run import files
from warmstart.training.recorder import Asked

pytestmark = pytest.mark.slow


def test_half_of_the_audio_gone_stops_with_counts_and_goes_on_to_the_same_model(
    own, donors, tmp_path
):
    healthy, broken = tmp_path / "healthy", tmp_path / "broken"
    status, said = train(own, donors["en"], healthy)
    assert status == 0, said
    audio = audio_of(own["train"])
    lost = [file for file, _ in list(audio.values())[::2]]
    for file in lost:
        file.rename(f"{file}.away")
    status, said = train(own, donors["en"], broken)
    assert status == 1
    assert "Traceback" not in said
    message = said.splitlines()[-1]
    assert "training cuts cannot be read, 0.00" in message
    assert "more than training.max_unreadable_fraction = 0.05; first: " in message
    assert f"{own['train'].parent}/" in message
    assert "(not there)" in message
    assert "the same command goes on" in message
    assert not (broken / "model.nemo").exists()
    for file in lost:
        Path(f"{file}.away").rename(file)
    status, said = train(own, donors["en"], broken)
    assert status == 0, said
    # It stopped before its first checkpoint, so nothing of it is in the model.
    assert files.digest(broken / "model.nemo") == files.digest(healthy / "model.nemo")


def test_little_that_is_gone_is_in_the_hours(own, donors, tmp_path):
    audio = audio_of(own["train"])
    gone, (file, gone_s) = next(iter(audio.items()))
    total_s = sum(seconds for _, seconds in audio.values())
    file.unlink()
    status, said = train(own, donors["en"], tmp_path / "run", {"max_unreadable_fraction": 0.5})
    assert status == 0, said
    record, curve = files.read_json(tmp_path / "run" / "run.json"), rows(tmp_path / "run")
    times = record["undecodable_cuts"]
    assert times >= 1
    assert record["hours_asked"] - record["hours_seen"] == pytest.approx(
        times * gone_s / 3600, abs=3e-6
    )
    assert record["unique_hours"] == pytest.approx((total_s - gone_s) / 3600, abs=2e-6)
    assert record["epochs"] == pytest.approx(record["hours_seen"] / (total_s / 3600), abs=1e-3)
    assert (record["never_heard_cuts"], record["unreadable_files"]) == (1, [str(file)])
    assert float(curve[-1]["hours_asked"]) == pytest.approx(record["hours_asked"], abs=2e-6)
    assert gone not in said
    assert record["first"]["loss"]["step"] == 2
    assert record["first"]["loss"]["value"] == float(curve[0]["loss"])


def test_a_run_that_hears_nothing_learns_nothing_and_says_so(own, donors, tmp_path):
    for file, _ in audio_of(own["train"]).values():
        file.unlink()
    status, said = train(own, donors["en"], tmp_path / "run", {"max_unreadable_fraction": 1.0})
    assert status == 0, said
    assert "Traceback" not in said
    record, curve = files.read_json(tmp_path / "run" / "run.json"), rows(tmp_path / "run")
    assert (record["steps"], record["hours_seen"], record["unique_hours"]) == (12, 0, 0)
    assert record["hours_asked"] > 0
    assert record["padding_share"] is None
    assert {row["loss"] for row in curve} == {""}


def test_validation_cuts_count_against_the_same_limit(own, donors, tmp_path):
    for file, _ in audio_of(own["dev"]).values():
        file.unlink()
    status, said = train(own, donors["en"], tmp_path / "run")
    assert status == 1
    assert "Traceback" not in said
    message = said.splitlines()[-1]
    count = len(audio_of(own["dev"]))
    assert f"{count} of {count} validation cuts of {own['dev']} cannot be read" in message


def test_a_batch_of_which_nothing_can_be_read_is_a_silent_one_that_teaches_nothing(own):
    from lhotse import CutSet

    cuts = CutSet.from_file(own["train"]).to_eager()
    dataset = listener(own).dataset()
    whole, heard = dataset.hear(cuts)
    assert heard == [True] * len(cuts)
    first = Path(cuts[0].recording.sources[0].source)
    first.write_bytes(first.read_bytes()[:60])
    batch, heard = dataset.hear(cuts)
    assert heard == [False] + [True] * (len(cuts) - 1)
    assert torch.equal(batch.audio_len, whole.audio_len[1:])
    assert dataset.read(cuts)[1] == [cut.supervisions[0].text for cut in cuts][1:]
    for cut in cuts:
        Path(cut.recording.sources[0].source).unlink(missing_ok=True)
    batch, heard = dataset.hear(cuts)
    assert heard == [False] * len(cuts)
    assert batch.audio.shape == (1, min(cut.num_samples for cut in cuts))
    assert not batch.audio.any()
    assert batch.token_len.tolist() == [1]
    assert dataset.read(cuts)[1] == []


def test_which_cuts_of_a_step_were_heard_is_told_with_and_without_workers(own):
    from warmstart.training import order

    audio = audio_of(own["train"])
    for file, _ in list(audio.values())[::3]:
        file.unlink()
    gone = set(list(audio)[::3])
    for workers in (0, 2):
        loader, sampler = order.dataloader(
            listener(own), own["train"], SETTINGS | {"num_workers": workers}, seed=1
        )
        sampler.first_step = 5
        for step, batch in zip(range(5, 12), loader, strict=False):
            told = sampler.recent[step]
            assert told["heard"] == [name not in gone for name in told["ids"]]
            assert len(batch.audio) == max(1, sum(told["heard"]))


def test_seconds_of_a_step_are_those_of_its_cuts():
    """By hand: two cuts of the budget, one slowed to 0.9 of its speed, and one that is replayed."""
    trained = {
        "durations_s": [2.0, 5.0, 4.0],
        "each_budget_s": [2.0, 4.5, 0],
        "budget_s": 6.5,
        "replay_s": 4.0,
    }
    assert Asked.of(trained) == Asked(11.0, 6.5, 4.0)
    assert Asked.of(trained, [True, True, True]) == Asked.of(trained)
    assert Asked.of(trained, [False, True, False]) == Asked(5.0, 4.5, 0)
    assert Asked.of(trained, [False, False, False]) == Asked(0, 0, 0)


# ---- small files of a run that a crash of the machine has emptied or cut


@pytest.mark.parametrize("name", ["starts.json", "identity.json"])
@pytest.mark.parametrize("share", [0.0, 0.5])
def test_a_run_goes_on_from_its_checkpoints_whatever_a_crash_left_of_their_notes(
    speech, donors, tmp_path, name, share
):
    settings = {"checkpoint_every_steps": 3, "log_every_steps": 1}
    program = Program(
        "train",
        [
            *("--train-cuts", str(speech["train"]), "--tokenizer", str(speech["tokenizer"])),
            *("--init", str(donors["en"]), "--run", "it/en/0.012h/seed1"),
            *("--settings", json.dumps(SETTINGS | settings), "--run-dir", str(tmp_path)),
            *("--output", str(tmp_path / "model.nemo"), "--log", str(tmp_path / "log.txt")),
        ],
        tmp_path / "said.txt",
    )
    program.wait_for(lambda: len(rows(tmp_path)) >= 7)
    program.send(9)
    program.wait()
    note = tmp_path / "checkpoints" / name
    content = note.read_bytes()
    note.write_bytes(content[: int(share * len(content))])
    status, said = train(speech, donors["en"], tmp_path, settings)
    assert status == 0, said
    assert f"{name}: damaged (" in said
    assert f"kept as {name}.damaged" in said
    assert "continuing from" in said
    assert "step-00000006.ckpt" in said
    assert (tmp_path / "checkpoints" / f"{name}.damaged").exists()
