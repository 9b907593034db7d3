"""What our rates would be on the Open ASR Leaderboard, and which of its rules the difference is
from."""

from collections.abc import Iterator
from typing import Any

import pandas as pd

from warmstart.evidence.analyses import base
from warmstart.evidence.cells import written
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
)
from warmstart.evidence.display import Display, listed
from warmstart.evidence.leaderboard import OK
from warmstart.evidence.leaderboard_rates import Summed
from warmstart.evidence.score_columns import LEADERBOARD_RULES
from warmstart.evidence.settings import Contrast, Settings
from warmstart.evidence.sheets import Sheet, sheet

_NOT_SCORED = "the scores hold no counts by the leaderboard's rules; score the languages again"
_SMALL_PP = 0.005  # rounds to nothing


class Analysis(base.Analysis):
    """The same transcripts by other rules."""

    section = base.ERROR_RATES
    title = "Beside the Open ASR Leaderboard"
    caption = (
        "WER of every decode by the rules of the Open ASR Leaderboard, beside ours, and what of "
        "the difference each of its rules makes."
    )
    details = (
        "Ratios of sums over the corpus and all seeds. The parts of the rules add up to "
        "`difference_pp`: each is what the rule adds to the rate with those before it applied. "
        "docs/leaderboard.md says what is the same as on the leaderboard and what is not."
    )
    columns = (
        *(TRAINING_SET, LANG, TEST_SET, ARM, HOURS, PRECISION, TIER),
        Column("utterances", "", "counted once for each seed"),
        Column("left_out", "", "of the utterances: the leaderboard does not score them"),
        Column("words", "", "words of the references by our rules"),
        Column("leaderboard_words", "", "the same by the leaderboard's"),
        Column("wer_pct", "%", "word error rate by our rules", "WER %"),
        Column("wer_leaderboard_pct", "%", "the same by the leaderboard's", "Leaderboard %"),
        Column("difference_pp", "pp", "leaderboard minus ours", "Difference pp"),
        Column("changed", "", "utterances with another number of errors", "Other errors"),
        *(
            Column(f"{rule}_pp", "pp", f"what this rule adds: {meaning}", f"{rule.capitalize()} pp")
            for rule, meaning in LEADERBOARD_RULES.items()
        ),
        *(
            Column(f"{rule}_utterances", "", "utterances whose errors or words the rule changes")
            for rule in LEADERBOARD_RULES
        ),
        Column("status", "", "`ok` or `not estimable: ...`"),
    )
    note = (
        "The leaderboard has tables of English, German, French, Italian, Spanish and Portuguese; "
        "its rules for other languages than English are the same for all. Of those for English one "
        "is missing here, a list of spellings of names (Stephen, Steven)."
    )

    def rows(self, evidence: Evidence, settings: Settings) -> Iterator[dict[str, Any]]:
        """A row for each cell of each test set."""
        for one in evidence.scored:
            for cell in sorted(one.totals, key=settings.order_of):
                if not (found := evidence.leaderboard.get((one.lang, one.test_set, cell))):
                    continue
                yield {
                    **cell._asdict(),
                    "lang": one.lang,
                    "test_set": one.test_set,
                    "utterances": found.utterances,
                    "left_out": found.left_out,
                    "words": found.ours.words,
                    "wer_pct": one.wer[cell].value,
                    "status": found.status,
                    **(_compared(found) if found.status == OK else {}),
                }

    def absent(self, tables: base.Tables, display: Display, contrast: Contrast | None) -> str:
        """No rate by its rules: why."""
        table = tables["leaderboard"]
        if (table.status == OK).any():
            return ""
        return f"Not stated: {base.reasons(table) or _NOT_SCORED}."

    def text(self, tables: base.Tables, display: Display, contrast: Contrast | None) -> str:
        """How far both rates differ, and mostly why, for languages with one reason together."""
        table = display.headline(tables["leaderboard"])
        groups: dict[str, list[str]] = {}
        for lang in dict.fromkeys(table.lang):
            groups.setdefault(_reason(table[table.lang == lang]), []).append(lang)
        return " ".join(
            _sentence(reason, table[table.lang.isin(langs)], list(map(display.language, langs)))
            for reason, langs in groups.items()
        )

    def sheet(
        self, tables: base.Tables, display: Display, contrast: Contrast | None
    ) -> Sheet | None:
        """The headline's rows."""
        table = display.headline(tables["leaderboard"])
        of = self.fields(display)
        fields = [
            of.language(),
            *of.training_set(),
            of.arm(),
            of.hours(),
            of.number("wer_pct", 2),
            of.number("wer_leaderboard_pct", 2),
            of.number("difference_pp", 2, signed=True),
            *(of.number(f"{rule}_pp", 2, signed=True) for rule in LEADERBOARD_RULES),
            of.number("changed", 0),
            of.number("utterances", 0),
            *([] if (table.status == OK).all() else [of.text("status", wide=True)]),
        ]
        return sheet(self.sheet_name(display, contrast), fields, table.itertuples(), sortable=True)


def _compared(found: Summed) -> dict[str, float]:
    by_rule = found.by_rule_pp()
    return {
        "leaderboard_words": found.theirs.words,
        "wer_leaderboard_pct": found.wer_pct,
        "difference_pp": found.less_ours_pp,
        "changed": found.changed,
        **{f"{rule}_pp": by_rule[rule] for rule in LEADERBOARD_RULES},
        **{f"{rule}_utterances": found.utterances_of[rule] for rule in LEADERBOARD_RULES},
    }


def _reason(rows: pd.DataFrame) -> str:
    """The rule that makes most of the difference in a language; empty where there is none; the
    status where no row has a rate."""
    estimable = rows[rows.status == OK]
    if estimable.empty:
        return rows.status.iloc[0]
    if not (estimable.difference_pp.abs() >= _SMALL_PP).any():
        return ""
    parts = {rule: abs(estimable[f"{rule}_pp"].mean()) for rule in LEADERBOARD_RULES}
    return max(parts, key=lambda rule: parts[rule])


def _sentence(reason: str, rows: pd.DataFrame, languages: list[str]) -> str:
    names = listed(languages)
    if reason and reason not in LEADERBOARD_RULES:
        return f"{names}: {reason}."
    rows = rows[rows.status == OK]
    if not reason:
        return f"In {names} both rates are the same."
    low, high = (written(bound, 2, signed=True) for bound in _bounds(rows.difference_pp))
    by = f"by {low} pp" if low == high else f"by {low} to {high} pp"
    share = 100.0 * rows[f"{reason}_utterances"].sum() / rows.utterances.sum()
    return (
        f"In {names} the leaderboard's rate differs from ours {by}, the largest part because "
        f"{LEADERBOARD_RULES[reason]}: that changes {share:.1f} % of the utterances."
    )


def _bounds(values: pd.Series) -> tuple[float, float]:
    return float(values.min()), float(values.max())
