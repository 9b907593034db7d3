"""Batches by what fits: the search, the profile, and trainings that follow it."""

import functools
import json
import resource
import subprocess
import sys

import pytest
from made.small_speech import SETTINGS, listener

from warmstart.data import cut_lines
from warmstart.run.errors import UserError
from warmstart.training import buckets
from warmstart.training.batch_profile import Profile, largest_count, mean_seconds

MODEL = "0123456789abcdef"


def profile(**changed):
    made = {
        "device": "CPU",
        "memory_gb": 0.0,
        "model": MODEL,
        "settings": {
            "precision": "32",
            "joint_mb": None,
            "speed_perturb": [],
            "bucket_bins_s": [1.5],
        },
        "longest_s": [1.5, 60.0],
        "tokens": [10, 20],
        "counts": [5, 2],
        "seconds": 6.0,
    }
    return Profile(**made | changed)


def test_buckets_hold_equal_audio():
    # By hand: 24 s in 3 buckets of 8 s: 8 x 1 s, 4 x 2 s, 2 x 4 s.
    rising = [1.0] * 8 + [2.0] * 4 + [4.0] * 2
    assert buckets.bounds(rising, 3) == [1.0, 2.0]
    # A length that fills two buckets alone has one bound.
    assert buckets.bounds([1.0] * 8 + [2.0], 5) == [1.0]
    assert buckets.bounds([3.0] * 10, 4) == []


def test_bounds_come_from_the_cuts_at_every_speed(tmp_path):
    path = tmp_path / "cuts.jsonl.gz"
    with cut_lines.writing(path) as stream:
        for index, duration in enumerate((3.0, 1.0, 2.0)):
            stream.write(cut_lines.line({"id": str(index), "duration": duration}))
    asked = {"bucket_bins_s": 3, "speed_perturb": []}
    assert buckets.inner_bounds(path, asked) == [2.0]
    assert buckets.lengths(path, [0.5, 1.0]) == [1.0, 2.0, 2.0, 3.0, 4.0, 6.0]
    assert buckets.inner_bounds(path, asked | {"bucket_bins_s": [1.2, 2.4]}) == [1.2, 2.4]


@pytest.mark.parametrize("most", [1, 2, 3, 17, 64, 99])
@pytest.mark.parametrize("guess", [1, 5, 64])
def test_the_largest_count_that_fits_is_found(most, guess):
    tried = []

    def fits(count):
        tried.append(count)
        return count <= most

    assert largest_count(fits, guess, 4096) == most
    assert len(tried) == len(set(tried)) < 16
    assert largest_count(lambda count: False, guess, 4096) == 0
    assert largest_count(lambda count: True, guess, 40) == 40


def test_seconds_of_a_batch_are_those_of_an_epoch():
    # By hand: 10 cuts of 1 s in batches of 5 and 4 of 2 s in batches of 2: 18 s in 4 batches.
    assert mean_seconds([1.0] * 10 + [2.0] * 4, [1.5, 2.0], [5, 2]) == 4.5


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"device": "NVIDIA H100 80GB HBM3"}, r"another GPU \(NVIDIA H100 80GB HBM3; here CPU\)"),
        ({"model": "f" * 16}, "another model"),
        ({"settings": {"precision": "bf16-true"}}, "another recipe"),
    ],
)
def test_a_profile_of_something_else_is_not_used_and_says_so(tmp_path, changed, said):
    path = tmp_path / "it.json"
    profile(**changed).write(path)
    with pytest.raises(UserError, match=said) as caught:
        Profile.read(path).require(path, MODEL, SETTINGS)
    assert "is not used; delete it" in str(caught.value)
    profile().require(path, MODEL, SETTINGS)


def test_a_damaged_profile_is_named(tmp_path):
    path = tmp_path / "it.json"
    profile().write(path)
    path.write_text(path.read_text(encoding="utf-8")[:40], encoding="utf-8")
    with pytest.raises(UserError, match=r"it\.json.*profile_batches\.py"):
        Profile.read(path)
    path.write_text('{"device": "CPU"}', encoding="utf-8")
    with pytest.raises(UserError, match="no profile of batches"):
        Profile.read(path)


@pytest.mark.slow
def test_noise_speaks_the_language_of_a_cut():
    from lhotse import MonoCut, SupervisionSegment

    from warmstart.models.batches import LanguageDataset, SpeechDataset

    spoken = SupervisionSegment("a", "a", start=0, duration=1, language="fr")
    cut = MonoCut("a", start=0, duration=1, channel=0, supervisions=[spoken])
    batch = LanguageDataset({"it": list, "fr": list}).noise(3, 1600, 4, cut)
    assert batch.audio.shape == (3, 1600)
    assert batch.language.tolist() == [1, 1, 1]
    plain = SpeechDataset(list).noise(2, 800, 10)
    assert plain.tokens[0].tolist() == [1, 2, 3, 4, 5, 6, 7, 8, 1, 2]
    assert plain.audio_len.tolist() == [800, 800]
    assert plain.token_len.tolist() == [10, 10]


