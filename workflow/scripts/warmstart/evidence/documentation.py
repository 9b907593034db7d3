"""What is declared in code, as text for docs/outputs.md and for `snakemake --report`."""

import itertools
import re
import textwrap
from collections.abc import Iterable

from warmstart.evidence import analyses
from warmstart.evidence.candidate_columns import CANDIDATES
from warmstart.evidence.columns import AXES, Column
from warmstart.evidence.phone_columns import PHONE_SCORES
from warmstart.evidence.score_columns import SCORES

_WIDTH = 100  # of a line of prose


def column_table(columns: Iterable[Column]) -> str:
    """A Markdown table of columns; neighbours of one meaning share a row."""
    lines = ["| column | unit | meaning |", "| --- | --- | --- |"]
    for (unit, meaning), group in itertools.groupby(
        columns, key=lambda column: (column.unit, column.meaning)
    ):
        names = ", ".join(column.name for column in group)
        lines.append(f"| {names} | {unit} | {meaning.replace('|', chr(92) + '|')} |")
    return "\n".join(lines)


def described(columns: Iterable[Column]) -> str:
    """The axes of a table in a sentence, and a table of its other columns."""
    columns = list(columns)
    axes = ", ".join(f"`{column.name}`" for column in columns if column in AXES)
    others = column_table(column for column in columns if column not in AXES)
    return f"{_paragraph(f'Axes: {axes}.')}\n\n{others}"


def tables_text() -> str:
    """A section for each table, in the order of the analyses."""
    parts = []
    for analysis in analyses.load_all():
        if analysis.columns:
            parts += [f"## results/tables/{analysis.name}.csv", _paragraph(analysis.caption)]
            parts += [_paragraph(analysis.details)] if analysis.details else []
            parts.append(described(analysis.columns))
    return "\n\n".join(parts)


def figures_text() -> str:
    """A list of the figures."""
    lines = []
    for analysis in analyses.load_all():
        each = " (one for each contrast)" if analyses.ANALYSES[analysis.name].each_contrast else ""
        for drawing in analysis.figures:
            text = f"- `{drawing.name}`{each}: {plain_caption(drawing.caption)}"
            lines.append(textwrap.fill(text, _WIDTH, subsequent_indent="  "))
    return "\n".join(lines)


def captions() -> dict[str, str]:
    """File of workflow/report/captions/ -> its text, of every table and figure."""
    found = {}
    for analysis in analyses.load_all():
        if analysis.columns:
            found[f"table_{analysis.name}.rst"] = _rst(analysis.caption)
        for drawing in analysis.figures:
            found[f"figure_{drawing.name}.rst"] = _rst(plain_caption(drawing.caption))
    return found


def plain_caption(caption: str) -> str:
    """The caption of a figure with what a study fills in as it is called there."""
    words = {
        "baseline_name": "baseline",
        "challenger_name": "challenger",
        "noun": "arm",
        "intervals": "intervals",
        "test_set": "the headline test set",
        "tier": "the reference tier",
    }
    text = caption.replace(" of {level} %", "").replace("{level} % ", "")
    return text.format(**words).replace("the challenger arm", "the challenger")


def filled(page: str) -> str:
    """A page with everything between its markers `<!-- NAME: made by make docs -->` and
    `<!-- end -->` as it is declared now.

    Raises:
        KeyError: a marker of another name.
    """
    made = {
        "axes": column_table(AXES),
        "candidates": column_table(CANDIDATES),
        "scores": described(column for column, _ in SCORES),
        "phone_scores": described(column for column, _ in PHONE_SCORES),
        "tables": tables_text(),
        "figures": figures_text(),
    }
    return re.sub(
        r"(<!-- (\w+): made by make docs -->\n).*?(\n<!-- end -->)",
        lambda found: f"{found[1]}\n{made[found[2]]}\n{found[3]}",
        page,
        flags=re.DOTALL,
    )


def _paragraph(text: str) -> str:
    """Text as wide as the guides are."""
    return textwrap.fill(text, _WIDTH)


def _rst(text: str) -> str:
    """Text with its `code` as reStructuredText writes it."""
    return _paragraph(re.sub(r"`([^`]+)`", r"``\1``", text)) + "\n"
