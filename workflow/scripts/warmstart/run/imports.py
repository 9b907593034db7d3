"""Which files of the package a program runs, found from its import lines. Standard library only,
read while the DAG is built."""

import functools
import re
from pathlib import Path

_IMPORT = re.compile(r"^\s*from (warmstart[\w.]*) import (\([^)]*\)|[^#\n]*)", re.MULTILINE)
_NAME = re.compile(r"\w+(?= as \w+)|\w+")


def code_of(program: str | Path, *loaded: str) -> list[str]:
    """The program, then every module of `warmstart` that it imports, directly or not, at the top or
    inside a function.

    Args:
        program: a file beside the folder `warmstart/`.
        loaded: dotted names of modules that it loads by name, so that no import line says it.

    Returns:
        Paths as they follow from that of `program`, the modules in the order of their names.
    """
    program = Path(program)
    found: set[str] = set()
    waiting = set(_imported(program, program.parent))
    waiting |= {f"{name.replace('.', '/')}.py" for name in loaded}
    while waiting:
        found.add(module := waiting.pop())
        waiting |= set(_imported(program.parent / module, program.parent)) - found
    return [str(program), *(str(program.parent / module) for module in sorted(found))]


@functools.cache
def _imported(path: Path, root: Path) -> tuple[str, ...]:
    """Modules that a file names, relative to `root`; folders of packages give their `__init__.py`
    where one says something."""
    modules: list[str] = []
    for package, names in _IMPORT.findall(path.read_text(encoding="utf-8")):
        folder = package.replace(".", "/")
        if (root / f"{folder}.py").is_file():
            modules.append(f"{folder}.py")
            continue
        inside = [f"{folder}/{name}" for name in _NAME.findall(re.sub(r"\bas \w+", "", names))]
        modules += [f"{name}.py" for name in inside if (root / f"{name}.py").is_file()]
        modules += [f"{name}/__init__.py" for name in inside if (root / name).is_dir()]
        modules.append(f"{folder}/__init__.py")
    return tuple(dict.fromkeys(module for module in modules if module != "warmstart/__init__.py"))
