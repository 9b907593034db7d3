"""Make the tables of the study: rates, gaps, intervals, the law of the gap, tiers, quantisation,
latency, guideline.

Reads score files, the headers of the hypothesis files and the reports of quantised encoders.
Writes wer, gap, gap_by_tier, quantization, fit, latency and guideline .csv (columns:
docs/outputs.md).

    python workflow/scripts/aggregate.py --scores results/scores/*.parquet \\
        --headers results/hypotheses/*/*/*/*/*/*/*.json --quantize
        results/runs/*/*/*/*/*/*/quantize.json \\ --settings '{"baseline": "en", "challenger": "ml",
        "headline_test_set": "fleurs", "reference_tier": "160ms"}' \\ --output-dir results/tables
"""

import dataclasses
import itertools
import math
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from warmstart.evidence import intervals, laws
from warmstart.run import cli
from warmstart.run.errors import UserError
from warmstart.run.files import atomic_path, read_json

DEFAULTS = intervals.DEFAULTS | {"tier_margin_pp": 0.5, "threshold_pp": 0.5}
CELL = ["init", "hours", "precision", "tier"]
COUNTS = ["ref_words", "hits", "substitutions", "deletions", "insertions", "ref_chars"]
COUNTS += [
    "char_substitutions",
    "char_deletions",
    "char_insertions",
    "number_words",
    "number_errors",
    "rare_words",
    "rare_errors",
]
FLAGS = ["empty", "looping"]
FULL = "full"
MEAN = "mean"
POOLED = "pooled"
NAN = float("nan")


@dataclasses.dataclass
class Scored:
    """One language and test set: counts per system and block, and the replicates of every cell's
    rates.

    `wer` and `cer` map (init, hours, precision, tier) to estimates in percent.
    """

    lang: str
    test_set: str
    totals: pd.DataFrame
    wer: dict[tuple, intervals.Draws]
    cer: dict[tuple, intervals.Draws]


def read_scores(paths: list[Path]) -> pd.DataFrame:
    """Counts of all languages, summed inside blocks.

    Raises:
        UserError: a file without rows, or languages scored with different versions of the
            normaliser.
    """
    keys = ["lang", "test_set", *CELL, "seed", "block"]
    columns = [*keys, *COUNTS, *FLAGS, "emission_delay_ms", "normaliser_version"]
    parts, versions = [], {}
    for path in paths:
        table = pd.read_parquet(path, columns=columns)
        if table.empty:
            raise UserError(f"{path}: no rows; score the language again")
        versions[str(path)] = int(table.normaliser_version.max())
        table["utterances"] = 1
        grouped = table.groupby(keys, sort=True, observed=True)
        summed = grouped[[*COUNTS, *FLAGS, "utterances"]].sum()
        summed["emission_delay_ms"] = grouped.emission_delay_ms.median()
        parts.append(summed.reset_index())
    if len(set(versions.values())) > 1:
        raise UserError(
            f"scores of different normaliser versions: {versions}; score all languages again"
        )
    table = pd.concat(parts, ignore_index=True)
    table["normaliser_version"] = next(iter(versions.values()))
    return table


