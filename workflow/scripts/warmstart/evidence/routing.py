"""Which of several models (or heads) an utterance is sent to, and what that costs: the language is
given, told by an identifier, or that of the most confident model.

Hypotheses of every model for every utterance are there already (`cross_decode.py`), so that a
wrong choice costs what the chosen model really wrote. After Gitman et al. 2023 (arXiv 2306.15824),
who use the output of the most confident model and need a small labelled set for it: here once
without one, by the confidences as they are, and once with one, by a logistic regression on the
confidences of all models, which knows that one model is surer of itself than another.
"""

import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from warmstart.data import text
from warmstart.data.utterances import TestUtterance, read_test_set
from warmstart.evidence import classifiers, row_files, scoring
from warmstart.evidence.identified import HEARD, Identified, Utterance
from warmstart.evidence.recognition import OK
from warmstart.evidence.routed import CALIBRATED, COLUMNS, CONFIDENT, DETECTED, GIVEN
from warmstart.run import files
from warmstart.run.errors import UserError

_LOG = logging.getLogger(__name__)

_FOLDS = 5
_ERRORS = ("substitutions", "deletions", "insertions")


@dataclass(frozen=True)
class Heard:
    """A test set, and what the models made of it.

    Attributes:
        utterances: N of them.
        words: (N,) of the references.
        errors: model's language -> (N,) word errors.
        confidences: model's language -> (N,); empty where decodes have none.
    """

    utterances: Sequence[TestUtterance]
    words: np.ndarray
    errors: Mapping[str, np.ndarray]
    confidences: Mapping[str, np.ndarray] = field(default_factory=dict)


@dataclass(frozen=True)
class Choice:
    """What one way to choose comes to.

    Attributes:
        way, seconds: of it; seconds are empty where none are counted.
        shares: (N, K) of each language, which add up to one: several are above zero where they are
            as good.
        heard_s: (N,) seconds that were heard.
    """

    way: str
    seconds: str
    shares: np.ndarray
    heard_s: np.ndarray


def route(
    run: Mapping[str, Any],
    said: Identified,
    tests: Mapping[tuple[str, str], Path],
    hypotheses: Mapping[tuple[str, str, str], Path],
    texts: Mapping[str, text.TextSettings],
    output: Path,
) -> None:
    """Choose a model for every utterance in every way, and count its errors.

    Args:
        run: training set (or ensemble), arm, hours, seed, precision, tier.
        said: by the identifier.
        tests: (language, test set) -> manifest.
        hypotheses: (language, test set, language of the model) -> hypothesis file; where that of
            another language than the own is missing, what is detected changes no text.
        texts: language -> its normaliser.
        output: Parquet, see `COLUMNS`; what is said of it stands as JSON beside it.

    Raises:
        UserError: a file is missing or damaged, or files do not belong together.
    """
    measures: set[str] = set()
    models: dict[str, str] = {}
    heard = {}
    for (lang, test_set), manifest in tests.items():
        if (lang, test_set) not in said.said:
            raise UserError(
                f"{lang}/{test_set} was not identified; run identify_language.py with it again"
            )
        own = {
            head: path
            for (of, name, head), path in hypotheses.items()
            if (of, name) == (lang, test_set)
        }
        heard[lang, test_set], measure, of_heads = _read(manifest, own, texts[lang])
        measures |= measure
        models |= of_heads
    every = all(set(said.languages) <= set(one.errors) for one in heard.values())
    sure = every and all(set(said.languages) <= set(one.confidences) for one in heard.values())
    calibrated: dict[tuple[str, str], np.ndarray] = {}
    why = {}
    if sure:
        for name in dict.fromkeys(test_set for _, test_set in heard):
            same = {key: one for key, one in heard.items() if key[1] == name}
            found, why[name] = calibrate(same, said.languages)
            calibrated |= found
    parts = []
    for (lang, test_set), one in heard.items():
        choices = list(_choices(lang, test_set, one, said))
        if sure:
            choices.append(most_confident(one, said.languages))
        if (lang, test_set) in calibrated:
            choices.append(
                Choice(CALIBRATED, "", calibrated[lang, test_set], _lengths_s(one.utterances))
            )
        for choice in choices:
            parts.append(_rows(run, lang, test_set, one, choice, said, every))
    table = pd.concat(parts, ignore_index=True)
    files.write_json(
        output.with_suffix(".json"),
        {
            **run,
            "languages": list(said.languages),
            "seconds": said.status,
            "models": models,
            "speakers": {
                f"{lang}/{test_set}": _speakers(one, said.said[lang, test_set])
                for (lang, test_set), one in heard.items()
            },
            "crossed": every,
            "confidence": sorted(measures),
            "calibrated": why,
        },
    )
    with row_files.writing(output, COLUMNS.items()) as written:
        written.add(table)
    _LOG.info("%d test sets, %d rows -> %s", len(heard), len(table), output)


