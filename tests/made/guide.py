"""Code out of the guides in docs/extend/: what a page shows is what a test runs."""

import re
from pathlib import Path

GUIDES = Path(__file__).parents[2] / "docs" / "extend"
_FILE = re.compile(r"^## [^\n]*`(\w+\.py)`\n.*?^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def write_modules(guide: str, folder: Path) -> list[str]:
    """Write the files of a guide: a section whose head names `file.py` shows it whole.

    Returns:
        Their names.
    """
    text = (GUIDES / guide).read_text(encoding="utf-8")
    found = _FILE.findall(text)
    folder.mkdir(parents=True, exist_ok=True)
    for name, code in found:
        (folder / name).write_text(code, encoding="utf-8")
    return [name for name, _ in found]
