"""Whether a model recognises anything at all. Of one that does not, rates are measured, and nothing
is concluded from them.

Two models that learned nothing have equal error rates without any noise between them. An interval
of such a gap is narrow, a law through it steep, and both are about nothing.
"""

import pandas as pd

from warmstart.evidence.display import Display
from warmstart.evidence.keys import FULL, MEAN

MOST_WER_PCT = 90.0
"""A model that writes nothing has 100 %. One that writes the commonest word for everything gets a
few words in a hundred right by luck, so the bar is below that."""
MOST_USELESS_PCT = 50.0
"""Share of utterances with an empty or looping hypothesis, of those that say something: above it
the usual output of the model is no transcript, whatever the rest is."""
MOST_CER_PCT = 80.0
"""The same for characters, where a language has no spaces: letters are right by luck more easily
than words, because an alignment finds the common ones in any text."""
MOST_STALLED_PCT = 50.0
"""A loss that did not fall says that a training did nothing. Where more than half of the words are
right all the same, it had nothing to do, or had done it before the first line of the log."""

OK = "ok"
SAYS_NOT = "not recognising"
UNDECIDED = "not decided: systems do not recognise"
"""A verdict about systems of which one does not recognise or more."""
TITLE = "Models that do not recognise speech"


def reason(
    wer_pct: float, useless_pct: float, stalled: bool = False, cer_pct: float | None = None
) -> str:
    """Why a trained model, on one test set, is said to recognise nothing.

    Args:
        wer_pct: word error rate in percent; NaN of a test set without words, which says nothing.
        useless_pct: share of utterances whose hypothesis is empty or loops, of those with words in
            their reference, in percent.
        stalled: whether the loss of its training did not fall (`training_logs.stalled`).
        cer_pct: character error rate in percent of a language in which each character counts as a
            word; it stands for the word error rate then.

    Returns:
        Empty where it recognises.
    """
    name, rate, most = "WER", wer_pct, MOST_WER_PCT
    if cer_pct is not None:
        name, rate, most = "CER", cer_pct, MOST_CER_PCT
    if rate > most:
        return f"{name} {rate:.0f} %"
    if useless_pct > MOST_USELESS_PCT:
        return f"{useless_pct:.0f} % of outputs empty or looping"
    if stalled and rate > MOST_STALLED_PCT:
        return f"loss did not fall, {name} {rate:.0f} %"
    return ""


def lines(wer: pd.DataFrame, display: Display) -> list[str]:
    """What a reader must be told before any other number: a line for each language, training set
    and arm with models that recognise nothing, on the test set that the language is read from.

    Args:
        wer: the table.
        display: names and choices of the study.

    Returns:
        Nothing where all fine-tuned models recognise. Donors as they are (0 h) have learned
        nothing of the study, and languages that a model is not for are of another table.
    """
    at = display.headline(wer)
    at = at[(at.lang != MEAN) & (at.hours > 0) & (at.precision == FULL)]
    found = []
    for (training_set, lang, arm), own in at.groupby(["training_set", "lang", "arm"], sort=False):
        bad = own[own.recognition != OK].sort_values("hours")
        if bad.empty or not display.settings.is_for(training_set, lang):
            continue
        hours = ", ".join(f"{each:g}" for each in bad.hours)
        low, high = bad.wer_pct.min(), bad.wer_pct.max()
        rates = f"{low:.0f} %" if round(low) == round(high) else f"{low:.0f} to {high:.0f} %"
        after = "" if training_set == lang else f", trained on {display.training_set(training_set)}"
        why = "; ".join(dict.fromkeys(bad.recognition.str.removeprefix(f"{SAYS_NOT}: ")))
        found.append(
            f"{display.language(lang)}, {display.arm(arm)}{after}, {hours} h: WER {rates} on "
            f"{display.test_set(bad.test_set.iloc[0])} ({why})."
        )
    if found:
        found.append(
            "They have learned nothing that can be used: gaps of them are shown without a verdict "
            "and enter no law. What helps with little data is in docs/training.md."
        )
    return found
