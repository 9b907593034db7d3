"""CTC on encoders of raw audio, held against transformers' own classes."""

import json

import numpy as np
import pytest
import torch
from made.toy_model import train_tokenizer

from warmstart.models import kind_of, open_family
from warmstart.models.tier import Tier
from warmstart.models.wav2vec2 import checkpoint, settings
from warmstart.models.wav2vec2.architectures import masks
from warmstart.models.wav2vec2.architectures.raw_audio_encoding import fewest_samples
from warmstart.run.errors import UserError

FAMILY = "wav2vec2_ctc"
OFFLINE = Tier("offline", 70, 13, offline=True)
SIZES = {
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 48,
    "conv_dim": [16] * 7,
    "num_conv_pos_embeddings": 16,
    "num_conv_pos_embedding_groups": 4,
}
VARIANTS = {
    "wav2vec2-base": ("wav2vec2", {}, True),
    "wav2vec2-large": (
        "wav2vec2",
        {"feat_extract_norm": "layer", "do_stable_layer_norm": True, "conv_bias": True},
        True,
    ),
    "hubert-base": ("hubert", {"feat_proj_layer_norm": False}, False),
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


def snapshot(folder, variant, **changes):
    """A published checkpoint in miniature, as transformers writes one."""
    import transformers

    kind, more, do_normalize = VARIANTS[variant]
    names = {"wav2vec2": "Wav2Vec2", "hubert": "Hubert"}
    config = getattr(transformers, f"{names[kind]}Config")(
        **{**SIZES, **more, **changes, "vocab_size": 32}
    )
    torch.manual_seed(3)
    model = getattr(transformers, f"{names[kind]}ForCTC")(config)
    model.save_pretrained(folder)
    (folder / "preprocessor_config.json").write_text(
        json.dumps({"do_normalize": do_normalize, "sampling_rate": 16000})
    )
    return model.eval()


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory):
    return train_tokenizer(tmp_path_factory.mktemp("tokenizer"))


def build(folder, tokenizer, seed=1, recipe=RECIPE):
    family = open_family(FAMILY)
    return family.build(family.read_donor(folder), recipe, tokenizer=tokenizer, seed=seed, steps=10)


def speech(*samples):
    """Noise that starts loud, so that means over a padded batch differ from those over each."""
    random = np.random.default_rng(5)
    return [
        (random.normal(size=count) * np.linspace(0.3, 0.02, count)).astype(np.float32)
        for count in samples
    ]


@pytest.mark.parametrize("variant", VARIANTS)
def test_states_are_those_of_transformers_and_those_of_an_utterance_alone(
    variant, tokenizer, tmp_path
):
    import transformers

    theirs = snapshot(tmp_path, variant)
    made = build(tmp_path, tokenizer)
    assert made.loaded_tensors == len(made.parts()["encoder"].state_dict())
    made.lightning.eval()
    waveforms = speech(16000, 5000, 9123, 401)
    extractor = transformers.Wav2Vec2FeatureExtractor(do_normalize=VARIANTS[variant][2])
    encoder = getattr(theirs, theirs.base_model_prefix)
    longest = max(map(len, waveforms))
    audio = torch.zeros(len(waveforms), longest)
    for row, samples in zip(audio, waveforms, strict=True):
        row[: len(samples)] = torch.from_numpy(samples)
    lengths = torch.tensor([len(samples) for samples in waveforms])
    with torch.inference_mode():
        states, frames = made.network.states(audio, lengths)
        for row, count, samples in zip(states, frames.tolist(), waveforms, strict=True):
            values = extractor(samples, sampling_rate=16000, return_tensors="pt").input_values
            alone = encoder(values).last_hidden_state[0]
            assert count == len(alone)
            torch.testing.assert_close(row[:count], alone, atol=2e-5, rtol=1e-4)


@pytest.mark.parametrize("variant", VARIANTS)
def test_a_batch_decodes_as_each_utterance_alone(variant, tokenizer, tmp_path):
    snapshot(tmp_path, variant)
    made = build(tmp_path, tokenizer)
    made.lightning.eval()
    with torch.no_grad():  # a random head says one thing; this one says many
        made.network.head.weight.mul_(20)
    decoder = made.decoder(OFFLINE)
    waveforms = speech(16000, 5000, 9123, 401, 100)
    together = decoder.decode(waveforms)
    assert len(together[0].pieces) > 5
    assert together[-1].pieces == [], "100 samples are less than a frame hears"
    for samples, one in zip(waveforms, together, strict=True):
        assert decoder.decode([samples]) == [one]


