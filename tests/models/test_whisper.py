"""Whisper whole: held against transformers' own classes and its own `generate`, on random weights
and a real tokenizer."""

import json

import numpy as np
import pytest
import torch
from made.whisper import LANGUAGES, whole_whisper
from test_wav2vec2 import OFFLINE, RECIPE, speech
from test_whisper_encoder import batch_of

from warmstart.models import open_family
from warmstart.models.batches import LanguageBatch
from warmstart.models.tier import DETECTED, Tier
from warmstart.models.whisper import recordings, vocabulary
from warmstart.models.whisper.network import UNLEARNT
from warmstart.run.errors import UserError

FAMILY = "whisper"


@pytest.fixture(scope="module")
def donor(tmp_path_factory):
    """Folder of a snapshot, and transformers' model of it."""
    folder = tmp_path_factory.mktemp("whisper")
    return folder, whole_whisper(folder)


@pytest.fixture(scope="module")
def made(donor):
    return built(donor)


def built(donor, **model):
    family = open_family(FAMILY)
    recipe = {**RECIPE, "model": {**RECIPE["model"], **model}}
    found = family.build(family.read_donor(donor[0]), recipe, tokenizer=None, seed=1, steps=10)
    found.lightning.eval()
    return found


def batch(recogniser, waveforms, texts, langs):
    tokens = [torch.tensor(recogniser.encode(text), dtype=torch.long) for text in texts]
    padded = torch.nn.utils.rnn.pad_sequence(tokens, batch_first=True)
    lengths = torch.tensor([len(row) for row in tokens])
    languages = torch.tensor([recogniser.network.language_token(lang) for lang in langs])
    return LanguageBatch(*batch_of(waveforms), padded, lengths, languages)


def features_of(waveforms):
    from transformers import WhisperFeatureExtractor

    return WhisperFeatureExtractor()(
        list(waveforms), sampling_rate=16000, return_tensors="pt"
    ).input_features


# ---- tokens


def test_a_text_has_a_space_in_front_and_comes_back(made):
    tokens = made.encode("ciao è")
    # `Ġci` and `ao` are merged; `Ġ` and the two bytes of è are tokens of one byte.
    assert made.text.pieces(tokens) == ["▁ci", "ao", "▁", "<0xC3>", "<0xA8>"]
    assert made.text.decode(tokens) == "ciao è"
    assert made.encode("") == made.encode("  ") == []
    named = made.encode("<|it|>")
    assert made.text.decode(named) == "<|it|>"
    assert max(named) < made.said.tokens.end, "what a text says is text"
    pieces = made.text.vocabulary.pieces
    assert len(pieces) == made.said.config["vocab_size"]
    assert pieces[made.said.tokens.end :] == ("",) * (len(pieces) - made.said.tokens.end)


def test_the_loss_is_that_of_transformers_without_the_prefix(donor, made):
    """Texts of two lengths, and two languages."""
    waveforms = speech(16000, 9123)
    given = batch(made, waveforms, ["ciao", "ecco qua"], ["it", "fr"])
    logits, targets = made.token_logits(given)
    start, end = made.said.tokens.start, made.said.tokens.end
    rows = []
    for text, lang in (("ciao", "it"), ("ecco qua", "fr")):
        prefix = [start, made.said.tokens.languages[lang]]
        prefix += [made.said.tokens.transcribe, made.said.tokens.no_timestamps]
        rows.append((prefix, [*made.encode(text), end]))
    longest = max(len(text) for _, text in rows)
    labels = [[UNLEARNT] * 3 + text + [UNLEARNT] * (longest - len(text)) for _, text in rows]
    assert targets.tolist() == labels
    decoder_input = [(prefix + text[:-1] + [end] * longest)[: 3 + longest] for prefix, text in rows]
    with torch.inference_mode():
        theirs = donor[1](
            input_features=features_of(waveforms),
            decoder_input_ids=torch.tensor(decoder_input),
            labels=torch.tensor(labels),
        )
        torch.testing.assert_close(made.network.loss(given), theirs.loss, atol=1e-4, rtol=1e-4)
    counted = targets != UNLEARNT
    torch.testing.assert_close(logits[counted], theirs.logits[counted], atol=1e-3, rtol=1e-3)


