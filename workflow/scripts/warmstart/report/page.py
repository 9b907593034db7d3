"""The report: one HTML page made of the tables, figures and provenance of a study, with nothing
loaded from a network.

Sentences are chosen by what the intervals carry; a number without an interval is called not
estimable.
"""

import json
import math
import re
import unicodedata
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd

from warmstart.report.cells import (
    cell,
    hours_cell,
    interval_cell,
    interval_text,
    p_cell,
    sheet,
    within_reach,
)
from warmstart.report.fairness import PAIRED, _sides, donor_contexts, pair_facts

FULL, MEAN, POOLED = "full", "mean", "pooled"


_PIXELS_PER_POINT = 1.46  # three panels of a figure fill the page


_CAPTIONS = {
    "gap_by_hours": (
        "Gap = WER({baseline}) − WER({challenger}) in percentage points against hours of training "
        "data; above zero "
        "the {challenger_name} start is better. Bars: {level} % intervals. Dashed: the fitted power "
        "law; of the mean, that with "
        "one exponent for all languages, at their mean size. n: languages in a mean, where not all "
        "reach a budget."
    ),
    "wer_by_hours": (
        "WER on {test_set} at {tier} against hours of training data, with {level} % intervals."
    ),
    "gap_by_tier": (
        "The gap at every latency tier on {test_set}, a line per budget, set apart sideways to be "
        "told apart."
    ),
    "quantization": (
        "Change of WER when the encoder is quantised, against the same model at full precision in "
        "the same tier, "
        "and the change of the gap (difference of differences), with {level} % intervals."
    ),
    "training": "Training loss against hours of audio seen, counted with repetition.",
    "validation": (
        "WER on the validation cuts against hours of audio seen. Nothing is chosen by it."
    ),
}


@dataclass(frozen=True)
class Quality:
    """What is known of the data.

    Attributes:
        pools: lang -> contents of the pool's .qc.json.
        manifests: contents of the manifests' .qc.json.
        coverage: lang -> contents of the tokenizer's coverage.json.
    """

    pools: dict[str, dict] = field(default_factory=dict)
    manifests: list[dict] = field(default_factory=list)
    coverage: dict[str, dict] = field(default_factory=dict)