def test_candidates_begin_with_the_token_taken_and_change_nothing(tokenizer, tmp_path):
    snapshot(tmp_path, "wav2vec2-large")
    made = build(tmp_path, tokenizer)
    made.lightning.eval()
    with torch.no_grad():
        made.network.head.weight.mul_(20)
    decoder, waveforms = made.decoder(OFFLINE), speech(16000, 5000, 100)
    asked = decoder.with_candidates(7)
    plain, kept = decoder.decode(waveforms), asked.decode(waveforms)
    (scores,) = asked.logits(waveforms[:1])
    for one, other in zip(plain, kept, strict=True):
        assert (one.text, one.pieces, one.times_s) == (other.text, other.pieces, other.times_s)
        assert one.candidates is None
        assert other.candidates.tokens.shape == (len(one.pieces), 7)
        assert (other.candidates.tokens[:, 0] == other.candidates.taken).all()
        assert (np.diff(other.candidates.probabilities, axis=1) <= 1e-6).all()
    pieces = decoder.vocabulary.pieces
    assert len(pieces) == made.pieces.vocab_size()
    assert [pieces[token] for token in kept[0].candidates.taken] == plain[0].pieces
    frame = round(plain[0].times_s[0] / made.frame_s)
    assert kept[0].candidates.probabilities[0, 0] == pytest.approx(
        float(scores[frame].exp()[kept[0].candidates.taken[0]]), rel=1e-5
    )
    assert decoder.with_candidates(10**6).decode(waveforms)[0].candidates.tokens.shape[1] == len(
        pieces
    )


def test_mean_states_are_those_of_the_donor_alone(tmp_path):
    snapshot(tmp_path, "wav2vec2-base")
    family = open_family(FAMILY)
    listener = family.listen(family.read_donor(tmp_path), OFFLINE)
    waveforms = speech(16000, 5000, 100)
    together = listener.mean_states(waveforms)
    assert np.isnan(together[2]).all(), "100 samples give no frame"
    for samples, row in zip(waveforms[:2], together, strict=False):
        np.testing.assert_allclose(listener.mean_states([samples])[0], row, atol=1e-5)
    random = family.listen(family.read_donor(tmp_path), OFFLINE, random_seed=1)
    assert not np.allclose(random.mean_states(waveforms)[0], together[0], atol=1e-3)


def test_windows_of_a_long_recording_take_each_frame_once(tokenizer, tmp_path):
    """With attention over the whole the frames are not those of one piece; what must hold is their
    number and their place: with layers that pass nothing on from elsewhere they are equal."""
    from warmstart.models.wav2vec2.decoder import Wav2Vec2Decoder

    snapshot(tmp_path, "wav2vec2-large")
    made = build(tmp_path, tokenizer)
    made.lightning.eval()
    encoder = made.network.encoder.encoder
    with torch.no_grad():
        for layer in encoder.layers:
            layer.attention.out_proj.weight.zero_()
            layer.attention.out_proj.bias.zero_()
    (samples,) = speech(16000 * 5 + 777)
    whole = Wav2Vec2Decoder(made, OFFLINE)
    windowed = Wav2Vec2Decoder(made, OFFLINE, window_s=1.0, edge_s=0.2)
    (one,), (other,) = whole.logits([samples]), windowed.logits([samples])
    assert one.shape == other.shape
    torch.testing.assert_close(one, other, atol=1e-4, rtol=1e-4)


def test_a_model_is_read_back_and_has_the_same_bytes_twice(tokenizer, tmp_path):
    snapshot(tmp_path / "donor", "wav2vec2-base")
    made = build(tmp_path / "donor", tokenizer)
    made.lightning.eval()
    for name in ("one.safetensors", "two.safetensors"):
        made.save(tmp_path / name)
    assert (tmp_path / "one.safetensors").read_bytes() == (
        tmp_path / "two.safetensors"
    ).read_bytes()
    again = open_family(FAMILY).load(tmp_path / "one.safetensors")
    waveforms = speech(8000, 6000)
    assert again.decoder(OFFLINE).decode(waveforms) == made.decoder(OFFLINE).decode(waveforms)
    # A head as wide as the vocabulary: its last token would be the blank.
    from warmstart.models.wav2vec2.checkpoint import read_header, read_tensors, write

    note, tensors = (
        read_header(tmp_path / "one.safetensors").note,
        read_tensors(tmp_path / "one.safetensors"),
    )
    narrow = {name: value[:-1] for name, value in tensors.items() if name.startswith("head.")}
    write(tensors | narrow, note, tmp_path / "narrow.safetensors")
    with pytest.raises(UserError, match=r"its head has 64 labels; its tokenizer has 64 tokens"):
        open_family(FAMILY).load(tmp_path / "narrow.safetensors")


