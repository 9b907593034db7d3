"""What is learnt from labelled sentences: a classifier of texts, a linear probe of encoder states,
and the choice of an answer by likeness. scikit-learn is imported inside, because tables are made
without it."""

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from sklearn.pipeline import Pipeline

# Pieces of words of 2 to 5 letters, because a hypothesis with a wrong letter keeps most of them;
# scripts without spaces need no segmenter. Balanced, because topics are not equally common, and
# macro-F1 counts them equally. On the Italian prompts of demo/speech 21 of 23 are right so, and 19
# with words.
_PIECES = (2, 5)
_C_TEXT = 1.0
# Of the probe: dimensions are standardised, so that one grid serves all encoders.
_C_PROBE = (0.001, 0.01, 0.1, 1.0)
_FOLDS = 3
_STEPS = 2000


@dataclass(frozen=True)
class Learnt:
    """A classifier, or why there is none.

    Attributes:
        model: None where `why` says something.
        why: why nothing could be learnt.
        topics: that it knows.
    """

    model: "Pipeline | None"
    why: str = ""
    topics: tuple[str, ...] = ()

    def says(self, inputs: Any) -> list[str]:
        """The topic of each input.

        Args:
            inputs: (n) texts, or (n, D) states.

        Raises:
            ValueError: nothing was learnt.
        """
        if self.model is None:
            raise ValueError(f"nothing was learnt: {self.why}")
        return [str(topic) for topic in self.model.predict(inputs)] if len(inputs) else []

    def posteriors(self, inputs: Any) -> np.ndarray:
        """(n, K) probabilities, in the order of `topics`.

        Args:
            inputs: as of `says`.

        Raises:
            ValueError: nothing was learnt.
        """
        if self.model is None:
            raise ValueError(f"nothing was learnt: {self.why}")
        if not len(inputs):
            return np.zeros((0, len(self.topics)))
        return np.asarray(self.model.predict_proba(inputs))

    def linear(self) -> tuple[np.ndarray, np.ndarray]:
        """Scores of standardised states as one linear map of the states: the topic with the largest
        of `coefficients @ state + intercepts` is the one that is said.

        Returns:
            (K, D) coefficients and (K,) intercepts, in the order of `topics`.

        Raises:
            ValueError: nothing was learnt.
        """
        if self.model is None:
            raise ValueError(f"nothing was learnt: {self.why}")
        scaler, regression = self.model[0], self.model[-1]
        coefficients, intercepts = regression.coef_, regression.intercept_
        if len(coefficients) == 1:  # of two topics there is the score of the second over the first
            coefficients = np.concatenate([np.zeros_like(coefficients), coefficients])
            intercepts = np.concatenate([np.zeros_like(intercepts), intercepts])
        scaled = coefficients / scaler.scale_
        return scaled, intercepts - scaled @ scaler.mean_


def refusal(topics: Sequence[str], unit: str = "labelled sentence", kind: str = "topic") -> str:
    """Why nothing can be learnt from sentences of these topics; empty where it can.

    Args:
        topics: theirs.
        unit, kind: what sentences and topics are called.
    """
    if not topics:
        return f"no {unit} to learn from"
    if len(set(topics)) < 2:
        return f"one {kind} to learn from ({topics[0]})"
    return ""


def of_texts(texts: Sequence[str], topics: Sequence[str]) -> Learnt:
    """TF-IDF over pieces of words, and logistic regression.

    Args:
        texts: (n) normalised sentences.
        topics: (n) theirs.
    """
    if why := refusal(topics):
        return Learnt(None, why)
    if not any(texts):
        return Learnt(None, "sentences to learn from are empty once normalised")
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline

    model = make_pipeline(
        TfidfVectorizer(analyzer="char_wb", ngram_range=_PIECES, sublinear_tf=True),
        LogisticRegression(C=_C_TEXT, class_weight="balanced", max_iter=_STEPS),
    )
    return Learnt(model.fit(list(texts), list(topics)), topics=tuple(sorted(set(topics))))


