"""Write what docs/ and the captions say of tables and figures from what the code declares.

Reads `warmstart/evidence/analyses` and `score_columns`. Writes the marked parts of docs/outputs.md,
and workflow/report/captions/{table,figure}_*.rst; captions that nothing declares are removed.

    python tools/write_docs.py          (make docs)
    python tools/write_docs.py --check  (changes nothing; status 1 where a file is not current)
"""

import argparse
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "workflow" / "scripts"))

from warmstart.evidence import documentation  # noqa: E402


def wanted(root: Path) -> dict[Path, str]:
    """File -> what should be in it.

    Args:
        root: of the repository.
    """
    page = root / "docs" / "outputs.md"
    folder = root / "workflow" / "report" / "captions"
    made = {folder / name: text for name, text in documentation.captions().items()}
    return {page: documentation.filled(page.read_text(encoding="utf-8")), **made}


def stale(root: Path) -> list[Path]:
    """Files that are not as they should be, and captions that nothing declares."""
    files = wanted(root)
    known = [
        path
        for kind in ("table", "figure")
        for path in (root / "workflow" / "report" / "captions").glob(f"{kind}_*.rst")
    ]
    changed = [
        path
        for path, text in files.items()
        if not path.exists() or path.read_text(encoding="utf-8") != text
    ]
    return changed + [path for path in known if path not in files]


def main(argv: list[str] | None = None) -> None:
    """Write, or check."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--check", action="store_true", help="write nothing")
    parser.add_argument("--root", type=Path, default=ROOT, help="of the repository")
    arguments = parser.parse_args(argv)
    files, changed = wanted(arguments.root), stale(arguments.root)
    for path in changed:
        if arguments.check:
            print(f"{path.relative_to(arguments.root)} is not current; run make docs")
        elif path in files:
            path.write_text(files[path], encoding="utf-8")
        else:
            path.unlink()
    if arguments.check and changed:
        raise SystemExit(1)


if __name__ == "__main__":
    main()
