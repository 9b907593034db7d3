"""One encoder of raw audio with a CTC head a language."""

import math

import numpy as np
import pytest
import torch
from made.toy_model import train_tokenizer
from test_wav2vec2 import FAMILY, OFFLINE, RECIPE, snapshot, speech

from warmstart.data import cut_lines
from warmstart.models import confidence, ctc, open_family, require_heads
from warmstart.models.batches import LanguageBatch
from warmstart.run.errors import UserError
from warmstart.training import alignment


@pytest.fixture(scope="module")
def donor(tmp_path_factory):
    folder = tmp_path_factory.mktemp("donor")
    snapshot(folder, "wav2vec2-large")
    return folder


@pytest.fixture(scope="module")
def tokenizers(tmp_path_factory):
    """`to` (Tongan) is the name of a method of every module."""
    return {
        lang: train_tokenizer(tmp_path_factory.mktemp(lang), size)
        for lang, size in (("it", 64), ("to", 48))
    }


def build(donor, tokenizers, seed=1):
    family = open_family(FAMILY)
    made = family.build_heads(
        family.read_donor(donor), RECIPE, tokenizers=tokenizers, seed=seed, steps=10
    )
    made.lightning.eval()
    with torch.no_grad():  # a random head says one thing; these say many
        for name, part in made.parts().items():
            if name != "encoder":
                part.weight.mul_(20)
    return made


def batch_of(rows, langs):
    """Utterances of so many samples with so many tokens, in languages by place."""
    waveforms = speech(*(samples for samples, _ in rows))
    audio = torch.nn.utils.rnn.pad_sequence(list(map(torch.from_numpy, waveforms)), True)
    tokens = [torch.arange(3, 3 + count) for _, count in rows]
    return LanguageBatch(
        audio,
        torch.tensor([samples for samples, _ in rows]),
        torch.nn.utils.rnn.pad_sequence(tokens, True),
        torch.tensor([count for _, count in rows]),
        torch.tensor(langs),
    )


def row_of(batch, place):
    samples, count = int(batch.audio_len[place]), int(batch.token_len[place])
    return LanguageBatch(
        batch.audio[place : place + 1, :samples],
        batch.audio_len[place : place + 1],
        batch.tokens[place : place + 1, :count],
        batch.token_len[place : place + 1],
        batch.language[place : place + 1],
    )


def test_a_batch_of_two_languages_has_the_loss_of_each_utterance_under_its_own_head(
    donor, tokenizers
):
    made = build(donor, tokenizers)
    batch = batch_of([(16000, 9), (9123, 4), (12000, 6), (5000, 2)], [1, 0, 0, 1])
    with torch.no_grad():
        loss, scores, _ = made.network.loss(batch)
        alone = [made.network.loss(row_of(batch, place))[0] for place in range(4)]
        swapped, *_ = made.network.loss(batch._replace(language=1 - batch.language))
    torch.testing.assert_close(loss, torch.stack(alone).mean(), atol=1e-4, rtol=1e-5)
    assert abs(float(loss - swapped)) > 0.1, "the head of the other language gives another loss"
    sizes = [made.pieces_of(lang).vocab_size() + 1 for lang in ("to", "it", "it", "to")]
    assert [row.shape[1] for row in scores] == sizes
    value, texts = made.evaluate(batch)
    assert value == pytest.approx(float(loss))
    for place, text in enumerate(texts):
        assert made.evaluate(row_of(batch, place))[1] == [text]


def test_a_head_without_an_utterance_in_the_batch_has_a_gradient_of_zero(donor, tokenizers):
    """None at all would hold up processes that train together."""
    made = build(donor, tokenizers)
    made.lightning.training_step(batch_of([(9123, 4), (5000, 2)], [1, 1]), 0)["loss"].backward()
    idle, heard = made.network.head_of("it"), made.network.head_of("to")
    assert idle.weight.grad is not None
    assert not idle.weight.grad.any()
    assert heard.weight.grad.abs().sum() > 0


def test_heads_are_drawn_from_the_seed_and_their_language_alone(donor, tokenizers):
    one = build(donor, tokenizers)
    more = {"fr": tokenizers["to"], **tokenizers}
    three, other = build(donor, more), build(donor, tokenizers, seed=2)
    assert set(three.parts()) == {"encoder", "head_fr", "head_it", "head_to"}
    for lang in ("it", "to"):
        assert torch.equal(one.network.head_of(lang).weight, three.network.head_of(lang).weight)
        assert not torch.equal(one.network.head_of(lang).weight, other.network.head_of(lang).weight)
    assert not torch.equal(three.network.head_of("fr").weight, three.network.head_of("to").weight)


def test_every_head_decodes_the_states_that_are_computed_once(donor, tokenizers):
    made = build(donor, tokenizers)
    decoder = made.decoder(OFFLINE)
    waveforms = speech(16000, 5000, 9123, 100)
    assert decoder.heads == ("it", "to")
    calls = []
    made.network.encoder.encoder.register_forward_hook(lambda *_: calls.append(1))
    together = decoder.with_confidence().decode_heads(waveforms)
    assert len(calls) == 1
    assert list(together) == ["it", "to"]
    for lang, hypotheses in together.items():
        own = decoder.of_language(lang)
        assert len(hypotheses[0].pieces) > 5
        assert hypotheses[-1].pieces == []
        assert hypotheses[-1].confidence == 0.0
        assert all(0 <= one.confidence <= 1 for one in hypotheses)
        for samples, one in zip(waveforms, hypotheses, strict=True):
            (alone,) = own.decode([samples])
            assert alone.confidence is None
            assert (alone.text, alone.times_s) == (one.text, one.times_s)
        assert len(own.vocabulary.pieces) == made.pieces_of(lang).vocab_size()
    assert together["it"][0].text != together["to"][0].text
    with pytest.raises(UserError, match="no head of de; it has heads of it, to"):
        decoder.of_language("de")


