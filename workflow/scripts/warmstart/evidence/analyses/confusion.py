"""Which language is taken for which, where utterances are sent to one of several models."""

from collections.abc import Iterator
from typing import Any

from warmstart.evidence import intervals
from warmstart.evidence.analyses import base
from warmstart.evidence.analyses.routing import SECTION, WAYS, speakers
from warmstart.evidence.collected import Evidence
from warmstart.evidence.columns import (
    ARM,
    HOURS,
    LANG,
    PRECISION,
    TEST_SET,
    TIER,
    TRAINING_SET,
    Column,
    estimate,
)
from warmstart.evidence.display import Display
from warmstart.evidence.means import with_interval
from warmstart.evidence.route_rates import Counter
from warmstart.evidence.routed import GIVEN
from warmstart.evidence.settings import Contrast, Settings
from warmstart.evidence.sheets import Sheet, sheet


class Analysis(base.Analysis):
    """The rows of a confusion matrix, of every way to choose."""

    section = SECTION
    title = "Which language is taken for which?"
    caption = (
        "Confusion matrices of routing.csv: to which language's model the utterances of a language "
        "went, in every way to choose, of speakers that the identifier had not heard."
    )
    columns = (
        *(TRAINING_SET, LANG, TEST_SET, ARM, HOURS, PRECISION, TIER),
        Column("way", "", "as in routing.csv", "Model chosen by"),
        Column("seconds", "", "as in routing.csv"),
        Column("went_to", "", "language of the model"),
        Column("utterances", "", "of the language, in one training"),
        *estimate(
            "share",
            "pct",
            "%",
            "of them that went there; what several languages were as likely for went nowhere",
            "Share %",
        ),
    )
    note = (
        "Shares of a language's utterances. Those for which several languages were as likely went "
        "to none."
    )

    def rows(self, evidence: Evidence, settings: Settings) -> Iterator[dict[str, Any]]:
        """Every cell, test set, language and way, then the languages that it went to."""
        if evidence.routed is None:
            return
        about = {
            (one["training_set"], one["arm"], float(one["hours"]), one["tier"]): one
            for one in evidence.routed.about
        }
        found = Counter(settings).all(evidence.routed.rows)
        order = list(WAYS)
        for (cell, lang, test_set), rates in sorted(
            found.items(), key=lambda one: (settings.order_of(one[0][0]), one[0][2], one[0][1])
        ):
            said = about[cell.training_set, cell.arm, cell.hours, cell.tier]
            if speakers(said, lang, test_set) == 1:
                continue  # his voice would be taken for the language
            languages = [lang, *(one for one in rates.went_to if one != lang)]
            for way in sorted(rates.heard_s, key=lambda one: order.index(one.way)):
                if way.way == GIVEN:
                    continue
                for other in languages:
                    draws = rates.went_to[other][way]
                    yield {
                        **cell._asdict(),
                        "lang": lang,
                        "test_set": test_set,
                        **way._asdict(),
                        "went_to": other,
                        "utterances": rates.utterances,
                        **with_interval("share", "pct", draws.value, _bounds(draws, settings)),
                    }

    def sheet(
        self, tables: base.Tables, display: Display, contrast: Contrast | None
    ) -> Sheet | None:
        """What went anywhere, with a choice of language and way; nothing of a study that does not
        route."""
        table = tables["confusion"]
        table = table[(table.share_pct > 0) | (table.lang == table.went_to)]
        if table.empty:
            return None
        of = self.fields(display)
        fields = [
            of.text("lang", lambda row: display.language(row.lang)),
            of.text("went_to", lambda row: display.language(row.went_to)),
            of.number("share_pct", 1),
            of.interval("share", "pct", 1, signed=False),
            of.text("way", lambda row: WAYS[row.way]),
            of.text("seconds", lambda row: row.seconds if isinstance(row.seconds, str) else ""),
            of.text("training_set", lambda row: display.training_set(row.training_set)),
            of.text("test_set"),
            of.arm(),
            of.hours(),
            of.tier(),
            of.number("utterances", 0),
        ]
        return sheet(
            self.sheet_name(display, contrast),
            fields,
            table.itertuples(),
            sortable=True,
            filters=[column.label for column in self.columns if column.name in (LANG.name, "way")],
        )


def _bounds(draws: intervals.Draws, settings: Settings) -> tuple[float, float]:
    """Of a share: on a logarithmic scale from below, and never above all of it."""
    low, high = intervals.log_interval(draws, settings.confidence, 100.0)
    return low, min(high, 100.0) if high == high else high
