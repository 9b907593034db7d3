"""Rounds of a run: each goes on from the model before, whatever the family and the adaptation,
killed or not; and what they come to is one run."""

import csv
import json
import signal

import pytest
import torch
from made.programs import Program
from made.small_speech import SETTINGS, rows
from made.whisper import whole_whisper

import join_rounds
import train
from warmstart.data import tokenizer
from warmstart.models import kind_of, open_family
from warmstart.run import files
from warmstart.run.errors import UserError
from warmstart.study.grid import Run
from warmstart.study.stages import filled
from warmstart.training import fine_tune
from warmstart.training import joined as rounds_as_one
from warmstart.training.distributed import Ranks
from warmstart.training.job import Job

RUN = Run("it_rounds", "ml", "0.012", 1)
LORA = {"kind": "lora", "rank": 4, "alpha": 8, "layers": "*linear_[qv]"}
KINDS = [
    ("fastconformer_rnnt", {"kind": "full"}),
    ("fastconformer_ctc", {"kind": "full"}),
    ("fastconformer_rnnt", LORA),
    ("fastconformer_ctc", {"kind": "adapter", "dim": 64}),
    ("wav2vec2_ctc", {"kind": "full"}),
    ("wav2vec2_ctc", LORA | {"layers": "*[qv]_proj"}),
    ("whisper", LORA | {"layers": "*[qv]_proj"}),
    ("whisper", {"kind": "soft_prompt", "where": "both"}),
]


def settings(number, adaptation=None, steps=12, **more):
    """Of one of two rounds of a run, the second half as long as the first."""
    share = {1: [0.0, 2 / 3], 2: [2 / 3, 1.0]}[number]
    block = {"adaptation": adaptation or {"kind": "full"}, "steps": {"fixed": steps}}
    of_round = {"number": number, "share": share, "hours": 0.012}
    return SETTINGS | block | {"checkpoint_every_steps": 2, "round": of_round} | more


@pytest.fixture(scope="module")
def raw_donor(tmp_path_factory):
    """A random wav2vec 2.0 of a few thousand weights, as a snapshot."""
    import transformers

    folder = tmp_path_factory.mktemp("raw")
    config = transformers.Wav2Vec2Config(
        hidden_size=32,
        num_hidden_layers=1,
        num_attention_heads=4,
        intermediate_size=48,
        conv_dim=[16] * 7,
        num_conv_pos_embeddings=16,
        num_conv_pos_embedding_groups=4,
        feat_extract_norm="layer",
        do_stable_layer_norm=True,
    )
    torch.manual_seed(1)
    transformers.Wav2Vec2Model(config).save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def whisper_donor(tmp_path_factory):
    """A packed Whisper of a few thousand weights."""
    folder = tmp_path_factory.mktemp("whisper")
    whole_whisper(folder / "snapshot", max_target_positions=120)
    open_family("whisper").pack_donor(folder / "snapshot", folder / "tiny.safetensors")
    return folder / "tiny.safetensors"


@pytest.fixture
def given(speech, donors, raw_donor, whisper_donor):
    """family, adaptation, number -> the job of a round in a folder."""

    def make(folder, family, adaptation, number, **more):
        own = folder / f"round{number}"
        name = kind_of(family).model_file
        donor = {"wav2vec2_ctc": raw_donor, "whisper": whisper_donor}.get(family, donors["en"])
        recipe = settings(number, adaptation)
        if family == "whisper":
            recipe["model"] = {**recipe["model"], "window_s": 4}
        return Job(
            run=RUN,
            train_cuts=speech["train"],
            donor=donor,
            run_dir=own,
            output=own / name,
            settings=filled("train", recipe),
            family=family,
            tokenizer=speech["tokenizer"],
            start=folder / "round1" / name if number > 1 else None,
            **more,
        )

    return make


def begun(job):
    return fine_tune.begin(job, fine_tune.run_length_of(job, Ranks(1, 1)))


def computed(recogniser) -> torch.Tensor:
    """What the encoder makes of noise, without dropout; of a Whisper, nothing."""
    if hasattr(recogniser.lightning, "whisper"):
        return torch.zeros(1)
    draw = torch.Generator().manual_seed(1)
    encoder = recogniser.parts()["encoder"].eval()
    with torch.no_grad():
        if hasattr(recogniser, "network"):
            audio = torch.randn(1, 8000, generator=draw)
            recogniser.lightning.eval()
            return recogniser.network(audio, torch.tensor([8000]))[0]
        audio = torch.randn(1, 40, 200, generator=draw)
        return encoder(audio_signal=audio, length=torch.tensor([200]))[0]


