"""Whose results a folder holds: `results/study.json` says it, and a folder holds one study."""

from pathlib import Path

from warmstart.run import files

NAME = "study.json"  # in the folder of results


def name_of(path: str | Path) -> str | None:
    """Name of the study that a folder's results belong to.

    Args:
        path: of `results/study.json`.

    Returns:
        None where nothing was made yet, or where the file cannot be read.
    """
    claimed = "the folder is taken for this study's"
    found = files.read_if_whole(path, dict, claimed, aside=False)
    return None if found is None else found.get("name")


def of_another(path: str | Path, study: str) -> str | None:
    """What to do where the results are another study's than `study`; None where they are not."""
    name = name_of(path)
    if name is None or name == study:
        return None
    return (
        f"results/ and resources/ here belong to the study {name!r}, not to {study!r}: move both "
        "folders away (the demo's are removed by `make clean`), or run this study in a folder of "
        "its own with --directory FOLDER"
    )


def banner(text: str) -> str:
    """A warning that is not overlooked between other lines."""
    words, lines = text.split(), [""]
    for word in words:
        if len(lines[-1]) + len(word) > 92:
            lines.append("")
        lines[-1] = f"{lines[-1]} {word}".strip()
    bar = "!" * 100
    return "\n".join([bar, *(f"!!  {line}" for line in lines), bar])