def resample(table: pd.DataFrame, settings: dict[str, Any]) -> Scored:
    """Bootstrap one language and test set.

    Raises:
        UserError: decodes of one test set do not hold the same reference words.
    """
    lang, test_set = table.lang.iloc[0], table.test_set.iloc[0]
    systems = (
        table[[*CELL, "seed"]].drop_duplicates().sort_values([*CELL, "seed"]).reset_index(drop=True)
    )
    table = table.merge(systems.reset_index(names="system"), on=[*CELL, "seed"])
    words = _grid(table, "ref_words")
    chars = _grid(table, "ref_chars")
    if not (words == words[0]).all():
        odd = systems[(words != words[0]).any(axis=1)].iloc[0].to_dict()
        raise UserError(
            f"{lang} {test_set}: {odd} has other reference words than the first decode; score the "
            "language again"
        )
    groups = systems.groupby(CELL, sort=True).indices
    cells, rows = list(groups), [list(members) for members in groups.values()]

    def seed_random(cell: int) -> np.random.Generator:
        # The run, not the decode, carries training noise; both inits and all tiers share the picks,
        # so that seeds stay paired.
        return intervals.generator(settings["seed"], "seeds", lang, cells[cell][1])

    def rates(errors: np.ndarray, total: np.ndarray, name: str) -> dict[tuple, intervals.Draws]:
        draws = intervals.cell_draws(
            errors,
            total,
            rows,
            settings["replicates"],
            intervals.generator(settings["seed"], name, lang, test_set),
            seed_random,
        )
        return {cell: draw.scaled(100.0) for cell, draw in zip(cells, draws, strict=True)}

    errors = sum(_grid(table, name) for name in ("substitutions", "deletions", "insertions"))
    char_errors = sum(
        _grid(table, name) for name in ("char_substitutions", "char_deletions", "char_insertions")
    )
    totals = table.groupby(CELL, sort=True)[[*COUNTS, *FLAGS, "utterances"]].sum()
    totals["seeds"] = table.groupby(CELL, sort=True).seed.nunique()
    totals["blocks"] = table.groupby(CELL, sort=True).block.nunique()
    return Scored(
        lang,
        test_set,
        totals,
        rates(errors, words[0], "blocks"),
        rates(char_errors, chars[0], "blocks"),
    )


def _grid(table: pd.DataFrame, column: str) -> np.ndarray:
    """(systems, blocks) of one count."""
    return table.pivot_table(
        index="system", columns="block", values=column, aggfunc="sum", fill_value=0
    ).to_numpy(float)


def _ratio(part: float, whole: float) -> float:
    return 100.0 * part / whole if whole else NAN


def wer_rows(scored: list[Scored], confidence: float) -> list[dict]:
    """Rates of every cell, then their means over the languages that have the cell."""
    rows = []
    for one in scored:
        for cell, totals in one.totals.iterrows():
            wer, cer = one.wer[cell], one.cer[cell]
            rows.append(
                {
                    "lang": one.lang,
                    "languages": 1,
                    "test_set": one.test_set,
                    **dict(zip(CELL, cell, strict=True)),
                    **{name: int(totals[name]) for name in ("seeds", "utterances", "blocks")},
                    "words": int(totals.ref_words),
                    **{
                        name: int(totals[name])
                        for name in ("substitutions", "deletions", "insertions")
                    },
                    **_with_interval("wer", "pct", wer.value, wer.interval(confidence)),
                    **_with_interval("cer", "pct", cer.value, cer.interval(confidence)),
                    "number_wer_pct": _ratio(totals.number_errors, totals.number_words),
                    "rare_wer_pct": _ratio(totals.rare_errors, totals.rare_words),
                    "empty_pct": _ratio(totals["empty"], totals.utterances),
                    "looping_pct": _ratio(totals.looping, totals.utterances),
                }
            )
    for test_set, members in itertools.groupby(
        sorted(scored, key=lambda one: one.test_set), key=lambda one: one.test_set
    ):
        members = list(members)
        for cell in sorted({cell for one in members for cell in one.wer}):
            have = [one for one in members if cell in one.wer]
            if len(have) < 2:
                continue
            wer, cer = (
                intervals.mean_of([getattr(one, name)[cell] for one in have])
                for name in ("wer", "cer")
            )
            rows.append(
                {
                    "lang": MEAN,
                    "languages": len(have),
                    "test_set": test_set,
                    **dict(zip(CELL, cell, strict=True)),
                    **_with_interval("wer", "pct", wer.value, wer.interval(confidence)),
                    **_with_interval("cer", "pct", cer.value, cer.interval(confidence)),
                }
            )
    return rows


def _with_interval(
    name: str, unit: str, value: float, bounds: tuple[float, float]
) -> dict[str, float]:
    return {
        f"{name}_{unit}": value,
        f"{name}_low_{unit}": bounds[0],
        f"{name}_high_{unit}": bounds[1],
    }


def gaps_of(one: Scored, settings: dict[str, Any]) -> dict[tuple, intervals.Draws]:
    """(hours, precision, tier) -> WER(baseline) - WER(challenger) in percentage points, where both
    were decoded."""
    baseline, challenger = settings["baseline"], settings["challenger"]
    return {
        cell[1:]: one.wer[cell] - one.wer[(challenger, *cell[1:])]
        for cell in one.wer
        if cell[0] == baseline and (challenger, *cell[1:]) in one.wer
    }


