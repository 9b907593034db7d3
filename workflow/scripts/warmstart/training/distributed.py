"""Several processes as one run: who starts them, which of them this is, and numbers summed over all
of them.

Lightning would guess from the environment, and guesses wrongly inside `srun -n1`, which is where
Snakemake's Slurm plugin runs a job: it would take that one task for the whole run, and would
requeue the Slurm job itself when a signal comes.
"""

import os
from typing import Any

import torch
from lightning.fabric.plugins.environments.cluster_environment import ClusterEnvironment
from lightning.fabric.plugins.environments.lightning import LightningEnvironment
from lightning.fabric.plugins.environments.slurm import SLURMEnvironment

from warmstart.run.errors import UserError
from warmstart.run.logs import process_rank


class Ranks:
    """The processes of a run, one per device.

    Args:
        devices: of a node.
        num_nodes: how many nodes.
    """

    def __init__(self, devices: int = 1, num_nodes: int = 1):
        self.devices, self.nodes = devices, num_nodes
        self.world = self.devices * self.nodes
        self.rank = process_rank() if self.world > 1 else 0
        self.first = self.rank == 0

    def environment(self) -> ClusterEnvironment:
        """How Lightning gets its processes: started by `srun` already, or by itself on this
        machine.

        Raises:
            UserError: as many tasks as no run of these settings has, or several nodes and no srun.
        """
        if self.world == 1:
            return LightningEnvironment()
        tasks = int(os.environ.get("SLURM_STEP_NUM_TASKS", 1))
        if "LOCAL_RANK" in os.environ or (tasks == 1 and self.nodes == 1):
            return LightningEnvironment()
        if tasks != self.world:
            raise UserError(
                f"training.devices {self.devices} x training.num_nodes {self.nodes} is "
                f"{self.world} processes, but srun "
                f"started {tasks}; start with `srun --nodes={self.nodes} "
                f"--ntasks-per-node={self.devices}`"
            )
        return SLURMEnvironment(auto_requeue=False)

    def gather(self, value: Any) -> list[Any]:
        """What each process has, in the order of their ranks; all of them must ask."""
        if self.world == 1:
            return [value]
        found: list[Any] = [None] * self.world
        torch.distributed.all_gather_object(found, value)
        return found

    def sum(self, *values: float) -> list[float]:
        """Each value summed over all processes."""
        if self.world == 1:
            return list(values)
        device = torch.cuda.current_device() if torch.cuda.is_available() else "cpu"
        total = torch.tensor(values, dtype=torch.float64, device=device)
        torch.distributed.all_reduce(total)
        return total.tolist()
