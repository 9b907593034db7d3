"""The encoder of Whisper under a CTC head, held against transformers' own classes."""

import json

import numpy as np
import pytest
import torch
from made.toy_model import train_tokenizer
from made.whisper import whisper_snapshot
from test_wav2vec2 import OFFLINE, RECIPE, speech

from warmstart.models import open_family
from warmstart.models.wav2vec2 import settings
from warmstart.models.wav2vec2.architectures import masks
from warmstart.models.wav2vec2.windows import Window, windows
from warmstart.run.errors import UserError

FAMILY = "wav2vec2_ctc"


@pytest.fixture(scope="module")
def donor(tmp_path_factory):
    folder = tmp_path_factory.mktemp("whisper")
    return folder, whisper_snapshot(folder)


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory):
    return train_tokenizer(tmp_path_factory.mktemp("tokenizer"))


@pytest.fixture
def made(donor, tokenizer):
    family = open_family(FAMILY)
    built = family.build(family.read_donor(donor[0]), RECIPE, tokenizer=tokenizer, seed=1, steps=10)
    built.lightning.eval()
    return built


def batch_of(waveforms):
    lengths = torch.tensor([len(samples) for samples in waveforms])
    rows = [torch.from_numpy(samples) for samples in waveforms]
    return torch.nn.utils.rnn.pad_sequence(rows, batch_first=True), lengths


@pytest.mark.slow
def test_features_are_those_of_transformers_bit_by_bit(made):
    """Short ones, an odd number of samples, and around the 30 s at which padding ends."""
    from transformers import WhisperFeatureExtractor

    extractor = WhisperFeatureExtractor(feature_size=80)
    waveforms = speech(100, 5000, 16001, 479_970, 480_000, 480_123)
    features, lengths = made.network.encoding.inputs(*batch_of(waveforms))
    assert lengths.tolist() == [1, 32, 101, 3000, 3000, 3001]
    for row, samples in zip(features, waveforms, strict=True):
        said = extractor(samples, sampling_rate=16000, truncation=False, return_tensors="pt")
        (wanted,) = said.input_features.mT
        alone, _ = made.network.encoding.inputs(*batch_of([samples]))
        count = min(len(wanted), alone.shape[1])
        assert torch.equal(alone[0, :count], wanted[:count])
        torch.testing.assert_close(row[:count], wanted[:count], atol=1e-6, rtol=0)


@pytest.mark.slow
def test_states_of_30_s_are_those_of_transformers(donor, made):
    from transformers import WhisperFeatureExtractor

    (samples,) = speech(480_000)
    features = WhisperFeatureExtractor()(samples, sampling_rate=16000, return_tensors="pt")
    with torch.inference_mode():
        wanted = donor[1].model.encoder(features.input_features).last_hidden_state
        states, frames = made.network.states(*batch_of([samples]))
    assert frames.tolist() == [1500]
    torch.testing.assert_close(states, wanted, atol=1e-5, rtol=1e-5)


def test_what_the_convolutions_give_is_that_of_the_padded_window(donor, made):
    """Without layers nothing tells an utterance's length from a window's."""
    from transformers import WhisperFeatureExtractor

    samples = speech(16001)[0]
    features = WhisperFeatureExtractor()(samples, sampling_rate=16000, return_tensors="pt")
    made.network.encoder.layers = torch.nn.ModuleList()
    theirs = donor[1].model.encoder
    kept, theirs.layers = theirs.layers, torch.nn.ModuleList()
    with torch.inference_mode():
        wanted = theirs(features.input_features).last_hidden_state
        states, frames = made.network.states(*batch_of([samples]))
    theirs.layers = kept
    assert frames.tolist() == [51]
    torch.testing.assert_close(states[0], wanted[0, :51], atol=1e-5, rtol=1e-5)