def over_languages(
    test_set: str, members: dict[str, dict[tuple, intervals.Draws]], confidence: float
) -> list[dict]:
    """Estimates per language, then their mean: with the languages as fixed, and as a sample of
    languages.

    Args:
        test_set: name of the test set.
        members: language -> cell -> estimate.
        confidence: of the intervals.

    Returns:
        Rows with lang, languages_as, languages, test_set, cell, draws, value, low, high, status.
        `draws` is None for `sampled`.
    """
    rows = []
    cells = sorted({cell for cells in members.values() for cell in cells})
    for cell in cells:
        have = {lang: cells[cell] for lang, cells in members.items() if cell in cells}
        for lang, draws in have.items():
            rows.append(_estimate_row(lang, "one", 1, test_set, cell, draws, confidence))
        if len(have) > 1:
            rows.append(
                _estimate_row(
                    MEAN,
                    "fixed",
                    len(have),
                    test_set,
                    cell,
                    intervals.mean_of(list(have.values())),
                    confidence,
                )
            )
        value, low, high = intervals.mean_over_sampled(
            [draws.value for draws in have.values()], confidence
        )
        status = (
            "ok" if not math.isnan(low) else f"not estimable: {len(have)} of at least 3 languages"
        )
        rows.append(
            {
                "lang": MEAN,
                "languages_as": "sampled",
                "languages": len(have),
                "test_set": test_set,
                "cell": cell,
            }
            | {
                "draws": None,
                "value": value if status == "ok" else NAN,
                "low": low,
                "high": high,
                "status": status,
            }
        )
    return rows


def _estimate_row(
    lang: str,
    kind: str,
    count: int,
    test_set: str,
    cell: tuple,
    draws: intervals.Draws,
    confidence: float,
) -> dict[str, Any]:
    low, high = draws.interval(confidence)
    status = "not estimable: fewer than two blocks" if math.isnan(low) else "ok"
    return {
        "lang": lang,
        "languages_as": kind,
        "languages": count,
        "test_set": test_set,
        "cell": cell,
    } | {
        "draws": draws,
        "value": draws.value,
        "low": low,
        "high": high,
        "status": status,
    }


def by_test_set(scored: list[Scored]) -> dict[str, list[Scored]]:
    """Test set -> its languages, both in the order in which they came."""
    result: dict[str, list[Scored]] = {}
    for one in scored:
        result.setdefault(one.test_set, []).append(one)
    return result


def gap_rows(scored: list[Scored], settings: dict[str, Any]) -> list[dict]:
    """The gap at every budget, tier and precision, by language and in the mean."""
    rows = []
    baseline, challenger = settings["baseline"], settings["challenger"]
    for test_set, members in by_test_set(scored).items():
        gaps = {one.lang: gaps_of(one, settings) for one in members}
        rates = {one.lang: one.wer for one in members}
        trained = {one.lang: one.totals.seeds for one in members}
        for row in over_languages(test_set, gaps, settings["confidence"]):
            langs = (
                [row["lang"]]
                if row["lang"] != MEAN
                else [lang for lang in gaps if row["cell"] in gaps[lang]]
            )
            wer = {
                init: float(np.mean([rates[lang][(init, *row["cell"])].value for lang in langs]))
                for init in (baseline, challenger)
            }
            draws = row["draws"]
            rows.append(
                {
                    **{
                        name: row[name]
                        for name in ("lang", "languages_as", "languages", "test_set")
                    },
                    **dict(zip(CELL[1:], row["cell"], strict=True)),
                    "baseline": baseline,
                    "challenger": challenger,
                    "wer_baseline_pct": wer[baseline],
                    "wer_challenger_pct": wer[challenger],
                    **_with_interval("gap", "pp", row["value"], (row["low"], row["high"])),
                    "relative_gap_pct": _ratio(row["value"], wer[baseline]),
                    "p_value": draws.p_value() if draws else NAN,
                    "probability_challenger_better": float((draws.all > 0).mean())
                    if draws and draws.error
                    else NAN,
                    "seeds": min(
                        int(trained[lang][(init, *row["cell"])]) for lang in langs for init in wer
                    )
                    if draws
                    else None,
                    "status": row["status"],
                }
            )
    return rows


