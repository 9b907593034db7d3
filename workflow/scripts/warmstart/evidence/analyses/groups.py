"""Whether a start serves women and men, or people of different accents, alike."""

from collections.abc import Iterator, Mapping
from typing import Any

from warmstart.evidence import groups
from warmstart.evidence.analyses import base
from warmstart.evidence.collected import Evidence, Scored, recognition_status
from warmstart.evidence.columns import (
    ARM,
    CONTRAST,
    HOURS,
    LANG,
    PRECISION,
    RECOGNITION,
    TEST_SET,
    TIER,
    TRAINING_SET,
    Column,
    estimate,
)
from warmstart.evidence.display import Display
from warmstart.evidence.groups import Group, Grouping
from warmstart.evidence.intervals import Draws
from warmstart.evidence.keys import GAP
from warmstart.evidence.means import with_interval
from warmstart.evidence.settings import Contrast, Settings
from warmstart.evidence.sheets import Sheet, sheet
from warmstart.evidence.speakers import Voices

_TRAITS = ("gender", "accent")
_COUNTS = ("speakers", "blocks", "utterances", "words")


class Analysis(base.Analysis):
    """Rates of groups are ratios of sums, as those of the test set."""

    section = base.ERROR_RATES
    title = "Which groups of speakers lose?"
    caption = (
        "WER by gender and accent of the speakers, where the corpus states them, of every arm; the "
        "gap of a contrast in each group; and how far groups lie apart."
    )
    details = (
        "Rows with `arm = gap` are baseline minus challenger: their `wer` is the gap of the group "
        "in percentage points, and their `apart` says by how much more the challenger helps the "
        "group than the largest one. Groups of fewer than "
        f"{groups.FEWEST} speakers (blocks, where speakers are not known) are taken together as "
        "`other`. `unknown` are those of whom the corpus says nothing. Intervals are those of all "
        "rates: a group's replicates are those of the test set. Groups say other sentences with "
        "other microphones: what lies between them need not be the trait."
    )
    columns = (
        *(CONTRAST, TRAINING_SET, LANG, TEST_SET, ARM, HOURS, PRECISION, TIER),
        Column("trait", "", "`gender` or `accent`, as the corpus states it"),
        Column("group", "", "of the speakers"),
        Column("speakers", "", "of the group; empty where nobody knows them"),
        *(Column(name, "", "of the group, of one decode") for name in _COUNTS[1:]),
        *estimate(
            "wer", "pct", "%", "word error rate of the group; of a contrast its gap", "WER %"
        ),
        Column("against", "", "the largest group, with which the others are compared"),
        *estimate("apart", "pp", "pp", "what the group has more than that one", "More pp"),
        RECOGNITION,
        Column("status", "", "`ok`, or `not estimable: ...`"),
    )
    note = (
        "More: WER of the group minus that of the largest group; of a contrast, by how much more "
        "its gap is. Groups say other sentences with other microphones, so that what lies between "
        "them need not be the gender or the accent."
    )

    def rows(self, evidence: Evidence, settings: Settings) -> Iterator[dict[str, Any]]:
        """Every test set and trait: each cell by group, then each contrast."""
        voices = {(one.lang, one.test_set): one for one in evidence.voices}
        for one in evidence.compared:
            if (of := voices.get((one.lang, one.test_set))) is None:
                continue
            for trait in _TRAITS:
                common = {"lang": one.lang, "test_set": one.test_set, "trait": trait}
                found = groups.grouping(of, trait)
                if found.status != "ok":
                    yield common | {"status": found.status}
                    continue
                for row in _rows(one, of, found, settings):
                    yield common | row

    def absent(self, tables: base.Tables, display: Display, contrast: Contrast | None) -> str:
        """Most corpora say nothing of their speakers."""
        table = tables["groups"]
        if (display.headline(table).status == "ok").any():
            return ""
        return f"Not stated: {base.reasons(table) or 'nothing was scored'}."

    def sheet(
        self, tables: base.Tables, display: Display, contrast: Contrast | None
    ) -> Sheet | None:
        """The headline's rows, with a choice of arm and budget."""
        table = display.headline(tables["groups"])
        of = self.fields(display)
        fields = [
            of.text("lang", lambda row: display.language(row.lang)),
            *of.training_set(),
            of.hours(),
            of.arm_or_gap(),
            of.text("group"),
            of.number("speakers", 0),
            of.number("wer_pct", 2),
            of.interval("wer", "pct", signed=False),
            of.number("apart_pp", 2, signed=True),
            of.interval("apart", "pp"),
            *of.recognition(table),
            of.text("status", wide=True),
        ]
        return sheet(
            self.sheet_name(display, contrast),
            fields,
            table.itertuples(),
            sortable=True,
            filters=[column.label for column in (LANG, HOURS, ARM)],
        )


def _rows(
    one: Scored, voices: Voices, found: Grouping, settings: Settings
) -> Iterator[dict[str, Any]]:
    """Rows of one trait of a test set."""
    cells = sorted(one.wer, key=settings.order_of)
    shown = [group for group in found.groups if group.status == "ok"]
    rates = groups.rates(voices, shown, cells, settings, one.faults)
    for cell in cells:
        about = cell._asdict() | {"recognition": recognition_status([(one, cell)])}
        draws = {name: of[cell] for name, of in rates.items()}
        yield from _by_group(about, found, draws, settings.confidence)
    for contrast in settings.contrasts:
        for cell, other in sorted(one.pairs(contrast), key=lambda two: settings.order_of(two[0])):
            about = cell._asdict() | {
                "contrast": contrast.name,
                "arm": GAP,
                "recognition": recognition_status([(one, cell), (one, other)]),
            }
            draws = {name: of[cell] - of[other] for name, of in rates.items()}
            yield from _by_group(about, found, draws, settings.confidence)


def _by_group(
    about: Mapping[str, Any], found: Grouping, draws: Mapping[str, Draws], confidence: float
) -> Iterator[dict[str, Any]]:
    for group in found.groups:
        row = {**about, "group": group.name, "against": found.against, "status": group.status}
        row |= {name: getattr(group, name) for name in _COUNTS}
        if group.status == "ok":
            row |= _estimates(group, draws, found.against, confidence)
        yield row


def _estimates(
    group: Group, draws: Mapping[str, Draws], against: str, confidence: float
) -> dict[str, Any]:
    """What is known of a group's rate, or gap."""
    own = draws[group.name]
    if own.block_df < 1 or not own.varies:
        few = own.block_df < 1
        why = "fewer than two blocks with words" if few else "all blocks err alike"
        return {"status": f"not estimable: {why}"}
    row = with_interval("wer", "pct", own.value, own.interval(confidence))
    apart = own - draws[against]
    if group.name != against and apart.block_df >= 1 and apart.varies:
        row |= with_interval("apart", "pp", apart.value, apart.interval(confidence))
    return row
