"""A memory for the parameters of functions in rules, so that each function is looked at once.

Snakemake (9.27) asks Python for the signature of a function each time that it calls it, some twenty
times a job: 7 % of a dry run of 2,000 jobs under a profiler. Functions do not change while it runs.
"""

import contextlib
from collections.abc import Callable, Mapping
from types import ModuleType
from typing import Any

# Where Snakemake looks for the parameters of functions whose signature says nothing of them.
_KEPT = "_overwrite_params"
_NAME = "get_function_params"


def remember_parameters(*modules: ModuleType) -> None:
    """Let modules of Snakemake that have `get_function_params` look at each function once."""
    for module in modules:
        found = getattr(module, _NAME)
        if not hasattr(found, "remembers"):
            setattr(module, _NAME, _remembering(found))


def _remembering(look: Callable[[Any], Mapping[str, Any]]) -> Callable[[Any], Mapping[str, Any]]:
    def remembered(function: Any) -> Mapping[str, Any]:
        # All methods of a kind have the parameters of one function.
        kept = getattr(function, _KEPT, None)
        if kept is None:
            kept = look(function)
            with contextlib.suppress(AttributeError, TypeError):
                setattr(getattr(function, "__func__", function), _KEPT, kept)
        return kept

    remembered.remembers = True
    return remembered