@pytest.mark.slow
@pytest.mark.parametrize(("family", "adaptation"), KINDS, ids=lambda one: str(one)[:24])
def test_a_round_begins_with_the_model_before_it(given, tmp_path, family, adaptation):
    first = given(tmp_path, family, adaptation, 1)
    fine_tune.fine_tune(first)
    before = open_family(family).load(first.output)
    second = given(tmp_path, family, adaptation, 2)
    start = begun(second)
    now = start.recogniser.lightning.state_dict()
    for name, value in before.lightning.state_dict().items():
        module, _, leaf = name.rpartition(".")
        inside = f"{module}.base_layer.{leaf}"
        assert torch.equal(now[name] if name in now else now[inside], value), name
    torch.testing.assert_close(computed(start.recogniser), computed(before), atol=1e-5, rtol=1e-5)
    # Another seed, or updates would span the space of the round before.
    again = begun(first).recogniser.lightning.state_dict()
    drawn = {name: value for name, value in again.items() if "lora_A" in name}
    assert bool(drawn) == (adaptation["kind"] == "lora")
    assert not any(torch.equal(value, now[name]) for name, value in drawn.items())
    fine_tune.fine_tune(second)
    records = [files.read_json(job.run_dir / "run.json") for job in (first, second)]
    assert [record["steps"] for record in records] == [8, 4]
    assert records[1]["input_digests"]["start"] == records[0]["model_sha256"]
    assert records[1]["model_sha256"] != records[0]["model_sha256"]
    after = open_family(family).load(second.output)
    assert list(after.lightning.state_dict()) == list(before.lightning.state_dict())


def arguments(speech, donors, folder, number, adaptation=None, **more):
    own = folder / f"round{number}"
    command = ["--train-cuts", speech["train"], "--tokenizer", speech["tokenizer"]]
    command += ["--init", donors["en"], "--run", RUN.path, "--run-dir", own]
    command += ["--family", "fastconformer_ctc", "--output", own / "model.nemo"]
    command += ["--settings", json.dumps(settings(number, adaptation, **more))]
    if number > 1:
        command += ["--start", folder / "round1/model.nemo"]
    return [str(part) for part in command]


@pytest.fixture(scope="module")
def whole(speech, donors, tmp_path_factory):
    """Two rounds of low-rank updates, uninterrupted."""
    folder = tmp_path_factory.mktemp("whole")
    for number in (1, 2):
        train.main(arguments(speech, donors, folder, number, LORA))
    return folder


@pytest.mark.slow
def test_killed_at_any_moment_a_round_comes_to_the_same_bytes(speech, donors, whole, tmp_path):
    (tmp_path / "round1").mkdir()
    for name in ("model.nemo", "run.json"):
        (tmp_path / "round1" / name).write_bytes((whole / "round1" / name).read_bytes())
    command = arguments(speech, donors, tmp_path, 2, LORA)
    program = Program("train", command, tmp_path / "first.log")
    program.wait_for(lambda: len(rows(tmp_path / "round2")) >= 1)
    program.send(signal.SIGKILL)
    assert program.wait() == -signal.SIGKILL
    assert not (tmp_path / "round2/model.nemo").exists()
    program = Program("train", command, tmp_path / "second.log")
    assert program.wait() == 0, program.said
    first, second = (folder / "round2/model.nemo" for folder in (whole, tmp_path))
    assert files.digest(first) == files.digest(second)


@pytest.mark.slow
def test_what_does_not_belong_together_is_refused_in_words(speech, donors, whole, tmp_path):
    later = arguments(speech, donors, whole, 2, LORA)
    with pytest.raises(UserError, match="settings are of round 2: rounds after the first go on"):
        train.main(later[:-2])
    first = arguments(speech, donors, tmp_path, 1, LORA)
    with pytest.raises(UserError, match="settings are of round 1"):
        train.main([*first, "--start", str(whole / "round1/model.nemo")])
    with pytest.raises(UserError, match=r"round1/model.nemo: no such file"):
        train.main(arguments(speech, donors, tmp_path, 2, LORA))
    texts = tokenizer.supervision_texts(speech["train"])
    tokenizer.train(texts, tmp_path / "smaller", 40)
    other = arguments(speech | {"tokenizer": tmp_path / "smaller"}, donors, whole, 2, LORA)
    other[other.index("--run-dir") + 1] = str(tmp_path / "other")
    with pytest.raises(UserError, match=r"2 of its tensors are other ones .*rounds share family"):
        train.main(other)


