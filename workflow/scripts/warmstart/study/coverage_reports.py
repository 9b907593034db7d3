"""What the tokens of a study were found to be unable to write, as far as somebody has looked."""

import json
from pathlib import Path
from typing import Any

from warmstart.study import paths
from warmstart.study.grid import Study


def coverage_reports(
    study: Study, results: Path = Path("results")
) -> list[tuple[str, dict[str, Any]]]:
    """(whose tokens, contents of coverage.json or the like) of each tokenizer that is there, and of
    each init that is decoded as it is.

    Args:
        results: folder of the study's results.

    A file that cannot be read is left out: the job that needs it says so.
    """
    found = []
    for path, whose in paths.writers(study).items():
        arms = whose["arms"]
        of = f"arm{'s' if len(arms) > 1 else ''} {', '.join(arms)} (tokens: {whose['tokens']})"
        if init := whose.get("init"):
            of = f"init {init} as it is"
        else:
            of = f"{whose['training_set']}, {of}"
        try:
            report = json.loads(
                (results / Path(path).relative_to("results")).read_text(encoding="utf-8")
            )
        except (OSError, ValueError):
            continue
        if arms and isinstance(report, dict) and "tests" in report:
            found.append((of, report))
    return found
