"""The CTC family: what it says chunk by chunk is what the full forward says, with NeMo's own search
beside it; its head comes from the seed alone; it trains, is averaged, quantised and scored."""

import json

import numpy
import pytest
import soundfile
import torch
from hypothesis import HealthCheck, given, settings, strategies
from made import ctc_model, toy_model
from made.decoding import edge_lengths, read, tier_text, write_manifest
from made.small_speech import SETTINGS, donor, rows
from made.toy_model import CONTEXTS, SAMPLE_RATE, SPEECH

import decode
import quantize
import train
from warmstart.models import open_family
from warmstart.models.base import EncoderFile
from warmstart.models.digests import tensors_digest
from warmstart.models.fastconformer.ctc_search import CtcSearch
from warmstart.models.fastconformer.found import Found
from warmstart.models.tier import Tier
from warmstart.run import files
from warmstart.run.errors import UserError

pytestmark = pytest.mark.slow

FAMILY = "fastconformer_ctc"
HOP = SAMPLE_RATE // 100
TIER = {"name": "560ms", "left": 70, "right": 6, "offline": False}
OFFLINE = {"name": "offline", "left": 70, "right": 13, "offline": True}
RUN = "it/en/0.012h/seed1"
INT4 = {"scheme": "k_quant", "bits": 4, "block_size": 32, "accuracy_level": 0}


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    return ctc_model.build(tmp_path_factory.mktemp("ctc"))


@pytest.fixture(scope="module")
def recogniser(path):
    return open_family(FAMILY).load(path)


@pytest.fixture(scope="module")
def speech_clips():
    clips = [
        soundfile.read(file, dtype="float32")[0] for file in sorted(SPEECH.glob("*/*.flac"))[:24]
    ]
    long = numpy.concatenate(clips)
    return [*clips, numpy.concatenate([long, long])[: 60 * SAMPLE_RATE]]


def decoded_by_nemo(model, samples, context):
    """Tokens of one full forward under the tier's mask with NeMo's own search, and the frames at
    which runs of their labels begin, counted one by one."""
    model.encoder.set_default_att_context_size(context)
    with torch.inference_mode():
        log_probs, lengths, labels = model(
            input_signal=torch.from_numpy(samples)[None],
            input_signal_length=torch.tensor([len(samples)]),
        )
        found = model.decoding.ctc_decoder_predictions_tensor(
            log_probs, decoder_lengths=lengths, return_hypotheses=True
        )[0]
    blank, frames, before = log_probs.shape[-1] - 1, [], None
    for frame, label in enumerate(labels[0, : int(lengths)].tolist()):
        if label not in (before, blank):
            frames.append(frame)
        before = label
    tokens = [token for token in map(int, found.y_sequence) if token != blank]
    collapsed = [int(labels[0, frame]) for frame in frames]
    assert found.text == model.tokenizer.ids_to_text(collapsed)
    assert len(tokens) >= len(collapsed)
    return Found(collapsed, frames, int(lengths))


@pytest.mark.parametrize("context", CONTEXTS)
def test_streaming_gives_the_tokens_of_the_full_forward(recogniser, speech_clips, context):
    long = speech_clips[-1] if context == [70, 6] else speech_clips[-1][: 15 * SAMPLE_RATE]
    edges = [speech_clips[-1][: frames * HOP] for frames in edge_lengths(context[1])]
    audio = [*speech_clips[:12], long, *edges]
    expected = [decoded_by_nemo(recogniser.model, samples, context) for samples in audio]
    assert sum(len(found.tokens) for found in expected) > 8 * len(expected)
    assert len({tuple(found.tokens) for found in expected}) > 0.4 * len(expected)
    full = recogniser.decoder(Tier("full", *context, offline=True))
    stream = recogniser.decoder(Tier("stream", *context))
    live = stream.chunk_by_chunk()
    assert [live.search([samples])[0] for samples in audio] == expected, "chunk by chunk"
    batched = [
        found
        for start in range(0, len(audio), 32)
        for found in stream.search(audio[start : start + 32])
    ]
    assert batched == expected, "in batches of 32"
    short = [index for index, samples in enumerate(audio) if len(samples) < 10 * SAMPLE_RATE]
    assert full.search([audio[index] for index in short]) == [expected[index] for index in short]
    apart = [live.logits([samples])[0] for samples in audio[8:16]]
    largest = max(
        float((a - b).abs().max()) for a, b in zip(apart, stream.logits(audio[8:16]), strict=True)
    )
    assert largest < 1e-3


