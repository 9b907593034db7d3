"""Tell the language of test utterances from their first seconds: logistic regression on the mean
states of the encoder that recognises them."""

import json
import logging
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from warmstart.data import cut_lines
from warmstart.data.utterances import TestUtterance, read_test_set
from warmstart.decoding import devices
from warmstart.decoding.states import mean_states
from warmstart.evidence import classifiers
from warmstart.evidence.identified import HEARD, UNHEARD, UNKNOWN, WHOLE, Utterance, name_of, write
from warmstart.evidence.recognition import OK
from warmstart.models import open_family
from warmstart.models.base import Listener
from warmstart.models.tier import Tier
from warmstart.run import vouchers
from warmstart.run.errors import UserError

if TYPE_CHECKING:
    import numpy as np

_LOG = logging.getLogger(__name__)

ANOTHER, BEYOND = "of another language", "beyond most_utterances"


@dataclass(frozen=True)
class Job:
    """What is learnt, from what, and who is asked.

    Attributes:
        encoder: a trained model, or a donor.
        donor: whether it is a donor, as it is.
        family: of models.
        tier: at which the encoder hears.
        languages: that can be said.
        train: manifests to learn from; the language of a cut is that of its supervision.
        held_out: the same, on which the penalty is chosen.
        tests: (language, test set) -> manifest.
        output: see `identified.COLUMNS`; JSON stands beside it.
        seconds_heard: from the beginning of an utterance, or `WHOLE`; a classifier each.
        most_utterances: that are learnt from in a language, the first of a manifest.
        speakers_of: language -> corpus -> whose speaker ids it has, where not its own.
        random_seed: random weights instead of the donor's.
        batch_size, batch_duration_s, device, threads: as of a decode.
    """

    encoder: Path
    donor: bool
    family: str
    tier: Tier
    languages: tuple[str, ...]
    train: Sequence[Path]
    held_out: Sequence[Path]
    tests: Mapping[tuple[str, str], Path]
    output: Path
    seconds_heard: Sequence[float | str] = (WHOLE,)
    most_utterances: int = 1000
    speakers_of: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    random_seed: int | None = None
    batch_size: int = 32
    batch_duration_s: float = 1920
    device: str = "auto"
    threads: int = 1


@dataclass(frozen=True)
class Speech:
    """Utterances of known languages.

    Attributes:
        utterances: in the order of their manifests.
        left_out: how many are not among them, by reason.
    """

    utterances: list[TestUtterance]
    left_out: Counter[str]

    @property
    def languages(self) -> list[str]:
        """Of the utterances."""
        return [str(one.lang) for one in self.utterances]

    def counts(self) -> dict[str, Any]:
        """For the record."""
        return {
            "utterances": dict(Counter(self.languages)),
            "speakers_unknown": sum(not one.speaker for one in self.utterances),
            "left_out": dict(self.left_out),
        }


def identify(job: Job) -> None:
    """Do the job.

    Raises:
        UserError: a manifest or the encoder cannot be read, a language has nothing to learn from,
            or see `load_audio`.
    """
    # Manifests first: they are read in no time.
    train = gather(job.train, job.languages, job.most_utterances)
    held_out = gather(job.held_out, job.languages, job.most_utterances)
    for lang in job.languages:
        if lang not in train.languages:
            raise UserError(
                f"{', '.join(map(str, job.train))}: no utterance in {lang!r} to learn from; its "
                f"cuts are in {', '.join(sorted(set(train.languages))) or 'none of them'}"
            )
    tests = {key: read_test_set(path) for key, path in job.tests.items()}
    known = Speakers([*train.utterances, *held_out.utterances], job.speakers_of)
    listener = open_listener(job)
    heard_s = [None if isinstance(one, str) else float(one) for one in job.seconds_heard]

    def hear(utterances: Sequence[TestUtterance]) -> list["np.ndarray"]:
        return mean_states(listener, utterances, job.batch_size, job.batch_duration_s, heard_s)

    learnt_states = hear(train.utterances)
    held_out_states = hear(held_out.utterances) if held_out.utterances else learnt_states
    test_states = {key: hear(utterances) for key, utterances in tests.items()}
    rows, seconds = [], {}
    for place, name in enumerate(map(name_of, job.seconds_heard)):
        learnt, seconds[name] = learn(
            (learnt_states[place], train.languages),
            (held_out_states[place], held_out.languages),
            job.languages,
        )
        for (lang, test_set), utterances in tests.items():
            states = test_states[lang, test_set][place]
            said = say(learnt, states, job.languages)
            silent = sum(not one for one, _ in said)
            seconds[name]["without_frame"] += silent
            for utterance, (one, posteriors) in zip(utterances, said, strict=True):
                seconds_of = utterance.duration_s
                limit = heard_s[place]
                rows.append(
                    (
                        *(lang, test_set, utterance.id, name),
                        Utterance(
                            one,
                            seconds_of if limit is None else min(limit, seconds_of),
                            posteriors,
                            known.state_of(utterance, lang),
                        ),
                    )
                )
        shown = {key: value for key, value in seconds[name].items() if key != "weights"}
        _LOG.info("%s s: %s", name, json.dumps(shown))
    write(
        job.output,
        rows,
        {
            "languages": list(job.languages),
            "tier": job.tier.as_json() | {"name": job.tier.name},
            "encoder": "donor" if job.donor else "model",
            "encoder_sha256": vouchers.verified(job.encoder),
            "learnt_from": train.counts(),
            "held_out": held_out.counts(),
            "seconds": seconds,
        },
    )


