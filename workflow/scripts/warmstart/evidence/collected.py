"""Everything that the tables of a study are made from: counts of errors, resampled, and what was
written beside them."""

import logging
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from warmstart.evidence import (
    intervals,
    leaderboard_rates,
    pseudo_labels,
    recognition,
    speakers,
    training_logs,
)
from warmstart.evidence.keys import Cell, Place
from warmstart.evidence.noise import Decode, Run, TrainingNoise
from warmstart.evidence.routed import Routed
from warmstart.evidence.routed import read as read_routed
from warmstart.evidence.settings import Contrast, Resampling, Settings
from warmstart.evidence.understood import Understood
from warmstart.evidence.understood import read as read_understood
from warmstart.run.errors import UserError
from warmstart.run.files import read_json, reading

_LOG = logging.getLogger(__name__)

COUNTS = [
    *("ref_words", "hits", "substitutions", "deletions", "insertions", "ref_chars"),
    *("char_substitutions", "char_deletions", "char_insertions"),
    *("number_words", "number_errors", "rare_words", "rare_errors"),
]
FLAGS = ["empty", "looping"]
KINDS = ("substitutions", "deletions", "insertions")
"""Of errors; their characters have `char_` in front."""
FEWEST_READERS = 6
"""Speakers from which on they stand for others: with fewer an interval would say little but that
they are few."""
SPOKEN = ["spoken", "empty_spoken", "looping_spoken"]
"""Utterances whose reference has a word, and those of them with a flag: of a reference without
words an empty hypothesis is right."""


@dataclass(frozen=True)
class Scored:
    """One test set: counts of every cell that was scored on it, and the replicates of its rates.

    All cells share blocks and replicates, whatever their models were trained on.

    Attributes:
        lang, test_set: the test set.
        totals: cell -> counts over all seeds, `utterances`, `spoken` (with words in the reference),
            `seeds`, `blocks`.
        wer, cer: cell -> rate in percent.
        faults: cell -> why a model of it recognises nothing (`recognition.reason`), of those that
            do not; with several seeds it names them.
        readers: speakers that are resampled beside blocks in which several of them read; 0: they
            are not, so that intervals are for these very readers, unless a block is a speaker.
    """

    lang: str
    test_set: str
    totals: dict[Cell, dict[str, int]]
    wer: dict[Cell, intervals.Draws]
    cer: dict[Cell, intervals.Draws]
    faults: dict[Cell, str] = field(default_factory=dict)
    readers: int = 0

    def gaps(self, contrast: Contrast) -> dict[Place, intervals.Draws]:
        """Place -> WER(baseline) - WER(challenger) in percentage points, where both were
        decoded."""
        return {
            cell.place(self.lang): self.wer[cell] - self.wer[other]
            for cell, other in self.pairs(contrast)
        }

    def pairs(self, contrast: Contrast) -> list[tuple[Cell, Cell]]:
        """Cells of the baseline, each with the challenger's beside it, where both were decoded."""
        found = []
        for cell in self.wer:
            other = cell._replace(arm=contrast.challenger)
            if cell.arm == contrast.baseline and other in self.wer:
                found.append((cell, other))
        return found

    def only(self, wanted: Callable[[Cell], bool]) -> "Scored":
        """The same with fewer cells."""
        return Scored(
            self.lang,
            self.test_set,
            {cell: row for cell, row in self.totals.items() if wanted(cell)},
            {cell: draws for cell, draws in self.wer.items() if wanted(cell)},
            {cell: draws for cell, draws in self.cer.items() if wanted(cell)},
            {cell: why for cell, why in self.faults.items() if wanted(cell)},
            self.readers,
        )

    def trained(self, noise: "Noises") -> "Scored":
        """The same with the noise of trainings in its rates."""
        return replace(
            self,
            wer={cell: draws.trained(noise.wer) for cell, draws in self.wer.items()},
            cer={cell: draws.trained(noise.cer) for cell, draws in self.cer.items()},
        )


