"""Texts that are longer than their frames: CTC cannot align them, so nothing is learnt of them.

They are counted before training begins, from manifest and tokenizer alone: each cut once, however
often it would be heard. The batches hold them as they always did, and the family's loss leaves them
out (`models.ctc`).
"""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from lhotse.utils import compute_num_samples, perturb_num_samples

from warmstart.data import cut_lines, mixing
from warmstart.data.targets import PLAIN, Targets
from warmstart.models import ctc
from warmstart.models.base import Recogniser
from warmstart.models.batches import Batch
from warmstart.run.errors import UserError

logger = logging.getLogger(__name__)

_NAMED = 3
_TOO_LONG = "text_longer_than_frames"


@dataclass(frozen=True)
class Learnable:
    """Of how many cuts a loss can learn.

    Attributes:
        cuts: of the budget, all.
        left_out: of these: nothing is learnt of them at any speed.
        sometimes: of these: something is learnt at some of the speeds of `speed_perturb` only.
        replayed_left_out: cuts of a replayed language, which `cuts` does not count, of which
            nothing is learnt.
    """

    cuts: int
    left_out: int = 0
    sometimes: int = 0
    replayed_left_out: int = 0

    def record(self) -> dict[str, Any]:
        """For the record of a run: `learnable_cuts` and the sum of `left_out_cuts` are all cuts."""
        return {
            "learnable_cuts": self.cuts - self.left_out,
            "left_out_cuts": {_TOO_LONG: self.left_out} if self.left_out else {},
            "left_out_at_some_speeds": self.sometimes,
            "left_out_replay_cuts": self.replayed_left_out,
        }


def count(
    recogniser: Recogniser,
    cuts_path: Path,
    cuts: int,
    speeds: Sequence[float],
    targets: Targets = PLAIN,
) -> Learnable:
    """Count the cuts whose texts fit their frames.

    Args:
        recogniser: says how many frames an utterance has, and what its tokens are.
        cuts_path: training cuts.
        cuts: how many of them are of the budget.
        speeds: at which cuts are heard; none = as recorded.
        targets: what is learnt to be written of a text.

    Raises:
        UserError: nothing can be learnt of any cut of the budget.
    """
    if not _aligns(recogniser):
        return Learnable(cuts)
    lost: list[str] = []
    sometimes = replayed = 0
    for cut in cut_lines.read(cuts_path):
        heard = _fits(recogniser, cut, speeds, targets)
        if all(heard):
            continue
        if mixing.is_replayed(cut):
            replayed += not any(heard)
        elif any(heard):
            sometimes += 1
        else:
            lost.append(cut["id"])
    if len(lost) == cuts:
        raise UserError(
            f"{cuts_path}: the texts of all {cuts} cuts have more tokens than the recordings have "
            f"frames of {recogniser.frame_s * 1000:g} ms, and CTC needs a frame a token: nothing "
            "can be learnt. Look whether texts and recordings belong together; raise "
            "tokenizer.vocab_size, which makes fewer tokens of a text; or take a transducer "
            "(family fastconformer_rnnt)"
        )
    found = Learnable(cuts, len(lost), sometimes, replayed)
    if lost or sometimes or replayed:
        logger.warning(
            "%d of %d cuts have texts longer than their frames (%d more at some speeds, %d more of "
            "a replayed language); CTC cannot align them and learns nothing of them%s",
            *(len(lost), cuts, sometimes, replayed),
            f"; first: {', '.join(lost[:_NAMED])}" if lost else "",
        )
    return found


def aligned(recogniser: Recogniser, batch: Any) -> int | None:
    """How many utterances of a batch the loss can align; None where it can align any text."""
    if not _aligns(recogniser):
        return None
    batch = Batch(*batch[:4])  # a head a language has a fifth entry
    frames = recogniser.ctc_frames(batch.audio_len)
    assert frames is not None
    return int(ctc.alignable(frames, batch.tokens, batch.token_len).sum())


def teaches(recogniser: Recogniser, batch: Any) -> bool:
    """Whether anything can be learnt of a batch."""
    return aligned(recogniser, batch) != 0


def _aligns(recogniser: Recogniser) -> bool:
    return recogniser.ctc_frames(torch.tensor([recogniser.sample_rate])) is not None


def _fits(
    recogniser: Recogniser, cut: dict[str, Any], speeds: Sequence[float], targets: Targets
) -> list[bool]:
    """Whether a cut's text fits its frames at each speed."""
    samples = compute_num_samples(cut_lines.duration_s(cut), recogniser.sample_rate)
    heard = [perturb_num_samples(samples, speed) for speed in speeds] or [samples]
    lang = mixing.language(cut)
    target = targets.of(cut_lines.supervision(cut).get("text") or "", lang)
    tokens = torch.tensor([recogniser.tokens_of(target, lang)]).long()
    frames = recogniser.ctc_frames(torch.tensor(heard))
    assert frames is not None
    return (frames >= ctc.needed(tokens, torch.tensor([tokens.shape[1]]))).tolist()
