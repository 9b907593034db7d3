"""Faults of a training recipe that the configuration alone shows: they stop the dry run. Standard
library only."""

import math
import os
from pathlib import Path
from typing import Any

from warmstart.models.recipe import Architecture, Recipe
from warmstart.run.errors import UserError

OF_MEMORY = ("precision", "joint_mb", "speed_perturb", "bucket_bins_s")
"""Of the block `training`: what the memory of a step depends on, beside the model."""


def stops_early(training: Recipe) -> bool:
    """Whether validation decides at which step a run ends."""
    return bool(training["early_stop"])


def pace(training: Recipe) -> dict[str, Any]:
    """Of the block `training`: how often a run is looked at and written down, how its audio is
    read, and when a run that gets nowhere stops. It changes no model."""
    names = {"log_every_steps", "num_workers", "max_unreadable_fraction"}
    names |= {"stall_minutes", "blank_validations", "storage"}
    names |= set() if stops_early(training) else {"validate_every_steps"}
    names |= set() if training["average_last"] > 1 else {"checkpoint_every_steps"}
    return {name: value for name, value in training.items() if name in names}


def of_model(training: Recipe) -> dict[str, Any]:
    """Of the block `training`: what a model follows from."""
    return {name: value for name, value in training.items() if name not in pace(training)}


def of_steps(training: Recipe) -> dict[str, Any]:
    """Of the block `training`: what the weights after each step follow from, and which step is the
    last.

    Which of the checkpoints are averaged in the end may still be edited: a run goes on from them.
    """
    averaging = ("average_last", "checkpoint_every_steps")
    return {name: value for name, value in of_model(training).items() if name not in averaging}


def check(config: dict[str, Any]) -> None:
    """Check the blocks `training` and `noise` of a validated configuration.

    Raises:
        UserError: with the key, its value and what is allowed.
    """
    check_recipe(config["training"])
    _check_devices(config)
    noise = config["noise"] or {}
    if noise.get("training"):
        low, high = noise["training"]["snr_db"]
        if low > high:
            raise UserError(f"noise.training.snr_db is [{low}, {high}]; give the lower one first")
        noisy = [name for name, source in config["test_sets"].items() if "noise_snr_db" in source]
        if noisy and _share_files(
            noise["training"].get("directory", noise["directory"]), noise["directory"]
        ):
            raise UserError(
                "noise.training would train on the recordings that lie under test set "
                f"{noisy[0]!r}; give noise.training.directory a folder of its own, neither inside "
                "noise.directory nor around it"
            )


def check_recipe(training: Recipe) -> None:
    """Check a recipe, the study's or an arm's; what its model may be is for the family to say.

    Args:
        training: block `training`, defaults filled in.

    Raises:
        UserError: with the key, its value and what is allowed.
    """
    _check_steps(training)
    _check_rates(training)
    _check_architecture(training["model"])


def _share_files(one: str, other: str) -> bool:
    """Whether two folders that are searched in depth are the same, or one is in the other."""
    paths = Path(os.path.normpath(one)), Path(os.path.normpath(other))
    return paths[0].is_relative_to(paths[1]) or paths[1].is_relative_to(paths[0])


def _check_steps(training: Recipe) -> None:
    steps, bins = training["steps"], training["bucket_bins_s"]
    if ("fixed" in steps) == ("epochs" in steps):
        raise UserError(
            f"training.steps is {steps}; give either `fixed` or `epochs` (with optional `min`, "
            "`max`)"
        )
    if "fixed" in steps and (idle := sorted({"min", "max"} & set(steps))):
        raise UserError(
            f"training.steps is {steps}; {' and '.join(idle)} are bounds of `epochs`, and `fixed` "
            "is one number: remove them"
        )
    least, most = steps.get("min", 1), steps.get("max", math.inf)
    if least > most:
        raise UserError(f"training.steps.min is {least}, above training.steps.max {most}; lower it")
    if not isinstance(bins, int) and bins != sorted(set(bins)):
        raise UserError(
            f"training.bucket_bins_s is {bins}; give rising bounds: {sorted(set(bins))}"
        )


