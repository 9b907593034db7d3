"""What an analysis is: evidence in, a table and figures and a part of the page out."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar

import pandas as pd

from warmstart.evidence.collected import Evidence
from warmstart.evidence.columns import Column
from warmstart.evidence.display import Display
from warmstart.evidence.settings import Contrast, Settings
from warmstart.evidence.sheets import Fields, Sheet, sheet
from warmstart.evidence.training_logs import RunKey

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Tables = Mapping[str, pd.DataFrame]
"""Name of an analysis -> its table, as `tables.read_table` gives it."""


@dataclass(frozen=True)
class Section:
    """A section of the page.

    Attributes:
        anchor: of the element.
        label: in the navigation.
    """

    anchor: str
    label: str


GAP = Section("gap", "Gap")
ERROR_RATES = Section("wer", "Error rates")
LATENCY = Section("latency", "Latency")
QUANTISATION = Section("quantization", "Quantisation")
TRAINING = Section("training", "Training")


@dataclass(frozen=True)
class Material:
    """What figures are drawn from.

    Attributes:
        tables: all tables.
        curves: run -> its curves, as `training_logs.read` gives them.
    """

    tables: Tables
    curves: Mapping[RunKey, pd.DataFrame] = field(default_factory=dict)


@dataclass(frozen=True)
class Drawing:
    """How a figure is made.

    Attributes:
        name: of its file.
        draw: material, display, contrast (None where it is drawn once) -> figure.
        caption: `{baseline_name}`, `{challenger_name}`, `{noun}`, `{level}`, `{intervals}`,
            `{test_set}` and `{tier}` are filled in (`Display.words`).
        empty: why there may be nothing to draw, after "because".
    """

    name: str
    draw: Callable[[Material, Display, Contrast | None], "Figure"]
    caption: str
    empty: str = "nothing of this was decoded"


def reasons(table: pd.DataFrame) -> str:
    """Why nothing in a table is estimable, each reason once, as its column `status` says it."""
    return "; ".join(dict.fromkeys(table.status.str.removeprefix("not estimable: ")))


class Analysis:
    """One question to the evidence. Modules of this folder have a subclass of this name.

    Attributes:
        name: of the module, and of the table.
        section: of the page, where its part stands.
        title: of its part; that of the first analysis of a section is the section's.
        caption: of its table, for `snakemake --report` and docs/outputs.md.
        details: what else docs/outputs.md says of the table, below its caption.
        columns: of its table; none where it makes no table.
        note: small print below its part.
        by_contrast: whether its part of the page stands once for each contrast.
        figures: how each is drawn.
    """

    section: ClassVar[Section]
    title: ClassVar[str] = ""
    caption: ClassVar[str] = ""
    details: ClassVar[str] = ""
    columns: ClassVar[tuple[Column, ...]] = ()
    note: ClassVar[str] = ""
    by_contrast: ClassVar[bool] = False
    figures: ClassVar[tuple[Drawing, ...]] = ()

    def __init__(self, name: str):
        self.name = name

    def rows(self, evidence: Evidence, settings: Settings) -> Iterable[dict[str, Any]]:
        """Rows of the table, by column; what a row lacks is an empty cell."""
        return ()

    def heading(self, display: Display, contrast: Contrast | None) -> str:
        """What stands above its part of the page."""
        return self.title

    def text(self, tables: Tables, display: Display, contrast: Contrast | None) -> str:
        """A paragraph above its part of the page, or nothing."""
        return ""

    def absent(self, tables: Tables, display: Display, contrast: Contrast | None) -> str:
        """A sentence that stands in place of its part where the study did not ask its question;
        empty where it did."""
        return ""

    def sheet(self, tables: Tables, display: Display, contrast: Contrast | None) -> Sheet | None:
        """The table of its part of the page; None: there is none.

        Args:
            tables: all tables.
            display: names and choices of the study.
            contrast: the one to show, where `by_contrast`.
        """
        if not self.columns:
            return None
        table = tables[self.name]
        if contrast is not None:
            table = table[table.contrast == contrast.name]
        return sheet(
            self.sheet_name(display, contrast),
            self.fields(display).all(table),
            table.itertuples(),
            sortable=True,
        )

    def fields(self, display: Display) -> Fields:
        """What makes fields of its columns."""
        return Fields(self.columns, display)

    def sheet_name(self, display: Display, contrast: Contrast | None) -> str:
        """A name for its sheet that no other sheet of the page has."""
        if contrast is None or contrast == display.contrasts[0]:
            return self.name
        return f"{self.name}-{contrast.name}"
