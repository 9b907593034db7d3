"""The transducer loss, by torchaudio's kernels: of a whole batch, or of as many utterances at a
time as fit a given memory."""

from typing import Any

import torch

# Utterances at a time on a GPU where no memory is given, as in NeMo's recipes.
_AT_A_TIME = 4
# Of a logit: itself and its gradient, float32, which the kernel takes and gives.
BYTES_PER_LOGIT = 8


class CompiledRNNTLoss(torch.nn.Module):
    """Stands in for the kernel inside NeMo's `RNNTLoss`: torchaudio's, compiled for CPU and CUDA.

    Same values and gradients. NeMo's default is compiled by numba when it is first used: an order
    of magnitude slower on a CPU, and on a GPU it needs numba-cuda and libNVVM, which neither torch
    nor the lock brings.
    """

    reduction = None

    def __init__(self, blank: int):
        super().__init__()
        self._blank = blank

    def forward(
        self,
        acts: torch.Tensor,
        labels: torch.Tensor,
        act_lens: torch.Tensor,
        label_lens: torch.Tensor,
    ) -> torch.Tensor:
        """Loss per utterance, (B,), of `acts` (B, T, U + 1, V + 1), log-probabilities or logits;
        `labels` (B, U)."""
        from torchaudio.functional import rnnt_loss

        lengths = act_lens.int(), label_lens.int()
        return rnnt_loss(
            acts.float(), labels.int(), *lengths, blank=self._blank, clamp=-1, reduction="none"
        )


def use_fast_loss(model: Any, joint_mb: float | None = None, at_a_time: int | None = None) -> None:
    """Choose the way to the transducer loss that suits the device.

    Args:
        model: a transducer.
        joint_mb: `training.joint_mb`; None = the whole batch on a CPU, `at_a_time` utterances on a
            GPU, because the (B, T, U, V) tensor of a large batch does not fit.
        at_a_time: where `joint_mb` is None; None = four on a GPU, all on a CPU.
    """
    # The joint must not apply log_softmax a second time: torchaudio's loss contains it.
    model.joint.log_softmax = False
    kernel = CompiledRNNTLoss(blank=model.joint.num_classes_with_blank - 1)
    model.loss._loss = kernel
    if joint_mb is None and at_a_time is None and torch.cuda.is_available():
        at_a_time = _AT_A_TIME
    if joint_mb is None and at_a_time is None:
        return
    # NeMo's training step then asks the joint for the loss.
    model.joint.set_fused_batch_size(at_a_time or 1)
    model.joint.set_fuse_loss_wer(True, loss=model.loss, metric=model.wer)
    model.joint.forward = JointLoss(model.joint, kernel, joint_mb, at_a_time)


def sub_batches(
    frames: list[int], tokens: list[int], classes: int, joint_mb: float
) -> list[list[int]]:
    """Utterances whose joints are computed together, each in one group.

    Args:
        frames: of the encoder, for each utterance.
        tokens: of its text.
        classes: of the joint, the blank too.
        joint_mb: 10^6 bytes that logits and their gradient may take, `BYTES_PER_LOGIT` each.

    Returns:
        Rows of the batch. One group in the order of the batch where all fit; else the longest
        utterances come first, so that little of a group is padding. An utterance that does not fit
        is a group of its own.
    """

    def fit(rows: list[int]) -> bool:
        longest = max(frames[row] for row in rows) * (max(tokens[row] for row in rows) + 1)
        return len(rows) * longest * classes * BYTES_PER_LOGIT <= joint_mb * 1e6

    everything = list(range(len(frames)))
    if fit(everything):
        return [everything]
    groups: list[list[int]] = []
    for row in sorted(everything, key=lambda row: (-frames[row] * (tokens[row] + 1), row)):
        if groups and fit([*groups[-1], row]):
            groups[-1].append(row)
        else:
            groups.append([row])
    return groups


