"""Joint and transducer loss in parts: the loss and the gradients of the whole, in the memory of a
part."""

import pytest
import torch
from made.small_speech import SETTINGS

from warmstart.models import open_family
from warmstart.models.fastconformer import loss
from warmstart.models.fastconformer.loss import sub_batches


def test_parts_hold_the_bytes_that_were_allowed():
    # By hand: 10 frames x (4 + 1) positions x 20 classes x 8 bytes = 8000 bytes an utterance.
    assert sub_batches([10, 10, 10], [4, 4, 4], 20, 0.024) == [[0, 1, 2]]
    assert sub_batches([10, 10, 10], [4, 4, 4], 20, 0.0239) == [[0, 1], [2]]
    assert sub_batches([10, 10, 10], [4, 4, 4], 20, 0.0079) == [[0], [1], [2]]


def test_padding_counts_and_the_longest_utterances_come_first():
    # The second is 40 x 5 x 20 x 8 = 32,000 bytes; beside it each of the others would be too.
    assert sub_batches([10, 40, 10], [4, 4, 4], 20, 0.040) == [[1], [0, 2]]
    # A long text beside a long utterance: together both are padded to 40 frames and 9 positions,
    # 2 x 40 x 9 x 20 x 8 = 115,200 bytes; alone they have 12,800 and 14,400.
    assert sub_batches([40, 10], [1, 8], 20, 0.1152) == [[0, 1]]
    assert sub_batches([40, 10], [1, 8], 20, 0.1151) == [[1], [0]]


@pytest.fixture
def transducer(speech):
    """A new model each time it is asked for, always with the same weights."""
    settings = SETTINGS | {"model": SETTINGS["model"] | {"dropout": 0.0}}

    def build():
        made = open_family("fastconformer_rnnt").build(
            None, settings, tokenizer=speech["tokenizer"], seed=1, steps=10
        )
        return made.model.train()

    return build


def losses(model, **how):
    """Loss and gradients of encoder states, predictor and joint for six utterances of different
    lengths."""
    loss.use_fast_loss(model, **how)
    draw = torch.Generator().manual_seed(3)
    encoded = torch.randn(6, 64, 30, generator=draw).requires_grad_()
    frames = torch.tensor([30, 12, 25, 7, 18, 29])
    lengths = torch.tensor([9, 4, 11, 2, 6, 10])
    tokens = torch.randint(0, 40, (6, 11), generator=draw)
    torch.manual_seed(0)
    predicted, *_ = model.decoder(targets=tokens, target_length=lengths)
    if model.joint.fuse_loss_wer:
        value, *_ = model.joint(
            encoder_outputs=encoded,
            decoder_outputs=predicted,
            encoder_lengths=frames,
            transcripts=tokens,
            transcript_lengths=lengths,
        )
    else:
        value = model.loss(
            log_probs=model.joint(encoder_outputs=encoded, decoder_outputs=predicted),
            targets=tokens,
            input_lengths=frames,
            target_lengths=lengths,
        )
    (3 * value).backward()
    named = {
        f"{part}.{name}": weight.grad
        for part in ("decoder", "joint")
        for name, weight in getattr(model, part).named_parameters()
    }
    return value.detach(), named | {"encoded": encoded.grad}


@pytest.mark.slow
@pytest.mark.parametrize(
    "how",
    [
        {"joint_mb": 1000},
        {"joint_mb": 0.3},
        {"joint_mb": 0.0001},
        {"at_a_time": 4},
        {"at_a_time": 1},
    ],
)
def test_loss_and_gradients_are_those_of_the_whole_batch(transducer, how):
    whole, expected = losses(transducer())
    value, found = losses(transducer(), **how)
    assert torch.allclose(value, whole, rtol=1e-6)
    assert found.keys() == expected.keys()
    for name, gradient in expected.items():
        assert gradient.abs().max() > 0, name
        assert torch.allclose(found[name], gradient, rtol=1e-4, atol=1e-6), name


@pytest.mark.slow
def test_a_batch_that_fits_is_computed_as_it_always_was(transducer):
    whole, expected = losses(transducer())
    value, found = losses(transducer(), joint_mb=1000)
    assert torch.equal(value, whole)
    # The kernel pads no further than the utterances reach, so bits may differ in the last place.
    assert all(torch.allclose(found[name], one, atol=1e-7) for name, one in expected.items())


@pytest.mark.slow
def test_what_does_not_learn_gets_no_gradient_and_a_validation_computes_none(transducer):
    model = transducer()
    for weight in model.joint.parameters():
        weight.requires_grad_(False)
    _, found = losses(model, joint_mb=0.3)
    assert found["joint.enc.weight"] is None
    assert found["encoded"].abs().max() > 0
    with torch.no_grad():
        loss.use_fast_loss(model, joint_mb=0.3)
        value, *_ = model.joint(
            encoder_outputs=torch.randn(3, 64, 20),
            decoder_outputs=torch.randn(3, 32, 5),
            encoder_lengths=torch.tensor([20, 9, 15]),
            transcripts=torch.ones(3, 4, dtype=torch.int64),
            transcript_lengths=torch.tensor([4, 2, 3]),
        )
    assert not value.requires_grad
    assert torch.isfinite(value)


@pytest.mark.slow
def test_the_gradient_of_one_part_is_in_memory_at_a_time(transducer):
    model = transducer()
    sizes = []
    kernel = loss.CompiledRNNTLoss.forward

    def watched(self, acts, *rest):
        sizes.append(acts.numel() * loss.BYTES_PER_LOGIT)
        return kernel(self, acts, *rest)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(loss.CompiledRNNTLoss, "forward", watched)
        losses(model, joint_mb=0.3)
    assert len(sizes) > 1
    assert max(sizes) <= 0.3e6
