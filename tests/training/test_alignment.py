"""Texts longer than their frames, of which CTC learns nothing: counted before training by hand, and
left out of a training for real."""

import functools
import gc
import json
from types import SimpleNamespace

import pytest
import torch
from made import raw_donor
from made.small_speech import SETTINGS, rows

import train
from warmstart.data import cut_lines, mixing
from warmstart.models import KINDS, open_family
from warmstart.models.base import Recogniser
from warmstart.run import files
from warmstart.run.errors import UserError
from warmstart.training import alignment


def recogniser(ctc_frames):
    """A frame every 0.1 s, a token a letter; what `base.Recogniser` makes of them."""
    made = SimpleNamespace(
        sample_rate=1000,
        frame_s=0.1,
        ctc_frames=ctc_frames,
        tokens_of=lambda text, lang: [ord(letter) for letter in text],
    )
    made.unlearnable = functools.partial(Recogniser.unlearnable, made)
    made.unlearnable_because = functools.partial(Recogniser.unlearnable_because, made)
    return made


RECOGNISER = recogniser(lambda samples: samples // 100)
TOO_LONG = "text_longer_than_frames"


def manifest(path, *texts, replayed=()):
    """Cuts of a second: 10 frames."""
    with cut_lines.writing(path) as stream:
        for number, text in enumerate([*texts, *replayed]):
            span = {"id": f"cut{number}", "start": 0, "duration": 1.0, "channel": 0}
            mark = {mixing._MARK: "en"} if number >= len(texts) else {}
            stream.write(
                cut_lines.line({**span, "supervisions": [{**span, "text": text}], "custom": mark})
            )
    return path


def test_cuts_are_counted_once_by_reason_and_add_up(tmp_path, caplog):
    path = manifest(
        tmp_path / "cuts.jsonl.gz",
        *("abc", "abcdefghij", "abcdefghijk", "aabcdefghi", "aabcdefghij", ""),
        replayed=["abcdefghijk", "a"],
    )
    # 3, 10, 11, 11, 12 and 1 frames are needed.
    found = alignment.count(RECOGNISER, path, 6, [])
    assert found == alignment.Learnable(6, {TOO_LONG: 3}, 0, 1)
    record = found.record()
    assert record["left_out_cuts"] == {"text_longer_than_frames": 3}
    assert record["learnable_cuts"] + sum(record["left_out_cuts"].values()) == 6
    assert "learnt of 3 of 6 cuts (text_longer_than_frames: 3; 0 more at" in caplog.text
    assert "first: cut2, cut3, cut4" in caplog.text
    # Slower, a second is 1.25 s and 12 frames; faster, 0.8 s and 8.
    found = alignment.count(RECOGNISER, path, 6, [0.8, 1.0, 1.25])
    assert found == alignment.Learnable(6, {}, 4, 0)
    assert alignment.count(RECOGNISER, path, 6, [1.25]) == alignment.Learnable(
        6, {TOO_LONG: 4}, 0, 1
    )


def test_where_nothing_can_be_aligned_it_is_said(tmp_path):
    path = manifest(tmp_path / "cuts.jsonl.gz", "abcdefghijk", "aaaaaaaaaa", replayed=["a"])
    with pytest.raises(
        UserError,
        match=r"any of its 2 cuts: 2 have texts of more tokens .* 100 ms.*raise tokenizer\.vocab",
    ):
        alignment.count(RECOGNISER, path, 2, [])


def test_a_transducer_learns_of_any_text(tmp_path):
    transducer = recogniser(lambda samples: None)
    assert alignment.count(transducer, tmp_path / "not read", 7, []) == alignment.Learnable(7)
    assert alignment.Learnable(7).record()["left_out_cuts"] == {}
    assert alignment.teaches(transducer, ("anything",))


# ---- a training


@pytest.fixture(scope="module")
def some(speech, tmp_path_factory):
    """How many texts became too long -> manifest of four cuts."""
    folder = tmp_path_factory.mktemp("long")
    cuts = [cut for cut, _ in zip(cut_lines.read(speech["train"]), range(4), strict=False)]
    made = {}
    for count in (0, 2, 4):
        made[count] = folder / f"{count}.jsonl.gz"
        with cut_lines.writing(made[count]) as stream:
            for number, cut in enumerate(cuts):
                supervision = cut_lines.supervision(cut)
                text = "prego " * 200 if number < count else supervision["text"]
                stream.write(
                    cut_lines.line({**cut, "supervisions": [{**supervision, "text": text}]})
                )
    return made


def run(speech, family, init, cuts, run_dir, **more):
    gc.collect()  # what ran in this process before may still hold the lock of its folder
    # A cut a batch, a row a step.
    alone = {"batch_duration_s": 0.1, "log_every_steps": 1, "steps": {"fixed": 4}} | more
    arguments = ["--train-cuts", cuts, "--tokenizer", speech["tokenizer"], "--init", init]
    arguments += ["--dev-cuts", f"it={cuts}", "--run", "it/a/0.012h/seed1", "--family", family]
    arguments += ["--settings", json.dumps(SETTINGS | alone), "--run-dir", run_dir]
    arguments += ["--output", run_dir / KINDS[family].model_file]
    train.main([str(argument) for argument in arguments])
    return files.read_json(run_dir / "run.json")


@pytest.mark.slow
@pytest.mark.parametrize("family", ["wav2vec2_ctc", "fastconformer_ctc"])
def test_a_step_of_which_nothing_can_be_learnt_is_no_loss_of_zero(
    speech, donors, some, tmp_path, family
):
    init = donors["en"] if family == "fastconformer_ctc" else raw_donor.packed(tmp_path)
    record = run(speech, family, init, some[2], tmp_path / "run")
    assert record["cuts"] == 4 == record["learnable_cuts"] + 2
    assert record["left_out_cuts"] == {"text_longer_than_frames": 2}
    losses = [row["loss"] for row in rows(tmp_path / "run")]
    assert losses.count("") == 2
    assert all(float(loss) > 1 for loss in losses if loss), "neither zero nor infinite"
    # Their audio was heard all the same; validation means are of what can be aligned.
    assert record["hours_seen"] == pytest.approx(record["hours_budget"], rel=0.01)
    last = float(rows(tmp_path / "run")[-1]["dev_loss"])
    assert 1 < last < float("inf")
    with pytest.raises(UserError, match="any of its 4 cuts: 4 have texts of more tokens"):
        run(speech, family, init, some[4], tmp_path / "none")
    assert not (tmp_path / "none" / "checkpoints").exists()
    assert not (tmp_path / "none" / "run.json").exists()


@pytest.mark.slow
@pytest.mark.parametrize("family", ["wav2vec2_ctc", "fastconformer_ctc"])
def test_frames_are_those_that_the_loss_sees(speech, donors, tmp_path, family):
    init = donors["en"] if family == "fastconformer_ctc" else raw_donor.packed(tmp_path)
    opened = open_family(family)
    made = opened.build(
        opened.read_donor(init), SETTINGS, tokenizer=speech["tokenizer"], seed=1, steps=2
    )
    model = made.lightning.eval()
    lengths = torch.tensor([16000, 15999, 12345, 8000, 1281, 1280, 1279, 641, 640, 639])
    audio = torch.randn(len(lengths), 16000)
    with torch.no_grad():
        if family == "fastconformer_ctc":
            _, seen, _ = model.forward(input_signal=audio, input_signal_length=lengths)
        else:
            _, seen = model(audio, lengths)
    assert made.ctc_frames(lengths).tolist() == seen.tolist()


@pytest.mark.slow
@pytest.mark.parametrize("width", [1, 1.0, 0.5])
def test_masks_may_be_as_long_as_the_utterance_and_are_never_longer(
    speech, donors, width, tmp_path
):
    """`time_width: 1` is all of the utterance, also where YAML makes a whole number of it."""
    masks = {"freq_masks": 0, "freq_width": 0, "time_masks": 3, "time_width": width}
    family = open_family("fastconformer_ctc")
    made = family.build(
        family.read_donor(donors["en"]),
        SETTINGS | {"spec_augment": masks},
        tokenizer=speech["tokenizer"],
        seed=1,
        steps=2,
    )
    spectra, lengths = torch.ones(3, 40, 50), torch.tensor([50, 3, 1])
    touched = torch.zeros(3)
    for seed in range(30):
        torch.manual_seed(seed)
        masked = made.lightning.spec_augmentation(input_spec=spectra, length=lengths)
        for row, count in zip(masked, lengths.tolist(), strict=True):
            assert row[:, count:].all()
        touched = touched.maximum((masked == 0).all(1).sum(1))
    assert touched[0] > 0.6 * float(width) * 50
