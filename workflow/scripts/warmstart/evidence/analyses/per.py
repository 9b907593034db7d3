"""Phone error rates of the models that write phones, and of contrasts between them."""

import itertools
from collections.abc import Iterator
from typing import Any

from warmstart.evidence import intervals
from warmstart.evidence.analyses import base, gap
from warmstart.evidence.collected import Evidence, PhoneRates, Scored, compared
from warmstart.evidence.columns import (
    ARM,
    CONTRAST,
    HOURS,
    LANG,
    LANGUAGES,
    LANGUAGES_AS,
    PRECISION,
    RECOGNITION,
    TEST_SET,
    TIER,
    TRAINING_ERROR,
    TRAINING_SET,
    Column,
    estimate,
)
from warmstart.evidence.display import Display
from warmstart.evidence.keys import GAP, Cell
from warmstart.evidence.means import NAN, status_of, training_error, with_interval
from warmstart.evidence.recognition import OK, SAYS_NOT
from warmstart.evidence.settings import Contrast, Settings
from warmstart.evidence.sheets import Sheet, sheet


class Analysis(base.Analysis):
    """A model that writes phones has no words, so that it stands in no other table of rates."""

    section = base.ERROR_RATES
    title = "Phone error rates"
    caption = (
        "Phone error rates (PER) of every decode of an arm with `tokens: ipa`, and of contrasts "
        "between such arms, with intervals; and the same with substitutions that cost the share of "
        "articulatory features that differ (PFER)."
    )
    details = (
        "References are phones too, by the same voice of espeak-ng and the same rule as the "
        "targets of training, so that its mistakes count against no model. Words of phones are no "
        "words: such arms have no WER, enter no law and no guideline, and are in no other table "
        "but latency.csv. Rows with `arm = gap` are baseline minus challenger; rows `fixed` and "
        "`sampled` are means over the languages. PFER is panphon's Hamming feature edit distance "
        "over the phones of the references (arXiv 2308.03917). `mapped_per_pct` is of models of 0 "
        "hours: phones that the language lacks went to the nearest that its training text has (as "
        "in arXiv 2109.11680)."
    )
    columns = (
        *(CONTRAST, TRAINING_SET, LANG, LANGUAGES_AS, LANGUAGES, TEST_SET),
        *(ARM, HOURS, PRECISION, TIER),
        Column("seeds", "", "trained models; of a contrast the fewer of both arms"),
        Column("utterances", "", "counted once for each seed"),
        Column("blocks", "", "units of resampling"),
        Column("phones", "", "phones of the references, summed over seeds"),
        Column("substitutions", "", "of phones, summed over seeds", "S"),
        Column("deletions", "", "of phones, summed over seeds", "D"),
        Column("insertions", "", "of phones, summed over seeds", "I"),
        *estimate("per", "pct", "%", "phone error rate", "PER %"),
        *estimate("pfer", "pct", "%", "phonetic feature error rate", "PFER %"),
        *estimate(
            "mapped_per", "pct", "%", "PER after each phone went to the nearest", "Mapped PER %"
        ),
        *estimate("gap", "pp", "pp", "difference of PER, paired by blocks and seeds", "Gap pp"),
        *estimate("pfer_gap", "pp", "pp", "difference of PFER", "PFER gap pp"),
        Column("p_value", "", "two-sided, of “no difference in PER”"),
        TRAINING_ERROR,
        Column("status", "", "`ok`, or `not estimable: ...`"),
        RECOGNITION,
    )
    note = (
        "Phones are those of espeak-ng, of references and hypotheses alike. A positive gap says "
        "that the challenger is better."
    )

    def rows(self, evidence: Evidence, settings: Settings) -> Iterator[dict[str, Any]]:
        """Rates of every cell, then the gaps of contrasts, by language and in the mean."""
        rates = evidence.phones
        for one, features in zip(rates.per, rates.pfer, strict=True):
            for cell in sorted(one.totals, key=settings.order_of):
                yield _rates(one, features, cell, rates, settings)
        for contrast in settings.phone_contrasts:
            yield from _gaps(rates, contrast, settings)

    def absent(self, tables: base.Tables, display: Display, contrast: Contrast | None) -> str:
        """Nothing wrote phones."""
        return "" if len(tables["per"]) else "No model of the study writes phones (`tokens: ipa`)."

    def sheet(
        self, tables: base.Tables, display: Display, contrast: Contrast | None
    ) -> Sheet | None:
        """All rows but means with the languages as a sample."""
        table = tables["per"]
        table = table[table.languages_as != "sampled"]
        of = self.fields(display)
        arms = {one.name: one.arms for one in display.settings.phone_contrasts}
        fields = [
            of.language(),
            of.text(
                "arm",
                lambda row: (
                    " − ".join(map(display.arm, arms[row.contrast]))
                    if row.arm == GAP
                    else display.arm(row.arm)
                ),
            ),
            *of.training_set(),
            of.hours(),
            of.number("per_pct", 1),
            of.interval("per", "pct", 1, signed=False),
            of.number("pfer_pct", 1),
            of.number("mapped_per_pct", 1),
            of.number("gap_pp", 2, signed=True),
            of.interval("gap", "pp"),
            of.text("precision"),
            of.tier(),
            of.text("test_set"),
            *of.recognition(table),
            of.text("status", wide=True),
        ]
        return sheet(self.sheet_name(display, contrast), fields, table.itertuples(), sortable=True)


