"""Greedy CTC search over chunks of encoder frames, batched.

The best label of every frame; repeated ones are one token, blanks none. A stream is not broken by
its chunks: the last label of an utterance is carried over, so that a token across a border counts
once.
"""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from warmstart.models import candidates, confidence
from warmstart.models.fastconformer.found import Found


@dataclass
class State:
    """Where a batch stands: the label of each utterance's last frame, (B,)."""

    last: Tensor

    def narrow(self, batch: int) -> "State":
        """The first `batch` utterances."""
        return State(self.last[:batch])


class CtcSearch:
    """Search with a CTC head of NeMo.

    Args:
        head: `ConvASRDecoder`; its blank is its last label.
    """

    candidates = 0
    confident = False

    def __init__(self, head: Any):
        self._head = head
        self._blank = int(head.num_classes_with_blank) - 1

    def start(self, batch: int) -> State:
        """The state before the first frame: no token to repeat."""
        device = next(self._head.parameters()).device
        return State(torch.full((batch,), self._blank, device=device))

    def first_logits(self, encoded: Tensor) -> Tensor:
        """(B, T, V) log-probabilities of every frame; they depend on no token."""
        return self._head(encoder_output=encoded.transpose(1, 2))

    def extend(self, found: list[Found], encoded: Tensor, lengths: Tensor, state: State) -> None:
        """Search on, append to `found`, move `state` (in place). A token has the time of the first
        frame of its run, and the candidates of that frame."""
        scores = self.first_logits(encoded)
        labels = scores.argmax(-1)
        before = torch.cat([state.last[:, None], labels[:, :-1]], dim=1)
        counts = lengths.to(labels.device)
        inside = torch.arange(labels.shape[1], device=labels.device) < counts[:, None]
        rows, frames = ((labels != before) & (labels != self._blank) & inside).nonzero(
            as_tuple=True
        )
        taken = labels[rows, frames]
        for row, frame, token in zip(rows.tolist(), frames.tolist(), taken.tolist(), strict=True):
            found[row].tokens.append(token)
            found[row].frames.append(found[row].encoder_frames + frame)
        if self.candidates and len(taken):
            best = candidates.best(scores[rows, frames], taken, self._blank, self.candidates)
            for row, *kept in zip(rows.tolist(), *best, strict=True):
                found[row].candidates.append(tuple(kept))
        if self.confident:
            # Repeated frames count each, as in `confidence.of_utterance`.
            rows, frames = ((labels != self._blank) & inside).nonzero(as_tuple=True)
            sure = confidence.of_frames(scores[rows, frames].double())
            for row, one in zip(rows.tolist(), sure.tolist(), strict=True):
                found[row].confidences.append(one)
        for one, count in zip(found, counts.tolist(), strict=True):
            one.encoder_frames += count
        ends = labels.gather(1, (counts - 1).clamp(min=0)[:, None].long())[:, 0]
        state.last = torch.where(counts > 0, ends, state.last)
