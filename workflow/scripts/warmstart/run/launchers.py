"""What launchers of several processes (srun, torchrun, mpirun, Lightning) tell a process by its
environment, and what a shell started by one of them still says when it starts something else.

Standard library only. Libraries read these variables when they are imported: Lightning and NeMo
take a process with RANK=1 for one that writes nothing.
"""

import os
from collections.abc import MutableMapping

# A process's place among others.
_PLACE = ("RANK", "LOCAL_RANK", "GLOBAL_RANK", "NODE_RANK", "GROUP_RANK", "ROLE_RANK")
_SIZE = ("WORLD_SIZE", "LOCAL_WORLD_SIZE", "GROUP_WORLD_SIZE", "ROLE_WORLD_SIZE")
_MEETING = ("MASTER_ADDR", "MASTER_PORT")
_SLURM_TASKS = (
    *("SLURM_PROCID", "SLURM_LOCALID", "SLURM_NODEID", "SLURM_NTASKS", "SLURM_NPROCS"),
    *("SLURM_NTASKS_PER_NODE", "SLURM_TASKS_PER_NODE", "SLURM_NNODES", "SLURM_JOB_NUM_NODES"),
    *("SLURM_STEP_NUM_TASKS", "SLURM_STEP_TASKS_PER_NODE", "SLURM_STEP_NUM_NODES"),
)
_PREFIXES = ("OMPI_COMM_WORLD_", "PMI_", "PMIX_", "JSM_NAMESPACE_", "TORCHELASTIC_", "MV2_COMM_")


def forget(processes: int = 1, environment: MutableMapping[str, str] = os.environ) -> list[str]:
    """Take out what is not about this run, before anything reads it.

    Args:
        processes: of the run. Of several, one that `srun` or Lightning started as so many keeps
            what it was told.
        environment: of this process.

    Returns:
        The names that were taken out.
    """
    left = {
        name
        for name in environment
        if name in (*_PLACE, *_SIZE, *_MEETING, *_SLURM_TASKS) or name.startswith(_PREFIXES)
    }
    if processes > 1:
        # How many `srun` started stays, so that a number that does not fit is refused.
        left -= {"SLURM_STEP_NUM_TASKS"}
        if environment.get("SLURM_STEP_NUM_TASKS") == str(processes):
            left -= {*_SLURM_TASKS, *_MEETING}
        if environment.get("WORLD_SIZE") == str(processes):
            left -= {*_PLACE, *_SIZE, *_MEETING}
    for name in left:
        del environment[name]
    return sorted(left)
