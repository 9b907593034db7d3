"""prepare_noise: the same utterances with noise under them, at the ratio asked for, mixed on
load."""

import numpy as np
import pytest
from lhotse import CutSet
from made.pool_material import write
from made.speech import encode, recordings

import prepare_noise
from warmstart.data import manifests, noise
from warmstart.data.corpora.base import Utterance
from warmstart.data.corpora.local import Reader
from warmstart.run.errors import UserError


@pytest.fixture
def folder(tmp_path):
    """A minute of noise at another rate, a short one, a silent and a damaged file."""
    draw = np.random.default_rng(1)
    where = tmp_path / "noise" / "free-sound"
    encode(0.1 * draw.standard_normal(44100 * 20).astype("float32"), where / "long.wav", 44100)
    encode(0.1 * draw.standard_normal(24000).astype("float32"), where / "short.flac")
    encode(np.zeros(32000, dtype="float32"), where / "silent.flac")
    (where / "broken.wav").write_bytes(b"RIFF")
    return tmp_path / "noise"


def manifest(tmp_path, count=6):
    """Cuts of human recordings; the last one joins two intervals."""
    corpus, made = Reader("human", "it", {"kind": "local", "directory": "x"}), []
    for number, (path, text, seconds) in enumerate(recordings()[:count]):
        intervals = (
            ((0.1, seconds / 2), (seconds / 2 + 0.2, seconds)) if number == count - 1 else None
        )
        utterance = Utterance(
            id=str(number),
            audio=path,
            text=text,
            speaker="c",
            block=str(number),
            intervals=intervals,
        )
        made.append(manifests.make_cut(corpus, "test", utterance, manifests.probe(path)))
    return write(tmp_path / "test.jsonl.gz", made)


def mix(tmp_path, folder, snr_db, **more):
    clean = manifest(tmp_path)
    output = tmp_path / f"test+noise{snr_db}db.jsonl.gz"
    options = [word for name, value in more.items() for word in (f"--{name}", str(value))]
    arguments = [
        "--directory",
        folder,
        "--cuts",
        clean,
        "--snr-db",
        snr_db,
        "--output",
        output,
        *options,
    ]
    prepare_noise.main([str(argument) for argument in arguments])
    return list(CutSet.from_file(clean)), list(CutSet.from_file(output))


@pytest.mark.parametrize("snr_db", [0, 10])
def test_ids_texts_and_lengths_stay_and_the_ratio_is_as_asked(tmp_path, folder, snr_db):
    for clean, noisy in zip(*mix(tmp_path, folder, snr_db), strict=True):
        assert (noisy.id, noisy.duration, noisy.custom) == (clean.id, clean.duration, clean.custom)
        assert [s.text for s in noisy.supervisions] == [s.text for s in clean.supervisions]
        speech, mixed = clean.load_audio()[0], noisy.load_audio()[0]
        assert len(speech) == len(mixed)
        added = mixed - speech
        measured = 10 * np.log10(np.mean(speech**2) / np.mean(added**2))
        assert measured == pytest.approx(snr_db, abs=1.5)


def test_two_ratios_differ_in_level_only_and_a_seed_draws_anew(tmp_path, folder):
    clean, loud = mix(tmp_path, folder, 0)
    _, soft = mix(tmp_path, folder, 10)
    for speech, one, two in zip(clean, loud, soft, strict=True):
        added = [cut.load_audio()[0] - speech.load_audio()[0] for cut in (one, two)]
        assert np.corrcoef(*added)[0, 1] > 0.999
    _, again = mix(tmp_path, folder, 0, seed=2)
    assert [cut.to_dict() for cut in again] != [cut.to_dict() for cut in loud]


def test_noise_manifest_holds_what_is_usable(tmp_path, folder):
    output = tmp_path / "noise.jsonl.gz"
    prepare_noise.main(["--directory", str(folder), "--output", str(output)])
    made = list(CutSet.from_file(output))
    assert [cut.id for cut in made] == ["noise-free-sound/long.wav", "noise-free-sound/short.flac"]
    assert all(
        cut.sampling_rate == 16000 and cut.load_audio().shape[1] == cut.num_samples for cut in made
    )


def test_wrong_input_is_named(tmp_path, folder):
    with pytest.raises(UserError, match="no such folder"):
        list(noise.scan(tmp_path / "absent"))
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match="no usable audio"):
        list(noise.scan(tmp_path / "empty"))
    with pytest.raises(UserError, match="--cuts and --snr-db belong together"):
        prepare_noise.main(
            ["--directory", str(folder), "--snr-db", "5", "--output", str(tmp_path / "x.jsonl.gz")]
        )
