"""The package is a house: rooms in which arrows run downwards only."""

import ast
from pathlib import Path

import pytest
from conftest import ROOT

from warmstart.run.imports import code_of

SCRIPTS = ROOT / "workflow/scripts"
# A room may import those of a smaller number, and its own.
FLOORS = {
    "run": 0,
    "data": 1,
    "evidence": 2,
    "models": 3,
    "adaptation": 4,
    "study": 5,
    "training": 6,
    "decoding": 6,
    "export": 7,
    "report": 8,
}


def modules() -> dict[str, Path]:
    """Dotted name -> file, of every module of the package that is not only a folder."""
    found = {}
    for path in sorted((SCRIPTS / "warmstart").rglob("*.py")):
        parts = path.relative_to(SCRIPTS).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


def imports(path: Path) -> set[str]:
    """Modules of the package that a file imports anywhere in it."""
    known, found = modules(), set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("warmstart"):
            names = {f"{node.module}.{alias.name}" for alias in node.names}
            found |= {name if name in known else node.module for name in names}
        elif isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names if alias.name.startswith("warmstart")}
    return found


def test_every_module_is_in_a_room():
    rooms = {name.split(".")[1] for name in modules() if "." in name}
    assert rooms == set(FLOORS)


@pytest.mark.slow
def test_arrows_between_rooms_run_downwards_only():
    upwards = [
        (name, other)
        for name, path in modules().items()
        for other in imports(path)
        if "." in name and "." in other
        if (own := name.split(".")[1]) != (room := other.split(".")[1])
        and FLOORS[own] <= FLOORS[room]
    ]
    assert upwards == []


@pytest.mark.slow
def test_no_circle_anywhere():
    edges = {name: imports(path) for name, path in modules().items()}
    done: set[str] = set()

    def visit(name: str, above: tuple[str, ...]) -> None:
        assert name not in above, " -> ".join([*above, name])
        if name not in done:
            for other in edges.get(name, ()):
                visit(other, (*above, name))
            done.add(name)

    for name in edges:
        visit(name, ())


@pytest.mark.parametrize("program", sorted(path.name for path in SCRIPTS.glob("*.py")))
def test_the_code_that_a_rule_depends_on_is_what_its_program_imports(program):
    """`code_of` reads import lines, because a dry run has no time for a parser; here is one."""
    known = modules()
    wanted, waiting = set(), imports(SCRIPTS / program)
    while waiting:
        name = waiting.pop()
        if name != "warmstart" and name not in wanted:
            wanted.add(name)
            waiting |= imports(known[name])
    said = {path for path in code_of(SCRIPTS / program)[1:] if Path(path).name != "__init__.py"}
    assert said == {str(known[name]) for name in wanted if known[name].name != "__init__.py"}