class Page:
    """Everything that the template shows.

    Args:
        tables: name -> table (wer, gap, gap_by_tier, quantization, fit, latency, guideline).
        runs: contents of run.json with `keys`, one per run.
        quality: what is known of the data.
        settings: `Study.display_settings`.
    """

    def __init__(
        self,
        tables: dict[str, pd.DataFrame],
        runs: list[dict],
        quality: Quality,
        settings: dict[str, Any],
    ):
        self.tables, self.runs, self.quality, self.settings = tables, runs, quality, settings
        self.chosen = settings["statistics"]
        self.baseline, self.challenger = self.chosen["baseline"], self.chosen["challenger"]
        self.test_set, self.tier = self.chosen["headline_test_set"], self.chosen["reference_tier"]
        self.level = f"{100 * self.chosen.get('confidence', 0.95):g}"

    def language(self, lang: str) -> str:
        """Name of a language, of the mean, or of the pooled law."""
        names = {
            MEAN: "Mean",
            POOLED: "Pooled",
            **self.settings.get("replayed_languages", {}),
            **self.settings["languages"],
        }
        return names.get(lang, lang)

    def _of(self, row: Any) -> str:
        """Language of a row; a mean says of how many, because not all reach every budget."""
        return (
            f"Mean of {row.languages:g}"
            if row.lang == MEAN and hasattr(row, "languages")
            else self.language(row.lang)
        )

    def _order(self, langs: pd.Series) -> pd.Series:
        places = {lang: place for place, lang in enumerate(self.settings["languages"])}
        return langs.map(lambda lang: places.get(lang, len(places)))

    def init(self, init: str) -> str:
        """Name of a warm start."""
        return self.settings["inits"].get(init, {}).get("name", init)

    def headline(self, name: str) -> pd.DataFrame:
        """Rows of a table on the headline test set, reference tier and full precision; the mean
        over fixed languages only."""
        table = self.tables[name]
        at = (table.test_set == self.test_set) & (table.tier == self.tier)
        if "precision" in table:
            at &= table.precision == FULL
        if "languages_as" in table:
            at &= table.languages_as != "sampled"
        return table[at]

    # ---- words ----

    def gap_text(self) -> str:
        """What the gap is, in words."""
        baseline, challenger = self.init(self.baseline), self.init(self.challenger)
        return (
            f"Gap = WER({baseline}) − WER({challenger}) in percentage points. Positive: the "
            f"{challenger} start is better."
        )

    def _summary(self) -> pd.DataFrame:
        gaps = self.headline("gap")
        gaps = gaps[gaps.hours > 0]
        return gaps[gaps.lang == MEAN] if (gaps.lang == MEAN).any() else gaps

    def answer(self) -> list[str]:
        """The headline in words, no stronger than the intervals."""
        gaps = self._summary().sort_values("hours")
        gaps = gaps[gaps.gap_pp.notna()]
        if gaps.empty:
            return [
                "No budget was decoded with both warm starts on the headline test set, so this "
                "study has no answer yet."
            ]
        first, last = gaps.iloc[0], gaps.iloc[-1]
        over = (
            f"in the mean of {first.languages:g} languages"
            if first.lang == MEAN
            else f"in {self.language(first.lang)}"
        )
        sentences = [
            f"With {first.hours:g} h of training data, {self._says(first)} {over} "
            f"({self.test_set}, {self.tier})."
        ]
        if last.hours != first.hours:
            # The mean over languages takes, at each budget, the languages that reach it.
            others = first.lang == MEAN and last.languages != first.languages
            over = (
                f" in the mean of the {last.languages:g} languages that reach it" if others else ""
            )
            sentences.append(f"With {last.hours:g} h, {self._says(last)}{over}.")
            if others:
                sentences.append(
                    "The two means are not of the same languages; the law compares each language "
                    "with itself, with one "
                    "exponent for all."
                )
        law = self._law()
        if law is not None and law.status == "ok":
            bounds = interval_text(
                law.factor_low_per_doubling, law.factor_high_per_doubling, signed=False
            )
            factor = f"{law.factor_per_doubling:.2f}"
            sentences.append(
                f"Each doubling of the data multiplies the gap by {factor} ({self.level} % "
                f"interval {bounds})."
            )
            sentences += self._better_than_the_law(law)
        elif law is not None:
            sentences.append(
                f"A law of the gap cannot be stated: {law.status.removeprefix('not estimable: ')}."
            )
        if not (first.seeds > 1):
            sentences.append(
                "Each run was trained once: noise between trainings is not in these intervals."
            )
        return sentences

    def _says(self, row: Any) -> str:
        size = f"{abs(row.gap_pp):.2f} pp"
        if math.isnan(row.gap_low_pp):
            return f"the gap is {row.gap_pp:+.2f} pp, without an interval (too few blocks)"
        bounds = (
            f"{self.level} % interval of the gap {interval_text(row.gap_low_pp, row.gap_high_pp)}"
        )
        if row.gap_low_pp > 0:
            return f"the {self.init(self.challenger)} start gives {size} less WER ({bounds})"
        if row.gap_high_pp < 0:
            return f"the {self.init(self.baseline)} start gives {size} less WER ({bounds})"
        return f"this study does not decide between the starts (gap {row.gap_pp:+.2f} pp, {bounds})"

    def _law(self) -> Any:
        fits = self.headline("fit")
        fits = fits[fits.family == "power"]
        row = fits[fits.lang == POOLED] if (fits.lang == POOLED).any() else fits
        return row.iloc[0] if len(row) and "factor_per_doubling" in row else None

    def _better_than_the_law(self, law: Any) -> list[str]:
        """A sentence where another family describes the gaps better: the law's factor is then that
        of the wrong curve."""
        fits = self.headline("fit")
        weights = fits[fits.lang == law.lang].set_index("family").weight.dropna()
        # With as many parameters as gaps the law fits anything and cannot be compared.
        if "power" not in weights or weights.idxmax() == "power":
            return []
        name = weights.idxmax().replace("_", "-")
        return [
            f"But of the curves compared, the {name} one describes these gaps better than the "
            "power law that this rests on "
            f"(Akaike weights {weights.max():.2f} and {weights['power']:.2f})."
        ]

    def cards(self) -> list[dict]:
        """Key figures."""
        cards = []
        gaps = self._summary().sort_values("hours")
        gaps = gaps[gaps.gap_pp.notna()]
        for row in [gaps.iloc[0], gaps.iloc[-1]] if len(gaps) > 1 else [*gaps.itertuples()]:
            label = (
                f"mean of {row.languages:g} languages"
                if row.lang == MEAN
                else self.language(row.lang)
            )
            bounds = (
                "interval not estimable"
                if math.isnan(row.gap_low_pp)
                else interval_text(row.gap_low_pp, row.gap_high_pp)
            )
            cards.append(
                {
                    "label": f"Gap at {row.hours:g} h, {label}",
                    "value": f"{row.gap_pp:+.2f} pp",
                    "detail": bounds,
                }
            )
        law = self._law()
        if law is not None and not math.isnan(law.factor_per_doubling):
            bounds = interval_cell(
                law.factor_low_per_doubling, law.factor_high_per_doubling, signed=False
            )["text"]
            detail = bounds if law.status == "ok" else law.status
            cards.append(
                {
                    "label": "Gap per doubling of data",
                    "value": f"× {law.factor_per_doubling:.2f}",
                    "detail": detail,
                }
            )
        wer = self.headline("wer")
        if len(wer) and (wer := wer[(wer.lang != MEAN) & (wer.hours > 0)]).wer_pct.notna().any():
            best = wer.loc[wer.wer_pct.idxmin()]
            detail = f"{self.language(best.lang)}, {self.init(best.init)}, {best.hours:g} h"
            cards.append(
                {
                    "label": f"Lowest WER, {self.test_set} at {self.tier}",
                    "value": f"{best.wer_pct:.1f} %",
                    "detail": detail,
                }
            )
        return cards

    def banners(self) -> list[dict]:
        """Contamination of test sets and unfair pairs; a green line when neither was found."""
        seen: dict[tuple[str, ...], list[str]] = {}
        scored = set(self.tables["wer"].test_set)
        for name in self.settings["test_sets"]:
            donors = tuple(
                init
                for init, facts in self.settings["inits"].items()
                if name in (facts.get("seen") or [])
            )
            if donors and name in scored:
                seen.setdefault(donors, []).append(name)
        lines = [
            f"{', '.join(names)}: the corpus is in the training data of the donor of "
            f"{' and '.join(map(self.init, donors))}. "
            f"On it the gap measures earlier exposure as well as transfer."
            for donors, names in seen.items()
        ]
        banners = (
            [{"title": "Test sets that a donor has seen", "lines": lines, "fine": False}]
            if lines
            else []
        )
        unfair = [
            f"{pair['name']}: {', '.join(pair['different'])}"
            for pair in self.pairs()
            if pair["different"]
        ]
        if unfair:
            banners.append(
                {
                    "title": "Pairs that differ in more than the encoder",
                    "lines": unfair,
                    "fine": False,
                }
            )
        unknown = [
            f"{pair['name']}: {', '.join(pair['missing'])} not recorded"
            for pair in self.pairs()
            if pair["missing"]
        ]
        if unknown:
            banners.append(
                {"title": "Pairs that cannot be checked in full", "lines": unknown, "fine": False}
            )
        if not banners and self.pairs():
            lines = [
                f"All {len(self.pairs())} pairs of runs are equal in everything but the encoder."
            ]
            lines += ["No donor of an encoder is listed as trained on a test set."]
            banners.append({"title": "Fair comparison", "lines": lines, "fine": True})
        return banners

    def guideline_text(self) -> str:
        """One paragraph of advice, generated from guideline.csv."""
        rows = self.tables["guideline"]
        rows = rows[rows.lang != MEAN]
        if rows.empty:
            return "This study has no pair of runs at the reference tier and so gives no advice."
        parts = []
        for decision, group in rows.groupby("decision", sort=False):
            places = "; ".join(
                f"{self.language(lang)} at {', '.join(f'{h:g}' for h in sorted(own.hours))} h"
                for lang, own in group[group.hours > 0].groupby("lang", sort=False)
            )
            untrained = ", ".join(self.language(lang) for lang in group.lang[group.hours == 0])
            if untrained:
                places = "; ".join(filter(None, [places, f"{untrained} without fine-tuning"]))
            if decision in (self.baseline, self.challenger):
                parts.append(f"Take {self.init(decision)} for {places}.")
            elif decision == "either":
                parts.append(
                    f"Either will do, within {rows.threshold_pp.iloc[0]:g} pp, for {places}."
                )
            else:
                parts.append(f"Not decided by this study: {places}.")
        return (
            " ".join(parts) + f" Each statement holds at {self.level} % confidence by itself, "
            f"on {self.test_set} at {self.tier}."
        )

    # ---- tables ----

    def sheets(self) -> dict[str, dict]:
        """All tables of the page."""
        return {
            "wer": self._wer(),
            "fit": self._fit(),
            "forgotten": self._forgotten(),
            "guideline": self._guideline(),
            "tiers": self._tiers(),
            "latency": self._latency(),
            "quantization": self._quantization(),
            "runs": self._runs(),
            "data": self._data(),
            "drops": self._drops(),
            "unwritable": self._unwritable(),
            "pairs": self._pair_sheet(),
            "donors": self._donors(),
            "provenance": self._provenance(),
        }

    def _wer(self) -> dict:
        heads = [
            "Language",
            "Warm start",
            "Hours",
            "Precision",
            "Tier",
            "Test set",
            "WER %",
            f"{self.level} % interval",
        ]
        heads += [
            "CER %",
            "Numbers %",
            "Rare words %",
            "Empty %",
            "Looping %",
            "S",
            "D",
            "I",
            "Words",
        ]
        rows = [
            [
                cell(self._of(row)),
                cell(self.init(row.init)),
                hours_cell(row.hours),
                cell(row.precision),
                cell(row.tier),
                cell(row.test_set),
                cell(row.wer_pct, 2),
                interval_cell(row.wer_low_pct, row.wer_high_pct, signed=False),
                cell(row.cer_pct, 2),
                cell(row.number_wer_pct, 1),
                cell(row.rare_wer_pct, 1),
                cell(row.empty_pct, 1),
                cell(row.looping_pct, 1),
                cell(row.substitutions, 0),
                cell(row.deletions, 0),
                cell(row.insertions, 0),
                cell(row.words, 0),
            ]
            for row in self.tables["wer"].itertuples()
        ]
        chosen = {5: self.test_set}
        filters = [
            {
                "label": heads[column],
                "column": column,
                "choices": list(dict.fromkeys(row[column]["text"] for row in rows)),
                "chosen": chosen.get(column),
            }
            for column in (0, 1, 2, 3, 4, 5)
        ]
        return sheet("wer", heads, rows, sortable=True, filters=filters)

    def _forgotten(self) -> dict:
        """Rates on the test sets of a replayed language, which no run of this study is about."""
        table = self.tables["wer"]
        at = table.test_set.isin(self.settings.get("replayed_test_sets", [])) & (
            table.precision == FULL
        )
        heads = [
            "Trained for",
            "Warm start",
            "Hours",
            "Tier",
            "Test set",
            "WER %",
            f"{self.level} % interval",
        ]
        rows = [
            [
                cell(self.language(row.lang)),
                cell(self.init(row.init)),
                hours_cell(row.hours),
                cell(row.tier),
                cell(row.test_set),
                cell(row.wer_pct, 2),
                interval_cell(row.wer_low_pct, row.wer_high_pct, signed=False),
            ]
            for row in table[at & (table.lang != MEAN)].itertuples()
        ]
        return sheet("forgotten", heads, rows, sortable=True)

    def _fit(self) -> dict:
        table = self.headline("fit")
        heads = [
            "Language",
            "Exponent b",
            f"{self.level} % interval",
            "Per doubling",
            f"{self.level} % interval",
        ]
        heads += [
            f"Hours to {self.chosen.get('threshold_pp', 0.5):g} pp",
            f"{self.level} % interval",
            "Power",
            "Exponential",
            "Log-linear",
            "Constant",
            "Status",
        ]
        rows = []
        for lang, group in table.groupby("lang", sort=False):
            families = group.set_index("family")
            one = families.loc["power"]
            known = "exponent_b" in one and not pd.isna(one.get("factor_per_doubling"))
            numbers = [cell("–")] * 6
            if known:
                numbers = [
                    cell(one.exponent_b, 2),
                    interval_cell(one.exponent_low_b, one.exponent_high_b, signed=False),
                    cell(one.factor_per_doubling, 2, unit=" ×"),
                    interval_cell(
                        one.factor_low_per_doubling, one.factor_high_per_doubling, signed=False
                    ),
                    cell(within_reach(one.threshold_hours), 1),
                    interval_cell(
                        *map(within_reach, (one.threshold_low_hours, one.threshold_high_hours)),
                        1,
                        signed=False,
                    ),
                ]
            weights = [
                cell(
                    families.weight.get(name, float("nan"))
                    if "weight" in families
                    else float("nan"),
                    2,
                )
                for name in ("power", "exponential", "log_linear", "constant")
            ]
            rows.append(
                [cell(self.language(lang)), *numbers, *weights, cell(one.status, wide=True)]
            )
        return sheet("fit", heads, rows)

    def _guideline(self) -> dict:
        heads = ["Language", "Hours", "Gap pp", f"{self.level} % interval", "Start from"]
        rows = []
        for row in (
            self.tables["guideline"]
            .sort_values("lang", kind="stable", key=self._order)
            .itertuples()
        ):
            decided = row.decision in (self.baseline, self.challenger)
            name = self.init(row.decision) if decided else row.decision
            rows.append(
                [
                    cell(self._of(row)),
                    hours_cell(row.hours),
                    cell(row.gap_pp, 2, signed=True),
                    interval_cell(row.gap_low_pp, row.gap_high_pp),
                    cell(name, tag="yes" if decided else "plain"),
                ]
            )
        return sheet("guideline", heads, rows)

    def _tiers(self) -> dict:
        table = self.tables["gap_by_tier"]
        table = table[table.test_set == self.test_set]
        heads = [
            "Language",
            "Hours",
            "Tier",
            "Gap minus gap at " + self.tier,
            f"{self.level} % interval",
            "p (Holm)",
            "Margin pp",
            "Verdict",
        ]
        rows = [
            [
                cell(self._of(row)),
                hours_cell(math.inf if row.hours == "all" else float(row.hours)),
                cell(row.tier),
                cell(row.difference_pp, 2, signed=True),
                interval_cell(row.difference_low_pp, row.difference_high_pp),
                p_cell(row.p_holm),
                cell(row.margin_pp, 2),
                cell(
                    row.verdict,
                    tag="yes"
                    if row.verdict == "equivalent"
                    else "no"
                    if row.verdict == "different"
                    else "plain",
                ),
            ]
            for row in table.itertuples()
        ]
        return sheet("tiers", heads, rows, sortable=True)

    def _latency(self) -> dict:
        table = self.tables["latency"]
        if table.empty:
            return sheet("latency", [], [])
        keys = ["precision", "tier", "engine", "device", "device_name", "batch_size", "threads"]
        have = [name for name in keys if name in table and table[name].notna().any()]
        grouped = table.groupby(have, sort=False, dropna=False)[
            ["lookahead_ms", "rtfx", "chunk_ms_median", "chunk_ms_p95", "emission_delay_ms"]
        ]
        medians = grouped.agg(lambda values: pd.to_numeric(values).median()).reset_index()
        # A job checks one test set and writes what it saw beside all of them.
        once = table.test_set == table.checked_test_set
        counts = table[["checked_differing_utterances", "checked_utterances"]].where(once, 0)
        counted = table[have].join(counts).groupby(have, sort=False, dropna=False).sum()
        differing = [
            f"{row.checked_differing_utterances:.0f} of {row.checked_utterances:.0f}"
            for row in counted.itertuples()
        ]
        heads = [name.replace("_", " ").capitalize() for name in have]
        heads += [
            "Lookahead ms",
            "RTFx (median)",
            "Chunk ms",
            "Chunk ms p95",
            "Emission delay ms",
            "Tokens that depend on the batch",
        ]
        rows = [
            [
                *(cell(row[name]) for name in have),
                cell(row.lookahead_ms, 0),
                cell(row.rtfx, 1),
                cell(row.chunk_ms_median, 1),
                cell(row.chunk_ms_p95, 1),
                cell(row.emission_delay_ms, 0),
                cell(changed),
            ]
            for (_, row), changed in zip(medians.iterrows(), differing, strict=True)
        ]
        return sheet("latency", heads, rows)

    def _quantization(self) -> dict:
        table = self.tables["quantization"]
        if len(table):
            table = table[(table.languages_as != "sampled")]
        heads = [
            "Language",
            "Warm start",
            "Hours",
            "Precision",
            "Against",
            "Tier",
            "Test set",
            "ΔWER pp",
        ]
        heads += [
            f"{self.level} % interval",
            "Encoder MB",
            "× vs PyTorch fp32",
            "× vs ONNX fp32",
            "× vs fp16",
        ]
        sizes = [
            "times_smaller_than_pytorch_fp32",
            "times_smaller_than_onnx_fp32",
            "times_smaller_than_fp16",
        ]
        rows = [
            [
                cell(self._of(row)),
                cell("Change of the gap" if row.init == "gap" else self.init(row.init)),
                hours_cell(row.hours),
                cell(row.precision),
                cell("PyTorch" if row.baseline_precision == "full" else row.baseline_precision),
                cell(row.tier),
                cell(row.test_set),
                cell(row.delta_pp, 2, signed=True),
                interval_cell(row.delta_low_pp, row.delta_high_pp),
                cell(getattr(row, "bytes_encoder", float("nan")) / 1e6, 2),
                *(cell(getattr(row, size, float("nan")), 2) for size in sizes),
            ]
            for row in table.itertuples()
        ]
        return sheet("quantization", heads, rows, sortable=True)

    def _runs(self) -> dict:
        heads = [
            "Language",
            "Warm start",
            "Hours",
            "Seed",
            "Steps",
            "Audio seen h",
            "Epochs",
            "Final loss",
            "Wall s",
            "Peak MB",
        ]
        rows = [
            [
                cell(self.language(run["lang"])),
                cell(self.init(run["init"])),
                hours_cell(float(run["hours"])),
                cell(run["seed"], 0),
                cell(run.get("steps"), 0),
                cell(run.get("hours_seen"), 2),
                cell(run.get("epochs"), 1),
                cell(_number((run.get("final") or {}).get("loss")), 3),
                cell(run.get("wall_s"), 0),
                cell(run.get("peak_mb"), 0),
            ]
            for run in self.runs
        ]
        return sheet("runs", heads, rows, sortable=True)

    def _data(self) -> dict:
        heads = [
            "Language",
            "Corpus",
            "Read cuts",
            "Read h",
            "Kept cuts",
            "Kept h",
            "Dropped cuts",
            "Dropped h",
            "Licence",
        ]
        licences = self.settings.get("licences") or {}
        rows = []
        for lang, pool in self.quality.pools.items():
            for corpus, entry in pool.get("corpora", {}).items():
                read, kept = entry.get("read", {}), entry.get("kept", {})
                dropped = list(entry.get("dropped", {}).values())
                rows.append(
                    [
                        cell(self.language(lang)),
                        cell(corpus),
                        cell(read.get("cuts"), 0),
                        cell(read.get("hours"), 2),
                        cell(kept.get("cuts"), 0),
                        cell(kept.get("hours"), 2),
                        cell(sum(d["cuts"] for d in dropped), 0),
                        cell(sum(d["hours"] for d in dropped), 2),
                        cell((licences.get(lang) or {}).get(corpus) or "not stated", wide=True),
                    ]
                )
        return sheet("data", heads, rows)

    def _drops(self) -> dict:
        heads = ["Language", "Corpus", "Split", "Dropped from", "Reason", "Cuts", "Hours"]
        damaged = [
            (made["lang"], made["corpus"], made["split"], "manifest", reason, tally)
            for made in self.quality.manifests
            for reason, tally in made["dropped"].items()
        ]
        # The pool is made of one split a corpus; which one, its report does not say.
        unfit = [
            (lang, corpus, "training", "pool", reason, tally)
            for lang, pool in self.quality.pools.items()
            for corpus, entry in pool.get("corpora", {}).items()
            for reason, tally in entry.get("dropped", {}).items()
        ]
        rows = [
            [
                cell(self.language(lang)),
                cell(corpus),
                cell(split),
                cell(stage),
                cell(reason.replace("_", " ")),
                cell(tally["cuts"], 0),
                cell(tally["hours"], 3),
            ]
            for lang, corpus, split, stage, reason, tally in damaged + unfit
        ]
        return sheet("drops", heads, rows)

    def _unwritable(self) -> dict:
        heads = ["Language", "Test set", "Character", "Name", "Times in the references"]
        rows = [
            [
                cell(self.language(lang)),
                cell(test_set),
                cell(character),
                cell(unicodedata.name(character, f"U+{ord(character):04X}").lower(), wide=True),
                cell(count, 0),
            ]
            for lang, coverage in self.quality.coverage.items()
            for test_set, found in coverage["tests"].items()
            for character, count in found["unwritable"].items()
        ]
        return sheet("unwritable", heads, rows)

    def guard_text(self) -> str:
        """What the leak guard looked at and took, in words."""
        parts = []
        for lang, pool in self.quality.pools.items():
            guard = pool.get("guard", {})
            on = " and ".join(guard.get("on", [])) or "nothing"
            removed = guard.get("removed", {})
            taken = (
                ", ".join(f"{name}: {_taken(value)}" for name, value in removed.items())
                if isinstance(removed, dict)
                else str(removed)
            )
            parts.append(
                f"{self.language(lang)}: the leak guard compares {on} with the test sets"
                + (f" and removed {taken}" if taken else "")
            )
        return "; ".join(parts) + "." if parts else ""

    def pairs(self) -> list[dict]:
        """Audit of every baseline/challenger pair: which facts differ that must not, which are not
        recorded."""
        by_key = {
            (run["lang"], str(run["hours"]), run["seed"], run["init"]): run for run in self.runs
        }
        result = []
        for (lang, hours, seed, init), run in by_key.items():
            other = by_key.get((lang, hours, seed, self.challenger))
            if init != self.baseline or other is None:
                continue
            left, right = pair_facts(run), pair_facts(other)
            missing = [name for name in PAIRED if left[name] is None or right[name] is None]
            different = [
                name for name in PAIRED if name not in missing and left[name] != right[name]
            ]
            result.append(
                {
                    "name": f"{self.language(lang)} {hours} h seed {seed}",
                    "different": different,
                    "missing": missing,
                }
            )
        return result

    def _donors(self) -> dict:
        """What the donors were trained with that no fine-tuning makes equal."""
        heads = [
            "Warm start",
            "Licence",
            "Test sets its donor has seen",
            "Attention contexts of its donor [left, right]",
        ]
        rows = []
        for name, facts in self.settings["inits"].items():
            contexts = {
                json.dumps(found)
                for run in self.runs
                if run["init"] == name and (found := donor_contexts(run))
            }
            shown = "; ".join(sorted(contexts)) if contexts else "not recorded"
            rows.append(
                [
                    cell(self.init(name)),
                    cell(facts.get("licence") or "not stated"),
                    cell(", ".join(facts.get("seen") or []) or "none listed", wide=True),
                    cell(shown, wide=True),
                ]
            )
        return sheet("donors", heads, rows)

    def donor_text(self) -> str:
        """A sentence on the donors' own contexts: equal, different (a possible confound), or not
        recorded."""
        known = {run["init"]: found for run in self.runs if (found := donor_contexts(run))}
        if not {self.baseline, self.challenger} <= set(known):
            return "The attention contexts that the donors were trained with are not recorded."
        ours, theirs = known[self.baseline], known[self.challenger]
        if ours == theirs:
            return "Both donors were trained with the same attention contexts."
        return (
            "The donors were trained with unequal attention contexts (in frames; "
            f"{self.init(self.baseline)}: {_sides(ours)}; "
            f"{self.init(self.challenger)}: {_sides(theirs)}). Fine-tuning gives both the study's "
            "own, which may lie nearer to "
            f"one donor's than to the other's: some of a gap may come from there."
        )

    def _pair_sheet(self) -> dict:
        marks = {"equal": "yes", "differs": "no", "not recorded": "plain"}
        rows = []
        for pair in self.pairs():
            states = [
                "differs"
                if n in pair["different"]
                else "not recorded"
                if n in pair["missing"]
                else "equal"
                for n in PAIRED
            ]
            rows.append([cell(pair["name"]), *(cell(state, tag=marks[state]) for state in states)])
        return sheet("pairs", ["Pair", *(name.capitalize() for name in PAIRED)], rows)

    def _provenance(self) -> dict:
        heads = ["Run", "Commit", "Hardware", "GPU h", "Starts", "Encoder tensors", "Model sha256"]
        heads += ["Init", "Init sha256", "Versions"]
        rows = []
        for run in self.runs:
            versions = run.get("versions") or {}
            text = (
                ", ".join(f"{name} {value}" for name, value in versions.items())
                if isinstance(versions, dict)
                else str(versions)
            )
            hardware = run.get("hardware")
            hardware = (
                ", ".join(str(v) for v in hardware.values() if v)
                if isinstance(hardware, dict)
                else hardware
            )
            rows.append(
                [
                    cell(f"{run['lang']}/{run['init']}/{run['hours']}h/seed{run['seed']}"),
                    cell(str(run.get("git_commit") or "not recorded")[:12]),
                    cell(hardware, wide=True),
                    cell(run.get("gpu_hours"), 2),
                    cell(len(run.get("starts") or [None]), 0),
                    cell(
                        f"{_count(run.get('encoder_tensors_loaded'))} of "
                        f"{run.get('encoder_tensors', '?')}"
                    ),
                    cell(str(run.get("model_sha256") or "")[:16]),
                    cell(_origin(run.get("init_source"))),
                    cell(str((run.get("input_digests") or {}).get("init") or "random")[:16]),
                    cell(text, wide=True),
                ]
            )
        return sheet("provenance", heads, rows)

    def captions(self) -> dict[str, str]:
        """Caption of every figure."""
        words = {
            "baseline": self.baseline,
            "challenger": self.challenger,
            "challenger_name": self.init(self.challenger),
            "level": self.level,
            "test_set": self.test_set,
            "tier": self.tier,
        }
        return {name: text.format(**words) for name, text in _CAPTIONS.items()}

    def methods(self) -> list[str]:
        """How the numbers were made, in short lines."""
        replicates, margin = (
            self.chosen.get("replicates", 10000),
            self.chosen.get("tier_margin_pp", 0.5),
        )
        return [
            "Text: one normaliser for training text, references and hypotheses, by language block; "
            "raw hypotheses are stored.",
            "Rates: jiwer counts per utterance, summed over the corpus; never a mean of "
            "per-utterance rates.",
            f"Intervals: paired block bootstrap, {replicates} replicates, the same blocks for all "
            "systems of a language and "
            f"test set; {self.level} % percentiles widened by Student's t.",
            "Mean over languages: the languages of this study as they are. gap.csv also has the "
            "mean with languages as a "
            "sample, for statements about other languages, when there are at least three.",
            "Law: gap = a·h^(−b), weighted least squares in percentage points through every "
            "replicate, so that zero and "
            "negative gaps count like any other; pooled = one exponent, an amplitude per language. "
            "Families are compared by "
            "AIC with the variances known from the bootstrap; the table shows Akaike weights.",
            "Tiers: 'equivalent' means two one-sided tests put the change of the gap inside "
            f"±{margin:g} pp, 'different' that "
            "its interval excludes zero; each row by itself. p (Holm) is after all rows of the "
            "test set.",
            "Lookahead is (right context + 1) · 80 ms. It is an algorithmic figure, not the delay "
            "a user feels.",
        ]