@pytest.mark.slow
def test_batches_have_as_many_utterances_as_the_profile_says(speech):
    from warmstart.training import order

    lengths = buckets.lengths(speech["train"])
    middle = lengths[len(lengths) // 2]
    made = profile(longest_s=[middle, lengths[-1]])
    sampler = order.batch_sampler(speech["train"], SETTINGS, 3, 16000, made)
    batches = [list(batch) for batch in sampler]
    assert sum(map(len, batches)) == len(lengths)
    for batch in batches:
        longest = max(cut.duration for cut in batch)
        assert len(batch) <= (5 if longest <= middle else 2)
        assert longest <= middle or min(cut.duration for cut in batch) > middle
    # An epoch holds every cut once, and ends with what is left.
    assert sum(len(batch) in (5, 2) for batch in batches) > len(batches) / 2
    with pytest.raises(UserError, match=r"a training cut has .* s, .* delete the profile"):
        order.batch_sampler(speech["train"], SETTINGS, 3, 16000, profile(longest_s=[0.1, 0.2]))
    assert listener(speech).dataset()[next(iter(sampler))].audio.shape[0] in (5, 2)


@pytest.mark.slow
def test_a_slowed_cut_is_in_the_last_bucket_though_its_samples_are_rounded_up(speech, tmp_path):
    from lhotse.utils import perturb_num_samples

    from warmstart.training import order

    speeds, path = [0.9], tmp_path / "cuts.jsonl.gz"
    with cut_lines.writing(path) as stream:
        for cut in cut_lines.read(speech["train"]):
            samples = round(cut_lines.duration_s(cut) * 16000)
            if perturb_num_samples(samples, 0.9) > samples / 0.9:
                stream.write(cut_lines.line(cut))
    lengths = buckets.lengths(path, speeds)
    made = profile(longest_s=[lengths[len(lengths) // 2], lengths[-1]])
    settings = SETTINGS | {"speed_perturb": speeds}
    inner = order.batch_sampler(path, settings, 3, 16000, made)
    sampler = order.EndlessSampler(inner, order.Augmentation(3, 16000, speeds))
    batches = list(sampler.preview(len(lengths)))
    durations = [cut.duration for batch in batches for cut in batch]
    assert len(durations) == len(lengths)
    assert max(durations) > lengths[-1]


def run(name, *arguments, memory_mb=None):
    """A program of the workflow in a process of its own."""
    prepare = None
    if memory_mb is not None:
        limit = memory_mb * 2**20
        prepare = functools.partial(resource.setrlimit, resource.RLIMIT_DATA, (limit, limit))
    done = subprocess.run(
        [sys.executable, f"workflow/scripts/{name}.py", *map(str, arguments)],
        capture_output=True,
        text=True,
        preexec_fn=prepare,
    )
    return done.returncode, done.stdout + done.stderr


def arguments_of(speech, donors, settings):
    return [
        *("--train-cuts", speech["train"], "--tokenizer", speech["tokenizer"]),
        *("--init", donors["en"], "--settings", json.dumps(settings)),
    ]


@pytest.mark.slow
def test_a_training_follows_the_profile_that_was_measured_for_it(speech, donors, tmp_path):
    settings = SETTINGS | {"bucket_bins_s": 3, "steps": {"epochs": 1}}
    settings["schedule"] = settings["schedule"] | {"warmup_steps": 1}
    path = tmp_path / "profiles" / "it.json"
    status, said = run("profile_batches", *arguments_of(speech, donors, settings), "--output", path)
    assert status == 0, said
    made = Profile.read(path)
    assert made.device == "CPU"
    assert len(made.counts) == len(made.longest_s) == 3
    assert made.counts == sorted(made.counts, reverse=True)
    assert made.tokens == sorted(made.tokens)

    # Small enough that an epoch has several batches.
    Profile(**vars(made) | {"counts": [6, 4, 2], "seconds": 5.0}).write(path)
    folder = tmp_path / "it/en/0.01h/seed1"
    train = [
        *arguments_of(speech, donors, settings | {"batch_profile": str(path.parent)}),
        *("--run", "it/en/0.01h/seed1", "--run-dir", folder, "--output", folder / "model.nemo"),
    ]
    status, said = run("train", *train)
    assert status == 0, said
    record = json.loads((folder / "run.json").read_text(encoding="utf-8"))
    total = sum(buckets.lengths(speech["train"]))
    assert record["steps"] == -(-total // 5.0)
    assert record["input_digests"]["batch_profile"]

    Profile(**vars(made) | {"device": "NVIDIA L40S"}).write(path)
    status, said = run("train", *train)
    assert status == 1
    assert "was made for another GPU (NVIDIA L40S; here CPU) and is not used" in said


@pytest.mark.slow
def test_one_utterance_that_does_not_fit_is_told_with_the_keys_to_lower(speech, donors, tmp_path):
    wide = SETTINGS | {"model": SETTINGS["model"] | {"joint_hidden": 60000}}
    status, said = run(
        "profile_batches",
        *arguments_of(speech, donors, wide),
        *("--output", tmp_path / "it.json"),
        memory_mb=1500,
    )
    assert status == 1
    assert "one utterance of" in said
    assert "does not fit CPU in a training step; lower filters.max_duration_s" in said
    assert "Traceback" not in said
    assert not (tmp_path / "it.json").exists()
