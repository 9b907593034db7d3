"""Language experts beside a Whisper's layers: weighted for each utterance, saved, and as
teachers."""

import copy

import numpy as np
import pytest
import torch
from made.linear_layers import insert
from made.whisper import whole_whisper
from test_wav2vec2 import OFFLINE, speech
from test_whisper import batch, built

from warmstart.adaptation import open_adaptation, peft_folder
from warmstart.models import open_family
from warmstart.training import distil

pytestmark = pytest.mark.slow
LANGS = ("it", "fr")


@pytest.fixture(scope="module")
def donor(tmp_path_factory):
    folder = tmp_path_factory.mktemp("whisper")
    return folder, whole_whisper(folder)


@pytest.fixture(scope="module")
def folders(donor, tmp_path_factory):
    """Updates of two languages, of other ranks and large enough to be heard."""
    found = {}
    for seed, lang in enumerate(LANGS, start=1):
        made, folder = built(donor), tmp_path_factory.mktemp(lang)
        adaptation = insert(made, seed, rank=seed + 1, alpha=4, layers="*")
        draw = torch.Generator().manual_seed(seed)
        for name, parameter in made.pretrained().named_parameters():
            if "lora_" in name:
                parameter.data = 0.3 * torch.randn(parameter.shape, generator=draw)
        adaptation.write(made, folder)
        found[lang] = folder / peft_folder.FOLDER
    return found


@pytest.fixture(scope="module")
def merged(donor, folders):
    """Each expert, in the weights."""
    found = {}
    for lang, folder in folders.items():
        found[lang] = built(donor)
        module = found[lang].pretrained()
        peft_folder.put_into(module, peft_folder.read(folder), "x").merge_and_unload()
    return found


def weighted(donor, folders):
    made = built(donor)
    adaptation = open_adaptation({"kind": "experts", "of": ["lora"], "fuse": "lid"})
    adaptation.take_experts(folders)
    adaptation.insert(made, 1)
    adaptation.finish(made)
    made.lightning.eval()
    return made


def sure_of(made, lang):
    """The same model, which takes all speech to be in one language."""
    other = copy.copy(made.decoder(OFFLINE))
    place = made.gates.experts.index(lang)
    other._weights = lambda states, experts: list(torch.eye(len(LANGS))[[place] * len(states)])
    return other


def test_it_says_what_the_expert_says_of_whose_language_it_is_sure(donor, folders, merged):
    made, waveforms = weighted(donor, folders), speech(16000, 30000, 9000)
    said = {}
    for lang in LANGS:
        found = sure_of(made, lang).of_language("it").decode(waveforms)
        wanted = merged[lang].decoder(OFFLINE).of_language("it").decode(waveforms)
        said[lang] = [one.text for one in found]
        assert said[lang] == [one.text for one in wanted]
        assert any(one.text for one in found)
    assert said["it"] != said["fr"]


def test_the_weights_are_what_the_donor_takes_the_language_to_be(donor, folders):
    made, plain, waveforms = weighted(donor, folders), built(donor), speech(16000, 30000, 9000)
    decoder = made.decoder(OFFLINE).of_language("fr")
    seen = []
    weigh = made.gates.weighted

    def noted(weights):
        seen.append(weights)
        return weigh(weights)

    made.gates.weighted = noted
    decoder.decode(waveforms)
    audio = torch.nn.utils.rnn.pad_sequence(
        [torch.from_numpy(np.asarray(one, np.float32)) for one in waveforms], batch_first=True
    )
    lengths = torch.tensor([len(one) for one in waveforms])
    with torch.inference_mode():
        wanted = plain.language_probabilities(audio, lengths, LANGS)
    torch.testing.assert_close(seen[0], wanted, atol=1e-5, rtol=1e-4)
    assert wanted.std() > 0


def test_one_at_a_time_is_as_in_a_batch(donor, folders):
    decoder = weighted(donor, folders).decoder(OFFLINE)
    waveforms = speech(16000, 30000, 9000, 21000)
    together = decoder.decode(waveforms)
    alone = [decoder.decode([one])[0] for one in waveforms]
    assert [one.text for one in together] == [one.text for one in alone]
    assert [one.language for one in together] == [one.language for one in alone]
    for both, one in zip(decoder.logits(waveforms), waveforms, strict=True):
        torch.testing.assert_close(both, decoder.logits([one])[0], atol=1e-3, rtol=1e-3)


def test_it_comes_back_from_its_file_and_a_plain_model_has_none(donor, folders, tmp_path):
    made, waveforms = weighted(donor, folders), speech(16000, 9000)
    for name in ("one", "two"):
        made.save(tmp_path / f"{name}.safetensors")
    one, two = (tmp_path / f"{name}.safetensors" for name in ("one", "two"))
    assert one.read_bytes() == two.read_bytes()
    loaded = open_family("whisper").load(one)
    assert loaded.gates.experts == LANGS
    assert loaded.gates.ranks == (2, 3)
    decoders = [model.decoder(OFFLINE) for model in (made, loaded)]
    first, second = ([hyp.text for hyp in each.decode(waveforms)] for each in decoders)
    assert first == second
    loaded.save(two)
    assert one.read_bytes() == two.read_bytes(), "saved again it is the same"
    plain = built(donor)
    plain.save(tmp_path / "plain.safetensors")
    assert open_family("whisper").load(tmp_path / "plain.safetensors").gates is None


def test_utterances_of_both_windows_have_their_own_teachers(donor, folders, merged):
    """Of a window of 1 s and of 30 s, in one batch, in turn."""
    student, base = (built(donor, window_s=1) for _ in range(2))
    waveforms = speech(30000, 9000, 40000, 12000)
    langs = ["fr", "it", "it", "fr"]
    given = batch(student, waveforms, ["ciao", "ecco", "si", "no"], langs)
    taught = distil.Teacher(base, folders).scores(given)
    _, targets = student.token_logits(given)
    assert student.languages_of(given) == langs
    for row, lang in enumerate(langs):
        merged[lang].network.said = student.said
        with torch.no_grad():
            wanted = merged[lang].token_logits(given)[0][row]
        kept = targets[row] >= 0
        torch.testing.assert_close(taught[row][kept], wanted[kept], atol=1e-3, rtol=1e-3)


def test_the_student_of_teachers_who_know_no_more_follows_the_texts_alone(donor, folders):
    """With alpha -> 0 the loss is the family's own."""
    student = built(donor)
    given = batch(student, speech(16000, 9000), ["ciao", "ecco qua"], ["it", "fr"])
    with torch.no_grad():
        own = student.network.loss(given)
        distil.teach(
            student, distil.Teacher(built(donor), folders), {"alpha": 1e-9, "temperature": 1}
        )
        found = student.lightning.training_step(given, 0)["loss"]
    torch.testing.assert_close(found, own)
