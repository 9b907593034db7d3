"""Prompts of a Whisper: by hand, against transformers with the vectors put in by a hook, and that
other languages are heard as without them, bit for bit."""

import math

import pytest
import torch
from made.whisper import whole_whisper
from test_wav2vec2 import OFFLINE, RECIPE, speech
from test_whisper import batch, features_of

from warmstart.models import open_family
from warmstart.models.whisper.network import UNLEARNT
from warmstart.models.whisper.prompts import Prompts, of_about
from warmstart.run.errors import UserError

pytestmark = pytest.mark.slow
BOTH = ("encoder", "decoder")


@pytest.fixture(scope="module")
def donor(tmp_path_factory):
    """Folder of a snapshot, and transformers' model of it."""
    folder = tmp_path_factory.mktemp("whisper")
    return folder, whole_whisper(folder)


def built(donor, **model):
    family = open_family("whisper")
    recipe = {**RECIPE, "model": {**RECIPE["model"], **model}}
    made = family.build(family.read_donor(donor[0]), recipe, tokenizer=None, seed=1, steps=10)
    made.lightning.eval()
    return made


def prompted(donor, languages=("it",), sides=BOTH, length=3, scale=100.0, rank=0, **model):
    """With prompts that are as large as what stands behind them."""
    made = built(donor, **model)
    made.add_prompts(languages, length, sides, 1, rank=rank)
    with torch.no_grad():
        for value in made.network.prompts.parameters():
            value.mul_(scale)
    return made


# ---- the formula


def test_a_prompt_is_the_shared_part_and_the_parts_of_like_languages():
    made = Prompts(("it", "fr"), width=2, length=1, sides=("decoder",), rank=1)
    with torch.no_grad():
        made.decoder_shared.copy_(torch.tensor([[1.0, 2.0]]))
        made.decoder_rows.copy_(torch.tensor([[[2.0]], [[-1.0]]]))
        made.decoder_columns.copy_(torch.tensor([[[1.0, 0.5]], [[0.0, 4.0]]]))
    # U V are (2, 1) and (0, -4).
    assert made.of("decoder").tolist() == [[[3.0, 3.0]], [[1.0, -2.0]]]
    made.similarity.copy_(torch.tensor([[0.75, 0.25], [0.5, 0.5]]))
    assert made.of("decoder").tolist() == [[[2.5, 1.75]], [[2.0, 0.5]]]
    assert made.of("encoder") is None
    assert made.tokens() == 1


def test_likeness_is_a_softmax_of_cosines():
    made = Prompts(("it", "fr", "ru"), 2, 1, rank=1)
    made.mix(torch.tensor([[2.0, 0.0], [0.5, 0.0], [0.0, 3.0]]))
    total = 2 * math.exp(10) + 1  # it and fr are alike, ru is at right angles
    near, far = math.exp(10) / total, 1 / total
    torch.testing.assert_close(made.similarity[0], torch.tensor([near, near, far]))
    torch.testing.assert_close(made.similarity.sum(1), torch.ones(3))


def test_prompts_are_drawn_from_the_seed_alone_and_alike_for_all_languages():
    def drawn(seed, noise):
        torch.manual_seed(noise)
        made = Prompts(("it", "fr"), 4, 3, BOTH, rank=2)
        made.draw(seed)
        return made.state_dict()

    one, same, other = drawn(1, 5), drawn(1, 6), drawn(2, 5)
    assert all(torch.equal(one[name], same[name]) for name in one)
    assert not torch.equal(one["encoder_shared"], other["encoder_shared"])
    assert not one["decoder_columns"].any()
    assert bool(one["decoder_rows"].any())
    made = Prompts(("it", "fr"), 4, 3, BOTH, rank=2)
    made.draw(1)
    assert torch.equal(made.of("encoder")[0], made.of("encoder")[1])


# ---- what is computed