def tier_rows(scored: list[Scored], settings: dict[str, Any]) -> list[dict]:
    """The gap at every tier against the gap at the reference tier, at the same hours, and over all
    hours."""
    rows = []
    reference, margin = settings["reference_tier"], settings["tier_margin_pp"]
    alpha = 1 - settings["confidence"]
    for test_set, members in by_test_set(scored).items():
        differences: dict[str, dict[tuple, intervals.Draws]] = {}
        for one in members:
            gaps = {key: draws for key, draws in gaps_of(one, settings).items() if key[1] == FULL}
            own = {
                (hours, tier): gap - gaps[(hours, FULL, reference)]
                for (hours, _, tier), gap in gaps.items()
                if tier != reference and (hours, FULL, reference) in gaps
            }
            for tier in {tier for _, tier in own}:
                every = [
                    draws for (hours, name), draws in own.items() if name == tier and hours > 0
                ]
                if len(every) > 1:
                    own[(math.inf, tier)] = _mean_same_blocks(every)
            differences[one.lang] = own
        block = []
        for row in over_languages(test_set, differences, settings["confidence"]):
            if row["languages_as"] == "sampled":
                continue
            draws = row["draws"]
            equivalent, p_equivalence = intervals.equivalence(draws, margin, alpha)
            different = row["status"] == "ok" and not row["low"] <= 0 <= row["high"]
            block.append(
                {
                    **{
                        name: row[name]
                        for name in ("lang", "languages_as", "languages", "test_set")
                    },
                    "hours": "all" if math.isinf(row["cell"][0]) else row["cell"][0],
                    "tier": row["cell"][1],
                    "reference_tier": reference,
                    **_with_interval("difference", "pp", row["value"], (row["low"], row["high"])),
                    "p_value": draws.p_value(),
                    "margin_pp": margin,
                    "equivalence_p_value": p_equivalence,
                    "verdict": "equivalent"
                    if equivalent
                    else "different"
                    if different
                    else "not decided",
                    "status": row["status"],
                }
            )
        for row, adjusted in zip(
            block, intervals.holm([row["p_value"] for row in block]), strict=True
        ):
            row["p_holm"] = adjusted
        rows += block
    return rows


def _mean_same_blocks(draws: list[intervals.Draws]) -> intervals.Draws:
    """Mean of estimates that share blocks (budgets of one language): their replicates stay
    aligned."""
    # The blocks are the same at every budget; the seeds trained other models.
    seed_df = intervals.satterthwaite(
        [draw.seed.var() for draw in draws], [draw.seed_df for draw in draws]
    )
    return intervals.combine(
        draws, [1 / len(draws)] * len(draws), min(draw.block_df for draw in draws), seed_df
    )


def quantization_rows(
    scored: list[Scored], settings: dict[str, Any], reports: list[dict]
) -> list[dict]:
    """What a precision costs each init, and what it does to the gap (row `gap`: difference of
    differences).

    Against PyTorch at full precision, and, where the study decodes the unquantised export, against
    that: the rest is then the rounding of the weights alone.
    """
    sizes = {_report_key(report): report for report in reports}
    rows = []
    for baseline in (FULL, *settings.get("exports", ())):
        rows += _against(baseline, scored, settings, sizes)
    return rows


