"""What was forgotten: error rates in languages that a model was not made for."""

from warmstart.evidence.analyses import base
from warmstart.evidence.analyses.wer import Analysis as Rates
from warmstart.evidence.display import Display
from warmstart.evidence.keys import FULL, MEAN
from warmstart.evidence.settings import Contrast
from warmstart.evidence.sheets import Sheet, sheet


class Analysis(base.Analysis):
    """Rows of wer.csv that enter no gap, in a table of their own on the page."""

    section = base.ERROR_RATES
    title = "What was forgotten"
    note = (
        "Test sets in languages that a model was not made for: they show what it has forgotten of "
        "what its donor knew, or keeps by replay. They enter no gap."
    )

    def sheet(
        self, tables: base.Tables, display: Display, contrast: Contrast | None
    ) -> Sheet | None:
        """Rates at full precision; nothing where no model was asked."""
        table = tables["wer"]
        table = table[(table.lang != MEAN) & (table.precision == FULL)]
        foreign = [
            not display.settings.is_for(row.training_set, row.lang) for row in table.itertuples()
        ]
        if not any(foreign):
            return None
        of = Rates("wer").fields(display)
        fields = [
            of.text("training_set", lambda row: display.training_set(row.training_set)),
            of.arm(),
            of.hours(),
            of.tier(),
            of.language(),
            of.text("test_set"),
            of.number("wer_pct", 2),
            of.interval("wer", "pct", signed=False),
        ]
        return sheet(self.name, fields, table[foreign].itertuples(), sortable=True)