def check_schedule(place: str, optimizer: Any, schedule: Any) -> None:
    """Refuse a schedule whose rates contradict each other.

    Args:
        place: of the recipe in the configuration: `training`, or that of a pretraining.
        optimizer: its block `optimizer`.
        schedule: its block `schedule`.

    Raises:
        UserError: with the key and its value.
    """
    lowest = float(optimizer["lr"]) * optimizer["encoder_lr_scale"]
    if float(schedule["min_lr"]) > lowest:
        raise UserError(
            f"{place}.schedule.min_lr is {schedule['min_lr']:g}, above the encoder's rate lr x "
            f"encoder_lr_scale = {lowest:g}; "
            "lower it"
        )
    if schedule["name"] == "noam" and schedule["warmup_steps"] < 1:
        raise UserError(
            f"{place}.schedule.warmup_steps is 0; noam has its peak at the end of the warm-up: "
            "give at least 1"
        )


def _check_rates(training: Recipe) -> None:
    check_schedule("training", training["optimizer"], training["schedule"])
    if steps := training["steps"].get("fixed"):
        check_averaging(training, steps)
        check_warmup(training, steps)
        _check_early_stop(training, steps)


def _check_early_stop(training: Recipe, steps: int) -> None:
    """A run that may end early is looked at often enough to do so."""
    every, stop = training["validate_every_steps"], training["early_stop"]
    if stop and every * (stop["patience"] + 1) > steps:
        raise UserError(
            f"training.early_stop ends a run after {stop['patience']} validations without "
            f"improvement, and with training.validate_every_steps {every} a run of {steps} steps "
            f"has {steps // every}: lower validate_every_steps or patience"
        )


def _check_architecture(model: Architecture) -> None:
    """What an encoder that is pretrained here is made of."""
    width, heads, kernel = model.get("d_model"), model.get("n_heads"), model["conv_kernel_size"]
    if width and heads and width % heads:
        raise UserError(
            f"training.model.d_model is {width}, which {heads} heads (n_heads) cannot share; give "
            "a number of heads that divides it"
        )
    if kernel % 2 == 0:
        raise UserError(
            f"training.model.conv_kernel_size is {kernel}; a kernel has a middle: give an odd one"
        )


def check_warmup(training: Recipe, steps: int) -> None:
    """Refuse a run that ends before its learning rate has come up.

    Args:
        training: block `training`.
        steps: of the run, known for each budget when it begins; one of 0 has no rate.

    Raises:
        UserError: with both numbers and what to lower.
    """
    warmup = training["schedule"]["warmup_steps"]
    if 0 < steps < warmup:
        raise UserError(
            f"training.schedule.warmup_steps is {warmup}, but a run has {steps} steps and would "
            "never reach its learning rate; "
            "lower warmup_steps, or give training.steps more"
        )


def check_averaging(training: Recipe, steps: int) -> None:
    """Refuse to average more checkpoints than a run leaves.

    Args:
        training: block `training`.
        steps: of the run, known for each budget when it begins.

    Raises:
        UserError: with the numbers and what to lower.
    """
    every, averaged = (
        training["checkpoint_every_steps"],
        training["average_last"],
    )
    if averaged > 1 and steps // every < averaged:
        raise UserError(
            f"training.average_last is {averaged}, but {steps} steps with one checkpoint every "
            f"{every} leave {steps // every}; "
            "lower checkpoint_every_steps"
        )


def _check_devices(config: dict[str, Any]) -> None:
    devices, nodes = config["training"]["devices"], config["training"]["num_nodes"]
    gpus = config["resources"]["train_gpus"]
    # Not derived from each other: a run on more devices hears more in a step and is another
    # experiment, which the block of the machine must not change behind one's back.
    if gpus and gpus != devices * nodes:
        raise UserError(
            f"resources.train_gpus is {gpus}, training.devices {devices} x training.num_nodes "
            f"{nodes} is {devices * nodes}; "
            "give the same number, or train_gpus 0 for CPUs"
        )
    if nodes > 1 and devices == 1:
        raise UserError(
            f"training.num_nodes is {nodes} with one device each; fill nodes first: raise "
            "training.devices"
        )