def _against(
    baseline: str, scored: list[Scored], settings: dict[str, Any], sizes: dict[tuple, dict]
) -> list[dict]:
    """Rows of all other precisions against one; the PyTorch model is no rounding of its export."""
    rows = []
    for test_set, members in by_test_set(scored).items():
        costs: dict[str, dict[tuple, intervals.Draws]] = {}
        base = {one.lang: one.wer for one in members}
        for one in members:
            own = {
                cell: one.wer[cell] - one.wer[(*cell[:2], baseline, cell[3])]
                for cell in one.wer
                if cell[2] not in (FULL, baseline) and (*cell[:2], baseline, cell[3]) in one.wer
            }
            for cell in list(own):
                other = (settings["challenger"], *cell[1:])
                if cell[0] == settings["baseline"] and other in own:
                    own[("gap", *cell[1:])] = own[cell] - own[other]
            costs[one.lang] = own
        for row in over_languages(test_set, costs, settings["confidence"]):
            init, hours, precision, tier = row["cell"]
            compared = base.get(row["lang"], {}).get((init, hours, baseline, tier))
            size = sizes.get((row["lang"], init, float(hours), precision, tier), {})
            rows.append(
                {
                    **{
                        name: row[name]
                        for name in ("lang", "languages_as", "languages", "test_set")
                    },
                    **dict(zip(CELL, row["cell"], strict=True)),
                    "baseline_precision": baseline,
                    "wer_baseline_pct": compared.value if compared else NAN,
                    **_with_interval("delta", "pp", row["value"], (row["low"], row["high"])),
                    "p_value": row["draws"].p_value() if row["draws"] else NAN,
                    **_sizes(size),
                    "status": row["status"],
                }
            )
    return rows


def _sizes(report: dict) -> dict[str, float]:
    """Bytes of the encoder and ratios to it, each with its denominator in its name; NaN where no
    report was given."""
    size = report.get("bytes", {})
    own = size.get("encoder", NAN)
    names = {
        "pytorch_fp32": "bytes_pytorch_fp32",
        "onnx_fp32": "bytes_onnx_fp32",
        "fp16": "bytes_fp16",
    }
    bases = {label: size.get(key, NAN) for key, label in names.items()}
    ratios = {
        label.replace("bytes_", "times_smaller_than_"): base / own for label, base in bases.items()
    }
    return {"bytes_encoder": own, **bases, **ratios}


def _report_key(report: dict) -> tuple:
    keys = report.get("keys", report)
    tier = report.get("tier", keys.get("tier"))
    return (
        keys.get("lang"),
        keys.get("init"),
        float(keys.get("hours", "nan")),
        report.get("precision", keys.get("precision")),
        tier["name"] if isinstance(tier, dict) else tier,
    )


def fit_rows(scored: list[Scored], settings: dict[str, Any]) -> list[dict]:
    """The law of the gap on every test set and tier at full precision, per language and pooled
    (shared exponent)."""
    rows = []
    for test_set, members in by_test_set(scored).items():
        gaps = {one.lang: gaps_of(one, settings) for one in members}
        for tier in sorted({key[2] for own in gaps.values() for key in own if key[1] == FULL}):
            series = {
                # Zero hours, a donor as published, is no point of a law in the hours; on a
                # logarithmic axis it has no place.
                lang: {
                    h: draws
                    for (h, precision, name), draws in own.items()
                    if name == tier and precision == FULL and h > 0
                }
                for lang, own in gaps.items()
            }
            series = {lang: own for lang, own in series.items() if own}
            for lang, own in series.items():
                rows += _fit(lang, {lang: own}, test_set, tier, settings)
            if len(series) > 1:
                rows += _fit(POOLED, series, test_set, tier, settings)
    return rows


