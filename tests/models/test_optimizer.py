"""Families without an optimizer of their own learn at NeMo's rates, step by step."""

import pytest
import torch

from warmstart.models.optimizer import Rates, configure
from warmstart.run.errors import UserError
from warmstart.study.stages import filled

STEPS, WIDTH = 40, 64


class Model:
    """Two parts, as `configure` sees a recogniser."""

    def __init__(self):
        self.lightning = torch.nn.ModuleDict(
            {"encoder": torch.nn.Linear(2, 2), "head": torch.nn.Linear(2, 2)}
        )

    def parts(self):
        return dict(self.lightning.items())


def settings(schedule, **optimizer):
    asked = {"name": "adamw", "lr": 1e-2, "encoder_lr_scale": 0.25, **optimizer}
    return filled("train", {"optimizer": asked, "schedule": schedule})


@pytest.mark.slow
@pytest.mark.parametrize(
    "schedule",
    [
        {"name": "cosine", "warmup_steps": 7, "min_lr": 1e-4},
        {"name": "cosine", "warmup_steps": 0},
        {"name": "noam", "warmup_steps": 9, "min_lr": 1e-4},
    ],
    ids=["cosine", "no warm-up", "noam"],
)
def test_rates_are_nemos_to_the_last_bit(schedule):
    from nemo.core.optim.lr_scheduler import CosineAnnealing, NoamAnnealing

    made = configure(Model(), settings(schedule), STEPS, WIDTH)
    ours, scheduler = made["optimizer"], made["lr_scheduler"]["scheduler"]
    theirs = torch.optim.AdamW([torch.nn.Parameter(torch.zeros(1))], lr=1e-2)
    kind = {"cosine": CosineAnnealing, "noam": NoamAnnealing}[schedule["name"]]
    more = {"d_model": WIDTH} if schedule["name"] == "noam" else {}
    reference = kind(
        theirs,
        warmup_steps=schedule["warmup_steps"],
        min_lr=schedule.get("min_lr", 0.0),
        max_steps=STEPS,
        **more,
    )
    for step in range(STEPS + 3):
        assert ours.param_groups[0]["lr"] == theirs.param_groups[0]["lr"], step
        for optimizer, one in ((ours, scheduler), (theirs, reference)):
            optimizer.step()
            one.step()


def test_the_encoder_has_its_own_rate_and_every_weight_is_in_one_group():
    model = Model()
    made = configure(model, settings({"name": "cosine", "warmup_steps": 1}), STEPS, WIDTH)
    others, encoder = made["optimizer"].param_groups
    assert encoder["lr"] == pytest.approx(others["lr"] / 4)
    assert {id(p) for p in encoder["params"]} == {
        id(p) for p in model.lightning["encoder"].parameters()
    }
    assert len(others["params"]) + len(encoder["params"]) == 4
    assert others["betas"] == (0.9, 0.98)
    assert "_rates" not in made["lr_scheduler"]["scheduler"].state_dict()


def test_what_is_not_there_is_named():
    with pytest.raises(UserError, match=r"optimizer\.name is 'sgd'; allowed: adamw, adam"):
        configure(Model(), settings({"name": "cosine", "warmup_steps": 0}, name="sgd"), 1, 1)
    with pytest.raises(UserError, match=r"schedule\.name is 'step'; allowed: cosine, noam"):
        Rates("step", 0, 1, 0.0, 1)