# ---- rounds as one run


def joined(whole, folder, *, order=(1, 2), data=("labelled", "pseudo")):
    join_rounds.main(
        [
            *("--run", RUN.path, "--data", *data, "--output", str(folder / "model.nemo")),
            *("--rounds", *(str(whole / f"round{number}/model.nemo") for number in order)),
        ]
    )
    return files.read_json(folder / "run.json")


@pytest.mark.slow
def test_rounds_are_one_run(whole, tmp_path):
    record = joined(whole, tmp_path)
    one, two = (files.read_json(whole / f"round{number}/run.json") for number in (1, 2))
    assert files.digest(tmp_path / "model.nemo") == two["model_sha256"] == record["model_sha256"]
    assert (record["steps"], record["steps_planned"]) == (12, 12)
    for name in ("hours_seen", "train_s", "wall_s", "steps_s", "timed_steps"):
        assert record[name] == pytest.approx(one[name] + two[name], abs=1e-5)
    assert record["timed_steps"] == record["steps"]
    assert record["start_digests"] == one["start_digests"]
    assert record["input_digests"] == one["input_digests"]
    assert "round" not in record["settings"]
    assert [each["data"] for each in record["rounds"]] == ["labelled", "pseudo"]
    assert [each["steps"] for each in record["rounds"]] == [8, 4]
    assert record["final"] == two["final"]
    with open(tmp_path / "train.csv", encoding="utf-8", newline="") as stream:
        curve = list(csv.DictReader(stream))
    assert [int(row["step"]) for row in curve] == [2, 4, 6, 8, 10, 12]
    hours = [float(row["hours_seen"]) for row in curve]
    assert hours == sorted(hours)
    assert hours[-1] == pytest.approx(record["hours_seen"], abs=1e-4)
    # A second name, and newer than the record beside the last round's.
    output, beside = tmp_path / "model.nemo", whole / "round2/run.json"
    assert output.stat().st_ino == (whole / "round2/model.nemo").stat().st_ino
    assert output.stat().st_mtime >= beside.stat().st_mtime


def test_numbers_of_a_curve_are_counted_on_however_they_are_written():
    assert rounds_as_one._shifted("4", 8.0) == "12"
    assert rounds_as_one._shifted("0.25", 0.5) == "0.75"
    assert rounds_as_one._shifted("5e-05", 0.5) == "0.50005", "repr of small floats"
    assert rounds_as_one._shifted("0", 0.5) == "0.5"
    assert rounds_as_one._shifted("", 8.0) == ""


@pytest.mark.slow
def test_rounds_out_of_order_of_another_run_or_damaged_are_refused(whole, tmp_path):
    with pytest.raises(UserError, match=r"round 2 of .* and round 1 of .* is asked for"):
        joined(whole, tmp_path, order=(2, 1))
    with pytest.raises(UserError, match="--data names 1 rounds and --rounds 2"):
        joined(whole, tmp_path, data=("labelled",))
    copy = tmp_path / "copy"
    for number in (1, 2):
        (copy / f"round{number}").mkdir(parents=True)
        for name in ("model.nemo", "run.json", "train.csv"):
            content = (whole / f"round{number}" / name).read_bytes()
            (copy / f"round{number}" / name).write_bytes(content)
    record = files.read_json(copy / "round1/run.json")
    files.write_json(copy / "round1/run.json", record | {"seed": 2})
    with pytest.raises(UserError, match=r"round 1 of it_rounds/ml/0.012h/seed2, and round 1 of it"):
        joined(copy, tmp_path)
    files.write_json(copy / "round1/run.json", record)
    damaged = bytearray((copy / "round2/model.nemo").read_bytes())
    damaged[len(damaged) // 2] ^= 1
    (copy / "round2/model.nemo").write_bytes(damaged)
    with pytest.raises(UserError, match="the file was damaged or replaced"):
        joined(copy, tmp_path)
    assert not (tmp_path / "model.nemo").exists()