# ---- ways to choose


def most_confident(one: Heard, languages: Sequence[str]) -> Choice:
    """The model with the highest confidence, as it is; equal shares of several."""
    values = np.column_stack([one.confidences[lang] for lang in languages])
    best = values == values.max(axis=1, keepdims=True)
    shares = best / best.sum(axis=1, keepdims=True)
    return Choice(CONFIDENT, "", shares, _lengths_s(one.utterances))


def calibrate(
    heard: Mapping[tuple[str, str], Heard], languages: Sequence[str]
) -> tuple[dict[tuple[str, str], np.ndarray], str]:
    """Shares of the language that a logistic regression tells from the confidences of all models.

    It is learnt from other blocks of the same test set, a fifth of them being asked at a time:
    blocks are told apart by their names, so that a speaker or a sentence that languages share is
    never on both sides. It needs labelled speech of the test's own kind, which the identifier does
    not.

    Args:
        heard: (language, test set) -> what was heard, of one name of a test set.
        languages: of the models.

    Returns:
        (N, K) for each, and `ok`, or `not estimable: ...` where there is none.
    """
    from sklearn.model_selection import GroupKFold

    keys = list(heard)
    values = np.concatenate(
        [np.column_stack([heard[key].confidences[lang] for lang in languages]) for key in keys]
    )
    truth = np.array([lang for lang, name in keys for _ in heard[lang, name].utterances])
    blocks = np.array([one.block for key in keys for one in heard[key].utterances])
    folds = min(_FOLDS, len(set(blocks)))
    if folds < 2:
        return {}, "not estimable: fewer than two blocks"
    shares = np.zeros((len(truth), len(languages)))
    for learnt, asked in GroupKFold(folds).split(values, truth, blocks):
        if set(truth[learnt]) != set(truth):
            return {}, "not estimable: a language is in one fold of the blocks alone"
        model = classifiers.standardised(1.0).fit(values[learnt], truth[learnt])
        best = [str(one) for one in model.predict(values[asked])]
        for place, lang in zip(asked, best, strict=True):
            shares[place, list(languages).index(lang)] = 1.0
    found, start = {}, 0
    for key in keys:
        size = len(heard[key].utterances)
        found[key] = shares[start : start + size]
        start += size
    return found, OK


def _choices(lang: str, test_set: str, one: Heard, said: Identified) -> Iterator[Choice]:
    """The language as given, and as it was detected after each number of seconds."""
    languages = list(said.languages)
    given = np.zeros((len(one.utterances), len(languages)))
    given[:, languages.index(lang)] = 1.0
    yield Choice(GIVEN, "", given, np.zeros(len(one.utterances)))
    for seconds in said.seconds:
        found = said.said[lang, test_set].get(seconds, {})
        missing = [each.id for each in one.utterances if each.id not in found]
        if missing or len(found) != len(one.utterances):
            raise UserError(
                f"{lang}/{test_set} at {seconds} s: {len(missing)} utterances were not identified "
                f"({', '.join(missing[:3])}), {len(found)} were; run identify_language.py again"
            )
        shares = np.zeros_like(given)
        for place, each in enumerate(one.utterances):
            answer = found[each.id]
            if answer.said:
                shares[place, languages.index(answer.said)] = 1.0
            else:
                shares[place] = answer.posteriors
        lengths = np.array([found[each.id].heard_s for each in one.utterances])
        yield Choice(DETECTED, seconds, shares / shares.sum(axis=1, keepdims=True), lengths)