def of_states(states: np.ndarray, topics: Sequence[str], sentences: Sequence[Any]) -> Learnt:
    """Logistic regression of standardised states: a linear probe.

    The strength of its penalty is the one of `_C_PROBE` that is right most often on sentences that
    were held out, because encoders differ in how many of their dimensions say something. Where a
    topic has too few sentences to hold some out, it is C = 0.01.

    Args:
        states: (n, D).
        topics: (n) theirs.
        sentences: (n) what they are readings of: readings of one sentence are held out together.
    """
    if why := refusal(topics):
        return Learnt(None, why)
    from sklearn.model_selection import GridSearchCV, StratifiedGroupKFold

    model = standardised(_C_PROBE[1])
    fewest = min(
        len({sentence for sentence, own in zip(sentences, topics, strict=True) if own == topic})
        for topic in set(topics)
    )
    if fewest >= _FOLDS:
        folds = StratifiedGroupKFold(_FOLDS, shuffle=True, random_state=0)
        grid = {"logisticregression__C": _C_PROBE}
        search = GridSearchCV(model, grid, scoring="balanced_accuracy", cv=folds)
        with warnings.catch_warnings():
            # A fold may lack a topic all the same; the mean over folds is asked for.
            warnings.simplefilter("ignore")
            model = search.fit(states, list(topics), groups=list(sentences)).best_estimator_
    else:
        model = model.fit(states, list(topics))
    return Learnt(model, topics=tuple(sorted(set(topics))))


def of_held_out(
    states: np.ndarray,
    names: Sequence[str],
    held_out: np.ndarray,
    held_out_names: Sequence[str],
) -> Learnt:
    """The same probe, whose penalty is chosen on other speech: the strongest of those that are
    right most often there, all names counting alike. Where that has fewer than two names it is C =
    0.01.

    Args:
        states: (n, D).
        names: (n) of a language each.
        held_out: (m, D), not learnt from.
        held_out_names: (m) theirs.
    """
    if why := refusal(names, "utterance", "language"):
        return Learnt(None, why)
    from sklearn.metrics import balanced_accuracy_score

    known = [place for place, name in enumerate(held_out_names) if name in set(names)]
    truth = [held_out_names[place] for place in known]
    if len(set(truth)) < 2:
        best = standardised(_C_PROBE[1]).fit(states, list(names))
    else:
        models = [standardised(penalty).fit(states, list(names)) for penalty in _C_PROBE]
        scores = [
            balanced_accuracy_score(truth, model.predict(held_out[known])) for model in models
        ]
        best = models[int(np.argmax(scores))]
    return Learnt(best, topics=tuple(sorted(set(names))))


def standardised(penalty: float) -> "Pipeline":
    """Logistic regression of standardised inputs, all classes counting alike.

    Args:
        penalty: C, the inverse of its strength.
    """
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    return make_pipeline(
        StandardScaler(),
        LogisticRegression(C=penalty, class_weight="balanced", max_iter=_STEPS),
    )


def likeness(
    known: Sequence[str], heard: Sequence[str], choices: Sequence[Sequence[str]]
) -> list[np.ndarray]:
    """Cosine of TF-IDF vectors between what was heard and each choice.

    Args:
        known: texts that say how common a piece is: passages and choices, no hypothesis.
        heard: (n) texts.
        choices: (n) of several texts each.

    Returns:
        (n) arrays, one number from 0 to 1 a choice.
    """
    from sklearn.feature_extraction.text import TfidfVectorizer

    vectors = TfidfVectorizer(analyzer="char_wb", ngram_range=_PIECES, sublinear_tf=True)
    if not any(known):
        return [np.zeros(len(own)) for own in choices]
    vectors.fit(known)
    left = vectors.transform(heard)
    flat = vectors.transform([text for own in choices for text in own])
    found, start = [], 0
    for place, own in enumerate(choices):
        found.append((flat[start : start + len(own)] @ left[place].T).toarray()[:, 0])
        start += len(own)
    return found


def chosen(alike: np.ndarray) -> np.ndarray:
    """(n,) shares of each choice: 1 for the likest, and equal shares of those that are equally
    like, which is what guessing among them would get right."""
    best = np.isclose(alike, alike.max(), rtol=0, atol=1e-12)
    return best / best.sum()
