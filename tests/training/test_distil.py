"""A student and its teachers: the loss by hand, who teaches whom, and what is in memory once."""

import math
from types import SimpleNamespace

import lightning.pytorch as pl
import pytest
import torch
from made.linear_layers import expert

from warmstart.models.base import IGNORED
from warmstart.run.errors import UserError
from warmstart.training import distil

LAYERS = ("first", "last")


def test_the_loss_is_that_of_the_formula():
    """Two tokens of three count. T = 2: scores are halved; 0.5 CE + 0.5 * 4 * KL."""
    third = math.log(3)
    student = torch.tensor([[[2 * third, 0.0], [0.0, 0.0], [9.0, -9.0]]])
    teacher = torch.tensor([[[0.0, 0.0], [2 * third, 0.0], [0.0, 0.0]]])
    targets = torch.tensor([[0, 1, IGNORED]])
    # The student's probabilities are 9/10 and 1/2 of the right token.
    entropy = (-math.log(0.9) - math.log(0.5)) / 2
    # Softened: 3/4, 1/4 against 1/2, 1/2, and the other way round.
    one = 0.5 * math.log(0.5 / 0.75) + 0.5 * math.log(0.5 / 0.25)
    other = 0.75 * math.log(0.75 / 0.5) + 0.25 * math.log(0.25 / 0.5)
    found = distil.loss(student, teacher, targets, alpha=0.5, temperature=2.0)
    assert float(found) == pytest.approx(0.5 * entropy + 0.5 * 4 * (one + other) / 2, rel=1e-5)
    alone = distil.loss(student, student, targets, alpha=0.25, temperature=1.0)
    assert float(alone) == pytest.approx(0.75 * entropy, rel=1e-5), "a teacher that says the same"


def test_a_batch_of_which_nothing_counts_teaches_nothing():
    scores = torch.zeros(1, 2, 3, requires_grad=True)
    found = distil.loss(scores, torch.ones(1, 2, 3), torch.full((1, 2), IGNORED), 0.5, 2.0)
    found.backward()
    assert float(found) == 0
    assert not scores.grad.any()


class Network(pl.LightningModule):
    def __init__(self):
        super().__init__()
        self.first, self.last = torch.nn.Linear(8, 16), torch.nn.Linear(8, 16)

    def training_step(self, batch, index):
        raise AssertionError("the student's own step is replaced")


def recogniser():
    """Scores of a token are what two layers make of the audio."""
    torch.manual_seed(4)
    network = Network()

    def token_logits(batch):
        heard, targets, _ = batch
        return network.first(heard) + network.last(heard), targets

    return SimpleNamespace(
        lightning=network,
        pretrained=lambda: network,
        token_logits=token_logits,
        languages_of=lambda batch: batch[2],
    )


@pytest.fixture
def folders(tmp_path):
    return {
        lang: expert(tmp_path / lang, seed, rank=rank, names=LAYERS)
        for seed, (lang, rank) in enumerate((("it", 2), ("fr", 3)), start=1)
    }


def batch():
    torch.manual_seed(6)
    return torch.randn(2, 3, 8), torch.randint(0, 16, (2, 3)), ["fr", "it"]


@pytest.mark.slow
def test_each_utterance_is_taught_by_the_expert_of_its_language(folders):
    from warmstart.adaptation import peft_folder

    merged = {}
    for lang, folder in folders.items():
        one = recogniser()
        peft_folder.put_into(one.pretrained(), peft_folder.read(folder), "x").merge_and_unload()
        merged[lang] = one
    taught = distil.Teacher(recogniser(), folders).scores(batch())
    for place, lang in enumerate(batch()[2]):
        alone = merged[lang].token_logits(batch())[0][place]
        torch.testing.assert_close(taught[place], alone)
    strange = (*batch()[:2], ["fr", "ru"])
    with pytest.raises(UserError, match=r"an utterance is of ru, and there are experts of it, fr"):
        distil.Teacher(recogniser(), folders).scores(strange)


@pytest.mark.slow
def test_what_the_student_keeps_is_in_memory_once_and_a_teacher_never_moves(folders):
    from made.linear_layers import insert

    student, teacher = recogniser(), distil.Teacher(recogniser(), folders)
    insert(student, rank=2, layers="first")
    student.lightning.last.requires_grad_(True)
    before = teacher.scores(batch())
    assert teacher.share(student) == 8 * 16 + 16, "the layer with an update, and not the other"
    assert torch.equal(teacher.scores(batch()), before)
    distil.teach(student, teacher, {"alpha": 0.5, "temperature": 2.0})
    optimizer = torch.optim.SGD(
        [p for p in student.lightning.parameters() if p.requires_grad], 1e-3
    )
    losses = []
    for _ in range(3):
        found = student.lightning.training_step(batch(), 0)["loss"]
        optimizer.zero_grad()
        found.backward()
        optimizer.step()
        losses.append(float(found))
    assert losses[-1] < losses[0]
    assert torch.equal(teacher.scores(batch()), before)


@pytest.mark.parametrize(("alpha", "temperature"), [(0, 2), (1.1, 2), (0.5, 0)])
def test_shares_and_temperatures_that_cannot_be_are_refused(alpha, temperature):
    with pytest.raises(UserError, match=r"distil has alpha .* give alpha above 0"):
        distil.teach(recogniser(), None, {"alpha": alpha, "temperature": temperature})