def recognition_status(systems: Iterable[tuple[Scored, Cell]]) -> str:
    """`ok`, or which of some cells do not recognise: their arms, and where they are of several
    languages these too."""
    systems = list(systems)
    several = len({scored.lang for scored, _ in systems}) > 1
    failing = [
        f"{cell.arm} in {scored.lang}" if several else cell.arm
        for scored, cell in systems
        if scored.faults.get(cell)
    ]
    return (
        f"{recognition.SAYS_NOT}: {', '.join(dict.fromkeys(failing))}"
        if failing
        else recognition.OK
    )


@dataclass(frozen=True)
class PhoneRates:
    """Test sets of models that write phones. In each `Scored` the word is a phone, so that `wer` is
    a rate of phones (`phone_rates`).

    Attributes:
        per: phone error rates.
        pfer: the same by features, of the same test sets and cells.
        mapped: phone error rates of models of 0 hours, after their phones went to the nearest of
            the language's.
    """

    per: Sequence[Scored] = ()
    pfer: Sequence[Scored] = ()
    mapped: Sequence[Scored] = ()


@dataclass(frozen=True)
class Evidence:
    """What a study has measured.

    Attributes:
        counts: counts of errors, a row for each block and decode; see `read_scores`.
        scored: every test set, in the order of the score files.
        compared: the same with those cells only whose training set is for the language.
        headers: what stands beside each hypothesis file.
        encoders: cell -> report of its quantised encoder.
        candidates: files of `candidates.write`, one a language; none where no decode kept any.
        understood: what was understood of hypotheses; None where nothing was asked.
        routed: which model each utterance was sent to; None where nothing was.
        voices: errors by speaker, gender and accent, a test set each, in the order of `scored`.
        leaderboard: test set and cell -> its errors by the leaderboard's rules.
        phones: rates of models that write phones, which are in none of the above.
        runs: record of each training, `run.json`.
        inventories: language -> what `list_phones.py` counted of it.
        labels: (training set, language, hours) -> what `corrupt_labels.py` did to its texts.
        rounds: what runs that are trained in rounds left of them; None: there are none.
    """

    counts: pd.DataFrame
    scored: list[Scored]
    compared: list[Scored]
    headers: list[dict[str, Any]] = field(default_factory=list)
    encoders: dict[Cell, dict[str, Any]] = field(default_factory=dict)
    candidates: Sequence[Path] = ()
    understood: Understood | None = None
    routed: Routed | None = None
    voices: list[speakers.Voices] = field(default_factory=list)
    leaderboard: dict[leaderboard_rates.Place, leaderboard_rates.Summed] = field(
        default_factory=dict
    )
    phones: PhoneRates = field(default_factory=PhoneRates)
    runs: Sequence[Mapping[str, Any]] = ()
    inventories: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    labels: Mapping[tuple[str, str, float], Mapping[str, Any]] = field(default_factory=dict)
    rounds: pseudo_labels.Material | None = None

    def by_test_set(self) -> dict[str, list[Scored]]:
        """Name of a test set -> what is compared on it, a language each, in the order in which
        they came."""
        result: dict[str, list[Scored]] = {}
        for one in self.compared:
            result.setdefault(one.test_set, []).append(one)
        return result


