"""The transducer loss, by torchaudio's kernels."""

from typing import Any

import torch

_FUSED = 4  # utterances, as in NeMo's recipes


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


def use_fast_loss(model: Any, fused: bool | None = None) -> None:
    """Choose the way to the transducer loss that suits the device.

    Args:
        model: a transducer.
        fused: joint and loss a few utterances at a time, because the whole (B, T, U, V) tensor of a
            large batch does not fit; None = on a GPU.
    """
    # The joint must not apply log_softmax a second time: torchaudio's loss contains it.
    model.joint.log_softmax = False
    model.loss._loss = CompiledRNNTLoss(blank=model.joint.num_classes_with_blank - 1)
    if torch.cuda.is_available() if fused is None else fused:
        model.joint.set_fused_batch_size(_FUSED)
        model.joint.set_fuse_loss_wer(True, loss=model.loss, metric=model.wer)
