"""w2v-BERT 2.0, held against transformers' own feature extractor and model."""

import json

import numpy as np
import pytest
import torch
from made.toy_model import train_tokenizer

from warmstart.models import open_family
from warmstart.models.tier import Tier
from warmstart.models.wav2vec2 import settings
from warmstart.run.errors import UserError

FAMILY = "wav2vec2_ctc"
OFFLINE = Tier("offline", 70, 13, offline=True)
SIZES = {
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 48,
    "conv_depthwise_kernel_size": 5,
    "left_max_position_embeddings": 6,
    "right_max_position_embeddings": 3,
    "max_source_positions": 20,
}
# As facebook/w2v-bert-2.0 has it, its padding of 1 included.
PREPROCESSING = {
    "feature_extractor_type": "SeamlessM4TFeatureExtractor",
    "feature_size": 80,
    "num_mel_bins": 80,
    "padding_side": "right",
    "padding_value": 1,
    "return_attention_mask": True,
    "sampling_rate": 16000,
    "stride": 2,
}
RECIPE = {
    "model": {"dropout": 0.0, "encoder_dropout": None},
    "optimizer": {
        "name": "adamw",
        "lr": 1e-3,
        "encoder_lr_scale": 1.0,
        "betas": [0.9, 0.98],
        "weight_decay": 0.0,
    },
    "schedule": {"name": "cosine", "warmup_steps": 1, "min_lr": 0.0},
    "spec_augment": None,
}
POSITIONS = ("relative_key", "relative", "rotary", None)


def snapshot(folder, **changes):
    """A published checkpoint in miniature, with a head, as transformers writes one."""
    from transformers import Wav2Vec2BertConfig, Wav2Vec2BertForCTC

    torch.manual_seed(3)
    model = Wav2Vec2BertForCTC(Wav2Vec2BertConfig(**{**SIZES, **changes, "vocab_size": 32}))
    model.save_pretrained(folder)
    (folder / "preprocessor_config.json").write_text(json.dumps(PREPROCESSING))
    return model.wav2vec2_bert.eval()


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory):
    return train_tokenizer(tmp_path_factory.mktemp("tokenizer"))


def build(folder, tokenizer, recipe=RECIPE):
    family = open_family(FAMILY)
    return family.build(family.read_donor(folder), recipe, tokenizer=tokenizer, seed=1, steps=10)


def speech(*samples):
    """Noise that starts loud, so that statistics of a padded batch differ from those of each."""
    random = np.random.default_rng(5)
    return [
        (random.normal(size=count) * np.linspace(0.3, 0.02, count) + 0.01).astype(np.float32)
        for count in samples
    ]


def batched(waveforms):
    audio = torch.zeros(len(waveforms), max(map(len, waveforms)))
    for row, samples in zip(audio, waveforms, strict=True):
        row[: len(samples)] = torch.from_numpy(samples)
    return audio, torch.tensor([len(samples) for samples in waveforms])


def extractor():
    from transformers import SeamlessM4TFeatureExtractor

    return SeamlessM4TFeatureExtractor(**PREPROCESSING)


@pytest.mark.slow
def test_features_are_those_of_transformers_whatever_stands_beside():
    made = settings.read({"model_type": "wav2vec2-bert"}, PREPROCESSING, "init")
    encoding = settings.architecture_of(made).encoding(made)
    # 98 mel frames, 99 (of which the last is in the statistics alone), 2, 3; and one too few.
    waveforms = speech(16000, 16100, 560, 720, 559)
    inputs, lengths = encoding.inputs(*batched(waveforms))
    assert lengths.tolist() == [49, 49, 1, 1, 0]
    assert inputs.shape == (5, 49, 160)
    for row, count, samples in zip(inputs, lengths.tolist(), waveforms[:4], strict=False):
        theirs = extractor()(samples, sampling_rate=16000, return_tensors="pt")
        assert int(theirs.attention_mask.sum()) == count
        torch.testing.assert_close(
            row[:count], theirs.input_features[0, :count], atol=2e-5, rtol=1e-5
        )
        assert not row[count:].any()