def _rows(
    run: Mapping[str, Any],
    lang: str,
    test_set: str,
    one: Heard,
    choice: Choice,
    said: Identified,
    every: bool,
) -> pd.DataFrame:
    """Rows of one test set and way."""
    languages = list(said.languages)
    certain = choice.shares.max(axis=1) >= 1.0
    chosen = np.where(certain, choice.shares.argmax(axis=1), -1)
    if every:
        errors = sum(
            choice.shares[:, place] * one.errors[name] for place, name in enumerate(languages)
        )
    else:
        own = one.errors.get(lang) if choice.way == GIVEN else None
        errors = np.full(len(one.words), np.nan) if own is None else own
    speakers = next(iter(said.said[lang, test_set].values()))
    return pd.DataFrame(
        {
            **run,
            "hours": float(run["hours"]),
            "lang": lang,
            "test_set": test_set,
            "id": [each.id for each in one.utterances],
            "block": [each.block for each in one.utterances],
            "way": choice.way,
            "seconds": choice.seconds,
            "said": ["" if place < 0 else languages[place] for place in chosen],
            "speaker": [speakers[each.id].speaker for each in one.utterances],
            "heard_s": choice.heard_s,
            "right": choice.shares[:, languages.index(lang)],
            "words": one.words,
            "errors": errors,
        }
    )


def _speakers(one: Heard, said: Mapping[str, Mapping[str, Utterance]]) -> int | None:
    """How many speak, of those whom the identifier has not heard; None where one has no name."""
    states = next(iter(said.values()))
    names = {each.speaker for each in one.utterances if states[each.id].speaker != HEARD}
    return None if None in names else len(names)


def _lengths_s(utterances: Sequence[TestUtterance]) -> np.ndarray:
    return np.array([one.duration_s for one in utterances])


# ---- what models wrote


def _read(
    manifest: Path, hypotheses: Mapping[str, Path], settings: text.TextSettings
) -> tuple[Heard, set[str], dict[str, str]]:
    """A test set as its models heard it, and what their confidences are called.

    Returns:
        It, the names of the confidences, and model's language -> training set of the model.
    """
    utterances = read_test_set(manifest)
    references = {one.id: one for one in utterances}
    normal = [_spaced(text.normalize(one.text, settings), settings) for one in utterances]
    errors, confidences, measures, models = {}, {}, set(), {}
    for head, path in hypotheses.items():
        header = scoring.read_header(path)
        models[head] = header["training_set"]
        records = scoring.read_hypotheses(path, references)
        said = [_spaced(text.normalize(one["hyp"], settings), settings) for one in records]
        counts, _, _ = scoring.align_counts(normal, said)
        errors[head] = np.array([sum(one[kind] for kind in _ERRORS) for one in counts], float)
        values = [one.get("confidence") for one in records]
        if all(isinstance(value, int | float) for value in values):
            confidences[head] = np.array(values, float)
            measures.add(str(header.get("confidence", "")))
            if not np.isfinite(confidences[head]).all():
                raise UserError(f"{path}: a confidence is no number; remove it and decode again")
    if len(measures) > 1:
        raise UserError(
            f"{manifest}: models have confidences of different kinds ({', '.join(measures)}), "
            "which cannot be compared; decode all of them again"
        )
    words = np.array([len(one.split()) for one in normal])
    return Heard(utterances, words, errors, confidences), measures, models


def _spaced(normal: str, settings: text.TextSettings) -> str:
    return text.segmented(normal, settings) if text.counts_characters(settings) else normal