def test_what_does_not_fit_is_no_part_of_the_loss(made):
    """30 positions, four of them of the prefix: 26 tokens fit."""
    fits, over = "a" * 25, "a" * 26  # and the space in front
    waveforms = speech(8000, 8000)
    lone = made.network.loss(batch(made, waveforms[:1], [fits], ["it"]))
    both = batch(made, waveforms, [fits, over], ["it", "it"])
    found = made.unlearnable(both.audio_len, both.tokens, both.token_len)
    assert {name: rows.tolist() for name, rows in found.items()} == {
        "longer_than_window": [False, False],
        "text_longer_than_positions": [False, True],
    }
    torch.testing.assert_close(made.network.loss(both), lone, atol=1e-5, rtol=1e-5)
    nothing = made.network.loss(batch(made, waveforms[1:], [over], ["it"]))
    assert float(nothing) == 0
    assert nothing.requires_grad
    longer = made.unlearnable(torch.tensor([480_000, 480_001]), both.tokens, both.token_len)
    assert longer["longer_than_window"].tolist() == [False, True]
    assert set(found) == set(made.unlearnable_because())


# ---- windows


def test_a_shorter_window_has_the_first_positions(donor):
    """The convolutions hear the whole window of 30 s; layers and positions are those of 2 s."""
    made = built(donor, window_s=2)
    waveforms = speech(16000, 32_000, 32_001)
    found = made.network.states(*batch_of(waveforms))
    assert [(rows.tolist(), states.shape[1]) for rows, states in found] == [
        ([0, 1], 100),
        ([2], 1500),
    ]
    encoder = donor[1].model.encoder
    with torch.inference_mode():
        hidden = torch.nn.functional.gelu(encoder.conv1(features_of(waveforms[:2])))
        hidden = torch.nn.functional.gelu(encoder.conv2(hidden)).mT[:, :100]
        hidden = hidden + encoder.embed_positions.weight[:100]
        for layer in encoder.layers:
            hidden = layer(hidden, None)
        wanted = encoder.layer_norm(hidden)
        torch.testing.assert_close(found[0][1], wanted, atol=1e-4, rtol=1e-4)


# ---- decoding


@pytest.mark.slow
def test_greedy_tokens_are_those_of_transformers_generate(donor, made):
    waveforms = speech(16000, 5000, 33_333)
    tokens, theirs = made.said.tokens, donor[1]
    config = theirs.generation_config
    config.lang_to_id = {f"<|{lang}|>": number for lang, number in tokens.languages.items()}
    config.task_to_id = {"transcribe": tokens.transcribe}
    config.no_timestamps_token_id, config.is_multilingual = tokens.no_timestamps, True
    config.suppress_tokens = made.said.config["suppress_tokens"]
    config.begin_suppress_tokens = made.said.config["begin_suppress_tokens"]
    wanted = theirs.generate(
        features_of(waveforms), language="it", task="transcribe", max_new_tokens=26
    )
    found = made.decoder(OFFLINE).of_language("it")._search(waveforms)
    for row, (part,) in zip(wanted.tolist(), found, strict=True):
        assert len(set(part.tokens)) > 1
        assert part.tokens == [token for token in row if token != tokens.end]


@pytest.mark.slow
def test_a_batch_decodes_as_each_utterance_alone(donor):
    """Windows of two lengths, texts that end at other positions, and a recording in pieces."""
    made = built(donor, window_s=1)
    waveforms = speech(16000, 5000, 9123, 401, 1, 33_333, 16000 * 31)
    # What is written late in one text becomes the end of some.
    (late,) = made.decoder(OFFLINE)._search(waveforms[:1])[0]
    table = made.network.whisper.model.decoder.embed_tokens.weight
    with torch.no_grad():
        table[made.said.tokens.end] = 1.01 * table[late.tokens[-1]]
    for decoder in (made.decoder(OFFLINE), made.decoder(OFFLINE).of_language("fr")):
        decoder = decoder.with_candidates(3).with_confidence()
        together = decoder.decode(waveforms)
        assert len({len(one.pieces) for one in together[:6]}) > 1
        for samples, one in zip(waveforms, together, strict=True):
            (alone,) = decoder.decode([samples])
            assert (alone.text, alone.pieces, alone.language) == (
                *(one.text, one.pieces, one.language),
            )
            assert alone.confidence == pytest.approx(one.confidence, abs=1e-4)
            np.testing.assert_array_equal(alone.candidates.tokens, one.candidates.tokens)
        for one, other in zip(
            decoder.logits(waveforms), map(decoder.logits, zip(waveforms)), strict=True
        ):
            torch.testing.assert_close(one, other[0], atol=1e-3, rtol=1e-3)