def test_a_packed_donor_is_the_snapshot(tokenizer, tmp_path):
    snapshot(tmp_path / "donor", "hubert-base")
    family = open_family(FAMILY)
    for name in ("one.safetensors", "two.safetensors"):
        family.pack_donor(tmp_path / "donor", tmp_path / name)
    packed = tmp_path / "one.safetensors"
    assert packed.read_bytes() == (tmp_path / "two.safetensors").read_bytes()
    assert family.read_donor(packed).about() == family.read_donor(tmp_path / "donor").about()
    one, other = build(packed, tokenizer), build(tmp_path / "donor", tokenizer)
    for name, value in one.network.state_dict().items():
        assert torch.equal(value, other.network.state_dict()[name]), name


def test_what_was_pretrained_here_is_a_donor(tokenizer, tmp_path):
    """As a packed snapshot is one: its settings and every tensor of its encoder, and no head."""
    snapshot(tmp_path / "given", "wav2vec2-large", layer_norm_eps=1e-4)
    made = build(tmp_path / "given", tokenizer)
    made.save_donor(tmp_path / "made.safetensors")
    family = open_family(FAMILY)
    donor = family.read_donor(tmp_path / "made.safetensors")
    assert donor.config == made.config
    again = family.build(donor, RECIPE, tokenizer=tokenizer, seed=2, steps=10)
    assert again.loaded_tensors == len(made.network.encoder.state_dict())
    for name, value in made.network.encoder.state_dict().items():
        assert torch.equal(value, again.network.encoder.state_dict()[name]), name


def test_new_parts_are_the_same_whatever_the_donor(tokenizer, tmp_path):
    snapshot(tmp_path / "one", "wav2vec2-base")
    snapshot(tmp_path / "two", "wav2vec2-large")
    one, two = (build(tmp_path / name, tokenizer) for name in ("one", "two"))
    assert torch.equal(one.network.head.weight, two.network.head.weight)
    other = build(tmp_path / "one", tokenizer, seed=2)
    assert not torch.equal(one.network.head.weight, other.network.head.weight)


def test_texts_longer_than_their_frames_are_left_out_of_the_loss(tokenizer, tmp_path):
    snapshot(tmp_path, "wav2vec2-base")
    made = build(tmp_path, tokenizer)
    made.lightning.eval()
    audio = torch.stack([torch.from_numpy(samples) for samples in speech(3200, 3200)])
    lengths = torch.tensor([3200, 3200])
    # 3200 samples are 9 frames; 8 tokens of which two pairs are equal need 10.
    long = torch.tensor([5, 5, 6, 7, 8, 9, 9, 10])
    tokens = torch.stack([torch.tensor([5, 6, 7, 0, 0, 0, 0, 0]), long])
    counts = torch.tensor([3, 8])
    from warmstart.models.batches import Batch

    assert made.ctc_frames(lengths).tolist() == [9, 9]
    both, *_ = made.network.loss(Batch(audio, lengths, tokens, counts))
    first, *_ = made.network.loss(Batch(audio[:1], lengths[:1], tokens[:1], counts[:1]))
    torch.testing.assert_close(both, first)


def test_masks_stay_inside_an_utterance():
    asked = {"freq_masks": 0, "freq_width": 1, "time_masks": 3, "time_width": 0.9}
    frames = torch.tensor([40, 5, 1])
    touched = torch.zeros(3, dtype=torch.long)
    for seed in range(50):
        torch.manual_seed(seed)
        under = masks.under_time_masks(frames, 40, asked)
        for row, count in zip(under, frames.tolist(), strict=True):
            assert not row[count:].any()
        touched += under.sum(1)
    assert touched[0] > 0
    assert touched[1] > 0


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"model_type": "sew"}, "model_type is 'sew'; this family knows wav2vec2"),
        ({"hidden_size": "32"}, "hidden_size is '32'; it must be a whole number from 1 to 16384"),
        ({"conv_stride": [5, 2]}, "are the lengths of lists of the same layers"),
        ({"num_attention_heads": 5}, "hidden_size 32 is no multiple of num_attention_heads 5"),
        ({"add_adapter": True}, "its frames are longer than its encoder's"),
        ({"hidden_act": "os.system"}, "hidden_act is 'os.system'; it must be one of gelu"),
    ],
)
def test_a_configuration_that_is_none_is_refused(tmp_path, change, said):
    snapshot(tmp_path, "wav2vec2-base")
    config = json.loads((tmp_path / "config.json").read_text()) | change
    (tmp_path / "config.json").write_text(json.dumps(config))
    with pytest.raises(UserError, match=said):
        open_family(FAMILY).read_donor(tmp_path)


