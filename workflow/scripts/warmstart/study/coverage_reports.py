"""What the tokenizers of a study were found to be unable to write, as far as they are made."""

import json
from pathlib import Path
from typing import Any

from warmstart.study import paths
from warmstart.study.grid import Study


def coverage_reports(
    study: Study, results: Path = Path("results")
) -> list[tuple[str, dict[str, Any]]]:
    """(whose tokens, contents of coverage.json) of each tokenizer that is there.

    Args:
        results: folder of the study's results.

    A file that cannot be read is left out: the job that needs it says so.
    """
    found = []
    for (training_set, tokens), arms in paths.tokenizers(study).items():
        folder = Path(paths.tokenizer(training_set, tokens)).relative_to("results")
        path = results / folder / "coverage.json"
        try:
            report = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            continue
        if arms and isinstance(report, dict) and {"train", "tests"} <= set(report):
            named = f"arm{'s' if len(arms) > 1 else ''} {', '.join(arms)}"
            found.append((f"{training_set}, {named} (tokens: {tokens})", report))
    return found