def _fit(
    name: str,
    series: dict[str, dict[float, intervals.Draws]],
    test_set: str,
    tier: str,
    settings: dict[str, Any],
) -> list[dict]:
    common = {"lang": name, "languages": len(series), "test_set": test_set, "tier": tier}
    hours = np.array(sorted({h for own in series.values() for h in own}))
    points = sum(len(own) for own in series.values())
    common |= {
        "budgets": len(hours),
        "points": points,
        "threshold_pp": settings["threshold_pp"],
        "criterion": "AIC, known variance",
    }
    if len(hours) < 2 or points < len(series) + 1:
        return [
            common
            | {
                "family": "power",
                "status": f"not estimable: {len(hours)} budget(s), a law needs two",
            }
        ]
    replicates = settings["replicates"]
    gaps = np.full((replicates + 1, len(series), len(hours)), np.nan)
    weights = np.zeros((len(series), len(hours)))
    for row, own in enumerate(series.values()):
        for column, h in enumerate(hours):
            if h in own:
                gaps[0, row, column] = own[h].value
                # With several seeds each point keeps the wide tails of its own few: the points'
                # weights rest on variances that are as uncertain, and one spread common to all
                # points made the intervals of the exponent far too short.
                gaps[1:, row, column] = own[h].all
                weights[row, column] = laws.gap_weights([own[h]])[0]
    power = laws.SHAPES[0]
    fit = laws.fit_shape(power, hours, gaps, weights)
    df = max((draws.block_df for own in series.values() for draws in own.values()), default=0)
    amplitude = fit.amplitude.mean(axis=1)
    bound = laws.at_shape_bound(power, fit.shape)
    exponent = np.select([bound < 0, bound > 0], [-np.inf, np.inf], fit.shape)
    first = amplitude * (hours[0] / fit.reference) ** -fit.shape
    threshold = laws.hours_to_threshold(
        amplitude, fit.shape, fit.reference, settings["threshold_pp"]
    )

    def spread(draws: np.ndarray) -> tuple[float, float]:
        return intervals.interval(draws[1:], settings["confidence"], df)

    low, high = spread(exponent)
    factor = 2.0**-exponent
    status = "ok"
    if math.isnan(low):
        status = "not estimable: fewer than two blocks"
    elif not np.nan_to_num(gaps[0]).any():
        status = "not estimable: every gap is zero"
    elif bound[0]:
        status = "not estimable: gaps of both signs or flat, no exponent fits"
    elif math.isinf(low) or math.isinf(high):
        status = "exponent not bounded by the data"
    comparison = laws.compare_shapes(hours, gaps[0], weights)
    rows = [
        common
        | {
            "family": "power",
            **_with_interval("exponent", "b", float(exponent[0]), (low, high)),
            **_with_interval("factor", "per_doubling", float(factor[0]), spread(factor)),
            "reference_hours": float(hours[0]),
            **_with_interval("gap_at_reference", "pp", float(first[0]), spread(first)),
            **_with_interval("threshold", "hours", float(threshold[0]), spread(threshold)),
            "amplitude_sd_pp": float(
                np.std(fit.amplitude[0] * (hours[0] / fit.reference) ** -fit.shape[0], ddof=1)
            )
            if len(series) > 1
            else NAN,
            **comparison["power"],
            "status": status,
        }
    ]
    for family in laws.SHAPES[1:]:
        comparable = not math.isnan(comparison[family.name]["aic"])
        rows.append(
            common
            | {"family": family.name, **comparison[family.name]}
            | {"status": "ok" if comparable else "not comparable: as many parameters as gaps"}
        )
    return rows


def latency_rows(headers: list[dict], table: pd.DataFrame) -> list[dict]:
    """Speed of every decode and what its batches change, from its header, and the median delay of
    its tokens."""
    keys = ["lang", "init", "hours", "seed", "precision", "tier", "test_set"]
    delays = table.groupby(keys).emission_delay_ms.median()
    columns = [
        "lookahead_ms",
        "rtfx",
        "audio_s",
        "compute_s",
        "batch_size",
        "engine",
        "device",
        "device_name",
        "threads",
    ]
    checked = ["test_set", "utterances", "differing_utterances", "max_logit_difference"]
    rows = []
    for header in headers:
        key = tuple(
            float(header[k]) if k == "hours" else int(header[k]) if k == "seed" else header[k]
            for k in keys
        )
        rows.append(
            dict(zip(keys, key, strict=True))
            | {name: header.get(name) for name in columns}
            | {name: header["batch_check"][name] for name in ("chunk_ms_median", "chunk_ms_p95")}
            | {f"checked_{name}": header["batch_check"][name] for name in checked}
            | {"emission_delay_ms": delays.get(key, NAN)}
        )
    return rows


def guideline_rows(gaps: list[dict], settings: dict[str, Any]) -> list[dict]:
    """Which init to take, for each language and amount of data, only as far as the intervals carry
    it."""
    threshold = settings["threshold_pp"]
    rows = []
    for row in gaps:
        wanted = (settings["headline_test_set"], FULL, settings["reference_tier"])
        if (row["test_set"], row["precision"], row["tier"]) != wanted or row[
            "languages_as"
        ] == "sampled":
            continue
        low, high = row["gap_low_pp"], row["gap_high_pp"]
        if math.isnan(low):
            decision = "not decided by this study"
        elif low > 0:
            decision = row["challenger"]
        elif high < 0:
            decision = row["baseline"]
        elif -threshold < low and high < threshold:
            decision = "either"
        else:
            decision = "not decided by this study"
        rows.append(
            {name: row[name] for name in ("lang", "languages", "hours", "test_set", "tier")}
            | {name: row[name] for name in ("gap_pp", "gap_low_pp", "gap_high_pp")}
            | {
                "decision": decision,
                "confidence": settings["confidence"],
                "threshold_pp": threshold,
            }
        )
    return rows


