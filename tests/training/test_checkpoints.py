"""Checkpoints are data: what is not, or could be somebody else's, is not read."""

import collections
import os

import pytest

torch = pytest.importorskip("torch")

from warmstart.models.fastconformer import settings_classes  # noqa: E402
from warmstart.run.errors import UserError  # noqa: E402
from warmstart.run.files import write_json  # noqa: E402
from warmstart.training import checkpoints  # noqa: E402

IDENTITY = {"seed": 1}


class Planted:
    """Runs a command when it is unpickled."""

    def __init__(self, marker):
        self.marker = marker

    def __reduce__(self):
        return (os.mkdir, (str(self.marker),))


def state(step):
    """As Lightning keeps it, with settings of NeMo's optimizer in it."""
    from omegaconf import OmegaConf

    return {
        "global_step": step,
        "state_dict": collections.OrderedDict(weight=torch.full((2,), float(step))),
        "optimizer_states": [{"param_groups": [{"betas": OmegaConf.create([0.9, 0.98])}]}],
        "hyper_parameters": OmegaConf.create({"encoder": {"dropout": 0.1}}),
        "callbacks": {"Recorder": {"rows": [1]}},
    }


@pytest.fixture
def folder(tmp_path):
    settings_classes.allow()
    made = tmp_path / "checkpoints"
    made.mkdir(mode=0o755)
    write_json(made / "identity.json", IDENTITY)
    for step in (4, 8):
        checkpoints.WholeCheckpoints().save_checkpoint(state(step), checkpoints.path_at(made, step))
    return made


def test_the_newest_is_read_with_its_settings(folder):
    newest = checkpoints.newest(folder, IDENTITY)
    assert newest == checkpoints.path_at(folder, 8)
    found = checkpoints.WholeCheckpoints().load_checkpoint(newest)
    assert found["global_step"] == 8
    assert found["optimizer_states"][0]["param_groups"][0]["betas"] == [0.9, 0.98]
    assert found["hyper_parameters"].encoder.dropout == 0.1
    assert found["callbacks"] == {"Recorder": {"rows": [1]}}


def test_a_planted_command_does_not_run_and_the_one_before_is_taken(folder, tmp_path, caplog):
    marker = tmp_path / "marker"
    torch.save({**state(12), "x": Planted(marker)}, checkpoints.path_at(folder, 12))
    assert checkpoints.newest(folder, IDENTITY) == checkpoints.path_at(folder, 8)
    assert not marker.exists()
    assert "step-00000012.ckpt is damaged (it holds more than a checkpoint does: GLOBAL" in (
        caplog.text
    )
    assert (folder / "step-00000012.damaged").exists()
    model = torch.nn.Module()
    model.weight = torch.nn.Parameter(torch.zeros(2))
    checkpoints.average(model, checkpoints.listed(folder))
    assert model.weight.tolist() == [6.0, 6.0]
    torch.save({"state_dict": Planted(marker)}, checkpoints.path_at(folder, 16))
    with pytest.raises(Exception, match="Weights only load failed"):
        checkpoints.average(model, [checkpoints.path_at(folder, 16)])
    assert not marker.exists()


def test_what_others_may_write_is_refused_wherever_it_is_read(folder):
    path = checkpoints.path_at(folder, 8)
    path.chmod(0o666)
    for read in (
        lambda: checkpoints.newest(folder, IDENTITY),
        lambda: checkpoints.WholeCheckpoints().load_checkpoint(path),
        lambda: checkpoints.average(torch.nn.Module(), [path]),
    ):
        with pytest.raises(UserError, match=r"step-00000008\.ckpt can be written by others"):
            read()
    assert path.exists()


def test_whatever_the_umask_others_write_no_checkpoint(folder):
    before = os.umask(0)
    try:
        path = checkpoints.path_at(folder, 12)
        checkpoints.WholeCheckpoints().save_checkpoint(state(12), path)
    finally:
        os.umask(before)
    assert path.stat().st_mode & 0o022 == 0
