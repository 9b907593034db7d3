"""Whether what matters of what was said is understood: topics and answers told from hypotheses, and
topics told from the donors' encoders."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from warmstart.data import label_tables
from warmstart.evidence import intervals, resampled
from warmstart.evidence.analyses import base
from warmstart.evidence.collected import Evidence, recognition_status
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
from warmstart.evidence.intervals import Draws
from warmstart.evidence.keys import FULL, GAP, Cell
from warmstart.evidence.means import NAN, ratio_pct, with_interval
from warmstart.evidence.noise import TrainingNoise
from warmstart.evidence.recognition import OK
from warmstart.evidence.settings import Contrast, Resampling, Settings
from warmstart.evidence.sheets import Sheet, sheet
from warmstart.evidence.understood import CASCADE, PROBE, QUESTIONS

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_LEFT_OUT = (label_tables.ABSENT, label_tables.CONFLICT)
_HOW = {
    CASCADE: "topic, from the hypothesis",
    PROBE: "topic, from the init's encoder",
    QUESTIONS: "answer, from the hypothesis",
}


def draw(material: base.Material, display: Display, contrast: Contrast | None) -> "Figure":
    """Accuracy of topics against WER, a panel for each language and test set, a mark a decode."""
    from warmstart.evidence import plotting

    table = material.tables["topics"]
    rows = table[(table.kind == CASCADE) & (table.arm != GAP) & table.accuracy_pct.notna()]
    panels = list(rows.groupby(["lang", "test_set"], sort=False))
    figure, axes = plotting.panels(len(panels), height=2.4)
    if not panels:
        plotting.note(axes[0], "No topic was told from a hypothesis.")
    for axis, ((lang, test_set), own) in zip(axes, panels, strict=False):
        for style, arm in enumerate(display.arms):
            series = own[own.arm == arm].sort_values("wer_pct")
            if len(series):
                plotting.errorbars(
                    *(axis, series.wer_pct, series, "accuracy_pct", style),
                    plotting.plain(display.arm(arm)),
                    line=False,
                )
        for column, line, label in (
            ("accuracy_reference_pct", "--", "of the references"),
            ("majority_pct", ":", "commonest topic for all"),
        ):
            axis.axhline(
                own[column].iloc[0], color=plotting.INK, linestyle=line, linewidth=0.9, label=label
            )
        title = f"{display.language(str(lang))}, {display.test_set(str(test_set))}"
        axis.set_title(plotting.plain(title))
        axis.set_ylabel("Topics right (%)")
    plotting.under(axes, "WER (%)")
    plotting.shared_legend(figure, axes)
    return figure


class Analysis(base.Analysis):
    """Right topics and answers, of arms and contrasts, beside the WER of the same utterances."""

    section = base.ERROR_RATES
    title = "Is it understood?"
    caption = (
        "Topics and answers told from hypotheses, and topics told from the encoder states of each "
        "init: accuracy and macro-F1, what is kept of the references' accuracy, and contrasts."
    )
    details = (
        "Nothing is learnt from a sentence of the test set, nor from its translation. A classifier "
        "of texts (TF-IDF of pieces of words, logistic regression) is learnt from references, and "
        "is the same for all arms. A probe (logistic regression on the mean of the encoder's "
        "states) hears the init before any fine-tuning, so its rows have 0 hours. An answer is the "
        "one whose TF-IDF vector has the largest cosine with that of the hypothesis; of several "
        "that are as like, each counts as right by its share. Rows with `arm = gap` are challenger "
        "minus baseline, so that a positive number says that the challenger is understood better. "
        "The unit of resampling is the sentence. Macro-F1 is the mean over the topics of the test "
        "set; its interval is that of its linear part (the first derivatives by the counts of each "
        "sentence). results/understanding/{lang}.json says how labels were joined."
    )
    columns = (
        CONTRAST,
        Column(
            "kind",
            "",
            "`cascade`: topics of hypotheses; `probe`: topics of encoder states; `questions`: "
            "answers from hypotheses",
            "Told",
        ),
        Column("source", "", "language that was learnt from", "Learnt in"),
        *(TRAINING_SET, LANG, TEST_SET, ARM, HOURS, PRECISION, TIER),
        Column("utterances", "", "with a label, or questions"),
        Column("sentences", "", "different ones among them, the unit of resampling"),
        Column("topics", "", "different ones in the test set; of questions the answers' places"),
        Column("unlabelled", "", "utterances of the test set without a label"),
        Column("unseen", "", "utterances of topics that nothing was learnt of: all are wrong"),
        Column("majority_pct", "%", "accuracy of the commonest topic for all", "Commonest %"),
        Column("wer_pct", "%", "WER of these utterances", "WER %"),
        *estimate("accuracy", "pct", "%", "topics, or answers, that are right", "Right %"),
        Column("accuracy_reference_pct", "%", "the same of the references", "Of references %"),
        *estimate("kept", "pct", "%", "accuracy as a share of that of the references", "Kept %"),
        *estimate("macro_f1", "pct", "%", "mean over topics of F1", "Macro-F1 %"),
        Column("p_value", "", "of a contrast: two-sided, of “no difference in accuracy”"),
        Column("status", "", "`ok`, or `not estimable: ...`"),
        RECOGNITION,
    )
    note = (
        "Topics are told by a classifier that learnt from other sentences. A positive difference "
        "says that the challenger is understood better."
    )
    figures = (
        base.Drawing(
            "topics",
            draw,
            "Topics told right from hypotheses against the WER of the same utterances, of every "
            "budget, tier and precision, with {level} % intervals over sentences.",
            empty="no topic was told from a hypothesis",
        ),
    )

    def rows(self, evidence: Evidence, settings: Settings) -> Iterator[dict[str, Any]]:
        """Every question that was asked, in the order of the languages."""
        if evidence.understood is None:
            return
        for lang, about in evidence.understood.about.items():
            table = evidence.understood.rows[lang]
            by = ["test_set", "kind", "source"]
            groups = dict(iter(table.groupby(by, sort=False, observed=True)))
            done = set()
            for entry in about:
                key = entry["test_set"], entry["kind"], entry["source"]
                axes = {"kind": key[1], "source": key[2], "lang": lang, "test_set": key[0]}
                if entry["status"] != OK:
                    arm = entry["counts"].get("arm")
                    yield axes | {"arm": arm, "status": entry["status"], "recognition": OK}
                elif key in groups and key not in done:
                    done.add(key)
                    counted = axes | _counted(entry["counts"])
                    yield from _group(groups[key], counted, evidence, settings)

    def absent(self, tables: base.Tables, display: Display, contrast: Contrast | None) -> str:
        """A study without labels does not ask."""
        table = tables["topics"]
        if table.empty:
            return "The study has no labels of what is said (`understanding`), so it does not say."
        if table.accuracy_pct.notna().any():
            return ""
        return f"Not estimable: {base.reasons(table)}."

    def sheet(
        self, tables: base.Tables, display: Display, contrast: Contrast | None
    ) -> Sheet | None:
        """At the reference tier and full precision; probes; and what is not estimable."""
        table = tables["topics"]
        chosen = (table.tier == display.settings.reference_tier) & (table.precision == FULL)
        table = table[chosen | (table.kind == PROBE) | table.tier.isna()]
        of = self.fields(display)
        fields = [
            of.text("lang", lambda row: display.language(row.lang)),
            of.text("test_set"),
            of.text("kind", lambda row: _HOW[row.kind]),
            of.text("source", lambda row: display.language(row.source)),
            of.text("arm", lambda row: _arm(display, row)),
            *of.training_set(),
            of.number("hours", 2),
            of.number("wer_pct", 1),
            of.number("accuracy_pct", 1),
            of.interval("accuracy", "pct", 1, signed=False),
            of.number("accuracy_reference_pct", 1),
            of.number("majority_pct", 1),
            of.number("kept_pct", 1),
            of.number("macro_f1_pct", 1),
            of.interval("macro_f1", "pct", 1, signed=False),
            of.number("sentences", 0),
            of.text("status", wide=True),
            *of.recognition(table),
        ]
        return sheet(
            self.sheet_name(display, contrast),
            fields,
            table.itertuples(),
            sortable=True,
            filters=[self._label("kind"), self._label("lang")],
        )

    def _label(self, name: str) -> str:
        return next(column.label for column in self.columns if column.name == name)


def _arm(display: Display, row: Any) -> str:
    """Name of an arm; of a contrast the difference that it is."""
    if row.arm != GAP:
        return display.arm(row.arm) if isinstance(row.arm, str) else ""
    contrast = next(each for each in display.contrasts if each.name == row.contrast)
    return f"{display.arm(contrast.challenger)} − {display.arm(contrast.baseline)}"


def _counted(counts: dict[str, Any]) -> dict[str, Any]:
    """What the record says of labels, as columns."""
    from_table = counts.get("test", {}).get("utterances", {})
    joined = sum(count for why, count in from_table.items() if why in _LEFT_OUT)
    return {
        "unlabelled": joined if "test" in counts else NAN,
        "unseen": sum(counts["unseen"].values()) if "unseen" in counts else NAN,
    }


def _group(
    table: pd.DataFrame, axes: dict[str, Any], evidence: Evidence, settings: Settings
) -> Iterator[dict[str, Any]]:
    """Rows of one test set, kind and source: arms, then contrasts."""
    told = tell(table, settings)
    cells = [
        cell
        for cell in sorted(told.accuracy, key=settings.order_of)
        if settings.is_for(cell.training_set, axes["lang"])
    ]
    of_set = [
        one
        for one in evidence.compared
        if (one.lang, one.test_set) == (axes["lang"], axes["test_set"])
    ]
    heard = of_set if axes["kind"] != PROBE else []
    common = {
        "utterances": told.utterances,
        "sentences": told.sentences,
        "topics": told.topics,
        "majority_pct": told.majority_pct if axes["kind"] != QUESTIONS else NAN,
        "accuracy_reference_pct": told.reference_pct,
    }
    for cell in cells:
        yield {
            **axes,
            **common,
            **cell._asdict(),
            "wer_pct": told.wer_pct[cell],
            **_estimates(told, [cell], settings.confidence, axes["kind"]),
            "recognition": recognition_status((one, cell) for one in heard),
        }
    for contrast in settings.contrasts:
        for cell in cells:
            other = cell._replace(arm=contrast.challenger)
            if cell.arm != contrast.baseline or other not in told.accuracy:
                continue
            pair = [other, cell]
            yield {
                **axes,
                **{name: common[name] for name in ("utterances", "sentences", "topics")},
                **cell._asdict(),
                "contrast": contrast.name,
                "arm": GAP,
                "wer_pct": told.wer_pct[other] - told.wer_pct[cell],
                **_estimates(told, pair, settings.confidence, axes["kind"]),
                "recognition": recognition_status((one, each) for one in heard for each in pair),
            }


def _estimates(told: "Told", cells: list[Cell], confidence: float, kind: str) -> dict[str, Any]:
    """Columns of an arm, or of the first minus the second."""

    def of(draws: dict[Cell, Draws]) -> Draws | None:
        if any(cell not in draws for cell in cells):
            return None
        return draws[cells[0]] - draws[cells[1]] if len(cells) > 1 else draws[cells[0]]

    accuracy = of(told.accuracy)
    assert accuracy is not None
    status = _status(told, accuracy, len(cells) > 1)
    known = status == OK
    found: dict[str, Any] = {}
    measured = {"accuracy": accuracy, "kept": of(told.kept) if len(cells) == 1 else None}
    measured["macro_f1"] = of(told.macro_f1) if kind != QUESTIONS else None
    for name, draws in measured.items():
        value = NAN if draws is None else draws.value
        bounds = draws.interval(confidence) if draws is not None and known else (NAN, NAN)
        if len(cells) == 1:
            # The tails of Student's t know nothing of the ends of a share.
            bounds = _within(bounds, 100.0 if name != "kept" else float("inf"))
        found |= with_interval(name, "pct", value, bounds)
    return found | {
        "p_value": accuracy.p_value() if known and len(cells) > 1 else NAN,
        "status": status,
    }


def _within(bounds: tuple[float, float], most: float) -> tuple[float, float]:
    """Bounds of what is neither below zero nor above `most`; NaN stays."""
    low, high = (float(np.clip(bound, 0.0, most)) for bound in bounds)
    return low, high


def _status(told: "Told", accuracy: Draws, contrast: bool) -> str:
    """Whether replicates tell anything of other sentences."""
    if told.sentences < 2:
        return "not estimable: one sentence"
    if accuracy.varies:
        return OK
    if contrast:
        return "not estimable: both arms are right in the same sentences"
    return "not estimable: all sentences are alike, right or wrong"


# ---- counts to estimates


@dataclass(frozen=True)
class Told:
    """One test set, kind and source, resampled by sentences.

    Attributes:
        utterances, sentences, topics: how many.
        majority_pct: accuracy of the commonest topic for all.
        reference_pct: accuracy of the references; NaN where none were asked.
        wer_pct: cell -> WER of these utterances.
        accuracy, macro_f1, kept: cell -> estimate in percent; `kept` is empty where no reference
            is right.
    """

    utterances: int
    sentences: int
    topics: int
    majority_pct: float
    reference_pct: float
    wer_pct: dict[Cell, float]
    accuracy: dict[Cell, Draws]
    macro_f1: dict[Cell, Draws]
    kept: dict[Cell, Draws]


def tell(table: pd.DataFrame, settings: Resampling) -> Told:
    """Estimate all cells of one test set, kind and source.

    Args:
        table: rows of `understood.COLUMNS`.
        settings: how to resample.
    """
    fields = list(Cell._fields)
    keys = table[[*fields, "seed"]].astype(dict.fromkeys(_TEXTS, object))
    systems = keys.drop_duplicates().sort_values([*fields, "seed"], ignore_index=True)
    system = keys.merge(systems.reset_index(names="system"), on=[*fields, "seed"]).system.to_numpy()
    sentence, names = pd.factorize(table.sentence, sort=True)
    shape = len(systems), len(names)

    def grid(weights: np.ndarray) -> np.ndarray:
        """(S, K) sums."""
        flat = system * shape[1] + sentence
        counts = np.bincount(flat, weights=weights, minlength=shape[0] * shape[1])
        return counts.reshape(shape)

    size = grid(np.ones(len(table)))
    right = grid(table.right.to_numpy(float))
    read = grid(table.right_reference.to_numpy(float))[0]
    # One row a seed of a cell; decodes of one test set have the same sentences and references.
    seeds = {
        Cell(*map(_plain, key)): {int(systems.seed[row]): int(row) for row in members}
        for key, members in systems.groupby(fields, sort=True).indices.items()
    }
    lang, test_set, kind = (str(table[name].iloc[0]) for name in ("lang", "test_set", "kind"))

    def draws(numerators: np.ndarray, denominators: np.ndarray) -> dict[Cell, Draws]:
        noise = TrainingNoise(settings.seed, settings.replicates)
        found = resampled.rates_pct(
            numerators,
            denominators,
            seeds,
            lang=lang,
            what=f"{test_set}, {kind}",
            random=intervals.generator(settings.seed, "sentences", lang, test_set, kind),
            settings=settings,
            noise=noise,
        )
        return {cell: draw.trained(noise) for cell, draw in found.items()}

    words, errors = grid(table.words.to_numpy(float)), grid(table.errors.to_numpy(float))
    wer = {}
    for cell, own in seeds.items():
        rows = list(own.values())
        wer[cell] = ratio_pct(errors[rows].sum(), words[rows].sum())
    first = system == 0
    common = table[first].topic.value_counts()
    return Told(
        utterances=int(first.sum()),
        sentences=len(names),
        topics=int((common > 0).sum()),
        majority_pct=100.0 * float(common.iloc[0]) / float(first.sum()),
        reference_pct=100.0 * float(read.sum()) / float(size[0].sum()),
        wer_pct=wer,
        accuracy=draws(right, size[0]),
        macro_f1=draws(_f1_parts(table, grid), size[0]),
        kept=draws(right, read) if read.sum() > 0 else {},
    )


def _f1_parts(table: pd.DataFrame, grid: Any) -> np.ndarray:
    """(S, K) numerators whose sum over the number of utterances is macro-F1, and whose resampled
    sums follow it as far as its first derivatives do.

    F1 of a topic is 2 tp / n with n = true + predicted. A sentence with counts tp_k and n_k moves
    it by (2 tp_k - F1 n_k) / n (the delta method for a ratio); the mean over topics moves by the
    mean of that. Resampling F1 itself would meet replicates that lack a rare topic.
    """
    topic, said = table.topic.astype(object), table.said.astype(object)
    size = grid(np.ones(len(table)))
    total = size.sum(axis=1, keepdims=True)
    topics = sorted(set(topic))
    parts = np.zeros_like(size)
    value = np.zeros((len(size), 1))
    for one in topics:
        is_one, says_one = (topic == one).to_numpy(), (said == one).to_numpy()
        hits = grid((is_one & says_one).astype(float))
        both = grid(is_one.astype(float) + says_one.astype(float))
        every = both.sum(axis=1, keepdims=True)
        f1 = 2 * hits.sum(axis=1, keepdims=True) / every
        parts += (2 * hits - f1 * both) / every / len(topics)
        value += f1 / len(topics)
    return value * size + total * parts


_TEXTS = ("training_set", "arm", "precision", "tier")


def _plain(value: Any) -> Any:
    return float(value) if isinstance(value, int | float | np.number) else str(value)
