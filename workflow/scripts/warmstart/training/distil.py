"""A student that learns from experts beside the texts, each utterance from the expert of its
language.

    loss = (1 - alpha) CE + alpha T^2 KL(teacher_T || student_T)

Both are means over the tokens that the family's own loss counts; the subscript says that scores
were divided by T before the softmax. Source: Hinton et al., arXiv 1503.02531, section 2.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from warmstart.adaptation import peft_folder
from warmstart.adaptation.experts import require_alike, updates_of
from warmstart.models import gated_lora
from warmstart.models.base import IGNORED, Recogniser
from warmstart.run.errors import UserError

_ANY = "cat"  # teachers are not added to each other, so their ranks may differ


class Teacher:
    """The donor with all experts beside its weights, of which each utterance hears one.

    Args:
        recogniser: as the family builds it from the donor; it is not trained.
        folders: language -> updates of an expert.

    Raises:
        UserError: an expert is damaged or of another donor.
    """

    def __init__(self, recogniser: Recogniser, folders: Mapping[str, Path]):
        saved = {lang: peft_folder.read(folder) for lang, folder in folders.items()}
        require_alike(saved, _ANY)
        self._recogniser = recogniser
        self._recogniser.lightning.requires_grad_(False).eval()
        self._gates = recogniser.gates = gated_lora.install(
            recogniser.pretrained(), {lang: updates_of(one) for lang, one in saved.items()}
        )

    def share(self, student: Recogniser) -> int:
        """Take the weights that the student keeps, so that they are in memory once.

        Returns:
            How many weights are shared.
        """
        kept = {
            name.replace(".base_layer.", "."): parameter
            for name, parameter in student.lightning.named_parameters()
            if not parameter.requires_grad
        }
        shared = 0
        for name, module in self._recogniser.lightning.named_modules():
            for own, parameter in list(module.named_parameters(recurse=False)):
                other = kept.get(f"{name}.{own}" if name else own)
                if other is not None and torch.equal(other, parameter):
                    module._parameters[own] = other
                    shared += other.numel()
        return shared

    @torch.no_grad()
    def scores(self, batch: Any) -> torch.Tensor:
        """(B, U, V) scores of each token; nothing is masked or dropped, and no random number is
        drawn."""
        lightning: Any = self._recogniser.lightning
        lightning.to(batch[0].device)
        weights = self._gates.one_hot(self._recogniser.languages_of(batch))
        with self._gates.weighted(weights.to(batch[0].device)):
            return self._recogniser.token_logits(batch)[0]


def loss(
    student: torch.Tensor,
    teacher: torch.Tensor,
    targets: torch.Tensor,
    alpha: float,
    temperature: float,
) -> torch.Tensor:
    """The loss of a batch, see above; 0, of which nothing is learnt, where no token counts.

    Args:
        student, teacher: (B, U, V) scores before the softmax.
        targets: (B, U) ids, `IGNORED` where nothing is learnt.
        alpha: share of the teacher.
        temperature: T.
    """
    kept = targets != IGNORED
    if not kept.any():
        return student.sum() * 0
    own, other = student[kept].float(), teacher[kept].float()
    entropy = torch.nn.functional.cross_entropy(own, targets[kept])
    divergence = torch.nn.functional.kl_div(
        (own / temperature).log_softmax(-1),
        (other / temperature).log_softmax(-1),
        log_target=True,
        reduction="batchmean",
    )
    return (1 - alpha) * entropy + alpha * temperature**2 * divergence


def teach(student: Recogniser, teacher: Teacher, settings: Mapping[str, Any]) -> None:
    """Let training steps of a student follow its teacher too.

    Args:
        settings: `alpha` and `temperature` of `arms.NAME.distil`.

    Raises:
        UserError: a share or a temperature that cannot be.
    """
    alpha, temperature = float(settings["alpha"]), float(settings["temperature"])
    if not (0 < alpha <= 1 and temperature > 0):
        raise UserError(
            f"distil has alpha {alpha:g} and temperature {temperature:g}; give alpha above 0 and "
            "at most 1, and a temperature above 0"
        )

    # By the name of the second argument Lightning knows that it is wanted.
    def training_step(batch: Any, batch_idx: int) -> dict[str, torch.Tensor]:
        scores, targets = student.token_logits(batch)
        return {"loss": loss(scores, teacher.scores(batch), targets, alpha, temperature)}

    # Of this one model alone; its class, which Lightning asks whether it has one, stays as it is.
    student.lightning.training_step = training_step
