"""Which texts CTC can align, by hand and against torch's own loss."""

import torch

from warmstart.models import ctc


def test_equal_neighbours_need_a_blank_between_them():
    tokens = torch.tensor([[5, 6, 7, 0, 0], [5, 5, 5, 0, 0], [1, 2, 2, 1, 1], [0, 0, 0, 0, 0]])
    counts = torch.tensor([3, 3, 5, 0])
    # 3; 3 and 2 blanks; 5 and 2 blanks; nothing to say needs a frame to say it in. What stands
    # behind the end, here zeros, counts nowhere.
    assert ctc.needed(tokens, counts).tolist() == [3, 5, 7, 1]
    assert ctc.needed(tokens[3:, :0], counts[3:]).tolist() == [1], "a batch of empty texts"


def test_what_can_be_aligned_is_what_has_a_finite_loss():
    torch.manual_seed(1)
    scores = torch.randn(12, 40, 4).log_softmax(-1)
    tokens, counts = torch.randint(0, 3, (40, 6)), torch.randint(1, 7, (40,))
    frames = torch.randint(1, 13, (40,))
    losses = torch.nn.functional.ctc_loss(scores, tokens, frames, counts, blank=3, reduction="none")
    fits = ctc.alignable(frames, tokens, counts)
    assert torch.equal(fits, losses.isfinite())
    assert 5 < int(fits.sum()) < 35


def test_nemos_mean_is_over_those_that_can_be_aligned():
    class Loss:
        """NeMo's, without its types."""

        def __call__(self, log_probs, targets, input_lengths, target_lengths):
            return torch.nn.functional.ctc_loss(
                log_probs.transpose(0, 1),
                targets,
                input_lengths,
                target_lengths,
                blank=3,
                reduction="none",
                zero_infinity=True,
            ).mean()

    torch.manual_seed(1)
    scores = torch.randn(3, 4, 4, requires_grad=True).log_softmax(-1)
    tokens = torch.tensor([[0, 1, 2], [0, 0, 0], [1, 0, 0]])
    frames, counts = torch.tensor([4, 4, 4]), torch.tensor([3, 3, 1])
    inner, mean = Loss(), ctc.MeanOfAlignable(Loss())
    fit = [0, 2]
    whole = mean(scores, tokens, frames, counts)
    assert torch.equal(whole, inner(scores[fit], tokens[fit], frames[fit], counts[fit]))
    assert whole > inner(scores, tokens, frames, counts), "the zero of one made it smaller"
    fitting = scores[fit], tokens[fit], frames[fit], counts[fit]
    assert torch.equal(mean(*fitting), inner(*fitting))
    # Of nothing that can be aligned: no gradient, and the graph is there for other processes.
    nothing = mean(scores[1:2], tokens[1:2], frames[1:2], counts[1:2])
    (gradient,) = torch.autograd.grad(nothing, scores)
    assert float(nothing) == 0
    assert not gradient.any()
