"""Cuts of which a loss learns nothing: CTC cannot align a text that is longer than its frames, and
a decoder of fixed length cannot write one that is longer than its positions.

They are counted before training begins, from manifest and tokenizer alone: each cut once, however
often it would be heard. The batches hold them as they always did, and the family's loss leaves them
out (`base.Recogniser.unlearnable`).
"""

import logging
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from lhotse.utils import compute_num_samples, perturb_num_samples

from warmstart.data import cut_lines, mixing
from warmstart.data.targets import PLAIN, Targets
from warmstart.models.base import Recogniser
from warmstart.models.batches import Batch
from warmstart.run.errors import UserError

logger = logging.getLogger(__name__)

_NAMED = 3


@dataclass(frozen=True)
class Learnable:
    """Of how many cuts a loss can learn.

    Attributes:
        cuts: of the budget, all.
        left_out: of these, by reason: nothing is learnt of them at any speed.
        sometimes: of these: something is learnt at some of the speeds of `speed_perturb` only.
        replayed_left_out: cuts of a replayed language, which `cuts` does not count, of which
            nothing is learnt.
    """

    cuts: int
    left_out: Mapping[str, int] = field(default_factory=dict)
    sometimes: int = 0
    replayed_left_out: int = 0

    def record(self) -> dict[str, Any]:
        """For the record of a run: `learnable_cuts` and the sum of `left_out_cuts` are all cuts."""
        return {
            "learnable_cuts": self.cuts - sum(self.left_out.values()),
            "left_out_cuts": dict(self.left_out),
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
    """Count the cuts of which something can be learnt.

    Args:
        recogniser: says of which utterances its loss learns nothing, and what their tokens are.
        cuts_path: training cuts.
        cuts: how many of them are of the budget.
        speeds: at which cuts are heard; none = as recorded.
        targets: what is learnt to be written of a text.

    Raises:
        UserError: nothing can be learnt of any cut of the budget.
    """
    if _learns_of_any(recogniser):
        return Learnable(cuts)
    lost: Counter[str] = Counter()
    first: list[str] = []
    sometimes = replayed = 0
    for cut in cut_lines.read(cuts_path):
        why = _why_not(recogniser, cut, speeds, targets)
        if not any(why):
            continue
        if mixing.is_replayed(cut):
            replayed += all(why)
        elif all(why):
            lost[str(why[0])] += 1
            first.append(cut["id"])
        else:
            sometimes += 1
    because = recogniser.unlearnable_because()
    if lost.total() == cuts:
        said = [f"{count} {because[reason][0]}" for reason, count in lost.items()]
        remedies = dict.fromkeys(because[reason][1] for reason in lost)
        raise UserError(
            f"{cuts_path}: nothing can be learnt of any of its {cuts} cuts: {'; '.join(said)}: "
            f"{'; '.join(remedies)}"
        )
    found = Learnable(cuts, dict(lost), sometimes, replayed)
    if lost or sometimes or replayed:
        reasons = [f"{reason}: {count}" for reason, count in lost.items()]
        logger.warning(
            "nothing is learnt of %d of %d cuts (%s; %d more at some speeds, %d more of a replayed "
            "language)%s",
            *(lost.total(), cuts, ", ".join(reasons) or "none", sometimes, replayed),
            f"; first: {', '.join(first[:_NAMED])}" if first else "",
        )
    return found


def aligned(recogniser: Recogniser, batch: Any) -> int | None:
    """Of how many utterances of a batch something can be learnt; None where it is all of any
    batch."""
    if _learns_of_any(recogniser):
        return None
    batch = Batch(*batch[:4])  # a language of each utterance is a fifth entry
    found = recogniser.unlearnable(batch.audio_len, batch.tokens, batch.token_len)
    assert found is not None
    return int((~torch.stack(list(found.values())).any(0)).sum())


def teaches(recogniser: Recogniser, batch: Any) -> bool:
    """Whether anything can be learnt of a batch."""
    return aligned(recogniser, batch) != 0


def _learns_of_any(recogniser: Recogniser) -> bool:
    one = torch.tensor([1])
    second = torch.tensor([recogniser.sample_rate])
    return recogniser.unlearnable(second, one[None], one) is None


def _why_not(
    recogniser: Recogniser, cut: dict[str, Any], speeds: Sequence[float], targets: Targets
) -> list[str | None]:
    """Why nothing is learnt of a cut, at each speed; None where something is."""
    samples = compute_num_samples(cut_lines.duration_s(cut), recogniser.sample_rate)
    heard = [perturb_num_samples(samples, speed) for speed in speeds] or [samples]
    lang = mixing.language(cut)
    target = targets.of(cut_lines.supervision(cut).get("text") or "", lang)
    tokens = torch.tensor([recogniser.tokens_of(target, lang)]).long().expand(len(heard), -1)
    counts = torch.full((len(heard),), tokens.shape[1])
    found = recogniser.unlearnable(torch.tensor(heard), tokens, counts)
    assert found is not None
    return [
        next((reason for reason, rows in found.items() if rows[place]), None)
        for place in range(len(heard))
    ]