def collect(
    scores: Sequence[Path],
    settings: Settings,
    headers: Sequence[Path] = (),
    reports: Sequence[Path] = (),
    logs: Sequence[Path] = (),
    candidates: Sequence[Path] = (),
    understood: Sequence[Path] = (),
    routed: Sequence[Path] = (),
) -> Evidence:
    """Read and resample everything.

    Args:
        scores: score files, one a language.
        settings: of the tables.
        headers: JSON beside each hypothesis file.
        reports: `quantize.json` of each quantised encoder.
        logs: `train.csv` of each run, with its `run.json` beside it.
        candidates: see `Evidence`; they are read when they are asked for.
        understood: files of `understand.py`, one a language.
        routed: files of `route.py`, one a run.

    Raises:
        UserError: see `read_scores` and `resample`; or the headline test set was not scored.
    """
    reader = speakers.Reader()
    counts = read_scores(scores, reader)
    if settings.headline_test_set not in set(counts.test_set):
        have = ", ".join(sorted(set(counts.test_set)))
        raise UserError(
            f"statistics.headline_test_set is {settings.headline_test_set!r}; scored test sets: "
            f"{have}"
        )
    scored = resample_all(counts, settings, stalled_runs(logs))
    return Evidence(
        counts,
        scored,
        compared(scored, settings),
        [read_json(path) for path in headers],
        dict(map(_encoder, reports)),
        candidates,
        read_understood(understood),
        read_routed(routed),
        reader.voices(),
        leaderboard_rates.read(scores),
        runs=[read_json(log.with_name("run.json")) for log in logs],
    )


def compared(scored: Sequence[Scored], settings: Settings) -> list[Scored]:
    """What enters gaps: a language that a model was not made for is scored to see what is
    forgotten, and the question of the study is not about it."""
    found = [
        one.only(lambda cell, lang=one.lang: settings.is_for(cell.training_set, lang))
        for one in scored
    ]
    return [one for one in found if one.wer]


def resample_all(
    counts: pd.DataFrame, settings: Settings, stalled: Collection[tuple[str, str, float, int]] = ()
) -> list[Scored]:
    """Bootstrap every test set of a study. What trainings add is estimated from all of them
    together.

    Args:
        counts: rows of `read_scores`.
        settings: how.
        stalled: runs whose loss did not fall (`stalled_runs`).

    Raises:
        UserError: see `resample`.
    """
    noise, scored = Noises(settings, settings.is_for), []
    for (lang, test_set), part in counts.groupby(["lang", "test_set"], sort=False):
        shared = lang in settings.shared_sentences.get(test_set, ())
        unspaced = lang in settings.unspaced
        scored.append(_resample(part, settings, stalled, unspaced, shared, noise))
        blocks, decodes = part.block.nunique(), len(scored[-1].wer)
        _LOG.info("%s %s: %d blocks, %d decodes", lang, test_set, blocks, decodes)
    return [one.trained(noise) for one in scored]


class Noises:
    """The noise of a study's trainings in its word and character error rates."""

    def __init__(self, settings: Resampling, is_for: Callable[[str, str], bool]):
        self.wer, self.cer = (
            TrainingNoise(settings.seed, settings.replicates, is_for) for _ in range(2)
        )


def stalled_runs(logs: Iterable[Path]) -> set[tuple[str, str, float, int]]:
    """(training set, arm, hours, seed) of the runs whose loss did not fall."""
    curves = map(training_logs.read, logs)
    return {
        (run.training_set, run.arm, float(run.hours), run.seed)
        for run, curve in curves
        if training_logs.stalled(curve)
    }


def _encoder(path: Path) -> tuple[Cell, dict[str, Any]]:
    """A report of `quantize.py` and the cell that its encoder is decoded in."""
    report = read_json(path)
    run = report["training_set"], report["arm"], float(report["hours"])
    return Cell(*run, report["precision"], report["tier"]), report


def read_scores(paths: Sequence[Path], reader: speakers.Reader | None = None) -> pd.DataFrame:
    """Counts of all languages, summed inside blocks.

    Args:
        paths: score files, one a language.
        reader: is given the rows too.

    Returns:
        A row for each decode (`Cell`, seed), test set (lang, test_set) and block: `COUNTS`,
        `FLAGS`, `SPOKEN`, utterances, median `emission_delay_ms`; with `speaker` in the files, for
        each speaker in a block.

    Raises:
        UserError: a file without rows, one with rows that lack a count or a block, or languages
            scored with different versions of the normaliser.
    """
    parts, versions = [], {}
    for path in paths:
        with reading(path):
            counts, found = _read(path, reader)
        parts.append(counts)
        versions[str(path)] = sorted(found)
    if len({version for found in versions.values() for version in found}) > 1:
        shown = {path: found[0] if len(found) == 1 else found for path, found in versions.items()}
        raise UserError(
            f"scores of different normaliser versions: {shown}; score all languages again"
        )
    return pd.concat(parts, ignore_index=True) if len(parts) > 1 else parts[0]


