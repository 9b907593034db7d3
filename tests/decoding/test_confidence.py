"""How sure FastConformers are of what they wrote: by hand from their networks, whatever stands
beside an utterance, and without a change to what is written."""

import pytest
import soundfile
import torch
from made import ctc_model
from made.decoding import TIER
from made.toy_model import SPEECH, toy_model_path  # noqa: F401 (a fixture)

from warmstart.models import confidence, kind_of, open_family
from warmstart.models.tier import Tier

STREAM = Tier(**TIER)


@pytest.fixture(scope="module")
def speech():
    files = sorted(SPEECH.glob("*/*.flac"))[:6]
    return [soundfile.read(path, dtype="float32")[0] for path in files]


@pytest.fixture(scope="module", params=["fastconformer_rnnt", "fastconformer_ctc"])
def recogniser(request, tmp_path_factory, toy_model_path):
    assert kind_of(request.param).confidence
    if request.param == "fastconformer_rnnt":
        path = toy_model_path
    else:
        path = ctc_model.build(tmp_path_factory.mktemp("ctc"))
    made = open_family(request.param).load(path)
    head = made.model.joint.joint_net[-1] if "joint" in made.parts() else made.model.decoder
    # Random scores lie close together, and then nothing is sure: the same order, further apart.
    with torch.no_grad():
        for parameter in head.parameters():
            parameter.mul_(20)
    return made


def by_hand(recogniser, decoder, samples) -> float:
    """From the networks, one emission after the other."""
    logits = decoder.logits([samples])[0]
    if not hasattr(recogniser.model, "joint"):
        return confidence.of_utterance(logits.log_softmax(-1), logits.shape[-1] - 1)
    joint, search = recogniser.model.joint, decoder._search
    with torch.inference_mode():
        encoded = torch.cat([part[:, :count] for part, (count,) in decoder.frames([samples])], 1)
        found, state, sure = decoder.search([samples])[0], search.start(1), []
        for token, frame in zip(found.tokens, found.frames, strict=True):
            heard = joint.project_encoder(encoded[:, frame : frame + 1])
            scores = joint.joint_net(heard + state.projected).reshape(-1)
            assert int(scores.argmax()) == token
            sure.append(float(confidence.of_frames(scores.double().log_softmax(-1))))
            state = search._predict(torch.tensor([token]), state.predictor)
    return sum(sure) / len(sure)


@pytest.mark.slow
def test_it_is_the_mean_over_tokens_and_changes_no_token(recogniser, speech):
    plain = recogniser.decoder(STREAM)
    before = plain.decode(speech)
    asked = plain.with_confidence()
    heard = asked.decode(speech)
    assert plain.decode(speech) == before, "the decoder that was asked is as it was"
    for samples, one, without in zip(speech, heard, before, strict=True):
        assert (one.text, one.emitted) == (without.text, without.emitted)
        assert without.confidence is None
        assert 0 < one.confidence < 1
        assert one.confidence == pytest.approx(by_hand(recogniser, plain, samples), abs=1e-4)
    assert len({round(one.confidence, 3) for one in heard}) > 1


@pytest.mark.slow
def test_it_does_not_depend_on_the_batch_and_silence_is_not_sure(recogniser, speech):
    asked = recogniser.decoder(STREAM).with_confidence()
    together = asked.decode(speech)
    alone = [asked.decode([samples])[0] for samples in speech]
    live = [asked.chunk_by_chunk().decode([samples])[0] for samples in speech]
    for one, *others in zip(together, alone, live, strict=True):
        for other in others:
            assert other.confidence == pytest.approx(one.confidence, abs=1e-4)
    too_short = asked.decode([speech[0][:80]])[0]
    assert (too_short.text, too_short.confidence) == ("", 0.0)


def test_the_mean_of_no_token_is_nothing():
    assert confidence.mean([]) == 0.0
    assert confidence.mean([0.25, 0.75]) == 0.5
