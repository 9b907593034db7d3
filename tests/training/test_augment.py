"""Speed and noise of training cuts: what is heard, measured; the same for every init and after an
interruption."""

import gzip
import json
import math
from collections import Counter

import numpy as np
import pytest
import soundfile
from made.small_speech import SETTINGS, listener

import train
from warmstart.run import files

pytestmark = pytest.mark.slow

SPEEDS = [0.9, 1.0, 1.1]


@pytest.fixture(scope="module")
def noise(tmp_path_factory):
    """Manifest of two recordings: 30 s at 16 kHz, and one at 8 kHz that is shorter than most
    cuts."""
    from warmstart.data.noise import write_manifest

    folder, drawn = tmp_path_factory.mktemp("noise"), np.random.default_rng(1)
    for name, rate, seconds in (("long", 16000, 30), ("short", 8000, 1.1)):
        soundfile.write(
            folder / f"{name}.wav", 0.1 * drawn.standard_normal(int(rate * seconds)), rate
        )
    write_manifest(folder, folder / "noise.jsonl.gz")
    return folder / "noise.jsonl.gz"


def loaders(speech, settings, start=(0, 0), seed=1):
    """Loader and sampler without a model."""
    from warmstart.training import order

    loader, sampler = order.dataloader(listener(speech), speech["train"], SETTINGS | settings, seed)
    sampler.start = start
    return loader, sampler


def epochs(sampler, count):
    """(epoch, batch) of some epochs."""
    for step, batch in enumerate(sampler):
        epoch = sampler.recent[step]["epoch"]
        if epoch == count:
            return
        yield epoch, batch


def manifest(speech):
    with gzip.open(speech["train"], "rt") as stream:
        return {cut["id"]: cut for cut in map(json.loads, stream)}


def test_each_cut_is_heard_once_an_epoch_at_one_of_the_speeds(speech):
    own = manifest(speech)
    _, sampler = loaders(speech, {"speed_perturb": SPEEDS})
    speeds = {}
    for epoch, batch in epochs(sampler, 6):
        for cut in batch:
            heard = own[cut.id]["duration"] / cut.duration
            speed = min(SPEEDS, key=lambda speed: abs(speed - heard))
            assert heard == pytest.approx(speed, abs=1e-3)
            assert (epoch, cut.id) not in speeds
            speeds[epoch, cut.id] = speed
        assert sum(cut.duration for cut in batch) <= SETTINGS["batch_duration_s"]
    assert len(speeds) == 6 * len(own)
    count, expected = Counter(speeds.values()), 6 * len(own) / 3
    for speed in SPEEDS:
        assert count[speed] == pytest.approx(expected, abs=4 * math.sqrt(expected * 2 / 3))
    assert any(speeds[0, cut_id] != speeds[1, cut_id] for cut_id in own)


def test_a_slowed_cut_sounds_longer_and_lower(speech):
    """The pitch of a tone says at which speed it was played."""
    from lhotse import CutSet

    from warmstart.training.augment import Augmentation

    folder = speech["train"].parent
    soundfile.write(
        folder / "tone.wav", 0.3 * np.sin(2 * np.pi * 1000 * np.arange(32000) / 16000), 16000
    )
    cut = next(iter(CutSet.from_jsonl_lazy(speech["train"])))
    cut.recording.sources[0].source = str(folder / "tone.wav")
    cut = cut.with_id("tone")
    cut.recording.num_samples, cut.recording.duration, cut.start, cut.duration = 32000, 2.0, 0, 2.0
    cut.supervisions[0].start, cut.supervisions[0].duration = 0, 2.0
    augmentation = Augmentation(1, 16000, [0.9])
    samples = augmentation._change_speed(cut).load_audio()[0]
    assert len(samples) == pytest.approx(32000 / 0.9, abs=2)
    spectrum = np.abs(np.fft.rfft(samples * np.hanning(len(samples))))
    assert spectrum.argmax() * 16000 / len(samples) == pytest.approx(900, abs=2)


def test_noise_lies_under_the_speech_at_the_ratio_that_was_drawn(speech, noise):
    settings = {"noise": {"manifest": noise, "snr_db": [0, 20], "probability": 0.5}}
    loader, sampler = loaders(speech, settings)
    augmentation, _ = sampler._augmentation, loader
    clean = {}
    for _, batch in epochs(loaders(speech, {})[1], 1):
        clean |= {cut.id: cut.load_audio()[0].astype(float) for cut in batch}
    ratios = []
    for epoch, batch in epochs(sampler, 2):
        for cut in batch:
            augmentation.epoch = epoch
            wanted, samples = augmentation.snr_of(cut.id), cut.load_audio()[0].astype(float)
            assert samples.shape == clean[cut.id].shape
            assert cut.supervisions[0].text
            difference = samples - clean[cut.id]
            if wanted is None:
                assert not difference.any()
                continue
            found = 10 * math.log10((clean[cut.id] ** 2).mean() / (difference**2).mean())
            assert found == pytest.approx(wanted, abs=0.2)
            ratios.append(wanted)
    expected = len(clean)  # half of two epochs
    assert len(ratios) == pytest.approx(expected, abs=4 * math.sqrt(expected / 2))
    assert min(ratios) < 5 < 15 < max(ratios)
    assert all(0 <= ratio <= 20 for ratio in ratios)


