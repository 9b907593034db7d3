"""Examples of errors: a few utterances of each test set, what every arm made of them at every tier,
aligned word by word, and their recordings where the licence lets them be passed on."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pandas as pd

from warmstart.evidence.display import Display, listed
from warmstart.evidence.keys import FULL, MEAN
from warmstart.report import recordings
from warmstart.report.blocks import Choice, Example, Examples, Heard, Option, Piece

TYPICAL, WORST = "typical", "most errors"
_LONGEST_RUN = 4  # words left out in a row that are all shown
_KEYS = ("training_set", "arm", "hours", "seed", "precision", "tier", "test_set")
_COUNTS = ["id", "ref_words", "substitutions", "deletions", "insertions", "duration_s"]


@dataclass(frozen=True)
class Picked:
    """An utterance that is shown.

    Attributes:
        kind: why: `TYPICAL` or `WORST`.
        heard: what each (arm, tier) made of it.
        recording: as an address; empty: it is not in the page.
    """

    lang: str
    training_set: str
    test_set: str
    id: str
    kind: str
    reference: str
    heard: Mapping[tuple[str, str], str]
    recording: str = ""


def pick(path: str | Path, wer: pd.DataFrame, display: Display, count: int) -> list[Picked]:
    """Utterances of a score file to show: half of them of about the error rate of the whole, half
    with most errors in a hundred words, by the headline's challenger at the reference tier, at its
    largest budget, first seed and full precision. Only these rows are read.

    Args:
        path: of the scores.
        wer: the table `wer`, which says what is in the file.
        display: names and choices of the study.
        count: utterances of each training set and test set.
    """
    settings, arm = display.settings, display.contrasts[0].challenger
    found: list[Picked] = []
    wer = wer[(wer.lang != MEAN) & (wer.precision == FULL) & (wer.hours > 0)]
    scores = _Scores(path)
    lang = scores.lang()
    wer = wer[wer.lang == lang]
    for training_set, own in wer.groupby("training_set", sort=False):
        if not settings.is_for(str(training_set), lang) or not (own.arm == arm).any():
            continue
        hours = own[own.arm == arm].hours.max()
        here = own[own.hours == hours]
        tiers = [tier for tier in display.tiers if tier in set(here.tier)]
        tier = settings.reference_tier if settings.reference_tier in tiers else tiers[0]
        for test_set in (name for name in display.test_sets if name in set(here.test_set)):
            at = {
                "training_set": str(training_set),
                "test_set": test_set,
                "hours": float(hours),
                "precision": FULL,
            }
            counts = _first_seed(scores.read([*_COUNTS, "seed"], **at, arm=arm, tier=tier))
            kinds = _choose(counts, count)
            if not kinds:
                continue
            texts = scores.read(
                ["id", "arm", "tier", "reference", "hypothesis"],
                **at,
                seed=int(counts.seed.iloc[0]),
                id=list(kinds),
            )
            for name, kind in kinds.items():
                rows = texts[texts.id == name]
                heard = {(row.arm, row.tier): row.hypothesis for row in rows.itertuples()}
                if heard:
                    reference = rows.reference.iloc[0]
                    found.append(
                        Picked(lang, str(training_set), test_set, name, kind, reference, heard)
                    )
    return found


class _Scores:
    """A score file that is read in parts: that of a full study has millions of rows, a row group
    for each decode."""

    def __init__(self, path: str | Path):
        import pyarrow.parquet

        self._file = pyarrow.parquet.ParquetFile(path, page_checksum_verification=True)
        self._groups: list[dict[str, Any]] | None = None

    def lang(self) -> str:
        """Language of all its rows."""
        return str(self._file.read_row_group(0, columns=["lang"])["lang"][0])

    def read(self, columns: list[str], **at: Any) -> pd.DataFrame:
        """Some columns of the rows with these values; of a list, with one of them."""
        import pyarrow
        import pyarrow.compute

        wanted = list(dict.fromkeys([*columns, *at]))
        found = []
        for number, bounds in enumerate(self._bounds()):
            if not all(_may_hold(bounds.get(name), value) for name, value in at.items()):
                continue
            rows = self._file.read_row_group(number, columns=wanted, use_threads=False)
            keep = None
            for name, value in at.items():
                column = rows[name]
                here = (
                    pyarrow.compute.is_in(column, pyarrow.array(value, column.type))
                    if isinstance(value, list)
                    else pyarrow.compute.equal(column, value)
                )
                keep = here if keep is None else pyarrow.compute.and_(keep, here)
            found.append((rows if keep is None else rows.filter(keep)).select(columns))
        schema = self._file.schema_arrow
        empty = pyarrow.schema([schema.field(name) for name in columns]).empty_table()
        return pyarrow.concat_tables(found or [empty]).to_pandas()

    def _bounds(self) -> list[dict[str, Any]]:
        """Least and greatest value of the keys in each row group, where the file says so."""
        if self._groups is None:
            meta = self._file.metadata
            places = {meta.schema.column(place).path: place for place in range(meta.num_columns)}
            self._groups = []
            for number in range(meta.num_row_groups):
                group, bounds = meta.row_group(number), {}
                for name in _KEYS:
                    known = group.column(places[name]).statistics
                    if known is not None and known.has_min_max:
                        bounds[name] = (known.min, known.max)
                self._groups.append(bounds)
        return self._groups


def _may_hold(bounds: tuple[Any, Any] | None, value: Any) -> bool:
    """Whether a row group may have a value."""
    return bounds is None or isinstance(value, list) or bounds[0] <= value <= bounds[1]


def _first_seed(rows: pd.DataFrame) -> pd.DataFrame:
    return rows[rows.seed == rows.seed.min()] if len(rows) else rows


def _choose(rows: pd.DataFrame, count: int) -> dict[str, str]:
    """Id -> kind, of the utterances to show, the typical ones first."""
    rows = rows[(rows.ref_words > 0)]
    # What can be listened to, if there is enough of it.
    short = rows[rows.duration_s <= recordings.LONGEST_S]
    rows = short if len(short) >= count else rows
    if rows.empty:
        return {}
    errors = rows.substitutions + rows.deletions + rows.insertions
    rows = rows.assign(errors=errors, rate=errors / rows.ref_words)
    rows = rows.assign(
        far=(rows.rate - rows.errors.sum() / rows.ref_words.sum()).abs(),
        odd=(rows.ref_words - rows.ref_words.median()).abs(),
    )
    typical = rows.sort_values(["far", "odd", "id"]).id.head((count + 1) // 2)
    rest = rows[(rows.errors > 0) & ~rows.id.isin(typical)]
    worst = rest.sort_values(["rate", "ref_words", "id"], ascending=[False, False, True]).id
    return {
        **dict.fromkeys(typical, TYPICAL),
        **dict.fromkeys(worst.head(count - len(typical)), WORST),
    }


def with_recordings(
    picked: Sequence[Picked],
    manifests: Mapping[tuple[str, str], Path],
    display: Display,
    most_bytes: int,
) -> list[Picked]:
    """The same with recordings, as far as their licences and the room allow.

    Args:
        picked: utterances.
        manifests: (language, test set) -> manifest.
        display: what it says of test sets.
        most_bytes: of all recordings together, as they stand in the page.
    """
    cuts: dict[tuple[str, str], dict[str, Any]] = {}
    for place in dict.fromkeys((one.lang, one.test_set) for one in picked):
        if place in manifests and may_be_heard(display, *place):
            ids = {one.id for one in picked if (one.lang, one.test_set) == place}
            cuts[place] = recordings.find(manifests[place], ids)
    made: dict[tuple[str, str, str], str] = {}
    left = most_bytes
    # What the page opens with comes first, then one more of every test set, in turns.
    turns: dict[tuple[str, str, str], int] = {}
    order = []
    for one in picked:
        group = (one.lang, one.training_set, one.test_set)
        turns[group] = turns.get(group, 0) + 1
        order.append((group != _first(picked), turns[group], one))
    for _, _, one in sorted(order, key=lambda each: each[:2]):
        key = (one.lang, one.test_set, one.id)
        cut = cuts.get(key[:2], {}).get(one.id)
        if cut is None or key in made:
            continue
        samples = recordings.samples_of(cut)
        if samples is None:
            continue
        address = recordings.as_uri(samples)
        if len(address) <= left:
            made[key] = address
            left -= len(address)
    return [
        replace(one, recording=made.get((one.lang, one.test_set, one.id), "")) for one in picked
    ]


def may_be_heard(display: Display, lang: str, test_set: str) -> bool:
    """Whether the licence of a test set lets its recordings stand in a page that is passed on."""
    known = display.described.get(test_set)
    return bool(known and lang in known.recordings and known.recordings[lang].passed_on)


def licence_lines(picked: Sequence[Picked], display: Display) -> list[str]:
    """Whose recordings are in the page, and why others are not."""
    heard: dict[str, list[str]] = {}
    not_heard: dict[str, list[str]] = {}
    for lang, test_set in dict.fromkeys((one.lang, one.test_set) for one in picked):
        known = display.described.get(test_set)
        of = known.recordings.get(lang) if known else None
        licence = (of.licence if of else None) or "licence not stated"
        there = any(one.recording for one in picked if (one.lang, one.test_set) == (lang, test_set))
        if there:
            heard.setdefault(licence, []).append(display.test_set(test_set))
        elif not may_be_heard(display, lang, test_set):
            not_heard.setdefault(licence, []).append(display.test_set(test_set))
    return [
        *(
            f"Recordings of {listed(dict.fromkeys(names))}: {licence}."
            for licence, names in heard.items()
        ),
        *(
            f"No recordings of {listed(dict.fromkeys(names))}, because their licence does not "
            f"clearly let them be passed on ({licence})."
            for licence, names in not_heard.items()
        ),
    ]


def block_of(picked: Sequence[Picked], display: Display, wer: pd.DataFrame) -> Examples:
    """The examples with their choices, those of the headline shown at first."""
    settings = display.settings
    first = _first(picked)
    tiers = {tier for one in picked for _, tier in one.heard}
    tier = settings.reference_tier
    if tier not in tiers:
        tier = next(name for name in display.tiers if name in tiers)
    examples = [_example(one, display, first, tier, wer) for one in picked]
    groups = dict.fromkeys((one.lang, one.training_set) for one in picked)
    arms = {arm for one in picked for arm, _ in one.heard}
    choices = [
        Choice(
            "Language",
            "group",
            [Option(_key(*group), _group_name(display, *group)) for group in groups],
            _key(*first[:2]),
        ),
        Choice(
            "Test set",
            "test_set",
            [
                Option(name, display.test_set(name))
                for name in display.test_sets
                if any(one.test_set == name for one in picked)
            ],
            first[2],
        ),
        Choice(
            "Arm" if display.noun(display.contrasts[0]) != "start" else "Started from",
            "arm",
            [Option(name, display.arm(name)) for name in display.arms if name in arms],
            "",
            "all",
        ),
        Choice(
            "Latency",
            "tier",
            [Option(name, display.tier(name)) for name in display.tiers if name in tiers],
            tier,
        ),
    ]
    return Examples(examples, [choice for choice in choices if len(choice.options) > 1])


def _first(picked: Sequence[Picked]) -> tuple[str, str, str]:
    one = picked[0]
    return one.lang, one.training_set, one.test_set


def _key(lang: str, training_set: str) -> str:
    return f"{lang}/{training_set}"


def _group_name(display: Display, lang: str, training_set: str) -> str:
    name = display.language(lang)
    on = "" if training_set == lang else f", trained on {display.training_set(training_set)}"
    return name + on


def _example(
    one: Picked, display: Display, first: tuple[str, str, str], tier: str, wer: pd.DataFrame
) -> Example:
    places = [(arm, at) for arm in display.arms for at in display.tiers if (arm, at) in one.heard]
    here = wer[(wer.training_set == one.training_set) & (wer.lang == one.lang)]
    hours = here[here.arm == display.contrasts[0].challenger].hours.max()
    heard = []
    for arm, at in places:
        pieces, errors = align(one.reference, one.heard[arm, at])
        words = len(one.reference.split())
        said = f"{errors} of {words} words wrong" if errors else f"all {words} words right"
        heard.append(
            Heard(
                arm,
                at,
                f"{display.arm(arm)}, {hours:g} h, {display.tier(at)}",
                said,
                errors,
                pieces,
                at == tier,
            )
        )
    kind = {TYPICAL: "A typical one", WORST: "Among those with most errors"}[one.kind]
    return Example(
        group=_key(one.lang, one.training_set),
        test_set=one.test_set,
        title=f"{_group_name(display, one.lang, one.training_set)}, "
        f"{display.test_set(one.test_set)}. {kind}",
        lang=one.lang,
        reference=one.reference,
        heard=heard,
        audio=one.recording,
        shown=(one.lang, one.training_set, one.test_set) == first,
    )


def align(reference: str, hypothesis: str) -> tuple[list[Piece], int]:
    """A hypothesis beside its reference, stretch by stretch, and the number of errors.

    Long stretches of words left out are shortened: their first and last words say where they are.
    """
    import jiwer

    output = jiwer.process_words(reference, hypothesis)
    said, heard = output.references[0], output.hypotheses[0]
    pieces = []
    for chunk in output.alignments[0]:
        words = said[chunk.ref_start_idx : chunk.ref_end_idx]
        if chunk.type == "delete" and len(words) > _LONGEST_RUN:
            words = [words[0], f"… {len(words) - 2} words …", words[-1]]
        pieces.append(
            Piece(
                chunk.type,
                " ".join(words),
                " ".join(heard[chunk.hyp_start_idx : chunk.hyp_end_idx]),
            )
        )
    if not heard:
        pieces = [Piece("equal", "", "(nothing recognised)")]
    return pieces, output.substitutions + output.deletions + output.insertions