@pytest.mark.parametrize("sides", [BOTH, ("encoder",), ("decoder",)], ids="+".join)
def test_logits_are_those_of_transformers_with_the_vectors_put_in(donor, sides):
    made, theirs = prompted(donor, sides=sides, rank=1), donor[1]
    waveforms, texts = speech(16000, 5000), ["ciao", "ci"]
    given = batch(made, waveforms, texts, ["it", "it"])
    front = {side: made.network.prompts.of(side) for side in sides}

    def put_in(module, args, kwargs):
        vectors = front["encoder"].expand(2, -1, -1)
        return (torch.cat([vectors, args[0]], 1), *args[1:]), kwargs

    table = theirs.model.decoder.embed_tokens
    tokens = torch.cat([made.network.prefix(given.language), given.tokens], 1)
    read = table(tokens)
    if "decoder" in sides:
        read = torch.cat([front["decoder"].expand(2, -1, -1), read], 1)
    hook = None
    if "encoder" in sides:
        hook = theirs.model.encoder.layers[0].register_forward_pre_hook(put_in, with_kwargs=True)
    try:
        with torch.no_grad():
            wanted = theirs(input_features=features_of(waveforms), decoder_inputs_embeds=read)
    finally:
        if hook is not None:
            hook.remove()
    with torch.no_grad():
        logits, targets = made.network.token_logits(given)
        bare, _ = built(donor).network.token_logits(given)
    wanted = wanted.logits[:, -tokens.shape[1] :]
    inside = targets != UNLEARNT
    torch.testing.assert_close(logits[inside], wanted[inside], atol=2e-4, rtol=2e-4)
    # Of some 1500 states that are heard the encoder's prompt is three.
    assert (logits - bare)[inside].abs().max() > 4e-3, "the prompt says something"


@pytest.mark.parametrize("sides", [BOTH, ("encoder",)], ids="+".join)
def test_greedy_takes_what_teacher_forcing_has_as_the_best(donor, sides):
    made = prompted(donor, sides=sides)
    waveforms = speech(16000, 5000)
    decoder = made.decoder(OFFLINE).of_language("it")
    found = [parts[0].tokens for parts in decoder._search(waveforms, most=8)]
    given = batch(made, waveforms, ["", ""], ["it", "it"])
    given = given._replace(tokens=torch.tensor(found), token_len=torch.tensor([8, 8]))
    with torch.no_grad():
        logits, _ = made.network.token_logits(given)
    for key, place in (("begin_suppress_tokens", 3), ("suppress_tokens", slice(None))):
        logits[:, place, made.said.config[key]] = -math.inf
    for row, tokens in enumerate(found):
        assert logits[row, 3:11].argmax(-1).tolist() == tokens
    assert len(found[0]) == 8


def test_a_text_has_the_positions_that_a_prompt_leaves(donor):
    made = prompted(donor, length=20)
    assert made.network.positions == 10
    (parts,) = made.decoder(OFFLINE).of_language("it")._search(speech(9000))
    assert len(parts[0].tokens) <= 6
    lost = made.network.unlearnable(torch.tensor([9000] * 2), torch.tensor([6, 7]))
    assert lost["text_longer_than_positions"].tolist() == [False, True]


def test_a_prompt_learns_to_say_a_text_and_the_model_stays(donor):
    made = built(donor, window_s=1)
    made.pretrained().requires_grad_(False)
    made.add_prompts(("it", "fr"), 4, BOTH, 1, rank=2, alike=True)
    before = {name: value.clone() for name, value in made.network.tensors().items()}
    given = batch(made, speech(16000, 5000), ["ciao", "ci"], ["it", "fr"])
    learning = [value for value in made.lightning.parameters() if value.requires_grad]
    assert len(learning) == 6
    rule, losses = torch.optim.Adam(learning, 0.05), []
    for _ in range(40):
        losses.append(loss := made.network.loss(given))
        rule.zero_grad()
        loss.backward()
        rule.step()
    assert losses[-1] < losses[0] - 0.5
    assert all(torch.equal(before[name], value) for name, value in made.network.tensors().items())
    for side in BOTH:
        one, other = made.network.prompts.of(side)
        assert not torch.equal(one, other)


# ---- other languages