def test_joined_and_replayed_cuts_are_treated_as_others(speech, noise):
    """A cut of joined intervals, as VoxPopuli's are: slowed, with noise under all of it, and still
    marked as replayed."""
    from lhotse.cut import MixedCut

    from warmstart.data import mixing
    from warmstart.training.augment import Augmentation

    pieces = [
        piece | {"custom": piece["custom"] | {"replay": "en"}}
        for piece in list(manifest(speech).values())[:2]
    ]
    offset = pieces[0]["duration"]
    tracks = [{"cut": pieces[0], "type": "MonoCut", "offset": 0.0}]
    tracks += [{"cut": pieces[1] | {"supervisions": []}, "type": "MonoCut", "offset": offset}]
    plain = MixedCut.from_dict({"id": "joined", "tracks": tracks})
    augmentation = Augmentation(
        1, 16000, [0.9], {"manifest": noise, "snr_db": [3, 3], "probability": 1.0}
    )
    slowed = augmentation._change_speed(plain)
    noisy = augmentation._noisy(slowed)
    assert noisy.id == "joined"
    assert noisy.duration == slowed.duration == pytest.approx(plain.duration / 0.9, abs=1e-3)
    assert mixing.replayed_language(noisy) == mixing.replayed_language(slowed) == "en"
    assert [one.text for one in noisy.supervisions] == [one.text for one in plain.supervisions]
    difference = noisy.load_audio()[0].astype(float) - slowed.load_audio()[0]
    cut_at = int(pieces[0]["duration"] / 0.9 * 16000)
    assert (difference[:cut_at] ** 2).mean() == pytest.approx(
        (difference[cut_at:] ** 2).mean(), rel=0.5
    )
    assert (difference**2).mean() > 0


def test_what_is_heard_belongs_to_seed_epoch_and_cut(speech, noise):
    """Two loaders give the same tensors, one that begins in the middle gives the rest of them,
    another seed gives others."""
    settings = {
        "speed_perturb": SPEEDS,
        "noise": {"manifest": noise, "snr_db": [0, 20], "probability": 0.7},
    }

    def heard(start=(0, 0), seed=1, count=12):
        loader, _ = loaders(speech, settings, start, seed)
        return [batch[0] for _, batch in zip(range(count), loader, strict=False)]

    _, sampler = loaders(speech, settings)
    in_epoch = Counter(epoch for epoch, _ in epochs(sampler, 2))
    whole = heard(count=in_epoch[0] + 4)
    assert all(one.equal(other) for one, other in zip(whole, heard(count=len(whole)), strict=True))
    for start, skipped in (((0, 3), 3), ((1, 1), in_epoch[0] + 1)):
        rest = heard(start, count=len(whole) - skipped)
        assert all(one.equal(other) for one, other in zip(whole[skipped:], rest, strict=True))
    assert not any(
        one.equal(other) for one, other in zip(whole, heard(seed=2, count=len(whole)), strict=True)
    )


def test_hours_count_the_budget_once_and_what_was_heard_as_heard(speech, donors, noise, tmp_path):
    settings = SETTINGS | {"speed_perturb": [0.8], "steps": {"epochs": 1.5}, "log_every_steps": 1}
    settings |= {"noise": {"manifest": str(noise), "snr_db": [5, 10], "probability": 1.0}}
    train.main(
        [
            *(
                "--train-cuts",
                str(speech["train"]),
                "--tokenizer",
                str(speech["tokenizer"]),
                "--init",
                str(donors["en"]),
            ),
            *("--run", "it/en/0.012h/seed1"),
            *(
                "--settings",
                json.dumps(settings),
                "--run-dir",
                str(tmp_path),
                "--output",
                str(tmp_path / "model.nemo"),
            ),
        ]
    )
    record = files.read_json(tmp_path / "run.json")
    budget = sum(cut["duration"] for cut in manifest(speech).values()) / 3600
    assert record["hours_budget"] == record["unique_hours"] == pytest.approx(budget, abs=1e-6)
    # Slowed to 0.8, an hour of the budget is heard for 1.25 h.
    assert record["hours_seen"] == pytest.approx(1.25 * record["epochs"] * budget, rel=1e-3)
    assert record["epochs"] > 1
    assert record["input_digests"]["noise"] == files.digest(noise)