def test_heads_are_saved_and_read_back_in_their_order(donor, tokenizers, tmp_path):
    backwards = {lang: tokenizers[lang] for lang in ("to", "it")}
    made = build(donor, backwards)
    for name in ("one.safetensors", "two.safetensors"):
        made.save(tmp_path / name)
    one = tmp_path / "one.safetensors"
    assert one.read_bytes() == (tmp_path / "two.safetensors").read_bytes()
    again = open_family(FAMILY).load(one)
    waveforms = speech(8000, 6000)
    assert again.decoder(OFFLINE).heads == ("to", "it")
    assert again.decoder(OFFLINE).decode_heads(waveforms) == made.decoder(OFFLINE).decode_heads(
        waveforms
    )


def test_a_head_with_labels_of_another_tokenizer_is_named(donor, tokenizers, tmp_path):
    made, path = build(donor, tokenizers), tmp_path / "one.safetensors"
    head = made.network.head_of("to")
    head.weight = torch.nn.Parameter(head.weight[:-1].detach())
    head.bias = torch.nn.Parameter(head.bias[:-1].detach())
    made.save(path)
    with pytest.raises(UserError, match=r"its head of to has 48 labels; its tokenizer has 48 tok"):
        open_family(FAMILY).load(path)


def test_texts_are_counted_in_the_tokens_of_their_own_head(donor, tokenizers, tmp_path):
    """Four frames are enough for as many tokens of one tokenizer, not for those of the other."""
    made = build(donor, tokenizers)
    text = "forty two"
    needs = {
        lang: int(ctc.needed(torch.tensor([ids]), torch.tensor([len(ids)])))
        for lang in ("it", "to")
        for ids in [made.pieces_of(lang).encode(text)]
    }
    assert {lang: made.tokens_of(text, lang) for lang in needs} == {
        lang: made.pieces_of(lang).encode(text) for lang in needs
    }
    fewer, more = sorted(needs, key=needs.get)
    assert needs[fewer] < needs[more]
    samples = next(
        count
        for count in range(400, 160000, 10)
        if int(made.ctc_frames(torch.tensor([count]))) == needs[fewer]
    )
    path = tmp_path / "cuts.jsonl.gz"
    with cut_lines.writing(path) as stream:
        for lang in (fewer, more):
            span = {"id": lang, "start": 0, "duration": samples / 16000, "channel": 0}
            said = {**span, "text": text, "language": lang}
            stream.write(cut_lines.line({**span, "supervisions": [said]}))
    assert alignment.count(made, path, 2, []) == alignment.Learnable(
        2, {"text_longer_than_frames": 1}
    )
    batch = batch_of([(samples, needs[fewer]), (samples, needs[more])], [0, 1])
    assert alignment.aligned(made, batch) == 1
    with pytest.raises(UserError, match="no head of language de; the model has heads of it, to"):
        made.tokens_of(text, "de")


def test_a_family_with_one_head_for_all_is_refused():
    with pytest.raises(UserError, match=r"fastconformer_rnnt have one head .*: wav2vec2_ctc"):
        require_heads("fastconformer_rnnt")


def test_confidence_by_hand():
    """Four labels. The mean of two frames is over those whose best label is not the blank."""
    even, sure = torch.full((4,), 0.25).log(), torch.tensor([1.0, 0, 0, 0]).log()
    assert confidence.of_frames(torch.stack([even, sure])).tolist() == pytest.approx(
        [0, 1], abs=1e-6
    )
    half = torch.tensor([0.5, 0.5, 0, 0]).log()
    entropy = (2 * 0.5**0.33 - 1) / 0.67
    least = math.exp((1 - 4**0.67) / 0.67)
    expected = (math.exp(-entropy) - least) / (1 - least)
    assert 0.2 < expected < 0.8
    assert float(confidence.of_frames(half)) == pytest.approx(expected, rel=1e-5)
    blank = torch.tensor([0.1, 0.1, 0.1, 0.7]).log()
    rows = torch.stack([sure, blank, half])
    assert confidence.of_utterance(rows, 3) == pytest.approx((1 + expected) / 2, rel=1e-5)
    assert confidence.of_utterance(blank[None], 3) == 0.0
    assert confidence.of_utterance(torch.empty(0, 4), 3) == 0.0


@pytest.mark.slow
def test_confidence_is_that_of_nemo():
    from nemo.collections.asr.parts.utils.asr_confidence_utils import (
        ConfidenceMethodConfig,
        get_confidence_measure_bank,
    )

    default = ConfidenceMethodConfig()
    name = "_".join(("entropy", default.entropy_type, default.entropy_norm))
    assert name == "entropy_tsallis_exp"
    scores = torch.from_numpy(np.random.default_rng(1).normal(size=(20, 33)) * 3).log_softmax(-1)
    theirs = get_confidence_measure_bank()[name](scores, 33, default.alpha)
    torch.testing.assert_close(confidence.of_frames(scores), theirs)