def _number(value: Any) -> float | None:
    try:
        return float(value)
    except (TypeError, ValueError):
        return None


def _count(value: Any) -> Any:
    return len(value) if isinstance(value, list | dict) else "?" if value is None else value


def _origin(source: Any) -> str:
    """Where a donor came from: repository and commit, or the name of a file; folders of the machine
    stay out of the page."""
    if not isinstance(source, dict):
        return "not recorded"
    name, revision = str(source.get("source") or "not recorded"), source.get("revision")
    return f"{name}@{revision[:12]}" if revision else name.rsplit("/", 1)[-1]


def _taken(value: Any) -> str:
    if isinstance(value, dict):
        cuts = value.get("cuts")
        return (
            f"{cuts} cuts"
            if cuts is not None
            else ", ".join(f"{_taken(inner)} by {name}" for name, inner in value.items())
            or "nothing"
        )
    return f"{value} cuts"


def inline_svg(path: Path) -> str:
    """An SVG file as an element of the page: no XML head, its ids made unique by the file's
    name."""
    text = path.read_text(encoding="utf-8")
    text = text[text.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.S)
    prefix = path.stem + "-"
    for name in set(re.findall(r'\bid="([^"]+)"', text)):
        text = (
            text.replace(f'id="{name}"', f'id="{prefix}{name}"')
            .replace(f'#{name}"', f'#{prefix}{name}"')
            .replace(f"#{name})", f"#{prefix}{name})")
        )
    # As wide as the page at most, and as large as drawn times the same factor in every figure, so
    # that letters match.
    points = float(re.search(r'<svg[^>]*? width="([\d.]+)pt"', text)[1])
    head, _, rest = text.partition(">")
    head = re.sub(r' (width|height)="[^"]*"', "", head)
    return f'{head} style="--natural: {points * _PIXELS_PER_POINT:.0f}px">{rest}'