def write_table(path: Path, rows: list[dict], columns: list[str] | None = None) -> None:
    """Write rows as CSV with six significant digits; a table without rows keeps its header."""
    with atomic_path(path) as temporary:
        pd.DataFrame(rows, columns=columns if not rows else None).to_csv(
            temporary, index=False, float_format="%.6g"
        )


EMPTY = {
    "gap": (
        "lang languages_as languages test_set hours precision tier gap_pp gap_low_pp gap_high_pp "
        "status"
    ),
    "gap_by_tier": (
        "lang languages_as test_set hours tier reference_tier difference_pp verdict status"
    ),
    "quantization": (
        "lang languages_as test_set init hours precision tier baseline_precision delta_pp status"
    ),
    "fit": "lang test_set tier family exponent_b status",
    "latency": "lang init hours seed precision tier test_set rtfx",
    "guideline": "lang languages hours test_set tier gap_pp decision",
}
"""Header of a table that the study gives no row for."""


def main(argv: list[str] | None = None) -> None:
    """Make all tables."""
    parser = cli.parser(__doc__)
    parser.add_argument("--scores", type=Path, nargs="+", required=True)
    parser.add_argument(
        "--headers",
        action=cli.Paths,
        nargs="*",
        default=[],
        help="header JSON beside each hypothesis file",
    )
    parser.add_argument(
        "--quantize",
        action=cli.Paths,
        nargs="*",
        default=[],
        help="quantize.json of each quantised encoder",
    )
    parser.add_argument(
        "--settings",
        type=cli.json_value,
        required=True,
        help="the block statistics: of the configuration",
    )
    parser.add_argument("--output-dir", type=Path, required=True)
    arguments = parser.parse_args(argv)
    logger = cli.start(arguments)
    settings = DEFAULTS | arguments.settings

    table = read_scores(arguments.scores)
    if settings["headline_test_set"] not in set(table.test_set):
        have = ", ".join(sorted(set(table.test_set)))
        raise UserError(
            f"statistics.headline_test_set is {settings['headline_test_set']!r}; scored test sets: "
            f"{have}"
        )
    scored = []
    for (lang, test_set), part in table.groupby(["lang", "test_set"], sort=False):
        scored.append(resample(part, settings))
        logger.info(
            "%s %s: %d blocks, %d decodes",
            lang,
            test_set,
            part.block.nunique(),
            len(scored[-1].wer),
        )
    # A replayed language is scored to see what is forgotten; the question of the study is not about
    # it.
    compared = [one for one in scored if one.test_set not in settings.get("not_compared", ())]
    gaps = gap_rows(compared, settings)
    tables = {
        "wer": wer_rows(scored, settings["confidence"]),
        "gap": gaps,
        "gap_by_tier": tier_rows(compared, settings),
        "quantization": quantization_rows(
            compared, settings, [_with_path(path) for path in arguments.quantize]
        ),
        "fit": fit_rows(compared, settings),
        "latency": latency_rows([read_json(path) for path in arguments.headers], table),
        "guideline": guideline_rows(gaps, settings),
    }
    for name, rows in tables.items():
        write_table(
            arguments.output_dir / f"{name}.csv",
            rows,
            EMPTY[name].split() if name in EMPTY else None,
        )
        logger.info("%s.csv: %d rows", name, len(rows))


def _with_path(path: Path) -> dict:
    """A quantisation report with the keys of its place:
    {lang}/{init}/{hours}h/seed{seed}/{precision}/{tier}/."""
    lang, init, hours, seed, precision, tier = path.parts[-7:-1]
    keys = {
        "lang": lang,
        "init": init,
        "hours": hours.removesuffix("h"),
        "seed": seed.removeprefix("seed"),
    }
    return read_json(path) | {"keys": keys, "precision": precision, "tier": tier}


if __name__ == "__main__":
    cli.run(main)