@pytest.mark.slow
def test_the_language_is_told_or_the_likeliest_of_its_own(donor, made):
    waveforms = speech(16000, 5000)
    sure = made.language_probabilities(*batch_of(waveforms), LANGUAGES)
    tokens = list(made.said.tokens.languages.values())
    with torch.inference_mode():
        start = torch.tensor([[made.said.tokens.start]] * 2)
        logits = donor[1](input_features=features_of(waveforms), decoder_input_ids=start).logits[
            :, 0, tokens
        ]
    torch.testing.assert_close(sure, logits.softmax(-1), atol=1e-4, rtol=1e-4)
    detected = made.decoder(OFFLINE).decode(waveforms)
    assert [one.language for one in detected] == [LANGUAGES[row] for row in sure.argmax(-1)]
    for one, samples in zip(detected, waveforms, strict=True):
        (told,) = made.decoder(OFFLINE).of_language(one.language).decode([samples])
        assert (told.pieces, told.language) == (one.pieces, None)
    few = made.language_probabilities(*batch_of(waveforms), ["fr", "it"])
    torch.testing.assert_close(few, sure[:, [2, 1]] / sure[:, [2, 1]].sum(1, keepdim=True))


def test_a_language_without_a_token_borrows_one(donor, made):
    with pytest.raises(UserError, match=r"language ky has no token .*language_tokens: \{ky: CODE"):
        made.decoder(OFFLINE).of_language("ky")
    borrowing = built(donor, language_tokens={"ky": "it"})
    waveforms = speech(9000)
    told = borrowing.decoder(OFFLINE).of_language("ky").decode(waveforms)
    assert told == made.decoder(OFFLINE, prompt="it").decode(waveforms)
    given = batch(borrowing, speech(8000, 8000), ["a", "b"], ["ky", "fr"])
    assert borrowing.languages_of(given) == ["ky", "fr"]
    # A published model is told by its prompt, whatever the language of the test set.
    prompted = made.decoder(OFFLINE, prompt="fr")
    assert prompted.of_language("it") is prompted


def test_a_tier_says_whether_the_model_is_told_and_what_it_hears_at_once(donor, made):
    waveforms = speech(16000, 33_000)
    telling = made.decoder(Tier(*("detected", 70, 13, True), language=DETECTED))
    assert telling.of_language("it") is telling
    assert telling.decode(waveforms) == made.decoder(OFFLINE).decode(waveforms)
    short = made.decoder(Tier(*("short", 70, 13, True), window_s=2), prompt="it")
    learnt = built(donor, window_s=2).decoder(OFFLINE, prompt="it")
    assert short.decode(waveforms) == learnt.decode(waveforms)


@pytest.mark.parametrize(
    "text",
    [
        "560ms:70:6",
        "offline:70:13:offline",
        "a:70:13:offline:detected",
        "a:70:13:offline:window=7.5",
        "a:70:13:offline:detected:window=8",
    ],
)
def test_a_tier_is_read_as_it_is_written(text):
    tier = Tier.of_text(text)
    assert tier.as_text() == text
    assert Tier(**tier.as_json()) == tier
    for wrong in (f"{text}:window=8:detected", f"{text}:x", text.replace("70", "-1"), "a:70"):
        with pytest.raises(UserError, match="is not NAME:LEFT:RIGHT"):
            Tier.of_text(wrong)