@pytest.mark.slow
@pytest.mark.parametrize("positions", POSITIONS)
def test_states_are_those_of_transformers_alone_whatever_stands_beside(
    positions, tokenizer, tmp_path
):
    theirs = snapshot(tmp_path, position_embeddings_type=positions)
    made = build(tmp_path, tokenizer)
    assert made.loaded_tensors == len(theirs.state_dict()) == len(made.network.encoder.state_dict())
    made.lightning.eval()
    waveforms = speech(16000, 5000, 9123, 560)
    with torch.inference_mode():
        states, frames = made.network.states(*batched(waveforms))
        for row, count, samples in zip(states, frames.tolist(), waveforms, strict=True):
            given = extractor()(samples, sampling_rate=16000, return_tensors="pt")
            alone = theirs(**given).last_hidden_state[0]
            assert count == int(given.attention_mask.sum())
            torch.testing.assert_close(row[:count], alone[:count], atol=2e-5, rtol=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize("positions", ["relative_key", "relative"])
def test_a_batch_decodes_as_each_utterance_alone(positions, tokenizer, tmp_path):
    snapshot(tmp_path, position_embeddings_type=positions)
    made = build(tmp_path, tokenizer)
    made.lightning.eval()
    with torch.no_grad():  # a random head says one thing; this one says many
        made.network.head.weight.mul_(20)
    decoder = made.decoder(OFFLINE)
    waveforms = speech(16000, 5000, 9123, 560, 100)
    together = decoder.decode(waveforms)
    assert len(together[0].pieces) > 5
    assert together[-1].pieces == [], "100 samples give no frame"
    for samples, one in zip(waveforms, together, strict=True):
        assert decoder.decode([samples]) == [one]
    made.save(tmp_path / "model.safetensors")
    again = open_family(FAMILY).load(tmp_path / "model.safetensors")
    assert again.decoder(OFFLINE).decode(waveforms) == together


@pytest.mark.slow
def test_windows_of_a_long_recording_take_each_frame_once(tokenizer, tmp_path):
    """With layers that pass nothing on from elsewhere the frames are those of one piece."""
    from warmstart.models.wav2vec2.decoder import Wav2Vec2Decoder

    snapshot(tmp_path)
    made = build(tmp_path, tokenizer)
    made.lightning.eval()
    with torch.no_grad():
        for layer in made.network.encoder.encoder.layers:
            layer.self_attn.linear_out.weight.zero_()
            layer.self_attn.linear_out.bias.zero_()
    (samples,) = speech(16000 * 5 + 777)
    whole = Wav2Vec2Decoder(made, OFFLINE)
    # The convolutions of both layers look 8 frames back: 0.16 s.
    windowed = Wav2Vec2Decoder(made, OFFLINE, window_s=1.0, edge_s=0.2)
    (one,), (other,) = whole.logits([samples]), windowed.logits([samples])
    assert one.shape == other.shape
    torch.testing.assert_close(one, other, atol=1e-4, rtol=1e-4)


def test_what_the_loss_aligns_is_counted_in_its_frames(tokenizer, tmp_path):
    snapshot(tmp_path)
    made = build(tmp_path, tokenizer)
    samples = torch.tensor([0, 399, 559, 560, 16000, 16100])
    assert made.ctc_frames(samples).tolist() == [0, 0, 0, 1, 49, 49]
    assert made.frame_s == 0.02
    assert len(made.blocks()) == 1 + SIZES["num_hidden_layers"]
    assert made.blocks()[0] is made.network.encoder.feature_projection


@pytest.mark.slow
def test_masks_are_of_the_study_and_no_layer_is_dropped(tokenizer, tmp_path):
    snapshot(tmp_path, layerdrop=0.9, conformer_conv_dropout=0.0)
    masks = {"freq_masks": 0, "freq_width": 1, "time_masks": 3, "time_width": 0.9}
    made = build(tmp_path, tokenizer)
    made.lightning.train()
    audio, lengths = batched(speech(16000, 8000))
    plain, _ = made.network.states(audio, lengths)
    again, _ = made.network.states(audio, lengths)
    assert torch.equal(plain, again)
    made.network.masks = masks
    torch.manual_seed(1)
    masked, _ = made.network.states(audio, lengths)
    assert not torch.equal(plain, masked)
    masked.sum().backward()
    assert made.network.encoder.masked_spec_embed.grad is not None


@pytest.mark.parametrize(
    ("config", "preprocessing", "said"),
    [
        ({"add_adapter": True}, {}, "add_adapter is True, and its frames are longer than its"),
        ({"feature_projection_input_dim": 80}, {}, r"is 80, and 2 stacked frames of 80 mel bins"),
        ({}, {"num_mel_bins": 40, "feature_size": 40}, "2 stacked frames of 40 mel bins are 80"),
        ({}, {"feature_size": 128}, "feature_size is 128, and num_mel_bins 80"),
        ({}, {"sampling_rate": 8000}, "its sampling_rate is 8000 Hz"),
        ({"conv_depthwise_kernel_size": 4}, {}, "size is 4; it must be an odd number up to 255"),
        ({"position_embeddings_type": "alibi"}, {}, "is 'alibi'; it must be one of relative_key"),
        ({"hidden_size": 30}, {}, "hidden_size 30 is no multiple of num_attention_heads 16"),
    ],
)
def test_a_configuration_that_is_none_is_refused(config, preprocessing, said):
    with pytest.raises(UserError, match=said):
        settings.read(
            {"model_type": "wav2vec2-bert", **config}, {**PREPROCESSING, **preprocessing}, "init"
        )


def test_settings_that_differ_silently_are_read_and_compared(tmp_path):
    silent, null = (
        settings.read({"model_type": "wav2vec2-bert", **more}, PREPROCESSING, "init")
        for more in ({}, {"position_embeddings_type": None})
    )
    assert silent["position_embeddings_type"] == "relative_key"
    assert null["position_embeddings_type"] == "none"
    assert settings.again(null, "model") == null
    snapshot(tmp_path / "one")
    snapshot(tmp_path / "two", position_embeddings_type=None, conformer_conv_dropout=0.0)
    family = open_family(FAMILY)
    both = {name: tmp_path / name for name in ("one", "two")}
    with pytest.raises(
        UserError,
        match=r"position_embeddings_type: 'relative_key' and 'none'; conformer_conv_dropout: 0\.1",
    ):
        family.require_same_kind(both, RECIPE)
    about = family.read_donor(tmp_path / "one").about()
    assert about["class"] == "w2v-BERT 2.0"
    assert (about["frame_s"], about["layerdrop"]) == (0.02, 0.1)


@pytest.mark.slow
def test_every_tensor_is_accounted_for(tokenizer, tmp_path):
    from safetensors.torch import load_file, save_file

    snapshot(tmp_path)
    path = tmp_path / "model.safetensors"
    tensors = load_file(path)
    name = next(name for name in tensors if name.endswith("layers.1.final_layer_norm.weight"))
    save_file({key: value for key, value in tensors.items() if key != name}, path)
    with pytest.raises(UserError, match=r"1 tensors of the encoder are missing \(encoder\.layers"):
        build(tmp_path, tokenizer)
    save_file(tensors | {"wav2vec2_bert.adapter.proj": torch.zeros(2)}, path)
    with pytest.raises(UserError, match=r"1 belong to none \(adapter\.proj\)"):
        build(tmp_path, tokenizer)
