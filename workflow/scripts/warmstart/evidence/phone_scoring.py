"""Counts of errors per utterance of models that write phones (`tokens: ipa`).

Words of phones are no words: espeak-ng joins and splits them by rules of its own, and one wrong
phone spoils a whole word. Such models therefore have a file of their own, and enter no WER.
"""

import collections
from collections.abc import Collection
from pathlib import Path
from typing import Any

import jiwer

from warmstart.data import phone_features, phones, text
from warmstart.evidence.keys import KEYS
from warmstart.evidence.phone_columns import KINDS
from warmstart.evidence.scoring import Scorer, chunk_counts, is_looping, read_hypotheses


class PhoneScorer:
    """Scores the hypothesis files of one language whose models write phones.

    Args:
        lang: of the test sets.
        settings: {"text": block of the language, "espeak_voice": its voice; its code unless given}.
        tests: test set -> manifest.
        inventory: phones of the language, to the nearest of which those of a model of 0 hours go,
            because it was never told which there are; none: they are not mapped. They are of
            training text, never of references.

    Raises:
        UserError: espeak-ng has no voice of the language.
    """

    def __init__(
        self,
        lang: str,
        settings: dict[str, Any],
        tests: dict[str, Path],
        inventory: Collection[str] = (),
    ):
        self.inventory = frozenset(inventory)
        self._words = Scorer(lang, {"text": settings["text"]}, tests, None)
        phonemiser = phones.Phonemiser(settings.get("espeak_voice") or lang)
        self._references = {
            name: [phonemiser.phones(reference) for reference in normal]
            for name, normal in self._words.normal.items()
        }

    def header(self, path: Path) -> dict[str, Any]:
        """Header beside a hypothesis file that this scores.

        Raises:
            UserError: see `scoring.Scorer.header`.
        """
        return self._words.header(path)

    def score(self, path: Path, header: dict[str, Any]) -> dict[str, list]:
        """One row per utterance of a hypothesis file, as columns (`phone_columns`).

        Args:
            path: hypothesis file.
            header: the header beside it.
        """
        utterances = self._words.references[header["test_set"]]
        references = self._references[header["test_set"]]
        written = [phones.read(one["hyp"]) for one in read_hypotheses(path, utterances)]
        said = [phones.flat(words) for words in references]
        heard = [phones.flat(words) for words in written]
        counts = _counts(said, heard)
        mapped = None
        if float(header["hours"]) == 0 and self.inventory:
            every = {phone for one in heard for phone in one}
            to = phone_features.mapping(every, self.inventory)
            mapped = _counts(said, [[to[phone] for phone in one] for one in heard])
        rows: dict[str, list] = collections.defaultdict(list)
        for place, utterance in enumerate(utterances.values()):
            reference, hypothesis = (
                phones.written(references[place]),
                phones.written(written[place]),
            )
            row = {
                **{key: header[key] for key in KEYS if key != "hours"},
                "hours": float(header["hours"]),
                "id": utterance.id,
                "block": utterance.block,
                "speaker": utterance.speaker,
                "duration_s": utterance.duration_s,
                "phones": len(said[place]),
                **{kind: counts[place][kind] for kind in KINDS},
                "feature_errors": phone_features.edit_distance(said[place], heard[place]),
                **{f"mapped_{kind}": mapped[place][kind] if mapped else None for kind in KINDS},
                "empty": not heard[place],
                "looping": is_looping(hypothesis, reference),
                "reference": reference,
                "hypothesis": hypothesis,
                "normaliser_version": text.VERSION,
                "phones_version": phones.VERSION,
            }
            for key, value in row.items():
                rows[key].append(value)
        return rows


def _counts(references: list[list[str]], hypotheses: list[list[str]]) -> list[dict[str, int]]:
    """jiwer's counts for each pair, where each phone is a word."""
    aligned = jiwer.process_words(
        [" ".join(one) for one in references], [" ".join(one) for one in hypotheses]
    )
    return [chunk_counts(chunks) for chunks in aligned.alignments]
