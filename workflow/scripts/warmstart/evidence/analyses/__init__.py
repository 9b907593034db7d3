"""Which analyses there are, and the files that each makes. Standard library only: the rules read
this while the DAG is built. How to add one: docs/extend/analysis.md."""

import importlib
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from warmstart.evidence.analyses.base import Analysis


@dataclass(frozen=True)
class Files:
    """What an analysis makes.

    Attributes:
        table: whether it has a table of its own, results/tables/{analysis}.csv.
        figures: names of its figures, results/figures/{figure}.svg and .png.
        each_contrast: whether it draws them once for each contrast.
    """

    table: bool = True
    figures: tuple[str, ...] = ()
    each_contrast: bool = False


ANALYSES = {
    "gap": Files(figures=("gap_by_hours",), each_contrast=True),
    "fit": Files(),
    "guideline": Files(),
    "phone_coverage": Files(figures=("phone_coverage",), each_contrast=True),
    "wer": Files(figures=("wer_by_hours",)),
    "per": Files(),
    "leaderboard": Files(),
    "spread": Files(),
    "speakers": Files(figures=("speakers_by_hours",)),
    "groups": Files(),
    "wer_law": Files(figures=("wer_law",)),
    "label_noise": Files(figures=("label_noise",)),
    "topics": Files(figures=("topics",)),
    "routing": Files(figures=("routing",)),
    "confusion": Files(),
    "experts": Files(figures=("experts",)),
    "retention": Files(figures=("retention",)),
    "rounds": Files(figures=("rounds", "semi_supervised")),
    "forgetting": Files(table=False),
    "gap_by_tier": Files(figures=("gap_by_tier",), each_contrast=True),
    "latency": Files(),
    "quantization": Files(figures=("quantization",)),
    "adaptation": Files(figures=("adaptation",)),
    "training_noise": Files(),
    "saturation": Files(figures=("saturation",)),
    "power": Files(figures=("power",), each_contrast=True),
    "curves": Files(table=False, figures=("training", "validation")),
}
"""Name of the module in this folder -> what it makes. On the page they stand in this order, each
in its section."""


def tables() -> list[str]:
    """Names of all tables."""
    return [name for name, files in ANALYSES.items() if files.table]


def figure_name(figure: str, place: int, contrast: str) -> str:
    """Name of a figure of one contrast: the first of the study has the plain name.

    Args:
        figure: as the analysis calls it.
        place: of the contrast in the study, from 0.
        contrast: its name.
    """
    return f"{figure}_{contrast}" if place else figure


def figures(contrasts: Iterable[str]) -> dict[str, str]:
    """Name of every figure file of a study -> what the analysis calls it.

    Args:
        contrasts: names of the contrasts, in the order of the configuration.
    """
    contrasts = list(contrasts)
    return {
        figure_name(figure, place, contrast): figure
        for files in ANALYSES.values()
        for figure in files.figures
        for place, contrast in enumerate(contrasts if files.each_contrast else contrasts[:1])
    }


def modules() -> list[str]:
    """Dotted names of the modules of all analyses: they are loaded by name, so no import line
    tells a rule that its program runs them."""
    return [f"{__name__}.{name}" for name in ANALYSES]


def load(name: str) -> "Analysis":
    """An analysis.

    Raises:
        ValueError: what it draws is not what `ANALYSES` says.
    """
    analysis = importlib.import_module(f"{__name__}.{name}").Analysis(name)
    files = ANALYSES[name]
    drawn = tuple(drawing.name for drawing in analysis.figures)
    if drawn != files.figures or bool(analysis.columns) != files.table:
        raise ValueError(
            f"analysis {name!r} declares {len(analysis.columns)} columns and figures {drawn}, but "
            f"ANALYSES says {files}: make them agree"
        )
    return analysis


def load_all() -> list["Analysis"]:
    """All analyses, in their order."""
    return [load(name) for name in ANALYSES]