_KEYS = ["lang", "test_set", *Cell._fields, "seed", "block"]
_READ = [*_KEYS, *COUNTS, *FLAGS, "emission_delay_ms", "normaliser_version"]
_OPTIONAL = ["speaker"]  # score files of earlier releases lack it


def _read(path: Path, reader: speakers.Reader | None) -> tuple[pd.DataFrame, set[int]]:
    """Counts of a score file, and the versions of the normaliser in it.

    A row group is read at a time, because a language of a large study has millions of rows.
    `score.py` writes one for each hypothesis file; of a file that has a block of a decode in
    several, the median delay is of all its rows, so it is read whole.
    """
    import pyarrow.parquet

    file = pyarrow.parquet.ParquetFile(path, page_checksum_verification=True)
    if not file.metadata.num_rows:
        raise UserError(f"{path}: no rows; score the language again")
    # A file that was written before scores had these columns has none of them.
    wanted = [*_READ, *(name for name in speakers.TRAITS if name in file.schema_arrow.names)]
    parts, versions = [], set()
    for number in range(file.num_row_groups):
        table = file.read_row_group(number, columns=wanted).to_pandas()
        if table.normaliser_version.isna().any():
            raise UserError(f"{path}: rows without a normaliser version; score the language again")
        versions |= set(map(int, table.normaliser_version.unique()))
        parts.append(summed(table, path))
        if reader is not None:
            reader.add(table)
    counts = pd.concat(parts, ignore_index=True)
    keys = [*_KEYS, *(name for name in _OPTIONAL if name in counts)]
    if counts.duplicated(keys).any():
        counts = summed(file.read(columns=wanted).to_pandas(), path)
    return counts.sort_values(keys, ignore_index=True), versions


def summed(table: pd.DataFrame, path: Path) -> pd.DataFrame:
    """Rows of a score file, summed inside blocks, and inside what a speaker read in a block.

    Raises:
        UserError: a count or a block is missing.
    """
    _whole(table, str(path))
    spoken = table.ref_words > 0
    table = table.assign(
        utterances=1,
        spoken=spoken,
        empty_spoken=table["empty"] & spoken,
        looping_spoken=table.looping & spoken,
    )
    keys = [*_KEYS, *(name for name in _OPTIONAL if name in table)]
    # Utterances of nobody in particular are kept, as a row of their block.
    grouped = table.groupby(keys, sort=True, observed=True, dropna=False)
    summed = grouped[[*COUNTS, *FLAGS, "utterances", *SPOKEN]].sum()
    summed["emission_delay_ms"] = grouped.emission_delay_ms.median()
    return summed.reset_index()


def resample(
    table: pd.DataFrame,
    settings: Resampling,
    stalled: Collection[tuple[str, str, float, int]] = (),
    *,
    unspaced: bool = False,
) -> Scored:
    """Bootstrap one test set by itself.

    Args:
        table: its rows of `read_scores`.
        settings: how.
        stalled: runs whose loss did not fall (`stalled_runs`).
        unspaced: whether each character of the language counts as a word.

    Raises:
        UserError: a count or a block is missing, or decodes of one test set do not hold the same
            reference words.
    """
    noise = Noises(settings, lambda training_set, lang: training_set == lang)
    return _resample(table, settings, stalled, unspaced, False, noise).trained(noise)


