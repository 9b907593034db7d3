"""The seam between families and everything else: who may know what."""

import ast
import re
from pathlib import Path

import pytest
from made.programs import SCRIPTS

from warmstart import models

PACKAGE = SCRIPTS / "warmstart"
# A family, or several with one encoder, is a folder here.
FAMILIES = sorted(
    path for path in (PACKAGE / "models").iterdir() if path.is_dir() and path.name != "__pycache__"
)
# Of these, what follows from a family's kind of model is asked, never assumed.
OUTSIDE = sorted(
    path
    for path in [*SCRIPTS.glob("*.py"), *PACKAGE.rglob("*.py")]
    if not any(path.is_relative_to(folder) for folder in FAMILIES)
)
# Rooms that see a model at all.
SEEING = ("models", "adaptation", "training", "decoding", "export")
ALLOWED = {
    # The unit in which a configuration gives the contexts of tiers.
    "models/tier.py": ("0.08", "80 ms"),
    # Names of files, declared a family.
    "models/__init__.py": (".nemo",),
    # Makes the snapshot of a Whisper, which hears 16 kHz, for whatever family starts from it.
    "models/ctranslate2.py": ("16000", "model.encoder", "safetensors.numpy.save_file"),
    # The file of an adapter folder, as peft names it, of whatever family.
    "adaptation/peft_folder.py": (
        *("safetensors", "safetensors.torch.save_file", "safetensors.torch.load_file"),
    ),
    # Lines of a README for networks over waveforms of 16 kHz.
    "export/waveform_example.py": ("16000",),
    "export/heads_example.py": ("16000",),
}


def seeing(path: Path) -> bool:
    """Whether a file is a program or in one of these rooms."""
    return path.parent == SCRIPTS or path.relative_to(PACKAGE).parts[0] in SEEING


def imported(path: Path) -> set[str]:
    """Modules that a file imports anywhere in it."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom):
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
        elif isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
    return found


def code_of(path: Path) -> str:
    """The code of a file, without comments and docstrings."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for node in ast.walk(tree):
        body = getattr(node, "body", None)
        if (
            isinstance(body, list)
            and body
            and isinstance(body[0], ast.Expr)
            and isinstance(body[0].value, ast.Constant)
            and isinstance(body[0].value.value, str)
        ):
            body[0].value.value = ""
    return ast.unparse(tree)


@pytest.mark.parametrize("path", OUTSIDE, ids=lambda path: str(path.relative_to(SCRIPTS)))
def test_nothing_outside_a_family_imports_it_or_its_libraries(path):
    here = path.relative_to(PACKAGE).as_posix() if path.parent != SCRIPTS else path.name
    wrong = {
        name
        for name in imported(path) - set(ALLOWED.get(here, ()))
        if re.match(r"(nemo|transformers|omegaconf|hydra|safetensors)\b", name)
        or name.startswith(tuple(f"warmstart.models.{folder.name}." for folder in FAMILIES))
    }
    assert wrong == set()


@pytest.mark.parametrize(
    "path",
    [path for path in OUTSIDE if seeing(path)],
    ids=lambda path: str(path.relative_to(SCRIPTS)),
)
def test_nothing_outside_a_family_assumes_what_only_it_can_know(path):
    name = path.relative_to(PACKAGE).as_posix() if path.parent != SCRIPTS else path.name
    found = {
        what
        for what in re.findall(
            r"\.nemo\b|\b16000\b|\b0\.08\b|\b80 ms\b|\.cfg\b|_train_dl|set_trainer|EncDec\w+"
            r"|\bmodel\.(?:encoder|decoder_|joint|preprocessor|tokenizer)\b",
            code_of(path),
        )
        if what not in ALLOWED.get(name, ())
    }
    assert found == set()


def test_each_declared_family_opens_and_says_what_it_is():
    for name, kind in models.KINDS.items():
        assert models.open_family(name) is not None
        assert kind.about
        assert kind.target.startswith("warmstart.models.")
