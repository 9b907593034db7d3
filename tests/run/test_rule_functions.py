"""Parameters of functions in rules: those that Snakemake finds, looked at once."""

import inspect
from types import SimpleNamespace

import pytest
import snakemake.common
import snakemake.rules

from warmstart.run.rule_functions import remember_parameters


class Kind:
    def evaluate(self, wildcards, attempt):
        return wildcards, attempt


def watched():
    """A module with Snakemake's function, and what was looked at."""
    seen = []

    def look(function):
        seen.append(function)
        return snakemake.common.inspect.signature(function).parameters

    module = SimpleNamespace(get_function_params=look)
    remember_parameters(module)
    remember_parameters(module)
    return module.get_function_params, seen


def test_a_function_is_looked_at_once_and_found_as_it_is():
    parameters, seen = watched()

    def of_rule(wildcards, input, attempt=1, **others):
        return wildcards

    for _ in range(3):
        assert parameters(of_rule) == inspect.signature(of_rule).parameters
    assert seen == [of_rule]
    # Another function of the same source, as a loop over languages makes them.
    first, second = (lambda wildcards, place=place: place for place in range(2))
    assert parameters(first)["place"].default == 0
    assert parameters(second)["place"].default == 1


def test_methods_are_looked_at_once_for_all_of_a_kind():
    parameters, seen = watched()
    assert list(parameters(Kind().evaluate)) == ["wildcards", "attempt"]
    assert list(parameters(Kind().evaluate)) == ["wildcards", "attempt"]
    assert len(seen) == 1


def test_what_can_keep_nothing_is_looked_at_each_time():
    parameters, seen = watched()
    assert list(parameters(len)) == list(parameters(len)) == ["obj"]
    assert seen == [len, len]


@pytest.mark.parametrize("module", [snakemake.common, snakemake.rules])
def test_snakemake_has_what_is_replaced(module):
    assert list(inspect.signature(module.get_function_params).parameters) == ["func"] or hasattr(
        module.get_function_params, "remembers"
    )
    assert snakemake.common.FUNC_OVERWRITE_PARAMS_ATTR == "_overwrite_params"