def _resample(
    table: pd.DataFrame,
    settings: Resampling,
    stalled: Collection[tuple[str, str, float, int]],
    unspaced: bool,
    shared: bool,
    noise: Noises,
) -> Scored:
    """Bootstrap one test set, and tell `noise` of its rates.

    Args:
        table, settings, stalled, unspaced: see `resample`.
        shared: whether blocks of its names are the same sentences in other languages.
        noise: is told.
    """
    lang, test_set = table.lang.iloc[0], table.test_set.iloc[0]
    _whole(table, f"{lang} {test_set}")
    names = list(Cell._fields)
    systems = (
        table[[*names, "seed"]].drop_duplicates().sort_values([*names, "seed"], ignore_index=True)
    )
    table = table.merge(systems.reset_index(names="system"), on=[*names, "seed"])
    words = _grid(table, "ref_words")
    chars = _grid(table, "ref_chars")
    if not (words == words[0]).all():
        odd = systems[(words != words[0]).any(axis=1)].iloc[0].to_dict()
        raise UserError(
            f"{lang} {test_set}: {odd} has other reference words than the first decode; score the "
            "language again"
        )
    groups = systems.groupby(names, sort=True).indices
    cells = [Cell(*key) for key in groups]
    rows = [list(members) for members in groups.values()]
    runs = [
        (
            Run(row.training_set, float(row.hours), int(row.seed)),
            Decode(lang, test_set, row.arm, row.precision, row.tier),
        )
        for row in systems.itertuples()
    ]
    terms = [{runs[row]: 1 / len(own) for row in own} for own in rows]
    blocks = sorted(table.block.unique())
    levels = _levels(table)
    faults = _faults(table, stalled, unspaced)
    # Models that recognise nothing vary by something else, or not at all.
    sound = [
        row for cell, own in zip(cells, rows, strict=True) if cell not in faults for row in own
    ]

    def rates(
        kinds: Sequence[str], of: str, total: np.ndarray, noise: TrainingNoise
    ) -> dict[Cell, intervals.Draws]:
        errors = np.sum([_grid(table, name) for name in kinds], axis=0)
        if shared:
            replicates = intervals.resample_named(
                errors,
                total,
                settings.replicates,
                lambda name: intervals.generator(settings.seed, "blocks", test_set, name),
                blocks,
            )
        else:
            random = intervals.generator(settings.seed, "blocks", lang, test_set)
            replicates = intervals.resample_rates(errors, total, settings.replicates, random)
        noise.add(lang, test_set, [runs[row] for row in sound], errors[sound], total)
        draws = intervals.cell_draws(
            errors,
            total,
            rows,
            replicates,
            test_set if shared else f"{test_set} {lang}",
            terms,
            _readers(table, levels, kinds, of, rows, settings) if levels else None,
        )
        return {cell: draw.scaled(100.0) for cell, draw in zip(cells, draws, strict=True)}

    grouped = table.groupby(names, sort=True)
    if "spoken" not in table:
        table = table.assign(spoken=table.utterances.where(table.ref_words > 0, 0))
        grouped = table.groupby(names, sort=True)
    totals = grouped[[*COUNTS, *FLAGS, "utterances", "spoken"]].sum()
    totals["seeds"] = grouped.seed.nunique()
    totals["blocks"] = grouped.block.nunique()
    return Scored(
        lang,
        test_set,
        {Cell(*key): row for key, row in zip(totals.index, totals.to_dict("records"), strict=True)},
        rates(KINDS, "ref_words", words[0], noise.wer),
        rates([f"char_{kind}" for kind in KINDS], "ref_chars", chars[0], noise.cer),
        faults,
        table.speaker.nunique() if levels else 0,
    )


def _levels(table: pd.DataFrame) -> tuple[str, list[str]] | None:
    """Columns of a second level of resampling: speakers, and what a speaker read in a block. None
    where a block is a speaker or smaller than what one read, where nobody says who spoke, or where
    fewer than `FEWEST_READERS` did: so few stand for no others."""
    if "speaker" not in table or table.speaker.isna().any():
        return None
    pairs = table[["block", "speaker"]].drop_duplicates()
    speakers = pairs.speaker.nunique()
    if speakers < FEWEST_READERS or len(pairs) == speakers:
        return None
    return "speaker", ["block", "speaker"]


