"""What another launcher left in the environment is not used, what this run was told is."""

import pytest

from warmstart.run import launchers

OTHERS = {
    **{"RANK": "3", "LOCAL_RANK": "1", "WORLD_SIZE": "8", "NODE_RANK": "1"},
    **{"MASTER_ADDR": "node7", "MASTER_PORT": "29500", "OMPI_COMM_WORLD_RANK": "3"},
    **{"SLURM_PROCID": "3", "SLURM_NTASKS": "8", "SLURM_STEP_NUM_TASKS": "8"},
    "TORCHELASTIC_RUN_ID": "none",
}
KEPT = {"PATH": "/bin", "SLURM_JOB_ID": "17", "CUDA_VISIBLE_DEVICES": "0", "OMP_NUM_THREADS": "2"}


def left(processes, environment):
    environment = KEPT | environment
    launchers.forget(processes, environment)
    assert environment.items() >= KEPT.items()
    return {name for name in environment if name not in KEPT}


def test_a_single_process_knows_of_no_others():
    assert left(1, OTHERS) == set()


STEP = {"SLURM_PROCID": "1", "SLURM_LOCALID": "1", "SLURM_STEP_NUM_TASKS": "2"}
MEETING = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "29500"}
CHILD = {"LOCAL_RANK": "1", "NODE_RANK": "0", "WORLD_SIZE": "2", **MEETING}


@pytest.mark.parametrize(
    ("environment", "kept"),
    [
        (STEP | MEETING, {*STEP, *MEETING}),  # srun started two tasks
        (CHILD, set(CHILD)),  # Lightning started the second
        (OTHERS, {"SLURM_STEP_NUM_TASKS"}),  # refused later, by its number
        ({"LOCAL_RANK": "0", "WORLD_SIZE": "1", **MEETING}, set()),
    ],
)
def test_a_run_of_two_processes_keeps_what_is_about_two(environment, kept):
    assert left(2, environment) == kept