mixes = strategies.lists(
    strategies.tuples(strategies.integers(1, 700), strategies.integers(0, 5000)),
    min_size=1,
    max_size=16,
)


@settings(max_examples=10, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(context=strategies.sampled_from(CONTEXTS), mix=mixes)
def test_no_mix_of_lengths_changes_a_token(recogniser, speech_clips, context, mix):
    audio = [speech_clips[-1][start * HOP : (start + frames) * HOP] for frames, start in mix]
    expected = [decoded_by_nemo(recogniser.model, samples, context) for samples in audio]
    assert recogniser.decoder(Tier("stream", *context)).search(audio) == expected


def test_a_label_that_goes_on_over_a_border_is_one_token_and_a_blank_between_makes_two():
    class Head(torch.nn.Module):
        """Frames are scores already."""

        num_classes_with_blank = 3

        def __init__(self):
            super().__init__()
            self.weight = torch.nn.Parameter(torch.zeros(1))

        def forward(self, encoder_output):
            return encoder_output.transpose(1, 2)

    def frames(*labels):
        return torch.nn.functional.one_hot(torch.tensor(labels), 3).float()

    search, found = CtcSearch(Head()), [Found(), Found()]
    state = search.start(2)
    # Of the second utterance only two frames count in the first step: what is behind them is not
    # its last label.
    search.extend(found, frames([0, 0, 1], [1, 0, 2]), torch.tensor([3, 2]), state)
    search.extend(found, frames([1, 2, 1], [0, 0, 1]), torch.tensor([3, 3]), state)
    assert found[0] == Found([0, 1, 1], [0, 2, 5], 6)
    assert found[1] == Found([1, 0, 1], [0, 1, 4], 5)
    state = state.narrow(1)
    search.extend(found[:1], frames([1, 0]), torch.tensor([2]), state)
    assert found[0] == Found([0, 1, 1, 0], [0, 2, 5, 7], 8)


def test_a_token_is_shown_at_the_end_of_the_chunk_of_its_first_frame(recogniser, speech_clips):
    tier = Tier("560ms", 70, 6)
    found = recogniser.decoder(tier).search(speech_clips[:1])[0]
    shown = recogniser.decoder(tier).decode(speech_clips[:1])[0]
    last = found.encoder_frames - 1
    assert shown.times_s == [
        round(0.08 * min(7 * (frame // 7) + 6, last), 2) for frame in found.frames
    ]
    offline = recogniser.decoder(Tier("o", 70, 6, True)).decode(speech_clips[:1])[0]
    assert offline.pieces == shown.pieces
    assert all(one <= other for one, other in zip(offline.times_s, shown.times_s, strict=True))


@pytest.mark.parametrize("settings", [{"scheme": "fp32"}, INT4], ids=["fp32", "int4"])
def test_its_quantised_encoder_gives_the_tokens_of_its_weights(
    path, speech_clips, tmp_path, settings
):
    arguments = {"--model": path, "--precision": "int4", "--family": FAMILY}
    arguments |= {"--output": tmp_path / "encoder.onnx", "--report": tmp_path / "report.json"}
    command = [str(part) for pair in arguments.items() for part in pair]
    command += ["--run", RUN, "--tier", tier_text(TIER), "--settings", json.dumps(settings)]
    quantize.main(command)
    assert files.read_json(tmp_path / "report.json")["parity"]["max_abs"] < 1e-4
    model, clips = open_family(FAMILY).load(path), speech_clips[:6]
    as_trained = model.decoder(Tier("o", 70, 6, True)).search(clips)
    encoder = EncoderFile(tmp_path / "encoder.onnx", files.digest(path))
    stream = model.decoder(Tier(**TIER), encoder)
    assert stream.engine == "onnxruntime"
    heard = stream.search(clips)
    assert model.decoder(Tier("o", 70, 6, True), encoder).search(clips) == heard
    assert (heard == as_trained) == (settings["scheme"] == "fp32")


# ---- training


def run(speech, init, run_dir, more=None, options=()):
    arguments = ["--train-cuts", speech["train"], "--dev-cuts", f"it={speech['dev']}"]
    arguments += ["--init", init]
    arguments += ["--tokenizer", speech["tokenizer"], "--run", RUN]
    arguments += ["--settings", json.dumps(SETTINGS | (more or {})), "--run-dir", run_dir]
    arguments += ["--output", run_dir / "model.nemo", "--family", FAMILY, *options]
    train.main([str(argument) for argument in arguments])
    return files.read_json(run_dir / "run.json")


def test_it_trains_from_a_donor_is_averaged_and_decoded(speech, donors, tmp_path, speech_clips):
    more = {"average_last": 2, "steps": {"fixed": 8}, "validate_every_steps": 4}
    record = run(speech, donors["en"], tmp_path / "a", more)
    assert record["family"] == FAMILY
    assert record["encoder_tensors_loaded"] == record["encoder_tensors"] > 30
    assert set(record["start_digests"]) == set(record["parameters"]) == {"encoder", "decoder"}
    assert record["averaged_steps"] == [4, 8]
    assert record["final"]["dev_wer"] >= 0
    losses = [float(row["loss"]) for row in rows(tmp_path / "a")]
    assert losses[-1] < losses[0]
    # Another donor, the same new head.
    other = run(
        speech, donors["ml"], tmp_path / "b", more | {"steps": {"fixed": 4}, "average_last": 0}
    )
    assert other["start_digests"]["decoder"] == record["start_digests"]["decoder"]
    assert other["start_digests"]["encoder"] != record["start_digests"]["encoder"]

    manifest = write_manifest(tmp_path / "m" / "test.jsonl.gz", {"u": speech_clips[0]})
    heard = {}
    for tier in (TIER, OFFLINE):
        command = ["--model", tmp_path / "a" / "model.nemo", "--tier", tier_text(tier)]
        command += ["--run", RUN, "--precision", "full", "--cuts", f"it/a={manifest}"]
        command += ["--output", f"it/a={tmp_path / tier['name'] / 'a.jsonl'}", "--family", FAMILY]
        settings = {"batch_size": 4, "device": "cpu", "threads": 1}
        decode.main([str(part) for part in [*command, "--settings", json.dumps(settings)]])
        header = files.read_json(tmp_path / tier["name"] / "a.json")
        assert header["family"] == FAMILY
        assert header["batch_check"]["differing_utterances"] == 0
        heard[tier["name"]] = read(tmp_path / tier["name"] / "a.jsonl")
    assert heard["560ms"][0]["id"] == heard["offline"][0]["id"] == "u"


def test_ended_early_by_a_signal_it_goes_on_to_the_same_weights(
    speech, donors, tmp_path, monkeypatch
):
    import signal

    from warmstart.training import order

    more = {"steps": {"fixed": 6}, "checkpoint_every_steps": 2}
    whole = run(speech, donors["en"], tmp_path / "whole", more)
    seed_step = order.seed_step

    def interrupted(seed, step, rank):
        if step == 3:
            signal.raise_signal(signal.SIGTERM)
        seed_step(seed, step, rank)

    with monkeypatch.context() as patched:
        patched.setattr("warmstart.training.recorder.seed_step", interrupted)
        with pytest.raises(SystemExit):
            run(speech, donors["en"], tmp_path / "cut", more)
    resumed = run(speech, donors["en"], tmp_path / "cut", more)
    assert [start["first_step"] for start in resumed["starts"]] == [0, 4]
    assert resumed["model_sha256"] == whole["model_sha256"]


@pytest.mark.parametrize("adaptation", ["adapter", "freeze"])
def test_it_takes_the_adaptations_of_its_encoder(speech, donors, tmp_path, adaptation):
    block = {"adapter": {"kind": "adapter", "dim": 64}}.get(
        adaptation, {"kind": "freeze", "encoder_layers": 1, "steps": 9}
    )
    record = run(speech, donors["en"], tmp_path, {"adaptation": block, "steps": {"fixed": 2}})
    assert record["adaptation"] == block
    family = open_family(FAMILY)
    donor = family.read_donor(donors["en"])
    given = family.build(donor, SETTINGS, tokenizer=speech["tokenizer"], seed=1, steps=2)
    trained = family.load(tmp_path / "model.nemo")
    for name, value in given.model.encoder.state_dict().items():
        assert torch.equal(trained.model.encoder.state_dict()[name], value), name
    assert not torch.equal(
        trained.model.decoder.decoder_layers[0].weight,
        given.model.decoder.decoder_layers[0].weight,
    )


@pytest.mark.parametrize("family", ["fastconformer_rnnt", FAMILY])
@pytest.mark.parametrize("kind", ["ctc", "transducer", "hybrid"])
def test_a_donor_of_any_class_serves_both_families(speech, tmp_path, family, kind):
    tokenizer = speech["tokenizer"]
    if kind == "ctc":
        path = donor(tmp_path / "donor.nemo", tokenizer, 1)
        model = SETTINGS["model"]
    else:
        path = toy_model.build(tmp_path, hybrid=kind == "hybrid")
        model = SETTINGS["model"] | {"contexts": CONTEXTS, "context_probs": [0.25] * 4}
    opened = open_family(family)
    given = opened.read_donor(path)
    settings = SETTINGS | {"model": model}
    made = opened.build(given, settings, tokenizer=tokenizer, seed=3, steps=2)
    assert made.loaded_tensors == len(made.parts()["encoder"].state_dict())
    again = opened.build(given, settings, tokenizer=tokenizer, seed=3, steps=2, take_weights=False)
    assert again.loaded_tensors == 0
    new = [name for name in made.parts() if name != "encoder"]
    for name in new:
        assert tensors_digest(made.parts()[name]) == tensors_digest(again.parts()[name])
    assert tensors_digest(made.parts()["encoder"]) != tensors_digest(again.parts()["encoder"])


# ---- as published


def test_a_published_ctc_model_and_the_head_of_a_hybrid_are_decoded_as_they_are(
    tmp_path, speech_clips
):
    path = toy_model.build(tmp_path, hybrid=True)
    recogniser = open_family(FAMILY).load(path)
    tier = recogniser.as_published(Tier("560ms", 56, 6))
    assert tier.left == 70
    found = recogniser.decoder(tier).decode(speech_clips[:2])
    model = recogniser.model
    model.encoder.set_default_att_context_size([70, 6])
    for one, samples in zip(found, speech_clips, strict=False):
        with torch.inference_mode():
            encoded, lengths = model(
                input_signal=torch.from_numpy(samples)[None],
                input_signal_length=torch.tensor([len(samples)]),
            )
            expected = model.ctc_decoding.ctc_decoder_predictions_tensor(
                model.ctc_decoder(encoder_output=encoded), lengths
            )[0]
        assert one.text == expected.text


def test_a_plain_transducer_has_no_ctc_head(tmp_path):
    path = toy_model.build(tmp_path)
    with pytest.raises(UserError, match=r"EncDecRNNTBPEModel is not a CTC model .* zero_shot"):
        open_family(FAMILY).load(path)
