"""A training of one process is the same wherever its shell came from."""

import json
import os
import subprocess
import sys

import pytest
from conftest import ROOT
from made.small_speech import SETTINGS

from warmstart.run import files

pytestmark = pytest.mark.slow

# As a shell inside `torchrun`, `mpirun` or `srun -n8` has them.
OTHERS = {
    **{"RANK": "3", "LOCAL_RANK": "1", "WORLD_SIZE": "8", "NODE_RANK": "1"},
    **{"MASTER_ADDR": "192.0.2.1", "MASTER_PORT": "29500", "OMPI_COMM_WORLD_RANK": "3"},
    **{"SLURM_PROCID": "3", "SLURM_LOCALID": "3", "SLURM_NTASKS": "8", "SLURM_NNODES": "2"},
    **{"SLURM_STEP_NUM_TASKS": "8", "SLURM_NODEID": "1", "SLURM_JOB_ID": "17"},
}


def train(speech, init, run_dir, environment):
    """A process of its own, because libraries read these variables when they are imported."""
    done = subprocess.run(
        [
            *(sys.executable, ROOT / "workflow/scripts/train.py", "--train-cuts", speech["train"]),
            *("--tokenizer", speech["tokenizer"], "--init", init, "--run", "it/en/0.012h/seed1"),
            *("--settings", json.dumps(SETTINGS | {"steps": {"fixed": 3}}), "--run-dir", run_dir),
            *("--output", run_dir / "model.nemo", "--log", run_dir / "log.txt"),
        ],
        env=os.environ | {"OMP_NUM_THREADS": "1"} | environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    return files.digest(run_dir / "model.nemo")


def test_variables_of_another_launcher_change_nothing(speech, donors, tmp_path):
    alone = train(speech, donors["en"], tmp_path / "alone", {})
    assert train(speech, donors["en"], tmp_path / "among", OTHERS) == alone
    said = (tmp_path / "among" / "log.txt").read_text()
    assert "variables of another launcher are not used: LOCAL_RANK, MASTER_ADDR" in said
    assert (tmp_path / "among" / ".lock").exists()
    assert not list((tmp_path / "among").glob("log.rank*"))