def _rates(
    one: Scored, features: Scored, cell: Cell, rates: PhoneRates, settings: Settings
) -> dict[str, Any]:
    """The row of a cell."""
    totals, per = one.totals[cell], one.wer[cell]
    mapped = {(each.lang, each.test_set): each.wer for each in rates.mapped}
    found = {
        "per": per,
        "pfer": features.wer[cell],
        "mapped_per": mapped.get((one.lang, one.test_set), {}).get(cell),
    }
    row: dict[str, Any] = {
        **cell._asdict(),
        "lang": one.lang,
        "languages_as": "one",
        "languages": 1,
        "test_set": one.test_set,
        **{name: totals[name] for name in ("seeds", "utterances", "blocks")},
        "phones": totals["ref_words"],
        **{name: totals[name] for name in ("substitutions", "deletions", "insertions")},
        "training_error_pp": training_error(per),
        "status": OK if per.value == 0 and per.block_df >= 1 else status_of({"": per}),
        "recognition": f"{SAYS_NOT}: {one.faults[cell]}" if cell in one.faults else OK,
    }
    for name, draws in found.items():
        if draws is not None:
            bounds = intervals.log_interval(draws, settings.confidence, 100.0)
            row |= with_interval(name, "pct", draws.value, bounds)
    return row


def _gaps(rates: PhoneRates, contrast: Contrast, settings: Settings) -> Iterator[dict[str, Any]]:
    """Gaps of a contrast on every test set, of models that are for its languages."""

    def by_test_set(scored: list[Scored]) -> dict[str, list[Scored]]:
        found = sorted(compared(scored, settings), key=lambda one: one.test_set)
        groups = itertools.groupby(found, key=lambda one: one.test_set)
        return {test_set: list(members) for test_set, members in groups}

    of_phones, of_features = by_test_set(list(rates.per)), by_test_set(list(rates.pfer))
    for test_set, members in of_phones.items():
        by_lang = {one.lang: one for one in members}
        pairs = zip(
            gap.estimates(test_set, members, contrast, settings),
            gap.estimates(test_set, of_features[test_set], contrast, settings),
            strict=True,
        )
        for one, features in pairs:
            yield {
                "contrast": contrast.name,
                **one.axes(),
                "arm": GAP,
                **{key: getattr(one.place, key) for key in ("hours", "precision", "tier")},
                **with_interval("gap", "pp", one.value, (one.low, one.high)),
                **with_interval("pfer_gap", "pp", features.value, (features.low, features.high)),
                "p_value": one.draws.p_value() if one.draws else NAN,
                "seeds": gap.seeds_of(one, by_lang, contrast) if one.draws else None,
                "training_error_pp": training_error(one.draws) if one.draws else NAN,
                "status": one.status,
                "recognition": gap.recognition_of(one, by_lang, contrast),
            }