@pytest.mark.slow
def test_candidates_are_the_best_of_each_step(made):
    waveforms = speech(16000, 5000)
    plain = made.decoder(OFFLINE).of_language("it")
    found = plain.with_candidates(4).decode(waveforms)
    for one, other in zip(found, plain.decode(waveforms), strict=True):
        assert (one.text, one.pieces) == (other.text, other.pieces)
        kept = one.candidates
        assert kept.tokens.shape == kept.probabilities.shape == (len(one.pieces), 4)
        assert kept.tokens[:, 0].tolist() == kept.taken.tolist()
        assert made.said.tokens.end not in kept.tokens
        assert (np.diff(kept.probabilities, axis=1) <= 0).all()
    sure = plain.with_confidence().decode(waveforms)
    # The probability of the end counts too, where there is one: here is none.
    np.testing.assert_allclose(
        [one.confidence for one in sure],
        [one.candidates.probabilities[:, 0].mean() for one in found],
        rtol=1e-5,
    )


def test_long_recordings_are_cut_where_it_is_quiet():
    """Of 30 s the last five are looked at: 0.4 s of silence from 27.0 s on."""
    rate = 1000
    samples = np.ones(65 * rate, np.float32)
    samples[27_000:27_400] = 0
    samples[10_000:11_000] = 0
    cut = list(recordings.pieces(samples, rate, 30))
    assert [len(piece) for piece in cut] == [27_100, 25_100, 12_800]
    np.testing.assert_array_equal(np.concatenate(cut), samples)
    assert len(list(recordings.pieces(samples[: 30 * rate], rate, 30))) == 1


# ---- files


def test_a_model_is_read_back_and_the_same_model_gives_the_same_bytes(donor, tmp_path):
    made = built(donor, window_s=8, language_tokens={"ky": "it"})
    made.more = {"note": [1]}
    made.more_tensors = {"experts.it": torch.ones(2)}
    made.save(tmp_path / "one")
    again = open_family(FAMILY).load(tmp_path / "one")
    again.save(tmp_path / "two")
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()
    assert again.said.window_s == 8
    assert again.said.language_tokens == {"ky": "it"}
    assert again.more == {"note": [1]}
    assert torch.equal(again.more_tensors["experts.it"], torch.ones(2))
    waveforms = speech(8000, 6000)
    decoders = [one.decoder(OFFLINE, prompt="ky") for one in (made, again)]
    assert decoders[0].decode(waveforms) == decoders[1].decode(waveforms)


def test_a_donor_is_packed_whole_and_decodes_as_published(donor, made, tmp_path):
    family = open_family(FAMILY)
    for name in ("a", "b"):
        family.pack_donor(donor[0], tmp_path / name)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
    packed = family.read_donor(tmp_path / "a")
    assert packed.about() == family.read_donor(donor[0]).about()
    assert packed.about()["languages"] == list(LANGUAGES)
    assert packed.differences(family.read_donor(donor[0]), RECIPE) == []
    assert made.loaded_tensors == packed.about()["tensors"] == len(made.network.tensors())
    for name, value in donor[1].state_dict().items():
        assert torch.equal(value, made.network.whisper.state_dict()[name]), name
    waveforms = speech(9000)
    published = family.load(tmp_path / "a").decoder(OFFLINE, prompt="it")
    assert published.decode(waveforms) == made.decoder(OFFLINE, prompt="it").decode(waveforms)


def copy_of(donor, folder):
    import shutil

    return shutil.copytree(donor[0], folder / "copy")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda t: t.pop("model.decoder.layers.1.fc1.weight"), r"1 tensors of the Whisper are "),
        (lambda t: t.update({"model.decoder.more": torch.zeros(2)}), r"belong to none \(model.dec"),
        (lambda t: t.update({"proj_out.weight": torch.zeros(3, 4)}), "reads and writes with one"),
        (
            lambda t: t.update({"model.encoder.layer_norm.bias": torch.zeros(3)}),
            r"layer_norm.bias is \(3,\), and config.json makes it \(16,\)",
        ),
    ],
)
def test_every_tensor_is_accounted_for(donor, tmp_path, change, said):
    from safetensors.torch import load_file, save_file

    folder = copy_of(donor, tmp_path)
    tensors = load_file(folder / "model.safetensors")
    change(tensors)
    save_file(tensors, folder / "model.safetensors")
    with pytest.raises(UserError, match=said):
        built((folder, None))