def test_a_batch_decodes_as_each_utterance_alone(made):
    with torch.no_grad():
        made.network.head.weight.mul_(20)
    decoder = made.decoder(OFFLINE)
    waveforms = speech(16000, 5000, 9123, 401, 1, 33_333)
    together = decoder.logits(waveforms)
    for samples, one in zip(waveforms, together, strict=True):
        (alone,) = decoder.logits([samples])
        assert len(one) == len(alone) == -(-len(samples) // 320)
        torch.testing.assert_close(one, alone, atol=1e-4, rtol=1e-4)
    texts = decoder.decode(waveforms)
    assert len(texts[0].pieces) > 5
    assert texts == [decoder.decode([samples])[0] for samples in waveforms]


@pytest.mark.slow
def test_what_is_longer_than_30_s_is_heard_in_windows_in_training_too(made):
    waveforms = speech(16000 * 41 + 77, 8000)
    decoder = made.decoder(OFFLINE)
    logits = decoder.logits(waveforms)
    with torch.inference_mode():
        scores, frames = made.network(*batch_of(waveforms))
    assert frames.tolist() == [2051, 25]
    for row, count, one in zip(scores, frames.tolist(), logits, strict=True):
        torch.testing.assert_close(row[:count], one, atol=1e-4, rtol=1e-4)


def test_windows_take_each_frame_once():
    """35 s in frames of 20 ms, of two units each: 30 s, then what begins at 22 s."""
    assert list(windows(3500, 1500, 200, 2)) == [
        Window(0, 3000, 0, 1300),
        Window(2200, 3500, 200, None),
    ]
    assert list(windows(3000, 1500, 200, 2)) == [Window(0, 3000, 0, None)]


def test_the_decoder_is_left_and_every_tensor_of_the_encoder_accounted_for(
    donor, made, tokenizer, tmp_path
):
    from safetensors.torch import load_file, save_file

    assert made.loaded_tensors == len(made.parts()["encoder"].state_dict())
    for name, value in donor[1].model.encoder.state_dict().items():
        assert torch.equal(value, made.network.encoder.state_dict()[name]), name
    assert len(made.blocks()) == 3
    family = open_family(FAMILY)
    family.pack_donor(donor[0], tmp_path / "packed.safetensors")
    packed = family.read_donor(tmp_path / "packed.safetensors")
    assert packed.about() == family.read_donor(donor[0]).about()
    assert packed.about()["class"] == "the encoder of Whisper"
    tensors = load_file(donor[0] / "model.safetensors")
    for name in ("config.json", "preprocessor_config.json"):
        (tmp_path / name).write_text((donor[0] / name).read_text())
    lost = "model.encoder.layers.1.fc1.weight"
    for changed, said in (
        ({key: value for key, value in tensors.items() if key != lost}, r"1 tensors of the enc"),
        (tensors | {"model.encoder.more": torch.zeros(2)}, r"1 belong to none \(more\)"),
    ):
        save_file(changed, tmp_path / "model.safetensors")
        with pytest.raises(UserError, match=said):
            family.build(family.read_donor(tmp_path), RECIPE, tokenizer=tokenizer, seed=1, steps=10)


def test_a_model_is_read_back_and_learns(made, tmp_path):
    from warmstart.models.batches import Batch

    made.save(tmp_path / "model.safetensors")
    again = open_family(FAMILY).load(tmp_path / "model.safetensors")
    waveforms = speech(8000, 6000)
    assert again.decoder(OFFLINE).decode(waveforms) == made.decoder(OFFLINE).decode(waveforms)
    asked = {"freq_masks": 1, "freq_width": 8, "time_masks": 1, "time_width": 0.2}
    made.network.masks = asked
    made.lightning.train()
    tokens = torch.tensor([[5, 6, 7], [5, 6, 0]])
    loss, *_ = made.network.loss(Batch(*batch_of(waveforms), tokens, torch.tensor([3, 2])))
    loss.backward()
    still = [name for name, one in made.network.named_parameters() if one.grad is None]
    assert still == ["encoder.embed_positions.weight"]


def test_masks_over_mel_bins_are_no_wider_than_asked():
    asked = {"freq_masks": 2, "freq_width": 8, "time_masks": 0, "time_width": 0.0}
    torch.manual_seed(1)
    under = masks.under_mel_masks(200, 80, asked)
    assert under.shape == (200, 80)
    assert 0 < int(under.sum(1).max()) <= 16
    assert not masks.under_mel_masks(3, 80, asked | {"freq_masks": 0}).any()


@pytest.mark.parametrize(
    ("file", "change", "said"),
    [
        ("config", {"max_source_positions": 500}, "max_source_positions is 500; it must be 1500"),
        ("config", {"encoder_attention_heads": 3}, "d_model 16 is no multiple of encoder_att"),
        ("config", {"activation_function": "os.system"}, "it must be one of gelu"),
        ("preprocessor_config", {"hop_length": 320}, "hop_length is 320; it must be 160, 10 ms"),
        (
            "preprocessor_config",
            {"feature_size": 128},
            "its preprocessing is 128, and num_mel_bins",
        ),
        ("preprocessor_config", {"sampling_rate": 8000}, "its sampling_rate is 8000 Hz"),
    ],
)
def test_settings_that_no_whisper_has_are_refused(donor, file, change, said):
    read = {
        name: json.loads((donor[0] / f"{name}.json").read_text())
        for name in ("config", "preprocessor_config")
    }
    read[file] |= change
    with pytest.raises(UserError, match=said):
        settings.read(read["config"], read["preprocessor_config"], "init w")


def test_mean_states_are_those_of_the_utterance_alone(donor):
    family = open_family(FAMILY)
    listener = family.listen(family.read_donor(donor[0]), OFFLINE)
    waveforms = speech(16000, 5000)
    together = listener.mean_states(waveforms)
    for samples, row in zip(waveforms, together, strict=True):
        np.testing.assert_allclose(listener.mean_states([samples])[0], row, atol=1e-5)
