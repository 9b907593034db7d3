"""Greedy transducer search over chunks of encoder frames, batched.

NeMo's label looping asks the joint for one frame of every utterance at a time. Here all frames of a
chunk are asked at once, and the first that is not blank is taken: as many rounds as the richest
utterance has tokens, plus one, instead of one a frame. A round computes only utterances that may
still emit. Same tokens, at the same frames.
"""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from warmstart.models import candidates, confidence
from warmstart.models.fastconformer.found import Found
from warmstart.run.errors import UserError

# Of a whole utterance, so many frames are searched at a time: every round asks the joint for all of
# them.
_WINDOW = 16


@dataclass
class State:
    """Where a batch stands: predictor states (each (layers, B, H)) and the predictor's projected
    output (B, 1, J)."""

    predictor: tuple[Tensor, ...]
    projected: Tensor

    def narrow(self, batch: int) -> "State":
        """The first `batch` utterances."""
        if batch == len(self.projected):
            return self
        return State(tuple(part[:, :batch] for part in self.predictor), self.projected[:batch])


class GreedySearch:
    """Search with a NeMo transducer's predictor and joint.

    Args:
        model: `EncDecRNNTModel` with an LSTM predictor, in eval mode.

    Raises:
        UserError: another predictor, or a joint that predicts durations too (TDT).
    """

    candidates = 0
    confident = False

    def __init__(self, model: Any):
        from nemo.collections.asr.modules import RNNTDecoder

        if not isinstance(model.decoder, RNNTDecoder):
            raise UserError(
                f"predictor {type(model.decoder).__name__}: only RNNTDecoder (LSTM) can be searched"
            )
        if getattr(model.joint, "num_extra_outputs", 0):
            raise UserError(
                "the joint predicts durations too (TDT); only plain transducers can be searched"
            )
        self._decoder: Any = model.decoder
        self._joint: Any = model.joint
        self._blank = model.joint.num_classes_with_blank - 1
        greedy = model.cfg.decoding.get("greedy") or {}
        # A frame may emit this many tokens; NeMo's default guards against endless loops.
        self._most = greedy.get("max_symbols") or 10

    def _predict(self, labels: Tensor, before: tuple[Tensor, ...] | None) -> State:
        output, states = self._decoder.predict(
            labels[:, None], before, add_sos=False, batch_size=len(labels)
        )[:2]
        return State(tuple(states), self._joint.project_prednet(output))

    def start(self, batch: int) -> State:
        """The state before the first frame."""
        blanks = torch.full((batch,), self._blank, device=next(self._joint.parameters()).device)
        return self._predict(blanks, None)

    def first_logits(self, encoded: Tensor) -> Tensor:
        """(B, T, V) of the joint at every frame, given that nothing was emitted yet."""
        return self._joint.joint_net(
            self._joint.project_encoder(encoded) + self.start(len(encoded)).projected
        )

    def extend(self, found: list[Found], encoded: Tensor, lengths: Tensor, state: State) -> None:
        """Search on, append to `found`, move `state` (in place).

        Args:
            found: one an utterance.
            encoded: (B, T, D) encoder frames.
            lengths: (B,) how many of them count.
        """
        projected = self._joint.project_encoder(encoded)
        counts = lengths.tolist()
        for start in range(0, encoded.shape[1], _WINDOW):
            self._window(
                found,
                projected[:, start : start + _WINDOW],
                [count - start for count in counts],
                state,
            )
            for one, count in zip(found, counts, strict=True):
                one.encoder_frames += max(0, min(_WINDOW, count - start))

    def _window(
        self, hypotheses: list[Found], frames: Tensor, counts: list[int], state: State
    ) -> None:
        """`extend` for a few frames, (B, T, J)."""
        rows = [row for row, count in enumerate(counts) if count > 0]
        # First frame that may still emit, and how many tokens the frame before it in time has
        # emitted.
        first, emitted = [0] * len(counts), [0] * len(counts)
        while rows:
            whole = len(rows) == len(counts)
            index = torch.tensor(rows, device=frames.device)
            chosen, history = (
                (frames, state.projected) if whole else (frames[index], state.projected[index])
            )
            scores = self._joint.joint_net(chosen + history)
            labels = scores.argmax(-1)
            going, frames_of, tokens = [], [], []
            for place, (row, found) in enumerate(zip(rows, labels.tolist(), strict=True)):
                hypothesis, end = hypotheses[row], min(counts[row], len(found))
                at = next(
                    (frame for frame in range(first[row], end) if found[frame] != self._blank), None
                )
                if at is None:
                    continue
                emitted[row] = emitted[row] + 1 if at == first[row] else 1
                hypothesis.tokens.append(found[at])
                hypothesis.frames.append(hypothesis.encoder_frames + at)
                first[row] = at
                if emitted[row] >= self._most:
                    first[row], emitted[row] = at + 1, 0
                going.append(place)
                frames_of.append(at)
                tokens.append(found[at])
            if not going:
                return
            rows = [rows[place] for place in going]
            taken = torch.tensor(tokens, device=frames.device)
            if self.candidates or self.confident:
                self._keep([hypotheses[row] for row in rows], scores[going, frames_of], taken)
            self._move(state, rows if len(rows) < len(counts) else None, taken)
            # At its end an utterance has its token, but nothing more to ask.
            rows = [row for row in rows if first[row] < min(counts[row], frames.shape[1])]

    def _keep(self, hypotheses: list[Found], scores: Tensor, taken: Tensor) -> None:
        """What is asked beside the tokens that some utterances emit, (N,), of the scores from which
        they were taken, (N, V)."""
        if self.candidates:
            best = candidates.best(scores, taken, self._blank, self.candidates)
            for hypothesis, tokens, probabilities in zip(hypotheses, *best, strict=True):
                hypothesis.candidates.append((tokens, probabilities))
        if self.confident:
            sure = confidence.of_frames(scores.double().log_softmax(-1))
            for hypothesis, one in zip(hypotheses, sure.tolist(), strict=True):
                hypothesis.confidences.append(one)

    def _move(self, state: State, rows: list[int] | None, tokens: Tensor) -> None:
        """Feed `tokens` to the predictor of `rows` (None: all)."""
        if rows is None:
            moved = self._predict(tokens, state.predictor)
            state.predictor, state.projected = moved.predictor, moved.projected
            return
        index = torch.tensor(rows, device=tokens.device)
        moved = self._predict(tokens, tuple(part[:, index] for part in state.predictor))
        state.predictor = tuple(
            part.index_copy(1, index, new)
            for part, new in zip(state.predictor, moved.predictor, strict=True)
        )
        state.projected = state.projected.index_copy(0, index, moved.projected)