@pytest.mark.parametrize(
    ("file", "change", "said"),
    [
        ("config", {"model_type": "wav2vec2"}, "this family starts from whisper"),
        ("config", {"decoder_attention_heads": 3}, "no multiple of decoder_attention_heads 3"),
        ("config", {"max_target_positions": 449}, "max_target_positions is 449; it must be a who"),
        ("config", {"tie_word_embeddings": False}, "reads and writes with one table"),
        ("config", {"eos_token_id": 7}, "eos_token_id of its config.json is 7, and its tokenizer"),
        ("config", {"vocab_size": 1772}, "vocab_size of its config.json is 1772, and its tokenize"),
        ("config", {"decoder_start_token_id": 1}, "decoder_start_token_id of its config.json is 1"),
        ("generation_config", {"suppress_tokens": [9999]}, "must be a token of its 1771"),
        ("generation_config", {"suppress_tokens": "all"}, "must be a list of tokens"),
        ("preprocessor_config", {"sampling_rate": 8000}, "sampling_rate is 8000 Hz, and a Whisper"),
        ("tokenizer", {"added_tokens": []}, r"lacks <\|endoftext\|>, <\|startoftranscript"),
        ("tokenizer", {"added_tokens": None}, "is no tokenizer"),
    ],
)
def test_settings_that_no_whisper_has_are_refused(donor, tmp_path, file, change, said):
    folder = copy_of(donor, tmp_path)
    path = folder / f"{file}.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises(UserError, match=said):
        open_family(FAMILY).read_donor(folder)


def test_a_snapshot_without_its_tokenizer_is_refused(donor, tmp_path):
    folder = copy_of(donor, tmp_path)
    (folder / "tokenizer.json").unlink()
    with pytest.raises(UserError, match=r"has no tokenizer.json.*inits.<name>.wheels.files"):
        open_family(FAMILY).read_donor(folder)
    with pytest.raises(UserError, match="no such file"):
        open_family(FAMILY).read_donor(tmp_path / "nowhere")


def test_a_model_of_english_alone_is_told_nothing(tmp_path):
    folder = tmp_path / "english"
    made = built((folder, whole_whisper(folder, languages=())))
    assert made.network.prefix(torch.tensor([0])).tolist() == [
        [made.said.tokens.start, made.said.tokens.no_timestamps]
    ]
    decoder = made.decoder(OFFLINE)
    waveforms = speech(9000)
    assert (
        decoder.decode(waveforms)[0].pieces == decoder.of_language("en").decode(waveforms)[0].pieces
    )
    with pytest.raises(UserError, match=r"language it has no token in this Whisper.*it has en"):
        decoder.of_language("it")


def test_published_vocabularies_have_the_sizes_that_follow_from_their_tokens():
    """openai/whisper, model sizes: 51864 English, 51865 multilingual, 51866 large-v3."""
    for last, size in ((50362, 51864), (50363, 51865), (50364, 51866)):
        assert vocabulary.Tokens(0, 0, 0, last, {}).size == size
    assert len(vocabulary.PUBLISHED_LANGUAGES) == len(set(vocabulary.PUBLISHED_LANGUAGES)) == 100


def test_mean_states_are_those_of_the_utterance_alone(donor):
    family = open_family(FAMILY)
    listener = family.listen(family.read_donor(donor[0]), OFFLINE)
    waveforms = speech(16000, 5000)
    together = listener.mean_states(waveforms)
    for samples, row in zip(waveforms, together, strict=True):
        np.testing.assert_allclose(listener.mean_states([samples])[0], row, atol=1e-5)


def test_a_damaged_encoder_is_no_text(donor):
    from warmstart.models.base import NotFinite

    made = built(donor)
    with torch.no_grad():
        made.network.whisper.model.encoder.layer_norm.bias[0] = float("nan")
    with pytest.raises(NotFinite):
        made.decoder(OFFLINE).decode(speech(9000))