class JointLoss:
    """Joint and mean loss of a batch, in place of NeMo's `RNNTJoint.forward` with a fused loss.

    NeMo's loop over sub-batches keeps the gradient of each one's logits until the backward pass:
    all of (B, T, U, V). Here the gradient of a sub-batch goes through the joint at once, and what
    is kept is that of encoder, predictor and weights. Values and gradients are those of the whole
    batch but for the order of sums; dropout of the joint is drawn for each sub-batch.

    Args:
        joint: NeMo's.
        kernel: loss per utterance.
        joint_mb, at_a_time: see `use_fast_loss`.
    """

    def __init__(
        self, joint: Any, kernel: CompiledRNNTLoss, joint_mb: float | None, at_a_time: int | None
    ):
        self._joint, self._kernel = joint, kernel
        self._joint_mb, self._at_a_time = joint_mb, at_a_time

    def __call__(
        self,
        encoder_outputs: torch.Tensor,
        decoder_outputs: torch.Tensor,
        encoder_lengths: torch.Tensor,
        transcripts: torch.Tensor,
        transcript_lengths: torch.Tensor,
        compute_wer: bool = False,
        keep_hypotheses: bool = False,
    ) -> tuple[torch.Tensor, None, None, None]:
        """Mean loss, and no error rates: the validation counts those.

        Args:
            encoder_outputs: (B, D, T).
            decoder_outputs: (B, D, U + 1).
            encoder_lengths: (B,) frames.
            transcripts: (B, U) ids.
            transcript_lengths: (B,) tokens.
            compute_wer, keep_hypotheses: NeMo passes them.
        """
        encoded, predicted = encoder_outputs.transpose(1, 2), decoder_outputs.transpose(1, 2)
        texts = transcripts, encoder_lengths, transcript_lengths
        groups = self._groups(encoder_lengths.tolist(), transcript_lengths.tolist())
        parts = [_Part(rows, len(encoder_lengths), *texts) for rows in groups]
        if len(parts) == 1 or not torch.is_grad_enabled():
            value: Any = sum(self.summed(part, *part.of(encoded, predicted)) for part in parts)
            return value / len(encoder_lengths), None, None, None
        weights = [weight for weight in self._joint.parameters() if weight.requires_grad]
        value = _ByParts.apply(self, parts, encoded, predicted, *weights)
        return value / len(encoder_lengths), None, None, None

    def summed(self, part: "_Part", encoded: torch.Tensor, predicted: torch.Tensor) -> torch.Tensor:
        """Loss of a part, summed over its utterances."""
        logits = self._joint.joint(encoded, predicted)
        return self._kernel(logits, part.tokens, part.frame_lengths, part.token_lengths).sum()

    def _groups(self, frames: list[int], tokens: list[int]) -> list[list[int]]:
        if self._joint_mb is not None:
            return sub_batches(frames, tokens, self._joint.num_classes_with_blank, self._joint_mb)
        rows, count = list(range(len(frames))), self._at_a_time or len(frames)
        return [rows[first : first + count] for first in range(0, len(rows), count)]


class _Part:
    """Some utterances of a batch, padded no further than they need.

    Args:
        rows: which.
        batch: utterances of the batch.
        tokens: (B, U) ids.
        frame_lengths, token_lengths: (B,).
    """

    def __init__(
        self,
        rows: list[int],
        batch: int,
        tokens: torch.Tensor,
        frame_lengths: torch.Tensor,
        token_lengths: torch.Tensor,
    ):
        consecutive = rows == list(range(rows[0], rows[-1] + 1))
        # A view where one can be had.
        self.rows: Any = slice(rows[0], rows[-1] + 1) if consecutive else rows
        self.whole = len(rows) == batch
        self.frame_lengths, self.token_lengths = frame_lengths[self.rows], token_lengths[self.rows]
        self.frames, self.positions = int(self.frame_lengths.max()), int(self.token_lengths.max())
        self.tokens = tokens[self.rows, : self.positions].contiguous()

    def of(
        self, encoded: torch.Tensor, predicted: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Its rows of (B, T, D) and of (B, U + 1, D)."""
        return encoded[self.rows, : self.frames], predicted[self.rows, : self.positions + 1]


class _ByParts(torch.autograd.Function):
    """The sum of the losses of all parts. Its gradients are taken in the forward pass, a part at a
    time, and kept in float32 until they are asked for."""

    @staticmethod
    def forward(
        ctx: Any,
        loss: JointLoss,
        parts: list[_Part],
        encoded: torch.Tensor,
        predicted: torch.Tensor,
        *weights: torch.Tensor,
    ) -> torch.Tensor:
        _, _, hears, predicts, *_ = ctx.needs_input_grad
        kept = [
            torch.zeros_like(tensor, dtype=torch.float32)
            for tensor in (encoded, predicted, *weights)
        ]
        total = torch.zeros((), dtype=torch.float32, device=encoded.device)
        for part in parts:
            with torch.enable_grad():
                pair = [tensor.detach().requires_grad_() for tensor in part.of(encoded, predicted)]
                value = loss.summed(part, *pair)
                found = torch.autograd.grad(value, (*pair, *weights))
            total += value.detach()
            kept[0][part.rows, : part.frames] += found[0]
            kept[1][part.rows, : part.positions + 1] += found[1]
            for sum_of, one in zip(kept[2:], found[2:], strict=True):
                sum_of += one
            del pair, value, found
        ctx.kept = [
            gradient.to(tensor.dtype) if needed else None
            for gradient, tensor, needed in zip(
                kept,
                (encoded, predicted, *weights),
                (hears, predicts, *(True for _ in weights)),
                strict=True,
            )
        ]
        return total

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, *gradients: torch.Tensor) -> Any:
        (of_total,) = gradients
        kept = [one if one is None else one * of_total.to(one.dtype) for one in ctx.kept]
        return (None, None, *kept)