def test_other_languages_are_decoded_as_before_bit_for_bit(donor):
    bare, made = built(donor), prompted(donor)
    waveforms = speech(16000, 5000, 33_333, 12_000)
    for lang in ("fr", "en"):
        one, other = (each.decoder(OFFLINE).of_language(lang) for each in (bare, made))
        assert one.decode(waveforms) == other.decode(waveforms)
        for mine, theirs in zip(one.logits(waveforms), other.logits(waveforms), strict=True):
            assert torch.equal(mine, theirs)
    one, other = (each.decoder(OFFLINE).of_language("it") for each in (bare, made))
    assert one.decode(waveforms) != other.decode(waveforms)
    audio = batch(bare, waveforms, [""] * 4, ["it"] * 4)[:2]
    sure = [each.language_probabilities(*audio, ["it", "fr"]) for each in (bare, made)]
    assert torch.equal(*sure), "the language is told without any prompt"


def test_a_language_that_is_told_by_the_model_gets_its_prompt_and_others_none(donor):
    waveforms = speech(16000, 5000, 33_333, 12_000, 7000)
    bare = built(donor).decoder(OFFLINE).decode(waveforms)
    spoken = [one.language for one in bare]
    lang = spoken[0]
    made = prompted(donor, languages=(lang,))
    # The first one is of the language; of the others some may be.
    decoder = made.decoder(OFFLINE)
    for one, before, samples in zip(decoder.decode(waveforms), bare, waveforms, strict=True):
        assert one.language == before.language, "languages are told without any prompt"
        if before.language != lang:
            assert one == before
            continue
        (told,) = decoder.of_language(lang).decode([samples])
        assert told.pieces == one.pieces
        assert one.pieces != before.pieces


def test_a_batch_with_and_without_prompts_is_each_alone(donor):
    waveforms = speech(16000, 5000, 33_333, 12_000, 7000)
    lang = built(donor).decoder(OFFLINE).decode(waveforms[:1])[0].language
    decoder = prompted(donor, languages=(lang,), window_s=1).decoder(OFFLINE)
    together = decoder.decode(waveforms)
    for samples, one in zip(waveforms, together, strict=True):
        (alone,) = decoder.decode([samples])
        assert (alone.pieces, alone.language) == (one.pieces, one.language)


def test_a_borrowed_token_gets_the_prompt_only_where_the_language_is_told(donor):
    borrowing = {"language_tokens": {"ky": "it"}}
    bare, made = built(donor, **borrowing), prompted(donor, languages=("ky",), **borrowing)
    waveforms = speech(9000, 16000)
    for lang, same in (("it", True), ("ky", False)):
        one, other = (each.decoder(OFFLINE).of_language(lang) for each in (bare, made))
        assert (one.decode(waveforms) == other.decode(waveforms)) == same
    assert bare.decoder(OFFLINE).decode(waveforms) == made.decoder(OFFLINE).decode(waveforms)
    with pytest.raises(UserError, match="two of them are told by one token"):
        prompted(donor, languages=("it", "ky"), **borrowing)


def test_a_prompt_without_room_for_a_text_is_refused(donor):
    with pytest.raises(UserError, match=r"prompt of 26 vectors leaves no room.* 26 positions"):
        prompted(donor, length=26)
    prompted(donor, length=26, sides=("encoder",))


# ---- files


def test_prompts_are_in_the_file_of_the_model(donor, tmp_path):
    made = prompted(donor, languages=("it", "fr"), rank=1)
    made.save(tmp_path / "one.safetensors")
    family = open_family("whisper")
    read = family.load(tmp_path / "one.safetensors")
    read.save(tmp_path / "two.safetensors")
    one, two = ((tmp_path / f"{name}.safetensors").read_bytes() for name in ("one", "two"))
    assert one == two
    waveforms = speech(16000, 5000)
    for lang in ("it", "fr", "en"):
        before, after = (each.decoder(OFFLINE).of_language(lang) for each in (made, read))
        assert before.decode(waveforms) == after.decode(waveforms)
    again = of_about(made.network.prompts.about(), 16)
    assert set(again.state_dict()) == set(made.network.prompts.state_dict())


def test_prompts_that_do_not_fit_their_settings_are_refused(donor, tmp_path):
    made = prompted(donor)
    made.network.prompts.length = 4  # what the header says
    made.save(tmp_path / "model.safetensors")
    with pytest.raises(UserError, match=r"model.safetensors: its prompts do not fit"):
        open_family("whisper").load(tmp_path / "model.safetensors")