def aligned_examples(scores: pd.DataFrame, page: Page, count: int = 6) -> list[dict]:
    """Per language, the utterances with most errors of the challenger at the largest budget,
    aligned word by word."""
    import jiwer

    examples = []
    at = (
        (scores.test_set == page.test_set)
        & (scores.tier == page.tier)
        & (scores.precision == FULL)
        & (scores.init == page.challenger)
    )
    for lang, own in scores[at].groupby("lang", sort=False):
        own = own[(own.hours == own.hours.max()) & (own.ref_words > 0)]
        own = own.assign(errors=own.substitutions + own.deletions + own.insertions).sort_values(
            ["errors", "id"], ascending=[False, True]
        )
        rows = own[own.seed == own.seed.min()].head(count)
        if rows.empty or not rows.errors.iloc[0]:
            continue
        blocks = []
        for row in rows.itertuples():
            aligned = jiwer.visualize_alignment(
                jiwer.process_words(row.reference, row.hypothesis), show_measures=False
            )
            lines = [line for line in aligned.splitlines() if line.startswith((" ", "REF", "HYP"))]
            blocks.append(f"{row.id}\n" + "\n".join(lines))
        title = (
            f"{page.language(lang)}: {page.init(page.challenger)}, {own.hours.iloc[0]:g} h, "
            f"{page.tier}, {page.test_set}"
        )
        examples.append({"title": title, "blocks": blocks})
    return examples