def gather(paths: Iterable[Path], languages: Sequence[str], most: int) -> Speech:
    """Utterances of some languages, at most so many of each.

    Raises:
        UserError: a manifest cannot be read.
    """
    kept: list[TestUtterance] = []
    counts: Counter[str] = Counter()
    left_out: Counter[str] = Counter()
    for path in paths:
        for one in read_test_set(path):
            if one.lang is None or one.lang not in languages:
                left_out[ANOTHER] += 1
            elif counts[one.lang] >= most:
                left_out[BEYOND] += 1
            else:
                counts[one.lang] += 1
                kept.append(one)
    return Speech(kept, left_out)


class Speakers:
    """Who was heard while an identifier was made.

    A speaker is known by id and by who gave it, as in the guard of a pool; the language does not
    count, because one who speaks two languages has one voice.

    Args:
        utterances: that were heard.
        speakers_of: see `Job`.
    """

    def __init__(
        self,
        utterances: Iterable[TestUtterance],
        speakers_of: Mapping[str, Mapping[str, str]],
    ):
        self._names = speakers_of
        keys = {self._key(one, str(one.lang)) for one in utterances}
        self._all_known = None not in keys
        self._heard = keys - {None}

    def state_of(self, utterance: TestUtterance, lang: str) -> str:
        """`UNHEARD`, `HEARD` or `UNKNOWN`: where nobody says who was heard, no speaker is known to
        be another one."""
        key = self._key(utterance, lang)
        if key is not None and key in self._heard:
            return HEARD
        return UNHEARD if key is not None and self._all_known else UNKNOWN

    def _key(self, utterance: TestUtterance, lang: str) -> tuple[str, str] | None:
        if not utterance.speaker:
            return None
        corpus = str(cut_lines.custom(json.loads(utterance.line)).get("corpus", ""))
        return self._names.get(lang, {}).get(corpus, corpus), utterance.speaker


def open_listener(job: Job) -> Listener:
    """The encoder, ready to hear.

    Raises:
        UserError: no such file, or none of the family.
    """
    if not job.encoder.exists():
        raise UserError(f"{job.encoder}: no such file; run the rule that makes it")
    device = devices.resolve_device(job.device)
    import torch

    torch.set_num_threads(job.threads)
    family = open_family(job.family)
    if job.donor:
        donor = family.read_donor(job.encoder)
        return family.listen(donor, job.tier, device, random_seed=job.random_seed)
    vouchers.verified(job.encoder)
    return family.load(job.encoder, device).listener(job.tier)


def learn(
    train: tuple["np.ndarray", Sequence[str]],
    held_out: tuple["np.ndarray", Sequence[str]],
    languages: Sequence[str],
) -> tuple[classifiers.Learnt, dict[str, Any]]:
    """A classifier of what can be heard, and the record of it.

    Args:
        train, held_out: (n, D) states, NaN where there is no frame, and their languages.
        languages: that it should tell apart.
    """
    (states, names), (others, other_names) = _with_frames(*train), _with_frames(*held_out)
    learnt = classifiers.of_held_out(states, names, others, other_names)
    if not learnt.why and (missing := [one for one in languages if one not in learnt.topics]):
        learnt = classifiers.Learnt(None, f"no frame to learn from in {', '.join(missing)}")
    elif learnt.why and not names:
        learnt = classifiers.Learnt(None, "no frame to learn from")
    return learnt, {
        "status": f"not estimable: {learnt.why}" if learnt.why else OK,
        "learnt_from": len(names),
        "penalty": float(learnt.model[-1].C) if learnt.model is not None else None,
        "without_frame": 0,
        "weights": _weights(learnt, languages),
    }


def _weights(learnt: classifiers.Learnt, languages: Sequence[str]) -> dict[str, Any] | None:
    """The classifier, for a bundle: see `base.LanguageScores`."""
    if learnt.why:
        return None
    coefficients, intercepts = learnt.linear()
    order = [learnt.topics.index(lang) for lang in languages]
    # As float32, which is what a network computes with.
    return {
        "coefficients": coefficients[order].astype("float32").tolist(),
        "intercepts": intercepts[order].astype("float32").tolist(),
    }


def say(
    learnt: classifiers.Learnt, states: "np.ndarray", languages: Sequence[str]
) -> list[tuple[str, tuple[float, ...]]]:
    """The likeliest language of each row of states, and the posteriors of all of them, in their
    order. Where there is no frame or nothing was learnt nothing is said, and all are as likely,
    because all counted alike in learning.

    Args:
        learnt: of `learn`.
        states: (n, D), NaN where there is no frame.
        languages: K of them.
    """
    import numpy as np

    equal = tuple([1.0 / len(languages)] * len(languages))
    found: list[tuple[str, tuple[float, ...]]] = [("", equal)] * len(states)
    if learnt.why:
        return found
    order = [learnt.topics.index(lang) for lang in languages]
    heard = np.flatnonzero(np.isfinite(states).all(axis=1))
    for place, row in zip(heard, learnt.posteriors(states[heard])[:, order], strict=True):
        found[place] = languages[int(row.argmax())], tuple(float(one) for one in row)
    return found


def _with_frames(states: "np.ndarray", names: Sequence[str]) -> tuple["np.ndarray", list[str]]:
    import numpy as np

    if not names:
        return states[:0], []
    kept = np.flatnonzero(np.isfinite(states).all(axis=1))
    return states[kept], [names[int(place)] for place in kept]