def test_another_sampling_rate_is_refused(tmp_path):
    snapshot(tmp_path, "wav2vec2-base")
    (tmp_path / "preprocessor_config.json").write_text('{"sampling_rate": 8000}')
    with pytest.raises(UserError, match="its sampling_rate is 8000 Hz"):
        open_family(FAMILY).read_donor(tmp_path)


def test_weights_that_are_pickled_cut_or_of_another_model_are_refused(tokenizer, tmp_path):
    from safetensors.torch import load_file, save_file

    snapshot(tmp_path, "wav2vec2-base")
    path = tmp_path / "model.safetensors"
    whole, tensors = path.read_bytes(), load_file(path)
    path.write_bytes(whole[:-100])
    with pytest.raises(UserError, match="it is cut short or damaged"):
        open_family(FAMILY).read_donor(tmp_path)
    path.write_bytes(b"\x80\x04" + whole)
    with pytest.raises(UserError, match=r"no whole safetensors file|no safetensors header"):
        open_family(FAMILY).read_donor(tmp_path)
    name = next(name for name in tensors if name.endswith("layers.1.layer_norm.weight"))
    save_file({key: value for key, value in tensors.items() if key != name}, path)
    with pytest.raises(UserError, match=r"1 tensors of the encoder are missing \(encoder\.layers"):
        build(tmp_path, tokenizer)
    save_file(tensors | {"wav2vec2.extra": torch.zeros(2)}, path)
    with pytest.raises(UserError, match=r"1 belong to none \(extra\)"):
        build(tmp_path, tokenizer)
    save_file(tensors | {name: torch.zeros(3)}, path)
    with pytest.raises(UserError, match=r"is \(3,\), and config\.json makes it \(32,\)"):
        build(tmp_path, tokenizer)
    path.rename(tmp_path / "pytorch_model.bin")
    with pytest.raises(UserError, match="Pickled weights"):
        open_family(FAMILY).read_donor(tmp_path)


def test_two_donors_are_compared_in_every_effective_setting(tmp_path):
    snapshot(tmp_path / "one", "wav2vec2-large")
    snapshot(tmp_path / "two", "wav2vec2-large", hidden_dropout=0.0, layerdrop=0.3)
    family = open_family(FAMILY)
    both = {name: tmp_path / name for name in ("one", "two")}
    with pytest.raises(UserError, match=r"hidden_dropout: 0\.1 and 0\.0; set training\.model"):
        family.require_same_kind(both, RECIPE)
    given = RECIPE | {"model": {"dropout": 0.0, "encoder_dropout": 0.1}}
    family.require_same_kind(both, given)
    (tmp_path / "two" / "preprocessor_config.json").write_text('{"do_normalize": false}')
    with pytest.raises(UserError, match="do_normalize: True and False; use checkpoints of one"):
        family.require_same_kind(both, given)
    assert family.read_donor(tmp_path / "two").about()["layerdrop"] == 0.3


def test_names_of_weight_norm_before_torch_2_are_known():
    made = settings.read({"model_type": "wav2vec2"}, {}, "init")
    architecture = settings.architecture_of(made)
    old = "wav2vec2.encoder.pos_conv_embed.conv.weight_g"
    new = "encoder.pos_conv_embed.conv.parametrizations.weight.original0"
    assert architecture.own_name(old) == new
    assert architecture.own_name("quantizer.codevectors") is None


def test_a_frame_hears_25_ms_every_20():
    """arXiv 2006.11477, section 2: a stride of about 20 ms and a receptive field of 25 ms."""
    made = settings.read({"model_type": "wav2vec2"}, {}, "init")
    assert settings.architecture_of(made).frame_samples(made) == 320
    assert fewest_samples(made) == 400


def test_the_kind_is_offline_and_packs_its_donors():
    kind = kind_of(FAMILY)
    assert (kind.streams, kind.exports, kind.exports_whole) == (False, True, True)
    assert kind.bundle == "offline_ctc"
    assert (kind.donor, kind.donor_suffix) == ("snapshot", ".safetensors")
    assert {checkpoint.CONFIG, checkpoint.PREPROCESSING} < set(kind.snapshot_files)