def _readers(
    table: pd.DataFrame,
    levels: tuple[str, list[str]],
    kinds: Sequence[str],
    of: str,
    rows: Sequence[Sequence[int]],
    settings: Resampling,
) -> list[intervals.Readers]:
    """The second level of every cell.

    Args:
        table: rows of a test set, with `system`.
        levels: of `_levels`.
        kinds: columns of the errors.
        of: column of what they are counted in.
        rows: for each cell, its systems.
        settings: how.
    """
    found, df = [], 0
    for number, level in enumerate(levels):
        errors = np.sum([_grid(table, name, level) for name in kinds], axis=0)
        total = _grid(table, of, level)[0]
        where = table.lang.iloc[0], table.test_set.iloc[0]
        random = intervals.generator(settings.seed, "readers", number, *where)
        replicates = intervals.resample_rates(errors, total, settings.replicates, random)
        found.append(intervals.deviations(errors, total, rows, replicates))
        df = df or int(np.count_nonzero(total)) - 1
    return [intervals.Readers(across, inside, df) for across, inside in zip(*found, strict=True)]


def _whole(table: pd.DataFrame, where: str) -> None:
    """Refuse what would be counted as no error or not be counted.

    Raises:
        UserError: a count or a block is missing.
    """
    for name in [name for name in (*_KEYS, *COUNTS, *FLAGS) if name in table]:
        if missing := int(table[name].isna().sum()):
            row = table[table[name].isna()].iloc[0]
            raise UserError(
                f"{where}: {missing} rows without {name!r}, the first of {row.test_set} {row.arm} "
                f"{row.hours:g} h; score the language again"
            )


def _faults(
    table: pd.DataFrame, stalled: Collection[tuple[str, str, float, int]], unspaced: bool
) -> dict[Cell, str]:
    """Why models of a test set recognise nothing, of those that do not."""
    columns = ["ref_words", *KINDS, "ref_chars", *(f"char_{kind}" for kind in KINDS), "utterances"]
    columns += [name for name in (*FLAGS, *SPOKEN) if name in table]
    names = list(Cell._fields)
    found: dict[Cell, list[str]] = {}
    seeds: dict[Cell, int] = {}
    for key, row in table.groupby([*names, "seed"], sort=True)[columns].sum().iterrows():
        *values, seed = key
        cell = Cell(*values)
        seeds[cell] = seeds.get(cell, 0) + 1
        errors = sum(row[kind] for kind in KINDS)
        wrong = sum(row[f"char_{kind}"] for kind in KINDS)
        useless, said = row["empty"] + row.looping, row.utterances
        if set(SPOKEN) <= set(columns):
            useless, said = row.empty_spoken + row.looping_spoken, row.spoken
        why = recognition.reason(
            100.0 * errors / row.ref_words if row.ref_words else float("nan"),
            100.0 * useless / said if said else 0.0,
            (cell.training_set, cell.arm, float(cell.hours), int(seed)) in stalled,
            100.0 * wrong / row.ref_chars if unspaced and row.ref_chars else None,
        )
        if why:
            found.setdefault(cell, []).append(f"seed {seed}: {why}")
    return {
        cell: "; ".join(whys) if seeds[cell] > 1 else whys[0].split(": ", 1)[1]
        for cell, whys in found.items()
    }


def _grid(table: pd.DataFrame, column: str, level: str | list[str] = "block") -> np.ndarray:
    """(systems, blocks) of one count; `level` are the columns that tell blocks apart."""
    return table.pivot_table(
        index="system", columns=level, values=column, aggfunc="sum", fill_value=0
    ).to_numpy(float)
