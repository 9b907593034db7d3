"""Classes in which a checkpoint of NeMo keeps settings, for reading it as data."""

import collections
import dataclasses
import enum
import operator
import sys
import typing
from types import ModuleType
from typing import Any

import torch

_TYPING = ("Any", "Dict", "List", "Optional", "Tuple", "Union")


def allow() -> None:
    """Let torch read these classes from a checkpoint: OmegaConf's, and NeMo's that hold nothing
    but settings (dataclasses and enums).

    Only what is loaded already; nothing is imported by a name in a file.
    """
    from omegaconf import DictConfig, ListConfig
    from omegaconf.base import ContainerMetadata, Metadata, Node

    found: list[Any] = [DictConfig, ListConfig, ContainerMetadata, Metadata]
    found += [dict, list, tuple, set, str, int, float, bool, collections.defaultdict]
    # Types that settings are declared with, such as List[int].
    found += [(getattr(typing, name), f"typing.{name}") for name in _TYPING]
    found += [(operator.getitem, "_operator.getitem")]
    for name, module in list(sys.modules.items()):
        if name.partition(".")[0] in ("nemo", "omegaconf"):
            found += _settings_of(module, (Node, enum.Enum))
    torch.serialization.add_safe_globals(found)


def _settings_of(module: ModuleType, bases: tuple[type, ...]) -> list[Any]:
    """Classes that a module defines and that hold nothing but settings."""
    return [
        kind
        for kind in vars(module).values()
        if issubclass(type(kind), type)  # list[int] passes for a class and is none
        and kind.__module__ == module.__name__
        and (dataclasses.is_dataclass(kind) or issubclass(kind, bases))
    ]
